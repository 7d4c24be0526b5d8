-- Money on its way out, and where it may go.

-- What a provider needs to know of a destination is sealed under its owner's key.
CREATE TABLE payout_destinations (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    provider TEXT NOT NULL,
    kind TEXT NOT NULL
        CONSTRAINT payout_destinations_kind CHECK (kind IN ('bank', 'paypal', 'crypto')),
    asset TEXT NOT NULL,
    account TEXT NOT NULL,
    bank TEXT,
    name TEXT,
    mask TEXT NOT NULL,
    usable_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    removed_at BIGINT
);
CREATE INDEX payout_destinations_owner ON payout_destinations (owner, id);

CREATE TABLE withdrawals (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    provider TEXT NOT NULL,
    source TEXT NOT NULL CONSTRAINT withdrawals_source CHECK (source IN ('wallet', 'earnings')),
    asset TEXT NOT NULL,
    amount BIGINT NOT NULL,
    fee BIGINT NOT NULL,
    destination UUID NOT NULL,
    mask TEXT NOT NULL,
    state TEXT NOT NULL CONSTRAINT withdrawals_state CHECK (state IN (
        'requested', 'approved', 'submitting', 'unknown', 'submitted', 'settled', 'failed',
        'returned', 'cancelled', 'rejected')),
    review TEXT,
    reason TEXT,
    decided_by UUID,
    provider_ref TEXT,
    cost BIGINT NOT NULL,
    version BIGINT NOT NULL,
    checks BIGINT NOT NULL,
    next_check_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT withdrawals_amount CHECK (amount > 0 AND fee >= 0)
);
CREATE INDEX withdrawals_owner ON withdrawals (owner, created_at);
CREATE INDEX withdrawals_state ON withdrawals (state, id);
CREATE INDEX withdrawals_due ON withdrawals (next_check_at) WHERE next_check_at IS NOT NULL;

-- Wallets out of which nothing goes until somebody has looked.
CREATE TABLE wallet_freezes (
    owner UUID PRIMARY KEY,
    reason TEXT NOT NULL,
    frozen_at BIGINT NOT NULL
);

CREATE TABLE sandbox_payouts (
    reference TEXT PRIMARY KEY,
    asset TEXT NOT NULL,
    amount BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
