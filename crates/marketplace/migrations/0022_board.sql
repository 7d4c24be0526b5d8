-- Requests that are addressed to nobody stand on a board, and whoever fits may claim them. A
-- verification can therefore be without a verifier for a while: its table is made anew, since
-- neither a CHECK nor NOT NULL can be changed. `was` is the state before the last change, so that
-- the table itself refuses an edge that is not listed.

CREATE TABLE verifications_next (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    credential UUID NOT NULL,
    kind TEXT NOT NULL,
    kind_key TEXT NOT NULL,
    verifier UUID,
    service UUID,
    service_title TEXT NOT NULL,
    price BIGINT NOT NULL,
    currency TEXT NOT NULL,
    sla_hours BIGINT NOT NULL,
    hold UUID NOT NULL,
    state TEXT NOT NULL CONSTRAINT verifications_state CHECK (state IN
        ('open', 'pending', 'in_review', 'needs_info', 'verified', 'rejected', 'declined',
         'cancelled', 'expired', 'force_cancelled', 'disputed', 'upheld', 'overturned',
         'revoked')),
    was TEXT NOT NULL,
    version BIGINT NOT NULL,
    notes TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    board_until BIGINT,
    jurisdiction TEXT NOT NULL,
    jurisdiction_key TEXT NOT NULL,
    language TEXT NOT NULL,
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
    CONSTRAINT verifications_edge CHECK (was || '>' || state IN
        ('>open', '>pending',
         'open>in_review', 'open>cancelled', 'open>expired', 'open>force_cancelled',
         'pending>in_review', 'pending>declined', 'pending>cancelled', 'pending>expired',
         'pending>force_cancelled',
         'in_review>in_review', 'in_review>needs_info', 'in_review>open', 'in_review>verified',
         'in_review>rejected', 'in_review>expired', 'in_review>force_cancelled',
         'needs_info>needs_info', 'needs_info>in_review', 'needs_info>open',
         'needs_info>expired', 'needs_info>force_cancelled',
         'verified>disputed', 'verified>revoked', 'rejected>disputed',
         'disputed>upheld', 'disputed>overturned', 'upheld>revoked')),
    CONSTRAINT verifications_money CHECK
        (price > 0 AND refunded >= 0 AND (fee IS NULL OR fee BETWEEN 0 AND price - refunded)),
    CONSTRAINT verifications_verdict CHECK
        ((state IN ('verified', 'rejected', 'disputed', 'upheld', 'overturned', 'revoked'))
            = (fee IS NOT NULL) AND (fee IS NULL) = (verdict IS NULL)),
    CONSTRAINT verifications_refund CHECK
        (refunded = 0 OR state IN ('upheld', 'overturned', 'revoked')),
    CONSTRAINT verifications_end CHECK
        ((state IN ('open', 'pending', 'in_review', 'needs_info')) = (ended_at IS NULL)),
    CONSTRAINT verifications_verifier CHECK
        ((verifier IS NULL) = (service IS NULL) AND (state <> 'open' OR verifier IS NULL)
         AND (verifier IS NOT NULL OR (board_until IS NOT NULL
              AND state IN ('open', 'cancelled', 'expired', 'force_cancelled'))))
);
INSERT INTO verifications_next (id, owner, credential, kind, kind_key, verifier, service,
    service_title, price, currency, sla_hours, hold, state, was, version, notes, requested_at,
    due_at, board_until, jurisdiction, jurisdiction_key, language, accepted_at, started_at,
    ended_at, info_asked, info_given, comments, report_url, report_file, verdict, fee, refunded, issued, reason)
SELECT id, owner, credential, kind, kind_key, verifier, service,
    service_title, price, currency, sla_hours, hold, state,
    CASE state
        WHEN 'pending' THEN ''
        WHEN 'needs_info' THEN 'in_review'
        WHEN 'verified' THEN 'in_review'
        WHEN 'rejected' THEN 'in_review'
        WHEN 'disputed' THEN verdict
        WHEN 'upheld' THEN 'disputed'
        WHEN 'overturned' THEN 'disputed'
        WHEN 'revoked' THEN 'verified'
        ELSE 'pending'
    END,
    version, notes, requested_at, due_at, CAST(NULL AS BIGINT), '', '', '',
    accepted_at, started_at, ended_at, info_asked, info_given, comments, report_url, report_file, verdict, fee, refunded,
    issued, reason
FROM verifications;
DROP TABLE verifications;
ALTER TABLE verifications_next RENAME TO verifications;
CREATE UNIQUE INDEX verifications_open ON verifications (credential)
    WHERE state IN ('open', 'pending', 'in_review', 'needs_info');
CREATE UNIQUE INDEX verifications_hold ON verifications (hold);
CREATE INDEX verifications_of_owner ON verifications (owner, id);
CREATE INDEX verifications_of_verifier ON verifications (verifier, state, id);
CREATE INDEX verifications_in_state ON verifications (state, id);
CREATE INDEX verifications_on_board ON verifications (kind_key, id) WHERE state = 'open';
CREATE INDEX verifications_due ON verifications (due_at, id)
    WHERE state IN ('open', 'pending', 'in_review', 'needs_info');
CREATE INDEX verifications_judged_of_owner ON verifications (owner, ended_at)
    WHERE fee IS NOT NULL;
CREATE INDEX verifications_judged_of_verifier ON verifications (verifier, ended_at)
    WHERE fee IS NOT NULL;
CREATE INDEX verifications_issued ON verifications (issued) WHERE issued IS NOT NULL;

-- Who has had a job from the board and given it back, or let it lie: it is not offered to them
-- again.
CREATE TABLE verification_passes (
    verification UUID NOT NULL,
    verifier UUID NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (verification, verifier)
) WITHOUT ROWID;

-- When a verifier is away, what they read, and what they take without being asked (JSON).
ALTER TABLE verifiers ADD COLUMN away_from BIGINT;
ALTER TABLE verifiers ADD COLUMN away_until BIGINT;
ALTER TABLE verifiers ADD COLUMN languages TEXT NOT NULL DEFAULT '[]';
ALTER TABLE verifiers ADD COLUMN auto_accept TEXT;
