//! Ory Kratos, in both directions: as the source of identities, and as what is stood in for.
//!
//! In the modes `kratos` and `both` a Kratos session is believed here. Kratos is asked once
//! (`GET /sessions/whoami`); its session then has a session row of ours, and from there on it is
//! listed, ended, looked through and remembered like any other.
//!
//! - **An answer of Kratos holds for a stated time** ([`Options::cache`], ten seconds), and never
//!   beyond the session's own end. What ends at Kratos is refused here that much later at the
//!   latest. What ends here is dead here at once, and a job that is tried again ends it at Kratos;
//!   should Kratos go on believing it, we do not.
//! - **An account is linked by a proved address and by nothing else.** Whoever has an identity
//!   with an unproved address gets no account of that address, neither an existing one nor a new
//!   one. An account whose own address was never proved is taken over as it would be by a new
//!   registration: a password that a stranger has set for it is gone. What an admin has made or
//!   imported keeps its role and its password. See [`rules::link`].
//! - **One factor at Kratos is one factor here.** An account with an authenticator app of ours proves
//!   nothing afresh by it, and half an admin adds no second factor on the strength of it.
//! - **A hook says that something has changed, and never what.** Its key is a static text; so the
//!   identity is read from Kratos's admin API, and a stolen key changes nothing.
//! - **Kratos's failures are its own.** Five in a row open a breaker; native sessions never wait.
//!   Only failures of the infrastructure count: a refused session is an answer.
//! - What is made up is refused by its form, or remembered as worth nothing; both memories are
//!   bounded, and so is the number of questions at once.
//!
//! In the modes `native` and `both` the platform itself answers Kratos's session endpoints, from
//! its own sessions and accounts, in Kratos's shapes ([`shape`]).

mod answers;
mod client;
pub mod http;
mod jobs;
mod model;
mod remote;
mod rules;
mod service;
mod shape;
mod store;

pub use model::{Mode, Options};
pub use rules::Refusal;
pub use service::Service;

pub(crate) use jobs::register as register_jobs;
pub(crate) use remote::revoke_ended_in;
pub(crate) use rules::may_start;
pub(crate) use service::Parts;
pub(crate) use store::is_linked;

#[cfg(test)]
mod standin;
#[cfg(test)]
mod tests;
