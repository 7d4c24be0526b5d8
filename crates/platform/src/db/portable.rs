//! Tables whole, in a form that is the same on both engines: what is moved from one store to
//! another, and what is summed up to show that two stores hold the same.
//!
//! Rows are read in the order of their primary keys, in pieces, so that a table of any length
//! costs the memory of one piece. Texts are ordered by their bytes, whatever the database sorts by
//! otherwise.

use kernel::{Error, Result};
use sha2::{Digest, Sha256};

use super::{
    Column, Db, DbError, FromColumn, Migrations, Read, Row, Tx, Value, migrate, sqlite, together,
};
use crate::params;

/// Rows that are held in memory at once.
pub const PIECE: usize = 500;
/// The table that a store has for as long as it is being filled from another one.
const MARK: &str = "data_move";

/// What a column holds. The embedded store keeps ids as bytes and truth as numbers, and so these
/// are what it says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Uuid,
    Int,
    Text,
    Bytes,
    Bool,
}

/// One value of a row; truth is a number, and an id is its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A row, column by column in the table's order.
pub type Items = Vec<Item>;

/// A table as one store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    columns: Vec<(String, Type)>,
    /// Places of the primary key's columns, in the key's order.
    key: Vec<usize>,
}

/// A table summed up: equal on two stores exactly when the rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    pub rows: u64,
    /// SHA-256 over the rows in the order of their keys. Each value is a byte for its kind, then
    /// for a number eight bytes, and for text and bytes the length in eight bytes and the content;
    /// numbers are big-endian.
    pub sha256: [u8; 32],
}

/// A store seen at one moment, however long it is looked at.
pub struct Snapshot(Source);

enum Source {
    /// The embedded store, of which nobody else writes: the caller sees to that.
    Still(Db),
    /// A transaction that sees what was committed when it began.
    Held(Tx),
}

impl FromColumn for Item {
    fn from_column(column: Column<'_>) -> Option<Self> {
        Some(match column {
            Column::Null => Self::Null,
            Column::Bool(value) => Self::Int(value.into()),
            Column::Int(value) => Self::Int(value),
            Column::Text(value) => Self::Text(value.to_owned()),
            Column::Bytes(value) => Self::Bytes(value.to_vec()),
        })
    }
}

