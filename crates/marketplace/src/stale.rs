//! Commands on what has changed since it was read: each is refused with 412 and changes nothing,
//! for every row that tells of a version.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use http::Method;
use kernel::Caller;
use platform::testing::contents;
use serde_json::{Value as Json, json};

use crate::testing::{Answer, Client, with_key};
use crate::verification::model::{Command, State};
use crate::verification::tests::{MIGRATIONS, PRICE, Stage, stage};

/// How far a verification has come, or the dispute over one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Pending,
    Board,
    InReview,
    Claimed,
    NeedsInfo,
    Judged,
    Disputed,
    Resolved,
}

type Party = for<'a> fn(&'a Stage<'_>) -> &'a Caller;

const OWNER: Party = |stage| &stage.owner;
const VERIFIER: Party = |stage| &stage.verifier;
const ADMIN: Party = |stage| &stage.admin;

/// Every command that somebody gives: where, by whom, when and with what.
fn commands() -> Vec<(&'static str, Party, At, Json)> {
    let words = || json!({ "message": "Words." });
    let reason = || json!({ "reason": "Reasons." });
    let contest = || json!({ "reason": "other", "description": "Not so." });
    let ruling = || json!({ "resolution": "reject", "reason": "Reasons." });
    let asks = || json!({ "status": "needs_info", "message": "Words." });
    let job = |verb| match verb {
        "accept" => "POST /v1/verifier/jobs/{id}/accept",
        "decline" => "POST /v1/verifier/jobs/{id}/decline",
        "release" => "POST /v1/verifier/jobs/{id}/release",
        "notes" => "POST /v1/verifier/jobs/{id}/notes",
        "complete" => "POST /v1/verifier/jobs/{id}/complete",
        _ => "PUT /v1/verifier/jobs/{id}/status",
    };
    vec![
        ("POST /v1/user/verifications/{id}/cancel", OWNER, At::Pending, Json::Null),
        ("POST /v1/user/verifications/{id}/cancel", OWNER, At::Board, Json::Null),
        ("POST /v1/user/verifications/{id}/info", OWNER, At::NeedsInfo, words()),
        ("POST /v1/user/verifications/{id}/dispute", OWNER, At::Judged, contest()),
        ("POST /v1/enterprise/verifications/{id}/cancel", OWNER, At::Pending, Json::Null),
        ("POST /v1/enterprise/verifications/{id}/info", OWNER, At::NeedsInfo, words()),
        ("POST /v1/enterprise/verifications/{id}/dispute", OWNER, At::Judged, contest()),
        (
            "POST /v1/verifier/jobs/{id}/dispute",
            VERIFIER,
            At::Judged,
            json!({ "description": "Not so." }),
        ),
        (job("accept"), VERIFIER, At::Pending, Json::Null),
        (job("accept"), VERIFIER, At::Board, Json::Null),
        (job("decline"), VERIFIER, At::Pending, Json::Null),
        (job("release"), VERIFIER, At::Claimed, Json::Null),
        (job("status"), VERIFIER, At::InReview, json!({ "status": "in_progress" })),
        (job("status"), VERIFIER, At::InReview, asks()),
        (job("notes"), VERIFIER, At::InReview, json!({ "note": "Words." })),
        (job("complete"), VERIFIER, At::InReview, json!({ "verdict": "verified" })),
        (job("complete"), VERIFIER, At::Claimed, json!({ "verdict": "rejected" })),
        ("POST /v1/admin/verifications/{id}/force-cancel", ADMIN, At::InReview, reason()),
        ("POST /v1/disputes/{id}/evidence", OWNER, At::Disputed, words()),
        ("POST /v1/disputes/{id}/appeal", VERIFIER, At::Resolved, words()),
        ("POST /v1/enterprise/disputes/{id}/evidence", OWNER, At::Disputed, words()),
        ("POST /v1/enterprise/disputes/{id}/appeal", OWNER, At::Resolved, words()),
        ("POST /v1/admin/disputes/{id}/assign", ADMIN, At::Disputed, json!({})),
        ("POST /v1/admin/disputes/{id}/resolve", ADMIN, At::Disputed, ruling()),
    ]
}

/// What is said of a verification beside the commands, and stands by itself.
const BESIDE: [&str; 2] = ["/attachments", "/review"];

fn tag(version: i64) -> String {
    format!("\"{version}\"")
}

