//! What this context holds of people: its tables, and the statement that lets people go.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::Result;
use kernel::id::kinds::{Credential, Issued, StatusList, User, Verification};
use platform::db::Tx;
use platform::params;
use platform::privacy::{Column, Erasure, Holder, Person, Rows, Shown, Table, id, of};

/// Signed verdicts and the log, as a holder of what they tell of people.
pub struct Held;

const TABLES: &[Table] = &[
    of(
        "issued_credentials",
        "holder = $1",
        "id",
        &[
            Column("id", id::<Issued>()),
            Column("verification", id::<Verification>()),
            Column("credential", id::<Credential>()),
            Column("holder", id::<User>()),
            Column("document", Shown::Json),
            Column("sha256", Shown::Bytes),
            Column("document_salt", Shown::Bytes),
            Column("list", id::<StatusList>()),
            Column("place", Shown::Number),
            Column("valid_from", Shown::Time),
            Column("valid_until", Shown::Time),
            Column("revoked_at", Shown::Time),
            Column("revocation_reason", Shown::Text),
        ],
    ),
    impersonal("issuer_keys", "the platform's own keys"),
    impersonal("status_lists", "how many places a list has"),
    impersonal("status_entries", "places of lists, which name nobody without the verdict"),
    impersonal("log_state", "where the log stands"),
    impersonal("log_leaves", "commitments to facts under random salts"),
    impersonal("log_tiles", "hashes over commitments"),
    impersonal("log_checkpoints", "signed roots over commitments"),
];

const fn impersonal(name: &'static str, why: &'static str) -> Table {
    Table { name, rows: Rows::Impersonal(why) }
}

impl Holder for Held {
    fn name(&self) -> &'static str {
        "trust"
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    /// What was signed goes, with the salt that ties it to a document. Its place in the
    /// revocation list, its hash and its leaf in the log stay: whoever holds a copy can check it
    /// as before, and nobody can tell from them what it said.
    fn erase<'a>(
        &'a self,
        tx: &'a Tx,
        person: &'a Person,
        what: Erasure,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            if what == Erasure::Records {
                let sql = "UPDATE issued_credentials SET document = '{}', document_salt = $2,
                               revocation_reason = NULL
                           WHERE holder = $1";
                tx.execute(sql, params![person.id, [0_u8; 32]]).await?;
            }
            Ok(())
        }
        .boxed()
    }
}
