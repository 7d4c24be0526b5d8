-- Verifiers with what they offer, and verifications from the request to the verdict.

CREATE TABLE verifiers (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL,
    headline TEXT NOT NULL,
    bio TEXT NOT NULL,
    categories TEXT NOT NULL,
    jurisdiction TEXT NOT NULL,
    licence TEXT NOT NULL,
    status TEXT NOT NULL CONSTRAINT verifiers_status CHECK (status IN ('listed', 'hidden')),
    approved BOOLEAN NOT NULL,
    suspended BOOLEAN NOT NULL,
    rating_sum BIGINT NOT NULL,
    rating_count BIGINT NOT NULL,
    rating_rank BIGINT NOT NULL,
    jobs_done BIGINT NOT NULL,
    search_text TEXT NOT NULL,
    category_keys TEXT NOT NULL,
    since BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX verifiers_by_rating ON verifiers (rating_rank, id)
    WHERE status = 'listed' AND approved AND NOT suspended;
CREATE INDEX verifiers_by_since ON verifiers (since, id)
    WHERE status = 'listed' AND approved AND NOT suspended;

CREATE TABLE services (
    id UUID PRIMARY KEY,
    verifier UUID NOT NULL,
    place BIGINT NOT NULL,
    title TEXT NOT NULL,
    title_key TEXT NOT NULL,
    category TEXT NOT NULL,
    category_key TEXT NOT NULL,
    price BIGINT NOT NULL CONSTRAINT services_price CHECK (price > 0),
    currency TEXT NOT NULL,
    sla_hours BIGINT NOT NULL,
    active BOOLEAN NOT NULL
);
CREATE INDEX services_of_verifier ON services (verifier, place);

-- The lowest and the highest active price of a verifier in each currency: what a list sorted by
-- price walks along. Rewritten with the services.
CREATE TABLE verifier_prices (
    verifier UUID NOT NULL,
    currency TEXT NOT NULL,
    lowest BIGINT NOT NULL,
    highest BIGINT NOT NULL,
    PRIMARY KEY (verifier, currency)
) WITHOUT ROWID;
CREATE INDEX verifier_prices_lowest ON verifier_prices (currency, lowest, verifier);

CREATE TABLE verifications (
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
         'expired', 'force_cancelled')),
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
    fee BIGINT,
    issued UUID,
    reason TEXT,
    CONSTRAINT verifications_money CHECK (price > 0 AND (fee IS NULL OR fee BETWEEN 0 AND price)),
    CONSTRAINT verifications_verdict CHECK
        ((state IN ('verified', 'rejected')) = (fee IS NOT NULL)),
    CONSTRAINT verifications_end CHECK
        ((state IN ('pending', 'in_review', 'needs_info')) = (ended_at IS NULL))
);
CREATE UNIQUE INDEX verifications_open ON verifications (credential)
    WHERE state IN ('pending', 'in_review', 'needs_info');
CREATE UNIQUE INDEX verifications_hold ON verifications (hold);
CREATE INDEX verifications_of_owner ON verifications (owner, id);
CREATE INDEX verifications_of_verifier ON verifications (verifier, state, id);
CREATE INDEX verifications_in_state ON verifications (state, id);
CREATE INDEX verifications_due ON verifications (due_at, id)
    WHERE state IN ('pending', 'in_review', 'needs_info');

-- What a verifier writes down while working. Numbered by the version of the verification that
-- the note made, so two notes never share a number.
CREATE TABLE verification_notes (
    verification UUID NOT NULL,
    number BIGINT NOT NULL,
    author UUID NOT NULL,
    text TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (verification, number)
) WITHOUT ROWID;
APPEND ONLY verification_notes;
