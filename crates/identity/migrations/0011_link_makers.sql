-- Which admin has made a set-up link; none where the platform itself has.

ALTER TABLE setup_links ADD COLUMN made_by UUID;
