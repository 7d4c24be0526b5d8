//! The port's remote end: asks the user service in another process.
//!
//! Who presents a token is remembered for a moment ([`Memory`]). This end is never sure by itself
//! ([`Users::is_prompt`]), and what must not go wrong is confirmed with the store.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::{Session, User};
use kernel::{Id, Principal, Result, Timestamp};
use platform::fleet::Board;

use super::memory::Memory;
use super::{Profile, Reissued, Users};
use crate::peer::{Peer, Repeat};
use crate::wire::{id_bytes, v1};

/// The longest text that is worth asking about, as the other end has it.
const PRESENTED_MAX: usize = 8 * 1024;

/// The user service in another process.
#[derive(Clone)]
pub struct Remote {
    peer: Peer,
    memory: Arc<Memory>,
}

impl Remote {
    /// `board` is this process's own: it says what others have changed.
    pub fn new(peer: Peer, board: &Board) -> Self {
        let memory = Arc::new(Memory::new());
        board.follow(&memory);
        Self { peer, memory }
    }

    /// Who presents this, and for how long that may be believed.
    async fn who(&self, path: &'static str, presented: &str) -> Result<(Arc<Principal>, Duration)> {
        if presented.len() > PRESENTED_MAX {
            let message = "The token is not one of ours.";
            return Err(kernel::Error::unauthenticated("invalid_token", message));
        }
        let question = v1::Presented { text: presented.to_owned() };
        let principal: v1::Principal = self.peer.ask(path, question, Repeat::Safe).await?;
        let long = Duration::from_millis(principal.believable_ms.into());
        Ok((Arc::new(self.legible(principal.read())?), long))
    }

    fn legible<T>(&self, read: Option<T>) -> Result<T> {
        read.ok_or_else(|| self.peer.garbage("an answer that cannot be read"))
    }
}

impl Users for Remote {
    fn cached(&self, presented: &str, now: Timestamp) -> Option<Arc<Principal>> {
        self.memory.get(presented, now)
    }

    fn authenticate<'a>(&'a self, presented: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>> {
        async move {
            let asked = (self.memory.ticket(), self.peer.now());
            let (principal, long) = self.who("/verza.v1.Users/Authenticate", presented).await?;
            self.memory.remember(presented, &principal, asked, long);
            Ok(principal)
        }
        .boxed()
    }

    fn reissue<'a>(&'a self, expired: &'a str, cookie: &'a str) -> BoxFuture<'a, Result<Reissued>> {
        async move {
            let (expired, cookie) = (expired.to_owned(), cookie.to_owned());
            let question = v1::ReissueRequest { expired, cookie };
            let path = "/verza.v1.Users/Reissue";
            let v1::Reissued { principal, token } =
                self.peer.ask(path, question, Repeat::Unsent).await?;
            let principal = self.legible(principal.unwrap_or_default().read())?;
            Ok(Reissued { principal: Arc::new(principal), token: token.into() })
        }
        .boxed()
    }

    fn is_prompt(&self) -> bool {
        false
    }

    fn confirm<'a>(&'a self, presented: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>> {
        async move {
            let (principal, _) = self.who("/verza.v1.Users/Confirm", presented).await?;
            Ok(principal)
        }
        .boxed()
    }

    fn session(
        &self,
        user: Id<User>,
        session: Id<Session>,
    ) -> BoxFuture<'_, Result<Arc<Principal>>> {
        async move {
            let question = v1::SessionRequest { user: id_bytes(user), session: id_bytes(session) };
            let path = "/verza.v1.Users/Session";
            let principal: v1::Principal = self.peer.ask(path, question, Repeat::Safe).await?;
            self.legible(principal.read()).map(Arc::new)
        }
        .boxed()
    }

    fn profile(&self, user: Id<User>) -> BoxFuture<'_, Result<Profile>> {
        async move {
            let found = self.profiles(&[user]).await?.pop();
            found.ok_or_else(|| kernel::Error::not_found("user"))
        }
        .boxed()
    }

    fn ways_to_prove(&self, user: Id<User>) -> BoxFuture<'_, Result<Vec<String>>> {
        async move {
            let question = v1::UserRequest { user: user.uuid().as_bytes().to_vec().into() };
            let path = "/verza.v1.Users/WaysToProve";
            let reply: v1::Ways = self.peer.ask(path, question, Repeat::Safe).await?;
            Ok(reply.ways)
        }
        .boxed()
    }

    fn order_role<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, Result<String>> {
        async move {
            let path = "/verza.v1.Users/OrderRole";
            let question = v1::Principal::from(principal);
            let reply: v1::OrderRoleReply = self.peer.ask(path, question, Repeat::Safe).await?;
            Ok(reply.role)
        }
        .boxed()
    }

    fn profiles<'a>(&'a self, users: &'a [Id<User>]) -> BoxFuture<'a, Result<Vec<Profile>>> {
        async move {
            let ids = users.iter().map(|user| user.uuid().as_bytes().to_vec().into());
            let question = v1::ProfilesRequest { users: ids.collect() };
            let path = "/verza.v1.Users/Profiles";
            let reply: v1::ProfilesReply = self.peer.ask(path, question, Repeat::Safe).await?;
            reply.profiles.into_iter().map(|profile| self.legible(profile.read())).collect()
        }
        .boxed()
    }
}
