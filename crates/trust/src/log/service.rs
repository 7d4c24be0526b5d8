//! The log at work: facts become leaves in batches, and everything else is read from tiles.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::Fact;
use kernel::{Error, Id, Result, Timestamp};
use platform::db::{Db, Read, Tx, together};
use platform::journal::{self, Reader, Recorded};
use serde_json::{Value as Json, json};

use super::check::LogReport;
use super::memory::Memory;
use super::rules::Term;
use super::store::{self, State};
use super::watch::Witness;
use crate::key::service::{Purpose, Service as Keys};
use verify::credential::jcs;
use verify::judge::bundle::LogEvidence;
use verify::log::checkpoint::Checkpoint;
use verify::log::entry::Entry;
use verify::log::merkle::{self, Hash, Node};
use verify::log::note::VerifierKey;
use verify::log::proof::InclusionProof;
use verify::log::tile::{self, Growth, Level, Tile, TileSet, WIDTH};

/// The transparency log. Cheap to clone.
#[derive(Clone)]
pub struct Service(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) db: Db,
    pub(super) keys: Keys,
    /// `host/audit/`; the term of the log follows.
    pub(super) prefix: String,
    pub(super) witnesses: Vec<Witness>,
    /// What this machine remembers of the log, apart from the database.
    pub(super) memory: Option<Memory>,
}

/// The proof that one fact is in the log, with what it takes to check it.
#[derive(Debug, Clone)]
pub struct Inclusion {
    pub index: u64,
    pub size: u64,
    /// The leaf's text.
    pub entry: String,
    pub salt: [u8; 32],
    pub row: Json,
    /// A C2SP tlog-proof: path and checkpoint in one text.
    pub proof: String,
    pub key: String,
}

pub(super) fn broken(what: &str, error: impl std::fmt::Display) -> Error {
    Error::internal(format!("{what}: {error}"))
}

impl Service {
    pub fn new(
        db: Db,
        keys: Keys,
        public_url: &str,
        witnesses: Vec<Witness>,
        memory: Option<Memory>,
    ) -> Self {
        let host = public_url.split_once("://").map_or(public_url, |(_, rest)| rest);
        let prefix = format!("{}/audit/", host.trim_end_matches('/'));
        Self(Arc::new(Inner { db, keys, prefix, witnesses, memory }))
    }

    /// Names the log at its first start, and compares it with what this machine remembers: see
    /// [`Service::recall`].
    pub async fn start(&self) -> Result<()> {
        self.0
            .db
            .run("log.start", |tx| async move {
                let first = Term::first_of(year(tx.now()));
                store::insert_state(&tx, &format!("{}{first}", self.0.prefix)).await
            })
            .await?;
        self.recall().await
    }

    pub(super) async fn state(&self, db: &impl Read) -> Result<State> {
        store::state(db)
            .await?
            .ok_or_else(|| Error::unavailable("log_not_started", "The log has not begun yet."))
    }

