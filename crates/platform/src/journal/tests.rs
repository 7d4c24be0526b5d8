//! What the journal promises to those who record facts and to those who follow them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use kernel::caller::{Principal, RequestId};
use kernel::id::kinds::{Session, User};
use kernel::{Caller, Cursor, Error, Id, PageRequest, Result, Role};
use parking_lot::Mutex;

use super::*;
use crate::db::{Db, Migration, Migrations, Read, Tx};
use crate::{on_both_engines, params};

/// What a reader has taken in: its own table, written in the transaction that it is given.
const TAKEN: Migrations = Migrations {
    context: "taken",
    files: &[Migration {
        name: "0001_taken",
        sql: "CREATE TABLE taken (reader TEXT NOT NULL, seq BIGINT NOT NULL, subject TEXT NOT NULL,
                  PRIMARY KEY (reader, seq));",
    }],
};
const TABLES: &[Migrations] = &[crate::MIGRATIONS, TAKEN];

fn user(number: u128) -> Id<User> {
    Id::from_uuid(Uuid::from_u128(number))
}

fn caller(number: u128) -> Caller {
    let session = Id::<Session>::from_uuid(Uuid::nil());
    Caller::of(Principal::new(user(number), Role::User, session))
}

async fn record(db: &Db, fact: Fact) {
    let fact = &fact;
    db.run("record", |tx| async move {
        tx.record(fact.clone());
        Ok(())
    })
    .await
    .unwrap();
}

fn by_nobody(subject: impl ToString) -> Fact {
    Fact::by(&Caller::nobody(), "thing.made").on(subject)
}

async fn place_all(db: &Db) {
    while sequence(db).await.unwrap() > 0 {}
}

/// Every placed fact's place and subject.
async fn placed(db: &Db) -> Vec<(i64, String)> {
    let facts = since(db, 0, 100_000).await.unwrap();
    facts.into_iter().map(|fact| (fact.seq.unwrap(), fact.subject)).collect()
}

async fn taken(db: &Db, reader: &str) -> Vec<(i64, String)> {
    let sql = "SELECT seq, subject FROM taken WHERE reader = $1 ORDER BY seq";
    db.all(sql, params![reader], |row| Ok((row.take()?, row.take()?))).await.unwrap()
}

/// Writes down what it reads. Misbehaves as often as it is told to, after having written.
struct Writer {
    name: &'static str,
    failures: AtomicUsize,
    panics: AtomicUsize,
    /// The order in which facts were handed over, over all calls that went well.
    order: Mutex<Vec<i64>>,
}

impl Writer {
    fn new(name: &'static str) -> Arc<Self> {
        Self::failing(name, 0, 0)
    }

    fn failing(name: &'static str, failures: usize, panics: usize) -> Arc<Self> {
        Arc::new(Self {
            name,
            failures: AtomicUsize::new(failures),
            panics: AtomicUsize::new(panics),
            order: Mutex::default(),
        })
    }
}

fn one_less(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Reader for Writer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn read<'a>(&'a self, tx: &'a Tx, facts: &'a [Recorded]) -> BoxFuture<'a, Result<()>> {
        async move {
            for fact in facts {
                let sql = "INSERT INTO taken (reader, seq, subject) VALUES ($1, $2, $3)";
                tx.execute(sql, params![self.name, fact.seq, fact.subject]).await?;
            }
            if one_less(&self.failures) {
                return Err(Error::unavailable("no", "Not now."));
            }
            if one_less(&self.panics) {
                std::panic::resume_unwind(Box::new("meant"));
            }
            self.order.lock().extend(facts.iter().filter_map(|fact| fact.seq));
            Ok(())
        }
        .boxed()
    }
}

