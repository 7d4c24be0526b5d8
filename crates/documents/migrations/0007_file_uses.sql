-- What refers to a file besides credentials, by the text of its id: a verdict, a dispute. Each is counted
-- once in the file's `used_by`.

CREATE TABLE file_uses (
    file UUID NOT NULL,
    used_in TEXT NOT NULL,
    PRIMARY KEY (file, used_in)
) WITHOUT ROWID;
