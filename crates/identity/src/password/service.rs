//! Hashing and checking, with a bound on how much of it happens at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Params, PasswordHash, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use kernel::{Error, Result, World};
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Password;

const SALT_LEN: usize = 16;
const HASH_LEN: usize = 32;

/// What a hash costs, and how many may run.
#[derive(Debug, Clone)]
pub struct Hashing {
    /// Argon2's `m`, in KiB.
    pub memory_kib: u32,
    /// Argon2's `t`.
    pub passes: u32,
    /// Argon2's `p`: how the memory is divided. The lanes are filled one after another.
    pub lanes: u32,
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
            at_once: 0,
            waiting_max: 64,
            wait_max: Duration::from_secs(3),
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
            at_once: 2,
            waiting_max: 10_000,
            wait_max: Duration::from_secs(60),
        }
    }
}

/// A password's hash as it is stored: `$argon2id$v=19$m=..,t=..,p=..$salt$hash`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phc(pub String);

/// Hashes and checks passwords.
pub struct Hasher {
    world: World,
    params: Params,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    wait_max: Duration,
    memory: Arc<Memory>,
}

/// Blocks that wait for the next hash: taking 19 MiB from the system and giving it back each time
/// would cost more than a tenth of the hash itself.
#[derive(Default)]
struct Memory {
    free: Mutex<Vec<Vec<Block>>>,
    used: AtomicBool,
}

impl Memory {
    fn with<T>(&self, blocks: usize, work: impl FnOnce(&mut [Block]) -> T) -> T {
        let mut memory = self.free.lock().pop().unwrap_or_default();
        if memory.len() < blocks {
            memory.resize(blocks, Block::new());
        }
        let value = work(&mut memory);
        self.used.store(true, Ordering::Relaxed);
        self.free.lock().push(memory);
        value
    }
}

impl Hasher {
    /// # Errors
    /// `Invalid`: parameters that Argon2 does not take.
    pub fn new(hashing: &Hashing, world: World) -> Result<Self> {
        let Hashing { memory_kib, passes, lanes, .. } = *hashing;
        let params = Params::new(memory_kib, passes, lanes, Some(HASH_LEN)).map_err(|error| {
            let message = format!("These parameters of the password hash do not work: {error}.");
            Error::invalid("invalid_hashing", message)
        })?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once =
            if hashing.at_once == 0 { cores.saturating_sub(1).max(1) } else { hashing.at_once };
        Ok(Self {
            world,
            params,
            turns: Arc::new(Semaphore::new(at_once)),
            waiting: AtomicUsize::new(0),
            waiting_max: hashing.waiting_max,
            wait_max: hashing.wait_max,
            memory: Arc::default(),
        })
    }

    /// The hash to store.
    ///
    /// # Errors
    /// `Unavailable`: too many hashes at once.
    pub async fn hash(&self, password: &Password) -> Result<Phc> {
        let turn = self.turn().await?;
        let salt = self.world.random::<SALT_LEN>();
        let made = self.run(turn, self.params.clone(), password, salt.to_vec(), HASH_LEN).await?;
        Ok(phc(&self.params, &salt, &made))
    }

    /// Whether this is the password; without a stored hash it never is, after the same work.
    ///
    /// # Errors
    /// `Unavailable`: too many checks at once.
    pub async fn verify(&self, password: &Password, stored: Option<&Phc>) -> Result<bool> {
        let turn = self.turn().await?;
        let Some(stored) = stored else {
            let salt = self.world.random::<SALT_LEN>();
            self.run(turn, self.params.clone(), password, salt.to_vec(), HASH_LEN).await?;
            return Ok(false);
        };
        let (params, salt, hash) = parse(stored)?;
        let made = self.run(turn, params, password, salt, hash.len()).await?;
        Ok(made.ct_eq(&hash).into())
    }

    /// Whether a stored hash was made with other parameters than today's.
    pub fn is_outdated(&self, stored: &Phc) -> bool {
        let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        parse(stored).map_or(true, |(params, ..)| cost(&params) != cost(&self.params))
    }

    /// Gives the memory back to the system when no hash was made since the last call.
    pub fn rest(&self) {
        if !self.memory.used.swap(false, Ordering::Relaxed) {
            *self.memory.free.lock() = Vec::new();
        }
    }

    /// Waits for a turn, but not in too long a line and not for too long.
    async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        if let Ok(turn) = self.turns.clone().try_acquire_owned() {
            return Ok(turn);
        }
        let _waiting = Waiting::enter(&self.waiting, self.waiting_max)?;
        let turn = tokio::time::timeout(self.wait_max, self.turns.clone().acquire_owned());
        match turn.await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(busy()),
        }
    }

    async fn run(
        &self,
        turn: OwnedSemaphorePermit,
        params: Params,
        password: &Password,
        salt: Vec<u8>,
        len: usize,
    ) -> Result<Vec<u8>> {
        let (memory, password) = (self.memory.clone(), password.clone());
        let work = move || {
            let mut out = vec![0; len];
            let made = memory.with(params.block_count(), |blocks| {
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into_with_memory(password.bytes(), &salt, &mut out, blocks)
            });
            // The turn ends with the work, also when nobody waits for it any more.
            drop(turn);
            made.map(|()| out)
        };
        let made = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::internal("a password hash broke off").because(error))?;
        made.map_err(|error| Error::internal(format!("Argon2 refuses: {error}")))
    }
}

/// A place in the line, given up when dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize, max: usize) -> Result<Self> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) < max { Ok(place) } else { Err(busy()) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn busy() -> Error {
    metrics::counter!("password_hashes_refused_total").increment(1);
    Error::unavailable("busy", "Too many people are signing in at this moment. Try again.")
        .retry_after(2)
}

fn phc(params: &Params, salt: &[u8], hash: &[u8]) -> Phc {
    let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    Phc(format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${hash}"))
}

fn parse(stored: &Phc) -> Result<(Params, Vec<u8>, Vec<u8>)> {
    let broken = || Error::internal("a stored password hash is unreadable");
    let parsed = PasswordHash::new(&stored.0).map_err(|_| broken())?;
    if parsed.algorithm.as_str() != "argon2id" || parsed.version != Some(19) {
        return Err(broken());
    }
    let params = Params::try_from(&parsed).map_err(|_| broken())?;
    match (parsed.salt, parsed.hash) {
        (Some(salt), Some(hash)) => Ok((params, salt.to_vec(), hash.as_bytes().to_vec())),
        _ => Err(broken()),
    }
}
