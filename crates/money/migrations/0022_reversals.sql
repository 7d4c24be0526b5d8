-- What becomes of money after it was final: charge-backs beyond the payment, and looking for them.

-- What the bank took beyond what had come; the platform bears it.
ALTER TABLE chargebacks ADD COLUMN excess BIGINT NOT NULL DEFAULT 0
    CONSTRAINT chargebacks_excess CHECK (excess >= 0);
CREATE INDEX chargebacks_payment ON chargebacks (payment);

-- Settled payments and payouts are looked at until nobody can take them back any more. Those of
-- before are looked at once, and go on from there as old as they are.
UPDATE payments SET next_check_at = updated_at WHERE state IN ('settled', 'suspended');
UPDATE withdrawals SET next_check_at = updated_at WHERE state = 'settled';
