-- What was found out about the signatures in a file; nothing where nobody looks for any.

ALTER TABLE files ADD COLUMN signatures TEXT;