on_both_engines! { TABLES;
    async fn a_fact_keeps_everything_that_was_said(t: &TestDb) {
        let mut asking = caller(1);
        asking.origin.request_id = RequestId::Theirs("req-7".into());
        asking.origin.ip = Some("2001:db8::1".parse().unwrap());
        asking.origin.user_agent = Some("a browser".into());
        let fact = Fact::by(&asking, "thing.made")
            .on("thing_1")
            .about(user(2))
            .about(user(2))
            .with("price", 500)
            .with("state", "open");
        record(&t.db, fact).await;
        place_all(&t.db).await;
        let facts = since(&t.db, 0, 10).await.unwrap();
        let [fact] = &facts[..] else { panic!("{facts:?}") };
        assert_eq!((fact.seq, fact.at), (Some(1), t.db.world().now()));
        assert_eq!((fact.verb.as_str(), fact.subject.as_str()), ("thing.made", "thing_1"));
        assert_eq!((fact.actor, fact.role), (Some(user(1)), Some(Role::User)));
        assert_eq!(fact.data, serde_json::json!({"price": 500, "state": "open"}));
        assert_eq!(fact.origin.request_id.as_deref(), Some("req-7"));
        assert_eq!(fact.origin.ip.as_deref(), Some("2001:db8::1"));
        assert_eq!(fact.origin.user_agent.as_deref(), Some("a browser"));
        assert!(fact.is_by(user(1).uuid()) && !fact.is_by(user(2).uuid()));
        let parties = t.db.run("parties", |tx| async move { fact.parties(&tx).await });
        let mut parties = parties.await.unwrap();
        parties.sort_unstable();
        assert_eq!(parties, [user(1), user(2)]);
    }

    async fn a_fact_is_counted_at_its_time_however_long_its_transaction_took(t: &TestDb) {
        let begun = t.db.world().now();
        t.db.run("record", |tx| async move {
            tx.record(Fact::by(&caller(1), "thing.made").on("thing_1"));
            t.clock.advance(Duration::from_secs(7));
            Ok(())
        })
        .await
        .unwrap();
        let second = Duration::from_secs(1);
        let counted = tally(&t.db, begun, begun + second).await.unwrap();
        assert_eq!(counted, [("thing.made".to_owned(), 1)]);
        assert_eq!(tally(&t.db, begun + second, begun + second * 9).await.unwrap(), []);
    }

    async fn facts_get_gapless_places_and_none_is_lost_or_invented(t: &TestDb) {
        let writers = (0..8).map(|writer| {
            let db = t.db.clone();
            tokio::spawn(async move {
                let mut recorded = Vec::new();
                for turn in 0..25 {
                    let refuse = turn % 3 == 0;
                    let outcome = db.run("record", |tx| async move {
                        tx.record(by_nobody(format!("{writer}/{turn}")));
                        tx.record(by_nobody(format!("{writer}/{turn}/again")));
                        if refuse { Err(Error::conflict("no", "No.")) } else { Ok(()) }
                    })
                    .await;
                    if outcome.is_ok() {
                        recorded.push(format!("{writer}/{turn}"));
                        recorded.push(format!("{writer}/{turn}/again"));
                    }
                }
                recorded
            })
        });
        let stop = tokio_util::sync::CancellationToken::new();
        let sequencers: Vec<_> = (0..2)
            .map(|_| {
                let (db, stop) = (t.replica(), stop.clone());
                tokio::spawn(async move {
                    while !stop.is_cancelled() {
                        sequence(&db).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        let mut recorded: Vec<String> =
            join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
        stop.cancel();
        for sequencer in sequencers {
            sequencer.await.unwrap();
        }
        place_all(&t.db).await;

        let placed = placed(&t.db).await;
        let places: Vec<i64> = placed.iter().map(|(seq, _)| *seq).collect();
        let expected: Vec<i64> = (1..).take(recorded.len()).collect();
        assert_eq!(places, expected, "no gap and none twice");
        assert_eq!(head(&t.db).await.unwrap(), i64::try_from(recorded.len()).unwrap());
        let mut subjects: Vec<String> = placed.into_iter().map(|(_, subject)| subject).collect();
        subjects.sort_unstable();
        recorded.sort_unstable();
        assert_eq!(subjects, recorded);
    }

    async fn a_place_once_given_never_changes(t: &TestDb) {
        record(&t.db, by_nobody("first")).await;
        place_all(&t.db).await;
        record(&t.db, by_nobody("second")).await;
        place_all(&t.db).await;
        assert_eq!(placed(&t.db).await, [(1, "first".to_owned()), (2, "second".to_owned())]);
        for sql in ["UPDATE facts SET seq = seq + 10", "UPDATE facts SET verb = 'other'",
                    "DELETE FROM facts", "DELETE FROM fact_parties"] {
            record(&t.db, by_nobody("x").about(user(1))).await;
            let change = t.db.run("change", |tx| async move { Ok(tx.execute(sql, &[]).await?) });
            assert!(change.await.is_err(), "{sql}");
        }
    }

    async fn two_runners_hand_every_fact_to_every_reader_once_and_in_order(t: &TestDb) {
        let readers = || [Writer::new("one"), Writer::new("two")];
        let (left, right) = (readers(), readers());
        let stop = tokio_util::sync::CancellationToken::new();
        let runners: Vec<_> = [&left, &right]
            .into_iter()
            .map(|readers| {
                let readers = readers.iter().map(|reader| reader.clone() as Arc<dyn Reader>);
                let runner = Runner::new(t.replica(), readers.collect());
                let stop = stop.clone();
                tokio::spawn(async move { runner.run(stop).await })
            })
            .collect();
        let writers = (0..4).map(|writer| {
            let db = t.db.clone();
            tokio::spawn(async move {
                for turn in 0..50 {
                    record(&db, by_nobody(format!("{writer}/{turn}"))).await;
                }
            })
        });
        join_all(writers).await.into_iter().for_each(Result::unwrap);
        stop.cancel();
        for runner in runners {
            tokio::time::timeout(Duration::from_secs(60), runner).await.unwrap().unwrap();
        }
        let placed = placed(&t.db).await;
        assert_eq!(placed.len(), 200);
        for (name, place) in [("one", 0), ("two", 1)] {
            assert_eq!(taken(&t.db, name).await, placed, "each fact once");
            let mut orders = [left[place].order.lock().clone(), right[place].order.lock().clone()];
            for order in &orders {
                assert!(order.is_sorted(), "in order");
            }
            let mut all = std::mem::take(&mut orders[0]);
            all.extend(&orders[1]);
            all.sort_unstable();
            assert_eq!(all, (1..=200).collect::<Vec<i64>>(), "shared out without overlap");
        }
    }

    async fn a_reader_that_fails_or_panics_is_tried_again_and_holds_up_nobody(t: &TestDb) {
        let (failing, panicking) = (Writer::failing("failing", 1, 0), Writer::failing("panics", 0, 1));
        let fine = Writer::new("fine");
        let readers: Vec<Arc<dyn Reader>> =
            vec![failing.clone(), panicking.clone(), fine.clone()];
        let runner = Runner::new(t.db.clone(), readers);
        record(&t.db, by_nobody("first")).await;
        runner.drain().await;
        assert_eq!(taken(&t.db, "fine").await.len(), 1);
        let all_have_read = async {
            // The rollback of the failed turn may still hold the reader's place for a moment.
            while taken(&t.db, "panics").await.is_empty()
                || taken(&t.db, "failing").await.is_empty() {
                runner.drain().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all_have_read).await.unwrap();
        for name in ["failing", "panics", "fine"] {
            assert_eq!(taken(&t.db, name).await, [(1, "first".to_owned())], "{name}");
        }
    }

    async fn what_a_failed_reader_wrote_is_undone(t: &TestDb) {
        let reader = Writer::failing("failing", 1, 0);
        record(&t.db, by_nobody("first")).await;
        place_all(&t.db).await;
        assert!(advance(&t.db, reader.as_ref()).await.is_err());
        assert_eq!(taken(&t.db, "failing").await, []);
        let again = async {
            // The rollback may still hold the reader's place for a moment.
            loop {
                match advance(&t.db, reader.as_ref()).await.unwrap() {
                    0 => tokio::task::yield_now().await,
                    read => return read,
                }
            }
        };
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), again).await.unwrap(), 1);
        assert_eq!(advance(&t.db, reader.as_ref()).await.unwrap(), 0);
    }

    async fn a_new_reader_begins_at_the_beginning(t: &TestDb) {
        for number in 0..3 {
            record(&t.db, by_nobody(number)).await;
        }
        place_all(&t.db).await;
        assert_eq!(advance(&t.db, Writer::new("early").as_ref()).await.unwrap(), 3);
        record(&t.db, by_nobody(3)).await;
        place_all(&t.db).await;
        assert_eq!(advance(&t.db, Writer::new("early").as_ref()).await.unwrap(), 1);
        assert_eq!(advance(&t.db, Writer::new("late").as_ref()).await.unwrap(), 4);
    }

    async fn a_user_finds_what_concerns_them_and_nothing_else(t: &TestDb) {
        record(&t.db, Fact::by(&caller(1), "thing.made").on("a")).await;
        record(&t.db, Fact::by(&caller(2), "thing.made").on("b").about(user(1))).await;
        record(&t.db, Fact::by(&caller(2), "thing.made").on("c")).await;
        record(&t.db, Fact::by(&caller(3), "thing.made").on("d").about(user(3))).await;
        let subjects = |number| {
            let db = &t.db;
            async move {
                let everything = Filter::default();
                let page = of_party(db, user(number), &everything, &PageRequest::default()).await;
                page.unwrap().items.into_iter().map(|fact| fact.subject).collect::<Vec<_>>()
            }
        };
        assert_eq!(subjects(1).await, ["b", "a"], "newest first");
        assert_eq!(subjects(2).await, ["c", "b"]);
        assert_eq!(subjects(3).await, ["d"], "once, although actor and party");
        assert_eq!(subjects(4).await, [""; 0]);
    }

    async fn filters_narrow_a_list_and_combine(t: &TestDb) {
        let start = t.db.world().now();
        let verbs = ["thing.made", "thing.moved", "things.made", "other.made"];
        for (minute, verb) in (0..).zip(verbs) {
            let actor = caller(1 + minute % 2);
            record(&t.db, Fact::by(&actor, verb).on(format!("s{minute}")).about(user(9))).await;
            t.clock.advance(Duration::from_secs(60));
        }
        let minute = |n: u64| Some(start + Duration::from_secs(60 * n));
        let action = |text: &str| Some(text.to_owned());
        let cases = BTreeMap::from([
            ("everything", (Filter::default(), vec!["s3", "s2", "s1", "s0"])),
            ("a verb", (Filter { action: action("thing.made"), ..Filter::default() }, vec!["s0"])),
            ("a noun", (Filter { action: action("thing"), ..Filter::default() }, vec!["s1", "s0"])),
            ("an actor", (Filter { actor: Some(user(2)), ..Filter::default() }, vec!["s3", "s1"])),
            (
                "not by one",
                (Filter { not_by: Some(user(2)), ..Filter::default() }, vec!["s2", "s0"]),
            ),
            (
                "one of several verbs",
                (
                    Filter { among: &["thing.made", "other.made"], ..Filter::default() },
                    vec!["s3", "s0"],
                ),
            ),
            ("a subject", (Filter { resource: action("s2"), ..Filter::default() }, vec!["s2"])),
            ("from", (Filter { from: minute(2), ..Filter::default() }, vec!["s3", "s2"])),
            ("until before", (Filter { to: minute(2), ..Filter::default() }, vec!["s1", "s0"])),
            (
                "all at once",
                (
                    Filter {
                        actor: Some(user(1)),
                        key: None,
                        not_by: Some(user(2)),
                        action: action("thing"),
                        among: &["thing.made", "other.made"],
                        resource: action("s0"),
                        from: minute(0),
                        to: minute(1),
                    },
                    vec!["s0"],
                ),
            ),
            ("a wildcard is a letter", (Filter { action: action("th%"), ..Filter::default() }, vec![])),
        ]);
        for (name, (filter, expected)) in cases {
            let page = PageRequest::default();
            let found = search(&t.db, &filter, &page).await.unwrap();
            let subjects: Vec<_> = found.items.iter().map(|fact| fact.subject.as_str()).collect();
            assert_eq!(subjects, expected, "{name}");
            let found = of_party(&t.db, user(9), &filter, &page).await.unwrap();
            let subjects: Vec<_> = found.items.iter().map(|fact| fact.subject.as_str()).collect();
            assert_eq!(subjects, expected, "{name}, of one user");
        }
    }

    async fn a_span_of_days_is_cut_to_the_instant(t: &TestDb) {
        let start = t.db.world().now();
        let day = |n: u64| start + Duration::from_secs(24 * 3600 * n);
        for number in 0..10 {
            record(&t.db, Fact::by(&caller(1), "thing.made").on(number)).await;
            t.clock.advance(Duration::from_secs(24 * 3600));
        }
        for (from, to, expected) in [
            (Some(day(3)), Some(day(5)), vec!["4", "3"]),
            (Some(day(8)), None, vec!["9", "8"]),
            (None, Some(day(2)), vec!["1", "0"]),
            (Some(day(3) + Duration::from_micros(1)), Some(day(4)), vec![]),
            (Some(day(20)), None, vec![]),
        ] {
            let filter = Filter { from, to, ..Filter::default() };
            for found in [
                search(&t.db, &filter, &PageRequest::default()).await.unwrap(),
                of_party(&t.db, user(1), &filter, &PageRequest::default()).await.unwrap(),
            ] {
                let subjects: Vec<_> = found.items.iter().map(|fact| &fact.subject).collect();
                assert_eq!(subjects, expected);
            }
        }
    }

    async fn pages_join_up_without_a_gap_while_facts_are_added(t: &TestDb) {
        for number in 0..10 {
            record(&t.db, Fact::by(&caller(1), "thing.made").on(number)).await;
        }
        let mut after: Option<Cursor> = None;
        let mut seen = Vec::new();
        loop {
            let request = PageRequest { limit: 3, after, offset: 0 };
            let page = search(&t.db, &Filter::default(), &request).await.unwrap();
            let of_user = of_party(&t.db, user(1), &Filter::default(), &request).await.unwrap();
            assert_eq!(page.items, of_user.items);
            seen.extend(page.items.into_iter().map(|fact| fact.subject));
            record(&t.db, Fact::by(&caller(1), "thing.made").on("later")).await;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<String> = (0..10).rev().map(|number: i32| number.to_string()).collect();
        assert_eq!(seen, expected);
        let second = PageRequest { limit: 3, after: None, offset: 3 };
        assert_eq!(search(&t.db, &Filter::default(), &second).await.unwrap().items.len(), 3);
    }

    async fn a_timeline_tells_what_happened_to_one_thing_oldest_first(t: &TestDb) {
        for (verb, subject) in [("thing.made", "a"), ("thing.made", "b"), ("thing.moved", "a")] {
            record(&t.db, Fact::by(&caller(1), verb).on(subject)).await;
        }
        let told = async |without, page: &PageRequest| {
            let page = of_subject(&t.db, "a", without, page).await.unwrap();
            let verbs: Vec<_> = page.items.into_iter().map(|fact| fact.verb).collect();
            (verbs, page.next)
        };
        let whole = PageRequest::first(10);
        assert_eq!(told(&[], &whole).await.0, ["thing.made", "thing.moved"]);
        assert_eq!(told(&["thing.made"], &whole).await.0, ["thing.moved"]);
        let (first, next) = told(&[], &PageRequest::first(1)).await;
        assert_eq!(first, ["thing.made"]);
        let rest = PageRequest { after: next, ..whole };
        assert_eq!(told(&[], &rest).await, (vec!["thing.moved".to_owned()], None));
        let made = count_of(&t.db, "a", "thing.made", t.db.world().now()).await.unwrap();
        assert_eq!(made, 1);
        t.clock.advance(Duration::from_secs(1));
        let later = count_of(&t.db, "a", "thing.made", t.db.world().now()).await.unwrap();
        assert_eq!(later, 0);
    }
}
