-- Who asks a provider for money to be sent is alone with it for a while: a provider that is asked
-- twice may send twice.
ALTER TABLE refunds ADD COLUMN asked_until BIGINT;
ALTER TABLE withdrawals ADD COLUMN asked_until BIGINT;
