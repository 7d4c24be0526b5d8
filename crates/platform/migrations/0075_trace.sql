-- Which trace a job belongs to: that of the request that has left it to be done.

ALTER TABLE jobs ADD COLUMN trace TEXT;
