-- Verifiers are found by words. `search_text` has all of them, `search_name` those of the name, by
-- which what is found is ranked. Rows that are there already are found by what they have; a name of
-- theirs with accents ranks with the other words until the profile is saved again.

ALTER TABLE verifiers ADD COLUMN search_name TEXT NOT NULL DEFAULT '';
UPDATE verifiers SET search_name = lower(name);
FULL TEXT verifiers (search_text);
