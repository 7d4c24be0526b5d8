use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kernel::Timestamp;
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::board::Told;
use super::{
    Air, Board, Fleet, Follower, Heard, Liveness, Notice, Redis, RedisOptions, SHARDS, stream,
};
use crate::crypto::MasterKey;
use crate::db::Db;
use crate::testing::{ManualClock, PrivateRedis, TestDb, eventually};

const TABLES: &[crate::db::Migrations] = &[crate::MIGRATIONS];

/// Remembers ids until it is told to forget them.
#[derive(Default)]
struct Memory {
    ids: Mutex<HashSet<Uuid>>,
    /// What was said, in short.
    told: Mutex<Vec<String>>,
}

impl Follower for Memory {
    fn forget(&self, notice: &Notice) {
        self.ids.lock().remove(&notice.about);
        self.told.lock().push(format!("{}", notice.about));
    }

    fn forget_shard(&self, shard: usize) {
        self.ids.lock().retain(|id| Notice::shard_of(*id) != shard);
        self.told.lock().push(format!("shard {shard}"));
    }
}

impl Memory {
    fn on(db: &Db) -> Arc<Self> {
        let memory = Arc::new(Self::default());
        db.board().follow(&memory);
        memory
    }

    fn remembers(&self, id: Uuid) -> bool {
        self.ids.lock().contains(&id)
    }

    fn remember(&self, ids: impl IntoIterator<Item = Uuid>) {
        self.ids.lock().extend(ids);
        self.told.lock().clear();
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().clone()
    }
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn fleet(db: &Db, redis: Option<Arc<Redis>>) -> Fleet {
    Fleet::new(db.clone(), redis, &MasterKey::new([1; 32]))
}

async fn tell(db: &Db, about: &[Uuid]) {
    db.run("test.tell", |tx| async move {
        about.iter().for_each(|id| tx.tell(Notice::all_of(*id)));
        Ok(())
    })
    .await
    .unwrap();
}

/// A replica that hears and tells until this is dropped.
struct Replica {
    db: Db,
    memory: Arc<Memory>,
    stop: CancellationToken,
}

impl Replica {
    async fn start(db: Db, redis: Option<&RedisOptions>) -> Self {
        let redis = redis.map(|options| Redis::new(options, crate::world::system()).unwrap());
        let has_stream = redis.is_some();
        let fleet = fleet(&db, redis);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move { fleet.run(stopped).await });
        let replica = Self { memory: Memory::on(&db), db, stop };
        if has_stream {
            replica.becomes(Liveness::Live).await;
        }
        replica
    }

