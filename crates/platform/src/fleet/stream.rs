//! Notices over a Redis stream.
//!
//! Each process appends what it tells, and reads on from the last entry that it has seen, also
//! after a while without Redis. Where the entries that came next are gone (trimmed, flushed,
//! another server) it forgets everything.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::streams::{StreamId, StreamRangeReply, StreamReadReply};
use ::redis::{RedisResult, Value};
use kernel::{Secret, World};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::crypto::{base64url, hmac_sha256};

use super::board::{Board, Notice, Told};
use super::redis::{Backoff, Redis};

/// Entries kept, roughly: some minutes of a busy platform.
const KEPT: u32 = 10_000;
/// How long one read waits for something new: its empty answer says that the stream lives.
const BLOCK_MS: u32 = 250;
/// An answer that takes this long does not come.
const ANSWER_MAX: Duration = Duration::from_millis(700);
const READ_AT_ONCE: usize = 512;
const PUBLISHED_AT_ONCE: usize = 64;

pub(super) struct Stream<'a> {
    redis: &'a Arc<Redis>,
    board: &'a Board,
    world: &'a World,
    /// The stream's name.
    name: String,
    key: &'a Secret<[u8; 32]>,
    /// Marks our own entries.
    sender: String,
}

/// The id of an entry: milliseconds, and a number within.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Place(u64, u64);

impl Place {
    pub(super) fn parse(id: &str) -> Option<Self> {
        let (millis, number) = id.split_once('-')?;
        Some(Self(millis.parse().ok()?, number.parse().ok()?))
    }

