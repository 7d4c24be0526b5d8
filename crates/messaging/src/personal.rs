//! What this context holds of people: its tables, and the statement that lets people go.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::Result;
use kernel::id::kinds::{
    Conversation, Delivery, Fact, Message, Notification, Session, User, Webhook,
};
use platform::db::Tx;
use platform::params;
use platform::privacy::{Column, Erasure, Holder, Person, Shown, Table, id, of};

/// Notifications, conversations and webhooks, as a holder of what they say to people.
pub struct Held;

const TABLES: &[Table] = &[
    of(
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
            Column("seq", Shown::Number),
        ],
    ),
    of(
        "stream_tickets",
        "user_id = $1",
        "expires_at",
        &[
            Column("hash", Shown::Withheld("of what opens a stream of yours, for seconds")),
            Column("user_id", id::<User>()),
            Column("session_id", id::<Session>()),
            Column("expires_at", Shown::Time),
        ],
    ),
    of(
        "conversations",
        "id IN (SELECT conversation FROM conversation_participants WHERE user_id = $1)",
        "id",
        &[
            Column("id", id::<Conversation>()),
            Column("kind", Shown::Text),
            Column("status", Shown::Text),
            Column("opened_by", id::<User>()),
            Column("verifier", id::<User>()),
            Column("subject", Shown::Sealed),
            Column("assigned_to", id::<User>()),
            Column("messages", Shown::Number),
            Column("created_at", Shown::Time),
            Column("active_at", Shown::Time),
            Column("closed_at", Shown::Time),
        ],
    ),
    of(
        "conversation_participants",
        "user_id = $1",
        "conversation",
        &[
            Column("user_id", id::<User>()),
            Column("conversation", id::<Conversation>()),
            Column("part", Shown::Text),
            Column("has_read", Shown::Number),
            Column("read_at", Shown::Time),
            Column("active_at", Shown::Time),
        ],
    ),
    // What others have written is theirs, and in their export.
    of(
        "chat_messages",
        "sender = $1",
        "id",
        &[
            Column("conversation", id::<Conversation>()),
            Column("number", Shown::Number),
            Column("id", id::<Message>()),
            Column("sender", id::<User>()),
            Column("body", Shown::Sealed),
            Column("sent_at", Shown::Time),
        ],
    ),
    of(
        "webhook_endpoints",
        "organization = $1 OR created_by = $1",
        "id",
        &[
            Column("id", id::<Webhook>()),
            Column("organization", id::<User>()),
            Column("provider", Shown::Text),
            Column("url", Shown::Text),
            Column("description", Shown::Text),
            Column("events", Shown::Text),
            Column("state", Shown::Text),
            Column("reason", Shown::Text),
            Column("secret", Shown::Withheld("it is what messages are signed with")),
            Column("old_secret", Shown::Withheld("it is what messages are signed with")),
            Column("old_until", Shown::Time),
            Column("failures", Shown::Number),
            Column("failing_since", Shown::Time),
            Column("warned", Shown::Flag),
            Column("resume_at", Shown::Time),
            Column("wakes", Shown::Number),
            Column("created_by", id::<User>()),
            Column("created_at", Shown::Time),
            Column("updated_at", Shown::Time),
        ],
    ),
    of(
        "webhook_deliveries",
        "endpoint IN (SELECT id FROM webhook_endpoints WHERE organization = $1)",
        "id",
        &[
            Column("id", id::<Delivery>()),
            Column("endpoint", id::<Webhook>()),
            Column("fact", id::<Fact>()),
            Column("seq", Shown::Number),
            Column("verb", Shown::Text),
            Column("state", Shown::Text),
            Column("attempts", Shown::Number),
            Column("tries", Shown::Number),
            Column("next_at", Shown::Time),
            Column("created_at", Shown::Time),
        ],
    ),
    of(
        "webhook_attempts",
        "delivery IN (SELECT webhook_deliveries.id FROM webhook_deliveries
             JOIN webhook_endpoints ON webhook_endpoints.id = webhook_deliveries.endpoint
             WHERE webhook_endpoints.organization = $1)",
        "delivery, number",
        &[
            Column("delivery", id::<Delivery>()),
            Column("number", Shown::Number),
            Column("at", Shown::Time),
            Column("status", Shown::Number),
            Column("latency_ms", Shown::Number),
            Column("answer", Shown::Text),
            Column("error", Shown::Text),
        ],
    ),
];

/// What somebody wrote goes; that they did, and what others answered, stays.
const ERASED: &[&str] = &[
    // An organization's webhooks go with its account; what a member has made stays.
    "DELETE FROM webhook_attempts WHERE delivery IN
         (SELECT webhook_deliveries.id FROM webhook_deliveries
          JOIN webhook_endpoints ON webhook_endpoints.id = webhook_deliveries.endpoint
          WHERE webhook_endpoints.organization = $1)",
    "DELETE FROM webhook_deliveries WHERE endpoint IN
         (SELECT id FROM webhook_endpoints WHERE organization = $1)",
    "DELETE FROM webhook_endpoints WHERE organization = $1",
    "UPDATE webhook_endpoints SET created_by = NULL WHERE created_by = $1",
    "DELETE FROM notifications WHERE user_id = $1",
    "DELETE FROM stream_tickets WHERE user_id = $1",
    "UPDATE chat_messages SET body = '' WHERE sender = $1",
    "UPDATE conversations SET subject = '' WHERE opened_by = $1",
];

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
                for sql in ERASED {
                    tx.execute(sql, params![person.id]).await?;
                }
                let sql = "UPDATE conversations SET status = 'closed', closed_at = $2
                           WHERE (opened_by = $1 OR verifier = $1) AND status <> 'closed'";
                tx.execute(sql, params![person.id, tx.now()]).await?;
            }
            Ok(())
        }
        .boxed()
    }
}
