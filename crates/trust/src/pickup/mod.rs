//! Pickup: how a wallet gets the SD-JWT of a verdict (OpenID4VCI 1.0, pre-authorized code).
//!
//! The owner asks for an offer and receives a link (as a QR code for the wallet) and a transaction
//! code of six digits for themselves. The wallet redeems both for an access token, proves a key of
//! its own under a nonce of ours, and receives a credential bound to that key.
//!
//! Invariants: link, code and access token are kept as hashes only; a code is redeemed once, and
//! five wrong transaction codes burn it without telling a guesser which of the two was wrong; an
//! access token collects once; a nonce is spent once. A wrong transaction code does not consume
//! the code, since whoever saw the QR code could then take the credential from its owner.
//!
//! This is OpenID4VCI and not its high assurance profile, which asks for a sign-in at the wallet.

pub mod http;
mod model;
pub mod service;
mod store;

pub use service::Holdings;

#[cfg(test)]
mod tests;
