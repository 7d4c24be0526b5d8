//! Hashing and checking, with a bound on how much of it happens at once.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use kernel::{Caller, Error, Result, World};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Password;
use super::line::{Client, Line, Turn};
use super::scheme::Scheme;

const SALT_LEN: usize = 16;
const HASH_LEN: usize = 32;

/// Bcrypt looks at no more of a password.
const BCRYPT_LEN_MAX: usize = 72;

/// What a hash costs, and how many may run.
#[derive(Debug, Clone)]
pub struct Hashing {
    /// Argon2's `m`, in KiB.
    pub memory_kib: u32,
    /// Argon2's `t`.
    pub passes: u32,
    /// Argon2's `p`: how the memory is divided. The lanes are filled one after another.
    pub lanes: u32,
    /// New hashes are made by bcrypt with this cost instead of by Argon2id. It looks at 72 bytes
    /// of a password and no more, so longer ones are then refused when they are set.
    pub bcrypt_cost: Option<u32>,
    /// Hashes at once; each holds its memory. Zero takes one less than the cores, at least one.
    pub at_once: usize,
    /// Requests that may wait for their turn.
    pub waiting_max: usize,
    /// How long one may wait.
    pub wait_max: Duration,
}

impl Default for Hashing {
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            passes: 2,
            lanes: 1,
            bcrypt_cost: None,
            at_once: 0,
            // In front of one hash at a time that is ten seconds, which people still wait for. Who
            // waits does not ask again, and costs nothing.
            waiting_max: 512,
            wait_max: Duration::from_secs(10),
        }
    }
}

impl Hashing {
    /// As cheap as Argon2 gets, and as many as like: for tests.
    pub fn for_tests() -> Self {
        Self {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
            bcrypt_cost: None,
            at_once: 2,
            waiting_max: 10_000,
            wait_max: Duration::from_secs(60),
        }
    }
}

/// A password's hash as it is stored: `$argon2id$v=19$m=..,t=..,p=..$salt$hash`, or one of the
/// forms of [`super::scheme`] until its owner signs in.
#[derive(Clone, PartialEq, Eq)]
pub struct Phc(pub String);

impl std::fmt::Debug for Phc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Phc([secret])")
    }
}

impl Phc {
    /// A hash that was made elsewhere.
    ///
    /// # Errors
    /// A field error: `unknown_scheme`, `too_costly`. It does not repeat the hash.
    pub fn from_elsewhere(pointer: &str, text: &str) -> Result<Self> {
        let Some(scheme) = Scheme::parse(text) else {
            let message =
                "not a hash of argon2, bcrypt, scrypt, PBKDF2 or salted SHA in a known form";
            return Err(Error::field(pointer, "unknown_scheme", message));
        };
        scheme.check_cost().map_err(|costs| Error::field(pointer, "too_costly", costs.0))?;
        Ok(Self(text.to_owned()))
    }
}

/// Hashes and checks passwords.
pub struct Hasher {
    world: World,
    params: Params,
    bcrypt_cost: Option<u32>,
    line: Arc<Line>,
    memory: Arc<Memory>,
}

/// Blocks that wait for the next hash: taking 19 MiB from the system and giving it back each time
/// would cost more than a tenth of the hash itself.
struct Memory {
    free: Mutex<Vec<Vec<Block>>>,
    used: AtomicBool,
    /// What our own hashes need. More, for a hash from elsewhere, is given back at once.
    kept_max: usize,
}

impl Memory {
    fn with<T>(&self, blocks: usize, work: impl FnOnce(&mut [Block]) -> T) -> T {
        if blocks == 0 {
            return work(&mut []);
        }
        let mut memory = self.free.lock().pop().unwrap_or_default();
        if memory.len() < blocks {
            memory.resize(blocks, Block::new());
        }
        let value = work(&mut memory);
        self.used.store(true, Ordering::Relaxed);
        if memory.len() <= self.kept_max {
            self.free.lock().push(memory);
        }
        value
    }
}

