-- Addresses on chains: one for each wallet and asset, and what has arrived there.
CREATE TABLE deposit_addresses (
    provider TEXT NOT NULL,
    asset TEXT NOT NULL,
    address TEXT NOT NULL,
    owner UUID NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (provider, asset, address)
);
CREATE UNIQUE INDEX deposit_addresses_owner ON deposit_addresses (owner, provider, asset);

-- A transfer is what it is for ever, whatever block it stands in: its row makes it one payment.
-- Without a payment it was too little, or too much, to be counted.
CREATE TABLE arrivals (
    provider TEXT NOT NULL,
    provider_ref TEXT NOT NULL,
    payment UUID,
    asset TEXT NOT NULL,
    raw_amount TEXT NOT NULL,
    raw_rest TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (provider, provider_ref)
);
CREATE UNIQUE INDEX arrivals_payment ON arrivals (payment) WHERE payment IS NOT NULL;

-- How far each provider's arrivals were read.
CREATE TABLE arrival_cursors (
    provider TEXT PRIMARY KEY,
    place TEXT NOT NULL
);
