//! Revocation lists: one bit a credential, in lists large enough to hide whom one looks up.

pub mod bitstring;
pub mod token;
