//! Recovery: back into an account whose password is lost, and a new password for one who has it.
//!
//! - Asking for a link tells nothing about an address, neither by the answer nor by its time: the
//!   request commits one job and looks at no account (see [`crate::asked`]).
//! - A link works once, for an hour, and goes to the account's own address only. Its token is kept
//!   as a hash. A new password that is refused does not use the link up.
//! - Whoever has read the mail has shown that the address is theirs, so a reset proves it. Where an
//!   older API has let somebody in before that, the password is of a new account.
//! - A reset ends all sessions; a change wants a fresh proof beside the current password, ends all
//!   but the session that asks, and renews that. Either takes all links that are on their way, and
//!   tells the owner by mail.
//! - Links in mails start with the configured public address; what a request says of its host is
//!   never looked at.
//! - A banned or closed account gets no mail and takes no new password. Nobody is signed in by a
//!   reset: second factors are asked for as ever.

pub mod http;
mod jobs;
mod letters;
mod rules;
mod service;

pub use service::Service;

pub(crate) use jobs::register as register_jobs;

#[cfg(test)]
mod tests;
