//! The log's audit of itself: everything recomputed, nothing believed but the keys.

use kernel::{Result, Timestamp};
use platform::db::Read;
use platform::{journal, params};
use verify::key::multikey::PublicKey;
use verify::log::checkpoint::Checkpoint;
use verify::log::merkle;
use verify::log::note::{Note, VerifierKey};
use verify::log::tile::WIDTH;

use super::rules::{Continuity, compare, follows};
use super::service::{broken, entry_of};
use super::store::{self, State};
use crate::key::service::Purpose;
use crate::key::store as keys;

/// What the check found.
#[derive(Debug, Clone)]
pub struct LogReport {
    /// Of the log that grows.
    pub size: u64,
    /// Its newest signed checkpoint; empty before the first.
    pub checkpoint: String,
    /// What is wrong with it, or with a log before it; nothing when all is well.
    pub failures: Vec<String>,
    /// How the log stands to the checkpoint that was brought, where one was.
    pub continuity: Option<Continuity>,
}

/// Recomputes every leaf from its fact and the root from the leaves, opens the signed checkpoint,
/// and compares with one that was `seen` earlier, of this log or of one before it. Changes
/// nothing, and needs no private key.
pub async fn check(db: &impl Read, seen: Option<&str>) -> Result<LogReport> {
    let logs = store::states(db).await?;
    let Some(last) = logs.last() else {
        let failures = vec!["the log has not begun".into()];
        let checkpoint = String::new();
        return Ok(LogReport { size: 0, checkpoint, failures, continuity: None });
    };
    let (size, checkpoint) = (last.edge.size(), last.checkpoint.clone());
    let mut failures = Vec::new();
    let keys = public_keys(db).await?;
    let seen = seen.map(|text| open_any(text, &keys));
    let mut continuity = seen.as_ref().map(|seen| match seen {
        // The log went on under another name after the moment that this is a copy of.
        Ok(seen) if follows(&seen.origin, &last.origin) => {
            Continuity::Behind { seen: seen.size, here: 0 }
        }
        Ok(seen) => {
            let what = format!("it is of the log {}, and this is {}", seen.origin, last.origin);
            Continuity::Foreign(what)
        }
        Err(error) => Continuity::Foreign(error.clone()),
    });
    let mut seq = 0;
    for log in &logs {
        let seen = seen.as_ref().and_then(|seen| seen.as_ref().ok());
        let seen = seen.filter(|seen| seen.origin == log.origin);
        if log.after_seq != seq {
            failures.push(format!("the log {} does not begin where the last ended", log.origin));
        }
        let then = recompute(db, log, seen.map(|seen| seen.size), &mut failures).await?;
        judge_checkpoint(log, &keys, &mut failures);
        if let Some(seen) = seen {
            continuity = Some(compare(seen, log.edge.size(), then));
        }
        seq = log.after_seq.saturating_add(log.edge.size().cast_signed());
    }
    Ok(LogReport { size, checkpoint, failures, continuity })
}

/// Builds a log anew from the facts; answers what its root was at a size.
async fn recompute(
    db: &impl Read,
    log: &State,
    at: Option<u64>,
    failures: &mut Vec<String>,
) -> Result<Option<merkle::Hash>> {
    let size = log.edge.size();
    let mut then = (at == Some(0)).then(merkle::empty_root);
    let mut edge = merkle::Edge::empty();
    let mut seq = log.after_seq;
    while edge.size() < size {
        let facts = journal::since(db, seq, i64::from(WIDTH)).await?;
        let entries = store::entries(db, log, edge.size(), WIDTH).await?;
        if facts.is_empty() || entries.is_empty() {
            failures.push(format!("only {} of {size} leaves are there", edge.size()));
            break;
        }
        for (fact, (id, entry)) in facts.iter().zip(&entries) {
            if edge.size() == size {
                break;
            }
            let place = edge.size();
            if fact.id.uuid() != *id || entry_of(fact)? != *entry {
                failures.push(format!("leaf {place} is not the fact {}", fact.id));
            }
            edge.append(merkle::leaf_hash(entry.as_bytes()));
            if at == Some(edge.size()) {
                then = Some(edge.root());
            }
            seq = fact.seq.unwrap_or(seq);
        }
    }
    if edge != log.edge {
        failures.push("the root over the leaves is not the root that was kept".into());
    }
    Ok(then)
}

/// Whether the newest checkpoint of a log is signed, and of its tree.
pub(super) fn judge_checkpoint(log: &State, keys: &[PublicKey], failures: &mut Vec<String>) {
    if log.edge.size() == 0 {
        return;
    }
    match open(&log.checkpoint, &log.origin, keys) {
        Ok(checkpoint) if checkpoint.root == log.edge.root() => {}
        Ok(_) => failures.push("the signed checkpoint is of another tree".into()),
        Err(error) => failures.push(format!("the signed checkpoint: {error}")),
    }
}

/// Opens a checkpoint that a log of this name has signed.
fn open(note: &str, origin: &str, keys: &[PublicKey]) -> Result<Checkpoint, String> {
    let note = Note::parse(note).map_err(|error| error.to_string())?;
    let known: Result<Vec<_>, _> = keys.iter().map(|key| VerifierKey::new(origin, *key)).collect();
    let known = known.map_err(|error| error.to_string())?;
    Checkpoint::open(&note, &known).map_err(|error| error.to_string())
}

/// Opens a checkpoint of whichever log these keys have signed it for.
pub(super) fn open_any(note: &str, keys: &[PublicKey]) -> Result<Checkpoint, String> {
    let unchecked = Note::parse(note).map_err(|error| error.to_string())?;
    let unchecked = Checkpoint::parse(unchecked.text()).map_err(|error| error.to_string())?;
    open(note, &unchecked.origin, keys)
}

/// The public halves of all keys that ever signed checkpoints.
async fn public_keys(db: &impl Read) -> Result<Vec<PublicKey>> {
    let keys = keys::all(db).await?;
    let keys = keys.into_iter().filter(|key| key.purpose == Purpose::Log);
    keys.map(|key| {
        PublicKey::from_bytes(&key.public_key)
            .map_err(|error| broken("a key of the log is none", error))
    })
    .collect()
}

/// When the oldest fact happened that has no leaf yet; nothing where the log has all of them.
pub async fn unsequenced_since(db: &impl Read) -> Result<Option<Timestamp>> {
    let Some(log) = store::state(db).await? else { return Ok(None) };
    let covered = log.after_seq.saturating_add(log.edge.size().cast_signed());
    let numbered = "SELECT at FROM facts WHERE seq > $1 ORDER BY seq LIMIT 1";
    let numbered = db.maybe(numbered, params![covered], |row| row.take()).await?;
    let waiting = "SELECT at FROM facts WHERE seq IS NULL ORDER BY id LIMIT 1";
    let waiting: Option<Timestamp> = db.maybe(waiting, &[], |row| row.take()).await?;
    Ok(numbered.into_iter().chain(waiting).min())
}

/// How many leaves the log has, and its newest checkpoint; nothing of a log that has not begun.
pub async fn head(db: &impl Read) -> Result<(u64, String)> {
    let state = store::state(db).await?;
    Ok(state.map(|state| (state.edge.size(), state.checkpoint)).unwrap_or_default())
}
