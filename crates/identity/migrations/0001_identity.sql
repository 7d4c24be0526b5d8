-- Accounts, their sessions, the keys that sign access tokens, and the tokens that travel by mail.

CREATE TABLE users (
    id UUID PRIMARY KEY,
    email TEXT NOT NULL,
    email_shown TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL
        CONSTRAINT users_role CHECK (role IN ('user', 'verifier', 'enterprise', 'admin')),
    status TEXT NOT NULL
        CONSTRAINT users_status CHECK (status IN ('active', 'suspended', 'banned', 'closed')),
    approved BOOLEAN NOT NULL,
    email_verified_at BIGINT,
    password_hash TEXT,
    avatar TEXT,
    preferences TEXT NOT NULL,
    searchable TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    last_login_at BIGINT
);
CREATE UNIQUE INDEX users_email ON users (email);
CREATE INDEX users_role_id ON users (role, id);
CREATE INDEX users_status_id ON users (status, id);

CREATE TABLE mail_tokens (
    hash BYTES PRIMARY KEY,
    user_id UUID NOT NULL,
    purpose TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX mail_tokens_user ON mail_tokens (user_id, purpose);
CREATE INDEX mail_tokens_expiry ON mail_tokens (expires_at);

CREATE TABLE setup_links (
    hash BYTES PRIMARY KEY,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE sessions (
    id UUID PRIMARY KEY,
    user_id UUID NOT NULL,
    cookie_hash BYTES,
    refresh_salt BYTES NOT NULL,
    refresh_generation BIGINT NOT NULL,
    refreshed_at BIGINT NOT NULL,
    user_agent TEXT,
    ip TEXT,
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT,
    ended_reason TEXT
);
CREATE UNIQUE INDEX sessions_cookie ON sessions (cookie_hash) WHERE cookie_hash IS NOT NULL;
CREATE INDEX sessions_live ON sessions (user_id, id) WHERE ended_at IS NULL;
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE token_keys (
    id UUID PRIMARY KEY,
    public_key BYTES NOT NULL,
    sealed_key BYTES NOT NULL,
    state TEXT NOT NULL CONSTRAINT token_keys_state CHECK (state IN ('active', 'retired')),
    created_at BIGINT NOT NULL,
    retired_at BIGINT
);
CREATE UNIQUE INDEX token_keys_one_active ON token_keys (state) WHERE state = 'active';
