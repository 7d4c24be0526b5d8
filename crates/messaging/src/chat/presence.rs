//! Who is there: whoever listens to their conversations, in this process or in another.
//!
//! Of its own listeners a process knows by its [`Hub`]; of those elsewhere by what the others say
//! ([`Air`]). Nothing of this is stored. Each process says when the first stream of a user opens
//! and when the last one closes, and repeats now and then who is there. Whom nobody has named for a
//! while is gone: their process may have died, or Redis may be away. Without Redis a process knows
//! its own listeners only.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::{Conversation, User};
use kernel::{Id, Timestamp};
use parking_lot::Mutex;
use platform::fleet::{Air, Heard};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::service::Service;
use super::store;
use crate::stream::{Hub, Signal};

/// How often a process repeats who is there.
const REPEAT_EVERY: Duration = Duration::from_secs(10);
/// For how long somebody is there who was named: two repetitions may be lost.
const BELIEVED_FOR: Duration = Duration::from_secs(35);
/// Users named in one word.
const NAMED_MAX: usize = 500;
/// Words heard that wait to be taken in.
const HEARD_MAX: usize = 256;

/// What processes say to each other about chat. All of it may be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "camelCase")]
pub(super) enum Word {
    /// Who is there? Said by who has just come.
    Who,
    /// These are there, with me.
    Here { users: Vec<Id<User>> },
    /// This one is not there any more, with me.
    Gone { user: Id<User> },
    /// I stop: nobody is there any more, with me.
    Stopping,
    /// A user types; these are to be told.
    Typing { conversation: Id<Conversation>, user: Id<User>, to: Vec<Id<User>> },
}

/// What this process knows of who is there.
pub(super) struct Presence {
    hub: Arc<Hub>,
    air: Option<Arc<Air>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Of whom we have said that they are here.
    said: HashSet<Id<User>>,
    /// Who is elsewhere, by the process that says so, with the time when it was last said.
    elsewhere: HashMap<Id<User>, HashMap<String, Timestamp>>,
}

impl Presence {
    pub(super) fn new(hub: Arc<Hub>, air: Option<Arc<Air>>) -> Self {
        Self { hub, air, known: Mutex::default() }
    }

    /// Whether somebody listens to their conversations, anywhere.
    pub(super) fn is_online(&self, user: Id<User>) -> bool {
        self.hub.is_online(user) || self.known.lock().elsewhere.contains_key(&user)
    }

    #[cfg(test)]
    pub(super) fn is_elsewhere(&self, user: Id<User>) -> bool {
        self.known.lock().elsewhere.contains_key(&user)
    }

    /// Tells the other processes whether a user is here, if that is news. To be called behind every
    /// change: it looks and speaks under one lock, so that the last word is the right one.
    pub(super) fn announce(&self, user: Id<User>) {
        let mut known = self.known.lock();
        let is_here = self.hub.is_online(user);
        if is_here && known.said.insert(user) {
            self.say(&Word::Here { users: vec![user] });
        } else if !is_here && known.said.remove(&user) {
            self.say(&Word::Gone { user });
        }
    }

    /// Says who is here, all of them.
    fn repeat(&self) {
        let mut known = self.known.lock();
        let users = self.hub.chatting();
        known.said = users.iter().copied().collect();
        users.chunks(NAMED_MAX).for_each(|some| self.say(&Word::Here { users: some.to_vec() }));
    }

    pub(super) fn say(&self, word: &Word) {
        if let Some(air) = &self.air
            && let Ok(text) = serde_json::to_string(word)
        {
            air.say(text);
        }
    }

    /// Another process has named users; answers those of whom this is news.
    fn came(&self, by: &str, users: Vec<Id<User>>, now: Timestamp) -> Vec<Id<User>> {
        let mut known = self.known.lock();
        let is_news = |user: &Id<User>| {
            let processes = known.elsewhere.entry(*user).or_default();
            let is_first = processes.is_empty();
            processes.insert(by.to_owned(), now);
            is_first
        };
        users.into_iter().filter(is_news).collect()
    }

