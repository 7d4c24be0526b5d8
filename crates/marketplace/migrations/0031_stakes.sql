-- What verifiers have staked, as the journal tells: the list of the marketplace leaves out who has not
-- staked what a job takes. The money itself is elsewhere.

CREATE TABLE verifier_stakes (
    verifier UUID NOT NULL,
    currency TEXT NOT NULL,
    staked BIGINT NOT NULL,
    PRIMARY KEY (verifier, currency)
) WITHOUT ROWID;
