//! Places in lists given out, bits set, editions signed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::{Key, StatusList};
use kernel::{Error, Id, Result, Timestamp};
use parking_lot::Mutex;
use platform::db::{Db, Tx};
use serde_json::Value as Json;

use super::store::{self, List};
use crate::authority::service::{Purpose as Certified, Service as Authority};
use crate::key::service::{Purpose, Service as Keys};
use verify::credential::proof::{self, Statement};
use verify::credential::rdfc::Template;
use verify::jose::jws;
use verify::status::bitstring::{Bitstring, Purpose as Meaning, StatusListCredential};
use verify::status::token;

/// Entries of a list: the least that Bitstring Status List 1.0 allows, so that a list always
/// hides an entry among very many.
const LIST_SIZE: i64 = 131_072;
/// How long an edition may be relied on; a newer one is signed at half of it.
pub const EDITION_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// For how long a status list token may be kept before it is asked for again.
pub const TOKEN_TTL: Duration = Duration::from_secs(300);
/// A list is less than half full, so that this many misses do not happen.
const TRIES: usize = 64;

/// The revocation lists. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    keys: Keys,
    authority: Authority,
    public_url: String,
    /// The newest edition signed by this process, of each list.
    editions: Mutex<HashMap<Id<StatusList>, Edition>>,
}

#[derive(Clone)]
struct Edition {
    version: i64,
    signed_at: Timestamp,
    document: Arc<Json>,
    token: Arc<str>,
    /// The keys of the two forms.
    signed_by: [Id<Key>; 2],
}

/// A place given to one credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub list: Id<StatusList>,
    pub place: i64,
}

impl Service {
    pub fn new(db: Db, keys: Keys, authority: Authority, public_url: &str) -> Self {
        let public_url = public_url.trim_end_matches('/').to_owned();
        Self(Arc::new(Inner { db, keys, authority, public_url, editions: Mutex::default() }))
    }

    /// Where a list is served.
    pub fn url(&self, list: Id<StatusList>) -> String {
        format!("{}/v1/status-lists/{list}", self.0.public_url)
    }

    /// The list that is served at this address, if it may be one of ours.
    pub fn own(&self, url: &str) -> Option<Id<StatusList>> {
        let (front, id) = url.rsplit_once('/')?;
        let id = id.parse().ok()?;
        (self.url(id) == url && front.starts_with(&self.0.public_url)).then_some(id)
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

    /// The newest edition of a list as a Bitstring status list credential.
    pub async fn edition(&self, id: Id<StatusList>) -> Result<Arc<Json>> {
        Ok(self.newest(id).await?.document)
    }

    /// The newest edition of a list as a status list token.
    pub async fn token(&self, id: Id<StatusList>) -> Result<Arc<str>> {
        Ok(self.newest(id).await?.token)
    }

    async fn newest(&self, id: Id<StatusList>) -> Result<Edition> {
        let Inner { db, editions, .. } = &*self.0;
        let (size, version) =
            store::version(db, id).await?.ok_or_else(|| Error::not_found("status list"))?;
        let now = db.world().now();
        let signed_by = self.signers(now)?;
        if let Some(edition) = editions.lock().get(&id)
            && edition.version == version
            // Under a key that was compromised an edition shows nothing.
            && edition.signed_by == signed_by
            && now.since(edition.signed_at) < EDITION_LIFETIME / 2
        {
            return Ok(edition.clone());
        }
        let (document, token) = self.sign(id, size, now).await?;
        let (document, token) = (Arc::new(document), Arc::from(token));
        let edition = Edition { version, signed_at: now, document, token, signed_by };
        editions.lock().insert(id, edition.clone());
        Ok(edition)
    }

    fn signers(&self, now: Timestamp) -> Result<[Id<Key>; 2]> {
        let document = self.0.keys.signer(Purpose::Credential, now)?.id;
        Ok([document, self.0.authority.signer(Certified::Credential, now)?.id])
    }

    async fn sign(&self, id: Id<StatusList>, size: i64, now: Timestamp) -> Result<(Json, String)> {
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
        let document = proof::sign(Template::StatusList, unsigned, &signer.key, says)
            .map_err(|error| broken(&error))?;
        Ok((document, self.sign_token(id, &list, now)?))
    }

    fn sign_token(&self, id: Id<StatusList>, list: &Bitstring, now: Timestamp) -> Result<String> {
        let signer = self.0.authority.signer(Certified::Credential, now)?;
        let until = (now + EDITION_LIFETIME).seconds();
        let ttl = TOKEN_TTL.as_secs().cast_signed();
        let mut claims = token::claims(&self.url(id), now.seconds(), until, ttl, list);
        claims["iss"] = self.0.authority.issuer().into();
        Ok(jws::sign(signer.header(token::TYPE), &claims, &signer.key))
    }
}
