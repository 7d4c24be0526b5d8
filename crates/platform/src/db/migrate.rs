//! Migrations: one text for both engines, kept by the context whose tables they make.
//!
//! The portable words are `UUID`, `BIGINT`, `TEXT`, `BYTES` and `BOOLEAN`. A table ends with
//! `);` or `) WITHOUT ROWID;` (narrow tables found by their key only; a hint that PostgreSQL does
//! not need). `APPEND ONLY table;` makes triggers that refuse UPDATE and DELETE;
//! `APPEND ONLY table EXCEPT column;` lets that one column be set once. `FULL TEXT table (column);`
//! makes the index by which [`super::search`] finds the rows of a table whose key is `id`. An id is
//! written as `UUID '00000000-0000-7000-8000-000000000001'`.

use kernel::{Error, Result};
use sha2::{Digest, Sha256};

use super::{Db, DbError, Read};
use crate::params;

/// The migrations of one context, in order.
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    pub context: &'static str,
    pub files: &'static [Migration],
}

/// One step. Its text never changes once it has landed: later steps change what it made.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    pub name: &'static str,
    pub sql: &'static str,
}

/// What has become of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    pub context: &'static str,
    pub name: &'static str,
    pub applied: bool,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    context TEXT NOT NULL, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL,
    PRIMARY KEY (context, name));";

impl Db {
    /// Applies what has not been applied yet, all of it in one transaction; answers what it did.
    /// Of several replicas that start at once, one migrates and the others wait.
    pub async fn migrate(&self, contexts: &[Migrations]) -> Result<Vec<MigrationStatus>> {
        self.run("migrate", |tx| async move {
            if tx.is_postgres() {
                // Neither a long migration nor the wait for another replica's is a stuck one.
                tx.batch("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0").await?;
            }
            tx.exclusively("migrate").await?;
            tx.batch(&dialect(TABLE, tx.is_postgres())?).await?;
            let mut done = Vec::new();
            for (context, file) in steps(contexts) {
                if is_applied(&tx, context, file).await? {
                    continue;
                }
                let sql = dialect(file.sql, tx.is_postgres())?;
                tx.batch(&sql).await.map_err(|error| {
                    let message = format!("The migration {context}/{} failed.", file.name);
                    Error::internal(message).because(error)
                })?;
                tx.execute(
                    "INSERT INTO schema_migrations (context, name, checksum, applied_at)
                     VALUES ($1, $2, $3, $4)",
                    params![context, file.name, checksum(file.sql), tx.now()],
                )
                .await?;
                done.push(MigrationStatus { context, name: file.name, applied: true });
            }
            Ok(done)
        })
        .await
    }

    /// What has been applied, and what has not.
    pub async fn migration_status(&self, contexts: &[Migrations]) -> Result<Vec<MigrationStatus>> {
        let known = "SELECT CAST(count(*) AS BIGINT) FROM schema_migrations";
        let fresh = match self.one(known, &[], |row| row.take::<i64>()).await {
            Ok(_) => false,
            Err(error @ (DbError::Unavailable(_) | DbError::Full(_))) => return Err(error.into()),
            Err(_) => true,
        };
        let mut status = Vec::new();
        for (context, file) in steps(contexts) {
            let applied = !fresh && is_applied(self, context, file).await?;
            status.push(MigrationStatus { context, name: file.name, applied });
        }
        Ok(status)
    }
}

fn steps(contexts: &[Migrations]) -> impl Iterator<Item = (&'static str, &'static Migration)> {
    contexts.iter().flat_map(|context| {
        let Migrations { context, files } = *context;
        files.iter().map(move |file| (context, file))
    })
}

async fn is_applied(db: &impl Read, context: &str, file: &Migration) -> Result<bool> {
    let sql = "SELECT checksum FROM schema_migrations WHERE context = $1 AND name = $2";
    let applied: Option<String> =
        db.maybe(sql, params![context, file.name], |row| row.take()).await?;
    match applied {
        None => Ok(false),
        Some(sum) if sum == checksum(file.sql) => Ok(true),
        Some(_) => Err(Error::internal(format!(
            "The migration {context}/{} is not the one that was applied to this database. A \
             migration never changes once it has landed: run the release that belongs to this \
             database, or one that follows it.",
            file.name
        ))),
    }
}

