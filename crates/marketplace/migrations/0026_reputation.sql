-- What verifiers are held to be worth, out of ten thousand, and when that was last gone over; and what
-- a service costs when it has to be done sooner.

ALTER TABLE verifiers ADD COLUMN reputation BIGINT NOT NULL DEFAULT 5000;
ALTER TABLE verifiers ADD COLUMN reputed_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX verifiers_to_repute ON verifiers (reputed_at, id);

ALTER TABLE services ADD COLUMN expedited_price BIGINT;
ALTER TABLE services ADD COLUMN expedited_hours BIGINT;
