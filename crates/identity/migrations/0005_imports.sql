-- Who came by an import, so that one that was interrupted goes on where it stopped.

CREATE TABLE imported_users (
    user_id UUID PRIMARY KEY,
    external_id TEXT,
    imported_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX imported_users_external_id ON imported_users (external_id)
    WHERE external_id IS NOT NULL;
