-- Administering people, looking through their eyes, and letting them go.

-- Whoever makes or removes an admin touches this row first, so that two such changes go one after
-- the other, and the last admin is still there after both.
CREATE TABLE admin_roster (
    name TEXT PRIMARY KEY,
    version BIGINT NOT NULL
);
INSERT INTO admin_roster (name, version) VALUES ('admins', 0);

-- Why an admin looked at the platform as somebody else: what the session's row has no place for.
CREATE TABLE impersonations (
    session UUID PRIMARY KEY,
    admin UUID NOT NULL,
    user_id UUID NOT NULL,
    reason TEXT NOT NULL,
    started_at BIGINT NOT NULL
);
CREATE INDEX impersonations_user ON impersonations (user_id, session);
CREATE INDEX sessions_impersonator ON sessions (impersonator)
    WHERE impersonator IS NOT NULL AND ended_at IS NULL;

-- Accounts that were closed, and when what is held of their owners goes: first what is about the
-- person, later the records that have to be kept for longer.
CREATE TABLE closings (
    person UUID PRIMARY KEY,
    closed_at BIGINT NOT NULL,
    erase_at BIGINT NOT NULL,
    records_at BIGINT NOT NULL,
    erased_at BIGINT,
    records_erased_at BIGINT
);
CREATE INDEX closings_due ON closings (erase_at) WHERE erased_at IS NULL;
CREATE INDEX closings_records_due ON closings (records_at) WHERE records_erased_at IS NULL;

CREATE INDEX users_last_login ON users ((COALESCE(last_login_at, 0)), id);
