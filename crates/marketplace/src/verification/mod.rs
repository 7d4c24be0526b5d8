//! A verification is one request by an owner that one verifier judge one credential.
//!
//! The price is held when it is requested, paid out with the verdict, and given back when the
//! verification ends without one. A request goes to a verifier, or to nobody: then it stands on the
//! board until one of those who fit has claimed it ([`board`]).
//!
//! ```text
//! open --accept--> in_review --release, lapse--> open      (claimed, given back, left lying)
//! pending --accept--> in_review --complete--> verified | rejected
//!    |                 |     ^
//!    |      request_info     provide_info, start
//!    |                 v     |
//!    |                needs_info
//!    +--decline--> declined       (verifier)
//! open, pending --cancel---> cancelled      (owner)
//! open, pending, in_review, needs_info --expire--> expired | --force_cancel--> force_cancelled
//!
//! verified, rejected, revoked --dispute--> disputed --uphold--> upheld    (either side; then the
//!                                              +----overturn--> overturned      dispute)
//! verified, upheld --revoke--> revoked       (when its signed credential is revoked)
//! ```
//!
//! Invariants:
//! - What may happen when, and who may do it, is [`rules::step`] and nothing else; the table refuses
//!   every other edge, whoever writes.
//! - Of all who claim a job of the board, one has it. Who has let it lie or given it back does not
//!   get it again.
//! - A credential has at most one open verification. An open one has an open hold of exactly its
//!   price; a closed one has none.
//! - A verdict is one transaction: state, money, fee, signed credential, the credential's status,
//!   the verifier's access, facts. Rejecting is work as well: it is paid, and issues nothing.
//! - While a verdict is contested, what was earned by it stands still. The end of the dispute is
//!   one transaction as well: state, money, and the revocation of what was overturned.
//! - A change is made on the version that was decided on. Who loses a race is run again on what
//!   the winner left, and is told the state that is.
//! - From the acceptance until the verdict cannot be contested any more, or the dispute is over, the
//!   verifier's bond is within reach; an overturned verdict costs a part of it.
//! - The verifier reads the credential from the acceptance to the end, and not beyond.
//! - The report of a verdict is read by both sides and by admins, and stays ([`papers`]).
//! - Whoever is neither owner, verifier nor admin cannot tell that it exists.

pub mod attachment;
pub mod board;
mod bond;
pub(crate) mod contest;
pub mod http;
pub mod jobs;
pub mod model;
pub mod papers;
pub mod reader;
pub mod rules;
pub mod service;
pub(crate) mod store;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod timeline_tests;

pub use model::{State, Verification};
pub use service::Service;
