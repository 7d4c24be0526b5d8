-- Shares that ask for a code, and what each has shown to whom.

ALTER TABLE shares ADD COLUMN asks_code BOOLEAN NOT NULL DEFAULT FALSE;
-- Of the code that was sent last; gone when it is used up.
ALTER TABLE shares ADD COLUMN code_hash BYTES;
ALTER TABLE shares ADD COLUMN code_expires_at BIGINT;
ALTER TABLE shares ADD COLUMN code_tries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE shares ADD COLUMN code_sent_at BIGINT;
ALTER TABLE shares ADD COLUMN codes_sent BIGINT NOT NULL DEFAULT 0;

-- A ring: the newest view of a place takes the place of the oldest.
CREATE TABLE share_views (
    share UUID NOT NULL,
    place BIGINT NOT NULL,
    number BIGINT NOT NULL,
    form TEXT NOT NULL CONSTRAINT share_views_form CHECK (form IN ('page', 'json')),
    -- Where it was asked from, without the part that tells machines apart.
    network TEXT,
    viewed_at BIGINT NOT NULL,
    PRIMARY KEY (share, place)
) WITHOUT ROWID;
