//! The log at work: facts become leaves in batches, and everything else is read from tiles.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::Fact;
use kernel::{Error, Id, Result};
use platform::db::{Db, Read, Tx, together};
use platform::journal::{self, Reader, Recorded};
use serde_json::{Value as Json, json};

use super::check::LogReport;
use super::store;
use crate::key::service::{Purpose, Service as Keys};
use verify::credential::jcs;
use verify::judge::bundle::LogEvidence;
use verify::log::checkpoint::Checkpoint;
use verify::log::entry::Entry;
use verify::log::merkle::{self, Hash, Node};
use verify::log::note::{Note, VerifierKey};
use verify::log::proof::InclusionProof;
use verify::log::tile::{self, Growth, Level, Tile, TileSet, WIDTH};

/// The transparency log. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    keys: Keys,
    /// `host/audit/`; the year in which the log began follows.
    prefix: String,
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
    pub fn new(db: Db, keys: Keys, public_url: &str) -> Self {
        let host = public_url.split_once("://").map_or(public_url, |(_, rest)| rest);
        let prefix = format!("{}/audit/", host.trim_end_matches('/'));
        Self(Arc::new(Inner { db, keys, prefix }))
    }

    /// Names the log at its first start. The name never changes afterwards.
    pub async fn start(&self) -> Result<()> {
        self.0
            .db
            .run("log.start", |tx| async move {
                let now = tx.now().to_string();
                let year = now.split('-').next().unwrap_or_default();
                store::insert_state(&tx, &format!("{}{year}", self.0.prefix)).await
            })
            .await
    }

    async fn state(&self, db: &impl Read) -> Result<store::State> {
        store::state(db)
            .await?
            .ok_or_else(|| Error::unavailable("log_not_started", "The log has not begun yet."))
    }

    /// The newest signed checkpoint.
    pub async fn checkpoint(&self) -> Result<String> {
        let state = self.state(&self.0.db).await?;
        if state.checkpoint.is_empty() {
            return Err(Error::not_found("checkpoint yet"));
        }
        Ok(state.checkpoint)
    }

    /// The keys that ever signed checkpoints, as people who check notes write them.
    pub async fn verifier_keys(&self) -> Result<Vec<VerifierKey>> {
        let state = self.state(&self.0.db).await?;
        self.keys_of(&state.origin)
    }

    fn keys_of(&self, origin: &str) -> Result<Vec<VerifierKey>> {
        let keys = self.0.keys.published();
        let keys = keys.iter().filter(|key| key.purpose == Purpose::Log);
        keys.map(|key| VerifierKey::new(origin, key.public_key))
            .collect::<Result<_, _>>()
            .map_err(|error| broken("the log's name cannot name a key", error))
    }

    /// Appends facts, in order, in the transaction that moves the reader on.
    async fn append(&self, tx: &Tx, facts: &[Recorded]) -> Result<()> {
        let state = self.state(tx).await?;
        let before = state.edge.size();
        let mut partial = HashMap::new();
        for tile in tile::partial_tiles(before) {
            if let Some(hashes) = store::tile(tx, tile).await? {
                partial.insert(tile, hashes);
            }
        }
        let mut growth = Growth::resume(state.edge, |tile| partial.remove(&tile))
            .map_err(|error| broken("the log's tiles do not fit its size", error))?;
        let mut leaves = Vec::with_capacity(facts.len());
        for fact in facts {
            let entry = entry_of(fact)?;
            let place = growth.append(merkle::leaf_hash(entry.as_bytes()));
            leaves.push((place, fact.id.uuid(), entry));
        }
        let leaves =
            leaves.iter().map(|(place, fact, entry)| store::insert_leaf(tx, *place, *fact, entry));
        together(leaves).await?;
        let (edge, tiles) = growth.finish();
        for (tile, hashes) in &tiles {
            store::put_tile(tx, *tile, hashes).await?;
        }
        let checkpoint = Checkpoint { origin: state.origin, size: edge.size(), root: edge.root() };
        let signer = self.0.keys.signer(Purpose::Log, tx.now())?;
        let note = checkpoint
            .sign(&signer.key)
            .map_err(|error| broken("a checkpoint cannot be signed", error))?;
        store::grow(tx, before, &edge, &note.to_string()).await
    }

    /// The tiles that hold these subtrees, from a tree of this size.
    async fn tiles(&self, nodes: &[Node], size: u64) -> Result<TileSet> {
        let mut set = TileSet::default();
        for tile in tile::tiles_of(nodes, size) {
            let hashes = store::tile(&self.0.db, tile)
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
        // The leaf first: the state read after it is of a tree that has it.
        let Some((index, entry)) = store::leaf(db, fact.id.uuid()).await? else {
            return Ok(None);
        };
        let state = self.state(db).await?;
        let size = state.edge.size();
        let nodes = merkle::inclusion_nodes(index, size)
            .map_err(|error| broken("no proof can be made", error))?;
        let tiles = self.tiles(&nodes, size).await?;
        let hashes = merkle::inclusion_proof(&tiles, index, size)
            .map_err(|error| broken("no proof can be made", error))?;
        let failed = |error| broken("the stored checkpoint is broken", error);
        let checkpoint = Note::parse(&state.checkpoint).map_err(failed)?;
        // The key that signed it, which after a rotation need not be the one that signs now.
        let known = self.keys_of(&state.origin)?;
        let signers = checkpoint.verify(&known).map_err(failed)?;
        let key = signers.first().map(ToString::to_string).unwrap_or_default();
        let proof = InclusionProof { extra: None, index, hashes, checkpoint }.to_string();
        let (salt, row) = (fact.salt, row_of(fact));
        Ok(Some(Inclusion { index, size, entry, salt, row, proof, key }))
    }

    /// The proof that the tree of one size is the beginning of the tree of another.
    pub async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>> {
        let size = self.state(&self.0.db).await?.edge.size();
        if from == 0 || from > to || to > size {
            let message = format!("from 1 to {size}, the smaller one first");
            return Err(Error::field("/from", "out_of_range", message));
        }
        let failed = |error| broken("no proof can be made", error);
        let nodes = merkle::consistency_nodes(from, to).map_err(failed)?;
        let tiles = self.tiles(&nodes, to).await?;
        merkle::consistency_proof(&tiles, from, to).map_err(failed)
    }

    /// A resource below the log's prefix, as C2SP tlog-tiles names it.
    pub async fn resource(&self, path: &str) -> Result<Vec<u8>> {
        let nothing = || Error::not_found("tile");
        let tile = Tile::parse(path).map_err(|_| nothing())?;
        let db = &self.0.db;
        let size = self.state(db).await?.edge.size();
        match tile.level {
            Level::Hashes(_) => store::tile(db, tile).await?.ok_or_else(nothing),
            Level::Entries => {
                let first = tile.index.saturating_mul(u64::from(WIDTH));
                if first.saturating_add(u64::from(tile.width)) > size {
                    return Err(nothing());
                }
                let entries = store::entries(db, first, tile.width).await?;
                tile::encode_bundle(entries.iter().map(|(_, entry)| entry.as_bytes()))
                    .map_err(|error| broken("entries cannot be bundled", error))
            }
        }
    }

    /// What a bundle needs of the log for the fact that this happened to a thing.
    pub async fn evidence(&self, subject: &str, verb: &str) -> Result<Option<LogEvidence>> {
        let facts = journal::of_subject(&self.0.db, subject, 100).await?;
        let Some(fact) = facts.iter().find(|fact| fact.verb == verb) else { return Ok(None) };
        Ok(self.inclusion(fact).await?.map(|inclusion| LogEvidence {
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
