//! Those who watch the log: asking them to sign, and showing what they have signed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use kernel::{Caller, Error, Result};
use platform::journal::Fact;
use platform::outbound::Peer;
use verify::log::note::{Note, Signature, VerifierKey};
use verify::log::witness::AddCheckpoint;

use super::rules::Continuity;
use super::service::{Service, broken};
use super::store::{self, Cosignature, State};
use crate::witness::monitoring_path;

/// How long a witness may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Signature lines, a size, or a checkpoint.
const ANSWER_MAX: usize = 64 << 10;
/// For how long the log shows what witnesses have signed while they sign nothing newer.
const SHOWN_MAX: Duration = Duration::from_secs(600);

/// A witness that the operator has chosen. Cheap to clone.
#[derive(Clone)]
pub struct Witness {
    key: VerifierKey,
    peer: Arc<Peer>,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Witness({})", self.key)
    }
}

impl Witness {
    /// Reads `VKEY URL`: who it is, and the address below which it takes checkpoints.
    ///
    /// # Errors
    /// `Invalid` `invalid_configuration`: not a witness's vkey and an http or https address.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::invalid("invalid_configuration", what);
        let (vkey, url) = text.trim().split_once(' ').ok_or_else(|| {
            wrong(format!("trust.witnesses: {text:?} is not a vkey, a space and an address."))
        })?;
        let key = VerifierKey::parse(vkey)
            .map_err(|error| wrong(format!("trust.witnesses: {vkey}: {error}.")))?;
        if !key.is_witness() {
            return Err(wrong(format!("trust.witnesses: {vkey} is a log's key, no witness's.")));
        }
        let peer = Peer::new(url.trim(), PATIENCE, ANSWER_MAX)
            .map_err(|error| wrong(format!("trust.witnesses: {url}: {}", error.message())))?;
        Ok(Self { key, peer: Arc::new(peer) })
    }

    /// Its key, for those who check.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    async fn add(&self, asked: &AddCheckpoint) -> Result<Answer, Trouble> {
        let mut headers = HeaderMap::new();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, plain);
        let body = Bytes::from(asked.to_string());
        let answer = self.peer.exchange(Method::POST, "/add-checkpoint", headers, body).await;
        let answer = answer.map_err(|failure| Trouble::Away(failure.to_string()))?;
        let text = std::str::from_utf8(&answer.body).unwrap_or_default();
        match answer.status {
            StatusCode::OK => self.signature(asked, text).map(Answer::Signed),
            StatusCode::CONFLICT => match text.trim_end().parse() {
                Ok(size) => Ok(Answer::Has(size)),
                Err(_) => Err(Trouble::Refused("409 without a size".into())),
            },
            StatusCode::UNPROCESSABLE_ENTITY => Ok(Answer::Inconsistent),
            status => Err(Trouble::Refused(status.to_string())),
        }
    }

    /// The witness's own line among those that it answered, once it has been checked.
    fn signature(&self, asked: &AddCheckpoint, lines: &str) -> Result<Signed, Trouble> {
        let named = |line: &Signature| line.name == self.key.name() && line.id == self.key.id();
        let lines = lines.lines().filter_map(|line| Signature::parse(line).ok());
        let line = lines.into_iter().find(named);
        let line = line.ok_or_else(|| Trouble::Refused("it signed with another key".into()))?;
        let mut note = asked.checkpoint.clone();
        note.add(&self.key, line.bytes.clone())
            .map_err(|_| Trouble::Refused("its signature does not fit".into()))?;
        Ok(Signed { line: line.to_string() })
    }

    /// The checkpoint of a log that the witness has signed last, if it tells: ours do.
    async fn last(&self, origin: &str) -> Option<String> {
        let path = monitoring_path(origin);
        let answer = self.peer.send(Method::GET, &path, HeaderMap::new()).await.ok()?;
        (answer.status == StatusCode::OK)
            .then(|| String::from_utf8(answer.body.to_vec()).ok())
            .flatten()
    }
}

