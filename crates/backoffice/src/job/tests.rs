//! The queues as admins see them.

use std::time::Duration;

use kernel::{Kind, Role};
use platform::db::Db;
use platform::jobs::{Job, NewJob, Registry, Worker, hopeless};
use platform::on_both_engines;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{Service, routes};
use crate::testing::{TABLES, admin, caller, get, post, verbs};

#[derive(Serialize, Deserialize)]
struct Write {
    to: String,
}

impl Job for Write {
    const KIND: &'static str = "letter.write";
}

#[derive(Serialize, Deserialize)]
struct Paint;

impl Job for Paint {
    const KIND: &'static str = "wall.paint";
}

fn service(db: &Db) -> Service {
    Service { db: db.clone(), scrub: |text| text.replace("hunter2", "[secret]").into() }
}

async fn enqueue(db: &Db, job: NewJob) {
    let job = &job;
    db.run("test.enqueue", |tx| async move {
        tx.enqueue(job.clone());
        Ok(())
    })
    .await
    .unwrap();
}

/// A letter that was given up, and two walls of which one waits for tomorrow.
async fn three_jobs(db: &Db) {
    enqueue(db, NewJob::new(&Write { to: "anne@example.org".into() }).unwrap()).await;
    let mut registry = Registry::default();
    registry.on(|_: Write, _| async { Err(hopeless("no server takes the password hunter2")) });
    Worker::new(db.clone(), registry).drain().await.unwrap();
    enqueue(db, NewJob::new(&Paint).unwrap()).await;
    enqueue(db, NewJob::new(&Paint).unwrap().after(Duration::from_secs(86_400))).await;
}

async fn list(db: &Db, query: &str) -> Vec<Json> {
    let path = format!("/v1/admin/jobs{query}");
    let body = get(&admin(1), path).body(routes(&service(db))).await;
    body.as_array().unwrap().clone()
}

on_both_engines! { TABLES;
    async fn jobs_are_listed_by_state_and_kind_without_what_they_carry(t: &TestDb) {
        three_jobs(&t.db).await;
        let kinds = |jobs: Vec<Json>| -> Vec<String> {
            jobs.iter().map(|job| job["kind"].as_str().unwrap().to_owned()).collect()
        };
        let all = list(&t.db, "").await;
        assert_eq!(kinds(all.clone()), ["wall.paint", "wall.paint", "letter.write"]);
        assert!(!json!(all).to_string().contains("anne@"), "{all:?}");
        assert_eq!(kinds(list(&t.db, "?state=ready").await), ["wall.paint", "wall.paint"]);
        assert_eq!(kinds(list(&t.db, "?kind=wall.paint&limit=1").await), ["wall.paint"]);
        for query in ["?state=dead", "?failed=true", "?kind=letter.write"] {
            assert_eq!(kinds(list(&t.db, query).await), ["letter.write"], "{query}");
        }
        let dead = &list(&t.db, "?state=dead").await[0];
        assert_eq!(dead["state"], "dead");
        let error = dead["lastError"].as_str().unwrap();
        assert!(error.contains("[secret]") && !error.contains("hunter2"), "{error}");
    }

    async fn queues_are_counted_with_what_is_overdue(t: &TestDb) {
        three_jobs(&t.db).await;
        t.clock.advance(Duration::from_secs(60));
        let path = "/v1/admin/jobs/queues";
        let queues = get(&admin(1), path).body(routes(&service(&t.db))).await;
        assert_eq!(queues, json!([
            { "kind": "letter.write", "ready": 0, "running": 0, "dead": 1 },
            {
                "kind": "wall.paint", "ready": 2, "running": 0, "dead": 0,
                "dueSince": "2026-01-01T00:00:00Z",
            },
        ]));
    }

    async fn only_a_dead_letter_is_tried_again_and_only_once(t: &TestDb) {
        three_jobs(&t.db).await;
        let retry = |job: &Json| {
            let path = format!("/v1/admin/jobs/{}/retry", job["id"].as_str().unwrap());
            post(&admin(1), path, json!({})).of(routes(&service(&t.db)))
        };
        let dead = list(&t.db, "?state=dead").await.remove(0);
        let (one, two) = tokio::join!(retry(&dead), retry(&dead));
        assert_eq!(i32::from(one.is_ok()) + i32::from(two.is_ok()), 1, "{one:?} {two:?}");
        let again = list(&t.db, "?kind=letter.write").await.remove(0);
        assert_eq!((&again["state"], &again["attempts"]), (&json!("ready"), &json!(0)));
        let waiting = list(&t.db, "?kind=wall.paint").await.remove(0);
        let refused = retry(&waiting).await.unwrap_err();
        assert_eq!((refused.kind(), refused.code()), (Kind::Conflict, "wrong_state"));
        let nothing = json!({ "id": "job_01h455vb4pex5vsknk084sn02q" });
        assert_eq!(retry(&nothing).await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(verbs(&t.db).await, ["job.retried"]);
    }

    async fn pages_follow_the_link(t: &TestDb) {
        three_jobs(&t.db).await;
        let first = get(&caller(1, Role::Admin), "/v1/admin/jobs?limit=2");
        let first = first.of(routes(&service(&t.db))).await.unwrap();
        let next = first.link.unwrap().split(['<', '>']).nth(1).unwrap().to_owned();
        let rest = get(&admin(1), next).of(routes(&service(&t.db))).await.unwrap();
        assert_eq!(rest.body.as_array().unwrap().len(), 1);
        assert_eq!(rest.link, None);
    }
}
