-- What software has found out about a credential that was uploaded signed; nothing where the file
-- is no signed credential.

ALTER TABLE credentials ADD COLUMN judgement TEXT;
