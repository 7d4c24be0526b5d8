//! A verdict as a W3C Verifiable Credential 2.0 in Open Badge 3.0 shape, under two Data Integrity
//! proofs.
//!
//! Two suites sign each document. `eddsa-rdfc-2022` is what badge wallets and verifiers know;
//! `eddsa-jcs-2022` is what anybody can check in a page of code. Both are over the same document,
//! and a reader of either ignores the other.

pub mod badge;
pub mod baked;
pub mod jcs;
pub mod proof;
pub mod rdfc;
pub mod timestamp;

#[cfg(test)]
mod tests;
