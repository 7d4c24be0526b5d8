-- One key a person, wrapped under the master key. What cannot be overwritten (facts, notes) is
-- sealed under it, so that forgetting the key erases it. The row stays, without its key, to say
-- that there is nothing to be opened any more.

CREATE TABLE person_keys (
    person UUID PRIMARY KEY,
    sealed_key BYTES,
    created_at BIGINT NOT NULL,
    destroyed_at BIGINT
);