    /// The log of a term such as `2026`, or the one that grows.
    pub(super) async fn of_term(&self, term: Option<&str>) -> Result<State> {
        let db = &self.0.db;
        let Some(term) = term else { return self.state(db).await };
        let unknown = || Error::not_found("log");
        // No log is called by anything else, and not every engine can be asked for it.
        if !term.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unknown());
        }
        let found = store::of_origin(db, &format!("{}{term}", self.0.prefix)).await?;
        found.ok_or_else(unknown)
    }

    /// The keys that ever signed checkpoints, as people who check notes write them: of every log
    /// from the first on.
    pub async fn verifier_keys(&self) -> Result<Vec<VerifierKey>> {
        let logs = store::states(&self.0.db).await?;
        let keys = logs.iter().map(|log| self.keys_of(&log.origin));
        Ok(keys.collect::<Result<Vec<_>>>()?.concat())
    }

    pub(super) fn keys_of(&self, origin: &str) -> Result<Vec<VerifierKey>> {
        let keys = self.0.keys.log_keys();
        keys.into_iter()
            .map(|key| VerifierKey::new(origin, key))
            .collect::<Result<_, _>>()
            .map_err(|error| broken("the log's name cannot name a key", error))
    }

    /// Appends facts, in order, in the transaction that moves the reader on.
    async fn append(&self, tx: &Tx, facts: &[Recorded]) -> Result<()> {
        let state = self.state(tx).await?;
        let state = self.in_this_year(tx, state, facts).await?;
        let mut partial = HashMap::new();
        for tile in tile::partial_tiles(state.edge.size()) {
            if let Some(hashes) = store::tile(tx, &state, tile).await? {
                partial.insert(tile, hashes);
            }
        }
        let mut growth = Growth::resume(state.edge.clone(), |tile| partial.remove(&tile))
            .map_err(|error| broken("the log's tiles do not fit its size", error))?;
        let mut leaves = Vec::with_capacity(facts.len());
        for fact in facts {
            let entry = entry_of(fact)?;
            let place = growth.append(merkle::leaf_hash(entry.as_bytes()));
            leaves.push((place, fact.id.uuid(), entry));
        }
        let log = &state;
        let leaves = leaves
            .iter()
            .map(|(place, fact, entry)| store::insert_leaf(tx, log, *place, *fact, entry));
        together(leaves).await?;
        let (edge, tiles) = growth.finish();
        for (tile, hashes) in &tiles {
            store::put_tile(tx, log, *tile, hashes).await?;
        }
        let origin = state.origin.clone();
        let checkpoint = Checkpoint { origin, size: edge.size(), root: edge.root() };
        let signer = self.0.keys.signer(Purpose::Log, tx.now())?;
        let note = checkpoint
            .sign(&signer.key)
            .map_err(|error| broken("a checkpoint cannot be signed", error))?;
        store::grow(tx, log, &edge, &note.to_string()).await
    }

    /// The tiles that hold these subtrees, from a tree of this size.
    pub(super) async fn tiles(&self, log: &State, nodes: &[Node], size: u64) -> Result<TileSet> {
        let mut set = TileSet::default();
        for tile in tile::tiles_of(nodes, size) {
            let hashes = store::tile(&self.0.db, log, tile)
                .await?
                .ok_or_else(|| Error::internal(format!("the tile {} is missing", tile.path())))?;
            set.insert(tile, &hashes).map_err(|error| broken("a tile is broken", error))?;
        }
        Ok(set)
    }

    /// The proof that a fact is in the log; none while the log has not come to it.
    pub async fn inclusion(&self, fact: &Recorded) -> Result<Option<Inclusion>> {
        // Read before it had its place, it is not the row that the leaf commits to, although the
        // leaf may be there by now.
        if fact.seq.is_none() {
            return Ok(None);
        }
        let db = &self.0.db;
        // The leaf comes with a state that was read after it: of a tree that has it.
        let Some((log, index, entry)) = store::leaf(db, fact.id.uuid()).await? else {
            return Ok(None);
        };
        let (size, checkpoint) = self.head_over(&log, index).await?;
        let nodes = merkle::inclusion_nodes(index, size)
            .map_err(|error| broken("no proof can be made", error))?;
        let tiles = self.tiles(&log, &nodes, size).await?;
        let hashes = merkle::inclusion_proof(&tiles, index, size)
            .map_err(|error| broken("no proof can be made", error))?;
        // The key that signed it, which after a rotation need not be the one that signs now.
        let known = self.keys_of(&log.origin)?;
        let signers = checkpoint
            .verify(&known)
            .map_err(|error| broken("the stored checkpoint is broken", error))?;
        let key = signers.first().map(ToString::to_string).unwrap_or_default();
        let proof = InclusionProof { extra: None, index, hashes, checkpoint }.to_string();
        let (salt, row) = (fact.salt, row_of(fact));
        Ok(Some(Inclusion { index, size, entry, salt, row, proof, key }))
    }

    /// The proof that the tree of one size is the beginning of the tree of another, of the log of
    /// a term or of the one that grows.
    pub async fn consistency(&self, term: Option<&str>, from: u64, to: u64) -> Result<Vec<Hash>> {
        let log = self.of_term(term).await?;
        let size = log.edge.size();
        if from == 0 || from > to || to > size {
            let message = format!("from 1 to {size}, the smaller one first");
            return Err(Error::field("/from", "out_of_range", message));
        }
        self.consistency_in(&log, from, to).await
    }

    pub(super) async fn consistency_in(
        &self,
        log: &State,
        from: u64,
        to: u64,
    ) -> Result<Vec<Hash>> {
        let failed = |error| broken("no proof can be made", error);
        let nodes = merkle::consistency_nodes(from, to).map_err(failed)?;
        let tiles = self.tiles(log, &nodes, to).await?;
        merkle::consistency_proof(&tiles, from, to).map_err(failed)
    }

    /// A resource below a log's prefix, as C2SP tlog-tiles names it.
    pub async fn resource(&self, term: Option<&str>, path: &str) -> Result<Vec<u8>> {
        let nothing = || Error::not_found("tile");
        let tile = Tile::parse(path).map_err(|_| nothing())?;
        let db = &self.0.db;
        let log = self.of_term(term).await?;
        match tile.level {
            Level::Hashes(_) => store::tile(db, &log, tile).await?.ok_or_else(nothing),
            Level::Entries => {
                let first = tile.index.saturating_mul(u64::from(WIDTH));
                if first.saturating_add(u64::from(tile.width)) > log.edge.size() {
                    return Err(nothing());
                }
                let entries = store::entries(db, &log, first, tile.width).await?;
                tile::encode_bundle(entries.iter().map(|(_, entry)| entry.as_bytes()))
                    .map_err(|error| broken("entries cannot be bundled", error))
            }
        }
    }

    /// The keys of the witnesses that the operator has chosen.
    pub fn witness_keys(&self) -> Vec<VerifierKey> {
        self.0.witnesses.iter().map(|witness| witness.key().clone()).collect()
    }

    /// What a bundle needs of the log for the fact that this happened to a thing, the last time.
    pub async fn evidence(&self, subject: &str, verb: &str) -> Result<Option<LogEvidence>> {
        let newest = journal::newest_of(&self.0.db, subject, verb).await?;
        let Some(fact) = newest else { return Ok(None) };
        Ok(self.inclusion(&fact).await?.map(|inclusion| LogEvidence {
            proof: inclusion.proof,
            entry: inclusion.entry,
            salt: inclusion.salt,
            row: inclusion.row,
            key: inclusion.key,
        }))
    }

    /// [`super::check`], with the keys that are open here.
    pub async fn check(&self) -> Result<LogReport> {
        super::check(&self.0.db, None).await
    }

    /// The fact of an id, if it is there.
    pub async fn fact(&self, id: Id<Fact>) -> Result<Option<Recorded>> {
        journal::by_id(&self.0.db, id).await
    }
}

