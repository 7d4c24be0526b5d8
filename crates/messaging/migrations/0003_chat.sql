-- Conversations of users with verifiers and with support. What people write is sealed under the
-- key of whoever wrote it.

CREATE TABLE conversations (
    id UUID PRIMARY KEY,
    kind TEXT NOT NULL
        CONSTRAINT conversations_kind CHECK (kind IN ('support', 'verifier')),
    status TEXT NOT NULL
        CONSTRAINT conversations_status CHECK (status IN ('open', 'assigned', 'closed')),
    opened_by UUID NOT NULL,
    verifier UUID,
    subject TEXT NOT NULL,
    assigned_to UUID,
    messages BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    active_at BIGINT NOT NULL,
    closed_at BIGINT
);
CREATE UNIQUE INDEX conversations_one_support ON conversations (opened_by)
    WHERE kind = 'support' AND status <> 'closed';
CREATE UNIQUE INDEX conversations_one_verifier ON conversations (opened_by, verifier)
    WHERE kind = 'verifier' AND status <> 'closed';
CREATE INDEX conversations_support ON conversations (status, active_at, id)
    WHERE kind = 'support';

CREATE TABLE conversation_participants (
    user_id UUID NOT NULL,
    conversation UUID NOT NULL,
    part TEXT NOT NULL
        CONSTRAINT conversation_participants_part CHECK (part IN ('owner', 'verifier', 'staff')),
    has_read BIGINT NOT NULL,
    read_at BIGINT,
    active_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, conversation)
) WITHOUT ROWID;
CREATE INDEX conversation_participants_conversation ON conversation_participants (conversation);
CREATE INDEX conversation_participants_active
    ON conversation_participants (user_id, active_at, conversation);

CREATE TABLE chat_messages (
    conversation UUID NOT NULL,
    number BIGINT NOT NULL,
    id UUID NOT NULL,
    sender UUID NOT NULL,
    body TEXT NOT NULL,
    sent_at BIGINT NOT NULL,
    PRIMARY KEY (conversation, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX chat_messages_id ON chat_messages (id);
CREATE INDEX chat_messages_sender ON chat_messages (sender, id);
