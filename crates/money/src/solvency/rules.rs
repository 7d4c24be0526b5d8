//! What is counted, in which parts and where: without time or chance, so that a holder's leaves
//! are found again from the key, the statement and the holder's id.

use std::collections::BTreeMap;

use kernel::id::kinds::{Solvency, User};
use kernel::{Asset, Error, Id, Result, Secret};
use platform::crypto::hmac_sha256;
use verify::solvency::{Line, Node, SolvencyError, Sums};

use super::model::Balance;
use crate::ledger::{Code, Side};

/// In how many parts a balance is counted.
pub(super) const PARTS: u8 = 2;

/// Nodes of a tile, as a power of two: a tile holds a level of at most 256, and the levels between
/// it and the next tile's are made from it.
const HEIGHT: u32 = 8;
pub(super) const TILE: usize = 1 << HEIGHT;

/// The name of a leaf, by which leaves are ordered and found.
pub(super) type Name = [u8; 16];

/// The key of one statement.
pub(super) struct Key(Secret<[u8; 32]>);

impl Key {
    pub(super) fn of(secret: &Secret<[u8; 32]>, statement: Id<Solvency>) -> Self {
        Self(Secret::new(hmac_sha256(secret.expose(), statement.uuid().as_bytes())))
    }

    fn chance(&self, what: &[u8], owner: Id<User>, asset: Asset, part: u8) -> [u8; 32] {
        let owner = owner.uuid();
        let message = [what, &[part], owner.as_bytes().as_slice(), asset.code().as_bytes()];
        hmac_sha256(self.0.expose(), &message.concat())
    }

    pub(super) fn name(&self, owner: Id<User>, asset: Asset, part: u8) -> Name {
        let hash = self.chance(b"name", owner, asset, part);
        let mut name = [0; 16];
        name.copy_from_slice(&hash[..16]);
        name
    }

    pub(super) fn blind(&self, owner: Id<User>, asset: Asset, part: u8) -> [u8; 32] {
        self.chance(b"blind", owner, asset, part)
    }

    /// The parts of an amount: any share of it, and the rest.
    fn parts(&self, owner: Id<User>, asset: Asset, amount: u64) -> [u64; PARTS as usize] {
        let hash = self.chance(b"share", owner, asset, 0);
        let mut share = [0; 16];
        share.copy_from_slice(&hash[..16]);
        let share = u128::from_be_bytes(share) % (u128::from(amount) + 1);
        // At most the amount, so it fits.
        let share = u64::try_from(share).unwrap_or(amount);
        [share, amount - share]
    }
}

/// A leaf under its name.
pub(super) struct Leaf {
    pub(super) name: Name,
    pub(super) node: Node,
}

/// One currency: what is owed to whom, as leaves, and the lines of the books.
#[derive(Default)]
pub(super) struct Currency {
    pub(super) leaves: Vec<Leaf>,
    pub(super) holders: u64,
    pub(super) lines: Vec<Line>,
}

/// Whether a balance is owed to its owner, and so counted: all that a user's account holds for
/// them. What users owe is on the other side of the books. A plan that was billed and not served yet
/// is owed as a service and not as money, and while the invoice is open nobody has paid for it.
fn is_owed(balance: &Balance) -> bool {
    let is_money = balance.code.side() == Side::Credit && balance.code != Code::DEFERRED;
    balance.owner.is_some() && is_money
}

/// Sorts balances by currency, into what is owed and what else stands in the books.
///
/// # Errors
/// An internal error when somebody is owed less than nothing: the guards forbid it.
pub(super) fn sort(key: &Key, balances: &[Balance]) -> Result<BTreeMap<Asset, Currency>> {
    let mut owed: BTreeMap<(Asset, Id<User>), u64> = BTreeMap::new();
    let mut sums: BTreeMap<(Asset, &str, bool), i64> = BTreeMap::new();
    let too_much = || Error::internal("sums that no account can hold");
    for balance in balances {
        let is_owed = is_owed(balance);
        let sum = sums.entry((balance.asset, balance.code.as_str(), is_owed)).or_default();
        *sum = sum.checked_add(balance.minor).ok_or_else(too_much)?;
        if let (true, Some(owner)) = (is_owed, balance.owner) {
            let minor = u64::try_from(balance.minor)
                .map_err(|_| Error::internal(format!("{} is below zero", balance.code.name())))?;
            let sum = owed.entry((balance.asset, owner)).or_default();
            *sum = sum.checked_add(minor).ok_or_else(too_much)?;
        }
    }
    let mut currencies: BTreeMap<Asset, Currency> = BTreeMap::new();
    for ((asset, account, is_owed), sum) in sums {
        let lines = &mut currencies.entry(asset).or_default().lines;
        let account = account.to_owned();
        lines.push(if is_owed {
            Line::Owed { account, amount: u64::try_from(sum).map_err(|_| too_much())? }
        } else {
            let grows_by_debit = grows_by_debit(balances, &account);
            Line::Book { grows_by_debit, account, balance: sum }
        });
    }
    for ((asset, owner), amount) in owed {
        if amount == 0 {
            continue;
        }
        let currency = currencies.entry(asset).or_default();
        currency.holders += 1;
        for (part, amount) in (0..PARTS).zip(key.parts(owner, asset, amount)) {
            let node = Node::leaf(&key.blind(owner, asset, part), amount, &owner.to_string());
            currency.leaves.push(Leaf { name: key.name(owner, asset, part), node });
        }
    }
    for currency in currencies.values_mut() {
        currency.leaves.sort_unstable_by_key(|leaf| leaf.name);
    }
    Ok(currencies)
}

