//! All SQL of credentials and their grants.

use kernel::id::kinds::{Credential as CredentialKind, File, Issued, User};
use kernel::{Cursor, Id, Page, PageRequest, Result, Timestamp};
use platform::db::{Bind, DbError, Read, Row, Tx, Value, like};
use platform::params;

use super::judgement::Judgement;
use super::model::{Credential, Date, Filter, NewCredential, Status};
use super::rules;

const COLUMNS: &str = "id, owner, title, kind, issuer_name, document_number, issue_date, \
                       expiry_date, status, file, file_sha256, issued, verified_at, valid_until, \
                       judgement, version, created_at, updated_at, deleted_at";

fn read(row: &Row<'_>, now: Timestamp) -> Result<Credential, DbError> {
    let mut credential = Credential {
        id: row.take()?,
        owner: row.take()?,
        title: row.take()?,
        kind: row.take()?,
        issuer_name: row.take()?,
        document_number: row.take()?,
        issue_date: date(row.take()?)?,
        expiry_date: date(row.take()?)?,
        status: status(&row.take::<String>()?)?,
        file: row.take()?,
        file_sha256: row.take()?,
        issued: row.take()?,
        verified_at: row.take()?,
        valid_until: row.take()?,
        judgement: judgement(row.take()?)?,
        version: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
        deleted_at: row.take()?,
    };
    let Credential { status, valid_until, expiry_date, .. } = credential;
    credential.status = rules::status_at(status, valid_until, expiry_date, now);
    Ok(credential)
}

fn status(text: &str) -> Result<Status, DbError> {
    text.parse().map_err(|_| DbError::Other(format!("{text:?} is no status of a credential")))
}

fn judgement(text: Option<String>) -> Result<Option<Judgement>, DbError> {
    let read = |text: String| {
        serde_json::from_str(&text).map_err(|_| DbError::Other("a judgement is none".to_owned()))
    };
    text.map(read).transpose()
}

fn written(judgement: Option<&Judgement>) -> Option<String> {
    judgement.and_then(|judgement| serde_json::to_string(judgement).ok())
}

fn date(text: Option<String>) -> Result<Option<Date>, DbError> {
    let parse = |text: String| {
        text.parse().map_err(|_| DbError::Other(format!("{text:?} is no day of the calendar")))
    };
    text.map(parse).transpose()
}

/// What a search looks through. Rust knows the lower case of every script, the engines do not
/// agree on it; so it is kept beside the row.
fn searched(title: &str, issuer_name: &str, kind: &str) -> String {
    format!("{title}\n{issuer_name}\n{kind}").to_lowercase()
}

pub(crate) async fn insert(
    tx: &Tx,
    id: Id<CredentialKind>,
    owner: Id<User>,
    new: &NewCredential,
    file_sha256: Option<[u8; 32]>,
    judgement: Option<&Judgement>,
) -> Result<()> {
    let issue_date = new.issue_date.map(|date| date.to_string());
    let expiry_date = new.expiry_date.map(|date| date.to_string());
    tx.execute(
        "INSERT INTO credentials (id, owner, title, kind, issuer_name, document_number, issue_date,
             expiry_date, status, file, file_sha256, search, version, created_at, updated_at,
             judgement)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'draft', $9, $10, $11, 1, $12, $12, $13)",
        params![
            id,
            owner,
            new.title,
            new.kind,
            new.issuer_name,
            new.document_number,
            issue_date,
            expiry_date,
            new.file,
            file_sha256,
            searched(&new.title, &new.issuer_name, &new.kind),
            tx.now(),
            written(judgement)
        ],
    )
    .await?;
    Ok(())
}

/// Keeps what was found out about a credential, or that there is nothing; `false` where it has been
/// deleted. Its version stays: nobody's edit is about this.
pub(crate) async fn judged(
    tx: &Tx,
    id: Id<CredentialKind>,
    judgement: Option<&Judgement>,
) -> Result<bool> {
    let sql = "UPDATE credentials SET judgement = $2 WHERE id = $1 AND deleted_at IS NULL";
    Ok(tx.touch(sql, params![id, written(judgement)]).await?)
}

/// A credential that has not been deleted.
pub(crate) async fn get(
    db: &impl Read,
    id: Id<CredentialKind>,
    now: Timestamp,
) -> Result<Option<Credential>> {
    let credential = get_even_deleted(db, id, now).await?;
    Ok(credential.filter(|credential| credential.deleted_at.is_none()))
}

pub(crate) async fn get_even_deleted(
    db: &impl Read,
    id: Id<CredentialKind>,
    now: Timestamp,
) -> Result<Option<Credential>> {
    let sql = format!("SELECT {COLUMNS} FROM credentials WHERE id = $1");
    Ok(db.maybe(&sql, params![id], |row| read(row, now)).await?)
}