fn params(hashing: &Hashing) -> Result<Params> {
    let Hashing { memory_kib, passes, lanes, bcrypt_cost, .. } = *hashing;
    let wrong = |what: String| {
        let message = format!("These parameters of the password hash do not work: {what}.");
        Error::invalid("invalid_hashing", message)
    };
    if bcrypt_cost.is_some_and(|cost| !(4..=31).contains(&cost)) {
        return Err(wrong("the cost of bcrypt is between 4 and 31".to_owned()));
    }
    Params::new(memory_kib, passes, lanes, Some(HASH_LEN)).map_err(|error| wrong(error.to_string()))
}

impl Hasher {
    /// Whether these parameters work.
    ///
    /// # Errors
    /// `Invalid`: parameters that Argon2 or bcrypt does not take.
    pub fn check(hashing: &Hashing) -> Result<()> {
        params(hashing).map(drop)
    }

    /// # Errors
    /// As [`Hasher::check`].
    pub fn new(hashing: &Hashing, world: World) -> Result<Self> {
        let params = params(hashing)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once =
            if hashing.at_once == 0 { cores.saturating_sub(1).max(1) } else { hashing.at_once };
        let kept_max = params.block_count();
        Ok(Self {
            world,
            params,
            bcrypt_cost: hashing.bcrypt_cost,
            line: Line::new(at_once, hashing.waiting_max, hashing.wait_max),
            memory: Arc::new(Memory {
                free: Mutex::default(),
                used: AtomicBool::default(),
                kept_max,
            }),
        })
    }

    /// Hashing in the line of a caller's address.
    pub fn on_behalf_of(&self, caller: &Caller) -> OnBehalf<'_> {
        self.on_behalf_of_address(caller.origin.ip)
    }

    fn on_behalf_of_address(&self, ip: Option<IpAddr>) -> OnBehalf<'_> {
        OnBehalf { hasher: self, client: Client::at(ip) }
    }

    /// The hash to store, in the line of nobody in particular.
    ///
    /// # Errors
    /// As those of [`OnBehalf::hash`].
    pub async fn hash(&self, password: &Password) -> Result<Phc> {
        self.on_behalf_of_address(None).hash(password).await
    }

    /// Whether this is the password, in the line of nobody in particular.
    ///
    /// # Errors
    /// As those of [`OnBehalf::verify`].
    pub async fn verify(&self, password: &Password, stored: Option<&Phc>) -> Result<bool> {
        self.on_behalf_of_address(None).verify(password, stored).await
    }

    /// Whether a stored hash was made by another algorithm or with other parameters than today's.
    pub fn is_outdated(&self, stored: &Phc) -> bool {
        let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        match (Scheme::parse(&stored.0), self.bcrypt_cost) {
            (Some(Scheme::Bcrypt { cost, .. }), Some(ours)) => cost != ours,
            (Some(Scheme::Argon2 { algorithm, version, params, .. }), None) => {
                (algorithm, version) != (Algorithm::Argon2id, Version::V0x13)
                    || cost(&params) != cost(&self.params)
            }
            _ => true,
        }
    }

    /// Gives the memory back to the system when no hash was made since the last call.
    pub fn rest(&self) {
        if !self.memory.used.swap(false, Ordering::Relaxed) {
            *self.memory.free.lock() = Vec::new();
        }
    }

    async fn make(&self, turn: Turn, password: &Password) -> Result<Phc> {
        let salt = self.world.random::<SALT_LEN>();
        let (params, bcrypt_cost) = (self.params.clone(), self.bcrypt_cost);
        let memory = Arc::clone(&self.memory);
        aside(turn, password, move |password| match bcrypt_cost {
            Some(cost) => bcrypt::hash_with_salt(password, cost, salt)
                .map(|parts| Phc(parts.format_for_version(bcrypt::Version::TwoB)))
                .map_err(|error| Error::internal("bcrypt refuses").because(error)),
            None => memory.with(params.block_count(), |blocks| {
                let mut hash = [0; HASH_LEN];
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
                    .hash_password_into_with_memory(password, &salt, &mut hash, blocks)
                    .map_err(|error| Error::internal(format!("Argon2 refuses: {error}")))?;
                Ok(phc(&params, &salt, &hash))
            }),
        })
        .await
    }
}

