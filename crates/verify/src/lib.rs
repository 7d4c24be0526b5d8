//! The forms in which Verza vouches for something, and the judgement of them.
//!
//! Nothing in this crate reads a clock, a disk, a network or a source of chance: whoever calls
//! hands in bytes, a time and the keys they believe in. The server and the command line judge with
//! the same code, and neither can be talked into trusting a key that came with the file it checks.
//!
//! The formats are small, published and deterministic, so they are written here on top of the
//! cryptographic primitives; each one is checked against vectors or software nobody here wrote.
//!
//! [`credential`] is the W3C credential with its Data Integrity proofs, [`key`] how keys are written
//! down, [`jose`] signed tokens and SD-JWT, [`status`] the revocation lists, [`log`] the Merkle tree
//! and its notes, [`pdf`] the signatures of PDF files, [`solvency`] what a platform owes and whom it
//! counted, and [`judge`] the
//! reader that believes none of them without a reason.

pub mod credential;
pub mod jose;
pub mod judge;
pub mod key;
pub mod log;
pub mod pdf;
pub mod solvency;
pub mod status;

#[cfg(test)]
mod sample;
