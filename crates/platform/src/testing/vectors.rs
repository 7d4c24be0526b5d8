//! Published test vectors, where a copy of them stands beside the checkout.
//!
//! They are many and not ours, so that they are no part of the repository. Each test that asks for
//! a file has vectors of its own as well.

use std::path::PathBuf;

/// Reads a file of the vectors folder: `$VERZA_VECTORS`, or `../shared/vectors` seen from the
/// workspace. Says so in the test's output when there is none.
pub fn read(name: &str) -> Option<String> {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let folder = std::env::var_os("VERZA_VECTORS")
        .map_or_else(|| PathBuf::from(workspace).join("../shared/vectors"), PathBuf::from);
    let path = folder.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            println!("published vectors not tried, {}: {error}", path.display());
            None
        }
    }
}

/// [`read`] for JSON.
///
/// # Panics
/// When the file is there and is no JSON.
pub fn read_json(name: &str) -> Option<serde_json::Value> {
    Some(serde_json::from_str(&read(name)?).expect("vectors are JSON"))
}
