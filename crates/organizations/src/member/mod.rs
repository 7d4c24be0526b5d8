//! An organization is an enterprise account and the people who act for it.
//!
//! The account that registered as an enterprise *is* the organization: wallet, documents and
//! verifications are the account's. People join by an invitation that was mailed to them and act in
//! its place, each as themselves in the audit trail.
//!
//! | may | viewer | member | admin | owner |
//! |---|---|---|---|---|
//! | `verifications:read`, `presentations:read`, `organization:read` | x | x | x | x |
//! | `verifications:write`, `presentations:write` | | x | x | x |
//! | `organization:manage`: team, keys, webhooks, profile, plan | | | x | x |
//! | name, change and remove admins and owners | | | | x |
//!
//! Invariants:
//! - The account itself is an owner, always: there is never an organization without one.
//! - A person belongs to one organization at most. Verifiers and admins belong to none: nobody
//!   judges what they have sent in themselves. Who is made an admin is out of their team.
//! - An invitation works once, for seven days, and for the address that it was sent to only.
//! - Nobody acts for an organization whose account may not act itself, and it holds nobody: its
//!   members may join another.
//! - Whoever is removed is out with their next request: nothing remembers who belongs to a team.

pub mod http;
pub mod jobs;
mod letters;
pub mod model;
pub mod reader;
pub mod rules;
pub mod service;
mod store;
#[cfg(test)]
mod tests;

pub use model::{Invitation, Member, MemberRole, Organization};
pub use service::Service;
