-- Keys for the PASETO forms of access tokens; the epoch with which all that showed a session
-- before is dead at once; and what accounts of the older APIs bring along.

ALTER TABLE token_keys ADD COLUMN form TEXT NOT NULL DEFAULT 'jwt'
    CONSTRAINT token_keys_form CHECK (form IN ('jwt', 'paseto_public', 'paseto_local'));
DROP INDEX token_keys_one_active;
CREATE UNIQUE INDEX token_keys_one_active ON token_keys (form) WHERE state = 'active';

ALTER TABLE sessions ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;

CREATE TABLE user_tags (
    user_id UUID NOT NULL,
    tag TEXT NOT NULL,
    PRIMARY KEY (user_id, tag)
) WITHOUT ROWID;
