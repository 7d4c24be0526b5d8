-- Changes of settings that admins vote on. Quorum and deadline are those of the day on which a
-- proposal was made.

CREATE TABLE proposals (
    id UUID PRIMARY KEY,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    changes TEXT NOT NULL,
    proposer UUID NOT NULL,
    quorum BIGINT NOT NULL,
    closes_at BIGINT NOT NULL,
    state TEXT NOT NULL CONSTRAINT proposals_state CHECK (state IN ('open', 'executed')),
    touched BIGINT NOT NULL,
    settings_version BIGINT,
    executed_by UUID,
    executed_at BIGINT,
    created_at BIGINT NOT NULL
);

CREATE TABLE proposal_votes (
    proposal UUID NOT NULL,
    voter UUID NOT NULL,
    vote TEXT NOT NULL CONSTRAINT proposal_votes_vote CHECK (vote IN ('for', 'against', 'abstain')),
    at BIGINT NOT NULL,
    PRIMARY KEY (proposal, voter)
) WITHOUT ROWID;
