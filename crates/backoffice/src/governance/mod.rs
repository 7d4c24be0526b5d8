//! Proposals: changes of settings that admins vote on, and that execute themselves.
//!
//! ```text
//! open --(deadline)--> passed --execute--> executed
//!                \---> rejected
//! ```
//!
//! - A proposal is a change of settings, checked like any other when it is made. There is no
//!   proposal that a person would have to carry out.
//! - Quorum and deadline are snapshots of the settings `governance.*` at its making: who changes
//!   those changes nothing about what is being voted on.
//! - Each admin has one vote, and may change it until the deadline. It has passed when, after the
//!   deadline, at least the quorum has voted and more are for it than against it.
//! - It is executed once, by any admin: the change of the settings, which names the proposal, and
//!   the proposal's end are one transaction.
//!
//! Votes and execution touch the proposal's row first, so that no vote comes in while it is counted.

mod http;
mod model;
mod rules;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use http::routes;
pub use model::{NewProposal, Proposal, Status, Vote};
pub use service::{Policy, Service};
