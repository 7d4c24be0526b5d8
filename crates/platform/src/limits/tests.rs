use std::net::IpAddr;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::fleet::RedisOptions;
use crate::testing::{ManualClock, PrivateRedis, eventually};

const CLASS: &str = "test";

fn at(micros: i64) -> Timestamp {
    ManualClock::START + Duration::from_micros(micros.unsigned_abs())
}

/// A bucket of tokens counted out in whole steps of time: slow, and plainly right.
struct Model {
    quota: Quota,
    /// In microseconds of filling.
    level: i64,
    last: i64,
}

impl Model {
    fn take(&mut self, now: i64) -> (bool, u32) {
        let (step, depth) = (self.quota.step_us(), self.quota.depth_us());
        self.level = (self.level + (now - self.last)).min(depth);
        self.last = now;
        let allowed = self.level >= step;
        if allowed {
            self.level -= step;
        }
        (allowed, u32::try_from(self.level / step).unwrap())
    }
}

proptest! {
    #[test]
    fn the_limiter_decides_as_a_bucket_of_tokens_does(
        burst in 1_u32..20,
        every_us in 1_u64..5_000,
        pauses in prop::collection::vec(0_i64..20_000, 1..200),
    ) {
        let quota = Quota { burst, every: Duration::from_micros(every_us) };
        let limiter = Limiter::new(Quotas::NONE);
        let mut model = Model { quota, level: quota.depth_us(), last: 0 };
        let mut now = 0;
        for pause in pauses {
            now += pause;
            let decision = limiter.take(CLASS, Subject::Text("x"), quota, at(now));
            let (allowed, remaining) = model.take(now);
            prop_assert_eq!((decision.allowed, decision.remaining), (allowed, remaining));
            prop_assert_eq!(decision.reset.as_micros() as i64, quota.depth_us() - model.level);
        }
    }

    #[test]
    fn whoever_waits_as_told_gets_in_and_a_moment_earlier_does_not(
        burst in 1_u32..20,
        every_us in 2_u64..5_000,
    ) {
        let quota = Quota { burst, every: Duration::from_micros(every_us) };
        let limiter = Limiter::new(Quotas::NONE);
        let take = |now| limiter.take(CLASS, Subject::Text("x"), quota, at(now));
        while take(0).allowed {}
        let wait = i64::try_from(take(0).retry_after.as_micros()).unwrap();
        prop_assert!(!take(wait - 1).allowed);
        prop_assert!(take(wait).allowed);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again(burst in 1_u32..20) {
        let quota = Quota::per_hour(10).burst(burst);
        let limiter = Limiter::new(Quotas::NONE);
        for _ in 0..100 {
            prop_assert!(limiter.take(CLASS, Subject::Text("x"), quota, at(0)).allowed);
            limiter.give_back(CLASS, Subject::Text("x"), quota);
        }
    }
}

#[test]
fn subjects_and_classes_do_not_share_a_bucket() {
    let limiter = Limiter::new(Quotas::NONE);
    let quota = Quota::per_minute(1);
    let ip: IpAddr = "192.0.2.1".parse().unwrap();
    let id = Uuid::from_u128(1);
    for class in ["a", "b"] {
        for subject in [
            Subject::address(ip),
            Subject::Id(id),
            Subject::Text("x"),
            Subject::Text("y"),
            Subject::pair("x", ip),
        ] {
            assert!(limiter.take(class, subject, quota, at(0)).allowed, "{class} {subject:?}");
            assert!(!limiter.take(class, subject, quota, at(0)).allowed);
        }
    }
}

#[test]
fn an_ipv6_network_counts_as_one_and_an_ipv4_address_as_itself() {
    let subject = |ip: &str| Subject::address(ip.parse().unwrap());
    assert_eq!(subject("2001:db8::1"), subject("2001:db8::ffff:1"));
    assert_ne!(subject("2001:db8:0:1::1"), subject("2001:db8:0:2::1"));
    assert_eq!(subject("::ffff:192.0.2.1"), subject("192.0.2.1"));
    assert_ne!(subject("192.0.2.1"), subject("192.0.2.2"));
}

#[test]
fn unused_buckets_are_forgotten() {
    let limiter = Limiter::new(Quotas::default());
    for n in 0..10_000_u32 {
        let subject = Subject::Id(Uuid::from_u128(n.into()));
        limiter.check(Limit::Login, subject, at(0)).unwrap();
    }
    assert_eq!(limiter.len(), 10_000);
    limiter.sweep(at(6_000_000));
    assert!(limiter.is_empty());
}

#[test]
fn a_flood_of_subjects_stays_within_the_bound_and_keeps_the_worst() {
    let limiter = Limiter::bounded(Quotas::NONE, 64 * 100);
    let (worst, quota) = (Subject::Text("worst"), Quota::per_minute(10));
    while limiter.take(CLASS, worst, quota, at(0)).allowed {}
    for n in 0..100_000_u32 {
        limiter.take(CLASS, Subject::Id(Uuid::from_u128(n.into())), quota, at(0));
        assert!(limiter.len() <= 64 * 100);
    }
    assert!(!limiter.take(CLASS, worst, quota, at(0)).allowed);
}

#[test]
fn a_clock_that_is_set_back_gives_nothing_away() {
    let limiter = Limiter::new(Quotas::NONE);
    let quota = Quota::per_minute(2);
    assert!(limiter.take(CLASS, Subject::Text("x"), quota, at(10_000_000)).allowed);
    assert!(!limiter.take(CLASS, Subject::Text("x"), quota, at(0)).allowed);
}

#[test]
fn a_refusal_names_the_seconds_to_wait() {
    let limiter = Limiter::new(Quotas::NONE);
    let quota = Quota::per_minute(60).burst(1);
    assert!(limiter.take(CLASS, Subject::Text("x"), quota, at(0)).check().is_ok());
    let refused = limiter.take(CLASS, Subject::Text("x"), quota, at(100_000)).check();
    assert_eq!(refused.unwrap_err().retry_after_seconds(), Some(1));
}

#[test]
fn free_routes_are_not_counted() {
    let limiter = Limiter::new(Quotas::default());
    for class in Limit::ALL {
        let decision = limiter.check(class, Subject::Text("x"), at(0));
        assert_eq!(decision.is_none(), class == Limit::Free);
    }
}

/// A limiter of one replica, with a connection of its own.
async fn replica(options: &RedisOptions, when_away: WhenAway) -> (Arc<Limiter>, Arc<Redis>) {
    let redis = Redis::new(options, crate::world::system()).unwrap();
    let keeper = Arc::clone(&redis);
    tokio::spawn(async move { keeper.keep(&CancellationToken::new()).await });
    eventually("Redis is up", async || redis.is_up()).await;
    let limiter = Limiter::new(Quotas::default());
    let limiter = limiter.shared(Arc::clone(&redis), Secret::new([5; 32]), when_away);
    (Arc::new(limiter), redis)
}

fn ask(subject: Subject<'_>, quota: Quota) -> Ask<'_> {
    Ask { class: CLASS, subject, quota }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_let_no_more_pass_than_one_would() {
    let options = crate::testing::redis();
    let (a, _a) = replica(&options, WhenAway::Refuse).await;
    let (b, _b) = replica(&options, WhenAway::Refuse).await;
    let quota = Quota::per_hour(10);
    let now = at(0);
    let tries = (0..200).map(|n| {
        let limiter = Arc::clone(if n % 2 == 0 { &a } else { &b });
        tokio::spawn(async move {
            limiter.charge(&[ask(Subject::Text("anne@example.org"), quota)], now).await.unwrap()
        })
    });
    let decisions = futures_util::future::join_all(tries).await;
    let allowed = decisions.into_iter().filter(|decision| decision.as_ref().unwrap().allowed);
    assert_eq!(allowed.count(), 10);
    let refused = a.charge(&[ask(Subject::Text("anne@example.org"), quota)], now).await.unwrap();
    let minutes = refused.retry_after.as_secs().div_ceil(60);
    assert_eq!((refused.limit, refused.remaining, minutes), (10, 0, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_refuses_keeps_the_others_whole() {
    let options = crate::testing::redis();
    let (shared, _redis) = replica(&options, WhenAway::Refuse).await;
    for limiter in [Arc::new(Limiter::new(Quotas::default())), shared] {
        let wide = ask(Subject::Text("wide"), Quota::per_hour(5));
        let narrow = ask(Subject::Text("narrow"), Quota::per_hour(2));
        let mut outcomes = Vec::new();
        for _ in 0..4 {
            outcomes.push(limiter.charge(&[wide, narrow], at(0)).await.unwrap().allowed);
        }
        assert_eq!(outcomes, [true, true, false, false]);
        let left = limiter.charge(&[wide], at(0)).await.unwrap();
        assert_eq!((left.allowed, left.remaining), (true, 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_is_given_back_everywhere() {
    let options = crate::testing::redis();
    let (a, _a) = replica(&options, WhenAway::Refuse).await;
    let (b, _b) = replica(&options, WhenAway::Refuse).await;
    let asks = [ask(Subject::Text("x"), Quota::per_hour(1))];
    assert!(a.charge(&asks, at(0)).await.unwrap().allowed);
    assert!(!b.charge(&asks, at(0)).await.unwrap().allowed);
    a.refund(&asks);
    a.settle_once(at(0)).await;
    assert!(b.charge(&asks, at(0)).await.unwrap().allowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_let_pass_is_settled_with_the_others() {
    let options = crate::testing::redis();
    let (a, _a) = replica(&options, WhenAway::Local).await;
    let (b, _b) = replica(&options, WhenAway::Local).await;
    let subject = Subject::address("192.0.2.1".parse().unwrap());
    let heavy = |limiter: &Limiter| limiter.check(Limit::Heavy, subject, at(0)).unwrap();
    // Each has a full bucket before it hears of the other.
    for limiter in [&a, &b] {
        assert_eq!((0..80).filter(|_| heavy(limiter).allowed).count(), 60);
    }
    a.settle_once(at(0)).await;
    b.settle_once(at(0)).await;
    // The second waits off the debt of both, the first learns of it with its next request.
    let wait = |limiter: &Limiter| heavy(limiter).retry_after.as_secs();
    assert!((1..=2).contains(&wait(&a)), "{}", wait(&a));
    assert!((58..=61).contains(&wait(&b)), "{}", wait(&b));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_counts_alone_or_refuses_as_configured() {
    let mut server = PrivateRedis::start().await;
    let (local, _a) = replica(&server.options(), WhenAway::Local).await;
    let (strict, _b) = replica(&server.options(), WhenAway::Refuse).await;
    let asks = [ask(Subject::Text("x"), Quota::per_hour(4))];
    for limiter in [&local, &strict] {
        assert!(limiter.charge(&asks, at(0)).await.unwrap().allowed);
    }
    server.kill();
    let refused = strict.charge(&asks, at(0)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (kernel::Kind::Unavailable, "redis_away"));
    // What was counted with Redis stays counted: one of two that it knew of.
    let mut passed = 0;
    while local.charge(&asks, at(0)).await.unwrap().allowed {
        passed += 1;
    }
    assert_eq!(passed, 3);
    server.start_again().await;
    eventually("both use it again", async || strict.charge(&asks, at(0)).await.is_ok()).await;
}

#[test]
fn names_in_redis_do_not_collide_and_tell_nothing() {
    let redis = Redis::new(&RedisOptions::at("redis://127.0.0.1/"), crate::world::system());
    let shared = Shared::new(redis.unwrap(), Secret::new([5; 32]));
    let ip: IpAddr = "192.0.2.1".parse().unwrap();
    let subjects = [
        Subject::address(ip),
        Subject::Id(Uuid::nil()),
        Subject::Text("a"),
        Subject::Text("ab"),
        Subject::Text(""),
        Subject::pair("a", ip),
        Subject::pair("ab", ip),
        Subject::Device(Uuid::nil(), Uuid::nil()),
        Subject::Everyone,
    ];
    let names: std::collections::HashSet<_> = ["x", "xa", "t"]
        .iter()
        .flat_map(|class| subjects.iter().map(|subject| shared.name(class, *subject)))
        .collect();
    assert_eq!(names.len(), 3 * subjects.len());
}
