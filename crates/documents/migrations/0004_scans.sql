-- Files that wait for a virus scanner: they are there, and nobody reads them.

ALTER TABLE files ADD COLUMN scanning BOOLEAN NOT NULL DEFAULT FALSE;