    fn text(self) -> String {
        format!("{}-{}", self.0, self.1)
    }
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        redis: &'a Arc<Redis>,
        board: &'a Board,
        world: &'a World,
        key: &'a Secret<[u8; 32]>,
    ) -> Self {
        let sender = hex::encode(world.random::<8>());
        Self { redis, board, world, name: redis.key("notices"), key, sender }
    }

    /// Appends what this process tells, until told to stop. What cannot be appended is dropped:
    /// the counters tell of it.
    pub(super) async fn publish(&self, stop: &CancellationToken) {
        let Some(mut outbox) = self.board.outbox() else { return };
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                _ = outbox.recv_many(&mut batch, PUBLISHED_AT_ONCE) => {}
                () = stop.cancelled() => {
                    // What the last requests have told, as far as it goes.
                    while let Ok(told) = outbox.try_recv() {
                        batch.push(told);
                    }
                    self.append(&batch).await;
                    return;
                }
            }
            self.append(&batch).await;
            batch.clear();
        }
    }

    async fn append(&self, batch: &[Told]) {
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        let mut pipeline = ::redis::pipe();
        for told in batch {
            let of = write(&told.notices);
            let mac = mac(self.key, told.shard, told.number, &of);
            pipeline.cmd("XADD").arg(&self.name).arg("MAXLEN").arg("~").arg(KEPT).arg("*");
            pipeline.arg("by").arg(&self.sender).arg("shard").arg(told.shard);
            pipeline.arg("number").arg(told.number).arg("of").arg(of).arg("mac").arg(mac).ignore();
        }
        let appended = self
            .redis
            .ask(async |mut connection| pipeline.query_async::<()>(&mut connection).await);
        if appended.await.is_ok() {
            metrics::counter!("notices_published_total").increment(count);
        } else {
            metrics::counter!("notices_unpublished_total").increment(count);
        }
    }

    /// Reads what others tell, until told to stop.
    pub(super) async fn follow(&self, stop: &CancellationToken) {
        let mut seen = None;
        let mut backoff = Backoff::new(self.world);
        while !stop.is_cancelled() {
            let followed = tokio::select! {
                followed = self.follow_once(&mut seen, &mut backoff) => followed,
                () = stop.cancelled() => Ok(()),
            };
            self.board.stream_broke();
            if let Err(error) = followed {
                tracing::debug!(%error, "the stream of notices broke");
                tokio::select! {
                    () = tokio::time::sleep(backoff.next()) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Follows over one connection, as long as that holds.
    async fn follow_once(
        &self,
        seen: &mut Option<Place>,
        backoff: &mut Backoff<'_>,
    ) -> RedisResult<()> {
        let mut connection = self.redis.connect(ANSWER_MAX).await?;
        *seen = Some(self.resume(&mut connection, *seen).await?);
        backoff.reset();
        loop {
            let mut read = ::redis::cmd("XREAD");
            read.arg("COUNT").arg(READ_AT_ONCE).arg("BLOCK").arg(BLOCK_MS);
            read.arg("STREAMS").arg(&self.name).arg(seen.unwrap_or_default().text());
            let reply: Option<StreamReadReply> = read.query_async(&mut connection).await?;
            let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
            let mut read = 0;
            for entry in entries {
                self.hear(&entry);
                *seen = Place::parse(&entry.id).or(*seen);
                read += 1;
            }
            // A full answer has more behind it: what that says is not known yet.
            if read < READ_AT_ONCE {
                self.board.stream_answered();
            }
        }
    }

    /// Where to read on. Without a place yet that is the end: what is remembered was read after
    /// the process began, and the counters tell of what happened in between.
    async fn resume(
        &self,
        connection: &mut MultiplexedConnection,
        seen: Option<Place>,
    ) -> RedisResult<Place> {
        let mut edge = async |command: &str, from: &str, to: &str| {
            let mut command = ::redis::cmd(command);
            command.arg(&self.name).arg(from).arg(to).arg("COUNT").arg(1);
            let reply: StreamRangeReply = command.query_async(connection).await?;
            RedisResult::Ok(reply.ids.first().and_then(|entry| Place::parse(&entry.id)))
        };
        let last = edge("XREVRANGE", "+", "-").await?;
        let Some(seen) = seen else { return Ok(last.unwrap_or_default()) };
        let first = edge("XRANGE", "-", "+").await?;
        let is_whole = match (first, last) {
            (Some(first), Some(last)) => first <= seen && seen <= last,
            // Nothing there, and there never was.
            _ => seen == Place::default(),
        };
        if is_whole {
            return Ok(seen);
        }
        tracing::info!("entries of the stream of notices are gone: all that is remembered goes");
        metrics::counter!("notices_stream_gaps_total").increment(1);
        self.board.forget_all();
        Ok(last.unwrap_or_default())
    }

    fn hear(&self, entry: &StreamId) {
        let field = |name: &str| entry.map.get(name).and_then(text);
        if field("by").as_deref() == Some(&self.sender) {
            return;
        }
        let told = (|| {
            let (shard, number) = (field("shard")?.parse().ok()?, field("number")?.parse().ok()?);
            let of = field("of")?;
            let ours = mac(self.key, shard, number, &of);
            let is_ours = bool::from(ours.as_bytes().ct_eq(field("mac")?.as_bytes()));
            is_ours.then_some(Told { shard, number, notices: read(&of)? })
        })();
        match told {
            Some(told) => self.board.told_elsewhere(&told),
            // A stranger's, or a newer executable's. If it is of us, the counters tell of it.
            None => tracing::debug!(id = entry.id, "an entry of the stream is not understood"),
        }
    }
}

/// Numbers only grow, so an entry that is sent again says nothing.
pub(super) fn mac(key: &Secret<[u8; 32]>, shard: usize, number: i64, of: &str) -> String {
    base64url(hmac_sha256(key.expose(), format!("{shard} {number} {of}").as_bytes()))
}

fn text(value: &Value) -> Option<String> {
    ::redis::from_redis_value_ref(value).ok()
}

/// `about` or `about/part`, one after the other with spaces between.
pub(super) fn write(notices: &[Notice]) -> String {
    let one = |notice: &Notice| match notice.part {
        Some(part) => format!("{}/{}", notice.about.simple(), part.simple()),
        None => notice.about.simple().to_string(),
    };
    notices.iter().map(one).collect::<Vec<_>>().join(" ")
}

pub(super) fn read(text: &str) -> Option<Vec<Notice>> {
    let one = |text: &str| {
        let (about, part) = match text.split_once('/') {
            Some((about, part)) => (about, Some(Uuid::parse_str(part).ok()?)),
            None => (text, None),
        };
        Some(Notice { about: Uuid::parse_str(about).ok()?, part })
    };
    text.split_whitespace().map(one).collect()
}
