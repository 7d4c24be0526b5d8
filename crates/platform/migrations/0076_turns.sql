-- A periodic job's turn is taken under a lease, as a job is: who has it, and how often it was tried
-- since it last succeeded.
ALTER TABLE periodic_jobs ADD COLUMN worker UUID;
ALTER TABLE periodic_jobs ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0;