/// A hasher that works for one client: hashes wait in its line.
#[derive(Clone, Copy)]
pub struct OnBehalf<'a> {
    hasher: &'a Hasher,
    client: Client,
}

impl OnBehalf<'_> {
    /// The hash to store.
    ///
    /// # Errors
    /// `Unavailable`: too many hashes at once. A field error `too_long` where the password is
    /// longer than bcrypt looks at.
    pub async fn hash(self, password: &Password) -> Result<Phc> {
        if !self.fits(password) {
            let message = "at most 72 bytes";
            return Err(Error::field(password.pointer(), "too_long", message));
        }
        let turn = self.hasher.line.turn(self.client).await?;
        self.hasher.make(turn, password).await
    }

    fn fits(self, password: &Password) -> bool {
        self.hasher.bcrypt_cost.is_none() || password.bytes().len() <= BCRYPT_LEN_MAX
    }

    /// Whether this is the password; without a stored hash it never is, after the same work.
    ///
    /// A wrong password for a hash from elsewhere costs one of ours besides: the right one is
    /// hashed anew and costs that too, and an address without an account costs it alone. What
    /// stays visible in the time is the foreign hash itself, until its owner first signs in.
    ///
    /// # Errors
    /// `Unavailable`: too many checks at once.
    pub async fn verify(self, password: &Password, stored: Option<&Phc>) -> Result<bool> {
        let turn = self.hasher.line.turn(self.client).await?;
        let Some(stored) = stored else {
            self.hasher.make(turn, password).await?;
            return Ok(false);
        };
        let scheme = Scheme::parse(&stored.0)
            .ok_or_else(|| Error::internal("a stored password hash is unreadable"))?;
        let memory = Arc::clone(&self.hasher.memory);
        let is_right = aside(turn, password, move |password| {
            memory.with(scheme.blocks(), |blocks| scheme.matches(password, blocks))
        })
        .await?;
        if !is_right && self.hasher.is_outdated(stored) {
            let turn = self.hasher.line.turn(self.client).await?;
            self.hasher.make(turn, password).await?;
        }
        Ok(is_right)
    }

    /// The hash to store instead of this one, if it is outdated. None as well where that cannot be
    /// done now: a right password is let in all the same, and the next login tries again.
    ///
    /// # Errors
    /// `Internal`.
    pub async fn rehash(self, password: &Password, stored: &Phc) -> Result<Option<Phc>> {
        if !self.hasher.is_outdated(stored) || !self.fits(password) {
            return Ok(None);
        }
        match self.hash(password).await {
            Ok(made) => Ok(Some(made)),
            Err(error) if error.kind() == kernel::Kind::Unavailable => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// How much less of a processor a hash gets than those who answer requests, where both want it
/// (nice(2)): about a tenth. Who signs in waits a little longer, and nobody else notices.
const NICENESS: i32 = 10;

/// Runs work on a thread where nobody waits behind it.
async fn aside<T: Send + 'static>(
    turn: Turn,
    password: &Password,
    work: impl FnOnce(&[u8]) -> Result<T> + Send + 'static,
) -> Result<T> {
    let password = password.clone();
    let (made, hashed) = oneshot::channel();
    let work = move || {
        // Where it is not allowed the hash is as urgent as everything else.
        let _ = rustix::process::nice(NICENESS);
        let hash = work(password.bytes());
        // The turn ends with the work, also when nobody waits for it any more.
        drop(turn);
        let _ = made.send(hash);
    };
    // A thread of its own, since the others keep their urgency. It costs a thousandth of the hash.
    std::thread::Builder::new()
        .name("password".to_owned())
        .spawn(work)
        .map_err(|error| Error::internal("no thread for a password hash").because(error))?;
    hashed.await.map_err(|error| Error::internal("a password hash broke off").because(error))?
}

fn phc(params: &Params, salt: &[u8], hash: &[u8]) -> Phc {
    let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    Phc(format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${hash}"))
}