fn grows_by_debit(balances: &[Balance], account: &str) -> bool {
    let of = balances.iter().find(|balance| balance.code.as_str() == account);
    of.is_some_and(|balance| balance.code.side() == Side::Debit)
}

/// A tile as it is stored.
pub(super) struct Tile {
    pub(super) level: i64,
    pub(super) place: i64,
    /// Of the first leaf; empty above the leaves.
    pub(super) first_name: Vec<u8>,
    pub(super) nodes: Vec<u8>,
}

/// The tiles of a currency's tree, and its root.
///
/// # Errors
/// When what is owed is more than a ledger can hold.
pub(super) fn tiles(currency: &Currency) -> Result<(Vec<Tile>, Sums)> {
    let overflow = |error: SolvencyError| Error::internal(format!("a solvency tree: {error}"));
    let leaves = currency.leaves.len() as u64;
    let empty = Node { hash: [0; 32], sum: 0 };
    let mut sums = Sums { leaves, holders: currency.holders, root: empty };
    let mut tiles = Vec::new();
    let mut nodes: Vec<Node> = currency.leaves.iter().map(|leaf| leaf.node).collect();
    let mut level = 0;
    while !nodes.is_empty() {
        let mut above = Vec::with_capacity(nodes.len().div_ceil(TILE));
        for (place, tile) in nodes.chunks(TILE).enumerate() {
            let names = if level == 0 { &currency.leaves[place * TILE..] } else { &[] };
            let names = &names[..names.len().min(tile.len())];
            tiles.push(Tile {
                level,
                place: i64::try_from(place).unwrap_or(i64::MAX),
                first_name: names.first().map_or_else(Vec::new, |leaf| leaf.name.to_vec()),
                nodes: write(tile, names),
            });
            let root = verify::solvency::tree::root(tile).map_err(overflow)?;
            above.extend(root);
        }
        if let [root] = above[..] {
            sums.root = root;
            break;
        }
        nodes = above;
        level += 1;
    }
    Ok((tiles, sums))
}

/// A tile's bytes: of each node its hash and its sum, and behind those of leaves their names.
fn write(nodes: &[Node], leaves: &[Leaf]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(nodes.len() * 40 + leaves.len() * 16);
    for node in nodes {
        bytes.extend(node.hash);
        bytes.extend(node.sum.to_be_bytes());
    }
    leaves.iter().for_each(|leaf| bytes.extend(leaf.name));
    bytes
}

/// Reads a tile of this level: its nodes, and the names of leaves.
///
/// # Errors
/// An internal error when it is none.
pub(super) fn read(level: u32, bytes: &[u8]) -> Result<(Vec<Node>, Vec<Name>)> {
    let each = if level == 0 { 56 } else { 40 };
    let count = bytes.len() / each;
    if count == 0 || count > TILE || !bytes.len().is_multiple_of(each) {
        return Err(Error::internal("a tile of a solvency tree is broken"));
    }
    let (nodes, names) = bytes.split_at(count * 40);
    let node = |bytes: &[u8]| {
        let (hash, sum) = bytes.split_first_chunk::<32>()?;
        Some(Node { hash: *hash, sum: u64::from_be_bytes(sum.try_into().ok()?) })
    };
    let nodes = nodes.chunks(40).filter_map(node).collect();
    let names = names.chunks(16).filter_map(|name| name.try_into().ok()).collect();
    Ok((nodes, names))
}
