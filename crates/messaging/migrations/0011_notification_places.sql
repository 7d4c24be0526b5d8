-- What somebody is told of stands in the order of the facts, and by that order alone: each list by
-- another key is one more page to write for every notification.

UPDATE notifications
    SET seq = (SELECT facts.seq FROM facts WHERE facts.id = notifications.fact)
    WHERE seq IS NULL;
DROP INDEX notifications_user_fact;
DROP INDEX notifications_user;
DROP INDEX notifications_unread;
DROP INDEX notifications_user_seq;
CREATE UNIQUE INDEX notifications_user_seq ON notifications (user_id, seq);
CREATE INDEX notifications_unread ON notifications (user_id, seq) WHERE read_at IS NULL;
