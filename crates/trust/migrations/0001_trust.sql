-- Keys, issued verdicts, revocation lists, and the transparency log.

CREATE TABLE issuer_keys (
    id UUID PRIMARY KEY,
    purpose TEXT NOT NULL CONSTRAINT issuer_keys_purpose CHECK (purpose IN ('credential', 'log')),
    public_key BYTES NOT NULL,
    sealed_key BYTES NOT NULL,
    created_at BIGINT NOT NULL,
    signs_from BIGINT NOT NULL
);
CREATE INDEX issuer_keys_order ON issuer_keys (purpose, signs_from);

CREATE TABLE status_lists (
    id UUID PRIMARY KEY,
    size BIGINT NOT NULL,
    used BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT status_lists_used CHECK (used >= 0 AND used <= size)
);

CREATE TABLE status_entries (
    list UUID NOT NULL,
    place BIGINT NOT NULL,
    revoked_at BIGINT,
    PRIMARY KEY (list, place)
) WITHOUT ROWID;
CREATE INDEX status_entries_revoked ON status_entries (list, place) WHERE revoked_at IS NOT NULL;

CREATE TABLE issued_credentials (
    id UUID PRIMARY KEY,
    verification UUID NOT NULL,
    credential UUID NOT NULL,
    holder UUID NOT NULL,
    document TEXT NOT NULL,
    sha256 BYTES NOT NULL,
    document_salt BYTES NOT NULL,
    list UUID NOT NULL,
    place BIGINT NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    revoked_at BIGINT,
    revocation_reason TEXT
);
CREATE UNIQUE INDEX issued_credentials_verification ON issued_credentials (verification);

CREATE TABLE log_state (
    name TEXT PRIMARY KEY,
    origin TEXT NOT NULL,
    size BIGINT NOT NULL,
    edge BYTES NOT NULL,
    checkpoint TEXT NOT NULL
);

CREATE TABLE log_leaves (
    place BIGINT PRIMARY KEY,
    fact UUID NOT NULL,
    entry TEXT NOT NULL
);
CREATE UNIQUE INDEX log_leaves_fact ON log_leaves (fact);
APPEND ONLY log_leaves;

CREATE TABLE log_tiles (
    level BIGINT NOT NULL,
    place BIGINT NOT NULL,
    width BIGINT NOT NULL,
    hashes BYTES NOT NULL,
    PRIMARY KEY (level, place)
);

CREATE TABLE log_checkpoints (
    size BIGINT PRIMARY KEY,
    note TEXT NOT NULL,
    signed_at BIGINT NOT NULL
);
APPEND ONLY log_checkpoints;
