//! The proof that a holder's balance is counted: a JSON document that its holder keeps and anybody
//! can check.

use serde::{Deserialize, Serialize};

use super::{Node, SolvencyError, Statement, tree};
use crate::log::note::{Note, VerifierKey};

/// Names the format of a [`Proof`].
pub const TYPE: &str = "verza-solvency-proof-v1";

/// One holder's leaves in one statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proof {
    /// `verza-solvency-proof-v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The signed statement.
    pub statement: String,
    /// Who holds the balance, as the leaves name them.
    pub holder: String,
    /// The leaves: a balance is counted in parts, so that a neighbour's is not seen whole.
    pub parts: Vec<Part>,
}

/// One leaf, and the way from it to the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Part {
    pub currency: String,
    /// Whole minor units.
    pub amount: u64,
    /// Hexadecimal, 32 bytes.
    pub blind: String,
    /// From zero.
    pub place: u64,
    /// The neighbours, from below.
    pub path: Vec<Step>,
}

/// A neighbour on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Hexadecimal, 32 bytes.
    pub hash: String,
    pub sum: u64,
}

impl From<Node> for Step {
    fn from(node: Node) -> Self {
        Self { hash: hex::encode(node.hash), sum: node.sum }
    }
}

/// What a proof proves: these amounts of this holder are counted in this statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub statement: Statement,
    /// By currency.
    pub amounts: Vec<(String, u64)>,
}

impl Proof {
    /// Checks the statement's signature by the keys that the reader brings, its books, and every
    /// leaf.
    ///
    /// # Errors
    /// Any of [`SolvencyError`].
    pub fn check(&self, known: &[VerifierKey]) -> Result<Counted, SolvencyError> {
        if self.kind != TYPE {
            return Err(SolvencyError::Malformed("the type is another one"));
        }
        let note = Note::parse(&self.statement).map_err(SolvencyError::Signature)?;
        let signers = note.verify(known).map_err(SolvencyError::Signature)?;
        let statement = Statement::parse(note.text())?;
        // A key that signs other things, too, signs solvency under the name of it.
        if !signers.iter().any(|key| key.name() == statement.origin) {
            return Err(SolvencyError::Signature(crate::log::note::NoteError::NoKnownKey));
        }
        let mut amounts: Vec<(String, u64)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for part in &self.parts {
            // The same leaf twice would be counted twice.
            if !seen.insert((&part.currency, part.place)) {
                return Err(SolvencyError::Path(part.place));
            }
            let (sums, _) = statement
                .currencies
                .get(&part.currency)
                .ok_or_else(|| SolvencyError::Currency(part.currency.clone()))?;
            let leaf = Node::leaf(&bytes(&part.blind)?, part.amount, &self.holder);
            let path =
                part.path.iter().map(|step| Ok(Node { hash: bytes(&step.hash)?, sum: step.sum }));
            let path: Vec<Node> = path.collect::<Result<_, SolvencyError>>()?;
            tree::check(leaf, part.place, sums.leaves, &path, &sums.root)?;
            match amounts.iter_mut().find(|(currency, _)| *currency == part.currency) {
                Some((_, sum)) => {
                    *sum = sum.checked_add(part.amount).ok_or(SolvencyError::Overflow)?;
                }
                None => amounts.push((part.currency.clone(), part.amount)),
            }
        }
        Ok(Counted { statement, amounts })
    }
}

fn bytes(text: &str) -> Result<[u8; 32], SolvencyError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| SolvencyError::Malformed("32 bytes in hexadecimal digits"))?;
    Ok(bytes)
}
