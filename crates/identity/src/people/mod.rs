//! What admins do with people beyond locking them out: making accounts, changing them, ending
//! their sessions, and deciding who else is an admin.
//!
//! - An account that an admin makes has no password. A link in a mail lets its owner set one,
//!   which proves the address as well; the link works once and for a week.
//! - A user sees and changes their own account through the same routes. Somebody else's does not
//!   exist for them.
//! - The role of admin is given by an admin, to an account that exists or by a one-time set-up
//!   link, and taken by an admin. There is always one admin left: changes of who is one go one
//!   after another, on both engines, since each touches the one row of `admin_roster` first.

pub mod http;
pub(crate) mod letters;
mod model;
mod rules;
mod service;
pub(crate) mod store;

pub use model::NewPerson;
pub use rules::Refusal;
pub use service::Service;
pub(crate) use service::leave_an_admin;

#[cfg(test)]
mod tests;
