//! What is said to every process of the fleet and kept nowhere, by Redis' publish and subscribe.
//!
//! Who does not hear it at that moment never does: what is said here may be lost. Whoever says what
//! must not be lost uses the journal, or a [`Notice`](super::Notice). Each word bears a MAC, so
//! that whoever can write to Redis cannot say anything new.

use std::sync::Arc;
use std::time::Duration;

use ::redis::RedisResult;
use futures_util::StreamExt;
use kernel::{Secret, World};
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::redis::{Backoff, Redis};
use crate::crypto::{MasterKey, base64url, hmac_sha256};

/// Words that wait to be said; those beyond are lost.
const OUTBOX_MAX: usize = 1024;
/// How often a process says nothing, to hear itself.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked whether one can speak.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Who does not even hear itself for so long has lost its connection.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// One subject on which the processes of a fleet talk.
pub struct Air {
    redis: Arc<Redis>,
    world: World,
    channel: String,
    key: Secret<[u8; 32]>,
    /// What this process is called here.
    own: String,
    outbox: mpsc::Sender<String>,
    waiting: Mutex<Option<mpsc::Receiver<String>>>,
}

/// What one hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// From here on everything is heard; what was said before was not, or not all of it.
    Joined,
    /// Another process has said something. The name is its own as long as it runs.
    Said { by: String, text: String },
}

impl Air {
    /// Processes of one fleet have one master key: what is said under another is not heard.
    pub fn new(redis: &Arc<Redis>, subject: &str, master: &MasterKey, world: &World) -> Arc<Self> {
        let (outbox, waiting) = mpsc::channel(OUTBOX_MAX);
        Arc::new(Self {
            redis: Arc::clone(redis),
            world: world.clone(),
            channel: redis.key(&format!("air:{subject}")),
            key: master.derive(&format!("fleet/air/{subject}")),
            own: hex::encode(world.random::<8>()),
            outbox,
            waiting: Mutex::new(Some(waiting)),
        })
    }

    /// Says something to all others that hear. Never waits; what there is no room for is lost.
    pub fn say(&self, text: String) {
        if self.outbox.try_send(text).is_err() {
            metrics::counter!("air_lost_total").increment(1);
        }
    }

    /// Says and hears until told to stop; then says what still waits. The first to call has it.
    pub async fn run(&self, hear: mpsc::Sender<Heard>, stop: &CancellationToken) {
        let Some(waiting) = self.waiting.lock().take() else { return };
        tokio::join!(self.speak(waiting, stop), self.listen(hear, stop));
    }

    async fn speak(&self, mut waiting: mpsc::Receiver<String>, stop: &CancellationToken) {
        let mut beat = tokio::time::interval(BEAT_EVERY);
        loop {
            let text = tokio::select! {
                Some(text) = waiting.recv() => text,
                _ = beat.tick() => String::new(),
                () = stop.cancelled() => break,
            };
            self.publish(&text).await;
        }
        while let Ok(text) = waiting.try_recv() {
            self.publish(&text).await;
        }
    }

    async fn publish(&self, text: &str) {
        let word = self.word(text);
        let said = self.redis.ask(async |mut connection| {
            let mut publish = ::redis::cmd("PUBLISH");
            publish.arg(&self.channel).arg(word).query_async::<i64>(&mut connection).await
        });
        if said.await.is_err() && !text.is_empty() {
            metrics::counter!("air_lost_total").increment(1);
        }
    }

    async fn listen(&self, hear: mpsc::Sender<Heard>, stop: &CancellationToken) {
        let mut backoff = Backoff::new(&self.world);
        while !stop.is_cancelled() {
            let ended = tokio::select! {
                ended = self.listen_once(&hear, &mut backoff) => ended,
                () = stop.cancelled() => return,
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "what other processes say is not heard");
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Over one connection, as long as that holds.
    async fn listen_once(
        &self,
        hear: &mpsc::Sender<Heard>,
        backoff: &mut Backoff<'_>,
    ) -> RedisResult<()> {
        let mut words = self.redis.subscribe(&self.channel).await?.into_on_message();
        backoff.reset();
        // Who has joined speaks, which goes over the common connection: that may come back later.
        while !self.redis.is_up() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let mut heard = Heard::Joined;
        loop {
            if hear.send(heard).await.is_err() {
                return Ok(());
            }
            heard = loop {
                let next = tokio::time::timeout(SILENCE_MAX, words.next()).await;
                let Ok(Some(word)) = next else { return Ok(()) };
                let word: String = word.get_payload()?;
                if let Some(heard) = self.understand(&word) {
                    break heard;
                }
            };
        }
    }

    fn word(&self, text: &str) -> String {
        format!("{}.{}.{text}", self.own, self.mac(&self.own, text))
    }

    /// Nothing of one's own, and of what strangers say.
    fn understand(&self, word: &str) -> Option<Heard> {
        let (by, rest) = word.split_once('.')?;
        let (mac, text) = rest.split_once('.')?;
        let is_ours = bool::from(self.mac(by, text).as_bytes().ct_eq(mac.as_bytes()));
        let is_news = is_ours && by != self.own && !text.is_empty();
        is_news.then(|| Heard::Said { by: by.to_owned(), text: text.to_owned() })
    }

    fn mac(&self, by: &str, text: &str) -> String {
        base64url(hmac_sha256(self.key.expose(), format!("{by}.{text}").as_bytes()))
    }
}
