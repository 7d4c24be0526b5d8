-- What was asked of providers and what they answered, without secrets and personal data.
CREATE TABLE provider_calls (
    id UUID PRIMARY KEY,
    provider TEXT NOT NULL,
    verb TEXT NOT NULL,
    reference TEXT NOT NULL,
    request TEXT NOT NULL,
    status BIGINT,
    response TEXT NOT NULL,
    outcome TEXT NOT NULL,
    took_micros BIGINT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX provider_calls_reference ON provider_calls (reference, at);
CREATE INDEX provider_calls_at ON provider_calls (at);
