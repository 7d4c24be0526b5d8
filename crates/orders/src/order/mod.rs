//! An order asks for so many comments, likes or views for a web address. Somebody outside of the
//! platform delivers them; an admin says when that is done.
//!
//! ```text
//! processing --done--> done            (admin)
//!     +------cancel--> cancelled       (owner, admin)
//! ```
//!
//! Invariants:
//! - An order is made `processing`, and what may follow is [`rules::step`] and nothing else.
//! - All that was stored is shown: the quantity is as well.
//! - Where a type of order has a price, an order that is processing has an open hold of exactly
//!   its price. Done, it is the platform's; cancelled or deleted before, it is the owner's again.
//! - The owner deletes an order in any state; so does an admin, unless it is another admin's.
//! - Whoever is neither owner nor admin cannot tell that it exists.
//! - An order's addresses are in no fact: they may say whom a person follows.

pub mod http;
mod model;
mod port;
mod rules;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use model::{Escrow, Prices};
pub use service::Service;
