-- What rules against fraud look at, and what they have found.

-- What of the journal the rules need, for some weeks. Addresses and devices are keyed hashes, which
-- compare and say nothing else.
CREATE TABLE fraud_signals (
    fact UUID PRIMARY KEY,
    kind TEXT NOT NULL,
    person UUID NOT NULL,
    other UUID,
    subject TEXT NOT NULL,
    at BIGINT NOT NULL,
    address BYTES,
    device BYTES,
    fresh BOOLEAN NOT NULL,
    verified BOOLEAN NOT NULL,
    seconds BIGINT
);
CREATE INDEX fraud_signals_of ON fraud_signals (person, kind, at);
CREATE INDEX fraud_signals_other ON fraud_signals (other);
CREATE INDEX fraud_signals_subject ON fraud_signals (subject, kind);
CREATE INDEX fraud_signals_at ON fraud_signals (at);

-- How much somebody makes: a row a minute, so that what is made fast is counted fast.
CREATE TABLE fraud_counts (
    person UUID NOT NULL,
    kind TEXT NOT NULL,
    minute BIGINT NOT NULL,
    made BIGINT NOT NULL,
    PRIMARY KEY (person, kind, minute)
) WITHOUT ROWID;
CREATE INDEX fraud_counts_minute ON fraud_counts (minute);

CREATE TABLE fraud_alerts (
    id UUID PRIMARY KEY,
    rule TEXT NOT NULL,
    key TEXT NOT NULL,
    subject TEXT NOT NULL,
    person UUID,
    other UUID,
    score BIGINT NOT NULL CONSTRAINT fraud_alerts_score CHECK (score BETWEEN 0 AND 100),
    reasons TEXT NOT NULL,
    enforced BOOLEAN NOT NULL,
    seen BIGINT NOT NULL,
    state TEXT NOT NULL CONSTRAINT fraud_alerts_state CHECK
        (state IN ('open', 'escalated', 'dismissed')),
    note TEXT,
    decided_by UUID,
    decided_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX fraud_alerts_undecided ON fraud_alerts (rule, key)
    WHERE state IN ('open', 'escalated');
CREATE INDEX fraud_alerts_by_state ON fraud_alerts (state, id);
CREATE INDEX fraud_alerts_of ON fraud_alerts (subject);
CREATE INDEX fraud_alerts_decided ON fraud_alerts (rule, key, decided_at);