impl Stage<'_> {
    /// Something that has come so far; its path's id, and where its version is told.
    async fn at(&self, client: &Client, at: At) -> (String, &'static str) {
        let give = async |command, id| self.give(&self.verifier, id, command).await.unwrap();
        let id = match at {
            At::Board | At::Claimed => {
                let credential = self.credential(&self.owner).await;
                let body = json!({ "credentialId": credential, "price": PRICE, "currency": "USD" });
                let made = client.ask(&self.owner, "POST /v1/user/verifications", &[], body).await;
                assert_eq!((made.status, made.etag), (201, Some(tag(1))), "{}", made.body);
                made.body["id"].as_str().unwrap().parse().unwrap()
            }
            _ => self.requested().await.id,
        };
        if !matches!(at, At::Pending | At::Board) {
            give(Command::Accept, id).await;
        }
        if at == At::NeedsInfo {
            give(Command::RequestInfo, id).await;
        }
        if matches!(at, At::Judged | At::Disputed | At::Resolved) {
            give(Command::Verify, id).await;
        }
        if !matches!(at, At::Disputed | At::Resolved) {
            return (id.to_string(), "/v1/admin/verifications/");
        }
        let body = json!({ "reason": "other", "description": "Not so." });
        let contest = format!("POST /v1/user/verifications/{id}/dispute");
        let dispute =
            client.ok(&self.owner, &contest, body).await["id"].as_str().unwrap().to_owned();
        if at == At::Resolved {
            let resolve = format!("POST /v1/admin/disputes/{dispute}/resolve");
            let ruling = json!({ "resolution": "reject", "reason": "Reasons." });
            client.ok(&self.admin, &resolve, ruling).await;
        }
        (dispute, "/v1/admin/disputes/")
    }

    async fn seen(&self, client: &Client, path: &str) -> Answer {
        client.ask(&self.admin, &format!("GET {path}"), &[], Json::Null).await
    }
}

