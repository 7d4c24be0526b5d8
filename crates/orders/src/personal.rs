//! What this context holds of people: their orders.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::{Hold, Order, User};
use kernel::{Id, Result};
use platform::db::{Read, Tx};
use platform::params;
use platform::privacy::{Column, Erasure, Holder, Person, Shown, Stake, Table, id, of};

/// Orders, as a holder of what they know of people.
pub struct Held;

const TABLES: &[Table] = &[of(
    "orders",
    "owner = $1",
    "id",
    &[
        Column("id", id::<Order>()),
        Column("owner", id::<User>()),
        Column("role", Shown::Text),
        Column("status", Shown::Text),
        Column("target", Shown::Text),
        Column("service", Shown::Text),
        Column("kind", Shown::Text),
        Column("quantity", Shown::Number),
        Column("price", Shown::Number),
        Column("currency", Shown::Text),
        Column("hold", id::<Hold>()),
        Column("created_at", Shown::Time),
        Column("updated_at", Shown::Time),
    ],
)];

impl Holder for Held {
    fn name(&self) -> &'static str {
        "orders"
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    /// What somebody is to be paid for, or the person is to get back.
    fn stakes<'a>(&'a self, tx: &'a Tx, person: Id<User>) -> BoxFuture<'a, Result<Vec<Stake>>> {
        async move {
            let sql = "SELECT id FROM orders
                       WHERE owner = $1 AND status = 'processing' AND hold IS NOT NULL
                       ORDER BY id LIMIT 100";
            let open = tx.all(sql, params![person], |row| row.take::<Id<Order>>()).await?;
            Ok(open
                .into_iter()
                .map(|id| Stake {
                    code: "open_order",
                    subject: id.to_string(),
                    message: format!("The order {id} is being processed: cancel it first."),
                })
                .collect())
        }
        .boxed()
    }

    /// What was held for an order has its rows in the ledger, which stay.
    fn erase<'a>(
        &'a self,
        tx: &'a Tx,
        person: &'a Person,
        what: Erasure,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            if what == Erasure::Person {
                tx.execute("DELETE FROM orders WHERE owner = $1", params![person.id]).await?;
            }
            Ok(())
        }
        .boxed()
    }
}
