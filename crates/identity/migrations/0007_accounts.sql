-- Account types, the accounts that users hold, and the names under which older clients know users.

CREATE TABLE account_types (
    id UUID PRIMARY KEY,
    number BIGINT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    permissions TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX account_types_number ON account_types (number);
CREATE UNIQUE INDEX account_types_name ON account_types (name);

INSERT INTO account_types
    (id, number, name, description, permissions, version, created_at, updated_at)
VALUES
    (UUID '00000000-0000-7000-8800-000000000001', 1, 'user',
        'Listens, and shares what others make.', '[]', 1, 0, 0),
    (UUID '00000000-0000-7000-9000-000000000002', 2, 'artist', 'Performs.',
        '["Upload Songs","Upload Albums","Upload Playlists"]', 1, 0, 0),
    (UUID '00000000-0000-7000-9800-000000000003', 3, 'producer', 'Produces for others.',
        '["Upload Songs","Upload Albums","Upload Playlists"]', 1, 0, 0),
    (UUID '00000000-0000-7000-a000-000000000004', 4, 'writer', 'Writes for others.',
        '["Upload Songs","Upload Playlists"]', 1, 0, 0),
    (UUID '00000000-0000-7000-a800-000000000005', 5, 'label', 'Publishes for its artists.',
        '["Upload Songs","Upload Albums","Upload Playlists"]', 1, 0, 0);

CREATE TABLE holdings (
    id UUID PRIMARY KEY,
    owner_id UUID NOT NULL,
    name TEXT NOT NULL,
    bio TEXT NOT NULL,
    status TEXT NOT NULL CONSTRAINT holdings_status CHECK (status IN ('active', 'inactive')),
    plan BIGINT NOT NULL,
    avatar TEXT,
    plays BIGINT NOT NULL,
    likes BIGINT NOT NULL,
    follows BIGINT NOT NULL,
    shares BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX holdings_owner ON holdings (owner_id, id);

CREATE TABLE holding_types (
    holding_id UUID NOT NULL CONSTRAINT holding_types_holding REFERENCES holdings (id),
    type_id UUID NOT NULL CONSTRAINT holding_types_type REFERENCES account_types (id),
    owner_id UUID NOT NULL,
    PRIMARY KEY (holding_id, type_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX holding_types_owner ON holding_types (owner_id, type_id);
CREATE INDEX holding_types_by_type ON holding_types (type_id);

CREATE TABLE handles (
    user_id UUID PRIMARY KEY,
    username TEXT NOT NULL,
    username_shown TEXT NOT NULL,
    country TEXT NOT NULL,
    role_number BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    username_changed_at BIGINT
);
CREATE UNIQUE INDEX handles_username ON handles (username);

CREATE INDEX sessions_over ON sessions (user_id, id) WHERE ended_at IS NOT NULL;