/// The year of a moment, as origins name it.
pub(super) fn year(now: Timestamp) -> u32 {
    let text = now.to_string();
    text.split('-').next().and_then(|year| year.parse().ok()).unwrap_or_default()
}

impl Reader for Service {
    fn name(&self) -> &'static str {
        "trust.log"
    }

    fn read<'a>(&'a self, tx: &'a Tx, facts: &'a [Recorded]) -> BoxFuture<'a, Result<()>> {
        self.append(tx, facts).boxed()
    }
}

pub(super) fn entry_of(fact: &Recorded) -> Result<String> {
    Entry::new(&fact.salt, &row_of(fact), &fact.verb, fact.at.seconds())
        .and_then(|entry| entry.encode())
        .map_err(|error| broken("a fact cannot be logged", error))
}

/// What a leaf commits to: the fact as it may be shown to those whom it concerns. Where the
/// request came from is committed to by a hash, so that it can be shown, and withheld, apart.
fn row_of(fact: &Recorded) -> Json {
    let origin = serde_json::to_string(&fact.origin).unwrap_or_default();
    let origin = platform::crypto::sha256([&fact.salt[..], origin.as_bytes()].concat());
    // What canonical JSON cannot hold (a fraction) is committed to as the text it was.
    let data = if jcs::is_spellable(&fact.data) {
        fact.data.clone()
    } else {
        fact.data.to_string().into()
    };
    json!({
        "id": fact.id,
        "seq": fact.seq,
        "at": fact.at,
        "verb": fact.verb,
        "actor": fact.actor,
        "actorRole": fact.role,
        "subject": fact.subject,
        "data": data,
        "originSha256": hex::encode(origin),
    })
}
