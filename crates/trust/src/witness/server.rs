//! The witness at work, and its addresses.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path as At, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ed25519_dalek::SigningKey;
use http::{StatusCode, header};
use kernel::{Error, Result, World};
use parking_lot::Mutex;
use verify::key::multikey::PublicKey;
use verify::log::checkpoint::Checkpoint;
use verify::log::note::{Note, VerifierKey};
use verify::log::witness::{AddCheckpoint, Refusal, SIZE_TYPE, Seen};

use super::store::Folder;

/// The longest request: 63 hashes, and a checkpoint with many signatures.
const REQUEST_MAX: usize = 64 << 10;

/// A witness. Cheap to clone.
#[derive(Clone)]
pub struct Witness(Arc<Inner>);

struct Inner {
    /// Held from the look at what was signed last until the next is on disk: of two requests at
    /// once, one would set the other's log back.
    folder: Mutex<Folder>,
    name: String,
    key: SigningKey,
    logs: Vec<VerifierKey>,
    world: World,
}

/// What a witness answers instead of a signature.
enum Stop {
    Refused(Refusal),
    Broken(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl Witness {
    /// A witness of these logs with its key and its memory in a folder that nobody else uses. Of
    /// each log the successors are watched as well: other last parts of the origin, same key.
    ///
    /// # Errors
    /// `Invalid` `invalid_configuration`: the name names no key, or a log's vkey is none.
    /// `Unavailable`: the folder cannot be used, or is in use.
    pub fn open(folder: &Path, name: &str, logs: &[String], world: World) -> Result<Self> {
        let wrong = |what: String| Error::invalid("invalid_configuration", what);
        let logs = logs.iter().map(|vkey| match VerifierKey::parse(vkey.trim()) {
            Ok(key) if !key.is_witness() => Ok(key),
            Ok(_) => Err(wrong(format!("{vkey} is a witness's key, no log's."))),
            Err(error) => Err(wrong(format!("{vkey}: {error}."))),
        });
        let logs = logs.collect::<Result<_>>()?;
        let folder = Folder::claim(folder)?;
        let key = folder.key(&world)?;
        VerifierKey::witness(name, PublicKey::of(&key))
            .map_err(|error| wrong(format!("{name:?}: {error}.")))?;
        let folder = Mutex::new(folder);
        Ok(Self(Arc::new(Inner { folder, name: name.to_owned(), key, logs, world })))
    }

    /// Its vkey: what those who rely on it pin.
    pub fn vkey(&self) -> Result<String> {
        let Inner { name, key, .. } = &*self.0;
        VerifierKey::witness(name, PublicKey::of(key))
            .map(|key| key.to_string())
            .map_err(|error| Error::internal("the witness has no vkey").because(error))
    }

    /// `POST /add-checkpoint`, what it has signed last below `/checkpoint/`, and its vkey at `/`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(vkey))
            .route("/add-checkpoint", post(add_checkpoint))
            .route("/checkpoint/{log}", get(last_checkpoint))
            .layer(DefaultBodyLimit::max(REQUEST_MAX))
            .with_state(self.clone())
    }

    /// The keys by which a log of this origin may be signed: its own, and those of a log that it
    /// follows.
    fn keys_of(&self, origin: &str) -> Vec<VerifierKey> {
        let family = |name: &str| name.rsplit_once('/').map(|(front, _)| front.to_owned());
        let known = |key: &&VerifierKey| {
            key.name() == origin
                || (family(origin).is_some() && family(key.name()) == family(origin))
        };
        let keys = self.0.logs.iter().filter(known);
        keys.filter_map(|key| VerifierKey::new(origin, *key.public_key()).ok()).collect()
    }

    /// Signs a checkpoint, or says why not. It blocks: on other requests, and on the disk.
    fn add(&self, body: &str) -> Result<String, Stop> {
        let asked = AddCheckpoint::parse(body).map_err(Stop::Refused)?;
        let origin = asked.checkpoint.text().split('\n').next().unwrap_or_default().to_owned();
        let folder = self.0.folder.lock();
        let seen = folder.last(&origin)?.map(|note| seen(&note)).transpose()?;
        let new = asked.decide(&self.keys_of(&origin), |_| seen).map_err(Stop::Refused)?;
        let Inner { name, key, world, .. } = &*self.0;
        let time = world.now().seconds().unsigned_abs();
        let mut note = asked.checkpoint;
        let line = note.cosign(name, key, time);
        let line = line.map_err(|error| Error::internal("it cannot be signed").because(error))?;
        folder.keep(&new.origin, &note.to_string())?;
        drop(folder);
        tracing::info!(origin = %new.origin, size = new.size, "signed");
        Ok(line.to_string())
    }
}

fn seen(note: &str) -> Result<Seen> {
    let broken = |error: &dyn std::error::Error| {
        Error::internal(format!("what was signed last cannot be read: {error}"))
    };
    let note = Note::parse(note).map_err(|error| broken(&error))?;
    let Checkpoint { size, root, .. } =
        Checkpoint::parse(note.text()).map_err(|error| broken(&error))?;
    Ok(Seen { size, root })
}

async fn vkey(State(witness): State<Witness>) -> Response {
    match witness.vkey() {
        Ok(vkey) => format!("{vkey}\n").into_response(),
        Err(error) => broken(&error),
    }
}

async fn add_checkpoint(State(witness): State<Witness>, body: String) -> Response {
    let done = tokio::task::spawn_blocking(move || witness.add(&body)).await;
    match done {
        Ok(Ok(lines)) => lines.into_response(),
        Ok(Err(Stop::Refused(refusal))) => refused(refusal),
        Ok(Err(Stop::Broken(error))) => broken(&error),
        Err(panic) => broken(&Error::internal("a signature was not finished").because(panic)),
    }
}

async fn last_checkpoint(State(witness): State<Witness>, At(log): At<String>) -> Response {
    let read = tokio::task::spawn_blocking(move || witness.0.folder.lock().read(&log)).await;
    match read {
        Ok(Ok(Some(note))) => note.into_response(),
        Ok(Ok(None)) => (StatusCode::NOT_FOUND, "nothing was signed of this log\n").into_response(),
        Ok(Err(error)) => broken(&error),
        Err(panic) => broken(&Error::internal("a file was not read").because(panic)),
    }
}

fn refused(refusal: Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refusal {
        Refusal::Conflict(_) => {
            tracing::warn!(%status, has = %refusal.to_string().trim_end(), "not signed");
            (status, [(header::CONTENT_TYPE, SIZE_TYPE)], refusal.to_string()).into_response()
        }
        other => {
            tracing::warn!(%status, why = %other, "not signed");
            (status, format!("{other}\n")).into_response()
        }
    }
}

fn broken(error: &Error) -> Response {
    tracing::error!(%error, "the witness cannot answer");
    (StatusCode::INTERNAL_SERVER_ERROR, "the witness cannot answer\n").into_response()
}
