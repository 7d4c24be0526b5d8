-- Where a second factor was last shown on a session; none where none was.

ALTER TABLE sessions ADD COLUMN proven_ip TEXT;
