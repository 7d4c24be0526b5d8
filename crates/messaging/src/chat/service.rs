//! The verbs of chat.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds;
use kernel::{Caller, Error, Id, Page, PageRequest, Result, Role};
use platform::db::{Db, Read, Tx};
use platform::journal::Fact;
use platform::limits::{Limiter, Quota, Subject as Counted};
use rpc::users::Users;

use super::model::{Conversation, Kind, Message, Part, Participant, Status, Subject, Text, View};
use super::presence::Presence;
use super::rules::{self, Refusal};
use super::store;
use crate::Options;
use crate::stream::Hub;

/// Messages that one user may send.
const MESSAGES: (&str, Quota) =
    ("chat.message", Quota { burst: 30, every: Duration::from_secs(2) });
/// Conversations that one user may open.
const OPENED: (&str, Quota) =
    ("chat.conversation", Quota { burst: 10, every: Duration::from_secs(360) });

/// A conversation to be opened.
#[derive(Debug, Clone)]
pub struct Opening {
    /// With a verifier, else with support.
    pub with: Option<Id<kinds::Verifier>>,
    pub subject: Option<Subject>,
}

/// The verbs of chat. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub(super) db: Db,
    pub(super) users: Arc<dyn Users>,
    pub(super) limiter: Arc<Limiter>,
    pub(super) hub: Arc<Hub>,
    pub(super) presence: Arc<Presence>,
}

impl Service {
    pub(crate) fn new(options: Options, hub: Arc<Hub>) -> Self {
        let Options { db, users, limiter, air, .. } = options;
        let presence = Arc::new(Presence::new(Arc::clone(&hub), air));
        Self { db, users, limiter, hub, presence }
    }

    /// Opens a conversation, or answers the one that there is; and whether it is new.
    ///
    /// # Errors
    /// `Forbidden` for roles that do not; `NotFound` where there is no such verifier; `Limited`.
    pub async fn open(&self, caller: &Caller, opening: &Opening) -> Result<(View, bool)> {
        let user = caller.user()?;
        let kind = if opening.with.is_some() { Kind::Verifier } else { Kind::Support };
        rules::open(kind, caller.role())?;
        let verifier = opening.with.map(Id::same_as::<kinds::User>);
        if let Some(verifier) = verifier {
            let profile = self.users.profile(verifier).await;
            rules::is_verifier(&profile.map_err(|_| Error::from(Refusal::NoSuchVerifier))?)?;
        }
        self.count(OPENED, user)?;
        let (conversation, is_new) = self
            .db
            .run("conversation.open", |tx| async move {
                if let Some(open) = store::open_one(&tx, user, verifier).await? {
                    return Ok((open, false));
                }
                let new = draft(&tx, user, kind, verifier, opening.subject.as_ref()).await?;
                if !store::insert(&tx, &new).await? {
                    // Somebody was quicker, on another device.
                    let found = store::open_one(&tx, user, verifier).await?;
                    let gone = || Error::conflict("try_again", "Try again.");
                    return Ok((found.ok_or_else(gone)?, false));
                }
                store::join(&tx, new.id, user, Part::Owner, tx.now()).await?;
                if let Some(verifier) = verifier {
                    store::join(&tx, new.id, verifier, Part::Verifier, tx.now()).await?;
                }
                record(&tx, caller, "conversation.opened", &new).await?;
                Ok((new, true))
            })
            .await?;
        Ok((self.view(caller, conversation).await?, is_new))
    }

    /// The caller's conversations, the one written in last first.
    pub async fn list(
        &self,
        caller: &Caller,
        kind: Option<Kind>,
        page: &PageRequest,
    ) -> Result<Page<View>> {
        let found = store::of_user(&self.db, caller.user()?, kind, page).await?;
        self.views(caller, found).await
    }

    /// Support's conversations of a status, the one written in last first.
    pub async fn support(
        &self,
        caller: &Caller,
        status: Status,
        page: &PageRequest,
    ) -> Result<Page<View>> {
        let found = store::support(&self.db, status, page).await?;
        self.views(caller, found).await
    }

    /// One conversation.
    ///
    /// # Errors
    /// `NotFound`, also where it is others'.
    pub async fn get(&self, caller: &Caller, id: Id<kinds::Conversation>) -> Result<View> {
        let (conversation, _) = self.seen(&self.db, caller, id).await?;
        self.view(caller, conversation).await
    }

    /// Messages, newest first: those before one of them, or the last ones.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` where `before` is no message of the conversation.
    pub async fn messages(
        &self,
        caller: &Caller,
        id: Id<kinds::Conversation>,
        before: Option<Id<kinds::Message>>,
        limit: i64,
    ) -> Result<Vec<Message>> {
        self.seen(&self.db, caller, id).await?;
        let below = match before {
            None => i64::MAX,
            Some(before) => {
                let found = store::number_of(&self.db, id, before).await?;
                let wrong = || Error::field("/before", "not_found", "a message of this one");
                found.ok_or_else(wrong)?
            }
        };
        let stored = store::messages(&self.db, id, below, limit).await?;
        let mut messages = Vec::with_capacity(stored.len());
        for message in stored {
            messages.push(self.opened(message).await?);
        }
        Ok(messages)
    }