/// Writes the texts and dates of an edit over the version that was read; `false` when somebody
/// else has changed it since.
pub(crate) async fn update(tx: &Tx, credential: &Credential) -> Result<bool> {
    let issue_date = credential.issue_date.map(|date| date.to_string());
    let expiry_date = credential.expiry_date.map(|date| date.to_string());
    let Credential { id, version, title, issuer_name, kind, document_number, .. } = credential;
    Ok(tx
        .touch(
            "UPDATE credentials SET title = $3, issuer_name = $4, document_number = $5,
                 issue_date = $6, expiry_date = $7, search = $8, updated_at = $9,
                 version = version + 1
             WHERE id = $1 AND version = $2 AND deleted_at IS NULL",
            params![
                id,
                version,
                title,
                issuer_name,
                document_number,
                issue_date,
                expiry_date,
                searched(title, issuer_name, kind),
                tx.now()
            ],
        )
        .await?)
}

/// Marks the credential as it was read as pending, and keeps where it was; `false` when it has moved
/// since.
pub(crate) async fn begin(tx: &Tx, credential: &Credential) -> Result<bool> {
    let sql = "UPDATE credentials SET status = 'pending', came_from = status, updated_at = $3,
                   version = version + 1
               WHERE id = $1 AND version = $2 AND deleted_at IS NULL";
    Ok(tx.touch(sql, params![credential.id, credential.version, tx.now()]).await?)
}

/// Where a running verification has found a credential.
pub(crate) async fn came_from(tx: &Tx, id: Id<CredentialKind>) -> Result<Status> {
    let sql = "SELECT COALESCE(came_from, 'draft') FROM credentials WHERE id = $1";
    Ok(tx.one(sql, params![id], |row| status(&row.take::<String>()?)).await?)
}

/// Makes a draft of what was rejected, deleted or not; while a verification runs, of what comes back
/// of it without a verdict.
pub(crate) async fn unreject(tx: &Tx, id: Id<CredentialKind>) -> Result<()> {
    let sql = "UPDATE credentials SET status = 'draft', updated_at = $2, version = version + 1
               WHERE id = $1 AND status = 'rejected'";
    tx.touch(sql, params![id, tx.now()]).await?;
    let sql = "UPDATE credentials SET came_from = 'draft'
               WHERE id = $1 AND status = 'pending' AND came_from = 'rejected'";
    tx.touch(sql, params![id]).await?;
    Ok(())
}

/// Marks it as revoked, or as it is otherwise left by that, deleted or not; `false` when it has moved
/// since it was read.
pub(crate) async fn revoke(tx: &Tx, credential: &Credential, to: Status) -> Result<bool> {
    let sql = "UPDATE credentials SET status = $3, updated_at = $4, version = version + 1
               WHERE id = $1 AND version = $2";
    Ok(tx.touch(sql, params![credential.id, credential.version, to.as_str(), tx.now()]).await?)
}

/// The positive verdict that a credential has; nothing of it where there is none.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub issued: Option<Id<Issued>>,
    pub verified_at: Option<Timestamp>,
    pub valid_until: Option<Timestamp>,
}

/// Ends a running verification; `false` when none runs.
pub(crate) async fn settle(
    tx: &Tx,
    id: Id<CredentialKind>,
    to: Status,
    standing: &Standing,
) -> Result<bool> {
    let Standing { issued, verified_at, valid_until } = standing;
    Ok(tx
        .touch(
            "UPDATE credentials SET status = $2, issued = $3, verified_at = $4, valid_until = $5,
                 came_from = NULL, updated_at = $6, version = version + 1
             WHERE id = $1 AND status = 'pending' AND deleted_at IS NULL",
            params![id, to.as_str(), issued, verified_at, valid_until, tx.now()],
        )
        .await?)
}

/// Hides the credential and takes its file from it.
pub(crate) async fn delete(tx: &Tx, credential: &Credential) -> Result<bool> {
    Ok(tx
        .touch(
            "UPDATE credentials SET deleted_at = $3, updated_at = $3, file = NULL,
                 judgement = NULL, version = version + 1
             WHERE id = $1 AND version = $2 AND deleted_at IS NULL",
            params![credential.id, credential.version, tx.now()],
        )
        .await?)
}

pub(crate) async fn restore(tx: &Tx, credential: &Credential) -> Result<bool> {
    Ok(tx
        .touch(
            "UPDATE credentials SET deleted_at = NULL, updated_at = $3, version = version + 1
             WHERE id = $1 AND version = $2 AND deleted_at IS NOT NULL",
            params![credential.id, credential.version, tx.now()],
        )
        .await?)
}

