//! All SQL of conversations.

use kernel::id::kinds::{Conversation as ConversationKind, Message as MessageKind, User};
use kernel::{Cursor, Error, Id, Page, PageRequest, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{Conversation, Kind, Message, Part, Participant, Status};

/// Where a subject stands; it is sealed for who opened the conversation.
pub(super) const SUBJECT: &str = "conversations.subject";
/// Where a message stands; it is sealed for its sender.
pub(super) const BODY: &str = "chat_messages.body";

const COLUMNS: &str = "conversations.id, conversations.kind, conversations.status, \
                       conversations.opened_by, conversations.verifier, conversations.subject, \
                       conversations.assigned_to, conversations.messages, \
                       conversations.created_at, conversations.active_at, conversations.closed_at";
const MESSAGE: &str = "id, conversation, number, sender, body, sent_at";

fn word<T: std::str::FromStr<Err = Error>>(row: &Row<'_>) -> Result<T, DbError> {
    row.take::<String>()?.parse().map_err(|error: Error| DbError::Other(error.to_string()))
}

fn read(row: &Row<'_>) -> Result<Conversation, DbError> {
    Ok(Conversation {
        id: row.take()?,
        kind: word(row)?,
        status: word(row)?,
        opened_by: row.take()?,
        verifier: row.take()?,
        subject: row.take()?,
        assigned_to: row.take()?,
        messages: row.take()?,
        created_at: row.take()?,
        active_at: row.take()?,
        closed_at: row.take()?,
    })
}

/// The text as stored.
fn read_message(row: &Row<'_>) -> Result<Message, DbError> {
    Ok(Message {
        id: row.take()?,
        conversation: row.take()?,
        number: row.take()?,
        sender: row.take()?,
        text: row.take::<String>().map(|text| (!text.is_empty()).then_some(text))?,
        sent_at: row.take()?,
    })
}

/// `false` when there is one already that is not closed.
pub(super) async fn insert(tx: &Tx, new: &Conversation) -> Result<bool> {
    let sql = "INSERT INTO conversations (id, kind, status, opened_by, verifier, subject,
                   assigned_to, messages, created_at, active_at, closed_at)
               VALUES ($1, $2, $3, $4, $5, $6, NULL, 0, $7, $7, NULL) ON CONFLICT DO NOTHING";
    let (kind, status) = (new.kind.as_str(), new.status.as_str());
    let params =
        params![new.id, kind, status, new.opened_by, new.verifier, new.subject, new.created_at];
    Ok(tx.touch(sql, params).await?)
}

/// The conversation that somebody has open with support, or with a verifier.
pub(super) async fn open_one(
    tx: &Tx,
    owner: Id<User>,
    verifier: Option<Id<User>>,
) -> Result<Option<Conversation>> {
    let with = match verifier {
        Some(_) => "kind = 'verifier' AND verifier = $2",
        None => "kind = 'support' AND CAST($2 AS UUID) IS NULL",
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM conversations
         WHERE opened_by = $1 AND {with} AND status <> 'closed'"
    );
    Ok(tx.maybe(&sql, params![owner, verifier], read).await?)
}

/// Adds somebody to a conversation, unless they are in it.
pub(super) async fn join(
    tx: &Tx,
    id: Id<ConversationKind>,
    user: Id<User>,
    part: Part,
    active_at: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO conversation_participants
                   (user_id, conversation, part, has_read, read_at, active_at)
               VALUES ($1, $2, $3, 0, NULL, $4) ON CONFLICT DO NOTHING";
    tx.execute(sql, params![user, id, part.as_str(), active_at]).await?;
    Ok(())
}

pub(super) async fn get(db: &impl Read, id: Id<ConversationKind>) -> Result<Option<Conversation>> {
    let sql = format!("SELECT {COLUMNS} FROM conversations WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

pub(super) async fn participants(
    db: &impl Read,
    id: Id<ConversationKind>,
) -> Result<Vec<Participant>> {
    let sql = "SELECT user_id, part, has_read, read_at FROM conversation_participants
               WHERE conversation = $1 ORDER BY user_id";
    let read = |row: &Row<'_>| {
        Ok(Participant {
            user: row.take()?,
            part: word(row)?,
            has_read: row.take()?,
            read_at: row.take()?,
        })
    };
    Ok(db.all(sql, params![id], read).await?)
}

/// The conversations of a user, the one written in last first.
pub(super) async fn of_user(
    db: &impl Read,
    user: Id<User>,
    kind: Option<Kind>,
    page: &PageRequest,
) -> Result<Page<Conversation>> {
    let kind = kind
        .map_or_else(String::new, |kind| format!("AND conversations.kind = '{}'", kind.as_str()));
    let sql = format!(
        "SELECT {COLUMNS}
         FROM conversation_participants
         JOIN conversations ON conversations.id = conversation_participants.conversation
         WHERE conversation_participants.user_id = $1 {kind}
             AND (conversation_participants.active_at < $2
                  OR (conversation_participants.active_at = $2
                      AND conversation_participants.conversation < $3))
         ORDER BY conversation_participants.active_at DESC,
             conversation_participants.conversation DESC
         LIMIT $4 OFFSET $5"
    );
    let (at, id) = after(page);
    let rows = db.all(&sql, params![user, at, id, page.fetch(), page.offset], read).await?;
    Ok(page.page(rows, by_activity))
}

/// Support's conversations of a status, the one written in last first.
pub(super) async fn support(
    db: &impl Read,
    status: Status,
    page: &PageRequest,
) -> Result<Page<Conversation>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM conversations
         WHERE kind = 'support' AND status = $1
             AND (active_at < $2 OR (active_at = $2 AND id < $3))
         ORDER BY active_at DESC, id DESC LIMIT $4 OFFSET $5"
    );
    let ((at, id), status) = (after(page), status.as_str());
    let rows = db.all(&sql, params![status, at, id, page.fetch(), page.offset], read).await?;
    Ok(page.page(rows, by_activity))
}

