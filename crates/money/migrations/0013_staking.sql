-- Bonds of verifiers. What is staked and what is cooling down are accounts of the ledger; here is
-- when what is cooling down is free.
CREATE TABLE unstakings (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    asset TEXT NOT NULL,
    amount BIGINT NOT NULL,
    remaining BIGINT NOT NULL,
    state TEXT NOT NULL
        CONSTRAINT unstakings_state CHECK (state IN ('cooling', 'done', 'cancelled', 'slashed')),
    unlock_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT,
    CONSTRAINT unstakings_sum CHECK (amount > 0 AND remaining >= 0 AND remaining <= amount)
);
CREATE INDEX unstakings_owner ON unstakings (owner, id);
CREATE INDEX unstakings_due ON unstakings (unlock_at) WHERE state = 'cooling';

-- What was given out as rewards, and what was left over for the next time.
CREATE TABLE reward_epochs (
    asset TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    pool BIGINT NOT NULL,
    paid BIGINT NOT NULL,
    closed_at BIGINT NOT NULL,
    PRIMARY KEY (asset, epoch),
    CONSTRAINT reward_epochs_sum CHECK (paid >= 0 AND paid <= pool)
);
