//! What this context holds of people: their places in teams, and what they have made there.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::Result;
use kernel::id::kinds::{ApiKey, Invitation, Organization, User};
use platform::db::Tx;
use platform::params;
use platform::privacy::{Column, Erasure, Holder, Person, Shown, Table, id, of};

/// Organizations, as a holder of what they know of people.
pub struct Held;

const TABLES: &[Table] = &[
    of(
        "organizations",
        "id = $1",
        "id",
        &[
            Column("id", id::<Organization>()),
            Column("name", Shown::Text),
            Column("website", Shown::Text),
            Column("country", Shown::Text),
            Column("registration_number", Shown::Text),
            Column("version", Shown::Number),
            Column("created_at", Shown::Time),
            Column("updated_at", Shown::Time),
        ],
    ),
    of(
        "organization_members",
        "person = $1",
        "person",
        &[
            Column("person", id::<User>()),
            Column("organization", id::<Organization>()),
            Column("role", Shown::Text),
            Column("invited_by", Shown::Withheld("somebody of the team")),
            Column("joined_at", Shown::Time),
        ],
    ),
    of(
        "organization_invitations",
        "organization = $1 OR invited_by = $1",
        "id",
        &[
            Column("id", id::<Invitation>()),
            Column("organization", id::<Organization>()),
            Column("email", Shown::Withheld("the address of somebody else")),
            Column("role", Shown::Text),
            Column("token_hash", Shown::Withheld("it lets somebody in")),
            Column("invited_by", id::<User>()),
            Column("created_at", Shown::Time),
            Column("expires_at", Shown::Time),
        ],
    ),
    of(
        "api_keys",
        "organization = $1 OR created_by = $1",
        "id",
        &[
            Column("id", id::<ApiKey>()),
            Column("organization", id::<Organization>()),
            Column("name", Shown::Text),
            Column("prefix", Shown::Text),
            Column("hash", Shown::Withheld("it is what a key is checked against")),
            Column("scopes", Shown::Text),
            Column("created_by", id::<User>()),
            Column("created_at", Shown::Time),
            Column("expires_at", Shown::Time),
            Column("last_used_at", Shown::Time),
            Column("revoked_at", Shown::Time),
            Column("allowed_addresses", Shown::Text),
            Column("last_refused_at", Shown::Time),
        ],
    ),
];

impl Holder for Held {
    fn name(&self) -> &'static str {
        "organizations"
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    /// An account takes its organization with it: team, invitations and keys. A member leaves
    /// theirs, and their keys go on without a name: programs depend on them.
    fn erase<'a>(
        &'a self,
        tx: &'a Tx,
        person: &'a Person,
        what: Erasure,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            if what != Erasure::Person {
                return Ok(());
            }
            for sql in [
                "DELETE FROM organization_invitations WHERE organization = $1 OR invited_by = $1",
                "DELETE FROM api_keys WHERE organization = $1",
                "UPDATE api_keys SET created_by = NULL WHERE created_by = $1",
                "UPDATE organization_members SET invited_by = NULL WHERE invited_by = $1",
                "DELETE FROM organization_members WHERE organization = $1 OR person = $1",
                "DELETE FROM organizations WHERE id = $1",
            ] {
                tx.execute(sql, params![person.id]).await?;
            }
            let to_them = "DELETE FROM organization_invitations WHERE email = $1";
            tx.execute(to_them, params![person.email.to_lowercase()]).await?;
            Ok(())
        }
        .boxed()
    }
}
