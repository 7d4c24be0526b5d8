-- Organizations, who belongs to them, and the keys by which programs act for them. An organization
-- has the id of the enterprise account that it is.

CREATE TABLE organizations (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL,
    website TEXT NOT NULL,
    country TEXT NOT NULL,
    registration_number TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- One person belongs to one organization at most. The account itself is the first row of its own.
CREATE TABLE organization_members (
    person UUID PRIMARY KEY,
    organization UUID NOT NULL,
    role TEXT NOT NULL CONSTRAINT organization_members_role CHECK
        (role IN ('owner', 'admin', 'member', 'viewer')),
    invited_by UUID,
    joined_at BIGINT NOT NULL,
    CONSTRAINT organization_members_account CHECK (person <> organization OR role = 'owner')
);
CREATE INDEX organization_members_of ON organization_members (organization, person);

CREATE TABLE organization_invitations (
    id UUID PRIMARY KEY,
    organization UUID NOT NULL,
    email TEXT NOT NULL,
    role TEXT NOT NULL CONSTRAINT organization_invitations_role CHECK
        (role IN ('owner', 'admin', 'member', 'viewer')),
    token_hash BYTES NOT NULL,
    invited_by UUID NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX organization_invitations_token ON organization_invitations (token_hash);
CREATE UNIQUE INDEX organization_invitations_email
    ON organization_invitations (organization, email);
CREATE INDEX organization_invitations_of ON organization_invitations (organization, id);
CREATE INDEX organization_invitations_expiry ON organization_invitations (expires_at);

CREATE TABLE api_keys (
    id UUID PRIMARY KEY,
    organization UUID NOT NULL,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    hash BYTES NOT NULL,
    scopes TEXT NOT NULL,
    created_by UUID,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT,
    revoked_at BIGINT
);
CREATE UNIQUE INDEX api_keys_prefix ON api_keys (prefix);
CREATE INDEX api_keys_of ON api_keys (organization, id);
