//! A dispute is a case against a verdict: evidence of both sides, an admin's decision, one appeal.
//!
//! ```text
//! open --assign--> in_review --resolve--> resolved --close--> closed   (time to appeal is over)
//!   +----------resolve----------------------^  +--appeal--> appealed --resolve--> closed
//! ```
//!
//! Invariants:
//! - A verdict is disputed at most once, while its earning is not free yet: by the credential's owner,
//!   or by its verifier, who has learned that it was mistaken. From then on the earning stands still.
//! - Whoever has opened it, the sides are owner and verifier: both are heard, either may appeal, and a
//!   decision says whether the verdict stands and what the owner has back.
//! - Nothing moves by a decision that can still be appealed. The end of the dispute is one
//!   transaction: its state, the verification's, the money, and the revocation of what was
//!   overturned. So nobody is paid twice, whatever is appealed.
//! - An overturned verdict costs its verifier a part of their bond, in that same transaction; the
//!   owner has the price back and not more.
//! - `refund_user` overturns the verdict and gives all back; `split` lets it stand and gives a
//!   part back; `pay_verifier` and `reject` let it stand and give nothing back. A part that goes
//!   back is taken from the verifier's earning and the platform's fee alike.
//! - Owner and verifier add evidence and appeal, once between them. Admins who are no party, and
//!   have acted for none, decide. To everybody else it is not there.
//! - What is shown as evidence is read by both sides, and stays until the dispute is closed. Until
//!   then the admins who decide read the files of the case as well ([`papers`]); whose a file is
//!   learns of every reader.

pub mod http;
pub mod jobs;
pub mod model;
pub mod papers;
#[cfg(test)]
mod papers_tests;
#[cfg(test)]
mod played;
pub mod rules;
pub mod service;
pub(crate) mod store;
#[cfg(test)]
mod tests;

pub use model::Dispute;
pub use service::Service;
