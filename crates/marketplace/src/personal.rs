//! What this context holds of people: its tables, and the statements that let people go.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::{
    ApiKey, Batch, Credential, Dispute, File, Hold, Issued, Review, Service, User, Verification,
    Verifier,
};
use kernel::{Id, Result};
use platform::db::{Read, Row, Tx};
use platform::params;
use platform::privacy::{Column, Erasure, Holder, Person, Shown, Stake, Table, id, of};

use crate::verifier;

/// Verifiers and verifications, as a holder of what they know of people.
pub struct Held;

const TABLES: &[Table] = &[
    of(
        "verifiers",
        "id = $1",
        "id",
        &[
            Column("id", id::<Verifier>()),
            Column("name", Shown::Text),
            Column("headline", Shown::Text),
            Column("bio", Shown::Text),
            Column("categories", Shown::Json),
            Column("jurisdiction", Shown::Text),
            Column("licence", Shown::Text),
            Column("status", Shown::Text),
            Column("approved", Shown::Flag),
            Column("suspended", Shown::Flag),
            Column("rating_sum", Shown::Number),
            Column("rating_count", Shown::Number),
            Column("rating_rank", Shown::Number),
            Column("jobs_done", Shown::Number),
            Column("search_text", Shown::Withheld("the profile once more, to be searched")),
            Column("search_name", Shown::Withheld("the name once more, to be ranked by")),
            Column("reputation", Shown::Number),
            Column("reputed_at", Shown::Time),
            Column("category_keys", Shown::Withheld("the categories once more")),
            Column("since", Shown::Time),
            Column("updated_at", Shown::Time),
            Column("away_from", Shown::Time),
            Column("away_until", Shown::Time),
            Column("languages", Shown::Json),
            Column("auto_accept", Shown::Json),
            Column("version", Shown::Number),
        ],
    ),
    of(
        "services",
        "verifier = $1",
        "verifier, place",
        &[
            Column("id", id::<Service>()),
            Column("verifier", id::<Verifier>()),
            Column("place", Shown::Number),
            Column("title", Shown::Text),
            Column("title_key", Shown::Withheld("the title once more, to be found by")),
            Column("expedited_price", Shown::Number),
            Column("expedited_hours", Shown::Number),
            Column("category", Shown::Text),
            Column("category_key", Shown::Withheld("the category once more")),
            Column("price", Shown::Number),
            Column("currency", Shown::Text),
            Column("sla_hours", Shown::Number),
            Column("active", Shown::Flag),
        ],
    ),
    of(
        "verifier_prices",
        "verifier = $1",
        "currency",
        &[
            Column("verifier", id::<Verifier>()),
            Column("currency", Shown::Text),
            Column("lowest", Shown::Number),
            Column("highest", Shown::Number),
        ],
    ),
    of(
        "verifier_stakes",
        "verifier = $1",
        "currency",
        &[
            Column("verifier", id::<Verifier>()),
            Column("currency", Shown::Text),
            Column("staked", Shown::Number),
        ],
    ),
    of(
        "verifications",
        "owner = $1 OR verifier = $1",
        "id",
        &[
            Column("id", id::<Verification>()),
            Column("owner", id::<User>()),
            Column("credential", id::<Credential>()),
            Column("kind", Shown::Text),
            Column("kind_key", Shown::Withheld("the kind once more")),
            Column("verifier", id::<Verifier>()),
            Column("service", id::<Service>()),
            Column("service_title", Shown::Text),
            Column("price", Shown::Number),
            Column("currency", Shown::Text),
            Column("sla_hours", Shown::Number),
            Column("hold", id::<Hold>()),
            Column("state", Shown::Text),
            Column("was", Shown::Text),
            Column("version", Shown::Number),
            Column("notes", Shown::Text),
            Column("requested_at", Shown::Time),
            Column("due_at", Shown::Time),
            Column("board_until", Shown::Time),
            Column("jurisdiction", Shown::Text),
            Column("jurisdiction_key", Shown::Withheld("the jurisdiction once more")),
            Column("language", Shown::Text),
            Column("accepted_at", Shown::Time),
            Column("started_at", Shown::Time),
            Column("ended_at", Shown::Time),
            Column("info_asked", Shown::Text),
            Column("info_given", Shown::Text),
            Column("comments", Shown::Text),
            Column("report_url", Shown::Text),
            Column("report_file", id::<File>()),
            Column("verdict", Shown::Text),
            Column("fee", Shown::Number),
            Column("refunded", Shown::Number),
            Column("issued", id::<Issued>()),
            Column("reason", Shown::Text),
        ],
    ),
    of(
        "verification_passes",
        "verifier = $1",
        "verification",
        &[
            Column("verification", id::<Verification>()),
            Column("verifier", id::<Verifier>()),
            Column("at", Shown::Time),
        ],
    ),
    of(
        "verification_attachments",
        "author = $1
             OR verification IN (SELECT id FROM verifications WHERE owner = $1 OR verifier = $1)",
        "verification, file",
        &[
            Column("verification", id::<Verification>()),
            Column("file", id::<File>()),
            Column("author", id::<User>()),
            Column("at", Shown::Time),
            Column("viewed_at", Shown::Time),
        ],
    ),
    of(
        "file_views",
        "reader = $1",
        "subject, file",
        &[
            Column("subject", Shown::Text),
            Column("file", id::<File>()),
            Column("reader", id::<User>()),
            Column("viewed_at", Shown::Time),
        ],
    ),
    of(
        "verification_notes",
        "author = $1
             OR verification IN (SELECT id FROM verifications WHERE owner = $1 OR verifier = $1)",
        "verification, number",
        &[
            Column("verification", id::<Verification>()),
            Column("number", Shown::Number),
            Column("author", id::<User>()),
            Column("text", Shown::Sealed),
            Column("at", Shown::Time),
        ],
    ),
    of(
        "disputes",
        "owner = $1 OR verifier = $1",
        "id",
        &[
            Column("id", id::<Dispute>()),
            Column("verification", id::<Verification>()),
            Column("owner", id::<User>()),
            Column("verifier", id::<Verifier>()),
            Column("ground", Shown::Text),
            Column("state", Shown::Text),
            Column("version", Shown::Number),
            Column("assignee", Shown::Withheld("an admin")),
            Column("resolution", Shown::Text),
            Column("refund_bps", Shown::Number),
            Column("reasoning", Shown::Text),
            Column("decided_by", Shown::Withheld("an admin")),
            Column("decided_at", Shown::Time),
            Column("final_at", Shown::Time),
            Column("appealed_by", id::<User>()),
            Column("appealed_at", Shown::Time),
            Column("opened_at", Shown::Time),
            Column("closed_at", Shown::Time),
            Column("opened_by", id::<User>()),
        ],
    ),
    of(
        "dispute_evidence",
        "author = $1
             OR dispute IN (SELECT id FROM disputes WHERE owner = $1 OR verifier = $1)",
        "dispute, number",
        &[
            Column("dispute", id::<Dispute>()),
            Column("number", Shown::Number),
            Column("author", id::<User>()),
            Column("text", Shown::Text),
            Column("file", id::<File>()),
            Column("at", Shown::Time),
        ],
    ),
    of(
        "commissions",
        "organization = $1",
        "verification",
        &[
            Column("verification", id::<Verification>()),
            Column("organization", id::<User>()),
            Column("reference", Shown::Text),
            Column("subject", Shown::Text),
            Column("batch", id::<Batch>()),
            Column("place", Shown::Number),
            Column("at", Shown::Time),
        ],
    ),
    of(
        "batches",
        "organization = $1 OR person = $1",
        "id",
        &[
            Column("id", id::<Batch>()),
            Column("organization", id::<User>()),
            Column("name", Shown::Text),
            Column("state", Shown::Text),
            Column("person", id::<User>()),
            Column("api_key", id::<ApiKey>()),
            Column("verifier", id::<Verifier>()),
            Column("service", id::<Service>()),
            Column("budget", Shown::Number),
            Column("currency", Shown::Text),
            Column("spent", Shown::Number),
            Column("created_at", Shown::Time),
            Column("ended_at", Shown::Time),
        ],
    ),
    of(
        "batch_rows",
        "batch IN (SELECT id FROM batches WHERE organization = $1)",
        "batch, place",
        &[
            Column("batch", id::<Batch>()),
            Column("place", Shown::Number),
            Column("state", Shown::Text),
            Column("reference", Shown::Text),
            Column("content", Shown::Text),
            Column("verification", id::<Verification>()),
            Column("price", Shown::Number),
            Column("currency", Shown::Text),
            Column("code", Shown::Text),
            Column("field", Shown::Text),
            Column("message", Shown::Text),
            Column("retryable", Shown::Flag),
        ],
    ),
    of(
        "verdict_days",
        "party = $1",
        "side, day, verdict, currency",
        &[
            Column("party", id::<User>()),
            Column("side", Shown::Text),
            Column("day", Shown::Number),
            Column("verdict", Shown::Text),
            Column("currency", Shown::Text),
            Column("verdicts", Shown::Number),
            Column("paid", Shown::Number),
            Column("fees", Shown::Number),
            Column("refunded", Shown::Number),
            Column("work", Shown::Number),
        ],
    ),
    of(
        "verification_days",
        "owner = $1 OR verifier = $1",
        "verification",
        &[
            Column("verification", id::<Verification>()),
            Column("owner", id::<User>()),
            Column("requested", Shown::Number),
            Column("verifier", id::<User>()),
            Column("judged", Shown::Number),
            Column("verdict", Shown::Text),
            Column("currency", Shown::Text),
            Column("paid", Shown::Number),
            Column("fees", Shown::Number),
            Column("refunded", Shown::Number),
            Column("work", Shown::Number),
        ],
    ),
    of(
        "request_days",
        "party = $1",
        "day",
        &[
            Column("party", id::<User>()),
            Column("day", Shown::Number),
            Column("requests", Shown::Number),
        ],
    ),
    of(
        "reviews",
        "author = $1 OR verifier = $1",
        "id",
        &[
            Column("id", id::<Review>()),
            Column("verification", id::<Verification>()),
            Column("verifier", id::<Verifier>()),
            Column("author", id::<User>()),
            Column("stars", Shown::Number),
            Column("text", Shown::Text),
            Column("at", Shown::Time),
            Column("answer", Shown::Text),
            Column("answered_at", Shown::Time),
        ],
    ),
];

