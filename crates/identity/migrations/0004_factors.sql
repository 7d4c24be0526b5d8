-- What an account has beside its password: an authenticator app, recovery codes, passkeys; and
-- the logins, enrolments and proofs that are not finished yet.

CREATE TABLE totp_factors (
    user_id UUID PRIMARY KEY,
    sealed_secret BYTES NOT NULL,
    last_step BIGINT NOT NULL,
    created_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE totp_enrolments (
    user_id UUID PRIMARY KEY,
    sealed_secret BYTES NOT NULL,
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX totp_enrolments_expiry ON totp_enrolments (expires_at);

CREATE TABLE recovery_codes (
    user_id UUID NOT NULL,
    hash BYTES NOT NULL,
    created_at BIGINT NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (user_id, hash)
) WITHOUT ROWID;

CREATE TABLE passkeys (
    id UUID PRIMARY KEY,
    user_id UUID NOT NULL,
    credential_id BYTES NOT NULL,
    name TEXT NOT NULL,
    credential TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT
);
CREATE UNIQUE INDEX passkeys_credential ON passkeys (credential_id);
CREATE INDEX passkeys_user ON passkeys (user_id, id);

CREATE TABLE challenges (
    hash BYTES PRIMARY KEY,
    purpose TEXT NOT NULL CONSTRAINT challenges_purpose
        CHECK (purpose IN ('login', 'passkey_login', 'passkey_registration', 'passkey_proof')),
    user_id UUID,
    session_id UUID,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX challenges_expiry ON challenges (expires_at);