impl Item {
    /// As a parameter for a column of this type.
    fn bind_as(&self, kind: Type) -> Result<Value<'_>, DbError> {
        Ok(match (self, kind) {
            (Self::Null, _) => Value::Null,
            (Self::Int(value), Type::Int) => Value::Int(*value),
            (Self::Int(value @ (0 | 1)), Type::Bool) => Value::Bool(*value == 1),
            (Self::Text(value), Type::Text) => Value::Text(value),
            (Self::Bytes(value), Type::Bytes) => Value::Bytes(value),
            (Self::Bytes(value), Type::Uuid) => {
                let id = uuid::Uuid::from_slice(value);
                Value::Uuid(id.map_err(|_| DbError::Other("an id is not 16 bytes long".into()))?)
            }
            (other, kind) => {
                return Err(DbError::Other(format!("{other:?} is nothing for {kind:?}")));
            }
        })
    }

    fn hash_into(&self, hash: &mut Sha256) {
        let content = |hash: &mut Sha256, tag: u8, bytes: &[u8]| {
            hash.update([tag]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        match self {
            Self::Null => hash.update([0]),
            Self::Int(value) => {
                hash.update([1]);
                hash.update(value.to_be_bytes());
            }
            Self::Text(text) => content(hash, 2, text.as_bytes()),
            Self::Bytes(bytes) => content(hash, 3, bytes),
        }
    }
}

impl Table {
    /// Whether two stores mean the same table: its name, its columns in order, and its key.
    pub fn is_like(&self, other: &Self) -> bool {
        let names = |table: &Self| -> Vec<String> {
            table.columns.iter().map(|(name, _)| name.clone()).collect()
        };
        self.name == other.name && self.key == other.key && names(self) == names(other)
    }

    /// The key of a row of this table.
    pub fn key_of(&self, row: &[Item]) -> Items {
        self.key.iter().filter_map(|place| row.get(*place).cloned()).collect()
    }

    fn columns(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }

    fn key_columns(&self) -> impl Iterator<Item = (&str, Type)> {
        self.key.iter().filter_map(|place| self.columns.get(*place)).map(|(n, t)| (n.as_str(), *t))
    }

    /// The key's columns as they are compared and ordered; `then` follows each.
    fn key_in_order(&self, postgres: bool, then: &str) -> String {
        let words = self.key_columns().map(|(name, kind)| {
            let bytewise = if postgres && kind == Type::Text { " COLLATE \"C\"" } else { "" };
            format!("{name}{bytewise}{then}")
        });
        words.collect::<Vec<_>>().join(", ")
    }

    /// Reads the next rows behind a key, or the first.
    async fn rows(
        &self,
        db: &impl Read,
        postgres: bool,
        after: Option<&[Item]>,
        limit: usize,
    ) -> Result<Vec<Items>, DbError> {
        let order = self.key_in_order(postgres, "");
        let mut params = Vec::new();
        let mut where_ = String::new();
        if let Some(after) = after {
            for ((_, kind), item) in self.key_columns().zip(after) {
                params.push(item.bind_as(kind)?);
            }
            let markers: Vec<_> = (1..=params.len()).map(|number| format!("${number}")).collect();
            where_ = format!("WHERE ({order}) > ({})", markers.join(", "));
        }
        let sql = format!(
            "SELECT {} FROM {} {where_} ORDER BY {order} LIMIT {limit}",
            self.columns(),
            self.name
        );
        let width = self.columns.len();
        db.all(&sql, &params, |row| (0..width).map(|_| row.take()).collect()).await
    }

    /// The key of the last row: how far a table has been filled.
    pub async fn last_key(&self, db: &Db) -> Result<Option<Items>> {
        let postgres = db.is_shared();
        let names: Vec<&str> = self.key_columns().map(|(name, _)| name).collect();
        let sql = format!(
            "SELECT {} FROM {} ORDER BY {} LIMIT 1",
            names.join(", "),
            self.name,
            self.key_in_order(postgres, " DESC")
        );
        let width = names.len();
        Ok(db.maybe(&sql, &[], |row| (0..width).map(|_| row.take()).collect()).await?)
    }

    /// Adds rows that another store has given.
    pub async fn insert(&self, tx: &Tx, rows: &[Items]) -> Result<()> {
        let markers: Vec<_> = (1..=self.columns.len()).map(|place| format!("${place}")).collect();
        let columns = self.columns();
        let sql = format!("INSERT INTO {} ({columns}) VALUES ({})", self.name, markers.join(", "));
        let bound = rows.iter().map(|row| {
            row.iter().zip(&self.columns).map(|(item, (_, kind))| item.bind_as(*kind)).collect()
        });
        let bound: Vec<Vec<Value<'_>>> = bound.collect::<Result<_, DbError>>()?;
        // Sent together: on PostgreSQL the next row does not wait for the last one's answer.
        let sql = sql.as_str();
        together(bound.iter().map(|params| async move { Ok(tx.execute(sql, params).await?) }))
            .await?;
        Ok(())
    }
}

impl Snapshot {
    /// All tables but those of the store itself, each behind those that it refers to.
    pub async fn tables(&self) -> Result<Vec<Table>> {
        match &self.0 {
            Source::Still(db) => tables(db, db.is_shared()).await,
            Source::Held(tx) => tables(tx, true).await,
        }
    }

    /// The next rows of a table behind a key, or the first; at most [`PIECE`], and none behind the
    /// last.
    pub async fn rows(&self, table: &Table, after: Option<&[Item]>) -> Result<Vec<Items>> {
        Ok(match &self.0 {
            Source::Still(db) => table.rows(db, db.is_shared(), after, PIECE).await?,
            Source::Held(tx) => table.rows(tx, true, after, PIECE).await?,
        })
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &Table) -> Result<u64> {
        let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {}", table.name);
        let read = |row: &Row<'_>| row.take::<i64>();
        let count = match &self.0 {
            Source::Still(db) => db.one(&sql, &[], read).await?,
            Source::Held(tx) => tx.one(&sql, &[], read).await?,
        };
        Ok(count.unsigned_abs())
    }

    /// Sums a table up; `seen` hears of each piece how many rows it has.
    pub async fn sum(&self, table: &Table, mut seen: impl FnMut(usize)) -> Result<Sum> {
        let (mut hash, mut rows) = (Sha256::new(), 0);
        let mut after = None;
        loop {
            let piece = self.rows(table, after.as_deref()).await?;
            let Some(last) = piece.last() else { break };
            after = Some(table.key_of(last));
            for item in piece.iter().flatten() {
                item.hash_into(&mut hash);
            }
            rows += piece.len() as u64;
            seen(piece.len());
        }
        Ok(Sum { rows, sha256: hash.finalize().into() })
    }
}

impl Db {
    /// The store as it is at this moment. On the embedded store it is the caller who sees to it
    /// that nobody writes: it has its folder for itself, or reads a copy.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        if !self.is_shared() {
            return Ok(Snapshot(Source::Still(self.clone())));
        }
        let tx = Tx::begin(self, "portable").await?;
        tx.batch(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
             SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0",
        )
        .await?;
        Ok(Snapshot(Source::Held(tx)))
    }

    /// What the engine itself finds wrong with its file; nothing on PostgreSQL, which is not asked.
    pub async fn integrity(&self) -> Result<Vec<String>> {
        if self.is_shared() {
            return Ok(Vec::new());
        }
        let mut found: Vec<String> =
            self.all("PRAGMA integrity_check", &[], |row| row.take()).await?;
        found.retain(|line| line != "ok");
        let read = |row: &Row<'_>| {
            let (table, other): (String, String) = (row.get(0)?, row.get(2)?);
            Ok(format!("a row of {table} refers to one of {other} that is not there"))
        };
        found.extend(self.all("PRAGMA foreign_key_check", &[], read).await?);
        Ok(found)
    }

    /// Whether another process serves from this database; never on the embedded store, whose
    /// folder says that.
    pub async fn is_served(&self) -> Result<bool> {
        if !self.is_shared() {
            return Ok(false);
        }
        let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'verza'";
        Ok(self.one(sql, &[], |row| row.take::<i64>()).await? > 0)
    }

    /// The steps of the schema that were applied, with their checksums; none in an empty store.
    pub async fn applied_migrations(&self) -> Result<Vec<(String, String, String)>> {
        if !self.has_table("schema_migrations").await? {
            return Ok(Vec::new());
        }
        let sql = "SELECT context, name, checksum FROM schema_migrations";
        let read = |row: &Row<'_>| Ok((row.take()?, row.take()?, row.take()?));
        let mut steps: Vec<(String, String, String)> = self.all(sql, &[], read).await?;
        steps.sort_unstable();
        Ok(steps)
    }

    async fn has_table(&self, name: &str) -> Result<bool> {
        let sql = if self.is_shared() {
            "SELECT CAST(table_name AS TEXT) FROM information_schema.tables
             WHERE table_schema = current_schema() AND table_name = $1"
        } else {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name = $1"
        };
        Ok(self.maybe(sql, params![name], |_| Ok(())).await?.is_some())
    }

    /// From which store this one is being filled; none as a rule.
    pub async fn is_being_filled(&self) -> Result<Option<String>> {
        if !self.has_table(MARK).await? {
            return Ok(None);
        }
        let sql = "SELECT source FROM data_move";
        Ok(self.maybe(sql, &[], |row| row.take()).await?)
    }

    /// Marks a store as being filled from another one, and empties the tables that its migrations
    /// have filled: those rows come with the others. Refuses where anything else is in it.
    pub async fn begin_filling(&self, source: &str, contexts: &[Migrations]) -> Result<()> {
        let given = migrate::filled_by(contexts);
        let given = &given;
        self.run("data.begin", |tx| async move {
            let tables = tables(&tx, tx.is_postgres()).await?;
            for table in tables.iter().filter(|table| !given.contains(&table.name)) {
                if !table.rows(&tx, tx.is_postgres(), None, 1).await?.is_empty() {
                    return Err(not_empty(&table.name));
                }
            }
            // The last first: what is referred to goes behind what refers to it.
            for table in tables.iter().rev().filter(|table| given.contains(&table.name)) {
                tx.execute(&format!("DELETE FROM {}", table.name), &[]).await?;
            }
            tx.batch(&format!("CREATE TABLE {MARK} (source TEXT NOT NULL)")).await?;
            let sql = "INSERT INTO data_move (source) VALUES ($1)";
            tx.execute(sql, params![source]).await?;
            Ok(())
        })
        .await
    }

    /// Takes the mark away: the store is whole.
    pub async fn end_filling(&self) -> Result<()> {
        let sql = format!("DROP TABLE {MARK}");
        let sql = &sql;
        self.run("data.end", |tx| async move { Ok(tx.batch(sql).await?) }).await
    }
}

