//! Streams, through what clients see of them.

use std::sync::Arc;
use std::time::Duration;

use kernel::Kind;
use kernel::caller::{Origin, RequestId};
use platform::crypto::MasterKey;
use platform::db::Migrations;
use platform::fleet::Fleet;
use platform::journal::{Fact, Runner};
use platform::on_both_engines;
use platform::testing::{TestDb, eventually};
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::{End, Feed, Policy, Step, Topic};
use crate::Context;
use crate::testing::{
    Answer, People, ask, caller, context, context_with, get, listen, read_all, record, user,
};

const TABLES: &[Migrations] = &[platform::MIGRATIONS, crate::MIGRATIONS];
const EVENTS: &str = "/v1/events";

async fn made(t: &TestDb, subject: impl ToString, about: u128) {
    record(&t.db, Fact::by(&caller(9), "thing.made").on(subject).about(user(about))).await;
}

/// Gives facts their places and hands them to whoever listens.
async fn go_on(context: &Context, t: &TestDb) {
    read_all(context, &t.db).await;
    context.hub.follow_once().await.unwrap();
}

async fn events(context: &Context, who: u128, behind: &str) -> Answer {
    listen(context, &caller(who), EVENTS, behind).await
}

fn resource(event: Option<(String, Json)>) -> String {
    let (name, data) = event.expect("the stream goes on");
    assert_eq!(name, "message", "{data}");
    data["resource"].as_str().unwrap().to_owned()
}

/// What a stream says when it ends, and that it ends.
async fn last_words(listener: &mut crate::testing::Listener) -> String {
    let (name, data) = listener.next().await.expect("a reason");
    assert_eq!(name, "end", "{data}");
    assert!(listener.next().await.is_none(), "nothing follows");
    data["reason"].as_str().unwrap().to_owned()
}

async fn subjects(feed: &mut Feed, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        match feed.next().await {
            Step::Tell(super::Thing::Fact(fact)) => told.push(fact.subject.clone()),
            Step::Beat => {}
            other => panic!("{other:?} after {told:?}"),
        }
    }
    told
}

