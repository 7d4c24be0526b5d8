-- Money on its way back to where a payment came from.
CREATE TABLE refunds (
    id UUID PRIMARY KEY,
    payment UUID NOT NULL,
    owner UUID NOT NULL,
    provider TEXT NOT NULL,
    source TEXT NOT NULL CONSTRAINT refunds_source CHECK (source IN ('wallet', 'suspense')),
    asset TEXT NOT NULL,
    amount BIGINT NOT NULL CONSTRAINT refunds_amount CHECK (amount > 0),
    state TEXT NOT NULL CONSTRAINT refunds_state CHECK (
        state IN ('requested', 'submitting', 'unknown', 'submitted', 'settled', 'failed')),
    reason TEXT NOT NULL,
    failure TEXT,
    requested_by UUID NOT NULL,
    provider_ref TEXT,
    version BIGINT NOT NULL,
    checks BIGINT NOT NULL,
    next_check_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX refunds_payment ON refunds (payment, id);
CREATE INDEX refunds_owner ON refunds (owner, id);
CREATE INDEX refunds_state ON refunds (state, id);
CREATE INDEX refunds_due ON refunds (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX payments_state ON payments (state, id);