fn checksum(sql: &str) -> String {
    hex::encode(Sha256::digest(sql.as_bytes()))
}

/// What PostgreSQL is given for these migrations: the harness names its templates after it.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn in_postgres_words(contexts: &[Migrations]) -> Result<String> {
    steps(contexts).map(|(_, file)| dialect(file.sql, true)).collect()
}

/// The tables that these migrations put rows into.
pub(super) fn filled_by(contexts: &[Migrations]) -> Vec<String> {
    let mut filled = Vec::new();
    for (_, file) in steps(contexts) {
        let sql = without_comments(file.sql);
        let tables =
            statements(&sql).filter_map(|statement| statement.strip_prefix("INSERT INTO "));
        filled.extend(tables.filter_map(|rest| rest.split_whitespace().next().map(str::to_owned)));
    }
    filled
}

/// Writes the portable text in one engine's words.
fn dialect(sql: &str, postgres: bool) -> Result<String> {
    let sql = without_comments(sql);
    let mut out = String::with_capacity(sql.len() + 256);
    for statement in statements(&sql) {
        if let Some(rest) = statement.strip_prefix("APPEND ONLY ") {
            out.push_str(&append_only(rest, &sql, postgres)?);
        } else if let Some(rest) = statement.strip_prefix("FULL TEXT ") {
            out.push_str(&full_text(rest, postgres)?);
        } else {
            out.push_str(&in_words(statement, postgres));
        }
        out.push_str(";\n");
    }
    Ok(out)
}

/// Comments may hold anything, semicolons included. No literal in a migration holds `--`.
fn without_comments(sql: &str) -> String {
    let code = sql.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code));
    code.collect::<Vec<_>>().join("\n")
}

/// The statements of a file. No literal in a migration holds a semicolon.
fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(';').map(str::trim).filter(|statement| !statement.is_empty())
}

fn in_words(statement: &str, postgres: bool) -> String {
    let is_table = statement.starts_with("CREATE TABLE");
    let (body, narrow) = match statement.strip_suffix("WITHOUT ROWID") {
        Some(body) => (body.trim_end(), true),
        None => (statement, false),
    };
    let mut out = String::with_capacity(statement.len() + 32);
    let mut word = String::new();
    for letter in body.chars().chain(std::iter::once('\n')) {
        if letter.is_ascii_alphanumeric() || letter == '_' {
            word.push(letter);
            continue;
        }
        out.push_str(match (word.as_str(), postgres) {
            ("BYTES", true) => "BYTEA",
            ("BYTES" | "UUID", false) => "BLOB",
            ("BIGINT" | "BOOLEAN", false) => "INTEGER",
            (other, _) => other,
        });
        word.clear();
        out.push(letter);
    }
    if !postgres {
        out = ids_as_bytes(&out);
    }
    if is_table && !postgres {
        out.push_str(if narrow { "STRICT, WITHOUT ROWID" } else { "STRICT" });
    }
    out
}

/// Ids as SQLite writes them. The word before the literal has become `BLOB`.
fn ids_as_bytes(statement: &str) -> String {
    let mut parts = statement.split("BLOB '");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (id, rest) = part.split_once('\'').unwrap_or((part, ""));
        out.push_str(&format!("x'{}'{rest}", id.replace('-', "")));
    }
    out
}

fn full_text(rest: &str, postgres: bool) -> Result<String> {
    let words = rest.strip_suffix(')').and_then(|rest| rest.split_once('('));
    let Some((table, column)) = words.map(|(table, column)| (table.trim(), column.trim())) else {
        return Err(Error::internal(format!("FULL TEXT is not followed by: {rest}")));
    };
    Ok(if postgres { full_text_postgres(table, column) } else { full_text_sqlite(table, column) })
}

