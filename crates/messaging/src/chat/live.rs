//! Chat as it happens: what one WebSocket tells and hears.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message as Frame, Utf8Bytes, WebSocket};
use kernel::id::kinds;
use kernel::{Caller, Id, Kind as ErrorKind, Result};
use platform::journal::Recorded;
use platform::limits::{Quota, Subject};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::http::{ConversationBody, MessageBody};
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
    service.tell_presence(user, true).await;
    let ended = talk(&service, &caller, feed, &mut socket).await;
    if !service.hub.is_online(user) {
        service.tell_presence(user, false).await;
    }
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
    for told in service.who_is_online(caller).await {
        send(socket, told).await?;
    }
    let mut unanswered = 0;
    loop {
        tokio::select! {
            step = feed.next() => match step {
                Step::Tell(thing) => {
                    if let Some(told) = service.told(caller, &thing).await {
                        send(socket, told).await?;
                    }
                }
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
    /// What is told of something, if the listener may see it. What cannot be read now is read by
    /// whoever asks for it: the event says that there is something.
    async fn told(&self, caller: &Caller, thing: &Thing) -> Option<Frame> {
        match thing {
            Thing::Signal(signal) => text(&of_signal(*signal)),
            Thing::Fact(fact) => match self.of_fact(caller, fact).await {
                Ok(told) => told,
                Err(error) => {
                    if error.kind() != ErrorKind::NotFound {
                        tracing::warn!(%error, "what happened in a conversation is not told");
                    }
                    None
                }
            },
            Thing::Notification(..) => None,
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
        for other in everybody.iter().filter(|other| other.user != user) {
            self.hub.signal(other.user, Signal::Typing { conversation: conversation_id, user });
        }
    }

    /// Tells those who talk with a user whether they are there.
    async fn tell_presence(&self, user: Id<kinds::User>, online: bool) {
        match store::peers(&self.db, user).await {
            Ok(peers) => peers
                .into_iter()
                .for_each(|peer| self.hub.signal(peer, Signal::Presence { user, online })),
            Err(error) => tracing::warn!(%error, "nobody is told who is there"),
        }
    }

    async fn who_is_online(&self, caller: &Caller) -> Vec<Option<Frame>> {
        let Ok(user) = caller.user() else { return Vec::new() };
        let peers = store::peers(&self.db, user).await.unwrap_or_default();
        let online = peers.into_iter().filter(|peer| self.hub.is_online(*peer));
        online.map(|user| text(&of_signal(Signal::Presence { user, online: true }))).collect()
    }
}

fn of_signal(signal: Signal) -> Told<serde_json::Value> {
    match signal {
        Signal::Typing { conversation, user } => Told {
            event: "typing",
            seq: None,
            data: json!({ "conversationId": conversation, "userId": user }),
        },
        Signal::Presence { user, online } => Told {
            event: "presence.updated",
            seq: None,
            data: json!({ "userId": user, "online": online }),
        },
    }
}
