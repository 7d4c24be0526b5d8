//! What the user service holds of people.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::Result;
use kernel::id::kinds::{AccountType, Holding, Passkey, PrivacyRequest, Session, User};
use platform::db::Tx;
use platform::privacy::{Column, Erasure, Holder, Person, Shown, Table, id, impersonal, of};
use uuid::Uuid;

use super::store;
use crate::{handle, holding};

/// Accounts and sessions, as a holder of what they tell of people.
pub struct Held;

const TABLES: &[Table] = &[
    of(
        "users",
        "id = $1",
        "id",
        &[
            Column("id", id::<User>()),
            Column("email", Shown::Text),
            Column("email_shown", Shown::Text),
            Column("name", Shown::Text),
            Column("role", Shown::Text),
            Column("status", Shown::Text),
            Column("approved", Shown::Flag),
            Column("email_verified_at", Shown::Time),
            Column("password_hash", Shown::Withheld("checks the password; a secret")),
            Column("avatar", Shown::Text),
            Column("preferences", Shown::Json),
            Column("searchable", Shown::Withheld("address and name once more, to be searched")),
            Column("version", Shown::Number),
            Column("created_at", Shown::Time),
            Column("updated_at", Shown::Time),
            Column("last_login_at", Shown::Time),
        ],
    ),
    of(
        "mail_tokens",
        "user_id = $1",
        "created_at, hash",
        &[
            Column("hash", Shown::Withheld("finds the link again")),
            Column("user_id", id::<User>()),
            Column("purpose", Shown::Text),
            Column("created_at", Shown::Time),
            Column("expires_at", Shown::Time),
            Column("email", Shown::Text),
            Column("email_shown", Shown::Text),
        ],
    ),
    of(
        "sessions",
        "user_id = $1 OR impersonator = $1",
        "id",
        &[
            Column("id", id::<Session>()),
            Column("user_id", id::<User>()),
            Column("cookie_hash", Shown::Withheld("finds the session again")),
            Column("refresh_salt", Shown::Withheld("makes refresh tokens; a secret")),
            Column("refresh_generation", Shown::Number),
            Column("refreshed_at", Shown::Time),
            Column("user_agent", Shown::Text),
            Column("ip", Shown::Text),
            Column("created_at", Shown::Time),
            Column("last_seen_at", Shown::Time),
            Column("expires_at", Shown::Time),
            Column("ended_at", Shown::Time),
            Column("ended_reason", Shown::Text),
            Column("epoch", Shown::Number),
            Column("level", Shown::Text),
            Column("methods", Shown::Text),
            Column("proven_at", Shown::Time),
            Column("impersonator", id::<User>()),
            Column("proven_ip", Shown::Text),
            Column("refreshed_by", Shown::Withheld("knows a client again by its name")),
        ],
    ),
    of(
        "impersonations",
        "user_id = $1 OR admin = $1",
        "session",
        &[
            Column("session", id::<Session>()),
            Column("admin", id::<User>()),
            Column("user_id", id::<User>()),
            Column("reason", Shown::Text),
            Column("started_at", Shown::Time),
        ],
    ),
    of(
        "user_tags",
        "user_id = $1",
        "tag",
        &[Column("user_id", id::<User>()), Column("tag", Shown::Text)],
    ),
    of(
        "closings",
        "person = $1",
        "person",
        &[
            Column("person", id::<User>()),
            Column("status_before", Shown::Text),
            Column("closed_at", Shown::Time),
            Column("erase_at", Shown::Time),
            Column("records_at", Shown::Time),
            Column("erased_at", Shown::Time),
            Column("records_erased_at", Shown::Time),
        ],
    ),
    of(
        "totp_factors",
        "user_id = $1",
        "user_id",
        &[
            Column("user_id", id::<User>()),
            Column("sealed_secret", Shown::Withheld("makes codes; a secret")),
            Column("last_step", Shown::Number),
            Column("created_at", Shown::Time),
        ],
    ),
    of(
        "totp_enrolments",
        "user_id = $1",
        "user_id",
        &[
            Column("user_id", id::<User>()),
            Column("sealed_secret", Shown::Withheld("makes codes; a secret")),
            Column("expires_at", Shown::Time),
        ],
    ),
    of(
        "recovery_codes",
        "user_id = $1",
        "hash",
        &[
            Column("user_id", id::<User>()),
            Column("hash", Shown::Withheld("checks a code; a secret")),
            Column("created_at", Shown::Time),
            Column("used_at", Shown::Time),
        ],
    ),
    of(
        "passkeys",
        "user_id = $1",
        "id",
        &[
            Column("id", id::<Passkey>()),
            Column("user_id", id::<User>()),
            Column("credential_id", Shown::Bytes),
            Column("name", Shown::Text),
            Column("credential", Shown::Withheld("the public key, in the form of a library")),
            Column("version", Shown::Number),
            Column("created_at", Shown::Time),
            Column("last_used_at", Shown::Time),
        ],
    ),
    of(
        "challenges",
        "user_id = $1",
        "hash",
        &[
            Column("hash", Shown::Withheld("finds the challenge again")),
            Column("purpose", Shown::Text),
            Column("user_id", id::<User>()),
            Column("session_id", id::<Session>()),
            Column("state", Shown::Withheld("what a login waits for, for minutes; a secret")),
            Column("attempts", Shown::Number),
            Column("expires_at", Shown::Time),
        ],
    ),
    of(
        "imported_users",
        "user_id = $1",
        "user_id",
        &[
            Column("user_id", id::<User>()),
            Column("external_id", Shown::Text),
            Column("imported_at", Shown::Time),
        ],
    ),
    of(
        "kratos_identities",
        "user_id = $1",
        "id",
        &[
            Column("id", Shown::Id(bare)),
            Column("user_id", id::<User>()),
            Column("linked_at", Shown::Time),
        ],
    ),
    of(
        "kratos_sessions",
        "user_id = $1",
        "id",
        &[
            Column("id", Shown::Id(bare)),
            Column("identity_id", Shown::Id(bare)),
            Column("user_id", id::<User>()),
            Column("session_id", id::<Session>()),
            Column("authenticated_at", Shown::Time),
            Column("expires_at", Shown::Time),
            Column("revoking_at", Shown::Time),
            Column("revoked_at", Shown::Time),
        ],
    ),
    of(
        "handles",
        "user_id = $1",
        "user_id",
        &[
            Column("user_id", id::<User>()),
            Column("username", Shown::Withheld("username_shown once more, to be compared")),
            Column("username_shown", Shown::Text),
            Column("country", Shown::Text),
            Column("role_number", Shown::Number),
            Column("version", Shown::Number),
            Column("created_at", Shown::Time),
            Column("username_changed_at", Shown::Time),
        ],
    ),
    of(
        "holdings",
        "owner_id = $1",
        "id",
        &[
            Column("id", id::<Holding>()),
            Column("owner_id", id::<User>()),
            Column("name", Shown::Text),
            Column("bio", Shown::Text),
            Column("status", Shown::Text),
            Column("plan", Shown::Number),
            Column("avatar", Shown::Text),
            Column("plays", Shown::Number),
            Column("likes", Shown::Number),
            Column("follows", Shown::Number),
            Column("shares", Shown::Number),
            Column("version", Shown::Number),
            Column("created_at", Shown::Time),
            Column("updated_at", Shown::Time),
        ],
    ),
    of(
        "holding_types",
        "owner_id = $1",
        "holding_id, type_id",
        &[
            Column("holding_id", id::<Holding>()),
            Column("type_id", id::<AccountType>()),
            Column("owner_id", id::<User>()),
        ],
    ),
    impersonal("account_types", "the kinds of account that there are"),
    impersonal(
        "setup_links",
        "links that make an admin of whoever opens them, and by whom, for an hour",
    ),
    impersonal("token_keys", "the platform's own keys"),
    impersonal("admin_roster", "one row that changes of who is an admin wait for"),
    of(
        "privacy_requests",
        "person = $1",
        "id",
        &[
            Column("id", id::<PrivacyRequest>()),
            Column("person", id::<User>()),
            Column("kind", Shown::Text),
            Column("state", Shown::Text),
            Column("reason", Shown::Text),
            Column("requested_by", id::<User>()),
            Column("decided_by", id::<User>()),
            Column("note", Shown::Text),
            Column("created_at", Shown::Time),
            Column("decided_at", Shown::Time),
        ],
    ),
];

/// An id of Kratos's, as Kratos writes it.
fn bare(id: Uuid) -> String {
    id.to_string()
}

impl Holder for Held {
    fn name(&self) -> &'static str {
        "identity"
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
                store::bury(tx, person.id).await?;
                handle::store::delete(tx, person.id).await?;
                holding::store::delete_of(tx, person.id).await?;
            }
            Ok(())
        }
        .boxed()
    }
}
