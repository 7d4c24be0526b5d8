//! The authority: P-256 keys under certificates of a small CA of our own.
//!
//! Wallets ask for a chain of certificates that ends in an anchor which they have from elsewhere.
//! The root signs nothing but the certificates of the other keys and never travels in a header;
//! whoever wants to check takes it from its own address, once. A key of one purpose serves no other.

pub mod http;
pub mod service;
mod store;
