//! What the platform's own tables hold of people.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::Result;
use kernel::id::kinds::{Fact, User};

use super::holder::{Column, Erasure, Holder, Person, Shown, Table, id, impersonal, of};
use super::store;
use crate::db::Tx;

/// The journal, the jobs, the mail and the keys.
pub struct Own;

const TABLES: &[Table] = &[
    of(
        "facts",
        "id IN (SELECT fact FROM fact_parties WHERE party = $1)",
        "id",
        &[
            Column("id", id::<Fact>()),
            Column("at", Shown::Time),
            Column("verb", Shown::Text),
            Column("actor", id::<User>()),
            Column("actor_role", Shown::Text),
            Column("subject", Shown::Text),
            Column("data", Shown::Json),
            Column("origin", Shown::Origin),
            Column("salt", Shown::Withheld("hides the fact in the public log; in its proof")),
            Column("seq", Shown::Number),
        ],
    ),
    of(
        "fact_parties",
        "party = $1",
        "fact",
        &[Column("party", id::<User>()), Column("fact", id::<Fact>())],
    ),
    of(
        "person_keys",
        "person = $1",
        "person",
        &[
            Column("person", id::<User>()),
            Column("sealed_key", Shown::Withheld("opens what is sealed for the person")),
            Column("created_at", Shown::Time),
            Column("destroyed_at", Shown::Time),
        ],
    ),
    impersonal("journal_readers", "how far the readers of the journal have come"),
    impersonal("jobs", "work that is waiting; a mail's address goes when it was sent"),
    impersonal("fleet_counters", "how often memories were told to forget"),
    impersonal("periodic_jobs", "when periodic jobs run next"),
    impersonal("idempotency", "replies to repeat, sealed, for a week, found by the request only"),
    impersonal("mail_sink", "mails to an address, not to a person; gone after a month"),
    impersonal("schema_migrations", "which migrations were applied"),
];

impl Holder for Own {
    fn name(&self) -> &'static str {
        "platform"
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
            match what {
                Erasure::Person => store::forget_mails(tx, &person.email).await,
                Erasure::Records => tx.destroy_key(person.id).await,
            }
        }
        .boxed()
    }
}
