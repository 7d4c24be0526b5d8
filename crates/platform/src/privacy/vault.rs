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
    memory: Arc<Mutex<Memory>>,
    shared: bool,
}

/// The keys that a process remembers. Whoever reads one takes a ticket first, so that a key that is
/// destroyed meanwhile is not remembered behind its destruction.
#[derive(Default)]
pub(super) struct Memory {
    keys: HashMap<Id<User>, Remembered>,
    /// Grows with each key that is forgotten.
    epoch: u64,
}

#[derive(Clone)]
pub(super) struct Remembered {
    pub(super) key: MasterKey,
    pub(super) read_at: Timestamp,
}

/// What was forgotten when a key was about to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

impl Memory {
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.epoch)
    }

    pub(super) fn get(&self, person: Id<User>) -> Option<&Remembered> {
        self.keys.get(&person)
    }

    /// Remembers a key that was read with this ticket, unless one was forgotten since.
    pub(super) fn remember(&mut self, ticket: Ticket, person: Id<User>, known: Remembered) {
        if ticket != self.ticket() {
            return;
        }
        // Whoever is still about is read again: cheaper than keeping an order for all.
        if self.keys.len() >= REMEMBERED_MAX {
            self.keys.clear();
        }
        self.keys.insert(person, known);
    }

    pub(super) fn forget(&mut self, person: Id<User>) {
        self.epoch += 1;
        self.keys.remove(&person);
    }
}

fn wrapping(person: Id<User>) -> String {
    format!("person/{person}")
}

impl Vault {
    pub(crate) fn new(master: MasterKey, shared: bool) -> Self {
        Self { master, memory: Arc::default(), shared }
    }

    fn unwrap(&self, person: Id<User>, sealed: &[u8]) -> Result<MasterKey> {
        let key = self.master.open(&wrapping(person), sealed)?;
        let bytes: [u8; 32] = key.expose().as_slice().try_into().map_err(|_| {
            Error::internal(format!("the key of {person} has not the length of a key"))
        })?;
        Ok(MasterKey::new(bytes))
    }

    /// The key to seal with; it is made when there is none. `None` when it was destroyed.
    async fn to_seal(&self, tx: &Tx, person: Id<User>) -> Result<Option<MasterKey>> {
        let ticket = {
            let memory = self.memory.lock();
            if let Some(known) = memory.get(person) {
                return Ok(Some(known.key.clone()));
            }
            memory.ticket()
        };
        let key = match store::get(tx, person).await? {
            Held::Key(sealed) => self.unwrap(person, &sealed)?,
            Held::Destroyed => return Ok(None),
            Held::Never => match self.make(tx, person).await? {
                Some(key) => key,
                None => return Ok(None),
            },
        };
        let (memory, known) =
            (Arc::clone(&self.memory), Remembered { key: key.clone(), read_at: tx.now() });
        tx.after_commit(move || memory.lock().remember(ticket, person, known));
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
        let ticket = {
            let memory = self.memory.lock();
            if let Some(known) = memory.get(person)
                && (!self.shared || now.since(known.read_at) < CONFIRM_AFTER)
            {
                return Ok(Some(known.key.clone()));
            }
            memory.ticket()
        };
        let Held::Key(sealed) = store::get(db, person).await? else {
            self.memory.lock().forget(person);
            return Ok(None);
        };
        let key = self.unwrap(person, &sealed)?;
        let known = Remembered { key: key.clone(), read_at: now };
        self.memory.lock().remember(ticket, person, known);
        Ok(Some(key))
    }
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
            let memory = Arc::clone(&vault.memory);
            self.after_commit(move || memory.lock().forget(person));
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
