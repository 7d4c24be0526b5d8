//! Flags: what people find an admin should look at, and what admins then do.
//!
//! ```text
//! open --resolve (warn, remove, revoke, suspend)--> upheld
//!   \--resolve (dismiss)--> dismissed
//! ```
//!
//! - Whoever sees a thing may flag it, once while the flag is open, and nobody their own. To flag
//!   what one does not see is to flag nothing: 404.
//! - A decision is about the thing, and answers all open flags of it at once. It is one
//!   transaction with what it does, which the thing's owner carries out ([`Owners`]): either the
//!   flags are resolved and the review is gone, or neither. Of two admins at once one is refused.
//! - Who has flagged is shown to admins, and to nobody else: neither the trail of whose it is nor
//!   their export names them. Nobody decides about their own flag.

mod http;
mod model;
mod rules;
mod service;
mod store;
#[cfg(test)]
pub(crate) mod tests;

pub use http::routes;
pub(crate) use model::text;
pub use model::{Action, Flag, NewFlag, Reason, State, Subject};
pub use service::{Found, Owners, Sanction, Service};
