//! Two platforms over one PostgreSQL and one Redis, as a load balancer would have them.
//!
//! The bound of a second is real time, measured from the answer that promised it.

use std::time::{Duration, Instant};

use platform::fleet::RedisOptions;
use platform::testing::{PrivateRedis, TestDb};
use reqwest::Method;
use serde_json::json;
use verza::config::{Config, WhenRedisIsAway};
use verza::wiring::{self, MIGRATIONS, Running};

use crate::town::{Person, Town, until};

const PROMISED: Duration = Duration::from_secs(1);

/// One of several platforms over the same store.
struct Replica {
    running: Running,
    town: Town,
}

impl Replica {
    async fn start(
        test: &TestDb,
        name: &str,
        redis: &RedisOptions,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::default();
        config.server.listen = ([127, 0, 0, 1], 0).into();
        config.server.ops_listen = ([127, 0, 0, 1], 0).into();
        config.server.rate_limits = false;
        config.server.public_url = Some("http://localhost:8080".into());
        config.accounts.admin_second_factor = false;
        config.storage.data_dir = test.directory().join(name);
        config.accounts.argon2_memory_kib = 64;
        config.accounts.argon2_passes = 1;
        config.database.url = Some(test.postgres_url().unwrap().into());
        config.secrets.master_key = Some("0123456789abcdef".repeat(4).into());
        config.redis.url = Some(redis.url.clone());
        config.redis.prefix.clone_from(&redis.prefix);
        configure(&mut config);
        let running = wiring::start(config).await.expect("the platform starts");
        let town = Town::new(running.local_url(), format!("http://{}", running.ops_address));
        Self { running, town }
    }

    /// What `/readyz` says of the fleet, and of Redis.
    async fn state(&self) -> (String, String) {
        let ready = self.town.call(Method::GET, "/readyz", None).done().await;
        let word = |name: &str| ready["details"][name].as_str().unwrap_or_default().to_owned();
        (word("revocations"), word("redis"))
    }

    async fn becomes(&self, revocations: &str) {
        until(revocations, async || (self.state().await.0 == revocations).then_some(())).await;
    }

    async fn status(&self, path: &str, who: &Person) -> u16 {
        self.town.get(path, who).answer().await.status
    }

    /// Asks on and on until the session is refused, which must be within a second of its end.
    async fn refuses(&self, who: &Person, ended: Instant) {
        loop {
            let asked = Instant::now();
            if self.status("/v1/me", who).await == 401 {
                return;
            }
            let late = asked.duration_since(ended);
            assert!(late < PROMISED, "served {late:?} after the logout");
        }
    }
}

async fn finish(test: TestDb, replicas: impl IntoIterator<Item = Replica>) {
    for replica in replicas {
        replica.running.finish().await;
    }
    test.finish().await;
}

