//! The system as admins see it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use kernel::Timestamp;
use platform::db::Db;
use platform::journal::Fact;
use platform::on_both_engines;
use serde_json::{Map, json};

use super::{Component, Inbox, Level, NewLine, Probe, Service, Sources, State, routes};
use crate::testing::{TABLES, admin, get};

fn stage(db: &Db) -> (Service, Arc<Inbox>) {
    let sources = Sources::since(db.world().now());
    let inbox = Arc::clone(&sources.inbox);
    let metrics = || async { Some("http_requests_total{route=\"/x\"} 3\nother 1\n".into()) };
    let probe: Probe =
        Arc::new(|| async { Component::new("mail", State::Degraded).with("dead", 2) }.boxed());
    let sources = Sources {
        service: "worker",
        probes: vec![probe],
        metrics: Some(Arc::new(move || metrics().boxed())),
        ..sources
    };
    (Service::new(db.clone(), sources), inbox)
}

fn line(at: Timestamp, level: Level, message: &str) -> NewLine {
    let fields = Map::from_iter([("code".to_owned(), json!("x"))]);
    NewLine { at, level, target: "verza::x".into(), message: message.into(), fields }
}

async fn messages(service: &Service, query: &str) -> Vec<String> {
    let path = format!("/v1/admin/system/error-logs{query}");
    let body = get(&admin(1), path).body(routes(service)).await;
    let all = body.as_array().unwrap().iter();
    all.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

on_both_engines! { TABLES;
    async fn health_names_every_component(t: &TestDb) {
        let (service, _) = stage(&t.db);
        t.clock.advance(Duration::from_secs(3_661));
        let path = "/v1/admin/system/health";
        let health = get(&admin(1), path).body(routes(&service)).await;
        assert_eq!(health["status"], "degraded", "as mail is");
        assert_eq!((&health["uptime"], &health["service"]), (&json!("0d 01:01:01"), &json!("worker")));
        assert!(health["cpu"].as_str().unwrap().ends_with('%'), "{health}");
        let states: Vec<(&str, &str)> = health["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (it["name"].as_str().unwrap(), it["state"].as_str().unwrap()))
            .collect();
        assert_eq!(states, [
            ("database", "up"),
            ("sequencer", "up"),
            ("journalReaders", "up"),
            ("jobs", "up"),
            ("mail", "degraded"),
        ]);
    }

    async fn a_sequencer_that_stands_still_shows(t: &TestDb) {
        let (service, _) = stage(&t.db);
        t.db.run("test.record", |tx| async move {
            tx.record(Fact::by(&kernel::Caller::nobody(), "thing.done").on("x"));
            Ok(())
        })
        .await
        .unwrap();
        let state = async || {
            let path = "/v1/admin/system/health";
            let health = get(&admin(1), path).body(routes(&service)).await;
            let sequencer = health["components"][1].clone();
            (sequencer["state"].clone(), sequencer["details"]["waitingSeconds"].clone())
        };
        t.clock.advance(Duration::from_secs(11));
        assert_eq!(state().await, (json!("degraded"), json!(11)));
        t.clock.advance(Duration::from_secs(120));
        assert_eq!(state().await, (json!("down"), json!(131)));
        platform::journal::sequence(&t.db).await.unwrap();
        assert_eq!(state().await, (json!("up"), json!(0)));
    }

    async fn metrics_are_numbers(t: &TestDb) {
        let (service, _) = stage(&t.db);
        let path = "/v1/admin/system/metrics?prefix=http_";
        assert_eq!(get(&admin(1), path).body(routes(&service)).await, json!([
            { "name": "http_requests_total", "labels": { "route": "/x" }, "value": 3.0 },
        ]));
    }

    async fn complaints_are_written_down_and_found(t: &TestDb) {
        let (service, inbox) = stage(&t.db);
        let began = t.db.world().now();
        inbox.put(line(began, Level::Warn, "first"));
        inbox.put(line(began + Duration::from_secs(60), Level::Error, "second"));
        assert_eq!(service.keep_some().await, 2);
        assert_eq!(service.keep_some().await, 0);
        assert_eq!(messages(&service, "").await, ["second", "first"]);
        for (query, expected) in [
            ("?level=error", vec!["second"]),
            ("?service=worker&level=warn", vec!["first"]),
            ("?service=gateway", vec![]),
            ("?from=2026-01-01T00:00:30Z", vec!["second"]),
            ("?to=2026-01-01T00:00:30Z", vec!["first"]),
            ("?limit=1", vec!["second"]),
        ] {
            assert_eq!(messages(&service, query).await, expected, "{query}");
        }
        let path = "/v1/admin/system/error-logs?limit=1";
        let shown = get(&admin(1), path).body(routes(&service)).await;
        assert_eq!(shown[0], json!({
            "id": shown[0]["id"], "timestamp": "2026-01-01T00:01:00Z", "service": "worker",
            "level": "error", "target": "verza::x", "message": "second",
            "fields": { "code": "x" },
        }));
        for query in ["?level=info", "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z"] {
            let path = format!("/v1/admin/system/error-logs{query}");
            assert!(get(&admin(1), path).of(routes(&service)).await.is_err(), "{query}");
        }
    }

    async fn old_lines_are_forgotten(t: &TestDb) {
        let (service, inbox) = stage(&t.db);
        inbox.put(line(t.db.world().now(), Level::Warn, "old"));
        service.keep_some().await;
        t.clock.advance(Duration::from_secs(20 * 24 * 3600));
        inbox.put(line(t.db.world().now(), Level::Warn, "new"));
        service.keep_some().await;
        assert_eq!(service.prune().await.unwrap(), 0);
        t.clock.advance(Duration::from_secs(11 * 24 * 3600));
        assert_eq!(service.prune().await.unwrap(), 1);
        assert_eq!(messages(&service, "").await, ["new"]);
    }

    async fn only_so_many_lines_are_kept(t: &TestDb) {
        let (service, inbox) = stage(&t.db);
        for number in 0..7 {
            inbox.put(line(t.db.world().now(), Level::Warn, &number.to_string()));
        }
        service.keep_some().await;
        let pruned = t.db.run("test.prune", |tx| async move {
            crate::system::store::prune(&tx, Timestamp::default(), 3).await
        });
        assert_eq!(pruned.await.unwrap(), 4);
        assert_eq!(messages(&service, "").await, ["6", "5", "4"]);
    }
}

#[tokio::test]
async fn a_storm_loses_the_oldest_and_never_waits() {
    let inbox = Inbox::default();
    for number in 0..1500 {
        inbox.put(line(Timestamp::default(), Level::Warn, &number.to_string()));
    }
    let kept = inbox.take(usize::MAX);
    assert_eq!(kept.len(), 1000);
    assert_eq!((&*kept[0].message, &*kept[999].message), ("500", "1499"));
}
