//! Issuance: a verdict as a W3C Verifiable Credential 2.0 in Open Badge 3.0 shape, under two Data
//! Integrity proofs.
//!
//! The credential says that a document was checked, by whom, when and how, with the outcome
//! "verified". It never says that its holder earned what the document describes, and no credential
//! exists for any other outcome.
//!
//! Two suites sign each document. `eddsa-rdfc-2022` is what badge wallets and verifiers know;
//! `eddsa-jcs-2022` is what anybody can check in a page of code. Both are over the same document,
//! and a reader of either ignores the other.

pub mod http;
pub mod service;
pub(crate) mod store;
mod withdrawal;
