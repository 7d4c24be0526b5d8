-- From where a key may be used: networks with spaces between them; none is from everywhere.

ALTER TABLE api_keys ADD COLUMN allowed_addresses TEXT;
ALTER TABLE api_keys ADD COLUMN last_refused_at BIGINT;
