//! Who signs for the platform what the money context states.

use kernel::{Error, Result};
use platform::db::Db;
use trust::key::service::{Purpose, Service as Keys};
use verify::log::note::{Note, NoteError, VerifierKey};

/// The keys of the transparency log, under the name of solvency: who knows those knows these, and a
/// signature of one name is none of the other.
pub(crate) struct Notary {
    keys: Keys,
    db: Db,
    origin: String,
}

impl Notary {
    pub(crate) fn new(keys: Keys, db: &Db, public_url: &str) -> Self {
        let host = public_url.split_once("://").map_or(public_url, |(_, rest)| rest);
        let origin = format!("{}/solvency", host.trim_end_matches('/'));
        Self { keys, db: db.clone(), origin }
    }
}

fn unsigned(error: NoteError) -> Error {
    Error::internal("a statement of solvency cannot be signed").because(error)
}

impl money::solvency::Notary for Notary {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn sign(&self, text: String) -> Result<String> {
        let signer = self.keys.signer(Purpose::Log, self.db.world().now())?;
        let mut note = Note::new(text).map_err(unsigned)?;
        note.sign(&self.origin, &signer.key).map_err(unsigned)?;
        Ok(note.to_string())
    }

    fn keys(&self) -> Result<Vec<String>> {
        let published = self.keys.published().into_iter();
        let keys = published.filter(|key| key.purpose == Purpose::Log);
        keys.map(|key| VerifierKey::new(&self.origin, key.public_key))
            .map(|key| key.map(|key| key.to_string()).map_err(unsigned))
            .collect()
    }
}
