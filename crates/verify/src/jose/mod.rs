//! The JOSE family: keys and signatures of ES256, certificates in headers, SD-JWT, and the one
//! encryption that OpenID4VP asks for.
//!
//! Algorithms are never chosen by the message. A header's `alg` must be the one that goes with the
//! key at hand; `none`, MACs and everything else are refused as unknown.

pub mod es256;
pub mod jwe;
pub mod jws;
pub mod sdjwt;
pub mod x5c;

#[cfg(test)]
mod tests;
