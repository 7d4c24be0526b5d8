-- The sandbox provider's own memory. Nothing of the platform reads it: like any other provider,
-- the sandbox is asked over HTTP.
CREATE TABLE sandbox_collections (
    reference TEXT PRIMARY KEY,
    asset TEXT NOT NULL,
    amount BIGINT NOT NULL,
    state TEXT NOT NULL
        CONSTRAINT sandbox_collections_state CHECK (state IN ('pending', 'paid', 'declined')),
    paid BIGINT NOT NULL,
    fee BIGINT NOT NULL,
    access_code TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    decided_at BIGINT
);
