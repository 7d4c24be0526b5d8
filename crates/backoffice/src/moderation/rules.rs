//! Pure decisions: what can be done about what.

use kernel::Error;

use super::model::{Action, Kind};

/// Flags of one person that may be open at a time.
pub(super) const OPEN_MAX: i64 = 50;

/// Refuses what makes no sense for a thing of this kind.
pub(super) fn allow(kind: Kind, action: Action) -> Result<(), Error> {
    let makes_sense = match (kind, action) {
        (_, Action::Dismiss | Action::Warn | Action::Suspend)
        | (Kind::Review | Kind::Message, Action::Remove)
        | (Kind::Credential, Action::Revoke) => true,
        (Kind::Credential | Kind::Verifier, Action::Remove)
        | (Kind::Review | Kind::Verifier | Kind::Message, Action::Revoke) => false,
    };
    if makes_sense {
        return Ok(());
    }
    let words = match kind {
        Kind::Credential => "one of dismiss, warn, revoke, suspend",
        Kind::Verifier => "one of dismiss, warn, suspend",
        Kind::Review | Kind::Message => "one of dismiss, warn, remove, suspend",
    };
    Err(Error::field("/action", "not_allowed", words))
}
