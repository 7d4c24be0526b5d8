-- Files, the credentials made of them, who may see them, and the links that show them.

CREATE TABLE files (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size BIGINT NOT NULL CONSTRAINT files_size CHECK (size > 0),
    sha256 BYTES NOT NULL,
    blob TEXT NOT NULL,
    state TEXT NOT NULL CONSTRAINT files_state CHECK (state IN ('stored', 'deleting')),
    -- How many credentials refer to it: counted here so that a delete and a new reference decide
    -- on the same row, and one of them loses.
    used_by BIGINT NOT NULL CONSTRAINT files_used_by CHECK (used_by >= 0),
    created_at BIGINT NOT NULL
);
CREATE INDEX files_owner ON files (owner, id) WHERE state = 'stored';
CREATE UNIQUE INDEX files_blob ON files (blob);

-- What an owner's files take, so that the quota costs one row and not a sum over all files.
CREATE TABLE file_usage (
    owner UUID PRIMARY KEY,
    bytes BIGINT NOT NULL CONSTRAINT file_usage_bytes CHECK (bytes >= 0)
) WITHOUT ROWID;

CREATE TABLE credentials (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    title TEXT NOT NULL,
    kind TEXT NOT NULL,
    issuer_name TEXT NOT NULL,
    document_number TEXT,
    issue_date TEXT,
    expiry_date TEXT,
    status TEXT NOT NULL CONSTRAINT credentials_status
        CHECK (status IN ('draft', 'pending', 'verified', 'rejected', 'revoked')),
    file UUID,
    file_sha256 BYTES,
    issued UUID,
    verified_at BIGINT,
    valid_until BIGINT,
    -- Title, issuer and kind in lower case: what a search looks through.
    search TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX credentials_owner ON credentials (owner, id) WHERE deleted_at IS NULL;
CREATE INDEX credentials_file ON credentials (file) WHERE file IS NOT NULL;

CREATE TABLE credential_grants (
    credential UUID NOT NULL,
    grantee UUID NOT NULL,
    granted_at BIGINT NOT NULL,
    -- When the grantee last opened the document: reading it in parts is one view, not many.
    viewed_at BIGINT,
    PRIMARY KEY (credential, grantee)
) WITHOUT ROWID;

CREATE TABLE shares (
    id UUID PRIMARY KEY,
    credential UUID NOT NULL,
    owner UUID NOT NULL,
    token_hash BYTES NOT NULL,
    recipient_email TEXT,
    fields TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    views BIGINT NOT NULL,
    last_viewed_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX shares_token_hash ON shares (token_hash);
CREATE INDEX shares_credential ON shares (credential, id);
