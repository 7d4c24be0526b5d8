//! `bare-hash`: argon2id with the platform's parameters, in a loop.

use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Params, Version};

use super::{Work, crowd};
use crate::{Context, Result};

/// Hashes on `threads` threads for `length`.
///
/// Each thread reuses its memory, as a server that cares does: mapping 19 MiB anew for each hash
/// costs a tenth of it.
pub fn hashes(threads: usize, length: Duration) -> Result<Work> {
    const MEMORY_KIB: u32 = 19_456;
    const PASSES: u32 = 2;
    const LANES: u32 = 1;
    const HASH_BYTES: usize = 32;
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)).context("argon2")?;
    crowd(threads, length, |number| {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let mut memory = vec![Block::default(); argon2.params().block_count()];
        let salt = [number as u8; 16];
        let mut hash = [0; HASH_BYTES];
        Ok(move || {
            argon2
                .hash_password_into_with_memory(b"a long password", &salt, &mut hash, &mut memory)
                .context("argon2")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_hash_is_made_by_each_thread() {
        assert!(hashes(2, Duration::from_millis(1)).unwrap().units >= 2);
    }
}
