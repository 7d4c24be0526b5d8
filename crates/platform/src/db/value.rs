//! What travels between Rust and the two engines: parameters in, columns out.

use std::cell::Cell;

use kernel::{Asset, Id, Secret, Timestamp};
use uuid::Uuid;

use super::error::DbError;

/// One parameter of a statement, borrowed from its owner for the length of the call.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Uuid(Uuid),
}

/// What can be a parameter.
pub trait Bind {
    fn bind(&self) -> Value<'_>;
}

/// Refuses what one of the engines cannot store.
pub(super) fn check(params: &[Value<'_>]) -> Result<(), DbError> {
    let has_nul = |value: &Value<'_>| matches!(value, Value::Text(text) if text.contains('\0'));
    if params.iter().any(has_nul) { Err(DbError::NulInText) } else { Ok(()) }
}

/// The parameters of one statement: `params![id, &name, at]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::db::Bind::bind(&$value)),*] };
}

macro_rules! bind {
    ($($type:ty => |$value:ident| $bound:expr;)*) => {
        $(impl Bind for $type {
            fn bind(&self) -> Value<'_> { let $value = self; $bound }
        })*
    };
}

bind! {
    bool => |v| Value::Bool(*v);
    i64 => |v| Value::Int(*v);
    i32 => |v| Value::Int(i64::from(*v));
    u32 => |v| Value::Int(i64::from(*v));
    u16 => |v| Value::Int(i64::from(*v));
    u8 => |v| Value::Int(i64::from(*v));
    str => |v| Value::Text(v);
    String => |v| Value::Text(v);
    [u8] => |v| Value::Bytes(v);
    Vec<u8> => |v| Value::Bytes(v);
    Uuid => |v| Value::Uuid(*v);
    Timestamp => |v| Value::Int(v.micros());
    Asset => |v| Value::Text(v.code());
    kernel::Role => |v| Value::Text(v.as_str());
}

impl<const N: usize> Bind for [u8; N] {
    fn bind(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl<K> Bind for Id<K> {
    fn bind(&self) -> Value<'_> {
        Value::Uuid(self.uuid())
    }
}

impl<T: Bind> Bind for Option<T> {
    fn bind(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Bind::bind)
    }
}

impl<T: Bind + ?Sized> Bind for &T {
    fn bind(&self) -> Value<'_> {
        (**self).bind()
    }
}

impl Bind for Secret<Vec<u8>> {
    fn bind(&self) -> Value<'_> {
        Value::Bytes(self.expose())
    }
}

impl Bind for Value<'_> {
    fn bind(&self) -> Value<'_> {
        *self
    }
}

/// One column of a row, borrowed from the engine.
#[derive(Debug, Clone, Copy)]
pub enum Column<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// What can be read from a column.
pub trait FromColumn: Sized {
    /// `None` when the column holds something else.
    fn from_column(column: Column<'_>) -> Option<Self>;
}

macro_rules! from_column {
    ($($type:ty => |$column:ident| $read:expr;)*) => {
        $(impl FromColumn for $type {
            fn from_column($column: Column<'_>) -> Option<Self> { $read }
        })*
    };
}

fn int(column: Column<'_>) -> Option<i64> {
    match column {
        Column::Int(value) => Some(value),
        _ => None,
    }
}

fn text(column: Column<'_>) -> Option<&str> {
    match column {
        Column::Text(value) => Some(value),
        _ => None,
    }
}

fn bytes(column: Column<'_>) -> Option<&[u8]> {
    match column {
        Column::Bytes(value) => Some(value),
        _ => None,
    }
}

from_column! {
    i64 => |column| int(column);
    i32 => |column| int(column)?.try_into().ok();
    u32 => |column| int(column)?.try_into().ok();
    u16 => |column| int(column)?.try_into().ok();
    u8 => |column| int(column)?.try_into().ok();
    Timestamp => |column| int(column).map(Timestamp::from_micros);
    String => |column| text(column).map(str::to_owned);
    Vec<u8> => |column| bytes(column).map(<[u8]>::to_vec);
    Uuid => |column| Uuid::from_slice(bytes(column)?).ok();
    Asset => |column| text(column)?.parse().ok();
    kernel::Role => |column| text(column)?.parse().ok();
    Secret<Vec<u8>> => |column| bytes(column).map(|value| Secret::new(value.to_vec()));
}

impl FromColumn for bool {
    fn from_column(column: Column<'_>) -> Option<Self> {
        match column {
            Column::Bool(value) => Some(value),
            // SQLite keeps truth as a number.
            Column::Int(value) => Some(value != 0),
            _ => None,
        }
    }
}

impl<const N: usize> FromColumn for [u8; N] {
    fn from_column(column: Column<'_>) -> Option<Self> {
        bytes(column)?.try_into().ok()
    }
}

impl<K> FromColumn for Id<K> {
    fn from_column(column: Column<'_>) -> Option<Self> {
        Uuid::from_column(column).map(Id::from_uuid)
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(column: Column<'_>) -> Option<Self> {
        match column {
            Column::Null => Some(None),
            column => T::from_column(column).map(Some),
        }
    }
}

/// One row of an answer. Columns are taken in the order in which the statement names them.
pub struct Row<'a> {
    source: Source<'a>,
    next: Cell<usize>,
}

enum Source<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

impl<'a> Row<'a> {
    pub(super) const fn sqlite(row: &'a rusqlite::Row<'a>) -> Self {
        Self { source: Source::Sqlite(row), next: Cell::new(0) }
    }

    pub(super) const fn postgres(row: &'a tokio_postgres::Row) -> Self {
        Self { source: Source::Postgres(row), next: Cell::new(0) }
    }

    /// The next column.
    pub fn take<T: FromColumn>(&self) -> Result<T, DbError> {
        let index = self.next.get();
        self.next.set(index + 1);
        self.get(index)
    }

    /// The column at a place, counted from zero.
    pub fn get<T: FromColumn>(&self, index: usize) -> Result<T, DbError> {
        let column = match self.source {
            Source::Sqlite(row) => sqlite_column(row, index)?,
            Source::Postgres(row) => postgres_column(row, index)?,
        };
        T::from_column(column).ok_or_else(|| {
            let wanted = std::any::type_name::<T>();
            DbError::Other(format!("column {index} holds {column:?}, which is no {wanted}"))
        })
    }
}

fn sqlite_column<'a>(row: &'a rusqlite::Row<'_>, index: usize) -> Result<Column<'a>, DbError> {
    use rusqlite::types::ValueRef;
    match row.get_ref(index).map_err(DbError::from_sqlite)? {
        ValueRef::Null => Ok(Column::Null),
        ValueRef::Integer(value) => Ok(Column::Int(value)),
        ValueRef::Text(value) => std::str::from_utf8(value)
            .map(Column::Text)
            .map_err(|_| DbError::Other(format!("column {index} is no UTF-8"))),
        ValueRef::Blob(value) => Ok(Column::Bytes(value)),
        ValueRef::Real(_) => {
            Err(DbError::Other(format!("column {index} holds a float; none should exist")))
        }
    }
}

fn postgres_column(row: &tokio_postgres::Row, index: usize) -> Result<Column<'_>, DbError> {
    row.try_get::<_, PostgresColumn<'_>>(index)
        .map(|column| column.0)
        .map_err(DbError::from_postgres)
}

/// Reads the types that the portable schema uses, straight from the wire.
struct PostgresColumn<'a>(Column<'a>);

