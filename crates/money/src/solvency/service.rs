//! The verbs.

use std::collections::BTreeMap;

use kernel::id::kinds::{Solvency, User};
use kernel::{Asset, Caller, Error, Id, Result};
use platform::crypto::sha256;
use platform::db::Db;
use platform::journal::Fact;
use verify::solvency::{Line, Node, Part, Proof, Statement, Step, proof, tree};

use super::model::{Options, Stated};
use super::rules::{self, Currency, Key, PARTS, TILE, Tile};
use super::store;
use crate::reconciliation;

/// The trees of so many statements are kept: a holder has as many days to fetch a proof.
pub(super) const TREES_KEPT: i64 = 3;
/// Tiles that are written in one transaction.
const TILES_AT_ONCE: usize = 64;

/// States what is owed and had. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    db: Db,
    reconciliation: reconciliation::Service,
    options: Option<Options>,
}

impl Service {
    pub(crate) const fn new(
        db: Db,
        reconciliation: reconciliation::Service,
        options: Option<Options>,
    ) -> Self {
        Self { db, reconciliation, options }
    }

    fn options(&self) -> Result<&Options> {
        let message = "This platform does not sign statements of solvency.";
        self.options.as_ref().ok_or_else(|| Error::unavailable("no_solvency", message))
    }

    /// The keys whose signatures under a statement count, in the form `name+id+key`.
    ///
    /// # Errors
    /// Unavailable where nobody signs.
    pub fn keys(&self) -> Result<Vec<String>> {
        self.options()?.notary.keys()
    }

    /// Reads the books, asks the providers, signs what they say, and publishes it: the nightly job,
    /// and what an admin may do at any time.
    ///
    /// # Errors
    /// Unavailable where nobody signs; internal when the books contradict themselves, and then
    /// nothing is signed.
    pub async fn publish(&self, caller: &Caller) -> Result<Stated> {
        let options = self.options()?;
        let providers = self.reconciliation.compare().await?;
        let id: Id<Solvency> = self.db.world().id();
        let key = Key::of(&options.secret, id);
        let balances = store::balances(&self.db).await?;
        let at = self.db.world().now();
        let mut currencies = BTreeMap::new();
        for (asset, mut currency) in rules::sort(&key, &balances)? {
            answers(&providers, asset, &mut currency);
            let (tiles, sums) = rules::tiles(&currency)?;
            self.keep(id, asset, &tiles).await?;
            currencies.insert(asset.code().to_owned(), (sums, currency.lines));
        }
        let origin = options.notary.origin();
        let (text_id, text_at) = (id.to_string(), at.to_string());
        let text = Statement { origin, id: text_id, at: text_at, currencies }.to_string();
        // What a reader would not believe is not signed.
        Statement::parse(&text)
            .map_err(|error| Error::internal(format!("nothing can be stated: {error}")))?;
        let note = options.notary.sign(text)?;
        let stated = Stated { id, note, at };
        let stated_by = &stated;
        let id = self
            .db
            .once(caller, "solvency.publish", |tx| async move {
                store::insert(&tx, stated_by).await?;
                store::drop_tiles(&tx, TREES_KEPT).await?;
                let hash = hex::encode(sha256(&stated_by.note));
                tx.record(Fact::by(caller, "solvency.published").on(id).with("sha256", hash));
                Ok(stated_by.id)
            })
            .await?;
        self.get(id).await
    }

    /// Writes the tiles of a tree. Nobody looks for them before their statement is there, and what
    /// is left of one that never came goes with the next one.
    async fn keep(&self, id: Id<Solvency>, asset: Asset, tiles: &[Tile]) -> Result<()> {
        for some in tiles.chunks(TILES_AT_ONCE) {
            self.db
                .run("solvency.keep", |tx| async move {
                    for tile in some {
                        store::insert_tile(&tx, id, asset, tile).await?;
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }

    /// The newest statement.
    ///
    /// # Errors
    /// Not found before the first one.
    pub async fn last(&self) -> Result<Stated> {
        store::last(&self.db).await?.ok_or_else(|| Error::not_found("solvency statement yet"))
    }

    /// A statement.
    ///
    /// # Errors
    /// Not found.
    pub async fn get(&self, id: Id<Solvency>) -> Result<Stated> {
        store::get(&self.db, id).await?.ok_or_else(|| Error::not_found("solvency statement"))
    }

    /// The proof that the caller's balances are counted in the newest statement.
    ///
    /// # Errors
    /// Not found before the first statement, and for who had nothing at its time.
    pub async fn prove(&self, caller: &Caller) -> Result<Proof> {
        let owner = caller.user()?;
        let stated = self.last().await?;
        let key = Key::of(&self.options()?.secret, stated.id);
        let mut parts = Vec::new();
        for &asset in Asset::ALL {
            for part in 0..PARTS {
                parts.extend(self.part(stated.id, &key, owner, asset, part).await?);
            }
        }
        if parts.is_empty() {
            return Err(Error::not_found("balance of yours in the last solvency statement"));
        }
        let kind = proof::TYPE.to_owned();
        Ok(Proof { kind, statement: stated.note, holder: owner.to_string(), parts })
    }

    async fn part(
        &self,
        statement: Id<Solvency>,
        key: &Key,
        owner: Id<User>,
        asset: Asset,
        part: u8,
    ) -> Result<Option<Part>> {
        let name = key.name(owner, asset, part);
        let Some((tile, bytes)) = store::tile_of(&self.db, statement, asset, &name).await? else {
            return Ok(None);
        };
        let (mut nodes, names) = rules::read(0, &bytes)?;
        let Ok(mut within) = names.binary_search(&name) else { return Ok(None) };
        let Some(leaf) = nodes.get(within).copied() else { return Ok(None) };
        let size = i64::try_from(TILE).unwrap_or(i64::MAX);
        let leaf_at = tile * size + i64::try_from(within).unwrap_or_default();
        let mut path: Vec<Node> = Vec::new();
        let (mut place, mut level) = (tile, 0);
        loop {
            let steps = tree::path(&nodes, within)
                .map_err(|error| Error::internal(format!("a solvency tree: {error}")))?;
            path.extend(steps);
            // The root of this tile is a node of the next level's.
            within = usize::try_from(place % size).unwrap_or_default();
            place /= size;
            level += 1;
            let above = store::tile(&self.db, statement, asset, level, place).await?;
            let Some(bytes) = above else { break };
            nodes = rules::read(level, &bytes)?.0;
        }
        Ok(Some(Part {
            currency: asset.code().to_owned(),
            amount: leaf.sum,
            blind: hex::encode(key.blind(owner, asset, part)),
            place: u64::try_from(leaf_at).unwrap_or_default(),
            path: path.into_iter().map(Step::from).collect(),
        }))
    }

    /// Whether there is anybody who signs.
    pub(super) const fn is_on(&self) -> bool {
        self.options.is_some()
    }
}

/// What the providers said of a currency.
fn answers(reports: &[reconciliation::Report], asset: Asset, currency: &mut Currency) {
    for report in reports {
        let name = report.provider.as_str().to_owned();
        let balance = match &report.lines {
            None => None,
            Some(lines) => match lines.iter().find(|line| line.there.asset == asset) {
                Some(line) => Some(line.there.minor),
                // It has no such currency, and the books know of none there.
                None => continue,
            },
        };
        currency.lines.push(Line::Provider { name, balance });
    }
}
