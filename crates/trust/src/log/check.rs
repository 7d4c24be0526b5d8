//! The log's audit of itself: everything recomputed, nothing believed but the keys.

use kernel::Result;
use platform::db::Read;
use platform::journal;
use verify::key::multikey::PublicKey;
use verify::log::checkpoint::Checkpoint;
use verify::log::merkle;
use verify::log::note::{Note, VerifierKey};
use verify::log::tile::WIDTH;

use super::service::{broken, entry_of};
use super::store;
use crate::key::service::Purpose;
use crate::key::store as keys;

/// What the check found.
#[derive(Debug, Clone)]
pub struct LogReport {
    pub size: u64,
    /// The newest signed checkpoint; empty before the first.
    pub checkpoint: String,
    /// What is wrong; nothing when all is well.
    pub failures: Vec<String>,
    /// How the log stands to the checkpoint that was brought, where one was.
    pub continuity: Option<Continuity>,
}

/// How a log stands to a checkpoint that somebody has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Continuity {
    /// What the checkpoint vouches for is the beginning of this log.
    Continues { size: u64 },
    /// The checkpoint vouches for more than is here: the log was set back, or this is a copy from
    /// before. Whatever is appended now forks it.
    Behind { seen: u64, here: u64 },
    /// The same number of leaves gives another root: the past was rewritten.
    Forked { size: u64 },
    /// The checkpoint is of another log, or not signed by this one's keys.
    Foreign(String),
}

/// Recomputes every leaf from its fact and the root from the leaves, opens the signed checkpoint,
/// and compares with one that was `seen` earlier. Changes nothing, and needs no private key.
pub async fn check(db: &impl Read, seen: Option<&str>) -> Result<LogReport> {
    let Some(state) = store::state(db).await? else {
        let failures = vec!["the log has not begun".into()];
        let checkpoint = String::new();
        return Ok(LogReport { size: 0, checkpoint, failures, continuity: None });
    };
    let known = verifier_keys(db, &state.origin).await?;
    let seen = seen.map(|text| open(text, &known)).transpose();
    let (size, mut failures) = (state.edge.size(), Vec::new());
    let mut root_then = None;
    let mut edge = merkle::Edge::empty();
    let mut seq = 0;
    while edge.size() < size {
        let facts = journal::since(db, seq, i64::from(WIDTH)).await?;
        let entries = store::entries(db, edge.size(), WIDTH).await?;
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
            if let Ok(Some(seen)) = &seen
                && seen.size == edge.size()
            {
                root_then = Some(edge.root());
            }
            seq = fact.seq.unwrap_or(seq);
        }
    }
    if edge != state.edge {
        failures.push("the root over the leaves is not the root that was kept".into());
    }
    if size > 0 {
        match open(&state.checkpoint, &known) {
            Ok(checkpoint) if checkpoint.root == state.edge.root() => {}
            Ok(_) => failures.push("the signed checkpoint is of another tree".into()),
            Err(error) => failures.push(format!("the signed checkpoint: {error}")),
        }
    }
    let continuity = match seen {
        Ok(None) => None,
        Ok(Some(seen)) => Some(compare(&seen, &state.origin, size, root_then)),
        Err(error) => Some(Continuity::Foreign(error)),
    };
    Ok(LogReport { size, checkpoint: state.checkpoint, failures, continuity })
}

fn compare(
    seen: &Checkpoint,
    origin: &str,
    size: u64,
    root_then: Option<merkle::Hash>,
) -> Continuity {
    if seen.origin != origin {
        let what = format!("it is of the log {}, and this is {origin}", seen.origin);
        return Continuity::Foreign(what);
    }
    if seen.size > size {
        return Continuity::Behind { seen: seen.size, here: size };
    }
    let root_then = if seen.size == 0 { Some(merkle::empty_root()) } else { root_then };
    if root_then == Some(seen.root) {
        Continuity::Continues { size: seen.size }
    } else {
        Continuity::Forked { size: seen.size }
    }
}

fn open(note: &str, known: &[VerifierKey]) -> Result<Checkpoint, String> {
    let note = Note::parse(note).map_err(|error| error.to_string())?;
    Checkpoint::open(&note, known).map_err(|error| error.to_string())
}

/// The public halves of all keys that ever signed checkpoints.
async fn verifier_keys(db: &impl Read, origin: &str) -> Result<Vec<VerifierKey>> {
    let keys = keys::all(db).await?;
    let keys = keys.into_iter().filter(|key| key.purpose == Purpose::Log);
    keys.map(|key| {
        let what = "a key of the log is none";
        let public = PublicKey::from_bytes(&key.public_key).map_err(|error| broken(what, error))?;
        VerifierKey::new(origin, public).map_err(|error| broken(what, error))
    })
    .collect()
}

/// How many leaves the log has, and its newest checkpoint; nothing of a log that has not begun.
pub async fn head(db: &impl Read) -> Result<(u64, String)> {
    let state = store::state(db).await?;
    Ok(state.map(|state| (state.edge.size(), state.checkpoint)).unwrap_or_default())
}