type Wrong = Box<dyn std::error::Error + Sync + Send>;

impl<'a> tokio_postgres::types::FromSql<'a> for PostgresColumn<'a> {
    fn from_sql(kind: &tokio_postgres::types::Type, raw: &'a [u8]) -> Result<Self, Wrong> {
        use tokio_postgres::types::Type;
        let column = match *kind {
            Type::BOOL => Column::Bool(raw.first().is_some_and(|byte| *byte != 0)),
            Type::INT8 => Column::Int(i64::from_be_bytes(raw.try_into()?)),
            Type::INT4 => Column::Int(i32::from_be_bytes(raw.try_into()?).into()),
            Type::INT2 => Column::Int(i16::from_be_bytes(raw.try_into()?).into()),
            Type::TEXT | Type::VARCHAR | Type::NAME => Column::Text(std::str::from_utf8(raw)?),
            Type::BYTEA | Type::UUID => Column::Bytes(raw),
            ref other => return Err(format!("{other} is no type of the portable schema").into()),
        };
        Ok(Self(column))
    }

    fn from_sql_null(_: &tokio_postgres::types::Type) -> Result<Self, Wrong> {
        Ok(Self(Column::Null))
    }

    fn accepts(_: &tokio_postgres::types::Type) -> bool {
        true
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Bool(value) => ValueRef::Integer(i64::from(*value)),
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Bytes(value) => ValueRef::Blob(value),
            Self::Uuid(value) => ValueRef::Blob(value.as_bytes()),
        }))
    }
}

impl tokio_postgres::types::ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &tokio_postgres::types::Type,
        out: &mut bytes::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Wrong> {
        use bytes::BufMut;
        use tokio_postgres::types::{IsNull, Type};
        match (self, kind) {
            (Self::Null, _) => return Ok(IsNull::Yes),
            (Self::Bool(value), _) => out.put_u8(u8::from(*value)),
            (Self::Int(value), &Type::INT4) => out.put_i32((*value).try_into()?),
            (Self::Int(value), &Type::INT2) => out.put_i16((*value).try_into()?),
            (Self::Int(value), _) => out.put_i64(*value),
            (Self::Text(value), _) => out.put_slice(value.as_bytes()),
            (Self::Bytes(value), _) => out.put_slice(value),
            (Self::Uuid(value), _) => out.put_slice(value.as_bytes()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &tokio_postgres::types::Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

impl Value<'_> {
    /// The type PostgreSQL is told where it does not prepare the statement first.
    pub(super) const fn postgres_type(&self) -> tokio_postgres::types::Type {
        use tokio_postgres::types::Type;
        match self {
            Self::Null => Type::UNKNOWN,
            Self::Bool(_) => Type::BOOL,
            Self::Int(_) => Type::INT8,
            Self::Text(_) => Type::TEXT,
            Self::Bytes(_) => Type::BYTEA,
            Self::Uuid(_) => Type::UUID,
        }
    }
}
