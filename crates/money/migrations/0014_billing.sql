-- Plans of enterprises, and their bills.
CREATE TABLE subscriptions (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    plan TEXT NOT NULL,
    next_plan TEXT,
    state TEXT NOT NULL CONSTRAINT subscriptions_state CHECK (
        state IN ('active', 'past_due', 'suspended', 'cancelled')),
    period_start BIGINT NOT NULL,
    period_end BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX subscriptions_owner ON subscriptions (owner);
CREATE INDEX subscriptions_due ON subscriptions (period_end) WHERE state <> 'cancelled';

CREATE TABLE invoices (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    number BIGINT NOT NULL,
    asset TEXT NOT NULL,
    net BIGINT NOT NULL,
    tax BIGINT NOT NULL,
    credited BIGINT NOT NULL,
    recognised BIGINT NOT NULL,
    lines TEXT NOT NULL,
    state TEXT NOT NULL
        CONSTRAINT invoices_state CHECK (state IN ('open', 'paid', 'uncollectible')),
    period_start BIGINT NOT NULL,
    period_end BIGINT NOT NULL,
    issued_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    paid_at BIGINT,
    attempts BIGINT NOT NULL,
    next_attempt_at BIGINT,
    version BIGINT NOT NULL,
    CONSTRAINT invoices_amounts CHECK (net >= 0 AND tax >= 0 AND credited >= 0
        AND credited <= net + tax AND recognised >= 0 AND recognised <= net)
);
CREATE UNIQUE INDEX invoices_number ON invoices (number);
CREATE INDEX invoices_owner ON invoices (owner, number);
CREATE INDEX invoices_due ON invoices (next_attempt_at) WHERE state = 'open';
CREATE INDEX invoices_deferred ON invoices (id) WHERE recognised < net;

-- The last number that was given to an invoice. It is taken in the invoice's own transaction, so
-- that no number is ever left out.
CREATE TABLE invoice_numbers (
    series TEXT PRIMARY KEY,
    last BIGINT NOT NULL
);

-- What was used of a plan, counted while the period runs.
CREATE TABLE usage_counts (
    owner UUID NOT NULL,
    metric TEXT NOT NULL,
    period_start BIGINT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (owner, metric, period_start)
);
