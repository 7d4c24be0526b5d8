-- What the platform's people change while it runs, and what its processes complain of.

-- What differs from its default. The version is that of the change which brought the value.
CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    version BIGINT NOT NULL,
    changed_by UUID,
    changed_at BIGINT NOT NULL
);

-- One row a change, numbered without gaps: the newest is the version of all settings together.
CREATE TABLE setting_changes (
    version BIGINT PRIMARY KEY,
    changes TEXT NOT NULL,
    changed_by UUID,
    proposal UUID,
    changed_at BIGINT NOT NULL
);
APPEND ONLY setting_changes;

-- Warnings and errors of all processes, the newest of them.
CREATE TABLE log_lines (
    id UUID PRIMARY KEY,
    at BIGINT NOT NULL,
    service TEXT NOT NULL,
    level TEXT NOT NULL CONSTRAINT log_lines_level CHECK (level IN ('warn', 'error')),
    target TEXT NOT NULL,
    message TEXT NOT NULL,
    fields TEXT NOT NULL
);
CREATE INDEX log_lines_at ON log_lines (at);
