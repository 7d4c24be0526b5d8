-- The address that a link in a mail gives to the account which asked for it; none for all other links.

ALTER TABLE mail_tokens ADD COLUMN email TEXT;
ALTER TABLE mail_tokens ADD COLUMN email_shown TEXT;
