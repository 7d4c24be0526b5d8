//! A passkey is a WebAuthn credential of an account (Web Authentication Level 3): a key pair whose
//! private half never leaves the person's devices, unlocked there by a PIN or a finger.
//!
//! - It opens the account by itself, without a name being typed: it is *discoverable*, and says
//!   whose it is. User verification is required, so it counts as two factors.
//! - Which site it is for, and from which origin it may be used, comes from the configured public
//!   URL, never from a request. Without a host name there (a bare address), there are no passkeys.
//! - Every ceremony has a challenge of ours: kept here until it is finished, for five minutes, used
//!   up by the first who presents it whatever comes of it, and good for one purpose; those of a
//!   registration and of a proof for one session as well.
//! - Authenticators that count their signatures must count upwards. One that goes back may have a
//!   copy: the login is refused, recorded, and its owner is told. Synced passkeys count nothing,
//!   and stay at zero.
//!
//! Facts: `passkey.registered`, `passkey.renamed`, `passkey.removed`, `passkey.counter_regressed`.

pub mod http;
mod model;
mod service;
mod store;

pub use model::Passkey;
pub use service::Service;

pub(crate) use service::Parts;

#[cfg(test)]
mod tests;
