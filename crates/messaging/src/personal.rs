//! What this context holds of people: its tables, and the statement that lets people go.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::Result;
use kernel::id::kinds::{Fact, Notification, User};
use platform::db::Tx;
use platform::params;
use platform::privacy::{Column, Erasure, Holder, Person, Shown, Table, id, of};

/// Notifications, as a holder of what they say to people.
pub struct Held;

const TABLES: &[Table] = &[of(
    "notifications",
    "user_id = $1",
    "id",
    &[
        Column("id", id::<Notification>()),
        Column("user_id", id::<User>()),
        Column("fact", id::<Fact>()),
        Column("kind", Shown::Text),
        Column("title", Shown::Text),
        Column("description", Shown::Text),
        Column("subject", Shown::Text),
        Column("created_at", Shown::Time),
        Column("read_at", Shown::Time),
    ],
)];

impl Holder for Held {
    fn name(&self) -> &'static str {
        "messaging"
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
                let sql = "DELETE FROM notifications WHERE user_id = $1";
                tx.execute(sql, params![person.id]).await?;
            }
            Ok(())
        }
        .boxed()
    }
}
