//! The issuer's identity: Ed25519 keys, how they are written down, and the document in which the
//! world finds them.
//!
//! One key serves one purpose. The key that signs credentials never signs checkpoints, because a
//! signature is only as narrow as the set of things its key may sign.

pub mod http;
pub mod service;
pub(crate) mod store;
