-- How subscriptions and bills end: a plan that is not gone on with after its period, and a bill that
-- should not have been written. The states of a bill stand in a CHECK, so the table is made anew, with
-- the columns and indexes that it has.

ALTER TABLE subscriptions ADD COLUMN ends BOOLEAN NOT NULL DEFAULT FALSE;

CREATE TABLE invoices_next (
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
        CONSTRAINT invoices_state CHECK (state IN ('open', 'paid', 'void', 'uncollectible')),
    period_start BIGINT NOT NULL,
    period_end BIGINT NOT NULL,
    issued_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    paid_at BIGINT,
    attempts BIGINT NOT NULL,
    next_attempt_at BIGINT,
    version BIGINT NOT NULL,
    used BIGINT NOT NULL DEFAULT 0
        CONSTRAINT invoices_used CHECK (used >= 0),
    CONSTRAINT invoices_amounts CHECK (net >= 0 AND tax >= 0 AND credited >= 0
        AND credited <= net + tax AND recognised >= 0 AND recognised <= net)
);
INSERT INTO invoices_next (id, owner, number, asset, net, tax, credited, recognised, lines, state,
                           period_start, period_end, issued_at, due_at, paid_at, attempts,
                           next_attempt_at, version, used)
    SELECT id, owner, number, asset, net, tax, credited, recognised, lines, state,
           period_start, period_end, issued_at, due_at, paid_at, attempts,
           next_attempt_at, version, used FROM invoices;
DROP TABLE invoices;
ALTER TABLE invoices_next RENAME TO invoices;
CREATE UNIQUE INDEX invoices_number ON invoices (number);
CREATE INDEX invoices_owner ON invoices (owner, number);
CREATE INDEX invoices_due ON invoices (next_attempt_at) WHERE state = 'open';
CREATE INDEX invoices_deferred ON invoices (id) WHERE recognised < net;
CREATE INDEX invoices_in_state ON invoices (state, number);
