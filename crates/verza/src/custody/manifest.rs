//! What a backup says of itself, and the proof of who says so.

use std::fs;
use std::path::Path;

use kernel::{Error, Result};
use platform::crypto::{MasterKey, hmac_sha256};
use serde::{Deserialize, Serialize};

use super::{MAC_LABEL, cannot_read, cannot_write};

/// The form of backups that this release writes and reads.
pub const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";
const MAC: &str = "manifest.mac";

/// The manifest. Its bytes are what is authenticated, not its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    /// The release that made it.
    pub verza: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// What the database was when the backup was made.
    pub engine: String,
    /// Where the platform is reached: its issuer and its log are named after it.
    pub public_url: String,
    /// Whether the master key is inside.
    pub has_master_key: bool,
    pub contents: Contents,
    pub tables: Vec<TableSum>,
    pub log: LogHead,
    /// Files that were not whole any more when the backup was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Damaged>,
}

/// A file that the platform itself does not hold as it was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Damaged {
    /// The id of the file, or of the upload that it is a part of.
    pub file: String,
    /// Where its bytes are in a data folder.
    pub path: String,
    pub what: Damage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Damage {
    /// Its bytes are gone, or not all of them are left: the backup has none of it.
    Missing,
    /// Its bytes are others; the backup has them as they are.
    Altered,
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, path, what } = self;
        match what {
            Damage::Missing => write!(f, "{file}: {path} is missing, or not all of it is there"),
            Damage::Altered => write!(f, "{file}: {path} is not what was uploaded any more"),
        }
    }
}

/// The list of files, summed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contents {
    pub files: u64,
    pub bytes: u64,
    /// Of `contents.txt`, hexadecimal.
    pub sha256: String,
}

/// A table, summed up as [`platform::db::Sum`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TableSum {
    pub name: String,
    pub rows: u64,
    pub sha256: String,
}

/// The transparency log at the moment of the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogHead {
    pub size: u64,
    /// A signed note; empty where nothing has been logged yet.
    pub checkpoint: String,
}

/// What the MAC of a manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authenticity {
    /// Whoever has this master key has made it.
    Genuine,
    /// Another key, or another manifest.
    Wrong,
}

impl Manifest {
    /// Writes the manifest and its MAC into a folder.
    pub fn write(&self, folder: &Path, master: &MasterKey) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::internal("a manifest cannot be written").because(error))?;
        let mac = hex::encode(mac(master, text.as_bytes()));
        for (name, text) in [(MANIFEST, text), (MAC, mac + "\n")] {
            let path = folder.join(name);
            let written = fs::write(&path, text).and_then(|()| super::sync(&path));
            written.map_err(|error| cannot_write(&path, &error))?;
        }
        Ok(())
    }

    /// Reads a manifest. Fails with a sentence for whoever named the folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                let message = format!("{} is no backup: there is no {MANIFEST}.", folder.display());
                Error::unavailable("no_backup", message)
            }
            _ => cannot_read(&path, &error),
        })?;
        let broken = |what: String| {
            let message = format!("{} cannot be understood: {what}.", path.display());
            Error::invalid("broken_manifest", message)
        };
        let value: serde_json::Value =
            serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        if value["format"] != FORMAT {
            let what =
                format!("its format is {}, and this release reads {FORMAT}", value["format"]);
            return Err(broken(what));
        }
        serde_json::from_value(value).map_err(|error| broken(error.to_string()))
    }

    /// Holds the MAC of the manifest in a folder against a key.
    pub fn authenticate(folder: &Path, master: &MasterKey) -> Result<Authenticity> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|error| cannot_read(&path, &error))
        };
        let (text, shown) = (read(MANIFEST)?, read(MAC)?);
        let right = hex::encode(mac(master, &text));
        // Nobody learns anything from how long this takes: the MAC is in the open.
        let genuine = shown.trim_ascii() == right.as_bytes();
        Ok(if genuine { Authenticity::Genuine } else { Authenticity::Wrong })
    }
}

fn mac(master: &MasterKey, manifest: &[u8]) -> [u8; 32] {
    hmac_sha256(master.derive(MAC_LABEL).expose(), manifest)
}