fn after(page: &PageRequest) -> (i64, uuid::Uuid) {
    page.after.as_ref().map_or((i64::MAX, uuid::Uuid::max()), |after| (after.key, after.id))
}

fn by_activity(conversation: &Conversation) -> Cursor {
    Cursor { key: conversation.active_at.micros(), id: conversation.id.uuid() }
}

/// Takes the next number for a message; none when the conversation is closed.
pub(super) async fn next_number(tx: &Tx, id: Id<ConversationKind>) -> Result<Option<i64>> {
    let sql = "UPDATE conversations SET messages = messages + 1, active_at = $2
               WHERE id = $1 AND status <> 'closed' RETURNING messages";
    Ok(tx.maybe(sql, params![id, tx.now()], |row| row.take()).await?)
}

/// Adds a message, which its sender has read; for everybody the conversation is the latest.
pub(super) async fn insert_message(tx: &Tx, message: &Message, sealed: &str) -> Result<()> {
    let sql = format!("INSERT INTO chat_messages ({MESSAGE}) VALUES ($1, $2, $3, $4, $5, $6)");
    let Message { id, conversation, number, sender, sent_at, .. } = message;
    tx.execute(&sql, params![*id, *conversation, *number, *sender, sealed, *sent_at]).await?;
    let sql = "UPDATE conversation_participants SET active_at = $2 WHERE conversation = $1";
    tx.execute(sql, params![*conversation, *sent_at]).await?;
    mark_read(tx, *conversation, *sender, *number).await?;
    Ok(())
}

/// Answers whether there was something to read.
pub(super) async fn mark_read(
    tx: &Tx,
    id: Id<ConversationKind>,
    user: Id<User>,
    upto: i64,
) -> Result<bool> {
    let sql = "UPDATE conversation_participants SET has_read = $3, read_at = $4
               WHERE conversation = $1 AND user_id = $2 AND has_read < $3";
    Ok(tx.touch(sql, params![id, user, upto, tx.now()]).await?)
}

/// Messages below a number, newest first.
pub(super) async fn messages(
    db: &impl Read,
    id: Id<ConversationKind>,
    below: i64,
    limit: i64,
) -> Result<Vec<Message>> {
    let sql = format!(
        "SELECT {MESSAGE} FROM chat_messages WHERE conversation = $1 AND number < $2
         ORDER BY number DESC LIMIT $3"
    );
    Ok(db.all(&sql, params![id, below, limit], read_message).await?)
}

/// A message, of whatever conversation.
pub(super) async fn message(db: &impl Read, id: Id<MessageKind>) -> Result<Option<Message>> {
    let sql = format!("SELECT {MESSAGE} FROM chat_messages WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read_message).await?)
}

/// Takes the words of a message away; `false` where it has none any more.
pub(super) async fn empty_message(tx: &Tx, id: Id<MessageKind>) -> Result<bool> {
    let sql = "UPDATE chat_messages SET body = '' WHERE id = $1 AND body <> ''";
    Ok(tx.touch(sql, params![id]).await?)
}

/// The number of a message of a conversation.
pub(super) async fn number_of(
    db: &impl Read,
    conversation: Id<ConversationKind>,
    id: Id<MessageKind>,
) -> Result<Option<i64>> {
    let sql = "SELECT number FROM chat_messages WHERE id = $1 AND conversation = $2";
    Ok(db.maybe(sql, params![id, conversation], |row| row.take()).await?)
}

/// `false` when it is closed meanwhile.
pub(super) async fn assign(tx: &Tx, id: Id<ConversationKind>, to: Id<User>) -> Result<bool> {
    let sql = "UPDATE conversations SET status = 'assigned', assigned_to = $2
               WHERE id = $1 AND kind = 'support' AND status <> 'closed'";
    Ok(tx.touch(sql, params![id, to]).await?)
}

/// `false` when it is closed already.
pub(super) async fn close(tx: &Tx, id: Id<ConversationKind>) -> Result<bool> {
    let sql = "UPDATE conversations SET status = 'closed', closed_at = $2
               WHERE id = $1 AND status <> 'closed'";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// Those with whom somebody shares a conversation that is not closed; a bounded number.
pub(super) async fn peers(db: &impl Read, user: Id<User>) -> Result<Vec<Id<User>>> {
    let sql = "SELECT DISTINCT other.user_id
               FROM conversation_participants AS own
               JOIN conversations ON conversations.id = own.conversation
               JOIN conversation_participants AS other ON other.conversation = own.conversation
               WHERE own.user_id = $1 AND other.user_id <> $1 AND conversations.status <> 'closed'
               LIMIT 200";
    Ok(db.all(sql, params![user], |row| row.take()).await?)
}
