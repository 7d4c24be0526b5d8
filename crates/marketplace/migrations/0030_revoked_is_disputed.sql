-- A verdict can be disputed also when its signed credential has been revoked meanwhile: a revocation
-- by somebody else must not leave the owner without their money. The edge stands in a CHECK, so the
-- table is made anew, with the columns and indexes that it has.

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
         'disputed>upheld', 'disputed>overturned', 'upheld>revoked',
         'revoked>disputed')),
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
    ended_at, info_asked, info_given, comments, report_url, report_file, verdict, fee, refunded,
    issued, reason)
SELECT id, owner, credential, kind, kind_key, verifier, service,
    service_title, price, currency, sla_hours, hold, state, was, version, notes, requested_at,
    due_at, board_until, jurisdiction, jurisdiction_key, language, accepted_at, started_at,
    ended_at, info_asked, info_given, comments, report_url, report_file, verdict, fee, refunded,
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
CREATE INDEX verifications_requested_of_owner ON verifications (owner, requested_at);
CREATE INDEX verifications_of_owner_in_state ON verifications (owner, state, id);
CREATE INDEX verifications_active_of_verifier ON verifications (verifier, id)
    WHERE state IN ('in_review', 'needs_info');
CREATE INDEX verifications_paid_of_verifier ON verifications (verifier, id) WHERE fee IS NOT NULL;