struct Signed {
    line: String,
}

enum Answer {
    Signed(Signed),
    /// It has last signed a tree of this size.
    Has(u64),
    /// The tree that it has signed is not the beginning of ours.
    Inconsistent,
}

/// Why there is no answer that says something about the log.
enum Trouble {
    Away(String),
    Refused(String),
}

impl Service {
    /// Shows each witness the newest checkpoint, and keeps what it signs; then remembers what this
    /// machine knows to be published. Nothing is asked twice of a log that has not grown.
    pub async fn call_witnesses(&self) -> Result<()> {
        let log = self.state(&self.0.db).await?;
        if log.edge.size() == 0 {
            return Ok(());
        }
        let known = store::cosignatures(&self.0.db, &log.origin).await?;
        let calls = self.0.witnesses.iter().map(|witness| {
            let vkey = witness.key.to_string();
            let last = known.iter().find(|known| known.witness == vkey);
            self.call(witness, &log, last)
        });
        for done in join_all(calls).await {
            done?;
        }
        self.remember().await
    }

    /// Keeps the newest checkpoint outside of the database, in the place of one that it continues.
    async fn remember(&self) -> Result<()> {
        let Some(memory) = &self.0.memory else { return Ok(()) };
        let seen = memory.recall()?;
        // Read after what is remembered: it is not older, unless the database was set back.
        let log = self.state(&self.0.db).await?;
        if log.edge.size() == 0 || seen.as_ref() == Some(&log.checkpoint) {
            return Ok(());
        }
        if let Some(seen) = seen
            && self.is_set_back(&log, &seen).await?
        {
            return Ok(());
        }
        memory.keep(&log.checkpoint)
    }

