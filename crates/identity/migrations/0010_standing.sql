-- How an account stood before it was closed, and which accounts were made by an admin and wait for
-- their first password.

ALTER TABLE closings ADD COLUMN status_before TEXT NOT NULL DEFAULT 'active'
    CONSTRAINT closings_status_before CHECK (status_before IN ('active', 'suspended', 'banned'));

INSERT INTO user_tags (user_id, tag)
    SELECT DISTINCT mail_tokens.user_id, 'invited' FROM mail_tokens
    WHERE mail_tokens.purpose = 'set_password';
