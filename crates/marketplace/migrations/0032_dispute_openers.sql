-- Who has opened a dispute, where that was not the owner: a verifier contests their own verdict.

ALTER TABLE disputes ADD COLUMN opened_by UUID;
