//! What becomes of a row.

use kernel::Error;

use super::model::Row;

/// What the store knows of a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// An imported account has its external id.
    pub(super) by_external_id: bool,
    pub(super) by_email: Option<Holder>,
}

/// The account that has the row's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// It was made here.
    Native,
    Imported {
        external_id: Option<String>,
    },
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Import,
    /// It was imported before.
    Leave,
    /// The address belongs to somebody else.
    Refuse,
}

pub(super) fn decide(row: &Row, found: &Found) -> Decision {
    if found.by_external_id {
        return Decision::Leave;
    }
    match &found.by_email {
        None => Decision::Import,
        Some(Holder::Native) => Decision::Refuse,
        // Two people of one system share an address only by mistake.
        Some(Holder::Imported { external_id: Some(theirs) })
            if row.external_id.as_ref().is_some_and(|ours| ours != theirs) =>
        {
            Decision::Refuse
        }
        Some(Holder::Imported { .. }) => Decision::Leave,
    }
}

pub(super) fn taken() -> Error {
    Error::field("/email", "taken", "there is another account with this address")
}
