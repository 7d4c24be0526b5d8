//! A commission is a verification that an organization asks for, of a document about somebody.
//!
//! The organization's account owns the credential and pays; whoever acts for it, a member or an API
//! key, is named in the facts. What happens then is a verification like any other: see
//! [`crate::verification`].
//!
//! Invariants:
//! - A commission, its credential where it is new, its verification and its hold are one transaction.
//! - An organization sees its own commissions and no other's; it follows, contests and reviews them as
//!   any owner does.
//! - The word that an organization has for a case (`reference`) is its own: it need not be unique, and
//!   neither it nor the subject's name is in any fact.

pub mod http;
pub mod model;
pub mod service;
mod store;
#[cfg(test)]
mod tests;

pub use model::Commission;
pub use service::Service;
