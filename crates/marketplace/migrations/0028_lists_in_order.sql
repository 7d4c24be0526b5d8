-- Lists whose pages had to be sorted from all that is in them: what a verifier is at work on, their paid
-- jobs, and an owner's verifications in one state.

CREATE INDEX verifications_active_of_verifier ON verifications (verifier, id)
    WHERE state IN ('in_review', 'needs_info');
CREATE INDEX verifications_paid_of_verifier ON verifications (verifier, id) WHERE fee IS NOT NULL;
DROP INDEX verifications_of_owner_in_state;
CREATE INDEX verifications_of_owner_in_state ON verifications (owner, state, id);