/// Copies an embedded store as it is at this moment into a new file, also while another process
/// writes to it. Blocks until the copy is on disk.
pub fn copy_sqlite(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    sqlite::copy(from, to)
}

fn not_empty(table: &str) -> Error {
    let message = format!(
        "The target is not empty: its table {table} has rows. Take an empty database or a new \
         folder."
    );
    Error::conflict("target_not_empty", message)
}

/// A column of the catalog: table, name, the engine's type, place in the key (0 for none).
type Described = (String, String, String, i64);

async fn tables(db: &impl Read, postgres: bool) -> Result<Vec<Table>> {
    let (columns, references) = if postgres { POSTGRES_CATALOG } else { SQLITE_CATALOG };
    let read = |row: &Row<'_>| Ok((row.take()?, row.take()?, row.take()?, row.take()?));
    let columns: Vec<Described> = db.all(columns, &[], read).await?;
    let mut tables: Vec<Table> = Vec::new();
    for piece in columns.chunk_by(|one, next| one.0 == next.0) {
        let Some((name, ..)) = piece.first() else { continue };
        // Which migrations were applied, and when, is each store's own.
        if name == "schema_migrations" || name == MARK {
            continue;
        }
        tables.push(described(name, piece)?);
    }
    let read = |row: &Row<'_>| Ok((row.take()?, row.take()?));
    let references: Vec<(String, String)> = db.all(references, &[], read).await?;
    in_order(tables, &references)
}

