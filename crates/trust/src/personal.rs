//! What this context holds of people: its tables, and the statement that lets people go.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::Result;
use kernel::id::kinds::{
    Credential, Issued, Key, Offer, Presentation, StatusList, User, Verification,
};
use platform::db::Tx;
use platform::params;
use platform::privacy::{Column, Erasure, Holder, Person, Shown, Table, id, impersonal, of};

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
            Column("claims", Shown::Json),
            Column("supersedes", id::<Issued>()),
            Column("superseded_by", id::<Issued>()),
            Column("signed_by", id::<Key>()),
            Column("signed_at", Shown::Time),
            Column("is_former", Shown::Flag),
        ],
    ),
    of(
        "issued_tokens",
        "holder = $1",
        "id",
        &[
            Column("id", id::<Issued>()),
            Column("issued", id::<Issued>()),
            Column("holder", id::<User>()),
            Column("holder_key", Shown::Text),
            Column("sha256", Shown::Bytes),
            Column("list", id::<StatusList>()),
            Column("place", Shown::Number),
            Column("valid_until", Shown::Time),
            Column("created_at", Shown::Time),
            Column("signed_by", id::<Key>()),
            Column("signed_sha256", Shown::Bytes),
            Column("revoked_at", Shown::Time),
        ],
    ),
    of(
        "credential_offers",
        "holder = $1",
        "id",
        &[
            Column("id", id::<Offer>()),
            Column("issued", id::<Issued>()),
            Column("holder", id::<User>()),
            Column("link_sha256", Shown::Withheld("good for whoever has it")),
            Column("code_sha256", Shown::Withheld("good for whoever has it")),
            Column("tx_code_mac", Shown::Withheld("good for whoever has it")),
            Column("tries", Shown::Number),
            Column("created_at", Shown::Time),
            Column("expires_at", Shown::Time),
            Column("redeemed_at", Shown::Time),
            Column("access_sha256", Shown::Withheld("good for whoever has it")),
            Column("access_until", Shown::Time),
            Column("collected_at", Shown::Time),
        ],
    ),
    of(
        "presentation_requests",
        "asker = $1",
        "id",
        &[
            Column("id", id::<Presentation>()),
            Column("asker", id::<User>()),
            Column("purpose", Shown::Text),
            Column("query", Shown::Json),
            Column("encrypted", Shown::Flag),
            Column("created_at", Shown::Time),
            Column("expires_at", Shown::Time),
            Column("answered_at", Shown::Time),
            Column("claims", Shown::Json),
        ],
    ),
    impersonal("certified_keys", "the platform's own keys"),
    impersonal("spent_nonces", "random numbers that wallets have used"),
    impersonal("key_compromises", "the platform's own keys, and an operator's reason"),
    impersonal("issuer_keys", "the platform's own keys"),
    impersonal("status_lists", "how many places a list has"),
    impersonal("status_entries", "places of lists, which name nobody without the verdict"),
    impersonal("log_state", "where the log stands"),
    impersonal("log_leaves", "commitments to facts under random salts"),
    impersonal("log_tiles", "hashes over commitments"),
    impersonal("log_cosignatures", "what witnesses have signed"),
    impersonal("log_checkpoints", "signed roots over commitments"),
];

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
                               revocation_reason = NULL, claims = '{}'
                           WHERE holder = $1";
                tx.execute(sql, params![person.id, [0_u8; 32]]).await?;
                // The places of the tokens stay, so that a later revocation reaches them.
                let sql = "UPDATE issued_tokens SET holder_key = NULL WHERE holder = $1";
                tx.execute(sql, params![person.id]).await?;
                let sql = "DELETE FROM presentation_requests WHERE asker = $1";
                tx.execute(sql, params![person.id]).await?;
                let sql = "DELETE FROM credential_offers WHERE holder = $1";
                tx.execute(sql, params![person.id]).await?;
            }
            Ok(())
        }
        .boxed()
    }
}
