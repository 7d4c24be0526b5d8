-- What a verifier says of themselves is replaced as a whole: with a version, whoever has read an older
-- one can be told so. It counts what they have saved, and not what becomes of their work.

ALTER TABLE verifiers ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