/// The credentials of one owner, newest first. Without a filter a page visits as many rows as it
/// shows, and one.
pub(crate) async fn list(
    db: &impl Read,
    owner: Id<User>,
    filter: &Filter,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Page<Credential>> {
    select(db, Some(owner), filter, page, now).await
}

/// Everybody's credentials, the deleted ones among them.
pub(crate) async fn search(
    db: &impl Read,
    filter: &Filter,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Page<Credential>> {
    select(db, None, filter, page, now).await
}

async fn select(
    db: &impl Read,
    owner: Option<Id<User>>,
    filter: &Filter,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Page<Credential>> {
    let (today, after) = (Date::of(now).to_string(), page.after_id());
    let pattern =
        filter.text.as_deref().map(|text| format!("%{}%", like(&text.trim().to_lowercase())));
    let mut where_ = Conditions::default();
    where_.add("id < ?", &[after.bind()]);
    if let Some(owner) = &owner {
        where_.add("owner = ? AND deleted_at IS NULL", &[owner.bind()]);
    }
    // The same rule as `rules::status_at`, in the words of the database.
    let over = "(COALESCE(valid_until <= ?, FALSE) OR COALESCE(expiry_date < ?, FALSE))";
    match filter.status {
        Some(status @ (Status::Expired | Status::Verified)) => {
            let not = if status == Status::Verified { "NOT " } else { "" };
            let condition = format!("status = 'verified' AND {not}{over}");
            where_.add(&condition, &[now.bind(), today.bind()]);
        }
        Some(status) => where_.add("status = ?", &[Value::Text(status.as_str())]),
        None => {}
    }
    if let Some(kind) = &filter.kind {
        where_.add("kind = ?", &[kind.bind()]);
    }
    if let Some(pattern) = &pattern {
        where_.add("search LIKE ? ESCAPE '!'", &[pattern.bind()]);
    }
    let Conditions { sql: conditions, mut params } = where_;
    params.extend([Value::Int(page.fetch()), Value::Int(page.offset)]);
    let (limit, offset) = (params.len() - 1, params.len());
    let sql = format!(
        "SELECT {COLUMNS} FROM credentials WHERE {conditions}
         ORDER BY id DESC LIMIT ${limit} OFFSET ${offset}"
    );
    let rows = db.all(&sql, &params, |row| read(row, now)).await?;
    Ok(page.page(rows, |credential| Cursor::by_id(credential.id)))
}

/// Gathers the conditions of a statement whose shape depends on the filter.
#[derive(Default)]
struct Conditions<'a> {
    sql: String,
    params: Vec<Value<'a>>,
}

impl<'a> Conditions<'a> {
    /// Each `?` of `condition` becomes the marker of the next value.
    fn add(&mut self, condition: &str, values: &[Value<'a>]) {
        if !self.sql.is_empty() {
            self.sql.push_str(" AND ");
        }
        let mut pieces = condition.split('?');
        self.sql.push_str(pieces.next().unwrap_or_default());
        for (value, piece) in values.iter().zip(pieces) {
            self.params.push(*value);
            self.sql.push_str(&format!("${}{piece}", self.params.len()));
        }
    }
}

pub(crate) async fn grant(tx: &Tx, id: Id<CredentialKind>, to: Id<User>) -> Result<()> {
    let sql = "INSERT INTO credential_grants (credential, grantee, granted_at) VALUES ($1, $2, $3)
               ON CONFLICT (credential, grantee) DO NOTHING";
    tx.execute(sql, params![id, to, tx.now()]).await?;
    Ok(())
}

pub(crate) async fn withdraw_grant(tx: &Tx, id: Id<CredentialKind>, to: Id<User>) -> Result<()> {
    let sql = "DELETE FROM credential_grants WHERE credential = $1 AND grantee = $2";
    tx.execute(sql, params![id, to]).await?;
    Ok(())
}

pub(crate) async fn withdraw_all_grants(tx: &Tx, id: Id<CredentialKind>) -> Result<()> {
    tx.execute("DELETE FROM credential_grants WHERE credential = $1", params![id]).await?;
    Ok(())
}

pub(crate) async fn is_granted(
    db: &impl Read,
    id: Id<CredentialKind>,
    to: Id<User>,
) -> Result<bool> {
    let sql = "SELECT grantee FROM credential_grants WHERE credential = $1 AND grantee = $2";
    Ok(db.maybe(sql, params![id, to], |_| Ok(())).await?.is_some())
}

/// The credential through which a grantee may see a file.
pub(crate) async fn granting_file(
    db: &impl Read,
    file: Id<File>,
    grantee: Id<User>,
) -> Result<Option<Id<CredentialKind>>> {
    let sql = "SELECT credentials.id FROM credentials
               JOIN credential_grants ON credential_grants.credential = credentials.id
               WHERE credentials.file = $1 AND credential_grants.grantee = $2
                     AND credentials.deleted_at IS NULL
               LIMIT 1";
    Ok(db.maybe(sql, params![file, grantee], |row| row.take()).await?)
}

/// Notes that a grantee opens the document; `false` when that has been noted since `before`.
pub(crate) async fn note_view(
    tx: &Tx,
    id: Id<CredentialKind>,
    grantee: Id<User>,
    before: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE credential_grants SET viewed_at = $3
               WHERE credential = $1 AND grantee = $2
                     AND (viewed_at IS NULL OR viewed_at <= $4)";
    Ok(tx.touch(sql, params![id, grantee, tx.now(), before]).await?)
}
