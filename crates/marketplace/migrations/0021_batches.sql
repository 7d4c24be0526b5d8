-- Batches of commissions, and what has become of each of their rows.

CREATE TABLE batches (
    id UUID PRIMARY KEY,
    organization UUID NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL CONSTRAINT batches_state CHECK (state IN
        ('receiving', 'broken', 'running', 'completed', 'cancelled')),
    person UUID NOT NULL,
    api_key UUID,
    verifier UUID,
    service UUID,
    budget BIGINT,
    currency TEXT,
    spent BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT,
    CONSTRAINT batches_budget CHECK
        ((budget IS NULL) = (currency IS NULL)
         AND spent >= 0 AND (budget IS NULL OR spent <= budget))
);
CREATE INDEX batches_of ON batches (organization, id);
CREATE INDEX batches_receiving ON batches (created_at) WHERE state = 'receiving';

-- What a row says is emptied once it is done: the credential has it then.
CREATE TABLE batch_rows (
    batch UUID NOT NULL,
    place BIGINT NOT NULL,
    state TEXT NOT NULL CONSTRAINT batch_rows_state CHECK (state IN
        ('queued', 'done', 'failed', 'cancelled')),
    reference TEXT NOT NULL,
    content TEXT NOT NULL,
    verification UUID,
    price BIGINT,
    currency TEXT,
    code TEXT,
    field TEXT,
    message TEXT,
    retryable BOOLEAN NOT NULL,
    PRIMARY KEY (batch, place),
    CONSTRAINT batch_rows_done CHECK ((state = 'done') = (verification IS NOT NULL)),
    CONSTRAINT batch_rows_failed CHECK ((state = 'failed') = (code IS NOT NULL))
) WITHOUT ROWID;
CREATE INDEX batch_rows_in_state ON batch_rows (batch, state, place);
