//! The judgement of any file by this server, which pins its own documents and brings its own lists.

use std::time::Duration;

use kernel::{Kind, Result, World};
use verify::judge::report::Report;
use verify::judge::trust::Trust;
use verify::judge::{self, Options, Presented};

use crate::authority::service::Service as Authority;
use crate::key::service::Service as Keys;
use crate::log::service::Service as Log;
use crate::status::service::Service as Lists;

/// How old a status list in a file may be: a day more than an edition's life.
const STATUS_AGE_MAX: Duration = Duration::from_secs(48 * 3600);

/// What the server knows of itself. Cheap to clone.
#[derive(Clone)]
pub struct Judging {
    pub keys: Keys,
    pub authority: Authority,
    pub lists: Lists,
    pub log: Log,
    pub world: World,
}

impl Judging {
    /// Judges a file, and a presentation for whom it must have been made.
    pub async fn judge(&self, file: &[u8], challenge: Option<Presented>) -> Result<Report> {
        let mut trust = Trust::default();
        let mut pins = vec![
            crate::key::http::document(&self.keys, &self.authority).to_string(),
            self.authority.issuer_metadata().to_string(),
            self.authority.roots().concat(),
        ];
        pins.extend(self.log.verifier_keys().await?.iter().map(ToString::to_string));
        pins.extend(self.log.witness_keys().iter().map(ToString::to_string));
        for pin in pins {
            // Our own documents are always pins.
            let _ = trust.pin(&pin);
        }
        let options = Options {
            now: self.world.now().seconds(),
            trust,
            status_age_max: STATUS_AGE_MAX.as_secs().cast_signed(),
            document_sha256: None,
            status_lists: self.own_status(file).await?,
            challenge,
        };
        Ok(judge::verify(file, &options))
    }

    /// The lists that a token of ours names, in both encodings; nothing is fetched for others'.
    async fn own_status(&self, file: &[u8]) -> Result<Vec<String>> {
        let Some(list) = judge::status_url(file).and_then(|url| self.lists.own(&url)) else {
            return Ok(Vec::new());
        };
        match self.lists.edition(list).await {
            Ok(document) => {
                Ok(vec![document.to_string(), self.lists.token(list).await?.to_string()])
            }
            // A token may name whatever it likes.
            Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
