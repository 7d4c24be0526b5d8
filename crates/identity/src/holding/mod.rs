//! An account that a user holds: a name, a biography and a picture under which the user appears
//! as an artist, a label, or simply as a listener. Not to be mixed up with [`crate::account`],
//! with which somebody signs in, nor with the accounts of the ledger; in code it is a holding, to
//! clients an account.
//!
//! - It belongs to one user and is of one type (see [`crate::accounttype`]). A user holds at most
//!   one account of a type.
//! - The account and the row that ties it to its type are made and deleted together.
//! - Its owner and admins see and change it; to everybody else it is not there.
//! - `active` ⇄ `inactive`, as its owner likes.
//! - Plays, likes, follows and shares are counted, never set.

pub mod http;
mod model;
mod rules;
mod service;
pub(crate) mod store;

pub use model::{Bio, Change, Filter, Holding, New, Plan, Status};
pub use rules::Refusal;
pub use service::Service;

#[cfg(test)]
pub(crate) mod tests;
