//! Rules that look for fraud in what happens, and the alerts that they raise.
//!
//! ```text
//! open --escalate--> escalated --dismiss--> dismissed
//!   \----------------dismiss--------------/
//! ```
//!
//! - The rules follow the journal ([`Watcher`]), so each fact is looked at exactly once, in order,
//!   and an alert commits together with the place up to which was read.
//! - Each rule is off, monitors (it raises alerts), or enforces (it freezes the wallet as well, and
//!   nothing else: money that waits for a person is the least harm). The settings `fraud.*` say
//!   which, while the platform runs. Dismissing an alert thaws nothing: an admin does, who sees
//!   what else the wallet may be frozen for.
//! - An alert says its reasons and a score of 0 to 100. While it is undecided, what the rule finds
//!   again is added to it; for a week after it was dismissed, the same is not raised anew.
//! - No alert, and no fact about one, concerns any user: whom it is about does not learn of it, nor
//!   of anybody else in it. Addresses and devices are compared by keyed hashes, and places kept to
//!   tenths of a degree, where the operator has a database of addresses; all of it is forgotten
//!   after five weeks.

mod http;
mod model;
mod places;
mod reader;
mod rules;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use http::routes;
pub use model::{Alert, AlertState, MODES, Modes, Rule};
pub use places::Places;
pub use reader::Watcher;
pub use service::{Brake, Service};
