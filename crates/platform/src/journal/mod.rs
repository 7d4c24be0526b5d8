//! The journal: append-only facts, written by transactions, read in one order by many.
//!
//! A fact says in the past tense what happened, to what, by whom, and whom it concerns. It
//! commits with the change that it tells of. Ids commit out of order, so a fact gets its place,
//! a gapless sequence number, from the one sequencer after its commit; readers follow that
//! number and never miss one. Audit log, timelines, notifications and the transparency log are
//! all such readers.

mod reader;
mod store;
#[cfg(test)]
mod tests;

use kernel::caller::{Acting, Actor, Origin};
use kernel::id::kinds::{Fact as FactKind, Organization, User};
use kernel::{Caller, Id, Role, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

pub use reader::{Reader, Runner, advance, sequence};
pub(crate) use store::insert;
pub use store::{
    Filter, Progress, by_id, concerns, count_of, head, newest_of, of_party, of_party_between,
    of_subject, parties_between, progress, search, since, tally, tally_of_party,
};

/// A fact about to be recorded.
#[derive(Debug, Clone)]
pub struct Fact {
    verb: &'static str,
    actor: Option<Id<User>>,
    role: Option<Role>,
    subject: String,
    about: Vec<Id<User>>,
    data: Map<String, Json>,
    origin: Origin,
}

impl Fact {
    /// `verb` is dotted and in the past tense: `verification.accepted`. The actor is the caller;
    /// where that is an admin in somebody's name, it is the admin, the fact concerns the one whose
    /// name it is, and its data say so (`impersonating`). Where somebody acts for an organization,
    /// the fact concerns it and names it (`organization`), and the actor is the member; where a
    /// key does, the actor is the organization, and the key is named (`apiKey`).
    pub fn by(caller: &Caller, verb: &'static str) -> Self {
        let principal = caller.principal.as_deref();
        let fact = Self {
            verb,
            actor: principal.map(|principal| principal.user),
            role: principal.map(|principal| principal.role),
            subject: String::new(),
            about: Vec::new(),
            data: Map::new(),
            origin: caller.origin.clone(),
        };
        let Some(principal) = principal else { return fact };
        let person = principal.person();
        let fact = match principal.acting {
            None => fact,
            Some(Acting { by: Actor::Key(key), .. }) => fact.with("apiKey", key),
            Some(Acting { by: Actor::Member(_), .. }) => fact
                .acted_by(person, principal.role)
                .about(principal.user)
                .with("organization", principal.user.same_as::<Organization>()),
        };
        match principal.impersonator {
            None => fact,
            Some(admin) => {
                fact.acted_by(admin, Role::Admin).about(person).with("impersonating", person)
            }
        }
    }

    /// The thing that it happened to: an id in its text form.
    #[must_use]
    pub fn on(mut self, subject: impl ToString) -> Self {
        self.subject = subject.to_string();
        self
    }

    /// A user whom it concerns: they see it in their trail, and may be notified of it.
    #[must_use]
    pub fn about(mut self, user: Id<User>) -> Self {
        self.about.push(user);
        self
    }

    /// Public data: ids, states, amounts. Never a secret, a document or an address.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Serialize) -> Self {
        // What a fact carries is plain data; a value that JSON cannot hold shows as null.
        self.data.insert(key.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    /// For what happens before somebody is signed in: registration, login.
    #[must_use]
    pub fn acted_by(mut self, actor: Id<User>, role: Role) -> Self {
        (self.actor, self.role) = (Some(actor), Some(role));
        self
    }
}

/// A fact as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub id: Id<FactKind>,
    /// Its place in the one order; none until the sequencer has come by.
    pub seq: Option<i64>,
    pub at: Timestamp,
    pub verb: String,
    pub actor: Option<Id<User>>,
    pub role: Option<Role>,
    pub subject: String,
    pub data: Json,
    pub origin: RecordedOrigin,
    /// Random bytes that keep the log's public commitment to this fact from being guessed.
    pub salt: [u8; 32],
    /// Whom it concerns, where that was read with it; see [`Recorded::parties`].
    parties: Option<Vec<Id<User>>>,
}

/// Where the request came from: kept with the fact, shown to those it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedOrigin {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Address and client, sealed for the person who asked: see [`RecordedOrigin::open`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
}

impl From<&Origin> for RecordedOrigin {
    fn from(origin: &Origin) -> Self {
        let request_id = origin.request_id.to_string();
        Self {
            request_id: (!request_id.is_empty()).then_some(request_id),
            ip: origin.ip.map(|ip| ip.to_string()),
            user_agent: origin.user_agent.as_deref().map(str::to_owned),
            sealed: None,
        }
    }
}

impl Recorded {
    /// The users whom the fact concerns besides its actor are kept beside it.
    pub fn is_by(&self, user: Uuid) -> bool {
        self.actor.is_some_and(|actor| actor.uuid() == user)
    }
}