impl Holder for Held {
    fn name(&self) -> &'static str {
        "marketplace"
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn stakes<'a>(&'a self, tx: &'a Tx, person: Id<User>) -> BoxFuture<'a, Result<Vec<Stake>>> {
        async move {
            let sql = "SELECT id, state FROM verifications
                       WHERE (owner = $1 OR verifier = $1)
                           AND state IN ('open', 'pending', 'in_review', 'needs_info', 'disputed')
                       ORDER BY id LIMIT 100";
            let rows = tx
                .all(sql, params![person], |row| {
                    Ok((row.take::<Id<Verification>>()?, row.take::<String>()?))
                })
                .await?;
            Ok(rows
                .into_iter()
                .map(|(id, state)| Stake {
                    code: "open_verification",
                    subject: id.to_string(),
                    message: format!("The verification {id} is {state}: end it first."),
                })
                .collect())
        }
        .boxed()
    }

    fn erase<'a>(
        &'a self,
        tx: &'a Tx,
        person: &'a Person,
        what: Erasure,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            match what {
                Erasure::Person => erase_verifier(tx, person.id).await,
                Erasure::Records => erase_records(tx, person.id).await,
            }
        }
        .boxed()
    }
}

/// The profile and the services go; the verdicts stay, by a verifier without a name.
async fn erase_verifier(tx: &Tx, person: Id<User>) -> Result<()> {
    verifier::store::forget(tx, person.same_as()).await?;
    tx.execute("DELETE FROM verifier_prices WHERE verifier = $1", params![person]).await?;
    tx.execute("DELETE FROM verifier_stakes WHERE verifier = $1", params![person]).await?;
    tx.execute("DELETE FROM services WHERE verifier = $1", params![person]).await?;
    let answers = "UPDATE reviews SET answer = '' WHERE verifier = $1 AND answer IS NOT NULL";
    tx.execute(answers, params![person]).await?;
    // The stars stay, since the verifier's rating is made of them.
    tx.execute("UPDATE reviews SET text = '' WHERE author = $1", params![person]).await?;
    Ok(())
}

