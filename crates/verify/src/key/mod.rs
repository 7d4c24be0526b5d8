//! How keys are written down, and the document in which the world finds them.

pub mod did;
pub mod multikey;

pub use ed25519_dalek::SigningKey;

#[cfg(test)]
mod tests;
