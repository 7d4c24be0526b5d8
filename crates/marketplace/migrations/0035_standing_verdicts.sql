-- The verdicts on one credential, newest last: an organization has judged millions, and few on each.
-- Nothing has asked for an owner's by their time since days change by the difference.
CREATE INDEX verifications_judged_of ON verifications (credential, ended_at) WHERE fee IS NOT NULL;
DROP INDEX verifications_judged_of_owner;
DROP INDEX verifications_requested_of_owner;