    /// The last message of each of the caller's conversations, with what the conversation is
    /// about and the sender's name.
    pub async fn inbox(
        &self,
        caller: &Caller,
        page: &PageRequest,
    ) -> Result<Page<(View, Option<Message>)>> {
        let views = self.list(caller, None, page).await?;
        let mut items = Vec::with_capacity(views.items.len());
        for view in views.items {
            let last = store::messages(&self.db, view.conversation.id, i64::MAX, 1).await?.pop();
            let last = match last {
                Some(message) => Some(self.opened(message).await?),
                None => None,
            };
            items.push((view, last));
        }
        Ok(Page { items, next: views.next })
    }

    /// Sends a message; by the same idempotency key once.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `conversation_closed`; `Limited`.
    pub async fn send(
        &self,
        caller: &Caller,
        id: Id<kinds::Conversation>,
        text: &Text,
    ) -> Result<Message> {
        let sender = caller.user()?;
        self.count(MESSAGES, sender)?;
        self.db
            .once(caller, "message.send", |tx| async move {
                let (conversation, own) = self.seen(&tx, caller, id).await?;
                let number = store::next_number(&tx, id).await?.ok_or(Refusal::Closed)?;
                if own.is_none() {
                    store::join(&tx, id, sender, Part::Staff, tx.now()).await?;
                }
                let message = Message {
                    id: tx.world().id(),
                    conversation: id,
                    number,
                    sender,
                    text: Some(text.as_str().to_owned()),
                    sent_at: tx.now(),
                };
                let sealed = tx.seal(sender, store::BODY, text.as_str()).await?;
                store::insert_message(&tx, &message, &sealed).await?;
                let fact = fact(&tx, caller, "message.sent", &conversation).await?;
                tx.record(fact.with("message", message.id).with("number", number));
                Ok(message)
            })
            .await
    }

    /// A message of a conversation that the caller sees.
    ///
    /// # Errors
    /// `NotFound`, also for one of others, and for one whose words were taken away.
    pub async fn message(&self, caller: &Caller, id: Id<kinds::Message>) -> Result<Message> {
        let unknown = || Error::not_found("message");
        let found = store::message(&self.db, id).await?.ok_or_else(unknown)?;
        match self.seen(&self.db, caller, found.conversation).await {
            Ok(_) => {}
            Err(error) if error.kind() == kernel::Kind::NotFound => return Err(unknown()),
            Err(error) => return Err(error),
        }
        let message = self.opened(found).await?;
        if message.text.is_none() { Err(unknown()) } else { Ok(message) }
    }

    /// Takes the words of a message away, for everybody and for good; that there was one stays.
    ///
    /// # Errors
    /// `NotFound`, also where they are gone.
    pub async fn remove_in(&self, tx: &Tx, caller: &Caller, id: Id<kinds::Message>) -> Result<()> {
        let unknown = || Error::not_found("message");
        let found = store::message(tx, id).await?.ok_or_else(unknown)?;
        let conversation = store::get(tx, found.conversation).await?.ok_or_else(unknown)?;
        if !store::empty_message(tx, id).await? {
            return Err(unknown());
        }
        let fact = fact(tx, caller, "message.removed", &conversation).await?;
        tx.record(fact.with("message", id).with("number", found.number));
        Ok(())
    }

