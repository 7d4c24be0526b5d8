//! Staking: a verifier's bond for their work. Not a yield product: rewards are off unless the
//! operator pays for them.
//!
//! ```text
//! li.earn -> li.stake -> li.unstake -> li.earn       stake, unstake, finished after cooling
//!               ^------------'                       cancelled
//! ```
//!
//! What always holds:
//!
//! - What is staked or cooling down cannot be spent, and both can be slashed: leaving is no way
//!   out of a claim.
//! - While work of an owner's can still be claimed about, their bond is pinned: what has cooled down
//!   is not free before the last pin is gone. So unstaking in time is no way out either.
//! - Nothing is paid before `unlock_at`; what a slash has taken is not paid at all.
//! - What is cooling down in all of an owner's open unstakings is the balance of their
//!   `li.unstake`.
//! - The rewards of an epoch come to its pool exactly, by how much was staked for how long. With
//!   nobody to give it to, the pool is carried over.

mod http;
mod jobs;
mod model;
mod rules;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use http::routes;
pub(crate) use jobs::register as jobs;
pub use model::{Bond, NewStake, Unstaking};
pub use rules::{Policy, Rewards, Tier};
pub use service::Service;