    async fn becomes(&self, liveness: Liveness) {
        let board = self.db.board();
        eventually(liveness.as_str(), async || board.liveness() == liveness).await;
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

crate::on_both_engines! { TABLES;
    async fn what_is_told_is_forgotten_before_the_answer_and_not_without_a_commit(t: &TestDb) {
        let memory = Memory::on(&t.db);
        memory.remember([id(1), id(2)]);
        let undone = t.db.run("test.fail", |tx| async move {
            tx.tell(Notice::all_of(id(1)));
            Err::<(), _>(kernel::Error::not_found("thing"))
        });
        undone.await.unwrap_err();
        assert!(memory.remembers(id(1)));
        tell(&t.db, &[id(1)]).await;
        assert!(!memory.remembers(id(1)) && memory.remembers(id(2)));
        assert_eq!(memory.told(), [id(1).to_string()]);
    }

    async fn another_process_forgets_the_shard_that_was_counted(t: &TestDb) {
        if !t.db.is_shared() {
            assert_eq!(t.db.board().liveness(), Liveness::Alone);
            return;
        }
        let there = t.replica();
        let fleet = fleet(&there, None);
        let memory = Memory::on(&there);
        // The same shard as the first, and another.
        let ids = [id(1), id(1 + SHARDS as u128), id(2)];
        fleet.read_counters_once().await.unwrap();
        memory.remember(ids);
        fleet.read_counters_once().await.unwrap();
        assert_eq!(memory.told(), [""; 0]);
        tell(&t.db, &[ids[0]]).await;
        tell(&t.db, &[ids[0]]).await;
        fleet.read_counters_once().await.unwrap();
        assert_eq!(memory.told(), ["shard 1"]);
        assert!(memory.remembers(id(2)));
        fleet.read_counters_once().await.unwrap();
        assert_eq!(memory.told(), ["shard 1"]);
    }

    async fn many_tell_at_once_and_none_is_lost(t: &TestDb) {
        let there = t.replica();
        let fleet = fleet(&there, None);
        let memory = Memory::on(&there);
        let tells = (0..200_u128).map(|n| {
            let db = t.db.clone();
            // Two shards each, in either order.
            tokio::spawn(async move { tell(&db, &[id(n % 7), id((n + 3) % 7)]).await })
        });
        memory.remember((0..9).map(id));
        for told in futures_util::future::join_all(tells).await {
            told.unwrap();
        }
        fleet.read_counters_once().await.unwrap();
        assert!(!t.db.is_shared() || (0..7).all(|n| !memory.remembers(id(n))));
        assert!(memory.remembers(id(8)));
    }

    async fn a_store_that_was_set_back_makes_everybody_forget(t: &TestDb) {
        if !t.db.is_shared() {
            return;
        }
        let fleet = fleet(&t.db, None);
        let memory = Memory::on(&t.db);
        for _ in 0..3 {
            tell(&t.db, &[id(1)]).await;
        }
        fleet.read_counters_once().await.unwrap();
        memory.remember([id(1), id(2)]);
        t.db.run("test.restore", |tx| async move {
            tx.execute("UPDATE fleet_counters SET number = 1", &[]).await?;
            Ok(())
        }).await.unwrap();
        fleet.read_counters_once().await.unwrap();
        assert_eq!(memory.told(), ["shard 1"]);
        tell(&t.db.clone(), &[id(2)]).await;
        fleet.read_counters_once().await.unwrap();
        assert_eq!(memory.told(), ["shard 1", &id(2).to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_brings_names_and_the_counters_agree() {
    let t = TestDb::postgres(TABLES).await;
    let options = crate::testing::redis();
    let here = Replica::start(t.replica(), Some(&options)).await;
    // Hears the stream alone, and reads the counters when it is told to.
    let db = t.replica();
    let memory = Memory::on(&db);
    let (stop, follower) = (CancellationToken::new(), db.clone());
    let stopped = stop.clone();
    let redis = Redis::new(&options, crate::world::system()).unwrap();
    tokio::spawn(async move {
        let key = MasterKey::new([1; 32]).derive("fleet/notices");
        let stream = stream::Stream::new(&redis, follower.board(), follower.world(), &key);
        stream.follow(&stopped).await;
    });
    eventually("it lives", async || db.board().liveness() == Liveness::Live).await;
    let neighbour = id(1 + SHARDS as u128);
    memory.remember([id(1), neighbour]);
    tell(&here.db, &[id(1)]).await;
    eventually("it is told", async || !memory.remembers(id(1))).await;
    fleet(&db, None).read_counters_once().await.unwrap();
    assert_eq!(memory.told(), [id(1).to_string()]);
    // Of the sender's own entries it hears nothing.
    assert_eq!(here.memory.told(), [id(1).to_string()]);
    stop.cancel();
    drop(here);
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_reached_the_stream_is_told_by_the_counters() {
    let t = TestDb::postgres(TABLES).await;
    let options = crate::testing::redis();
    let there = Replica::start(t.replica(), Some(&options)).await;
    there.memory.remember([id(1), id(2)]);
    // This process has no stream: as if it had died after the commit.
    tell(&t.db, &[id(1)]).await;
    eventually("it is told", async || !there.memory.remembers(id(1))).await;
    assert!(there.memory.remembers(id(2)));
    assert_eq!(there.db.board().liveness(), Liveness::Live);
    drop(there);
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_comes_and_goes_and_nothing_is_missed() {
    let t = TestDb::postgres(TABLES).await;
    let mut redis = PrivateRedis::start().await;
    let here = Replica::start(t.replica(), Some(&redis.options())).await;
    let there = Replica::start(t.replica(), Some(&redis.options())).await;
    let is_told = async |number| {
        there.memory.remember([id(number)]);
        tell(&here.db, &[id(number)]).await;
        eventually("it is told", async || !there.memory.remembers(id(number))).await;
    };
    is_told(1).await;
    redis.kill();
    there.becomes(Liveness::Behind).await;
    is_told(2).await;
    redis.start_again().await;
    here.becomes(Liveness::Live).await;
    there.becomes(Liveness::Live).await;
    is_told(3).await;
    // Flushed and trimmed while nobody looks.
    redis.command(&["FLUSHALL"]).await;
    is_told(4).await;
    redis.command(&["XTRIM", "verza:notices", "MAXLEN", "0"]).await;
    is_told(5).await;
    drop((here, there));
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_missed_what_was_trimmed_forgets_everything() {
    let t = TestDb::postgres(TABLES).await;
    let mut redis = PrivateRedis::start().await;
    let there = Replica::start(t.replica(), Some(&redis.options())).await;
    append(&redis, &MasterKey::new([1; 32]), 5, 0).await;
    eventually("it is read", async || !there.memory.told().is_empty()).await;
    there.memory.remember([id(7)]);
    redis.kill();
    there.becomes(Liveness::Behind).await;
    redis.start_again().await;
    eventually("all is forgotten", async || there.memory.told().len() == SHARDS).await;
    assert!(!there.memory.remembers(id(7)));
    drop(there);
    t.finish().await;
}

/// Appends an entry as a process with this master key would.
async fn append(redis: &PrivateRedis, master: &MasterKey, about: u128, number: i64) {
    let (of, shard) = (stream::write(&[Notice::all_of(id(about))]), Notice::shard_of(id(about)));
    let mac = stream::mac(&master.derive("fleet/notices"), shard, number, &of);
    let (shard, number) = (shard.to_string(), number.to_string());
    let fields = ["by", "x", "shard", &shard, "number", &number, "of", &of, "mac", &mac];
    redis.command(&[&["XADD", "verza:notices", "*"][..], &fields].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_writes_is_not_heard() {
    let t = TestDb::postgres(TABLES).await;
    let redis = PrivateRedis::start().await;
    let there = Replica::start(t.replica(), Some(&redis.options())).await;
    there.memory.remember([id(1), id(5)]);
    // As if the next tick of the first shard had been heard already.
    append(&redis, &MasterKey::new([2; 32]), 1, 1).await;
    append(&redis, &MasterKey::new([1; 32]), 5, 0).await;
    eventually("what follows is heard", async || !there.memory.remembers(id(5))).await;
    assert!(there.memory.remembers(id(1)));
    tell(&t.db, &[id(1)]).await;
    eventually("the tick is seen", async || !there.memory.remembers(id(1))).await;
    drop(there);
    t.finish().await;
}

#[test]
fn what_is_read_or_known_is_believed_for_a_second_and_alone_for_ever() {
    let start = ManualClock::START;
    let ms = Duration::from_millis;
    let alone = Board::new(false);
    assert!(alone.believes(start, start + ms(1_000_000)));
    let board = Board::new(true);
    assert!(board.believes(start, start + ms(999)));
    assert!(!board.believes(start, start + ms(1_000)));
    assert_eq!(board.age(start, start + ms(40)), ms(40));
    let reading = board.begin_reading(start + ms(500));
    futures_util::FutureExt::now_or_never(board.finish_reading(reading, &[0; SHARDS])).unwrap();
    assert!(board.believes(start, start + ms(1_499)));
    assert!(!board.believes(start, start + ms(1_500)));
    assert!(board.believes(start + ms(900), start + ms(1_899)));
    assert!(!board.believes(Timestamp::from_micros(0), start + ms(1_500)));
}

#[test]
fn a_clock_that_jumps_makes_nothing_be_believed_for_longer() {
    let (start, hour) = (ManualClock::START, Duration::from_secs(3600));
    let board = Board::new(true);
    let know = |now| {
        let reading = board.begin_reading(now);
        futures_util::FutureExt::now_or_never(board.finish_reading(reading, &[0; SHARDS])).unwrap();
    };
    know(start);
    assert!(board.believes(start, start));
    assert!(!board.believes(start, start + hour), "forward: it is read again");
    // Back: what was read and known an hour from now is worth nothing till it is read again.
    let earlier = start - hour;
    assert!(!board.believes(start, earlier));
    assert!(board.believes(earlier, earlier));
    know(earlier);
    assert!(board.believes(start, earlier));
    assert!(!board.believes(start, earlier + Duration::from_secs(1)));
}

#[test]
fn one_transaction_tells_each_shard_once_and_in_order() {
    let session = id(99);
    let twice = Notice::part_of(id(3), session);
    let far = id(3 + SHARDS as u128);
    let told = Told::by_shard(vec![Notice::all_of(id(5)), twice, Notice::all_of(far), twice]);
    let told: Vec<_> = told.iter().map(|told| (told.shard, told.notices.len())).collect();
    assert_eq!(told, [(3, 2), (5, 1)]);
    // Too many to name.
    let crowd = (0..100).map(|n| Notice::all_of(id(n * SHARDS as u128))).collect();
    let told = Told::by_shard(crowd);
    assert_eq!((told.len(), told[0].notices.len()), (1, 0));
}

proptest! {
    #[test]
    fn notices_are_read_as_they_were_written(
        ids in prop::collection::vec((any::<u128>(), any::<Option<u128>>()), 0..20)
    ) {
        let notices: Vec<_> =
            ids.iter().map(|(about, part)| Notice { about: id(*about), part: part.map(id) }).collect();
        prop_assert_eq!(stream::read(&stream::write(&notices)), Some(notices));
    }

    /// Whatever the stream loses, repeats or reorders: after a reading nothing stale is left.
    #[test]
    fn the_counters_find_whatever_the_stream_has_lost(
        heard in prop::collection::vec((0_i64..30, any::<bool>()), 0..60),
        last in 0_i64..30,
    ) {
        let board = Board::new(true);
        let memory = Arc::new(Memory::default());
        board.follow(&memory);
        memory.remember([id(1)]);
        let mut named = HashSet::new();
        for (number, is_lost) in heard {
            if number > 0 && number <= last && !is_lost {
                named.insert(number);
                board.told_elsewhere(&Told { shard: 1, number, notices: vec![Notice::all_of(id(0))] });
            }
        }
        let mut counted = [0; SHARDS];
        counted[1] = last;
        let reading = board.begin_reading(ManualClock::START);
        let finished = board.finish_reading(reading, &counted);
        futures_util::FutureExt::now_or_never(finished).expect("nobody waits without a stream");
        let is_complete = (1..=last).all(|number| named.contains(&number));
        prop_assert_eq!(memory.remembers(id(1)), is_complete);
    }
}

/// Somebody on the air, until this is dropped.
struct Talker {
    air: Arc<Air>,
    heard: tokio::sync::mpsc::Receiver<Heard>,
    stop: CancellationToken,
}

impl Talker {
    async fn join(redis: &PrivateRedis, key: u8) -> Self {
        let world = crate::world::system();
        let redis = Redis::new(&redis.options(), world.clone()).unwrap();
        let air = Air::new(&redis, "test", &MasterKey::new([key; 32]), &world);
        let (hear, heard) = tokio::sync::mpsc::channel(8);
        let stop = CancellationToken::new();
        let (for_redis, for_air, said) = (stop.clone(), stop.clone(), Arc::clone(&air));
        let kept = Arc::clone(&redis);
        tokio::spawn(async move { kept.keep(&for_redis).await });
        tokio::spawn(async move { said.run(hear, &for_air).await });
        let mut talker = Self { air, heard, stop };
        assert_eq!(talker.next().await, Heard::Joined);
        eventually("it can speak", async || redis.is_up()).await;
        talker
    }

    async fn next(&mut self) -> Heard {
        let heard = tokio::time::timeout(Duration::from_secs(20), self.heard.recv());
        heard.await.expect("something is said in time").expect("it hears")
    }

    async fn text(&mut self) -> String {
        match self.next().await {
            Heard::Said { text, .. } => text,
            Heard::Joined => panic!("it was there already"),
        }
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn what_is_said_on_the_air_is_heard_by_all_others_and_by_no_stranger() {
    let mut redis = PrivateRedis::start().await;
    let (mut one, mut two) = (Talker::join(&redis, 1).await, Talker::join(&redis, 1).await);
    let mut stranger = Talker::join(&redis, 2).await;
    one.air.say("hello".into());
    let Heard::Said { by, text } = two.next().await else { panic!("two was there already") };
    assert_eq!(text, "hello");
    // Words without our mark, under another's name, and of another key.
    for word in ["", "x", "a.b.c", &format!("{by}..forged"), &format!("{by}.AAAA.forged")] {
        redis.command(&["PUBLISH", "verza:air:test", word]).await;
    }
    stranger.air.say("of a stranger".into());
    two.air.say("an answer".into());
    one.air.say("a.word with dots.".into());
    assert_eq!(two.text().await, "a.word with dots.");
    assert_eq!(one.text().await, "an answer");
    two.air.say("last".into());
    assert_eq!(one.text().await, "last");
    assert!(stranger.heard.try_recv().is_err(), "it hears none of us");

    redis.kill();
    one.air.say("lost".into());
    redis.start_again().await;
    assert_eq!((one.next().await, two.next().await), (Heard::Joined, Heard::Joined));
}
