-- Disputes over verdicts. What a verification can be has grown: its table is made anew, since a CHECK
-- cannot be changed.

CREATE TABLE verifications_next (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    credential UUID NOT NULL,
    kind TEXT NOT NULL,
    kind_key TEXT NOT NULL,
    verifier UUID NOT NULL,
    service UUID NOT NULL,
    service_title TEXT NOT NULL,
    price BIGINT NOT NULL,
    currency TEXT NOT NULL,
    sla_hours BIGINT NOT NULL,
    hold UUID NOT NULL,
    state TEXT NOT NULL CONSTRAINT verifications_state CHECK (state IN
        ('pending', 'in_review', 'needs_info', 'verified', 'rejected', 'declined', 'cancelled',
         'expired', 'force_cancelled', 'disputed', 'upheld', 'overturned', 'revoked')),
    version BIGINT NOT NULL,
    notes TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    accepted_at BIGINT,
    started_at BIGINT,
    ended_at BIGINT,
    info_asked TEXT,
    info_given TEXT,
    comments TEXT,
    report_url TEXT,
    report_file UUID,
    verdict TEXT CONSTRAINT verifications_verdicts CHECK (verdict IN ('verified', 'rejected')),
    fee BIGINT,
    refunded BIGINT NOT NULL,
    issued UUID,
    reason TEXT,
    CONSTRAINT verifications_money CHECK
        (price > 0 AND refunded >= 0 AND (fee IS NULL OR fee BETWEEN 0 AND price - refunded)),
    CONSTRAINT verifications_verdict CHECK
        ((state IN ('verified', 'rejected', 'disputed', 'upheld', 'overturned', 'revoked'))
            = (fee IS NOT NULL) AND (fee IS NULL) = (verdict IS NULL)),
    CONSTRAINT verifications_refund CHECK
        (refunded = 0 OR state IN ('upheld', 'overturned', 'revoked')),
    CONSTRAINT verifications_end CHECK
        ((state IN ('pending', 'in_review', 'needs_info')) = (ended_at IS NULL))
);
INSERT INTO verifications_next (id, owner, credential, kind, kind_key, verifier, service,
    service_title, price, currency, sla_hours, hold, state, version, notes, requested_at, due_at,
    accepted_at, started_at, ended_at, info_asked, info_given, comments, report_url, report_file,
    verdict, fee, refunded, issued, reason)
SELECT id, owner, credential, kind, kind_key, verifier, service,
    service_title, price, currency, sla_hours, hold, state, version, notes, requested_at, due_at,
    accepted_at, started_at, ended_at, info_asked, info_given, comments, report_url, report_file,
    CASE WHEN fee IS NULL THEN NULL ELSE state END, fee, 0, issued, reason
FROM verifications;
DROP TABLE verifications;
ALTER TABLE verifications_next RENAME TO verifications;
CREATE UNIQUE INDEX verifications_open ON verifications (credential)
    WHERE state IN ('pending', 'in_review', 'needs_info');
CREATE UNIQUE INDEX verifications_hold ON verifications (hold);
CREATE INDEX verifications_of_owner ON verifications (owner, id);
CREATE INDEX verifications_of_verifier ON verifications (verifier, state, id);
CREATE INDEX verifications_in_state ON verifications (state, id);
CREATE INDEX verifications_due ON verifications (due_at, id)
    WHERE state IN ('pending', 'in_review', 'needs_info');
CREATE INDEX verifications_judged_of_owner ON verifications (owner, ended_at)
    WHERE fee IS NOT NULL;
CREATE INDEX verifications_judged_of_verifier ON verifications (verifier, ended_at)
    WHERE fee IS NOT NULL;
CREATE INDEX verifications_issued ON verifications (issued) WHERE issued IS NOT NULL;

CREATE TABLE disputes (
    id UUID PRIMARY KEY,
    verification UUID NOT NULL,
    owner UUID NOT NULL,
    verifier UUID NOT NULL,
    ground TEXT NOT NULL CONSTRAINT disputes_ground CHECK (ground IN
        ('wrong_verdict', 'poor_work', 'misconduct', 'other')),
    state TEXT NOT NULL CONSTRAINT disputes_state CHECK (state IN
        ('open', 'in_review', 'resolved', 'appealed', 'closed')),
    version BIGINT NOT NULL,
    assignee UUID,
    resolution TEXT CONSTRAINT disputes_resolution CHECK (resolution IN
        ('refund_user', 'pay_verifier', 'split', 'reject')),
    refund_bps BIGINT CONSTRAINT disputes_refund CHECK (refund_bps BETWEEN 0 AND 10000),
    reasoning TEXT,
    decided_by UUID,
    decided_at BIGINT,
    final_at BIGINT,
    appealed_by UUID,
    appealed_at BIGINT,
    opened_at BIGINT NOT NULL,
    closed_at BIGINT,
    CONSTRAINT disputes_decision CHECK
        ((resolution IS NULL) = (refund_bps IS NULL)
         AND (state NOT IN ('resolved', 'appealed', 'closed') OR resolution IS NOT NULL)),
    CONSTRAINT disputes_end CHECK ((state = 'closed') = (closed_at IS NOT NULL))
);
CREATE UNIQUE INDEX disputes_verification ON disputes (verification);
CREATE INDEX disputes_of_owner ON disputes (owner, id);
CREATE INDEX disputes_of_verifier ON disputes (verifier, id);
CREATE INDEX disputes_in_state ON disputes (state, id);
CREATE INDEX disputes_due ON disputes (final_at, id) WHERE state = 'resolved';

-- What the parties say and show, numbered by the version of the dispute that it has made.
CREATE TABLE dispute_evidence (
    dispute UUID NOT NULL,
    number BIGINT NOT NULL,
    author UUID NOT NULL,
    text TEXT NOT NULL,
    file UUID,
    at BIGINT NOT NULL,
    PRIMARY KEY (dispute, number)
) WITHOUT ROWID;
