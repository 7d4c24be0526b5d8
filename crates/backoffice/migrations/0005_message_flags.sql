-- Messages can be flagged as well. A CHECK cannot be changed: the table is made anew.

CREATE TABLE flags_next (
    id UUID PRIMARY KEY,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL CONSTRAINT flags_kind CHECK (kind IN
        ('credential', 'verifier', 'review', 'message')),
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
INSERT INTO flags_next (id, subject, kind, holder, excerpt, reporter, reason, details, state, action, resolution,
    resolved_by, created_at, resolved_at)
SELECT id, subject, kind, holder, excerpt, reporter, reason, details, state, action, resolution,
    resolved_by, created_at, resolved_at
FROM flags;
DROP TABLE flags;
ALTER TABLE flags_next RENAME TO flags;
CREATE UNIQUE INDEX flags_open ON flags (subject, reporter) WHERE state = 'open';
CREATE INDEX flags_of_subject ON flags (subject, state);
CREATE INDEX flags_by_state ON flags (state, id);
CREATE INDEX flags_of_reporter ON flags (reporter, id);
CREATE INDEX flags_of_holder ON flags (holder);
