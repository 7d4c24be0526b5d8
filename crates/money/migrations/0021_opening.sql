-- Who asks a provider for a page to pay on is alone with it for a while: not every provider knows one
-- request from its repetition.
ALTER TABLE payments ADD COLUMN asked_until BIGINT;
