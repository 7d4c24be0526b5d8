-- Keys that somebody else may have, and what they have signed.

CREATE TABLE key_compromises (
    key UUID PRIMARY KEY,
    -- Nothing that the key signs from then on is the platform's word. Whole seconds.
    since BIGINT NOT NULL,
    reason TEXT NOT NULL,
    declared_at BIGINT NOT NULL,
    -- Whether verdicts are signed anew under another key.
    reissue BOOLEAN NOT NULL,
    revoked BIGINT NOT NULL DEFAULT 0,
    reissued BIGINT NOT NULL DEFAULT 0,
    -- When everything was taken back for the first time.
    carried_out_at BIGINT
);

-- The key of a verdict's proofs and when it signed. What is older learns it when it is asked for.
ALTER TABLE issued_credentials ADD COLUMN signed_by UUID;
ALTER TABLE issued_credentials ADD COLUMN signed_at BIGINT;
CREATE INDEX issued_credentials_signed ON issued_credentials (signed_by, signed_at)
    WHERE revoked_at IS NULL;
CREATE INDEX issued_credentials_sha256 ON issued_credentials (sha256);

-- The same of tokens. The second hash leaves out what is disclosed.
ALTER TABLE issued_tokens ADD COLUMN signed_by UUID;
ALTER TABLE issued_tokens ADD COLUMN signed_sha256 BYTES;
ALTER TABLE issued_tokens ADD COLUMN revoked_at BIGINT;
CREATE INDEX issued_tokens_signed ON issued_tokens (signed_by, created_at)
    WHERE revoked_at IS NULL;
CREATE INDEX issued_tokens_signed_sha256 ON issued_tokens (signed_sha256);

-- What was signed of a verdict before it was signed anew stands beside it.
ALTER TABLE issued_credentials ADD COLUMN is_former BOOLEAN NOT NULL DEFAULT FALSE;
DROP INDEX issued_credentials_verification;
CREATE UNIQUE INDEX issued_credentials_verification ON issued_credentials (verification)
    WHERE NOT is_former;
