-- The status that a running verification has found a credential in: there it goes back to when
-- nothing comes of it. Those that run already go back to drafts, as they did.

ALTER TABLE credentials ADD COLUMN came_from TEXT;
