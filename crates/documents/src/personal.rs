//! What this context holds of people: its tables, and the statements that let people go.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::{Credential, File, Issued, Share, User};
use kernel::{Id, Result};
use platform::db::{Read, Tx};
use platform::params;
use platform::privacy::{Column, Erasure, Holder, Person, Shown, Table, id, of};

/// Files, credentials and shares, as a holder of what they tell of people.
pub struct Held;

const TABLES: &[Table] = &[
    of(
        "files",
        "owner = $1",
        "id",
        &[
            Column("id", id::<File>()),
            Column("owner", id::<User>()),
            Column("name", Shown::Text),
            Column("media_type", Shown::Text),
            Column("size", Shown::Number),
            Column("sha256", Shown::Bytes),
            Column("blob", Shown::Withheld("where the bytes lie on our disks")),
            Column("state", Shown::Text),
            Column("used_by", Shown::Number),
            Column("created_at", Shown::Time),
            Column("scanning", Shown::Flag),
            Column("signatures", Shown::Json),
        ],
    ),
    of(
        "file_uses",
        "file IN (SELECT id FROM files WHERE owner = $1)",
        "file, used_in",
        &[Column("file", id::<File>()), Column("used_in", Shown::Text)],
    ),
    of(
        "file_usage",
        "owner = $1",
        "owner",
        &[Column("owner", id::<User>()), Column("bytes", Shown::Number)],
    ),
    of(
        "uploads",
        "owner = $1",
        "id",
        &[
            Column("id", id::<File>()),
            Column("owner", id::<User>()),
            Column("name", Shown::Text),
            Column("media_type", Shown::Text),
            Column("size", Shown::Number),
            Column("sha256", Shown::Bytes),
            Column("part_size", Shown::Number),
            Column("expires_at", Shown::Time),
            Column("created_at", Shown::Time),
        ],
    ),
    of(
        "upload_parts",
        "upload IN (SELECT id FROM uploads WHERE owner = $1)",
        "upload, number",
        &[
            Column("upload", id::<File>()),
            Column("number", Shown::Number),
            Column("blob", Shown::Withheld("where the bytes lie on our disks")),
            Column("size", Shown::Number),
            Column("sha256", Shown::Bytes),
        ],
    ),
    of(
        "credentials",
        "owner = $1",
        "id",
        &[
            Column("id", id::<Credential>()),
            Column("owner", id::<User>()),
            Column("title", Shown::Text),
            Column("kind", Shown::Text),
            Column("issuer_name", Shown::Text),
            Column("document_number", Shown::Text),
            Column("issue_date", Shown::Text),
            Column("expiry_date", Shown::Text),
            Column("status", Shown::Text),
            Column("file", id::<File>()),
            Column("file_sha256", Shown::Bytes),
            Column("issued", id::<Issued>()),
            Column("verified_at", Shown::Time),
            Column("valid_until", Shown::Time),
            Column("judgement", Shown::Json),
            Column("came_from", Shown::Text),
            Column("search", Shown::Withheld("title, issuer and kind once more")),
            Column("version", Shown::Number),
            Column("created_at", Shown::Time),
            Column("updated_at", Shown::Time),
            Column("deleted_at", Shown::Time),
        ],
    ),
    of(
        "credential_grants",
        "grantee = $1 OR credential IN (SELECT id FROM credentials WHERE owner = $1)",
        "credential, grantee",
        &[
            Column("credential", id::<Credential>()),
            Column("grantee", id::<User>()),
            Column("granted_at", Shown::Time),
            Column("viewed_at", Shown::Time),
        ],
    ),
    of(
        "shares",
        "owner = $1",
        "id",
        &[
            Column("id", id::<Share>()),
            Column("credential", id::<Credential>()),
            Column("owner", id::<User>()),
            Column("token_hash", Shown::Withheld("finds the link again, and opens it for nobody")),
            Column("recipient_email", Shown::Text),
            Column("fields", Shown::Json),
            Column("expires_at", Shown::Time),
            Column("revoked_at", Shown::Time),
            Column("views", Shown::Number),
            Column("last_viewed_at", Shown::Time),
            Column("created_at", Shown::Time),
            Column("asks_code", Shown::Flag),
            Column("code_hash", Shown::Withheld("opens the link once, for its recipient")),
            Column("code_expires_at", Shown::Time),
            Column("code_tries", Shown::Number),
            Column("code_sent_at", Shown::Time),
            Column("codes_sent", Shown::Number),
        ],
    ),
    of(
        "share_views",
        "share IN (SELECT id FROM shares WHERE owner = $1)",
        "share, place",
        &[
            Column("share", id::<Share>()),
            Column("place", Shown::Number),
            Column("number", Shown::Number),
            Column("form", Shown::Text),
            Column("network", Shown::Text),
            Column("viewed_at", Shown::Time),
        ],
    ),
];

impl Holder for Held {
    fn name(&self) -> &'static str {
        "documents"
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn erase<'a>(
        &'a self,
        tx: &'a Tx,
        person: &'a Person,
        what: Erasure,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            if what == Erasure::Person {
                erase_credentials(tx, person.id).await?;
                crate::upload::erase(tx, person.id).await?;
                erase_files(tx, person.id).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

async fn erase_credentials(tx: &Tx, owner: Id<User>) -> Result<()> {
    let now = tx.now();
    let sql = "DELETE FROM share_views WHERE share IN (SELECT id FROM shares WHERE owner = $1)";
    tx.execute(sql, params![owner]).await?;
    let sql = "UPDATE shares SET recipient_email = NULL, code_hash = NULL,
                   revoked_at = COALESCE(revoked_at, $2)
               WHERE owner = $1";
    tx.execute(sql, params![owner, now]).await?;
    let sql = "DELETE FROM credential_grants WHERE grantee = $1
                   OR credential IN (SELECT id FROM credentials WHERE owner = $1)";
    tx.execute(sql, params![owner]).await?;
    let sql = "UPDATE credentials SET title = '', kind = '', issuer_name = '', search = '',
                   document_number = NULL, issue_date = NULL, expiry_date = NULL, file = NULL,
                   file_sha256 = NULL, judgement = NULL,
                   deleted_at = COALESCE(deleted_at, $2), updated_at = $2, version = version + 1
               WHERE owner = $1";
    tx.execute(sql, params![owner, now]).await?;
    Ok(())
}

/// The rows lose their names now; a job removes the bytes, and then the rows.
async fn erase_files(tx: &Tx, owner: Id<User>) -> Result<()> {
    let uses = "DELETE FROM file_uses WHERE file IN (SELECT id FROM files WHERE owner = $1)";
    tx.execute(uses, params![owner]).await?;
    let sql = "UPDATE files SET state = 'deleting', name = '', used_by = 0
               WHERE owner = $1 RETURNING id";
    let files = tx.all(sql, params![owner], |row| row.take::<Id<File>>()).await?;
    for file in files {
        crate::file::erase_later(tx, file)?;
    }
    tx.execute("DELETE FROM file_usage WHERE owner = $1", params![owner]).await?;
    Ok(())
}
