-- How the person on a session has shown who they are, when last, and who looks through their eyes.
-- Sessions from before this were started by password, when they were created.

ALTER TABLE sessions ADD COLUMN level TEXT NOT NULL DEFAULT 'aal1'
    CONSTRAINT sessions_level CHECK (level IN ('aal1', 'aal2'));
ALTER TABLE sessions ADD COLUMN methods TEXT NOT NULL DEFAULT 'password';
ALTER TABLE sessions ADD COLUMN proven_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN impersonator UUID;
UPDATE sessions SET proven_at = created_at;
