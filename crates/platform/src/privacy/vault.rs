//! The keys of people, and what is sealed under them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::id::kinds::User;
use kernel::{Error, Id, Result, Secret, Timestamp};
use parking_lot::Mutex;
use uuid::Uuid;

use super::store::{self, Held};
use crate::crypto::{MasterKey, base64url};
use crate::db::{Db, Tx};

/// How a sealed text begins: the person's id and what was sealed follow, with colons between.
const MARK: &str = "sealed:";
/// What is left of a text that was sealed for somebody whose key is gone.
const NOTHING: &str = "sealed:";
/// Keys that a process remembers, at about two hundred bytes each.
const REMEMBERED_MAX: usize = 50_000;
/// On a store that others write to, a remembered key opens nothing beyond this age before it was
/// read again: elsewhere it may have been destroyed.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);

/// The keys of people.
pub struct Vault {
    master: MasterKey,
    remembered: Arc<Mutex<HashMap<Id<User>, Remembered>>>,
    shared: bool,
}

#[derive(Clone)]
struct Remembered {
    key: MasterKey,
    read_at: Timestamp,
}

fn wrapping(person: Id<User>) -> String {
    format!("person/{person}")
}

impl Vault {
    pub(crate) fn new(master: MasterKey, shared: bool) -> Self {
        Self { master, remembered: Arc::default(), shared }
    }

    fn unwrap(&self, person: Id<User>, sealed: &[u8]) -> Result<MasterKey> {
        let key = self.master.open(&wrapping(person), sealed)?;
        let bytes: [u8; 32] = key.expose().as_slice().try_into().map_err(|_| {
            Error::internal(format!("the key of {person} has not the length of a key"))
        })?;
        Ok(MasterKey::new(bytes))
    }

    fn remember(&self, person: Id<User>, key: MasterKey, read_at: Timestamp) {
        put(&self.remembered, person, Remembered { key, read_at });
    }

    /// The key to seal with; it is made when there is none. `None` when it was destroyed.
    async fn to_seal(&self, tx: &Tx, person: Id<User>) -> Result<Option<MasterKey>> {
        if let Some(known) = self.remembered.lock().get(&person) {
            return Ok(Some(known.key.clone()));
        }
        let key = match store::get(tx, person).await? {
            Held::Key(sealed) => self.unwrap(person, &sealed)?,
            Held::Destroyed => return Ok(None),
            Held::Never => match self.make(tx, person).await? {
                Some(key) => key,
                None => return Ok(None),
            },
        };
        let (remembered, known) =
            (Arc::clone(&self.remembered), Remembered { key: key.clone(), read_at: tx.now() });
        tx.after_commit(move || put(&remembered, person, known));
        Ok(Some(key))
    }

    async fn make(&self, tx: &Tx, person: Id<User>) -> Result<Option<MasterKey>> {
        let key = Secret::new(tx.world().random::<32>());
        let sealed = self.master.seal(tx.world(), &wrapping(person), key.expose())?;
        if store::insert(tx, person, &sealed).await? {
            return Ok(Some(MasterKey::new(*key.expose())));
        }
        match store::get(tx, person).await? {
            Held::Key(sealed) => self.unwrap(person, &sealed).map(Some),
            Held::Destroyed | Held::Never => Ok(None),
        }
    }

    async fn to_open(&self, db: &Db, person: Id<User>) -> Result<Option<MasterKey>> {
        let now = db.world().now();
        if let Some(known) = self.remembered.lock().get(&person)
            && (!self.shared || now.since(known.read_at) < CONFIRM_AFTER)
        {
            return Ok(Some(known.key.clone()));
        }
        let Held::Key(sealed) = store::get(db, person).await? else {
            self.remembered.lock().remove(&person);
            return Ok(None);
        };
        let key = self.unwrap(person, &sealed)?;
        self.remember(person, key.clone(), now);
        Ok(Some(key))
    }
}

fn put(remembered: &Mutex<HashMap<Id<User>, Remembered>>, person: Id<User>, known: Remembered) {
    let mut remembered = remembered.lock();
    // Whoever is still about is read again: cheaper than keeping an order for all.
    if remembered.len() >= REMEMBERED_MAX {
        remembered.clear();
    }
    remembered.insert(person, known);
}

impl Tx {
    /// Seals a text for a person. `place` says where it will stand, such as
    /// `verification_notes.text`: it opens nowhere else. Nothing is kept for somebody whose key
    /// was destroyed. Without a vault (see [`Db::keep_private`]) the text stays as it is.
    pub async fn seal(&self, person: Id<User>, place: &str, clear: &str) -> Result<String> {
        let Some(vault) = self.vault() else { return Ok(clear.to_owned()) };
        let Some(key) = vault.to_seal(self, person).await? else { return Ok(NOTHING.to_owned()) };
        let sealed = key.seal(self.world(), place, clear.as_bytes())?;
        Ok(format!("{MARK}{}:{}", person.uuid().simple(), base64url(sealed)))
    }

    /// Destroys a person's key: nothing that was sealed for them opens from the commit on.
    pub async fn destroy_key(&self, person: Id<User>) -> Result<()> {
        store::destroy(self, person).await?;
        if let Some(vault) = self.vault() {
            let remembered = Arc::clone(&vault.remembered);
            self.after_commit(move || {
                remembered.lock().remove(&person);
            });
        }
        Ok(())
    }
}

impl Db {
    /// Opens what [`Tx::seal`] has sealed for the same place; `None` when it was erased. A text
    /// that was never sealed is what it is.
    pub async fn unseal(&self, place: &str, stored: &str) -> Result<Option<String>> {
        if stored == NOTHING {
            return Ok(None);
        }
        let Some((person, sealed)) = parts(stored) else { return Ok(Some(stored.to_owned())) };
        let vault = self
            .vault()
            .ok_or_else(|| Error::internal("something is sealed and there is no vault"))?;
        let Some(key) = vault.to_open(self, person).await? else { return Ok(None) };
        let clear = key.open(place, &sealed)?;
        let clear = String::from_utf8(clear.expose().clone())
            .map_err(|error| Error::internal("a sealed text is no text").because(error))?;
        Ok(Some(clear))
    }
}

/// Whose a sealed text is, and what was sealed.
fn parts(stored: &str) -> Option<(Id<User>, Vec<u8>)> {
    let (person, sealed) = stored.strip_prefix(MARK)?.split_once(':')?;
    let person = Uuid::try_parse(person).ok()?;
    Some((Id::from_uuid(person), URL_SAFE_NO_PAD.decode(sealed).ok()?))
}
