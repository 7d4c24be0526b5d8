-- The ledger: accounts, their balances, and what moved. Amounts are whole minor units.

-- An account's id is a function of what it is (its code, owner and asset), so nobody has to look
-- it up. The platform's own accounts are owned by the nil id.
CREATE TABLE ledger_account (
    id UUID PRIMARY KEY,
    code TEXT NOT NULL,
    owner UUID NOT NULL,
    asset TEXT NOT NULL,
    side TEXT NOT NULL CONSTRAINT ledger_account_side CHECK (side IN ('D', 'C')),
    guard BOOLEAN NOT NULL,
    opened_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX ledger_account_owner ON ledger_account (owner, code, asset);
APPEND ONLY ledger_account;

-- All that was ever debited and credited. The guard is the overdraft check: no statement, no
-- race and no person at a prompt can bring a guarded account below zero.
CREATE TABLE ledger_balance (
    account_id UUID NOT NULL,
    shard BIGINT NOT NULL,
    side TEXT NOT NULL,
    guard BOOLEAN NOT NULL,
    debits BIGINT NOT NULL,
    credits BIGINT NOT NULL,
    version BIGINT NOT NULL,
    moved_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, shard),
    CONSTRAINT ledger_balance_range CHECK (debits >= 0 AND credits >= 0 AND version >= 0),
    CONSTRAINT ledger_balance_guard CHECK (
        NOT guard OR (side = 'C' AND credits >= debits) OR (side = 'D' AND debits >= credits))
) WITHOUT ROWID;

CREATE TABLE ledger_tx (
    id UUID PRIMARY KEY,
    kind TEXT NOT NULL,
    idem_key TEXT NOT NULL,
    content_hash BYTES NOT NULL,
    subject TEXT NOT NULL,
    reverses UUID,
    meta TEXT NOT NULL,
    recorded_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX ledger_tx_key ON ledger_tx (idem_key);
CREATE UNIQUE INDEX ledger_tx_reverses ON ledger_tx (reverses) WHERE reverses IS NOT NULL;
APPEND ONLY ledger_tx;

CREATE TABLE ledger_posting (
    tx_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    debit_account UUID NOT NULL,
    credit_account UUID NOT NULL,
    asset TEXT NOT NULL,
    amount BIGINT NOT NULL CONSTRAINT ledger_posting_amount CHECK (amount > 0),
    PRIMARY KEY (tx_id, seq),
    CONSTRAINT ledger_posting_two_accounts CHECK (debit_account <> credit_account)
) WITHOUT ROWID;
APPEND ONLY ledger_posting;

-- Two rows a posting. Versions count 1, 2, 3 ... in each account: a gap would prove a lost write.
-- Times never run backwards within an account, so a point in time is found by halving.
CREATE TABLE ledger_entry (
    account_id UUID NOT NULL,
    shard BIGINT NOT NULL,
    version BIGINT NOT NULL,
    tx_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    delta BIGINT NOT NULL,
    balance_after BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, shard, version)
) WITHOUT ROWID;
CREATE INDEX ledger_entry_tx ON ledger_entry (tx_id);
APPEND ONLY ledger_entry;

-- Money set aside. What is left of all open holds of an owner is the balance of their li.held.
CREATE TABLE ledger_hold (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    asset TEXT NOT NULL,
    amount BIGINT NOT NULL,
    captured BIGINT NOT NULL,
    released BIGINT NOT NULL,
    state TEXT NOT NULL
        CONSTRAINT ledger_hold_state CHECK (state IN ('open', 'captured', 'released')),
    purpose TEXT NOT NULL,
    subject TEXT NOT NULL,
    payee UUID,
    fee BIGINT NOT NULL,
    earning TEXT NOT NULL
        CONSTRAINT ledger_hold_earning CHECK (earning IN ('none', 'pending', 'released')),
    available_at BIGINT,
    created_at BIGINT NOT NULL,
    closed_at BIGINT,
    CONSTRAINT ledger_hold_sum CHECK (
        amount > 0 AND captured >= 0 AND released >= 0 AND captured + released <= amount
        AND fee >= 0 AND fee <= captured)
);
CREATE UNIQUE INDEX ledger_hold_subject ON ledger_hold (purpose, subject);
CREATE INDEX ledger_hold_earning_due ON ledger_hold (available_at) WHERE earning = 'pending';

-- Payments collected through a provider, and what providers told us.
CREATE TABLE payments (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    provider TEXT NOT NULL,
    asset TEXT NOT NULL,
    amount BIGINT NOT NULL CONSTRAINT payments_amount CHECK (amount > 0),
    method TEXT,
    state TEXT NOT NULL CONSTRAINT payments_state CHECK (
        state IN ('created', 'pending', 'settled', 'failed', 'expired', 'suspended')),
    reason TEXT,
    provider_ref TEXT,
    access_code TEXT,
    checkout_url TEXT,
    version BIGINT NOT NULL,
    checks BIGINT NOT NULL,
    next_check_at BIGINT,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX payments_owner ON payments (owner, id);
CREATE INDEX payments_due ON payments (next_check_at) WHERE next_check_at IS NOT NULL;

CREATE TABLE provider_events (
    provider TEXT NOT NULL,
    dedupe_key TEXT NOT NULL,
    kind TEXT NOT NULL,
    reference TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL
        CONSTRAINT provider_events_state CHECK (state IN ('new', 'done', 'unmatched')),
    received_at BIGINT NOT NULL,
    PRIMARY KEY (provider, dedupe_key)
);
CREATE INDEX provider_events_open ON provider_events (received_at) WHERE state <> 'done';
