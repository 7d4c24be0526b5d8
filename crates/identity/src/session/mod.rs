//! A session is one signed-in device of a user. One row, shown in several ways: as the opaque
//! token of a cookie, as access tokens (see [`crate::token`]), and as the refresh token that
//! brings new ones.
//!
//! - `active` → `ended`, by its owner, an admin, the cap, or a stolen refresh token; or it lapses,
//!   when unused for too long or too old. There is no way back.
//! - Every presentation is worth what the row is worth. A session that ends is dead here before
//!   whoever ended it is answered; on other replicas within a second, since what is remembered
//!   is confirmed with the store at that age.
//! - A remembered session is checked without a statement and without an allocation. When it was
//!   last seen is gathered in memory and written in batches, never by a request.
//! - The refresh token of a session's n-th generation is a MAC over the session's salt and n:
//!   nothing that is stored can be presented, and every old generation is recognised for good.
//!   Presenting the current one brings the next. The one before is answered with that same next
//!   one for ten seconds more where the same client shows it, by what it calls itself, since its
//!   reply may have been lost; after that, from another client, and for any older one, it was
//!   stolen, by whoever came first or second: the session ends.
//! - When somebody has shown more of who they are, or has changed how they show it, the session is
//!   renewed: a new cookie, a new salt, a new epoch. What showed it before is dead at once, so
//!   that nobody who has planted or picked up a token rides along (session fixation).
//! - An access token that is over may be replaced without a word where the cookie of the same
//!   session stands beside it: never a forged one, never one of another session.
//! - It carries how its owner has shown who they are, how sure that makes us, and when last; see
//!   [`crate::factor`].
//! - A user has a bounded number of sessions; the oldest gives way.

mod cache;
mod control;
pub mod http;
mod jobs;
mod model;
mod rules;
mod service;
pub(crate) mod store;

pub use model::{
    Device, Kind, Method, Policies, Policy, Proof, Reason, Renewed, Session, SignedIn, Tokens,
};
pub use rules::Refusal;
pub use service::{Introspection, Login, Proven, Service};

pub(crate) use control::Locator;
pub(crate) use jobs::register as register_jobs;
pub(crate) use service::{Parts, may_be_ours, may_sign_in};

#[cfg(test)]
mod fleet_tests;
#[cfg(test)]
mod tests;
