-- The embedded sink: where mails go on a machine that has no mail server.

CREATE TABLE mail_sink (
    id UUID PRIMARY KEY,
    recipient TEXT NOT NULL,
    template TEXT NOT NULL,
    subject TEXT NOT NULL,
    text TEXT NOT NULL,
    html TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX mail_sink_recipient ON mail_sink (recipient, id);
CREATE INDEX mail_sink_age ON mail_sink (created_at);
