-- Seals: a chain of hashes over the transactions, in stretches. Who changes a sealed transaction
-- breaks every seal from there on, and the newest seal's hash stands in the journal.
CREATE TABLE ledger_seal (
    number BIGINT PRIMARY KEY,
    -- The transactions sealed have ids from the last seal's bound to this one, without it.
    bound UUID NOT NULL,
    transactions BIGINT NOT NULL,
    hash BYTES NOT NULL,
    sealed_at BIGINT NOT NULL
);
APPEND ONLY ledger_seal;

-- What was owed and had, as it was signed.
CREATE TABLE solvency_statements (
    id UUID PRIMARY KEY,
    note TEXT NOT NULL,
    stated_at BIGINT NOT NULL
);
APPEND ONLY solvency_statements;

-- The nodes of a statement's trees, 256 a row: of the leaves, and of every eighth level above
-- them. Leaves are ordered by names that only we can make from a holder's id.
CREATE TABLE solvency_tiles (
    statement UUID NOT NULL,
    asset TEXT NOT NULL,
    level BIGINT NOT NULL,
    place BIGINT NOT NULL,
    first_name BYTES NOT NULL,
    nodes BYTES NOT NULL,
    PRIMARY KEY (statement, asset, level, place)
) WITHOUT ROWID;
CREATE INDEX solvency_tiles_name ON solvency_tiles (statement, asset, first_name) WHERE level = 0;
