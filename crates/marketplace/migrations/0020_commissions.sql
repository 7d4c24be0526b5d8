-- Verifications that organizations ask for, about whom and under which word of their own.

CREATE TABLE commissions (
    verification UUID PRIMARY KEY,
    organization UUID NOT NULL,
    reference TEXT NOT NULL,
    subject TEXT NOT NULL,
    batch UUID,
    place BIGINT,
    at BIGINT NOT NULL,
    CONSTRAINT commissions_row CHECK ((batch IS NULL) = (place IS NULL))
);
CREATE INDEX commissions_of ON commissions (organization, verification);
CREATE INDEX commissions_named ON commissions (organization, reference, verification);
-- Whatever happens to the workers: a row of a batch becomes one verification at most.
CREATE UNIQUE INDEX commissions_place ON commissions (batch, place) WHERE batch IS NOT NULL;
