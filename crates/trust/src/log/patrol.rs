//! The log's patrol of itself: a stretch at a time, round after round.
//!
//! Each tile of a stretch is read back and held against the facts it was made of, and against the
//! root that was signed. What it finds is told once, by a fact and a metric, until a whole round
//! has found nothing. Each log has rounds of its own, those that are closed as well: proofs into them
//! are good for ever.

use kernel::{Caller, Result};
use platform::journal::{self, Fact};
use verify::log::merkle::{self, Hash};
use verify::log::tile::{Level, Tile, WIDTH};

use super::check::judge_checkpoint;
use super::service::{Service, entry_of};
use super::store::{self, Patrol, State};

/// Tiles of 256 leaves that are looked at in one go.
const TILES: u64 = 16;

impl Service {
    /// Looks at the next stretch of every log; answers what is wrong there.
    pub async fn patrol(&self) -> Result<Vec<String>> {
        let (mut failures, mut doubts) = (Vec::new(), 0);
        for log in store::states(&self.0.db).await? {
            if log.edge.size() > 0 {
                let (wrong, after) = self.patrol_in(&log).await?;
                failures.extend(wrong);
                doubts += if after.alarm { after.found.max(1) } else { 0 };
            }
        }
        metrics::gauge!("log_failures_found").set(doubts as f64);
        Ok(failures)
    }

    async fn patrol_in(&self, log: &State) -> Result<(Vec<String>, Patrol)> {
        let (size, before) = (log.edge.size(), log.patrol);
        let mut failures = Vec::new();
        judge_checkpoint(log, &self.0.keys.log_keys(), &mut failures);
        let mut place = before.place - before.place % u64::from(WIDTH);
        for _ in 0..TILES {
            if place >= size {
                break;
            }
            let width = (size - place).min(u64::from(WIDTH));
            if let Err(wrong) = self.look_at(log, place, width).await? {
                failures.push(format!("leaves {place} to {}: {wrong}", place + width - 1));
            }
            place += width;
        }
        metrics::counter!("log_leaves_patrolled_total")
            .increment(place.saturating_sub(before.place));
        let after = self.report(log, place, &failures).await?;
        Ok((failures, after))
    }

    /// Whether a tile's leaves are their facts, and lead to the root.
    async fn look_at(&self, log: &State, from: u64, width: u64) -> Result<Result<(), String>> {
        let db = &self.0.db;
        // At most 256.
        let limit = width as u16;
        let seq = log.after_seq.saturating_add(from.cast_signed());
        let facts = journal::since(db, seq, i64::from(limit)).await?;
        let entries = store::entries(db, log, from, limit).await?;
        let index = from / u64::from(WIDTH);
        let tile = Tile { level: Level::Hashes(0), index, width: limit };
        let Some(tile) = store::tile(db, log, tile).await? else {
            return Ok(Err("the tile is missing".into()));
        };
        let (hashes, _): (&[Hash], _) = tile.as_chunks();
        let counts = [facts.len(), entries.len(), hashes.len()];
        if counts.iter().any(|count| *count != usize::from(limit)) {
            return Ok(Err(format!("{counts:?} facts, leaves and hashes for {limit} places")));
        }
        for ((fact, (id, entry)), hash) in facts.iter().zip(&entries).zip(hashes) {
            if fact.id.uuid() != *id || entry_of(fact)? != *entry {
                return Ok(Err(format!("the leaf of the fact {} is another", fact.id)));
            }
            if merkle::leaf_hash(entry.as_bytes()) != *hash {
                return Ok(Err(format!("the hash of the fact {} is another", fact.id)));
            }
        }
        self.leads_to_root(log, from, &hashes[0]).await
    }

    /// Whether a tile's first leaf leads to the root. The way there goes over all the others of the
    /// tile: one of them altered, and it leads elsewhere.
    async fn leads_to_root(
        &self,
        log: &State,
        place: u64,
        leaf: &Hash,
    ) -> Result<Result<(), String>> {
        let size = log.edge.size();
        let wrong = |error: merkle::MerkleError| error.to_string();
        let nodes = match merkle::inclusion_nodes(place, size) {
            Ok(nodes) => nodes,
            Err(error) => return Ok(Err(wrong(error))),
        };
        let tiles = match self.tiles(log, &nodes, size).await {
            Ok(tiles) => tiles,
            Err(error) if error.kind() == kernel::Kind::Internal => {
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        let proof = merkle::inclusion_proof(&tiles, place, size);
        Ok(proof
            .and_then(|proof| merkle::verify_inclusion(leaf, place, size, &proof, &log.edge.root()))
            .map_err(wrong))
    }

    /// Notes how far the patrol has come and tells what is news; answers what stands of its doubts.
    async fn report(&self, log: &State, place: u64, failures: &[String]) -> Result<Patrol> {
        let before = log.patrol;
        let found = before.found.saturating_add(failures.len().try_into().unwrap_or(i64::MAX));
        let is_round = place >= log.edge.size();
        let alarm = found > 0 || (before.alarm && !is_round);
        let after = match is_round {
            true => Patrol { place: 0, found: 0, alarm },
            false => Patrol { place, found, alarm },
        };
        for what in failures {
            tracing::error!(what, origin = %log.origin, "the log is not what it was");
        }
        self.0
            .db
            .run("log.patrol", |tx| async move {
                store::patrolled(&tx, log, after).await?;
                let verb = match (before.alarm, alarm) {
                    (false, true) => "log.doubted",
                    (true, false) => "log.cleared",
                    _ => return Ok(()),
                };
                let fact = Fact::by(&Caller::nobody(), verb).on(&log.origin);
                tx.record(match failures.first() {
                    Some(what) => fact.with("failure", what),
                    None => fact,
                });
                Ok(())
            })
            .await?;
        Ok(Patrol { found, ..after })
    }
}
