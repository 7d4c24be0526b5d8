//! Status: how a verdict is taken back without asking anyone who holds it.
//!
//! Each credential owns one bit at a random place of a public, signed list. A revocation sets the
//! bit for good: restoring a verdict means a new credential at a new place, because a relying party
//! that saw the bit may have acted on it. Checkers fetch whole lists, so that nobody learns whom
//! they are looking up.

pub mod http;
pub mod service;
mod store;
