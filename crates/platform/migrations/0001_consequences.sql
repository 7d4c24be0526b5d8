-- What every transaction may carry with it: facts, jobs, and the reply to a repeated request.

CREATE TABLE facts (
    id UUID PRIMARY KEY,
    at BIGINT NOT NULL,
    verb TEXT NOT NULL,
    actor UUID,
    actor_role TEXT,
    subject TEXT NOT NULL,
    data TEXT NOT NULL,
    origin TEXT NOT NULL,
    salt BYTES NOT NULL,
    seq BIGINT
);
CREATE UNIQUE INDEX facts_seq ON facts (seq);
CREATE INDEX facts_waiting ON facts (id) WHERE seq IS NULL;
CREATE INDEX facts_subject ON facts (subject, id);
APPEND ONLY facts EXCEPT seq;

CREATE TABLE fact_parties (
    party UUID NOT NULL,
    fact UUID NOT NULL,
    PRIMARY KEY (party, fact)
) WITHOUT ROWID;
CREATE INDEX fact_parties_fact ON fact_parties (fact);
APPEND ONLY fact_parties;

CREATE TABLE journal_readers (
    name TEXT PRIMARY KEY,
    seq BIGINT NOT NULL
);

CREATE TABLE jobs (
    id UUID PRIMARY KEY,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL CONSTRAINT jobs_state CHECK (state IN ('ready', 'running', 'dead')),
    run_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    worker UUID,
    unique_key TEXT,
    last_error TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX jobs_due ON jobs (run_at, id) WHERE state IN ('ready', 'running');
CREATE INDEX jobs_dead ON jobs (id) WHERE state = 'dead';
CREATE UNIQUE INDEX jobs_unique_key ON jobs (kind, unique_key)
    WHERE unique_key IS NOT NULL AND state IN ('ready', 'running');

CREATE TABLE periodic_jobs (
    name TEXT PRIMARY KEY,
    next_at BIGINT NOT NULL
);

CREATE TABLE idempotency (
    scope BYTES PRIMARY KEY,
    fingerprint BYTES NOT NULL,
    reply TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX idempotency_expiry ON idempotency (expires_at);