    /// A user is not at another process any more; answers the user, if they are at none.
    fn went(&self, by: &str, user: Id<User>) -> Vec<Id<User>> {
        self.forget(|who, process, _| *who == user && process == by)
    }

    /// A process has stopped; answers who is gone with it.
    fn stopped(&self, by: &str) -> Vec<Id<User>> {
        self.forget(|_, process, _| process == by)
    }

    /// Gives up those of whom nobody has spoken for a while; answers who is gone.
    fn forget_silent(&self, now: Timestamp) -> Vec<Id<User>> {
        self.forget(|_, _, said_at| now.since(said_at) >= BELIEVED_FOR)
    }

    fn forget(&self, is_over: impl Fn(&Id<User>, &str, Timestamp) -> bool) -> Vec<Id<User>> {
        let mut gone = Vec::new();
        self.known.lock().elsewhere.retain(|user, processes| {
            processes.retain(|process, said_at| !is_over(user, process, *said_at));
            if processes.is_empty() {
                gone.push(*user);
            }
            !processes.is_empty()
        });
        gone
    }
}

impl Service {
    /// Talks with the other processes about who is there and who types, until told to stop. Without
    /// Redis there is nobody to talk to.
    pub async fn run(&self, stop: CancellationToken) {
        let Some(air) = &self.presence.air else { return };
        let (hear, mut heard) = mpsc::channel(HEARD_MAX);
        let said_all = CancellationToken::new();
        let talk = async {
            let mut repeat = tokio::time::interval(REPEAT_EVERY);
            loop {
                tokio::select! {
                    Some(heard) = heard.recv() => self.take_in(heard).await,
                    _ = repeat.tick() => self.look_around().await,
                    () = stop.cancelled() => break,
                }
            }
            self.presence.say(&Word::Stopping);
            said_all.cancel();
        };
        tokio::join!(air.run(hear, &said_all), talk);
    }

    /// Says who is here, and gives up those of whom nobody has spoken for a while.
    pub(super) async fn look_around(&self) {
        self.presence.repeat();
        let gone = self.presence.forget_silent(self.db.world().now());
        self.tell_presence(&gone).await;
    }

    async fn take_in(&self, heard: Heard) {
        let presence = &self.presence;
        let (by, text) = match heard {
            Heard::Joined => {
                presence.say(&Word::Who);
                return presence.repeat();
            }
            Heard::Said { by, text } => (by, text),
        };
        let changed = match serde_json::from_str(&text) {
            Ok(Word::Who) => return presence.repeat(),
            Ok(Word::Here { users }) => presence.came(&by, users, self.db.world().now()),
            Ok(Word::Gone { user }) => presence.went(&by, user),
            Ok(Word::Stopping) => presence.stopped(&by),
            Ok(Word::Typing { conversation, user, to }) => {
                return self.tell_typing(conversation, user, &to);
            }
            Err(error) => return tracing::debug!(%error, "a newer process says something"),
        };
        self.tell_presence(&changed).await;
    }

    /// Somebody may have begun, or ceased, to listen here.
    pub(super) async fn came_or_went(&self, user: Id<User>) {
        self.presence.announce(user);
        self.tell_presence(&[user]).await;
    }

    /// Has those who listen here, and talk with these users, look whether they are there.
    async fn tell_presence(&self, users: &[Id<User>]) {
        for user in users {
            if !self.hub.is_anybody_chatting() {
                return;
            }
            match store::peers(&self.db, *user).await {
                Ok(peers) => peers
                    .into_iter()
                    .for_each(|peer| self.hub.signal(peer, Signal::Presence { user: *user })),
                Err(error) => tracing::warn!(%error, "nobody is told who is there"),
            }
        }
    }

    pub(super) fn tell_typing(
        &self,
        conversation: Id<Conversation>,
        user: Id<User>,
        to: &[Id<User>],
    ) {
        to.iter().for_each(|other| self.hub.signal(*other, Signal::Typing { conversation, user }));
    }
}
