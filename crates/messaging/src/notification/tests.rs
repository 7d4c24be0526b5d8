//! Notifications from the fact to the reader's eye.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, PageRequest, Principal, Role};
use platform::db::{Db, Migrations};
use platform::http::Failure;
use platform::journal::{self, Fact, Runner};
use platform::on_both_engines;
use serde_json::{Value as Json, json};
use tower::ServiceExt;

use super::rules::TEMPLATES;
use crate::Context;

const TABLES: &[Migrations] = &[platform::MIGRATIONS, crate::MIGRATIONS];

fn user(number: u128) -> Id<User> {
    Id::from_uuid(uuid::Uuid::from_u128(number))
}

fn caller(number: u128) -> Caller {
    Caller::of(Principal::new(user(number), Role::User, user(number).same_as()))
}

fn context(db: &Db) -> Context {
    crate::testing::context(db, &Arc::default())
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

/// Records these, and lets the notifier read them.
async fn happen(db: &Db, facts: Vec<Fact>) {
    for fact in facts {
        record(db, fact).await;
    }
    Runner::new(db.clone(), context(db).readers()).drain().await;
}

/// Asks over HTTP, as the edge hands a request in; answers the body and `Link`, or the error.
async fn ask(
    db: &Db,
    method: Method,
    who: u128,
    path: &str,
) -> Result<(Json, Option<String>), Error> {
    let router = context(db)
        .routes()
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, route.handler));
    let request = Request::builder().method(method).uri(path).extension(caller(who));
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    if let Some(failure) = response.extensions().get::<Failure>() {
        return Err(failure.0.clone());
    }
    let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok((serde_json::from_slice(&body).unwrap(), link))
}

async fn list(db: &Db, who: u128, query: &str) -> Vec<Json> {
    let path = format!("/v1/notifications{query}");
    let (body, _) = ask(db, Method::GET, who, &path).await.unwrap();
    body.as_array().unwrap().clone()
}

async fn titles(db: &Db, who: u128) -> Vec<String> {
    let all = list(db, who, "?limit=100").await;
    all.iter().map(|one| one["title"].as_str().unwrap().to_owned()).collect()
}

fn requested() -> Fact {
    Fact::by(&caller(1), "verification.requested").on("vrf_1").about(user(1)).about(user(2))
}

