//! Who signs for the platform what the money context states, and what lists were exported.

use std::sync::Arc;

use futures_util::FutureExt;
use kernel::{Error, Result};
use platform::db::Db;
use trust::Trust;
use trust::key::service::{Purpose, Service as Keys};
use verify::log::checkpoint::Checkpoint;
use verify::log::export::Manifest;
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

/// Signs manifests of exported lists, with the log as it stands then.
pub(crate) fn signer_of_exports(
    trust: &Trust,
    db: &Db,
    public_url: &str,
) -> platform::http::Signer {
    let host = public_url.split_once("://").map_or(public_url, |(_, rest)| rest);
    let origin = format!("{}/exports", host.trim_end_matches('/'));
    let (keys, db) = (trust.keys.clone(), db.clone());
    platform::http::Signer(Arc::new(move |written| {
        let (keys, db, origin) = (keys.clone(), db.clone(), origin.clone());
        async move {
            let (_, head) = trust::log::head(&db).await?;
            let log = Note::parse(&head).ok().and_then(|note| Checkpoint::parse(note.text()).ok());
            let now = db.world().now();
            let manifest = Manifest {
                origin: origin.clone(),
                list: written.list,
                format: written.format.to_owned(),
                made_at: now.to_second_text(),
                rows: written.rows,
                bytes: written.bytes,
                sha256: written.sha256,
                log,
            };
            let broken =
                |error: NoteError| Error::internal("an export cannot be signed").because(error);
            let mut note = Note::new(manifest.text()).map_err(broken)?;
            note.sign(&origin, &keys.signer(Purpose::Log, now)?.key).map_err(broken)?;
            Ok(note.to_string())
        }
        .boxed()
    }))
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