/// What was said about the person's documents. That there was a verification, when, by whom, for
/// how much and with which verdict, stays: others have dealt with it, and money has moved.
async fn erase_records(tx: &Tx, person: Id<User>) -> Result<()> {
    release_reports(tx, person).await?;
    tx.execute("DELETE FROM file_views WHERE reader = $1", params![person]).await?;
    let sql = "UPDATE verifications SET kind = '', kind_key = '', notes = '', info_asked = NULL, info_given = NULL,
                   comments = NULL, report_url = NULL, report_file = NULL, reason = NULL,
                   jurisdiction = '', jurisdiction_key = '', language = '',
                   version = version + 1
               WHERE owner = $1";
    tx.execute(sql, params![person]).await?;
    let shown = "DELETE FROM verification_attachments WHERE author = $1";
    tx.execute(shown, params![person]).await?;
    let words = "UPDATE commissions SET reference = '', subject = '' WHERE organization = $1";
    tx.execute(words, params![person]).await?;
    let table = "DELETE FROM batch_rows WHERE batch IN
                     (SELECT id FROM batches WHERE organization = $1)";
    tx.execute(table, params![person]).await?;
    tx.execute("DELETE FROM batches WHERE organization = $1", params![person]).await?;
    let said = "UPDATE dispute_evidence SET text = '', file = NULL WHERE author = $1";
    tx.execute(said, params![person]).await?;
    let decided = "UPDATE disputes SET reasoning = NULL WHERE owner = $1 AND state = 'closed'";
    tx.execute(decided, params![person]).await?;
    Ok(())
}

/// Nothing refers any more to what verifiers wrote about the person's documents: it is theirs to delete.
async fn release_reports(tx: &Tx, person: Id<User>) -> Result<()> {
    let sql = "SELECT id, report_file FROM verifications
               WHERE owner = $1 AND report_file IS NOT NULL";
    let read = |row: &Row<'_>| Ok((row.take::<Id<Verification>>()?, row.take::<Id<File>>()?));
    for (verification, file) in tx.all(sql, params![person], read).await? {
        documents::file::end_use(tx, file, &verification.to_string()).await?;
    }
    Ok(())
}
