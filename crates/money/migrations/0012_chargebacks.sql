-- Disputes: of jobs, and of payments by the payers' banks.

-- A frozen hold is neither captured nor released, and what was earned by it is not paid out,
-- until its dispute is resolved.
ALTER TABLE ledger_hold ADD COLUMN frozen BOOLEAN NOT NULL DEFAULT FALSE;

CREATE TABLE chargebacks (
    id UUID PRIMARY KEY,
    payment UUID NOT NULL,
    owner UUID NOT NULL,
    provider TEXT NOT NULL,
    provider_ref TEXT NOT NULL,
    asset TEXT NOT NULL,
    amount BIGINT NOT NULL CONSTRAINT chargebacks_amount CHECK (amount > 0),
    hold UUID,
    held BIGINT NOT NULL,
    shortfall BIGINT NOT NULL,
    state TEXT NOT NULL CONSTRAINT chargebacks_state CHECK (state IN ('open', 'lost', 'won')),
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT chargebacks_parts CHECK (held >= 0 AND shortfall >= 0)
);
CREATE UNIQUE INDEX chargebacks_provider_ref ON chargebacks (provider, provider_ref);
CREATE INDEX chargebacks_owner ON chargebacks (owner, id);