on_both_engines! { TABLES;
    async fn a_notification_has_the_shape_that_clients_know(t: &TestDb) {
        happen(&t.db, vec![
            Fact::by(&caller(2), "verification.verified").on("vrf_1").about(user(1)).about(user(2)),
        ])
        .await;
        let all = list(&t.db, 1, "").await;
        let id = all[0]["id"].as_str().unwrap();
        assert!(id.starts_with("n_"), "{id}");
        assert_eq!(all, [json!({
            "id": id,
            "title": "Verification complete",
            "description": "Your credential has been verified.",
            "timestamp": "2026-01-01T00:00:00Z",
            "isRead": false,
            "type": "success",
            "subject": "vrf_1",
        })]);
    }

    async fn those_concerned_are_told_but_not_who_did_it(t: &TestDb) {
        happen(&t.db, vec![
            requested(),
            Fact::by(&caller(2), "verification.accepted").on("vrf_1").about(user(1)).about(user(2)),
            Fact::by(&Caller::nobody(), "verification.expired").on("vrf_2")
                .about(user(1)).about(user(2)),
            Fact::by(&caller(9), "user.approved").on(user(2)).about(user(2)),
        ])
        .await;
        assert_eq!(titles(&t.db, 1).await, ["Verification expired", "Verification accepted"]);
        assert_eq!(
            titles(&t.db, 2).await,
            ["Account approved", "Verification expired", "New verification request"]
        );
        assert_eq!(titles(&t.db, 3).await, [""; 0]);
        assert_eq!(titles(&t.db, 9).await, [""; 0], "an admin is not told of their own doing");
    }

    async fn a_stolen_token_is_told_to_its_owner_whoever_used_it(t: &TestDb) {
        happen(&t.db, vec![
            Fact::by(&caller(1), "session.reuse_detected").on("s_1").about(user(1)),
            Fact::by(&Caller::nobody(), "session.reuse_detected").on("s_2").about(user(1)),
        ])
        .await;
        let all = list(&t.db, 1, "").await;
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|one| one["type"] == "warning"));
    }

    async fn money_is_told_in_its_currency(t: &TestDb) {
        let deposit = |verb| {
            let fact = Fact::by(&Caller::nobody(), verb).on("pay_1").about(user(1));
            fact.with("amount", 500_000).with("currency", "NGN")
        };
        let without = Fact::by(&Caller::nobody(), "deposit.settled").on("pay_2").about(user(1));
        happen(&t.db, vec![deposit("deposit.settled"), deposit("deposit.failed"), without]).await;
        let words: Vec<_> = list(&t.db, 1, "").await.into_iter().map(|it| it["description"].clone())
            .collect();
        assert_eq!(words, [
            "An amount has arrived in your wallet.",
            "Your deposit of ₦5,000.00 did not go through. Nothing was credited.",
            "₦5,000.00 has arrived in your wallet.",
        ]);
    }

    async fn what_is_not_worth_a_word_is_not_told(t: &TestDb) {
        happen(&t.db, vec![
            Fact::by(&caller(2), "escrow.held").on("hold_1").about(user(1)),
            Fact::by(&caller(2), "document.viewed").on("c_1").about(user(1)),
            Fact::by(&caller(2), "credential.revoked").on("c_1").about(user(1)),
            Fact::by(&caller(2), "credential.revoked").on("vc_1").about(user(1)),
        ])
        .await;
        assert_eq!(titles(&t.db, 1).await, ["Verification revoked"], "and nothing twice");
    }

    async fn a_fact_that_is_read_again_is_not_told_again(t: &TestDb) {
        happen(&t.db, vec![requested()]).await;
        let fact = &journal::since(&t.db, 0, 1).await.unwrap()[0];
        for reader in context(&t.db).readers() {
            t.db.run("again", |tx| {
                let reader = reader.clone();
                async move { reader.read(&tx, std::slice::from_ref(fact)).await }
            })
            .await
            .unwrap();
        }
        assert_eq!(titles(&t.db, 2).await.len(), 1);
    }

    async fn a_notification_is_read_once_and_stays_read(t: &TestDb) {
        happen(&t.db, vec![requested(), requested()]).await;
        let first = list(&t.db, 2, "").await[1]["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/notifications/{first}/read");
        for _ in 0..2 {
            let (body, _) = ask(&t.db, Method::PUT, 2, &path).await.unwrap();
            assert_eq!(body, json!({"success": true}));
            t.clock.advance(Duration::from_secs(1));
        }
        let read: Vec<_> = list(&t.db, 2, "").await.iter().map(|one| one["isRead"].clone()).collect();
        assert_eq!(read, [json!(false), json!(true)]);
        let unread = list(&t.db, 2, "?unread=true").await;
        assert_eq!(unread.len(), 1);
        assert_ne!(unread[0]["id"], json!(first));
        let facts = journal::of_subject(&t.db, &first, &[], &PageRequest::first(10)).await.unwrap().items;
        assert_eq!(facts.len(), 1, "one change, one fact");
        assert_eq!(facts[0].verb, "notification.read");
    }

    async fn another_users_notification_is_not_there(t: &TestDb) {
        happen(&t.db, vec![requested()]).await;
        let id = list(&t.db, 2, "").await[0]["id"].as_str().unwrap().to_owned();
        let missing = format!("/v1/notifications/{}/read", t.db.world().id::<kernel::id::kinds::Notification>());
        let foreign = format!("/v1/notifications/{id}/read");
        for path in [&foreign, &missing, "/v1/notifications/u_1/read", "/v1/notifications/x/read"] {
            let error = ask(&t.db, Method::PUT, 1, path).await.unwrap_err();
            assert_eq!(error.kind(), kernel::Kind::NotFound, "{path}");
        }
        assert_eq!(list(&t.db, 2, "?unread=true").await.len(), 1, "it is as unread as before");
    }

    async fn all_are_read_at_once_and_only_ones_own(t: &TestDb) {
        let both = Fact::by(&Caller::nobody(), "verification.expired").on("vrf_1")
            .about(user(1)).about(user(2));
        happen(&t.db, vec![both.clone(), both]).await;
        for _ in 0..2 {
            let (body, _) = ask(&t.db, Method::PUT, 1, "/v1/notifications/read-all").await.unwrap();
            assert_eq!(body, json!({"success": true}));
        }
        assert_eq!(list(&t.db, 1, "?unread=true").await.len(), 0);
        assert_eq!(list(&t.db, 2, "?unread=true").await.len(), 2);
        let (subject, page) = (user(1).to_string(), PageRequest::first(10));
        let facts = journal::of_subject(&t.db, &subject, &[], &page).await.unwrap().items;
        assert_eq!(facts.len(), 1, "the second time nothing changed");
        assert_eq!(facts[0].data, json!({"notifications": 2}));
    }

    async fn pages_follow_the_link_and_keep_the_filter(t: &TestDb) {
        happen(&t.db, (0..5).map(|_| requested()).collect()).await;
        let mut seen = BTreeSet::new();
        let mut path = "/v1/notifications?unread=true&limit=2".to_owned();
        let mut pages = 0;
        loop {
            let (body, link) = ask(&t.db, Method::GET, 2, &path).await.unwrap();
            pages += 1;
            for one in body.as_array().unwrap() {
                assert!(seen.insert(one["id"].as_str().unwrap().to_owned()), "none twice");
            }
            let Some(link) = link else { break };
            assert!(link.contains("unread=true&limit=2"), "{link}");
            path = link.split(['<', '>']).nth(1).unwrap().to_owned();
        }
        assert_eq!((seen.len(), pages), (5, 3));
        assert_eq!(list(&t.db, 2, "?page=3&limit=2").await.len(), 1);
        let error = ask(&t.db, Method::GET, 2, "/v1/notifications?unread=maybe").await.unwrap_err();
        assert_eq!(error.fields()[0].pointer, "/unread");
    }
}

#[test]
fn every_verb_has_one_template_and_every_template_its_words() {
    let mut verbs = BTreeSet::new();
    for template in TEMPLATES {
        assert!(verbs.insert(template.verb), "{} twice", template.verb);
        assert!(template.title.len() <= 40 && !template.title.ends_with('.'), "{template:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_end_up_with_the_same_tables() {
    let sqlite = platform::testing::TestDb::sqlite(TABLES).await;
    let postgres = platform::testing::TestDb::postgres(TABLES).await;
    let (left, right) = (
        platform::testing::schema(&sqlite.db).await,
        platform::testing::schema(&postgres.db).await,
    );
    assert_eq!(left, right);
    sqlite.finish().await;
    postgres.finish().await;
}
