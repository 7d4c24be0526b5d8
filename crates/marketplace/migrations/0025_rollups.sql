-- What has come of verifications, a day (counted from 1970 in UTC) and a party at a time: counted
-- from the verifications, which stay what is true. `work` is microseconds.

CREATE TABLE verdict_days (
    party UUID NOT NULL,
    side TEXT NOT NULL CONSTRAINT verdict_days_side CHECK (side IN ('owner', 'verifier')),
    day BIGINT NOT NULL,
    verdict TEXT NOT NULL,
    currency TEXT NOT NULL,
    verdicts BIGINT NOT NULL,
    paid BIGINT NOT NULL,
    fees BIGINT NOT NULL,
    refunded BIGINT NOT NULL,
    work BIGINT NOT NULL,
    PRIMARY KEY (party, side, day, verdict, currency)
) WITHOUT ROWID;

CREATE TABLE request_days (
    party UUID NOT NULL,
    day BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    PRIMARY KEY (party, day)
) WITHOUT ROWID;

CREATE INDEX verifications_requested_of_owner ON verifications (owner, requested_at);
CREATE INDEX verifications_of_owner_in_state ON verifications (owner, state);
