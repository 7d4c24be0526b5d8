-- What a user is told: one row for each fact that concerns them and is worth a word.

CREATE TABLE notifications (
    id UUID PRIMARY KEY,
    user_id UUID NOT NULL,
    fact UUID NOT NULL,
    kind TEXT NOT NULL
        CONSTRAINT notifications_kind CHECK (kind IN ('success', 'info', 'warning')),
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    subject TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    read_at BIGINT
);
CREATE UNIQUE INDEX notifications_user_fact ON notifications (user_id, fact);
CREATE INDEX notifications_user ON notifications (user_id, id);
CREATE INDEX notifications_unread ON notifications (user_id, id) WHERE read_at IS NULL;
