//! Solvency: a signed statement of what is owed to holders and what there is to cover it, in which
//! every holder can check that their own balance is counted.
//!
//! - A statement is of one moment: the books are read by one statement of the store.
//! - What is owed stands in a Merkle sum tree a currency ([`verify::solvency`]). A holder's balance
//!   is counted in [`rules::PARTS`] parts of chance size, in an order of chance: the path of one's
//!   own leaf shows neighbours, and those are parts of somebody's balance.
//! - Statements are kept for ever, in the journal by their hash, and their trees for as long as
//!   they are among the last [`service::TREES_KEPT`].
//! - Nobody's id stands in a tree. Blinds and places are made from a key of the platform, the
//!   statement and the holder's id.

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
pub use model::{Notary, Options, Stated};
pub use service::Service;