on_both_engines! { TABLES;
    async fn a_stream_tells_what_concerns_its_user_and_nothing_private(t: &TestDb) {
        let context = context(&t.db, &Arc::default());
        let mut stream = events(&context, 1, "").await.listen();
        let mut by = caller(2);
        by.origin = Origin {
            request_id: RequestId::Theirs("req-7".into()),
            ip: Some("2001:db8::1".parse().unwrap()),
            user_agent: Some("a browser".into()),
            device: None,
        };
        record(&t.db, Fact::by(&by, "thing.made").on("theirs").about(user(3))).await;
        let fact = Fact::by(&by, "thing.made").on("thing_1").about(user(1)).with("price", 500);
        record(&t.db, fact).await;
        record(&t.db, Fact::by(&caller(1), "thing.moved").on("thing_2")).await;
        go_on(&context, t).await;

        let (name, event) = stream.next().await.unwrap();
        assert_eq!((name.as_str(), stream.last_id.as_str()), ("message", "2"));
        assert_eq!(event, json!({
            "id": event["id"],
            "seq": 2,
            "timestamp": "2026-01-01T00:00:00Z",
            "actor": user(2),
            "actorRole": "user",
            "action": "thing.made",
            "resource": "thing_1",
            "metadata": { "price": 500 },
        }));
        assert_eq!(resource(stream.next().await), "thing_2", "what oneself has done as well");
    }

    async fn a_stream_without_a_cursor_begins_now_and_can_be_resumed_from_there(t: &TestDb) {
        let context = context(&t.db, &Arc::default());
        made(t, "before", 1).await;
        go_on(&context, t).await;
        let mut stream = events(&context, 1, "").await.listen();
        assert_eq!(stream.block().await.unwrap(), "retry: 2000\nid: 1");
        drop(stream);
        made(t, "missed", 1).await;
        go_on(&context, t).await;
        let mut stream = events(&context, 1, "1").await.listen();
        assert_eq!(resource(stream.next().await), "missed");
        let mut all = events(&context, 1, "0").await.listen();
        assert_eq!(resource(all.next().await), "before");
        assert_eq!(resource(all.next().await), "missed");
    }

    async fn resuming_while_much_is_written_loses_nothing_and_repeats_nothing(t: &TestDb) {
        const WRITERS: u128 = 4;
        const EACH: u128 = 40;
        let context = context(&t.db, &Arc::default());
        let stop = CancellationToken::new();
        let (hub, runner) = (context.hub.clone(), Runner::new(t.replica(), Vec::new()));
        let (hub_stop, runner_stop) = (stop.clone(), stop.clone());
        let tasks = [
            tokio::spawn(async move { hub.run(hub_stop).await }),
            tokio::spawn(async move { runner.run(runner_stop).await }),
        ];
        let writers = (0..WRITERS).map(|writer| {
            let db = t.db.clone();
            tokio::spawn(async move {
                for turn in 0..EACH {
                    // Every second one concerns somebody else only.
                    let fact = Fact::by(&caller(9), "thing.made").on(format!("{writer}/{turn}"));
                    record(&db, fact.about(user(1 + turn % 2))).await;
                }
            })
        });
        let writers = futures_util::future::join_all(writers);
        let reader = async {
            let (mut seen, mut behind) = (Vec::new(), "0".to_owned());
            let expected = usize::try_from(WRITERS * EACH / 2).unwrap();
            let mut patience = 1;
            while seen.len() < expected {
                let mut stream = events(&context, 1, &behind).await.listen();
                for _ in 0..patience.min(expected - seen.len()) {
                    let (_, event) = stream.next().await.unwrap();
                    seen.push((event["seq"].as_i64().unwrap(), event["resource"].to_string()));
                }
                behind = stream.last_id;
                patience = patience % 7 + 1;
            }
            seen
        };
        let (written, seen) = tokio::join!(writers, reader);
        written.into_iter().for_each(Result::unwrap);
        stop.cancel();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(seen.is_sorted_by(|one, next| one.0 < next.0), "in order, and each once");
        let mut subjects: Vec<_> = seen.into_iter().map(|(_, subject)| subject).collect();
        subjects.sort_unstable();
        subjects.dedup();
        assert_eq!(subjects.len(), usize::try_from(WRITERS * EACH / 2).unwrap());
    }

    async fn a_cursor_is_checked_and_one_from_the_future_is_the_present(t: &TestDb) {
        let context = context(&t.db, &Arc::default());
        for behind in ["x", "-1", "1.5", "99999999999999999999"] {
            let refused = events(&context, 1, behind).await;
            assert_eq!(refused.code(), "invalid_fields", "{behind}");
        }
        made(t, "first", 1).await;
        go_on(&context, t).await;
        // As after a backup was brought back: the journal is shorter than it was.
        let mut stream = events(&context, 1, "1000").await.listen();
        made(t, "second", 1).await;
        go_on(&context, t).await;
        assert_eq!(resource(stream.next().await), "second");
    }

    async fn a_poll_goes_on_where_the_last_one_ended(t: &TestDb) {
        let context = context(&t.db, &Arc::default());
        for number in 0..5 {
            made(t, number, 1).await;
            made(t, "other", 2).await;
        }
        go_on(&context, t).await;
        let (mut path, mut seen) = ("/v1/events?after=0&limit=2".to_owned(), Vec::new());
        for expected in [2, 2, 1, 0] {
            let answer = ask(&context, &caller(1), get(&path)).await;
            path = answer.next();
            let page = answer.json().await;
            assert_eq!(page.as_array().unwrap().len(), expected);
            seen.extend(page.as_array().unwrap().iter().map(|one| one["resource"].clone()));
        }
        assert_eq!(seen, ["0", "1", "2", "3", "4"]);
        assert_eq!(path, "/v1/events?after=10&limit=2", "what concerns others is behind us");
        let refused = ask(&context, &caller(1), get("/v1/events?limit=101")).await;
        assert_eq!(refused.code(), "invalid_fields");
    }

    async fn notifications_are_told_and_resumed_by_the_same_cursor(t: &TestDb) {
        const PATH: &str = "/v1/notifications/stream";
        let context = context(&t.db, &Arc::default());
        let mut stream = listen(&context, &caller(1), PATH, "").await.listen();
        made(t, "not worth a word", 1).await;
        for number in 1..=3 {
            let fact = Fact::by(&caller(2), "verification.verified").on(format!("vrf_{number}"));
            record(&t.db, fact.about(user(1)).about(user(4))).await;
        }
        go_on(&context, t).await;
        let (_, told) = stream.next().await.unwrap();
        assert_eq!(stream.last_id, "2", "the place of its fact");
        assert_eq!(told, json!({
            "id": told["id"],
            "title": "Verification complete",
            "description": "Your credential has been verified.",
            "timestamp": "2026-01-01T00:00:00Z",
            "isRead": false,
            "type": "success",
            "subject": "vrf_1",
        }));
        let mut again = listen(&context, &caller(1), PATH, "2").await.listen();
        for listener in [&mut stream, &mut again] {
            for subject in ["vrf_2", "vrf_3"] {
                assert_eq!(listener.next().await.unwrap().1["subject"], subject);
            }
        }
        let path = format!("{PATH}?after=3");
        let polled = ask(&context, &caller(1), get(&path)).await.json().await;
        assert_eq!(polled[0]["subject"], "vrf_3");
        assert_eq!(polled.as_array().unwrap().len(), 1);
    }

    async fn a_session_that_ends_ends_its_streams_and_no_others(t: &TestDb) {
        let people = Arc::<People>::default();
        let context = context(&t.db, &people);
        let mut one = events(&context, 1, "").await.listen();
        let mut two = events(&context, 2, "").await.listen();
        people.end(&t.db, &caller(1)).await;
        assert_eq!(last_words(&mut one).await, "session_ended");
        made(t, "after", 1).await;
        made(t, "after", 2).await;
        go_on(&context, t).await;
        assert_eq!(resource(two.next().await), "after");
        let mut late = events(&context, 1, "0").await.listen();
        assert_eq!(last_words(&mut late).await, "session_ended", "before anything is told");
    }

    async fn a_session_that_ends_elsewhere_ends_its_streams_here(t: &TestDb) {
        let people = Arc::<People>::default();
        let there = t.replica();
        let context = context(&there, &people);
        let mut stream = events(&context, 1, "").await.listen();
        people.end(&t.db, &caller(1)).await;
        if there.is_shared() {
            // As the fleet's task does four times a second.
            let fleet = Fleet::new(there.clone(), None, &MasterKey::new([1; 32]));
            fleet.read_counters_once().await.unwrap();
        }
        assert_eq!(last_words(&mut stream).await, "session_ended");
    }

    async fn what_another_process_writes_and_places_is_told_here(t: &TestDb) {
        let there = t.replica();
        let context = context(&there, &Arc::default());
        let stop = CancellationToken::new();
        let (hub, stopped) = (context.hub.clone(), stop.clone());
        let following = tokio::spawn(async move { hub.run(stopped).await });
        let mut stream = events(&context, 1, "").await.listen();
        made(t, "over there", 1).await;
        Runner::new(t.db.clone(), Vec::new()).drain().await;
        assert_eq!(resource(stream.next().await), "over there");
        stop.cancel();
        assert_eq!(last_words(&mut stream).await, "shutdown");
        drop(stream);
        following.await.unwrap();
    }

    async fn a_reader_that_is_too_slow_is_told_to_resume_and_holds_no_more_than_it_may(t: &TestDb) {
        let policy = Policy { waiting_max: 4, ..Policy::default() };
        let context = context_with(&t.db, &Arc::default(), policy);
        let open = async |after| {
            let who = caller(1);
            context.hub.open(who.principal().unwrap(), Topic::Events, after).await.unwrap()
        };
        let mut slow = open(None).await;
        let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        for name in &names[..4] {
            made(t, name, 1).await;
        }
        go_on(&context, t).await;
        assert_eq!(slow.waiting(), 4);
        for name in &names[4..] {
            made(t, name, 1).await;
        }
        go_on(&context, t).await;
        assert_eq!(slow.waiting(), 0, "nothing is kept for it any more");
        let end = slow.next().await;
        assert!(matches!(end, Step::End(End::SlowReader)), "{end:?}");
        let mut resumed = open(Some(slow.place())).await;
        assert_eq!(subjects(&mut resumed, 20).await, names);
    }

    async fn who_stops_reading_gives_up_the_seat_and_is_told_why_on_reading_on(t: &TestDb) {
        let policy = Policy { per_user: 2, ..Policy::default() };
        let context = context_with(&t.db, &Arc::default(), policy);
        let mut unread = events(&context, 1, "").await.listen();
        let mut reads = events(&context, 1, "").await.listen();
        unread.block().await.unwrap();
        for name in ["first", "second"] {
            made(t, name, 1).await;
        }
        go_on(&context, t).await;
        assert_eq!(resource(unread.next().await), "first");
        assert_eq!(resource(reads.next().await), "first");
        assert_eq!(resource(reads.next().await), "second");
        let waits = tokio::spawn(async move { (reads.next().await, reads) });
        tokio::task::yield_now().await;
        eventually("it waits for more", async || context.hub.unread() == 1).await;

        let after = |seconds| tokio::time::Instant::now() + Duration::from_secs(seconds);
        context.hub.end_unread(after(29));
        assert_eq!(context.hub.open_streams(), 2);
        context.hub.end_unread(after(30));
        assert_eq!(context.hub.open_streams(), 1, "who waits for what is to come, stays");
        let _other = events(&context, 1, "").await.listen();
        assert_eq!(last_words(&mut unread).await, "slow_reader");
        drop(unread);
        assert_eq!(context.hub.open_streams(), 2, "a seat is given back once");
        made(t, "third", 1).await;
        go_on(&context, t).await;
        assert_eq!(resource(waits.await.unwrap().0), "third");
    }

    async fn stopping_ends_every_stream_with_its_reason_and_waits_for_no_more(t: &TestDb) {
        let context = context(&t.db, &Arc::default());
        let stop = CancellationToken::new();
        let (hub, stopped) = (context.hub.clone(), stop.clone());
        let following = tokio::spawn(async move { hub.run(stopped).await });
        let mut streams = Vec::new();
        for who in 1..=3 {
            streams.push(events(&context, who, "").await.listen());
        }
        stop.cancel();
        for stream in &mut streams {
            assert_eq!(last_words(stream).await, "shutdown");
        }
        drop(streams);
        following.await.unwrap();
        let late = events(&context, 1, "").await;
        assert_eq!(late.code(), "stopping");
        assert_eq!(late.failure.unwrap().retry_after_seconds(), Some(2));
    }

    async fn the_number_of_streams_is_bounded_for_one_and_for_all(t: &TestDb) {
        let policy = Policy { per_user: 2, all: 3, ..Policy::default() };
        let context = context_with(&t.db, &Arc::default(), policy);
        let own = [events(&context, 1, "").await.listen(), events(&context, 1, "").await.listen()];
        let refused = events(&context, 1, "").await;
        assert_eq!(refused.code(), "too_many_streams");
        assert_eq!(refused.failure.unwrap().kind(), Kind::Limited);
        let other = events(&context, 2, "").await.listen();
        let refused = events(&context, 3, "").await;
        assert_eq!(refused.failure.unwrap().kind(), Kind::Unavailable);
        drop(own);
        assert_eq!(context.hub.open_streams(), 1);
        let _again = events(&context, 1, "").await.listen();
        drop(other);
        assert_eq!(context.hub.open_streams(), 1);
    }

    async fn a_stream_that_is_never_quiet_looks_after_its_session_too(t: &TestDb) {
        let (heartbeat, look) = (Duration::from_secs(3600), Duration::ZERO);
        let policy = Policy { heartbeat, look, ..Policy::default() };
        let people = Arc::<People>::default();
        let context = context_with(&t.db, &people, policy);
        let mut stream = events(&context, 1, "").await.listen();
        stream.block().await.unwrap();
        made(t, "first", 1).await;
        go_on(&context, t).await;
        assert_eq!(resource(stream.next().await), "first");
        // Its time is over, of which nobody tells, and there is more to say.
        people.lapse(&caller(1));
        made(t, "second", 1).await;
        go_on(&context, t).await;
        assert_eq!(last_words(&mut stream).await, "session_ended");
    }

    async fn a_quiet_stream_gives_signs_of_life_and_looks_after_its_session(t: &TestDb) {
        let (heartbeat, look) = (Duration::from_millis(5), Duration::from_millis(15));
        let policy = Policy { heartbeat, look, ..Policy::default() };
        let people = Arc::<People>::default();
        let context = context_with(&t.db, &people, policy);
        let mut stream = events(&context, 1, "").await.listen();
        stream.block().await.unwrap();
        assert_eq!(stream.block().await.unwrap(), ":");
        // Its time is over, of which nobody tells.
        people.lapse(&caller(1));
        assert_eq!(last_words(&mut stream).await, "session_ended");
    }
}
