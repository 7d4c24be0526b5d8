-- Certified keys, the claims behind a verdict, tokens made of it, and their pickup by wallets.

CREATE TABLE certified_keys (
    id UUID PRIMARY KEY,
    purpose TEXT NOT NULL
        CONSTRAINT certified_keys_purpose CHECK (purpose IN ('root', 'credential', 'request')),
    public_key BYTES NOT NULL,
    sealed_key BYTES NOT NULL,
    certificate BYTES NOT NULL,
    created_at BIGINT NOT NULL,
    signs_from BIGINT NOT NULL
);
CREATE INDEX certified_keys_order ON certified_keys (purpose, signs_from);

ALTER TABLE issued_credentials ADD COLUMN claims TEXT NOT NULL DEFAULT '{}';
CREATE INDEX issued_credentials_credential ON issued_credentials (credential, holder);

CREATE TABLE issued_tokens (
    id UUID PRIMARY KEY,
    issued UUID NOT NULL,
    holder UUID NOT NULL,
    holder_key TEXT,
    sha256 BYTES NOT NULL,
    list UUID NOT NULL,
    place BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX issued_tokens_issued ON issued_tokens (issued, created_at);
CREATE INDEX issued_tokens_holder ON issued_tokens (holder);

CREATE TABLE credential_offers (
    id UUID PRIMARY KEY,
    issued UUID NOT NULL,
    holder UUID NOT NULL,
    link_sha256 BYTES NOT NULL,
    code_sha256 BYTES NOT NULL,
    tx_code_mac BYTES NOT NULL,
    tries BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    redeemed_at BIGINT,
    access_sha256 BYTES,
    access_until BIGINT,
    collected_at BIGINT
);
CREATE UNIQUE INDEX credential_offers_link ON credential_offers (link_sha256);
CREATE UNIQUE INDEX credential_offers_code ON credential_offers (code_sha256);
CREATE UNIQUE INDEX credential_offers_access ON credential_offers (access_sha256);
CREATE INDEX credential_offers_holder ON credential_offers (holder);

CREATE TABLE spent_nonces (
    nonce BYTES PRIMARY KEY,
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX spent_nonces_expiry ON spent_nonces (expires_at);

CREATE TABLE presentation_requests (
    id UUID PRIMARY KEY,
    asker UUID NOT NULL,
    purpose TEXT NOT NULL,
    query TEXT NOT NULL,
    encrypted BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    answered_at BIGINT,
    claims TEXT
);
CREATE INDEX presentation_requests_asker ON presentation_requests (asker);