// Indexes of words are tables too (`virtual`, `shadow`), and are made of the others.
const SQLITE_CATALOG: (&str, &str) = (
    "SELECT kept.name, found.name, found.type, found.pk
     FROM pragma_table_list AS kept, pragma_table_info(kept.name) AS found
     WHERE kept.schema = 'main' AND kept.type = 'table' AND kept.name NOT LIKE 'sqlite_%'
     ORDER BY kept.name, found.cid",
    "SELECT kept.name, found.\"table\"
     FROM pragma_table_list AS kept, pragma_foreign_key_list(kept.name) AS found
     WHERE kept.schema = 'main' AND kept.type = 'table'",
);

const POSTGRES_CATALOG: (&str, &str) = (
    "SELECT CAST(kept.relname AS TEXT), CAST(found.attname AS TEXT),
            CAST(format_type(found.atttypid, NULL) AS TEXT),
            CAST(COALESCE(array_position(CAST(one.conkey AS INT2[]), found.attnum), 0) AS BIGINT)
     FROM pg_class AS kept
         JOIN pg_attribute AS found ON found.attrelid = kept.oid
         LEFT JOIN pg_constraint AS one ON one.conrelid = kept.oid AND one.contype = 'p'
     WHERE kept.relkind = 'r' AND found.attnum > 0 AND NOT found.attisdropped
         AND kept.relnamespace = CAST(CAST(current_schema() AS TEXT) AS regnamespace)
     ORDER BY CAST(kept.relname AS TEXT) COLLATE \"C\", found.attnum",
    "SELECT CAST(kept.relname AS TEXT), CAST(other.relname AS TEXT)
     FROM pg_constraint AS one JOIN pg_class AS kept ON kept.oid = one.conrelid
         JOIN pg_class AS other ON other.oid = one.confrelid
     WHERE one.contype = 'f'
         AND kept.relnamespace = CAST(CAST(current_schema() AS TEXT) AS regnamespace)",
);

