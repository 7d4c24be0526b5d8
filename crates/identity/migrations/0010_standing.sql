-- How an account stood before it was closed.

ALTER TABLE closings ADD COLUMN status_before TEXT NOT NULL DEFAULT 'active'
    CONSTRAINT closings_status_before CHECK (status_before IN ('active', 'suspended', 'banned'));
