//! What follows when somebody else has a key of the issuer.
//!
//! A compromise is declared once, with the time since when the key is not to be believed. From then
//! on:
//!
//! - The key signs no more. Unless a newer one does already, another is made at once; it has no
//!   hour in which it is known and does not sign yet.
//! - The key is published with `revoked`. Under a key that never signed anything good not even
//!   that: it is taken from `assertionMethod` and from the issuer's metadata.
//! - Every verdict and every token that it has signed since then is revoked; verdicts that are
//!   still held can be signed anew under the other key instead ([`crate::issuance`]).
//! - Status lists are signed anew at once, whole.
//!
//! States: declared, carried out. What is left to do is what still stands under the key, so that it
//! can be interrupted anywhere, and done by several at once. For a while after the end it is looked
//! at again: other processes take a moment to hear that the key is no longer theirs.

mod jobs;
pub mod service;
mod store;

#[cfg(test)]
mod tests;

pub(crate) use jobs::register;