/// The table of FTS5 has the row's id twice: as it is, and as a word, by which what it has of a row is
/// found again to be taken out. Row numbers would not do: they change when the file is packed. What is
/// taken out is gone at once (`secure-delete`): a word of somebody who was forgotten must not lie in
/// the index until it is merged.
fn full_text_sqlite(table: &str, column: &str) -> String {
    let index = format!("{table}_search");
    let add = |row: &str| {
        format!(
            "INSERT INTO {index} (id, row_key, words)
             VALUES ({row}.id, hex({row}.id), {row}.{column})"
        )
    };
    let drop = format!("DELETE FROM {index} WHERE {index} MATCH 'row_key : ' || hex(OLD.id)");
    format!(
        "CREATE VIRTUAL TABLE {index} USING fts5(id UNINDEXED, row_key, words,
             tokenize = 'unicode61 remove_diacritics 2');
         INSERT INTO {index} ({index}, rank) VALUES ('secure-delete', 1);
         INSERT INTO {index} (id, row_key, words) SELECT id, hex(id), {column} FROM {table};
         CREATE TRIGGER {index}_new AFTER INSERT ON {table} BEGIN {}; END;
         CREATE TRIGGER {index}_changed AFTER UPDATE OF {column} ON {table}
         WHEN OLD.{column} <> NEW.{column} BEGIN {drop}; {}; END;
         CREATE TRIGGER {index}_gone AFTER DELETE ON {table} BEGIN {drop}; END",
        add("NEW"),
        add("NEW")
    )
}

/// Rows that are there already lose their accents here; FTS5 takes them off by itself.
fn full_text_postgres(table: &str, column: &str) -> String {
    format!(
        "UPDATE {table} SET {column} =
             regexp_replace(normalize({column}, NFKD), '[\\u0300-\\u036f]', '', 'g');
         CREATE INDEX {table}_search ON {table} USING gin (to_tsvector('simple', {column}))"
    )
}

fn append_only(rest: &str, sql: &str, postgres: bool) -> Result<String> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (table, once) = match words[..] {
        [table] => (table, None),
        [table, "EXCEPT", column] => (table, Some(column)),
        _ => return Err(Error::internal(format!("APPEND ONLY is not followed by: {rest}"))),
    };
    if postgres {
        return Ok(append_only_postgres(table, once));
    }
    let Some(once) = once else { return Ok(append_only_sqlite(table, "", "")) };
    let fixed: Vec<&str> = columns(sql, table).filter(|column| *column != once).collect();
    if fixed.is_empty() {
        return Err(Error::internal(format!("APPEND ONLY {table} stands in another migration")));
    }
    // What must not change is every other column; the one may change while it is NULL.
    let condition = format!("WHEN OLD.{once} IS NOT NULL");
    let of = format!("OF {}", fixed.join(", "));
    let second = format!(
        ";\nCREATE TRIGGER {table}_{once}_once BEFORE UPDATE ON {table} {condition}
         BEGIN SELECT RAISE(ABORT, '{table}.{once} is set once'); END"
    );
    Ok(append_only_sqlite(table, &of, &second))
}

/// The column names of a table that this text makes.
fn columns<'a>(sql: &'a str, table: &str) -> impl Iterator<Item = &'a str> {
    let start = format!("CREATE TABLE {table} (");
    let body = sql.split_once(&start).map_or("", |(_, rest)| rest);
    let body = body.split_once(';').map_or(body, |(body, _)| body);
    let mut depth = 0_i32;
    body.split(move |letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        letter == ',' && depth == 0
    })
    .filter_map(|part| part.split_whitespace().next())
    // Words in capitals begin a constraint.
    .filter(|word| word.starts_with(|letter: char| letter.is_ascii_lowercase()))
}

fn append_only_sqlite(table: &str, of: &str, more: &str) -> String {
    let refuse = format!("SELECT RAISE(ABORT, '{table} is append-only')");
    format!(
        "CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} BEGIN {refuse}; END;
         CREATE TRIGGER {table}_no_update BEFORE UPDATE {of} ON {table} BEGIN {refuse}; END{more}"
    )
}

fn append_only_postgres(table: &str, once: Option<&str>) -> String {
    let guard = match once {
        None => String::new(),
        Some(column) => format!(
            "IF TG_OP = 'UPDATE' THEN
                 IF OLD.{column} IS NULL
                     AND to_jsonb(NEW) - '{column}' = to_jsonb(OLD) - '{column}'
                 THEN RETURN NEW; END IF;
             END IF; "
        ),
    };
    format!(
        "CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $body$
         BEGIN {guard}RAISE EXCEPTION '{table} is append-only'; END $body$;
         CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
             FOR EACH ROW EXECUTE FUNCTION {table}_append_only();
         CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
             FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
    )
}
