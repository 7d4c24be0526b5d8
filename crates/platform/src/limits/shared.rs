//! Buckets in Redis, which all replicas share.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Script;
use kernel::{Result, Secret};

use super::{Quota, Subject};
use crate::crypto::{base64url, hmac_sha256};
use crate::fleet::Redis;

/// How often what was let pass is settled with Redis.
pub(super) const SETTLE_EVERY: Duration = Duration::from_millis(100);
/// Buckets settled by one script: it holds up Redis for well under a millisecond.
pub(super) const SETTLED_AT_ONCE: usize = 200;

/// A bucket's name in Redis: nobody reads an address of mail or network out of it.
pub(super) type Name = [u8; 16];

pub(super) struct Shared {
    redis: Arc<Redis>,
    key: Secret<[u8; 32]>,
    take: Script,
    settle: Script,
}

/// What was used of one bucket since it was last settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub(super) name: Name,
    pub(super) quota: Quota,
    /// Negative when more was given back than taken.
    pub(super) count: i64,
}

impl Shared {
    pub(super) fn new(redis: Arc<Redis>, key: Secret<[u8; 32]>) -> Self {
        Self {
            redis,
            key,
            take: Script::new(include_str!("gcra.lua")),
            settle: Script::new(include_str!("settle.lua")),
        }
    }

    /// The same in every replica, and to nobody else.
    pub(super) fn name(&self, class: &str, subject: Subject<'_>) -> Name {
        let mut text = class.as_bytes().to_vec();
        text.push(0);
        subject.write(&mut text);
        let mac = hmac_sha256(self.key.expose(), &text);
        let mut name = [0; 16];
        name.copy_from_slice(&mac[..16]);
        name
    }

    fn redis_key(&self, name: &Name) -> String {
        self.redis.key(&format!("limit:{}", base64url(name)))
    }

    /// Takes one of each or none. Answers which refused, and the microseconds until each is full.
    pub(super) async fn take(
        &self,
        buckets: &[(Name, Quota)],
    ) -> Result<(Option<usize>, Vec<i64>)> {
        let mut call = self.take.prepare_invoke();
        for (name, quota) in buckets {
            call.key(self.redis_key(name)).arg(quota.step_us()).arg(quota.depth_us());
        }
        let answer: Vec<i64> =
            self.redis.ask(async |mut connection| call.invoke_async(&mut connection).await).await?;
        let (refused, until_full) =
            answer.split_first().map_or((0, &[][..]), |(r, rest)| (*r, rest));
        let refused = usize::try_from(refused).ok().and_then(|number| number.checked_sub(1));
        Ok((refused, until_full.to_vec()))
    }

    /// Settles what was let pass; answers the microseconds until each is full.
    pub(super) async fn settle(&self, spent: &[Spent]) -> Result<Vec<i64>> {
        let mut call = self.settle.prepare_invoke();
        for Spent { name, quota, count } in spent {
            let used = quota.step_us().saturating_mul(*count);
            call.key(self.redis_key(name)).arg(used).arg(quota.depth_us());
        }
        self.redis.ask(async |mut connection| call.invoke_async(&mut connection).await).await
    }
}
