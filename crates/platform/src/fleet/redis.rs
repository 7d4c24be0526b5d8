//! The connection to Redis: one for commands, shared by everybody, kept up by one task.
//!
//! Nobody waits for a connection to come back: while there is none, [`Redis::ask`] refuses at
//! once and its caller does what it does without Redis. A blocking read needs a connection of its
//! own ([`Redis::connect`]).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{MultiplexedConnection, PubSub};
use ::redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError, RedisResult};
use kernel::{Error, Result, Secret, World};
use parking_lot::RwLock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Making one connection may take this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a quiet connection is tried.
const PING_EVERY: Duration = Duration::from_millis(500);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://user:password@host:6379/0`, or `rediss://` for TLS, which is checked against the
    /// system's root certificates.
    pub url: Secret<String>,
    /// In the place of the URL's password.
    pub password: Option<Secret<String>>,
    /// What all keys begin with: several platforms may share one Redis.
    pub prefix: String,
    /// How long one command may take; after that Redis counts as away.
    pub timeout: Duration,
}

impl RedisOptions {
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url.into()),
            password: None,
            prefix: "verza".to_owned(),
            timeout: Duration::from_millis(250),
        }
    }
}

/// Redis, as this process reaches it.
pub struct Redis {
    client: Client,
    prefix: String,
    timeout: Duration,
    world: World,
    connection: RwLock<Option<MultiplexedConnection>>,
    broke: Notify,
}

impl Redis {
    /// Nothing is connected yet: [`Redis::keep`] does that.
    ///
    /// # Errors
    /// `Invalid` `invalid_redis_url`.
    pub fn new(options: &RedisOptions, world: World) -> Result<Arc<Self>> {
        let wrong = |error: RedisError| {
            // Of the error only its kind: its text may hold the URL with the password.
            let message = format!("The Redis URL cannot be used: {:?}.", error.kind());
            Error::invalid("invalid_redis_url", message)
        };
        let mut info = options.url.expose().as_str().into_connection_info().map_err(wrong)?;
        if let Some(password) = &options.password {
            let settings = info.redis_settings().clone().set_password(password.expose());
            info = info.set_redis_settings(settings);
        }
        Ok(Arc::new(Self {
            client: Client::open(info).map_err(wrong)?,
            prefix: options.prefix.clone(),
            timeout: options.timeout,
            world,
            connection: RwLock::new(None),
            broke: Notify::new(),
        }))
    }

    /// A key of ours.
    pub fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    pub fn is_up(&self) -> bool {
        self.connection.read().is_some()
    }

    /// A connection of one's own, on which an answer may take up to `timeout`.
    pub(crate) async fn connect(&self, timeout: Duration) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(timeout));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// A connection of one's own, to hear what is said on a channel. Its pings are the subscriber's
    /// matter.
    pub(super) async fn subscribe(&self, channel: &str) -> RedisResult<PubSub> {
        let joined = async {
            let mut connection = self.client.get_async_pubsub().await?;
            connection.subscribe(channel).await?;
            Ok(connection)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, joined).await {
            Ok(joined) => joined,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    /// Asks over the common connection.
    ///
    /// # Errors
    /// `Unavailable` `redis_away`, at once while there is no connection, and when one breaks or
    /// does not answer in time; then it counts as away until it answers again.
    pub(crate) async fn ask<T, F>(&self, work: impl FnOnce(MultiplexedConnection) -> F) -> Result<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let Some(connection) = self.connection.read().clone() else { return Err(away()) };
        match work(connection).await {
            Ok(value) => Ok(value),
            Err(error) => {
                if is_of_the_connection(&error) {
                    self.give_up();
                }
                Err(away().because(error))
            }
        }
    }

    fn give_up(&self) {
        if self.connection.write().take().is_some() {
            self.broke.notify_one();
        }
    }

    /// Connects, tries the connection now and then, and connects again when it broke; until told
    /// to stop. What changes is logged once.
    pub(crate) async fn keep(&self, stop: &CancellationToken) {
        let mut backoff = Backoff::new(&self.world);
        let mut told = false;
        metrics::gauge!("redis_up").set(0.0);
        while !stop.is_cancelled() {
            match self.connect(self.timeout).await {
                Ok(connection) => {
                    backoff.reset();
                    told = false;
                    *self.connection.write() = Some(connection);
                    metrics::gauge!("redis_up").set(1.0);
                    tracing::info!("Redis answers");
                    self.try_until_it_breaks(stop).await;
                    metrics::gauge!("redis_up").set(0.0);
                    if !stop.is_cancelled() {
                        tracing::warn!("the connection to Redis broke");
                        metrics::counter!("redis_breaks_total").increment(1);
                    }
                }
                Err(error) => {
                    if !told {
                        tracing::warn!(%error, "Redis cannot be reached");
                    }
                    told = true;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = stop.cancelled() => {}
            }
        }
        self.connection.write().take();
    }

    async fn try_until_it_breaks(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(PING_EVERY) => {}
                // The word of an earlier break may still be there.
                () = self.broke.notified() => if self.is_up() { continue } else { return },
                () = stop.cancelled() => return,
            }
            if self.ping_once().await.is_err() {
                self.give_up();
                return;
            }
        }
    }

    async fn ping_once(&self) -> Result<()> {
        self.ask(async |mut connection| {
            ::redis::cmd("PING").query_async::<String>(&mut connection).await
        })
        .await?;
        Ok(())
    }

    /// Whether Redis answers now, and its version: over a fresh connection, for `verza doctor`.
    ///
    /// # Errors
    /// `Unavailable` `redis_away`.
    pub async fn version(&self) -> Result<String> {
        let asked = async {
            let mut connection = self.connect(CONNECT_TIMEOUT).await?;
            let mut info = ::redis::cmd("INFO");
            info.arg("server").query_async::<String>(&mut connection).await
        };
        let info = asked.await.map_err(|error| away().because(error))?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version.unwrap_or("unknown").trim().to_owned())
    }
}

fn away() -> Error {
    Error::unavailable("redis_away", "Redis does not answer. Try again shortly.").retry_after(1)
}

/// Whether what went wrong is the connection's and not the command's.
fn is_of_the_connection(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

/// Pauses that double, each with some chance in it, so that replicas do not come all at once.
pub(super) struct Backoff<'a> {
    world: &'a World,
    pause: Duration,
}

impl<'a> Backoff<'a> {
    pub(super) const fn new(world: &'a World) -> Self {
        Self { world, pause: BACKOFF_MIN }
    }

    pub(super) fn reset(&mut self) {
        self.pause = BACKOFF_MIN;
    }

    pub(super) fn next(&mut self) -> Duration {
        let [dice] = self.world.random::<1>();
        let pause = self.pause / 2 + self.pause * u32::from(dice) / 510;
        self.pause = (self.pause * 2).min(BACKOFF_MAX);
        pause
    }
}
