//! Charge-backs: a payer's bank wants a settled payment back, or a part of it, or it was sent back at
//! the provider without anybody here having asked for that. A payment can have several.
//!
//! ```text
//! open -> lost -> won     (the provider gave it back after all)
//!      -> won
//! ```
//!
//! The bank may change what it wants while nothing is decided: then as much is held as it wants now.
//!
//! What is opened freezes the owner's wallet and holds as much of the payment as is still there.
//! When it is lost, what was held goes, and the rest is the owner's debt (`as.recv.negative`),
//! which their next deposits pay first, or an admin gives up (`ex.chargeback`). Only what the provider
//! answers when it is asked counts; each step is booked once, under `cb:{id}:{step}`.
//!
//! A bank that wants more than came for the payment takes the rest from the platform
//! (`ex.chargeback`). A payment whose money waits in suspense is not its owner's: nothing of theirs
//! is frozen, nobody credits or refunds it meanwhile, and what is lost leaves the suspense.

mod rules;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use service::{is_open, observe, owed, pay_debt, refuse_disputed};
