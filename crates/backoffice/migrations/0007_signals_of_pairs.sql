-- What two have had with each other is found by both: a verifier's verdicts of a month are many, and
-- those about one owner are few. Most signals name nobody else.
DROP INDEX fraud_signals_other;
CREATE INDEX fraud_signals_of_two ON fraud_signals (other, kind, person, at)
    WHERE other IS NOT NULL;