    /// Marks everything in a conversation as read; doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn read(&self, caller: &Caller, id: Id<kinds::Conversation>) -> Result<()> {
        let user = caller.user()?;
        self.db
            .run("conversation.read", |tx| async move {
                let (conversation, own) = self.seen(&tx, caller, id).await?;
                // An admin who only looks leaves no trace of having read.
                let upto = conversation.messages;
                if own.is_some() && store::mark_read(&tx, id, user, upto).await? {
                    let fact = fact(&tx, caller, "conversation.read", &conversation).await?;
                    tx.record(fact.with("upTo", upto));
                }
                Ok(())
            })
            .await
    }

    /// Closes a conversation.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `conversation_closed`.
    pub async fn close(&self, caller: &Caller, id: Id<kinds::Conversation>) -> Result<View> {
        self.db
            .run("conversation.close", |tx| async move {
                let (conversation, _) = self.seen(&tx, caller, id).await?;
                if !store::close(&tx, id).await? {
                    return Err(Refusal::Closed.into());
                }
                record(&tx, caller, "conversation.closed", &conversation).await
            })
            .await?;
        self.get(caller, id).await
    }

    /// Has an admin look after a conversation with support: the caller, or another.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `conversation_closed`, `not_support`; `Invalid` where the other is
    /// no admin.
    pub async fn assign(
        &self,
        caller: &Caller,
        id: Id<kinds::Conversation>,
        to: Option<Id<kinds::User>>,
    ) -> Result<View> {
        let to = match to {
            None => caller.user()?,
            Some(other) => {
                let profile = self.users.profile(other).await;
                if !profile.is_ok_and(|profile| profile.role == Role::Admin) {
                    return Err(Error::field("/adminId", "not_found", "the id of an admin"));
                }
                other
            }
        };
        self.db
            .run("conversation.assign", |tx| async move {
                let (conversation, _) = self.seen(&tx, caller, id).await?;
                rules::assign(&conversation)?;
                if !store::assign(&tx, id, to).await? {
                    return Err(Refusal::Closed.into());
                }
                store::join(&tx, id, to, Part::Staff, conversation.active_at).await?;
                let fact = fact(&tx, caller, "conversation.assigned", &conversation).await?;
                tx.record(fact.with("assignedTo", to));
                Ok(())
            })
            .await?;
        self.get(caller, id).await
    }

    /// A conversation that the caller may see, and what they are in it.
    pub(super) async fn seen(
        &self,
        db: &impl Read,
        caller: &Caller,
        id: Id<kinds::Conversation>,
    ) -> Result<(Conversation, Option<Participant>)> {
        let user = caller.user()?;
        let conversation = store::get(db, id).await?.ok_or(Refusal::NotThere)?;
        let mut participants = store::participants(db, id).await?;
        participants.retain(|participant| participant.user == user);
        let own = participants.pop();
        rules::see(&conversation, own.as_ref(), caller.role())?;
        Ok((conversation, own))
    }

    async fn views(&self, caller: &Caller, found: Page<Conversation>) -> Result<Page<View>> {
        let items = self.view_all(caller, found.items).await?;
        Ok(Page { items, next: found.next })
    }

    pub(super) async fn view(&self, caller: &Caller, conversation: Conversation) -> Result<View> {
        let view = self.view_all(caller, vec![conversation]).await?.pop();
        view.ok_or_else(|| Error::internal("one conversation has no view"))
    }

    /// As the caller sees them. The user service is asked once for all.
    async fn view_all(&self, caller: &Caller, found: Vec<Conversation>) -> Result<Vec<View>> {
        let user = caller.user()?;
        let mut with_participants = Vec::with_capacity(found.len());
        for conversation in found {
            let participants = store::participants(&self.db, conversation.id).await?;
            with_participants.push((conversation, participants));
        }
        let everybody = with_participants.iter().flat_map(|(_, participants)| participants);
        let mut ids: Vec<_> = everybody.map(|participant| participant.user).collect();
        ids.sort_unstable();
        ids.dedup();
        let profiles = self.users.profiles(&ids).await?;
        let names: HashMap<_, _> =
            profiles.into_iter().map(|profile| (profile.id, profile.name)).collect();
        let mut views = Vec::with_capacity(with_participants.len());
        for (conversation, participants) in with_participants {
            let own = participants.iter().find(|participant| participant.user == user);
            let unread = rules::unread(&conversation, own);
            let named = |participant: Participant| {
                let name = names.get(&participant.user).cloned().unwrap_or_default();
                (participant, name)
            };
            let participants = participants.into_iter().map(named).collect();
            let subject = self.clear(store::SUBJECT, Some(&conversation.subject)).await?;
            views.push(View { conversation, subject, participants, unread });
        }
        Ok(views)
    }

    /// A message as it was written.
    pub(super) async fn opened(&self, stored: Message) -> Result<Message> {
        let text = self.clear(store::BODY, stored.text.as_deref()).await?;
        Ok(Message { text, ..stored })
    }

    async fn clear(&self, place: &str, stored: Option<&str>) -> Result<Option<String>> {
        match stored.filter(|stored| !stored.is_empty()) {
            Some(stored) => self.db.unseal(place, stored).await,
            None => Ok(None),
        }
    }

    fn count(&self, (class, quota): (&'static str, Quota), user: Id<kinds::User>) -> Result<()> {
        let now = self.db.world().now();
        self.limiter.take(class, Counted::Id(user.uuid()), quota, now).check().map(drop)
    }
}

async fn draft(
    tx: &Tx,
    user: Id<kinds::User>,
    kind: Kind,
    verifier: Option<Id<kinds::User>>,
    subject: Option<&Subject>,
) -> Result<Conversation> {
    let subject = match subject {
        Some(subject) => tx.seal(user, store::SUBJECT, subject.as_str()).await?,
        None => String::new(),
    };
    Ok(Conversation {
        id: tx.world().id(),
        kind,
        status: Status::Open,
        opened_by: user,
        verifier,
        subject,
        assigned_to: None,
        messages: 0,
        created_at: tx.now(),
        active_at: tx.now(),
        closed_at: None,
    })
}

/// A fact about a conversation: it concerns everybody in it.
async fn fact(
    tx: &Tx,
    caller: &Caller,
    verb: &'static str,
    conversation: &Conversation,
) -> Result<Fact> {
    let about = store::participants(tx, conversation.id).await?;
    let fact = Fact::by(caller, verb).on(conversation.id).with("type", conversation.kind);
    Ok(about.into_iter().fold(fact, |fact, participant| fact.about(participant.user)))
}

async fn record(
    tx: &Tx,
    caller: &Caller,
    verb: &'static str,
    conversation: &Conversation,
) -> Result<()> {
    tx.record(fact(tx, caller, verb, conversation).await?);
    Ok(())
}
