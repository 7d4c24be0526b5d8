-- What owners say of verifiers' work.

CREATE TABLE reviews (
    id UUID PRIMARY KEY,
    verification UUID NOT NULL,
    verifier UUID NOT NULL,
    author UUID NOT NULL,
    stars BIGINT NOT NULL CONSTRAINT reviews_stars CHECK (stars BETWEEN 1 AND 5),
    text TEXT NOT NULL,
    at BIGINT NOT NULL,
    answer TEXT,
    answered_at BIGINT
);
CREATE UNIQUE INDEX reviews_verification ON reviews (verification);
CREATE INDEX reviews_of_verifier ON reviews (verifier, id);
CREATE INDEX reviews_of_author ON reviews (author, id);
