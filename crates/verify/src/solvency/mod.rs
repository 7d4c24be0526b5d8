//! Solvency: a signed statement of what a platform owes and has, and the proof that one holder's
//! balance is counted in it.
//!
//! What is owed stands in one Merkle sum tree a currency ([`tree`]). Whoever holds a balance gets
//! a proof of their own leaves, from which nobody learns whose the others are. If every holder
//! finds themselves counted, the total cannot have been made smaller than it is: the sums of all
//! nodes on the way are in the hashes, and none is negative.
//!
//! What it does not show: that what the platform says it *has* is there. The statement says what
//! each provider answered at the time, and who wants more must ask the provider.

pub mod proof;
pub mod statement;
pub mod tree;

#[cfg(test)]
mod tests;

pub use proof::{Counted, Part, Proof, Step};
pub use statement::{Line, Statement, Sums};
pub use tree::Node;

use std::fmt;

/// Why a statement or a proof was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SolvencyError {
    /// Not a statement, or not a proof, of this format.
    Malformed(&'static str),
    /// Nobody known has signed it.
    Signature(crate::log::note::NoteError),
    /// The books of this currency contradict themselves.
    Books(String),
    /// Of this currency the statement says nothing.
    Currency(String),
    /// The path of this leaf does not lead to the stated root.
    Path(u64),
    /// Sums that no balance can have.
    Overflow,
}

impl fmt::Display for SolvencyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "not of this format: {what}"),
            Self::Signature(error) => write!(f, "the statement is not believed: {error}"),
            Self::Books(currency) => write!(f, "the books of {currency} contradict themselves"),
            Self::Currency(currency) => write!(f, "the statement says nothing of {currency}"),
            Self::Path(place) => write!(f, "leaf {place} is not in the stated tree"),
            Self::Overflow => f.write_str("the sums are larger than any balance"),
        }
    }
}

impl std::error::Error for SolvencyError {}
