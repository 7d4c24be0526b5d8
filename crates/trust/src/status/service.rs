//! Places in lists given out, bits set, editions signed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::StatusList;
use kernel::{Error, Id, Result, Timestamp};
use parking_lot::Mutex;
use platform::db::{Db, Tx};
use serde_json::Value as Json;

use super::bitstring::{Bitstring, Purpose as Meaning, StatusListCredential};
use super::store::{self, List};
use crate::issuance::proof::{self, Statement};
use crate::issuance::rdfc::Template;
use crate::key::service::{Purpose, Service as Keys};

/// Entries of a list: the least that Bitstring Status List 1.0 allows, so that a list always
/// hides an entry among very many.
const LIST_SIZE: i64 = 131_072;
/// How long an edition may be relied on; a newer one is signed at half of it.
pub const EDITION_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// A list is less than half full, so that this many misses do not happen.
const TRIES: usize = 64;

/// The revocation lists. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    keys: Keys,
    public_url: String,
    /// The newest edition signed by this process, of each list.
    editions: Mutex<HashMap<Id<StatusList>, Edition>>,
}

#[derive(Clone)]
struct Edition {
    version: i64,
    signed_at: Timestamp,
    document: Arc<Json>,
}

/// A place given to one credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub list: Id<StatusList>,
    pub place: i64,
}

impl Service {
    pub fn new(db: Db, keys: Keys, public_url: &str) -> Self {
        let public_url = public_url.trim_end_matches('/').to_owned();
        Self(Arc::new(Inner { db, keys, public_url, editions: Mutex::default() }))
    }

    /// Where a list is served.
    pub fn url(&self, list: Id<StatusList>) -> String {
        format!("{}/v1/status-lists/{list}", self.0.public_url)
    }

    /// Gives a random place that nobody had before.
    pub async fn allocate(&self, tx: &Tx) -> Result<Place> {
        let list = match store::open_list(tx).await? {
            Some(list) => list,
            None => {
                let list = List { id: tx.world().id(), size: LIST_SIZE };
                store::insert_list(tx, list).await?;
                list
            }
        };
        for _ in 0..TRIES {
            let dice = u64::from_be_bytes(tx.world().random());
            // The size is a power of two: the remainder favours nobody.
            let place = (dice % list.size.unsigned_abs()).cast_signed();
            if store::take_place(tx, list, place).await? {
                return Ok(Place { list: list.id, place });
            }
        }
        Err(Error::internal("no free place was found in a status list that has room"))
    }

    /// Sets the bit of a place, for good.
    pub async fn revoke(&self, tx: &Tx, place: Place) -> Result<()> {
        store::revoke(tx, place.list, place.place).await?;
        Ok(())
    }

    /// The newest edition of a list, signed.
    pub async fn edition(&self, id: Id<StatusList>) -> Result<Arc<Json>> {
        let Inner { db, editions, .. } = &*self.0;
        let (size, version) =
            store::version(db, id).await?.ok_or_else(|| Error::not_found("status list"))?;
        let now = db.world().now();
        if let Some(edition) = editions.lock().get(&id)
            && edition.version == version
            && now.since(edition.signed_at) < EDITION_LIFETIME / 2
        {
            return Ok(edition.document.clone());
        }
        let document = Arc::new(self.sign(id, size, now).await?);
        let edition = Edition { version, signed_at: now, document: document.clone() };
        editions.lock().insert(id, edition);
        Ok(document)
    }

    async fn sign(&self, id: Id<StatusList>, size: i64, now: Timestamp) -> Result<Json> {
        let broken = |error: &dyn std::fmt::Display| {
            Error::internal(format!("a status list cannot be signed: {error}"))
        };
        let size = u32::try_from(size).map_err(|error| broken(&error))?;
        let mut list = Bitstring::new(size).map_err(|error| broken(&error))?;
        for place in store::revoked(&self.0.db, id).await? {
            let place = u32::try_from(place).map_err(|error| broken(&error))?;
            list.set(place, true).map_err(|error| broken(&error))?;
        }
        let unsigned = StatusListCredential {
            url: &self.url(id),
            issuer: self.0.keys.did(),
            purpose: Meaning::Revocation,
            valid_from: now.seconds(),
            valid_until: (now + EDITION_LIFETIME).seconds(),
            list: &list,
        };
        let unsigned = unsigned.to_json().map_err(|error| broken(&error))?;
        let signer = self.0.keys.signer(Purpose::Credential, now)?;
        let says = Statement { verification_method: &signer.method, created: now.seconds() };
        proof::sign(Template::StatusList, unsigned, &signer.key, says)
            .map_err(|error| broken(&error))
    }
}
