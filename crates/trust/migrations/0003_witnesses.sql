-- Logs that follow one another, who else has signed their checkpoints, the log's own patrol, and
-- verdicts that take the place of others.

-- Leaves, tiles and checkpoints of a log are kept from this number on, so that those of several
-- logs lie beside each other. The log that grows is the row 'audit'; a closed one bears its origin.
ALTER TABLE log_state ADD COLUMN base BIGINT NOT NULL DEFAULT 0;
-- The fact before the log's first leaf.
ALTER TABLE log_state ADD COLUMN after_seq BIGINT NOT NULL DEFAULT 0;
-- How far the patrol has come, what it has found on this round, and whether that was reported.
ALTER TABLE log_state ADD COLUMN patrolled BIGINT NOT NULL DEFAULT 0;
ALTER TABLE log_state ADD COLUMN found BIGINT NOT NULL DEFAULT 0;
ALTER TABLE log_state ADD COLUMN alarm BOOLEAN NOT NULL DEFAULT FALSE;
CREATE UNIQUE INDEX log_state_base ON log_state (base);
CREATE UNIQUE INDEX log_state_origin ON log_state (origin);

-- What each witness has signed last of each log.
CREATE TABLE log_cosignatures (
    origin TEXT NOT NULL,
    witness TEXT NOT NULL,
    size BIGINT NOT NULL,
    line TEXT NOT NULL,
    signed_at BIGINT NOT NULL,
    -- What the witness has against the log; nothing while it signs.
    objection TEXT,
    PRIMARY KEY (origin, witness)
) WITHOUT ROWID;

-- A newer verdict about the same credential takes the place of the older one.
ALTER TABLE issued_credentials ADD COLUMN supersedes UUID;
ALTER TABLE issued_credentials ADD COLUMN superseded_by UUID;
