//! The nouns.

use kernel::id::kinds::{Fact, User};
use kernel::{Id, Role, Timestamp};
use platform::journal::{Recorded, RecordedOrigin};

/// Whose trail is looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What concerns one user, as that user may see it.
    Own(Id<User>),
    /// What concerns one user, as an admin sees it.
    Of(Id<User>),
    /// Everything, as an admin sees it.
    All,
}

/// One line of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: Id<Fact>,
    pub at: Timestamp,
    /// Who did it; none where the platform did it by itself.
    pub actor: Option<Id<User>>,
    pub role: Option<Role>,
    pub action: String,
    pub resource: String,
    pub metadata: serde_json::Value,
    /// Where the request came from; empty where that is not the reader's to know.
    pub origin: RecordedOrigin,
}

impl Entry {
    pub(super) fn of(fact: Recorded, scope: Scope) -> Self {
        let is_theirs = match scope {
            Scope::All | Scope::Of(_) => true,
            Scope::Own(reader) => fact.actor == Some(reader),
        };
        Self {
            id: fact.id,
            at: fact.at,
            actor: fact.actor,
            role: fact.role,
            action: fact.verb,
            resource: fact.subject,
            metadata: fact.data,
            origin: if is_theirs { fact.origin } else { RecordedOrigin::default() },
        }
    }

    /// The action in the file API's words.
    pub(super) fn file_api_action(&self) -> String {
        match self.action.as_str() {
            "user.registered" => "USER_REGISTER".to_owned(),
            "session.started" => "USER_LOGIN".to_owned(),
            "file.uploaded" => "FILE_UPLOAD".to_owned(),
            "file.listed" => "FILE_LIST".to_owned(),
            "file.downloaded" => "FILE_DOWNLOAD".to_owned(),
            other => other.replace('.', "_").to_uppercase(),
        }
    }

    /// The action as a heading: `verification.info_requested` reads "Verification info requested".
    pub fn title(&self) -> String {
        let words = self.action.replace(['.', '_'], " ");
        let mut letters = words.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }
}
