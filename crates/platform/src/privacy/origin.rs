//! Where a request came from, as a fact keeps it: the address and the client sealed for the
//! person, the request's id in clear, since it names nobody and an operator looks for it.

use kernel::Id;
use kernel::Result;
use kernel::id::kinds::User;
use serde::{Deserialize, Serialize};

use crate::db::{Db, Tx};
use crate::journal::RecordedOrigin;

const PLACE: &str = "facts.origin";

/// What is sealed of an origin.
#[derive(Serialize, Deserialize)]
struct Private {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
}

/// Seals an origin for the person whose it is; nobody's stays as it is.
pub(crate) async fn seal(
    tx: &Tx,
    person: Option<Id<User>>,
    origin: RecordedOrigin,
) -> Result<RecordedOrigin> {
    let is_bare = origin.ip.is_none() && origin.user_agent.is_none();
    let Some(person) = person.filter(|_| !is_bare && tx.vault().is_some()) else {
        return Ok(origin);
    };
    let RecordedOrigin { request_id, ip, user_agent, .. } = origin;
    let private = serde_json::to_string(&Private { ip, user_agent }).unwrap_or_default();
    let sealed = tx.seal(person, PLACE, &private).await?;
    Ok(RecordedOrigin { request_id, ip: None, user_agent: None, sealed: Some(sealed) })
}

impl RecordedOrigin {
    /// The origin as it was; without address and client when the person was erased.
    pub async fn open(&self, db: &Db) -> Result<Self> {
        let Some(sealed) = &self.sealed else { return Ok(self.clone()) };
        let mut open = Self { request_id: self.request_id.clone(), ..Self::default() };
        if let Some(private) = db.unseal(PLACE, sealed).await? {
            let Private { ip, user_agent } = serde_json::from_str(&private).map_err(|error| {
                kernel::Error::internal("an origin is unreadable").because(error)
            })?;
            (open.ip, open.user_agent) = (ip, user_agent);
        }
        Ok(open)
    }
}
