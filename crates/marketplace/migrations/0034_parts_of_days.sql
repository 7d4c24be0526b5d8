-- What each verification has in the days of its parties, as it was counted last. When it counts as
-- something else, the difference is what the days change by: a day of a hundred thousand costs no
-- more to keep than a day of one. `work` is microseconds.
CREATE TABLE verification_days (
    verification UUID PRIMARY KEY,
    owner UUID NOT NULL,
    requested BIGINT NOT NULL,
    verifier UUID,
    judged BIGINT,
    verdict TEXT,
    currency TEXT NOT NULL,
    paid BIGINT NOT NULL,
    fees BIGINT NOT NULL,
    refunded BIGINT NOT NULL,
    work BIGINT NOT NULL
) WITHOUT ROWID;

INSERT INTO verification_days
SELECT id, owner, requested_at / 86400000000, verifier,
    CASE WHEN fee IS NOT NULL THEN ended_at / 86400000000 END, verdict, currency,
    price - refunded, COALESCE(fee, 0), refunded, COALESCE(ended_at - accepted_at, 0)
FROM verifications;

-- The days as these parts make them.
DELETE FROM verdict_days;
INSERT INTO verdict_days
SELECT owner, 'owner', judged, verdict, currency, CAST(COUNT(*) AS BIGINT),
    CAST(SUM(paid) AS BIGINT), CAST(SUM(fees) AS BIGINT), CAST(SUM(refunded) AS BIGINT),
    CAST(SUM(work) AS BIGINT)
FROM verification_days WHERE judged IS NOT NULL
GROUP BY owner, judged, verdict, currency;
INSERT INTO verdict_days
SELECT verifier, 'verifier', judged, verdict, currency, CAST(COUNT(*) AS BIGINT),
    CAST(SUM(paid) AS BIGINT), CAST(SUM(fees) AS BIGINT), CAST(SUM(refunded) AS BIGINT),
    CAST(SUM(work) AS BIGINT)
FROM verification_days WHERE judged IS NOT NULL AND verifier IS NOT NULL
GROUP BY verifier, judged, verdict, currency;
DELETE FROM request_days;
INSERT INTO request_days
SELECT owner, requested, CAST(COUNT(*) AS BIGINT) FROM verification_days
GROUP BY owner, requested;
