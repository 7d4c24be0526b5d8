//! The trail as its readers see it.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use kernel::caller::{Acting, Actor, RequestId};
use kernel::id::kinds::{ApiKey, User};
use kernel::{Caller, Error, Id, Permission, Principal, Role};
use platform::db::{Db, Migrations};
use platform::http::{Audience, Failure};
use platform::journal::Fact;
use platform::on_both_engines;
use serde_json::{Value as Json, json};
use tower::ServiceExt;

use super::Service;

const TABLES: &[Migrations] = &[platform::MIGRATIONS];

fn user(number: u128) -> Id<User> {
    Id::from_uuid(uuid::Uuid::from_u128(number))
}

fn caller(number: u128) -> Caller {
    let role = if number == 9 { Role::Admin } else { Role::User };
    let mut caller = Caller::of(Principal::new(user(number), role, user(number).same_as()));
    caller.origin.ip = Some(format!("192.0.2.{number}").parse().unwrap());
    caller.origin.user_agent = Some(format!("browser {number}").into());
    caller.origin.request_id = RequestId::Theirs(format!("request {number}").into());
    caller
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

/// What was answered: body, media type and `Link`.
struct Answer {
    body: String,
    media: String,
    link: Option<String>,
}

async fn ask(db: &Db, who: u128, path: &str, accept: &str) -> Result<Answer, Error> {
    let router = super::routes(&Service::new(db.clone()))
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, route.handler));
    let request = Request::get(path).header("accept", accept).extension(caller(who));
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    if let Some(failure) = response.extensions().get::<Failure>() {
        return Err(failure.0.clone());
    }
    let header =
        |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (media, link) = (header("content-type").unwrap(), header("link"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok(Answer { body: String::from_utf8(body.to_vec()).unwrap(), media, link })
}

async fn list(db: &Db, who: u128, path: &str) -> Vec<Json> {
    serde_json::from_str(&ask(db, who, path, "*/*").await.unwrap().body).unwrap()
}

async fn resources(db: &Db, who: u128, path: &str) -> Vec<String> {
    let all = list(db, who, path).await;
    all.iter().map(|line| line["resource"].as_str().unwrap().to_owned()).collect()
}

/// Three users' doings, a minute apart: 1 and 2 share a verification, 3 has nothing to do with it.
async fn history(t: &platform::testing::TestDb) {
    let facts = [
        Fact::by(&caller(1), "credential.created").on("c_1").with("type", "Education"),
        Fact::by(&caller(1), "verification.requested").on("vrf_1").about(user(2)),
        Fact::by(&caller(2), "document.viewed").on("c_1").about(user(1)).with("file", "file_1"),
        Fact::by(&caller(2), "verification.accepted").on("vrf_1").about(user(1)),
        Fact::by(&caller(3), "credential.created").on("c_3"),
        Fact::by(&Caller::nobody(), "verification.expired").on("vrf_1").about(user(1)),
    ];
    for fact in facts {
        record(&t.db, fact).await;
        t.clock.advance(Duration::from_secs(60));
    }
}

on_both_engines! { TABLES;
    async fn an_organization_looks_for_what_one_key_or_one_member_did(t: &TestDb) {
        let key = |number: u128| Id::<ApiKey>::from_uuid(uuid::Uuid::from_u128(number));
        let by_key = |number: u128| {
            let may = Permission::ALL.into_iter().collect();
            let acting = Some(Acting { by: Actor::Key(key(number)), may });
            let own = Principal::new(user(1), Role::Enterprise, user(1).same_as());
            Caller::of(Principal { acting, ..own })
        };
        for (who, subject) in [(by_key(7), "vrf_7"), (by_key(8), "vrf_8"), (caller(1), "vrf_1")] {
            record(&t.db, Fact::by(&who, "verification.requested").on(subject)).await;
        }
        record(&t.db, Fact::by(&caller(2), "verification.accepted").on("vrf_7").about(user(1)))
            .await;
        let by = async |actor: String| {
            resources(&t.db, 1, &format!("/v1/enterprise/audit-logs?actor={actor}")).await
        };
        assert_eq!(by(key(7).to_string()).await, ["vrf_7"]);
        assert_eq!(by(key(8).to_string()).await, ["vrf_8"]);
        assert_eq!(by(key(9).to_string()).await, [""; 0]);
        assert_eq!(by(user(1).to_string()).await, ["vrf_1", "vrf_8", "vrf_7"]);
        assert_eq!(by(user(2).to_string()).await, ["vrf_7"]);
        for wrong in ["x", "ak_1", "c_01h455vb4pex5vsknk084sn02q"] {
            let path = format!("/v1/enterprise/audit-logs?actor={wrong}");
            let error = ask(&t.db, 1, &path, "*/*").await.err().unwrap();
            assert_eq!(error.fields()[0].pointer, "/actor", "{wrong}");
        }
    }

    async fn the_file_api_s_log_holds_what_one_has_done_in_its_words(t: &TestDb) {
        let file: Id<kernel::id::kinds::File> = t.db.world().id();
        record(&t.db, Fact::by(&caller(1), "file.uploaded").on(file).with("size", 7)).await;
        record(&t.db, Fact::by(&caller(2), "order.created").on("x").about(user(1))).await;
        record(&t.db, Fact::by(&caller(1), "session.started").on(user(1))).await;
        record(&t.db, Fact::by(&caller(1), "file.listed").on("files")).await;
        record(&t.db, Fact::by(&caller(1), "file.downloaded").on(file)).await;
        let log = list(&t.db, 1, "/api/audit/logs").await;
        let actions: Vec<_> = log.iter().map(|line| line["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["FILE_DOWNLOAD", "FILE_LIST", "USER_LOGIN", "FILE_UPLOAD"]);
        assert_eq!((&log[0]["resource"], &log[1]["resource"]),
            (&json!(file.uuid().to_string()), &json!("files")));
        let line = &log[3];
        assert_eq!(line["resource"], file.uuid().to_string());
        assert_eq!(line["user_id"], user(1).uuid().to_string());
        assert_eq!((&line["ip"], &line["metadata"]["size"]), (&json!("192.0.2.1"), &json!(7)));
        assert_eq!(line["user_agent"], "browser 1");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
        let names: Vec<_> = line.as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 8, "{names:?}");
    }

    async fn a_user_sees_what_concerns_them_and_an_admin_sees_all(t: &TestDb) {
        history(t).await;
        let own = "/v1/audit/logs";
        assert_eq!(resources(&t.db, 1, own).await, ["vrf_1", "vrf_1", "c_1", "vrf_1", "c_1"]);
        assert_eq!(resources(&t.db, 2, own).await, ["vrf_1", "c_1", "vrf_1"]);
        assert_eq!(resources(&t.db, 3, own).await, ["c_3"]);
        assert_eq!(resources(&t.db, 4, own).await, [""; 0]);
        assert_eq!(resources(&t.db, 9, own).await, [""; 0], "an admin's own trail is their own");
        assert_eq!(
            resources(&t.db, 9, "/v1/admin/audit-logs").await,
            ["vrf_1", "c_3", "vrf_1", "c_1", "vrf_1", "c_1"]
        );
    }

    async fn a_line_has_the_shape_that_clients_know(t: &TestDb) {
        history(t).await;
        let lines = list(&t.db, 1, "/v1/audit/logs?action=credential").await;
        let id = lines[0]["id"].as_str().unwrap();
        assert!(id.starts_with("evt_"), "{id}");
        assert_eq!(lines, [json!({
            "id": id,
            "timestamp": "2026-01-01T00:00:00Z",
            "actor": user(1).to_string(),
            "actorRole": "user",
            "action": "credential.created",
            "resource": "c_1",
            "ip": "192.0.2.1",
            "userAgent": "browser 1",
            "requestId": "request 1",
            "metadata": {"type": "Education"},
        })]);
    }

    async fn where_others_are_is_shown_to_admins_only(t: &TestDb) {
        history(t).await;
        for line in list(&t.db, 1, "/v1/audit/logs").await {
            let is_own = line["actor"] == json!(user(1).to_string());
            for field in ["ip", "userAgent", "requestId"] {
                assert_eq!(line.get(field).is_some(), is_own, "{line}");
            }
        }
        let export = ask(&t.db, 1, "/v1/audit/logs", "application/x-ndjson").await.unwrap();
        assert!(export.body.contains("192.0.2.1") && !export.body.contains("192.0.2.2"));
        assert!(!export.body.contains("browser 2") && !export.body.contains("request 2"));
        let all = list(&t.db, 9, "/v1/admin/audit-logs?resource=vrf_1").await;
        assert_eq!(all[0].get("ip"), None, "the platform is nowhere");
        assert_eq!(all[1]["ip"], "192.0.2.2");
    }

    async fn filters_narrow_and_combine(t: &TestDb) {
        history(t).await;
        let actor = user(2);
        for (query, expected) in [
            (format!("actor={actor}"), vec!["vrf_1", "c_1"]),
            (format!("actor={actor}&action=document.viewed"), vec!["c_1"]),
            ("action=verification".to_owned(), vec!["vrf_1", "vrf_1", "vrf_1"]),
            ("action=&resource=c_1".to_owned(), vec!["c_1", "c_1"]),
            ("from=2026-01-01T00:04:00Z".to_owned(), vec!["vrf_1", "c_3"]),
            ("to=2026-01-01T00:01:00Z".to_owned(), vec!["c_1"]),
            (
                "from=2026-01-01T01:01:00%2B01:00&to=2026-01-01T00:02:00.5Z".to_owned(),
                vec!["c_1", "vrf_1"],
            ),
            ("actor=".to_owned() + &user(7).to_string(), vec![]),
        ] {
            let path = format!("/v1/admin/audit-logs?{query}");
            assert_eq!(resources(&t.db, 9, &path).await, expected, "{query}");
        }
        let own = "/v1/audit/logs?action=verification&from=2026-01-01T00:02:00Z";
        assert_eq!(resources(&t.db, 1, own).await, ["vrf_1", "vrf_1"]);
    }

    async fn a_users_actor_filter_does_not_widen_their_trail(t: &TestDb) {
        history(t).await;
        let path = format!("/v1/audit/logs?actor={}", user(3));
        assert!(!resources(&t.db, 1, &path).await.contains(&"c_3".to_owned()));
    }

    async fn a_wrong_filter_is_named(t: &TestDb) {
        for (query, pointer, words) in [
            ("from=yesterday", "/from", "RFC 3339"),
            ("to=2026-01-01", "/to", "RFC 3339"),
            ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "/to", "later than"),
            ("actor=c_01h455vb4pex5vsknk084sn02q", "/actor", "not the id of a user"),
            ("limit=0", "/limit", "from 1 to 100"),
            ("cursor=x", "/cursor", "Link"),
        ] {
            let path = format!("/v1/admin/audit-logs?{query}");
            let error = ask(&t.db, 9, &path, "*/*").await.err().expect(query);
            let field = &error.fields()[0];
            assert_eq!(field.pointer, pointer, "{query}");
            assert!(field.message.contains(words), "{query}: {}", field.message);
        }
        let path = "/v1/admin/audit-logs?resource=a%00b";
        let error = ask(&t.db, 9, path, "*/*").await.err().unwrap();
        assert_eq!(error.kind(), kernel::Kind::Invalid, "{error:?}");
    }

    async fn pages_follow_the_link(t: &TestDb) {
        history(t).await;
        for (who, start) in [(9, "/v1/admin/audit-logs?limit=2"), (1, "/v1/audit/logs?limit=2")] {
            let whole = resources(&t.db, who, start.split('?').next().unwrap()).await;
            let mut path = start.to_owned();
            let mut seen = Vec::new();
            loop {
                let answer = ask(&t.db, who, &path, "application/json").await.unwrap();
                assert_eq!(answer.media, "application/json");
                let page: Vec<Json> = serde_json::from_str(&answer.body).unwrap();
                assert!(page.len() <= 2);
                seen.extend(page.iter().map(|line| line["resource"].as_str().unwrap().to_owned()));
                let Some(link) = answer.link else { break };
                path = link.split(['<', '>']).nth(1).unwrap().to_owned();
            }
            assert_eq!(seen, whole);
        }
    }

    async fn an_export_brings_the_whole_trail_as_lines(t: &TestDb) {
        for turn in 0..26 {
            let turn = &turn;
            t.db.run("record", |tx| async move {
                for number in 0..50 {
                    tx.record(Fact::by(&caller(1), "thing.made").on(turn * 50 + number));
                }
                Ok(())
            })
            .await
            .unwrap();
        }
        let accept = "text/html, Application/X-NDJSON;q=0.9";
        for (who, path) in [(9, "/v1/admin/audit-logs"), (1, "/v1/audit/logs?limit=3")] {
            let answer = ask(&t.db, who, path, accept).await.unwrap();
            assert_eq!(answer.media, "application/x-ndjson");
            assert!(answer.body.ends_with('\n'));
            let found: Vec<String> = answer
                .body
                .lines()
                .map(|line| serde_json::from_str::<Json>(line).unwrap())
                .map(|line| line["resource"].as_str().unwrap().to_owned())
                .collect();
            let expected: Vec<String> = (0..1300).rev().map(|number| number.to_string()).collect();
            assert_eq!(found, expected);
        }
        let none = ask(&t.db, 5, "/v1/audit/logs", accept).await.unwrap();
        assert_eq!(none.body, "");
    }

    async fn the_access_log_names_others_who_looked(t: &TestDb) {
        history(t).await;
        let lines = list(&t.db, 1, "/v1/me/access-log").await;
        assert_eq!(lines, [json!({
            "id": lines[0]["id"],
            "timestamp": "2026-01-01T00:02:00Z",
            "actor": user(2).to_string(),
            "actorRole": "user",
            "action": "document.viewed",
            "resource": "c_1",
            "metadata": {"file": "file_1"},
        })]);
        assert_eq!(list(&t.db, 2, "/v1/me/access-log").await, [Json::Null; 0], "not their own");
        // Whatever the file is to a case.
        for verb in ["verification.attachment_viewed", "verification.report_viewed",
            "dispute.evidence_viewed"]
        {
            record(&t.db, Fact::by(&caller(2), verb).on("x_1").about(user(1))).await;
            assert_eq!(list(&t.db, 1, "/v1/me/access-log").await[0]["action"], verb);
        }
        assert_eq!(list(&t.db, 3, "/v1/me/access-log").await, [Json::Null; 0]);
    }

    async fn activity_tells_the_latest_in_words_and_without_noise(t: &TestDb) {
        history(t).await;
        record(&t.db, Fact::by(&caller(1), "notification.all_read").on("u_1")).await;
        record(&t.db, Fact::by(&caller(2), "verification.info_requested").on("vrf_1").about(user(1)))
            .await;
        let lines = list(&t.db, 1, "/v1/me/activity?limit=3").await;
        assert_eq!(lines, [
            json!({
                "id": lines[0]["id"],
                "timestamp": "2026-01-01T00:06:00Z",
                "title": "Verification info requested",
                "action": "verification.info_requested",
                "resource": "vrf_1",
                "byMe": false,
            }),
            json!({
                "id": lines[1]["id"],
                "timestamp": "2026-01-01T00:05:00Z",
                "title": "Verification expired",
                "action": "verification.expired",
                "resource": "vrf_1",
                "byMe": false,
            }),
        ]);
    }
}

#[tokio::test]
async fn only_admins_see_everybody() {
    let t = platform::testing::TestDb::sqlite(TABLES).await;
    for route in super::routes(&Service::new(t.db.clone())) {
        let expected = match route.path {
            path if path.contains("/admin/") => Audience::Admin,
            // An organization's own trail.
            path if path.contains("/enterprise/") => Audience::Enterprise,
            _ => Audience::Any,
        };
        assert_eq!(route.audience, expected, "{}", route.path);
    }
    t.finish().await;
}
