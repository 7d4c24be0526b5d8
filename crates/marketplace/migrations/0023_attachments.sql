-- Files that a side of a verification shows the other.
CREATE TABLE verification_attachments (
    verification UUID NOT NULL,
    file UUID NOT NULL,
    author UUID NOT NULL,
    at BIGINT NOT NULL,
    viewed_at BIGINT,
    PRIMARY KEY (verification, file)
) WITHOUT ROWID;