platform::on_both_engines! { MIGRATIONS;
    async fn every_command_is_refused_for_a_version_that_is_over(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        for (row, by, at, body) in commands() {
            stage.fund(&stage.owner, PRICE).await;
            let (id, told) = stage.at(&client, at).await;
            let (request, path) = (row.replace("{id}", &id), format!("{told}{id}"));
            let (seen, held) = (stage.seen(&client, &path).await, contents(&t.db).await);
            let version = seen.body["version"].as_i64().unwrap();
            assert_eq!(seen.etag, Some(tag(version)), "{path}");
            let give = async |who: &Caller, tag: &str| {
                client.ask(who, &request, &[("if-match", tag)], body.clone()).await
            };
            for stale in [&tag(version - 1), &tag(version + 1), "\"x\"", ""] {
                let refused = give(by(&stage), stale).await;
                assert_eq!((refused.status, &refused.body["code"]),
                    (412, &json!("precondition_failed")), "{row} {stale}");
                assert_eq!(refused.body["members"],
                    json!({ "version": version, "state": seen.body["status"] }), "{row}");
            }
            // A version is not told to whom the thing is not.
            let stranger = give(&stage.stranger, &tag(version - 1)).await;
            assert_eq!(stranger.status, 404, "{row}");
            assert!(contents(&t.db).await == held, "{row}");

            let done = give(by(&stage), &tag(version)).await;
            assert!((200..300).contains(&done.status), "{row} {}", done.body);
            let now = stage.seen(&client, &path).await;
            assert_eq!(now.body["version"], version + 1, "{row}");
            if !row.ends_with("/dispute") {
                assert_eq!(done.etag, now.etag, "{row}");
            }
            // Also when it could not be done any more: what is not known is told first. Who has
            // given a job back knows nothing of it any more.
            let again = give(by(&stage), &tag(version)).await;
            if row.ends_with("/release") {
                assert_eq!(again.status, 404);
                continue;
            }
            assert_eq!((again.status, &again.body["members"]["state"]),
                (412, &now.body["status"]), "{row}");
        }
    }

    async fn of_all_who_have_seen_the_same_version_one_is_heard(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        join_all((0..20).map(|_| t.db.ping())).await;
        for _ in 0..3 {
            let id = stage.requested().await.id;
            let seen = [("if-match", "\"1\"")];
            let clicks = (0..12).map(async |n| {
                let (by, request) = match n % 3 {
                    0 => (&stage.owner, format!("POST /v1/user/verifications/{id}/cancel")),
                    1 => (&stage.verifier, format!("POST /v1/verifier/jobs/{id}/accept")),
                    _ => (&stage.verifier, format!("POST /v1/verifier/jobs/{id}/decline")),
                };
                client.ask(by, &request, &seen, Json::Null).await
            });
            let answers = join_all(clicks).await;
            assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
            for refused in answers.iter().filter(|answer| answer.status != 200) {
                assert_eq!(refused.status, 412, "{}", refused.body);
                assert_eq!(refused.body["members"]["version"], 2);
            }
            assert_eq!(stage.told(id).await.len(), 2);
        }
    }

    async fn a_refusal_for_a_version_leaves_its_key_to_whoever_reads_again(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        let id = stage.accepted().await.id;
        let complete = format!("POST /v1/verifier/jobs/{id}/complete");
        let give = async |tag| {
            let caller = with_key(&stage.verifier, 9);
            let body = json!({ "verdict": "verified" });
            let answer = client.ask(&caller, &complete, &[("if-match", tag)], body).await;
            (answer, caller.idempotency.unwrap().is_replayed())
        };
        assert_eq!(give("\"1\"").await.0.status, 412);
        let (done, replayed) = give("\"2\"").await;
        assert_eq!((done.status, replayed), (200, false));
        // What was done under a key is answered again, whatever the sender has seen.
        for tag in ["\"2\"", "\"1\"", "*"] {
            let (again, replayed) = give(tag).await;
            assert_eq!((again.status, replayed, again.etag), (200, true, Some("\"3\"".to_owned())));
        }
        assert_eq!(stage.market.verifications.find(id).await.unwrap().0.state, State::Verified);
    }

    async fn what_a_verifier_says_of_themselves_has_one_version(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        let newcomer = stage.people.add(t, "New", kernel::Role::Verifier);
        let service = json!([{ "title": "Diplomas", "category": "Education", "price": 100,
            "currency": "USD" }]);
        let mut version = 0;
        for (path, body) in [
            ("/v1/verifier/profile", json!({ "headline": "I look at diplomas." })),
            ("/v1/verifier/services", service),
            ("/v1/verifier/availability", json!({ "languages": ["en"] })),
        ] {
            let put = async |tag: &str| {
                let request = format!("PUT {path}");
                client.ask(&newcomer, &request, &[("if-match", tag)], body.clone()).await
            };
            let read = async || {
                client.ask(&newcomer, &format!("GET {path}"), &[], Json::Null).await
            };
            let before = read().await;
            assert_eq!(before.etag, Some(tag(version)), "{path}");
            for stale in [tag(version - 1), tag(version + 1)] {
                let refused = put(&stale).await;
                assert_eq!((refused.status, &refused.body["members"]["version"]),
                    (412, &json!(version)), "{path}");
            }
            assert_eq!(read().await.body, before.body, "{path}");
            let saved = put(&tag(version)).await;
            version += 1;
            assert_eq!((saved.status, saved.etag), (200, Some(tag(version))), "{path}");
            assert_eq!(read().await.etag, Some(tag(version)), "{path}");
        }
        let puts = (0..6).map(async |_| {
            let seen = [("if-match", "\"3\"")];
            let body = json!({ "languages": ["fr"] });
            client.ask(&newcomer, "PUT /v1/verifier/availability", &seen, body).await.status
        });
        let statuses = join_all(puts).await;
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1);
        assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 5);
    }

    async fn every_row_about_one_verification_tells_its_version_and_takes_it(t: &TestDb) {
        let stage = stage(t).await;
        let tried: BTreeSet<_> = commands().into_iter().map(|(row, ..)| row.to_owned()).collect();
        let mut told = BTreeSet::new();
        let rooms =
            ["/v1/user/verifications/{id}", "/v1/enterprise/verifications/{id}",
            "/v1/verifier/jobs/{id}", "/v1/admin/verifications/{id}", "/v1/disputes/{id}",
            "/v1/enterprise/disputes/{id}", "/v1/admin/disputes/{id}"];
        for route in stage.market.routes() {
            let beside = BESIDE.iter().any(|noun| route.path.contains(noun));
            if beside || !rooms.iter().any(|room| route.path.starts_with(room)) {
                continue;
            }
            let shown = serde_json::to_value(route.described().sketch().operation).unwrap();
            let row = format!("{} {}", route.method, route.path);
            if route.method == Method::GET {
                if rooms.contains(&route.path) {
                    assert!(shown["responses"]["200"]["headers"].get("ETag").is_some(), "{row}");
                }
                continue;
            }
            let takes = |it: &Json| it["name"] == "If-Match" && it["in"] == "header";
            assert!(shown["parameters"].as_array().unwrap().iter().any(takes), "{row}");
            assert!(shown["responses"].get("412").is_some(), "{row}");
            told.insert(row);
        }
        assert_eq!(told, tried, "each of them is tried above");
    }
}
