-- Where organizations are told of what happens, what they are told, and how each attempt went.

-- A webhook of the organization's own, or a channel of a chat (its provider). `url` is what may be
-- shown: of a channel only the host, since whoever knows the whole address may write there. `secret`
-- is sealed: the signing key, or the whole address of a channel.
CREATE TABLE webhook_endpoints (
    id UUID PRIMARY KEY,
    organization UUID NOT NULL,
    provider TEXT NOT NULL,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    events TEXT NOT NULL,
    state TEXT NOT NULL CONSTRAINT webhook_endpoints_state CHECK
        (state IN ('enabled', 'paused', 'disabled')),
    reason TEXT,
    secret BYTES NOT NULL,
    old_secret BYTES,
    old_until BIGINT,
    failures BIGINT NOT NULL,
    failing_since BIGINT,
    warned BOOLEAN NOT NULL,
    resume_at BIGINT NOT NULL,
    wakes BIGINT NOT NULL,
    created_by UUID,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX webhook_endpoints_of ON webhook_endpoints (organization, id);
CREATE UNIQUE INDEX webhook_endpoints_provider ON webhook_endpoints (organization, provider)
    WHERE provider <> 'webhook';

-- One fact on its way to one endpoint. `tries` counts the attempts of this round, which a retry by
-- hand begins anew; `attempts` counts all of them.
CREATE TABLE webhook_deliveries (
    id UUID PRIMARY KEY,
    endpoint UUID NOT NULL,
    fact UUID NOT NULL,
    seq BIGINT NOT NULL,
    verb TEXT NOT NULL,
    state TEXT NOT NULL CONSTRAINT webhook_deliveries_state CHECK
        (state IN ('waiting', 'delivered', 'failed')),
    attempts BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX webhook_deliveries_fact ON webhook_deliveries (endpoint, fact);
CREATE INDEX webhook_deliveries_of ON webhook_deliveries (endpoint, id);
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (endpoint, seq)
    WHERE state = 'waiting';

CREATE TABLE webhook_attempts (
    delivery UUID NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    status BIGINT,
    latency_ms BIGINT NOT NULL,
    answer TEXT NOT NULL,
    error TEXT,
    PRIMARY KEY (delivery, number)
) WITHOUT ROWID;