async fn log_out(replica: &Replica, who: &Person) -> Instant {
    replica.town.post("/v1/auth/logout", who).done().await;
    let ended = Instant::now();
    assert_eq!(replica.status("/v1/me", who).await, 401, "here it is over at once");
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_on_one_is_one_on_all_whatever_becomes_of_redis() {
    let test = TestDb::postgres(MIGRATIONS).await;
    let mut redis = PrivateRedis::start().await;
    let a = Replica::start(&test, "a", &redis.options(), |_| {}).await;
    let b = Replica::start(&test, "b", &redis.options(), |_| {}).await;
    // Cut off from Redis from the first: what it ends it cannot tell the stream.
    let nowhere = RedisOptions::at("redis://127.0.0.1:1/");
    let cut = Replica::start(&test, "cut", &nowhere, |_| {}).await;
    b.becomes("live").await;
    assert_eq!(cut.state().await, ("behind".to_owned(), "down".to_owned()));
    a.town.join("Anne", "user").await;
    let ends_on = async |here: &Replica| {
        let anne = here.town.login("anne@example.com").await;
        assert_eq!(b.status("/v1/me", &anne).await, 200);
        let ended = log_out(here, &anne).await;
        b.refuses(&anne, ended).await;
    };
    ends_on(&a).await;
    ends_on(&cut).await;
    redis.kill();
    ends_on(&a).await;
    b.becomes("behind").await;
    ends_on(&a).await;
    redis.start_again().await;
    b.becomes("live").await;
    ends_on(&a).await;
    finish(test, [a, b, cut]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_and_admins_ask_the_store_while_the_stream_is_down_and_fail_closed() {
    let test = TestDb::postgres(MIGRATIONS).await;
    let mut redis = PrivateRedis::start().await;
    let a = Replica::start(&test, "a", &redis.options(), |_| {}).await;
    a.becomes("live").await;
    let link = a.running.platform.first_setup_link().await.unwrap().unwrap();
    let admin = a.town.set_up(&link).await;
    assert_eq!(a.status("/v1/admin/users", &admin).await, 200);
    assert_eq!(a.status("/v1/me", &admin).await, 200);
    // Ended as no process would: nobody is told, so memory knows nothing of it.
    let sql = "UPDATE sessions SET ended_at = 1";
    test.db.run("test.end", |tx| async move { Ok(tx.execute(sql, &[]).await?) }).await.unwrap();
    assert_eq!(a.status("/v1/admin/users", &admin).await, 200, "the stream lives");
    redis.kill();
    a.becomes("behind").await;
    assert_eq!(a.status("/v1/me", &admin).await, 200);
    assert_eq!(a.status("/v1/admin/users", &admin).await, 401);
    let transfer = || {
        let body = json!({ "to": admin.id, "amount": 1 });
        a.town.post("/v1/user/wallet/transfers", &admin).key("k").json(&body)
    };
    assert_eq!(transfer().answer().await.status, 401);
    // Nobody can say now: then nobody moves money.
    a.running.platform.db.close().await;
    transfer().answer().await.problem(503, "storage_unavailable");
    let metrics = format!("http://{}/metrics", a.running.ops_address);
    until("the metric", async || {
        let shown = a.town.call(Method::GET, &metrics, None).answer().await.text();
        shown.contains("redis_up 0").then_some(())
    })
    .await;
    finish(test, [a]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_let_as_many_logins_pass_as_one() {
    let test = TestDb::postgres(MIGRATIONS).await;
    let redis = platform::testing::redis();
    let limited = |config: &mut Config| config.server.rate_limits = true;
    let a = Replica::start(&test, "a", &redis, limited).await;
    let b = Replica::start(&test, "b", &redis, limited).await;
    a.becomes("live").await;
    b.becomes("live").await;
    let guess = async |replica: &Replica, n: usize| {
        let body = json!({ "email": format!("x{n}@example.com"), "password": "a wrong guess" });
        let call = replica.town.call(Method::POST, "/v1/auth/login", None);
        call.json(&body).answer().await
    };
    let mut looked_at = 0;
    let begun = Instant::now();
    for n in 0..30 {
        let answer = guess(if n % 2 == 0 { &a } else { &b }, n).await;
        match answer.status {
            401 => looked_at += 1,
            429 => {
                answer.problem(429, "rate_limited");
                let wait: u64 = answer.header("retry-after").parse().unwrap();
                assert!((1..=6).contains(&wait), "{wait}");
                assert!(answer.header("ratelimit").starts_with("\"login\";r=0;t="));
            }
            status => panic!("{status}"),
        }
        assert_eq!(answer.header("ratelimit-policy"), "\"login\";q=10;w=60");
    }
    // One comes back every six seconds.
    let back = begun.elapsed().as_secs() / 6 + 1;
    assert!((10..=10 + back).contains(&looked_at), "{looked_at} in {:?}", begun.elapsed());
    finish(test, [a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_signing_in_goes_on_or_is_refused_as_configured() {
    let test = TestDb::postgres(MIGRATIONS).await;
    let nowhere = RedisOptions::at("redis://127.0.0.1:1/");
    for (name, policy, expected) in
        [("local", WhenRedisIsAway::Local, 401), ("refuse", WhenRedisIsAway::Refuse, 503)]
    {
        let replica = Replica::start(&test, name, &nowhere, |config| {
            config.server.rate_limits = true;
            config.limits.when_redis_is_away = policy;
        })
        .await;
        let body = json!({ "email": "x@example.com", "password": "a wrong guess" });
        let call = replica.town.call(Method::POST, "/v1/auth/login", None).json(&body);
        let answer = call.answer().await;
        assert_eq!(answer.status, expected, "{}", answer.text());
        assert_eq!(replica.town.call(Method::GET, "/readyz", None).answer().await.status, 200);
        replica.running.finish().await;
    }
    test.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_from_everywhere_together_are_bounded() {
    let stage = crate::world::Stage::with(|config| {
        config.server.rate_limits = true;
        config.server.trusted_proxies = vec!["127.0.0.0/8".into()];
        config.limits.registrations_per_hour = 20;
    })
    .await;
    let town = stage.town();
    let mut statuses = Vec::new();
    for n in 0..8 {
        let body = json!({
            "name": "Bot", "email": format!("bot{n}@example.com"),
            "password": crate::town::PASSWORD, "role": "user",
        });
        let call = town.call(Method::POST, "/v1/auth/register", None).json(&body);
        let answer = call.header("x-forwarded-for", &format!("198.51.100.{n}")).answer().await;
        statuses.push(answer.status);
    }
    let refused = statuses.iter().filter(|status| **status == 429);
    assert_eq!(refused.count(), 3, "{statuses:?}");
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_leaves_a_cookie_that_makes_the_device_known() {
    let stage = crate::world::Stage::with(|config| config.server.rate_limits = true).await;
    let town = stage.town();
    town.join("Anne", "user").await;
    let body = |password: &str| json!({ "email": "anne@example.com", "password": password });
    let login = || town.call(Method::POST, "/v1/auth/login", None);
    let answer = login().json(&body(crate::town::PASSWORD)).answer().await;
    let cookie = answer.header("set-cookie").to_owned();
    for part in ["verza_device=", "; Path=/;", "HttpOnly", "SameSite=Lax", "Max-Age=31536000"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let device = cookie.split(';').next().unwrap();
    let brought = login().header("cookie", device).json(&body(crate::town::PASSWORD));
    assert_eq!(brought.answer().await.status, 200);
    stage.finish().await;
}
