-- Of what the client called itself that refreshed a session last; none where none did, or before this.

ALTER TABLE sessions ADD COLUMN refreshed_by BYTES;
