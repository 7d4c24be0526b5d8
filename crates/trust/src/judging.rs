//! The judgement of any file by this server, which pins its own documents and brings its own lists.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Error, Kind, Result};
use platform::db::Db;
use verify::judge::foreign::{self, Source, Wanted};
use verify::judge::report::Report;
use verify::judge::trust::Trust;
use verify::judge::{self, Options, Presented};
use verify::key::did;

use crate::authority::service::Service as Authority;
use crate::issuance;
use crate::key::service::Service as Keys;
use crate::log::service::Service as Log;
use crate::status::service::Service as Lists;

/// How old a status list in a file may be: a day more than an edition's life.
const STATUS_AGE_MAX: Duration = Duration::from_secs(48 * 3600);

/// Judges on a thread of its own: taking a large file apart would hold up whoever shares one.
///
/// # Errors
/// `Internal`: the judgement panicked.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("a judgement died").because(error))
}

/// What the server knows of itself. Cheap to clone.
#[derive(Clone)]
pub struct Judging {
    pub keys: Keys,
    pub authority: Authority,
    pub lists: Lists,
    pub log: Log,
    pub db: Db,
}

impl Judging {
    /// Judges a file, and a presentation for whom it must have been made.
    pub async fn judge(&self, file: &[u8], challenge: Option<Presented>) -> Result<Report> {
        let file: Arc<[u8]> = file.into();
        let read = Arc::clone(&file);
        let read = aside(move || (judge::signed_digest(&read), judge::status_url(&read)));
        let (digest, list) = read.await?;
        let mut trust = self.own_trust(digest).await?;
        let mut pins = self.log.verifier_keys().await?;
        pins.extend(self.log.witness_keys());
        for pin in pins {
            // Our own keys are always pins.
            let _ = trust.pin(&pin.to_string());
        }
        let status_lists = self.own_status(list.as_deref()).await?;
        let options = Options { status_lists, challenge, ..self.options(trust) };
        aside(move || judge::verify(&file, &options)).await
    }

    /// The keys of this platform's credentials, with those that are lost; and when a file of this
    /// digest was signed here, if it was: that decides once a key was compromised.
    pub async fn own_trust(&self, digest: Option<[u8; 32]>) -> Result<Trust> {
        let mut trust = Trust::default();
        for pin in [
            crate::key::http::document(&self.keys, &self.authority).to_string(),
            self.authority.issuer_metadata().to_string(),
            self.authority.roots().concat(),
        ] {
            // Our own documents are always pins.
            let _ = trust.pin(&pin);
        }
        let lost = self.keys.published().iter().any(|key| key.compromised.is_some())
            || self.authority.published().iter().any(|key| key.compromised.is_some());
        let Some(digest) = digest.filter(|_| lost) else { return Ok(trust) };
        if let Some(at) = issuance::store::signed_at(&self.db, &digest).await? {
            trust.record(digest, at.seconds());
        }
        Ok(trust)
    }

    /// What the server brings to a judgement: its time, and what it believes.
    pub fn options(&self, trust: Trust) -> Options {
        Options {
            now: self.db.world().now().seconds(),
            trust,
            status_age_max: STATUS_AGE_MAX.as_secs().cast_signed(),
            document_sha256: None,
            status_lists: Vec::new(),
            challenge: None,
        }
    }

    /// The names under which this platform issues.
    pub fn own_issuers(&self) -> [String; 2] {
        [self.keys.did().to_owned(), self.authority.issuer().to_owned()]
    }

    /// What this platform itself publishes at an address: nobody else need be asked for it.
    pub async fn own(&self, wanted: &Wanted) -> Result<Option<Vec<u8>>> {
        let url = wanted.url.as_str();
        let text = match wanted.source {
            Source::DidDocument => {
                let own = did::document_url(self.keys.did()).is_ok_and(|own| own == url);
                own.then(|| crate::key::http::document(&self.keys, &self.authority).to_string())
            }
            Source::IssuerMetadata => {
                let own = foreign::metadata_url(self.authority.issuer());
                own.filter(|own| own == url).map(|_| self.authority.issuer_metadata().to_string())
            }
            Source::KeySet => None,
            Source::TokenList | Source::BitstringList => {
                let Some(list) = self.lists.own(url) else { return Ok(None) };
                let found = if wanted.source == Source::TokenList {
                    self.lists.token(list).await.map(|token| token.to_string())
                } else {
                    self.lists.edition(list).await.map(|edition| edition.to_string())
                };
                match found {
                    Ok(found) => Some(found),
                    // A credential may name whatever it likes.
                    Err(error) if error.kind() == Kind::NotFound => None,
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(text.map(String::into_bytes))
    }

    /// The current edition of the list that a file of ours names, in both encodings, whether or not
    /// another one is enclosed: it may have been taken back since. Nothing is fetched for others'.
    async fn own_status(&self, url: Option<&str>) -> Result<Vec<String>> {
        let Some(list) = url.and_then(|url| self.lists.own(url)) else { return Ok(Vec::new()) };
        match self.lists.edition(list).await {
            Ok(document) => {
                Ok(vec![document.to_string(), self.lists.token(list).await?.to_string()])
            }
            // A file may name whatever it likes.
            Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