fn described(name: &str, columns: &[Described]) -> Result<Table> {
    let mut table = Table { name: name.to_owned(), columns: Vec::new(), key: Vec::new() };
    let mut key = Vec::new();
    for (place, (_, column, kind, in_key)) in columns.iter().enumerate() {
        let kind = match kind.to_ascii_lowercase().as_str() {
            "uuid" => Type::Uuid,
            "integer" | "bigint" => Type::Int,
            "text" => Type::Text,
            "blob" | "bytea" => Type::Bytes,
            "boolean" => Type::Bool,
            other => {
                let message = format!("{name}.{column} is of the type {other}, which is not ours.");
                return Err(Error::internal(message));
            }
        };
        table.columns.push((column.clone(), kind));
        if *in_key > 0 {
            key.push((*in_key, place));
        }
    }
    key.sort_unstable();
    table.key = key.into_iter().map(|(_, place)| place).collect();
    if table.key.is_empty() {
        return Err(Error::internal(format!("The table {name} has no primary key.")));
    }
    Ok(table)
}

/// Puts tables behind those that they refer to, and else leaves them as they stand.
fn in_order(tables: Vec<Table>, references: &[(String, String)]) -> Result<Vec<Table>> {
    let (mut waiting, mut placed) = (tables, Vec::<Table>::new());
    while !waiting.is_empty() {
        let is_ready = |table: &Table, placed: &[Table]| {
            references
                .iter()
                .filter(|(from, to)| *from == table.name && *to != table.name)
                .all(|(_, to)| placed.iter().any(|table| table.name == *to))
        };
        let before = placed.len();
        let mut later = Vec::new();
        for table in waiting {
            if is_ready(&table, &placed) {
                placed.push(table);
            } else {
                later.push(table);
            }
        }
        if placed.len() == before {
            return Err(Error::internal("Tables refer to each other in a circle."));
        }
        waiting = later;
    }
    Ok(placed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Table {
        Table { name: name.into(), columns: vec![("id".into(), Type::Uuid)], key: vec![0] }
    }

    #[test]
    fn a_table_comes_behind_those_that_it_refers_to() {
        let tables = ["a", "b", "c"].map(table).to_vec();
        let to = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let placed = in_order(tables.clone(), &[to("a", "c"), to("c", "b"), to("b", "b")]).unwrap();
        let names: Vec<_> = placed.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["b", "c", "a"]);
        assert!(in_order(tables, &[to("a", "b"), to("b", "a")]).is_err());
    }

    #[test]
    fn values_go_where_they_belong_and_nowhere_else() {
        assert!(Item::Int(2).bind_as(Type::Bool).is_err());
        assert!(matches!(Item::Int(1).bind_as(Type::Bool), Ok(Value::Bool(true))));
        assert!(Item::Bytes(vec![1; 15]).bind_as(Type::Uuid).is_err());
        assert!(matches!(Item::Bytes(vec![1; 16]).bind_as(Type::Uuid), Ok(Value::Uuid(_))));
        assert!(Item::Text("1".into()).bind_as(Type::Int).is_err());
        assert!(matches!(Item::Null.bind_as(Type::Int), Ok(Value::Null)));
    }
}
