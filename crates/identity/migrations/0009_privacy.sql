-- What was asked for about what is held of people: by themselves, and by admins in their place.

CREATE TABLE privacy_requests (
    id UUID PRIMARY KEY,
    person UUID NOT NULL,
    kind TEXT NOT NULL CONSTRAINT privacy_requests_kind CHECK (kind IN ('export', 'erasure')),
    state TEXT NOT NULL CONSTRAINT privacy_requests_state CHECK
        (state IN ('pending', 'approved', 'done', 'rejected')),
    reason TEXT NOT NULL,
    requested_by UUID NOT NULL,
    decided_by UUID,
    note TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    decided_at BIGINT
);
CREATE UNIQUE INDEX privacy_requests_pending ON privacy_requests (person, kind)
    WHERE state = 'pending';
CREATE INDEX privacy_requests_by_state ON privacy_requests (state, id);
CREATE INDEX privacy_requests_of ON privacy_requests (person, id);
