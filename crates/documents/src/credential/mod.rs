//! A credential: a document about its owner, which a verifier can judge.
//!
//! Draft → Pending (a verification runs) → Verified or Rejected; a withdrawn verification puts it
//! back to where it was. Rejected and expired ones may be verified again. Verified → Revoked, for
//! good. Expired is no state of its own: it is what "verified" means once its time is over.
//!
//! - What a verdict was about does not change afterwards: a credential is edited as a draft or
//!   after a rejection only.
//! - It belongs to one user. Others read it by a grant, which a verification gives and takes, or
//!   through a share; to everyone else it does not exist.
//! - Where the file is itself a signed credential, software judges it in the background. What it
//!   finds stands beside the status and never changes it: a verdict is a person's.
//! - Deleting hides it, ends its shares and grants, and lets go of its file. The signed form that
//!   a verdict issued stays valid: taking that back is revoking.
//! - What was signed can be revoked for as long as it stands, in every state: by the owner, and by
//!   admins behind a deletion as well. New copies are made only of what the credential rests on.
//! - A rejection takes back what an earlier verdict has signed.

mod http;
#[cfg(test)]
mod issuer_tests;
pub(crate) mod judge;
#[cfg(test)]
mod judge_tests;
pub(crate) mod judgement;
pub(crate) mod model;
pub(crate) mod rules;
mod service;
pub(crate) mod store;
#[cfg(test)]
mod tests;

pub use http::routes;
pub use judge::{Judge, register};
pub use judgement::{Checked, Judgement, Verdict as AutomaticVerdict};
pub use model::{Credential, Date, Edit, Filter, NewCredential, Outcome, Status, Texts};
pub use service::Service;
