//! Access tokens: a session shown as a text that anybody can check with the public keys, or, for
//! those who would rather show nothing, as one that only we can read.
//!
//! | form | what it is | who can check it |
//! |---|---|---|
//! | [`Format::Jwt`] | an EdDSA JWT (RFC 9068), the usual one | whoever has `/.well-known/jwks.json` |
//! | [`Format::PasetoPublic`] | PASETO `v4.public` | whoever has `/.well-known/paseto-keys.json` |
//! | [`Format::PasetoLocal`] | PASETO `v4.local`, encrypted | this platform |
//!
//! - One algorithm, one type, known keys (RFC 8725): a JWT's header must be exactly
//!   `{"alg":"EdDSA","typ":"at+jwt","kid":..}`, a PASETO's footer exactly `{"kid":..}`; whatever
//!   else they say is a refusal. Other versions of PASETO are accepted nowhere.
//! - Each form has keys of its own, and a key serves one form only.
//! - A token names its session and the session's epoch. It is worth something only while that
//!   session lives and is in that epoch: the signature is necessary and never sufficient here.
//! - One key of a form signs at a time. A retired key is published and believed for a day longer,
//!   which is as long as the longest token lives and longer than any replica takes to notice.
//! - Signing keys are in the database, sealed under the master key.
//! - Clocks may differ by a minute where a token says from when it is good; when it is over it is
//!   over, without any leeway.

pub mod jws;
mod keys;
mod model;
mod paseto;
mod store;

pub mod http;
mod service;

pub use keys::Listed;
pub use model::{Actor, Claims, Format, Policy, Refusal, Wish};
pub use service::Service;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
