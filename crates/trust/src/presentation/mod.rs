//! Presentation: an enterprise asks a wallet for a credential (OpenID4VP 1.0, DCQL).
//!
//! A request is signed by our certified key, names itself by the hash of that key's certificate,
//! and is answered to us (`direct_post`, or `direct_post.jwt` encrypted to a key of this request
//! alone). Only an answer that is valid in every respect is accepted, and only one.
//!
//! Invariants: nonce, state and the request's key are derived from its id under the master key, so
//! none of them is stored; an answer that is refused leaves the request open, since anybody may
//! send one; a second good answer finds the request answered.
//!
//! A request shown as a QR code can be passed on to somebody else's wallet: what is learnt is that
//! the holder of the credential agreed, not that they are the person in front of the screen.

pub mod http;
pub mod model;
pub mod service;
mod store;

pub use service::Askers;

#[cfg(test)]
mod tests;
