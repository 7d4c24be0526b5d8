-- What streams stand on: the place in the journal of what users were told, which is their cursor,
-- and the tickets that open a stream where a browser can set no header.

ALTER TABLE notifications ADD COLUMN seq BIGINT;
CREATE INDEX notifications_seq ON notifications (seq);
CREATE INDEX notifications_user_seq ON notifications (user_id, seq);

CREATE TABLE stream_tickets (
    hash BYTES PRIMARY KEY,
    user_id UUID NOT NULL,
    session_id UUID NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX stream_tickets_expiry ON stream_tickets (expires_at);
