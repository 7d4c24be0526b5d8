-- Whose an identity of Ory Kratos is here, and which session of ours stands for which of Kratos's.

CREATE TABLE kratos_identities (
    id UUID PRIMARY KEY,
    user_id UUID NOT NULL,
    linked_at BIGINT NOT NULL
);
CREATE INDEX kratos_identities_user ON kratos_identities (user_id);

-- A row outlives the session that it leads to, for as long as Kratos may believe its own: what has
-- ended here must not begin again.
CREATE TABLE kratos_sessions (
    id UUID PRIMARY KEY,
    identity_id UUID NOT NULL,
    user_id UUID NOT NULL,
    session_id UUID NOT NULL,
    authenticated_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoking_at BIGINT,
    revoked_at BIGINT
);
CREATE UNIQUE INDEX kratos_sessions_session ON kratos_sessions (session_id);
CREATE INDEX kratos_sessions_live ON kratos_sessions (user_id) WHERE revoking_at IS NULL;
CREATE INDEX kratos_sessions_identity ON kratos_sessions (identity_id);
CREATE INDEX kratos_sessions_expiry ON kratos_sessions (expires_at);
