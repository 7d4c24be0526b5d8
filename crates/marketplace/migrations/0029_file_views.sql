-- Who has read which file of a case, and when last: reading it in parts is one view, not many.

CREATE TABLE file_views (
    subject TEXT NOT NULL,
    file UUID NOT NULL,
    reader UUID NOT NULL,
    viewed_at BIGINT NOT NULL,
    PRIMARY KEY (subject, file, reader)
) WITHOUT ROWID;
CREATE INDEX file_views_of_reader ON file_views (reader);
