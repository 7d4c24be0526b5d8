//! Sessions among replicas: several user services over one PostgreSQL and one Redis, in real time.
//!
//! What is promised is a bound in time, so these tests measure it: from a logout's answer to the
//! last success anywhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::{Caller, Role, Timestamp};
use platform::db::{Db, PostgresOptions};
use platform::fleet::{Fleet, Liveness, Redis, RedisOptions};
use platform::testing::{PrivateRedis, TestDb, eventually};
use rpc::users::Users;
use tokio_util::sync::CancellationToken;

use super::SignedIn;
use crate::Identity;
use crate::testing::{House, TABLES, from, house_of, master, options_over};

/// From the answer to a logout to the last success anywhere.
const PROMISED: Duration = Duration::from_millis(1_000);

struct Replica {
    identity: Arc<Identity>,
    db: Db,
    stop: CancellationToken,
}

impl Replica {
    async fn start(t: &TestDb, redis: Option<&RedisOptions>) -> Self {
        let world = platform::world::system();
        let postgres = PostgresOptions { connections: 8, ..t.postgres_options().unwrap() };
        let db = Db::connect_postgres(&postgres, world.clone()).unwrap();
        let redis = redis.map(|options| Redis::new(options, world).unwrap());
        let awaited = if redis.is_some() { Liveness::Live } else { Liveness::Behind };
        let fleet = Fleet::new(db.clone(), redis, &master());
        fleet.read_counters_once().await.unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move { fleet.run(stopped).await });
        let identity = Identity::new(options_over(db.clone())).unwrap();
        let replica = Self { identity, db, stop };
        replica.becomes(awaited).await;
        replica
    }

    async fn becomes(&self, liveness: Liveness) {
        let board = self.db.board();
        eventually(liveness.as_str(), async || board.liveness() == liveness).await;
    }

    fn now(&self) -> Timestamp {
        self.db.world().now()
    }

    /// Makes it remember a session.
    async fn knows(&self, token: &str) {
        self.identity.authenticate(token).await.unwrap();
    }

    /// Whether memory alone lets this in.
    fn remembers(&self, token: &str) -> bool {
        self.identity.cached(token, self.now()).is_some()
    }

    async fn serves(&self, token: &str) -> bool {
        self.identity.authenticate(token).await.is_ok()
    }

    async fn caller(&self, token: &str) -> Caller {
        let principal = self.identity.authenticate(token).await.unwrap();
        Caller { principal: Some(principal), ..from("192.0.2.1") }
    }

    async fn logs_out(&self, token: &str) {
        let caller = self.caller(token).await;
        self.identity.sessions.logout(&caller).await.unwrap();
        assert!(!self.remembers(token) && !self.serves(token).await, "here it is over at once");
    }

    /// Asks on and on from an answered logout until it is refused; answers when that was.
    async fn refuses_since(&self, token: &str, ended: Instant) -> Duration {
        loop {
            let asked = Instant::now();
            if !self.serves(token).await {
                return asked.duration_since(ended);
            }
            let late = asked.duration_since(ended);
            assert!(late < PROMISED, "served {late:?} after the logout");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// People of one platform in real time; replicas share their store.
async fn town(t: &TestDb) -> House<'_> {
    let postgres = t.postgres_options().unwrap();
    let db = Db::connect_postgres(&postgres, platform::world::system()).unwrap();
    house_of(t, options_over(db))
}

fn cookie(signed_in: &SignedIn) -> &str {
    signed_in.cookie.as_ref().unwrap().0.expose()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_here_is_one_there_with_redis_without_it_and_while_it_is_away() {
    let t = TestDb::postgres(TABLES).await;
    let people = town(&t).await;
    people.member("anne@example.org", Role::User).await;
    let mut redis = PrivateRedis::start().await;
    let here = Replica::start(&t, Some(&redis.options())).await;
    let there = Replica::start(&t, Some(&redis.options())).await;
    let alone = Replica::start(&t, None).await;
    let ends = async |what: &str| {
        let anne = people.login("anne@example.org").await;
        let presented = [cookie(&anne), anne.tokens.access.expose()];
        for token in presented {
            there.knows(token).await;
            alone.knows(token).await;
        }
        here.logs_out(presented[0]).await;
        let ended = Instant::now();
        for token in presented {
            let late = there.refuses_since(token, ended).await;
            println!("{what}: with Redis {late:?}");
            let late = alone.refuses_since(token, ended).await;
            println!("{what}: without {late:?}");
        }
    };
    ends("redis up").await;
    redis.kill();
    ends("redis just killed").await;
    there.becomes(Liveness::Behind).await;
    ends("redis down").await;
    redis.start_again().await;
    ends("redis just back").await;
    there.becomes(Liveness::Live).await;
    here.becomes(Liveness::Live).await;
    ends("redis up again").await;
    redis.command(&["XTRIM", "verza:notices", "MAXLEN", "0"]).await;
    ends("trimmed").await;
    redis.command(&["FLUSHALL"]).await;
    ends("flushed").await;
    drop((here, there, alone));
    t.finish().await;
}

/// A thousand sessions end, each on some replica, while the stream is trimmed, flushed and cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_replica_serves_any_of_a_thousand_ended_sessions_a_second_later() {
    const SESSIONS: usize = 1_000;
    let t = TestDb::postgres(TABLES).await;
    let people = town(&t).await;
    for user in 0..50 {
        people.member(&format!("u{user}@example.org"), Role::User).await;
    }
    let mut redis = PrivateRedis::start().await;
    let mut replicas = Vec::new();
    for has_redis in [true, true, false] {
        let options = redis.options();
        replicas.push(Replica::start(&t, has_redis.then_some(&options)).await);
    }
    let dice = |turn: usize| platform::crypto::sha256(turn.to_be_bytes())[0] as usize;
    let mut worst = [Duration::ZERO; 3];
    for round in 0..SESSIONS / 50 {
        let mut tokens = Vec::new();
        for user in 0..50 {
            let signed_in = people.login(&format!("u{user}@example.org")).await;
            tokens.push(cookie(&signed_in).to_owned());
        }
        for replica in &replicas {
            let known = tokens.iter().map(|token| replica.knows(token));
            futures_util::future::join_all(known).await;
        }
        match round {
            4 => redis.kill(),
            8 => redis.start_again().await,
            12 => drop(redis.command(&["FLUSHALL"]).await),
            16 => drop(redis.command(&["XTRIM", "verza:notices", "MAXLEN", "1"]).await),
            _ => {}
        }
        let ends = tokens.iter().enumerate().map(async |(n, token)| {
            let by = dice(round * 50 + n) % replicas.len();
            replicas[by].logs_out(token).await;
            let ended = Instant::now();
            let mut late = [Duration::ZERO; 3];
            for (replica, late) in replicas.iter().zip(&mut late) {
                *late = replica.refuses_since(token, ended).await;
            }
            late
        });
        for late in futures_util::future::join_all(ends).await {
            for (worst, late) in worst.iter_mut().zip(late) {
                *worst = (*worst).max(late);
            }
        }
    }
    println!("the latest refusals: {worst:?}");
    drop(replicas);
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_remembered_is_not_asked_for_again() {
    let t = TestDb::postgres(TABLES).await;
    let people = town(&t).await;
    let anne = people.signed_in("anne@example.org", Role::User).await;
    for redis in [None, Some(platform::testing::redis())] {
        let there = Replica::start(&t, redis.as_ref()).await;
        there.knows(cookie(&anne)).await;
        // Well beyond the second after which it would have had to be confirmed.
        let until = Instant::now() + PROMISED * 2;
        while Instant::now() < until {
            assert!(there.remembers(cookie(&anne)));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_account_is_out_everywhere() {
    use crate::account::Command;
    let t = TestDb::postgres(TABLES).await;
    let people = town(&t).await;
    let redis = platform::testing::redis();
    let anne = people.signed_in("anne@example.org", Role::User).await;
    let admin = people.signed_in("admin@example.org", Role::Admin).await;
    let here = Replica::start(&t, Some(&redis)).await;
    let there = Replica::start(&t, Some(&redis)).await;
    there.knows(cookie(&anne)).await;
    let caller = here.caller(cookie(&admin)).await;
    let accounts = &here.identity.accounts;
    accounts.command(&caller, anne.account.id, Command::Suspend).await.unwrap();
    let late = there.refuses_since(cookie(&anne), Instant::now()).await;
    println!("suspended: {late:?}");
    drop((here, there));
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_where_it_is_over_already_ends_what_is_remembered_there() {
    let t = TestDb::postgres(TABLES).await;
    let people = town(&t).await;
    let anne = people.signed_in("anne@example.org", Role::User).await;
    let token = cookie(&anne);
    let (here, there) = (Replica::start(&t, None).await, Replica::start(&t, None).await);
    there.stop.cancel();
    let caller = there.caller(token).await;
    here.logs_out(token).await;
    there.identity.sessions.logout(&caller).await.unwrap();
    assert!(!there.remembers(token), "the answer to a logout is a promise");
    drop((here, there));
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirming_asks_the_store_whatever_is_remembered() {
    let t = TestDb::postgres(TABLES).await;
    let people = town(&t).await;
    let anne = people.signed_in("anne@example.org", Role::User).await;
    let there = Replica::start(&t, None).await;
    for token in [cookie(&anne), anne.tokens.access.expose()] {
        there.knows(token).await;
        there.identity.confirm(token).await.unwrap();
    }
    // Ended behind everybody's back, as by a process that tells nobody.
    people.identity.sessions.confirm(cookie(&anne)).await.unwrap();
    let sql = "UPDATE sessions SET ended_at = 1";
    t.db.run("test.end", |tx| async move { Ok(tx.execute(sql, &[]).await?) }).await.unwrap();
    for token in [cookie(&anne), anne.tokens.access.expose()] {
        assert!(there.remembers(token));
        let refused = there.identity.confirm(token).await.unwrap_err();
        assert_eq!(refused.code(), "session_ended");
    }
    drop(there);
    t.finish().await;
}
