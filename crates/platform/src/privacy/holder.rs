//! What a context says of the people in its tables.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::Kind;
use kernel::id::kinds::User;
use kernel::{Id, Result};
use uuid::Uuid;

use crate::db::Tx;

/// A context that holds something of people. Every context is one, if only to say that it does
/// not.
pub trait Holder: Send + Sync {
    /// The context's name, as its migrations give it.
    fn name(&self) -> &'static str;

    /// All tables of the context.
    fn tables(&self) -> &'static [Table];

    /// What keeps a person from going: money, work for others that is not done.
    fn stakes<'a>(&'a self, _: &'a Tx, _: Id<User>) -> BoxFuture<'a, Result<Vec<Stake>>> {
        async { Ok(Vec::new()) }.boxed()
    }

    /// Erases what is held of a person. Runs in one transaction with all other holders; running
    /// twice changes nothing more. Ledger rows and facts stay: they hold ids, and no word of the
    /// person's.
    fn erase<'a>(
        &'a self,
        tx: &'a Tx,
        person: &'a Person,
        what: Erasure,
    ) -> BoxFuture<'a, Result<()>>;
}

/// Who is erased.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: Id<User>,
    /// As mail was sent to it. After the first step only a tombstone is left of it.
    pub email: String,
}

/// The two steps of erasing, which follow one another at once where nothing has to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// Who the person is, their documents, their devices, what they were told.
    Person,
    /// The records of what was decided about their documents, and the person's key.
    Records,
}

/// One thing that keeps a person from going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stake {
    /// `balance`, `open_verification`: for programs.
    pub code: &'static str,
    /// The thing's id, or the currency.
    pub subject: String,
    /// For people.
    pub message: String,
}

/// What one table holds of people.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub name: &'static str,
    pub rows: Rows,
}

#[derive(Debug, Clone, Copy)]
pub enum Rows {
    /// Nothing of anybody's, or nothing that can be found for a person: why.
    Impersonal(&'static str),
    Personal {
        /// SQL: which rows concern the person `$1`.
        of: &'static str,
        /// SQL: the order of the rows in an export.
        order: &'static str,
        /// Every column of the table.
        columns: &'static [Column],
    },
}

/// One column, and how an export shows it.
#[derive(Debug, Clone, Copy)]
pub struct Column(pub &'static str, pub Shown);

#[derive(Debug, Clone, Copy)]
pub enum Shown {
    /// An id, as the API writes it: see [`id`].
    Id(fn(Uuid) -> String),
    Text,
    Json,
    Number,
    Flag,
    /// Microseconds, shown as RFC 3339.
    Time,
    /// In hexadecimal digits.
    Bytes,
    /// A text that [`Tx::seal`] has sealed.
    Sealed,
    /// A fact's origin: shown where the person is the one who asked.
    Origin,
    /// Not shown: why.
    Withheld(&'static str),
}

/// An id of a kind.
pub const fn id<K: Kind>() -> Shown {
    Shown::Id(|uuid| Id::<K>::from_uuid(uuid).to_string())
}

/// A table without any: why.
pub const fn impersonal(name: &'static str, why: &'static str) -> Table {
    Table { name, rows: Rows::Impersonal(why) }
}

/// A table with rows of people.
pub const fn of(
    name: &'static str,
    of: &'static str,
    order: &'static str,
    columns: &'static [Column],
) -> Table {
    Table { name, rows: Rows::Personal { of, order, columns } }
}
