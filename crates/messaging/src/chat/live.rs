//! Chat as it happens: what one WebSocket tells and hears.

use std::collections::HashSet;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message as Frame, Utf8Bytes, WebSocket};
use kernel::id::kinds;
use kernel::{Caller, Id, Kind as ErrorKind, Result};
use platform::journal::Recorded;
use platform::limits::{Quota, Subject};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::http::{ConversationBody, MessageBody};
use super::presence::Word;
use super::service::Service;
use super::store;
use crate::stream::{End, Feed, Signal, Step, Thing};

/// The longest text that a client sends, in bytes.
pub(super) const HEARD_MAX: usize = 4096;
/// How long a client may take over reading one text.
const SENT_WITHIN: Duration = Duration::from_secs(10);
/// Signs of life that a client may leave unanswered.
const UNANSWERED_MAX: u32 = 2;
/// Signs of typing of one user; more are passed over.
const TYPING: (&str, Quota) = ("chat.typing", Quota { burst: 10, every: Duration::from_secs(1) });

/// What is told.
#[derive(Serialize)]
struct Told<T> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    data: T,
}

/// What is heard.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Heard {
    #[serde(rename_all = "camelCase")]
    Typing { conversation_id: Id<kinds::Conversation> },
}

/// The client is gone, or has not read what it was sent.
struct Gone;

/// Tells and hears until either side ends it.
pub(super) async fn serve(service: Service, caller: Caller, feed: Feed, mut socket: WebSocket) {
    let Ok(user) = caller.user() else { return };
    service.came_or_went(user).await;
    let ended = talk(&service, &caller, feed, &mut socket).await;
    service.came_or_went(user).await;
    if let Ok(end) = ended {
        let frame =
            CloseFrame { code: end.close_code(), reason: Utf8Bytes::from_static(end.as_str()) };
        let _ = tokio::time::timeout(SENT_WITHIN, socket.send(Frame::Close(Some(frame)))).await;
    }
}

async fn talk(
    service: &Service,
    caller: &Caller,
    mut feed: Feed,
    socket: &mut WebSocket,
) -> Result<End, Gone> {
    let ready = Told { event: "ready", seq: Some(feed.place()), data: json!({}) };
    send(socket, text(&ready)).await?;
    let mut online = Online::default();
    for peer in service.peers(caller).await {
        send(socket, online.look(service, peer)).await?;
    }
    let mut unanswered = 0;
    loop {
        tokio::select! {
            step = feed.next() => match step {
                Step::Tell(Thing::Signal(Signal::Presence { user })) => {
                    send(socket, online.look(service, user)).await?;
                }
                Step::Tell(thing) => match service.told(caller, &thing).await {
                    Ok(told) => send(socket, told).await?,
                    Err(end) => feed.end(end),
                },
                Step::Beat if unanswered == UNANSWERED_MAX => return Err(Gone),
                Step::Beat => {
                    unanswered += 1;
                    send(socket, Some(Frame::Ping(bytes::Bytes::new()))).await?;
                }
                Step::End(end) => return Ok(end),
            },
            heard = socket.recv() => match heard {
                Some(Ok(Frame::Text(heard))) => {
                    unanswered = 0;
                    service.hear(caller, &heard).await;
                }
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return Err(Gone),
                Some(Ok(_)) => unanswered = 0,
            },
        }
    }
}

/// Whom a client has been told to be there. Signals say no more than that something may have
/// changed: whether it has, and what is so, is looked up when it is told. So a client hears of a
/// change once, and last of all what is so, whatever happened at once and however often it was
/// signalled.
#[derive(Default)]
struct Online(HashSet<Id<kinds::User>>);

impl Online {
    /// What is to be told of a user, if it is news.
    fn look(&mut self, service: &Service, user: Id<kinds::User>) -> Option<Frame> {
        let online = service.presence.is_online(user);
        let is_news = if online { self.0.insert(user) } else { self.0.remove(&user) };
        let data = json!({ "userId": user, "online": online });
        is_news.then(|| text(&Told { event: "presence.updated", seq: None, data }))?
    }
}

async fn send(socket: &mut WebSocket, told: impl Into<Option<Frame>>) -> Result<(), Gone> {
    let Some(frame) = told.into() else { return Ok(()) };
    match tokio::time::timeout(SENT_WITHIN, socket.send(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}

fn text<T: Serialize>(told: &Told<T>) -> Option<Frame> {
    serde_json::to_string(told).ok().map(|text| Frame::Text(text.into()))
}

impl Service {
    /// What is told of something, if the listener may see it. Where that cannot be read now, it is
    /// the stream's end: whoever resumes behind what they were told is told it then.
    async fn told(&self, caller: &Caller, thing: &Thing) -> Result<Option<Frame>, End> {
        match thing {
            Thing::Signal(Signal::Typing { conversation, user }) => {
                let data = json!({ "conversationId": conversation, "userId": user });
                Ok(text(&Told { event: "typing", seq: None, data }))
            }
            Thing::Fact(fact) => self.of_fact(caller, fact).await.or_else(|error| {
                match error.kind() {
                    ErrorKind::NotFound => return Ok(None),
                    ErrorKind::Unavailable => {
                        tracing::warn!(%error, "what happened in a conversation cannot be read");
                        return Err(End::Unavailable);
                    }
                    _ => {}
                }
                // Whoever resumed before it would meet it again, and hear of nothing behind it.
                tracing::error!(%error, "what happened in a conversation is not told");
                Ok(None)
            }),
            Thing::Signal(Signal::Presence { .. }) | Thing::Notification(..) => Ok(None),
        }
    }

    async fn of_fact(&self, caller: &Caller, fact: &Recorded) -> Result<Option<Frame>> {
        let Ok(id) = fact.subject.parse() else { return Ok(None) };
        let (conversation, _) = self.seen(&self.db, caller, id).await?;
        if fact.verb != "message.sent" {
            let data = ConversationBody::from(self.view(caller, conversation).await?);
            return Ok(text(&Told { event: "conversation.updated", seq: fact.seq, data }));
        }
        let number = fact.data.get("number").and_then(serde_json::Value::as_i64);
        let Some(number) = number else { return Ok(None) };
        let stored = store::messages(&self.db, id, number + 1, 1).await?.pop();
        let Some(stored) = stored.filter(|stored| stored.number == number) else {
            return Ok(None);
        };
        let data = MessageBody::from(self.opened(stored).await?);
        Ok(text(&Told { event: "message.new", seq: fact.seq, data }))
    }

    /// Takes in what a client says. What makes no sense is passed over, as is what comes too often.
    async fn hear(&self, caller: &Caller, heard: &str) {
        let Ok(Heard::Typing { conversation_id }) = serde_json::from_str(heard) else { return };
        let Ok(user) = caller.user() else { return };
        let ((class, quota), now) = (TYPING, self.db.world().now());
        if !self.limiter.take(class, Subject::Id(user.uuid()), quota, now).allowed
            || self.seen(&self.db, caller, conversation_id).await.is_err()
        {
            return;
        }
        let Ok(everybody) = store::participants(&self.db, conversation_id).await else { return };
        let others = everybody.iter().map(|other| other.user).filter(|other| *other != user);
        let to: Vec<_> = others.collect();
        self.tell_typing(conversation_id, user, &to);
        self.presence.say(&Word::Typing { conversation: conversation_id, user, to });
    }

    async fn peers(&self, caller: &Caller) -> Vec<Id<kinds::User>> {
        let Ok(user) = caller.user() else { return Vec::new() };
        store::peers(&self.db, user).await.unwrap_or_default()
    }
}
