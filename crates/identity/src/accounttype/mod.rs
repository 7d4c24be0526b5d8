//! An account type is a kind of account that users may hold: what it is called, and what its
//! accounts may do.
//!
//! - A type has an id, a number by which older clients name it, and a name; each belongs to one
//!   type. Numbers 1 to 5 (user, artist, producer, writer, label) come with the platform.
//! - Permissions are plain words, such as "Upload Songs". Accounts of type 1 never upload: no
//!   permission that begins with "Upload" can be given to it.
//! - Everybody signed in may look; admins make, change and delete.
//! - A type that accounts use is not deleted. A foreign key keeps that true also against an
//!   account that is being made at the same moment.

pub mod http;
mod model;
mod rules;
mod service;
pub(crate) mod store;

pub use model::{AccountType, Change, Description, New, Number, Permissions, TypeName};
pub use rules::{Refusal, may_upload};
pub use service::Service;

#[cfg(test)]
mod tests;
