//! What a statement is made of.

use std::fmt;
use std::sync::Arc;

use kernel::id::kinds::{Solvency, User};
use kernel::{Asset, Id, Result, Secret, Timestamp};

use crate::ledger::Code;

/// Who signs for the platform.
pub trait Notary: Send + Sync {
    /// The name of whoever states: `host/solvency`.
    fn origin(&self) -> String;

    /// The text as a signed note (C2SP signed-note), under the name of [`Notary::origin`].
    ///
    /// # Errors
    /// When there is no key that signs.
    fn sign(&self, text: String) -> Result<String>;

    /// The keys whose signatures count, in the form `name+id+key`.
    fn keys(&self) -> Result<Vec<String>>;
}

/// How statements are made.
#[derive(Clone)]
pub struct Options {
    pub notary: Arc<dyn Notary>,
    /// What blinds and places are made from.
    pub secret: Secret<[u8; 32]>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

/// A statement as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    pub id: Id<Solvency>,
    /// The signed note.
    pub note: String,
    pub at: Timestamp,
}

/// What somebody has in one kind of account; nobody is the platform itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Balance {
    pub(super) owner: Option<Id<User>>,
    pub(super) code: Code,
    pub(super) asset: Asset,
    pub(super) minor: i64,
}
