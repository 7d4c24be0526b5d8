-- Uploads that clients make by themselves, at addresses that we have signed.

CREATE TABLE uploads (
    -- Becomes the id of the file.
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    -- Booked as used from the beginning: what is on its way counts.
    size BIGINT NOT NULL CONSTRAINT uploads_size CHECK (size > 0),
    sha256 BYTES,
    part_size BIGINT NOT NULL CONSTRAINT uploads_part_size CHECK (part_size > 0),
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX uploads_owner ON uploads (owner, id);
CREATE INDEX uploads_expires_at ON uploads (expires_at);

-- What has come in at the embedded store. An object store knows it by itself.
CREATE TABLE upload_parts (
    upload UUID NOT NULL,
    number BIGINT NOT NULL,
    blob TEXT NOT NULL,
    size BIGINT NOT NULL,
    sha256 BYTES NOT NULL,
    PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX upload_parts_blob ON upload_parts (blob);

-- Finds the same bytes in other accounts.
CREATE INDEX files_sha256 ON files (sha256);