    async fn call(&self, witness: &Witness, log: &State, last: Option<&Cosignature>) -> Result<()> {
        let name = witness.key.name().to_owned();
        let size = log.edge.size();
        let mut from = last.map_or(0, |last| last.size);
        metrics::gauge!("log_witnessed_size", "witness" => name.clone()).set(from as f64);
        if from == size && last.is_some_and(|last| last.objection.is_none()) {
            return Ok(());
        }
        // Once more from where the witness says that it stands.
        for _ in 0..2 {
            let asked = self.asked(log, from).await?;
            match witness.add(&asked).await {
                Ok(Answer::Signed(signed)) => {
                    metrics::gauge!("log_witnessed_size", "witness" => name).set(size as f64);
                    return self.keep(witness, log, signed).await;
                }
                Ok(Answer::Has(has)) if has <= size && has != from => from = has,
                Ok(Answer::Has(has)) if has > size => {
                    let what = format!("it has signed {has} leaves, and here are {size}");
                    return self.object(witness, log, &what).await;
                }
                Ok(Answer::Has(_) | Answer::Inconsistent) => {
                    let what = "it has signed a tree that this one does not continue";
                    return self.object(witness, log, what).await;
                }
                Err(Trouble::Away(why)) => {
                    metrics::counter!("log_witness_calls_failed_total", "witness" => name)
                        .increment(1);
                    tracing::warn!(witness = witness.key.name(), %why, "a witness is away");
                    return Ok(());
                }
                Err(Trouble::Refused(why)) => {
                    metrics::counter!("log_witness_calls_failed_total", "witness" => name)
                        .increment(1);
                    tracing::warn!(witness = witness.key.name(), %why, "a witness does not sign");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn asked(&self, log: &State, from: u64) -> Result<AddCheckpoint> {
        let size = log.edge.size();
        let proof = match from {
            0 => Vec::new(),
            from if from == size => Vec::new(),
            from => self.consistency_in(log, from, size).await?,
        };
        Ok(AddCheckpoint { old_size: from, proof, checkpoint: parsed(&log.checkpoint)? })
    }

    async fn keep(&self, witness: &Witness, log: &State, signed: Signed) -> Result<()> {
        let kept = &Cosignature {
            witness: witness.key.to_string(),
            size: log.edge.size(),
            line: signed.line,
            signed_at: self.0.db.world().now(),
            objection: None,
        };
        self.0
            .db
            .run("log.cosign", |tx| async move { store::cosigned(&tx, &log.origin, kept).await })
            .await
    }

    /// A witness says that this log is a fork. Its word alone changes nothing but what admins
    /// see; a checkpoint that we have signed, which it may show, proves it.
    async fn object(&self, witness: &Witness, log: &State, what: &str) -> Result<()> {
        let name = witness.key.name();
        metrics::counter!("log_witness_objections_total", "witness" => name.to_owned())
            .increment(1);
        let vkey = &witness.key.to_string();
        self.0
            .db
            .run("log.object", |tx| async move {
                if store::objected(&tx, &log.origin, vkey, what).await? {
                    tracing::error!(witness = name, what, "a witness refuses to sign the log");
                    let fact = Fact::by(&Caller::nobody(), "log.objected").on(&log.origin);
                    tx.record(
                        fact.with("witness", name)
                            .with("objection", what)
                            .with("size", log.edge.size()),
                    );
                }
                Ok(())
            })
            .await?;
        if let Some(shown) = witness.last(&log.origin).await
            && let Continuity::Foreign(why) = self.confront(&shown).await?
        {
            tracing::warn!(witness = name, %why, "what the witness shows is not of this log");
        }
        Ok(())
    }

    /// The checkpoint of the log of a term, or of the one that grows, as it is published: the
    /// newest that a witness has signed. While no witness signs, the newest of all.
    pub async fn checkpoint(&self, term: Option<&str>) -> Result<String> {
        let log = self.of_term(term).await?;
        if log.checkpoint.is_empty() {
            return Err(Error::not_found("checkpoint yet"));
        }
        let now = self.0.db.world().now();
        let witnessed = self
            .witnessed(&log)
            .await?
            .filter(|(size, at, _)| *size == log.edge.size() || now.since(*at) < SHOWN_MAX);
        Ok(witnessed.map_or(log.checkpoint, |(_, _, note)| note.to_string()))
    }

    /// A checkpoint whose tree has this leaf: one that a witness has signed, if there is any.
    pub(super) async fn head_over(&self, log: &State, index: u64) -> Result<(u64, Note)> {
        match self.witnessed(log).await? {
            Some((size, _, note)) if size > index => Ok((size, note)),
            _ => Ok((log.edge.size(), parsed(&log.checkpoint)?)),
        }
    }

    /// The newest checkpoint of a log that a witness has signed, with every signature for it, and
    /// when the first of them was made.
    async fn witnessed(&self, log: &State) -> Result<Option<(u64, kernel::Timestamp, Note)>> {
        if self.0.witnesses.is_empty() {
            return Ok(None);
        }
        let signed = store::cosignatures(&self.0.db, &log.origin).await?;
        let chosen = |signed: &&Cosignature| {
            let witnesses = &self.0.witnesses;
            signed.size > 0 && witnesses.iter().any(|one| one.key.to_string() == signed.witness)
        };
        let signed: Vec<&Cosignature> = signed.iter().filter(chosen).collect();
        let Some(size) = signed.iter().map(|signed| signed.size).max() else { return Ok(None) };
        let Some(mut text) = store::checkpoint(&self.0.db, log, size).await? else {
            return Ok(None);
        };
        let own = || signed.iter().filter(|signed| signed.size == size);
        own().for_each(|signed| text.push_str(&signed.line));
        let at = own().map(|signed| signed.signed_at).min();
        at.map(|at| Ok((size, at, parsed(&text)?))).transpose()
    }
}

fn parsed(note: &str) -> Result<Note> {
    Note::parse(note).map_err(|error| broken("the stored checkpoint is broken", error))
}
