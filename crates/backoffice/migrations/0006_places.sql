-- Roughly where somebody signed in: a country, and tenths of degrees. Where the operator has a database
-- of addresses.
ALTER TABLE fraud_signals ADD COLUMN country TEXT;
ALTER TABLE fraud_signals ADD COLUMN latitude BIGINT;
ALTER TABLE fraud_signals ADD COLUMN longitude BIGINT;
ALTER TABLE fraud_signals ADD COLUMN radius BIGINT;
