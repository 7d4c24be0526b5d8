//! What this context holds of people.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::Result;
use kernel::id::kinds::{Fact, Flag, Proposal, User};
use platform::db::Tx;
use platform::params;
use platform::privacy::{Column, Erasure, Holder, Person, Shown, Table, id, impersonal, of};

/// The back office, as a holder of what it knows of people.
pub struct Held;

const TABLES: &[Table] = &[
    impersonal("settings", "how the platform behaves; who changed it last is an id"),
    impersonal("setting_changes", "how the platform behaves; who changed it is an id"),
    impersonal("log_lines", "what processes complain of, scrubbed, for thirty days"),
    // Whose a thing is does not see in an export who has flagged it.
    of(
        "flags",
        "reporter = $1",
        "id",
        &[
            Column("id", id::<Flag>()),
            Column("subject", Shown::Text),
            Column("kind", Shown::Text),
            Column("holder", Shown::Withheld("somebody else")),
            Column("excerpt", Shown::Withheld("the words of somebody else")),
            Column("reporter", id::<User>()),
            Column("reason", Shown::Text),
            Column("details", Shown::Text),
            Column("state", Shown::Text),
            Column("action", Shown::Text),
            Column("resolution", Shown::Withheld("what admins say to admins")),
            Column("resolved_by", Shown::Withheld("an admin")),
            Column("created_at", Shown::Time),
            Column("resolved_at", Shown::Time),
        ],
    ),
    of(
        "fraud_signals",
        "person = $1",
        "at, fact",
        &[
            Column("fact", id::<Fact>()),
            Column("kind", Shown::Text),
            Column("person", id::<User>()),
            Column("other", Shown::Withheld("somebody else")),
            Column("subject", Shown::Text),
            Column("at", Shown::Time),
            Column("address", Shown::Withheld("a keyed hash, which only compares")),
            Column("device", Shown::Withheld("a keyed hash, which only compares")),
            Column("fresh", Shown::Flag),
            Column("verified", Shown::Flag),
            Column("seconds", Shown::Number),
            Column("country", Shown::Text),
            Column("latitude", Shown::Number),
            Column("longitude", Shown::Number),
            Column("radius", Shown::Number),
        ],
    ),
    of(
        "fraud_counts",
        "person = $1",
        "minute, kind",
        &[
            Column("person", id::<User>()),
            Column("kind", Shown::Text),
            Column("minute", Shown::Number),
            Column("made", Shown::Number),
        ],
    ),
    impersonal("fraud_alerts", "for admins alone: to be told of an alert would be to evade it"),
    impersonal("proposals", "how the platform is to behave; who proposed it is an id"),
    of(
        "proposal_votes",
        "voter = $1",
        "proposal",
        &[
            Column("proposal", id::<Proposal>()),
            Column("voter", id::<User>()),
            Column("vote", Shown::Text),
            Column("at", Shown::Time),
        ],
    ),
];

impl Holder for Held {
    fn name(&self) -> &'static str {
        "backoffice"
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    /// Words of people go, and what rules remember of them; that something was flagged, found or
    /// voted stays, by ids.
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
                "UPDATE flags SET details = '' WHERE reporter = $1",
                "UPDATE flags SET excerpt = '' WHERE holder = $1",
                "DELETE FROM fraud_signals WHERE person = $1 OR other = $1",
                "DELETE FROM fraud_counts WHERE person = $1",
            ] {
                tx.execute(sql, params![person.id]).await?;
            }
            Ok(())
        }
        .boxed()
    }
}
