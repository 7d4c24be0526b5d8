-- What people find an admin should look at. A subject is an id in its text form: it may be of any
-- kind, and gone by the time somebody looks.

CREATE TABLE flags (
    id UUID PRIMARY KEY,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL CONSTRAINT flags_kind CHECK (kind IN ('credential', 'verifier', 'review')),
    holder UUID NOT NULL,
    excerpt TEXT NOT NULL,
    reporter UUID NOT NULL,
    reason TEXT NOT NULL,
    details TEXT NOT NULL,
    state TEXT NOT NULL CONSTRAINT flags_state CHECK (state IN ('open', 'upheld', 'dismissed')),
    action TEXT,
    resolution TEXT,
    resolved_by UUID,
    created_at BIGINT NOT NULL,
    resolved_at BIGINT
);
CREATE UNIQUE INDEX flags_open ON flags (subject, reporter) WHERE state = 'open';
CREATE INDEX flags_of_subject ON flags (subject, state);
CREATE INDEX flags_by_state ON flags (state, id);
CREATE INDEX flags_of_reporter ON flags (reporter, id);
CREATE INDEX flags_of_holder ON flags (holder);
