//! Taking along what is held of oneself, and going.
//!
//! ```text
//! open --close--> closed --(grace)--> erased --(retention)--> records erased
//!                   |
//!                   +--reopen (admin, within the grace)--> as it stood
//! ```
//!
//! - Closing is refused while something is open: money in the wallet, a verification that runs,
//!   being the last admin. The answer lists what.
//! - It needs the password, or a session that was proved in the last five minutes. An admin
//!   closes somebody's account on such a session only, and never another admin's.
//! - A closed account is shut at once, on every device. What was held of the person goes when the
//!   grace is over, by default at once; the records of what was decided about their documents, and
//!   their key, when the retention is over, by default with it.
//! - Erasing overwrites what can be overwritten and destroys the key under which the rest is
//!   sealed. Ledger rows, facts and verdicts stay, under an id that leads to nobody: no row of the
//!   ledger and no fact is ever removed, and every proof over them holds as before.
//! - What is held is asked of the contexts ([`platform::privacy::Holder`]); this one knows none of
//!   them.

pub mod http;
mod jobs;
mod personal;
mod rules;
mod service;
mod store;

pub use personal::Held;
pub use rules::Policy;
pub use service::{Closed, Service};
pub(crate) use store::insert as begin_in;

pub(crate) use jobs::register as register_jobs;

#[cfg(test)]
mod tests;
