//! Requests in somebody's place, over HTTP.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use kernel::{Caller, Role};
use platform::on_both_engines;
use platform::privacy::Own;
use platform::testing::TestDb;
use serde_json::{Value as Json, json};

use crate::closing::Held;
use crate::testing::{Answer, House, TABLES, house};

const PATH: &str = "/v1/admin/privacy/requests";

struct Stage<'t> {
    house: House<'t>,
    /// Two admins.
    root: Caller,
    ruth: Caller,
    anne: Caller,
}

async fn stage(t: &TestDb) -> Stage<'_> {
    t.db.keep_private(crate::testing::master());
    let house = house(t);
    house.identity.closing.know(vec![Arc::new(Own), Arc::new(Held)]);
    let signed_in = async |email: &str, role| {
        let signed_in = house.signed_in(email, role).await;
        house.caller(&signed_in).await
    };
    let root = signed_in("root@example.org", Role::Admin).await;
    let ruth = signed_in("ruth@example.org", Role::Admin).await;
    let anne = signed_in("anne@example.org", Role::User).await;
    Stage { house, root, ruth, anne }
}

impl Stage<'_> {
    async fn begin(&self, who: &Caller, about: &Caller, kind: &str) -> Answer {
        let body = json!({ "userId": about.user().unwrap(), "kind": kind,
                           "reason": "By letter, with a copy of her passport." });
        self.house.send("POST", PATH, who, Some(body)).await
    }

    async fn decide(&self, who: &Caller, request: &Json, verb: &str) -> Answer {
        let path = format!("{PATH}/{}/{verb}", request["id"].as_str().unwrap());
        self.house.send("POST", &path, who, Some(json!({}))).await
    }

    async fn list(&self, query: &str) -> Vec<Json> {
        let list = self.house.send("GET", &format!("{PATH}{query}"), &self.root, None).await.json;
        list.as_array().unwrap().clone()
    }

    async fn is_open(&self) -> bool {
        self.house.login_with("anne@example.org", crate::testing::PASSWORD).await.is_ok()
    }
}

on_both_engines! { TABLES;
    async fn an_erasure_in_somebody_s_place_takes_two_admins(t: &TestDb) {
        let stage = stage(t).await;
        let begun = stage.begin(&stage.root, &stage.anne, "erasure").await;
        assert_eq!(begun.status, StatusCode::CREATED);
        assert_eq!((&begun.json["status"], &begun.json["kind"]), (&json!("pending"), &json!("erasure")));
        let alone = stage.decide(&stage.root, &begun.json, "approve").await.error.unwrap();
        assert_eq!(alone.code(), "second_admin_needed");
        assert!(stage.is_open().await);
        let done = stage.decide(&stage.ruth, &begun.json, "approve").await;
        assert_eq!((done.status, &done.json["status"]), (StatusCode::OK, &json!("done")));
        assert!(!stage.is_open().await);
        let facts = stage.house.facts().await;
        for verb in ["privacy_request.created", "privacy_request.approved", "user.closed", "user.erased"] {
            assert_eq!(facts.iter().filter(|fact| *fact == verb).count(), 1, "{verb}");
        }
        let listed = &stage.list("?status=done&kind=erasure").await[0];
        assert_eq!(listed["decidedBy"], stage.ruth.user().unwrap().to_string());
        assert_eq!(listed["reason"], "", "words about her have gone with her");
    }

    async fn of_two_approvals_at_once_one_counts(t: &TestDb) {
        let stage = stage(t).await;
        let signed_in = stage.house.signed_in("rita@example.org", Role::Admin).await;
        let rita = stage.house.caller(&signed_in).await;
        let begun = stage.begin(&stage.root, &stage.anne, "erasure").await.json;
        let (one, two) = tokio::join!(
            stage.decide(&stage.ruth, &begun, "approve"),
            stage.decide(&rita, &begun, "approve"),
        );
        let done = [&one, &two].iter().filter(|answer| answer.status == StatusCode::OK).count();
        assert_eq!(done, 1);
        let facts = stage.house.facts().await;
        assert_eq!(facts.iter().filter(|fact| *fact == "user.closed").count(), 1);
    }

    async fn what_is_rejected_or_taken_back_closes_nothing(t: &TestDb) {
        let stage = stage(t).await;
        let begun = stage.begin(&stage.root, &stage.anne, "erasure").await.json;
        let twice = stage.begin(&stage.ruth, &stage.anne, "erasure").await.error.unwrap();
        assert_eq!(twice.code(), "request_exists");
        let back = stage.decide(&stage.root, &begun, "reject").await;
        assert_eq!(back.json["status"], "rejected");
        let late = stage.decide(&stage.ruth, &begun, "approve").await.error.unwrap();
        assert_eq!(late.code(), "wrong_state");
        assert!(stage.is_open().await);
        stage.begin(&stage.ruth, &stage.anne, "erasure").await;
        assert_eq!(stage.list("?status=pending").await.len(), 1);
    }

    async fn an_export_in_somebody_s_place_is_fetched_for_a_week_and_seen_by_them(t: &TestDb) {
        let stage = stage(t).await;
        let begun = stage.begin(&stage.root, &stage.anne, "export").await.json;
        let path = format!("{PATH}/{}/export", begun["id"].as_str().unwrap());
        let fetch = || stage.house.send("GET", &path, &stage.root, None);
        assert_eq!(fetch().await.error.unwrap().code(), "wrong_state");
        let approved = stage.decide(&stage.ruth, &begun, "approve").await;
        assert_eq!(approved.json["status"], "approved");
        let document = fetch().await.json;
        assert_eq!(document["person"], stage.anne.user().unwrap().to_string());
        assert_eq!(document["holds"]["identity"]["users"][0]["email"], "anne@example.org");
        let facts = stage.house.facts().await;
        assert_eq!(facts.iter().filter(|fact| *fact == "user.exported").count(), 1);
        t.clock.advance(Duration::from_secs(8 * 24 * 3600));
        assert_eq!(fetch().await.status, StatusCode::GONE);
    }

    async fn what_people_do_by_themselves_is_listed_as_done(t: &TestDb) {
        let stage = stage(t).await;
        stage.house.send("GET", "/v1/me/export", &stage.anne, None).await;
        let gone = stage.house.send("DELETE", "/v1/me", &stage.anne, Some(json!({}))).await;
        assert_eq!(gone.status, StatusCode::OK);
        let user = stage.anne.user().unwrap();
        let kinds: Vec<_> = stage
            .list(&format!("?user={user}&status=done"))
            .await
            .into_iter()
            .map(|one| (one["kind"].clone(), one["requestedBy"].clone()))
            .collect();
        let by_her = json!(user.to_string());
        assert_eq!(kinds, [(json!("erasure"), by_her.clone()), (json!("export"), by_her)]);
    }

    async fn nobody_begins_about_admins_themselves_or_who_is_gone(t: &TestDb) {
        let stage = stage(t).await;
        let code = async |about: &Caller| {
            stage.begin(&stage.root, about, "erasure").await.error.unwrap().code().to_owned()
        };
        assert_eq!(code(&stage.root).await, "own_account");
        assert_eq!(code(&stage.ruth).await, "admin_protected");
        stage.house.send("DELETE", "/v1/me", &stage.anne, Some(json!({}))).await;
        assert_eq!(code(&stage.anne).await, "wrong_state");
    }
}
