//! Proposals over HTTP.

use std::time::Duration;

use kernel::{Kind, Result};
use platform::live::Live;
use platform::on_both_engines;
use platform::testing::TestDb;
use serde_json::{Value as Json, json};

use super::{Policy, Service, routes};
use crate::setting::{self, Setting};
use crate::testing::{Answer, TABLES, admin, get, post, verbs};

struct Stage<'t> {
    t: &'t TestDb,
    service: Service,
    fee: Live<u16>,
    policy: Policy,
}

fn stage(t: &TestDb) -> Stage<'_> {
    let (fee, policy) = (Live::from(250_u16), Policy::default());
    let settings = vec![
        Setting::integer("fee", "The fee.", 0..=1000, &fee),
        Setting::integer("quorum", "The quorum.", 1..=100, &policy.quorum),
    ];
    let settings = setting::Service::new(t.db.clone(), settings);
    let service = Service { db: t.db.clone(), settings, policy: policy.clone() };
    Stage { t, service, fee, policy }
}

const PATH: &str = "/v1/admin/governance/proposals";

impl Stage<'_> {
    async fn send(&self, who: u128, path: &str, body: Json) -> Result<Json> {
        let ask = post(&admin(who), format!("{PATH}{path}"), body);
        ask.of(routes(&self.service)).await.map(|answer: Answer| answer.body)
    }

    async fn propose(&self, values: Json) -> Result<Json> {
        let body = json!({ "title": "A lower fee", "description": "For all.", "values": values });
        self.send(1, "", body).await
    }

    async fn vote(&self, who: u128, proposal: &Json, vote: &str) -> Result<Json> {
        let path = format!("/{}/vote", proposal["id"].as_str().unwrap());
        self.send(who, &path, json!({ "vote": vote })).await
    }

    async fn execute(&self, who: u128, proposal: &Json) -> Result<Json> {
        let path = format!("/{}/execute", proposal["id"].as_str().unwrap());
        self.send(who, &path, json!({})).await
    }

    async fn list(&self, query: &str) -> Vec<Json> {
        let ask = get(&admin(1), format!("{PATH}{query}"));
        ask.body(routes(&self.service)).await.as_array().unwrap().clone()
    }

    fn a_week_passes(&self) {
        self.t.clock.advance(Duration::from_secs(7 * 24 * 3600));
    }
}

on_both_engines! { TABLES;
    async fn what_has_passed_is_executed_once(t: &TestDb) {
        let stage = stage(t);
        let made = stage.propose(json!({ "fee": 100 })).await.unwrap();
        assert_eq!((&made["status"], &made["quorum"]), (&json!("open"), &json!(2)));
        assert_eq!(made["closesAt"], "2026-01-08T00:00:00Z");
        stage.vote(1, &made, "yes").await.unwrap();
        let voted = stage.vote(2, &made, "for").await.unwrap();
        assert_eq!(voted["votes"], json!({ "for": 2, "against": 0, "abstain": 0 }));
        assert_eq!(voted["myVote"], "for");
        assert_eq!(stage.execute(1, &made).await.unwrap_err().code(), "proposal_open");
        stage.a_week_passes();
        assert_eq!(stage.list("?status=closed").await[0]["status"], "passed");
        assert_eq!(stage.fee.get(), 250);
        let (one, two) = tokio::join!(stage.execute(1, &made), stage.execute(2, &made));
        assert_eq!(i32::from(one.is_ok()) + i32::from(two.is_ok()), 1, "{one:?} {two:?}");
        let refused = one.as_ref().err().or(two.as_ref().err()).unwrap();
        assert_eq!(refused.code(), "wrong_state");
        let done = one.or(two).unwrap();
        assert_eq!((&done["status"], &done["settingsVersion"]), (&json!("executed"), &json!(1)));
        assert_eq!(stage.fee.get(), 100);
        let told = verbs(&t.db).await;
        assert_eq!(told.iter().filter(|verb| *verb == "settings.changed").count(), 1);
        assert_eq!(told.iter().filter(|verb| *verb == "proposal.executed").count(), 1);
        assert_eq!(stage.list("?status=executed").await.len(), 1);
        assert_eq!(stage.list("?status=open").await.len(), 0);
    }

    async fn everybody_has_one_vote_and_may_change_it_until_the_deadline(t: &TestDb) {
        let stage = stage(t);
        let made = stage.propose(json!({ "fee": 100 })).await.unwrap();
        let (one, two) =
            tokio::join!(stage.vote(1, &made, "for"), stage.vote(1, &made, "against"));
        one.and(two).unwrap();
        let voted = stage.vote(1, &made, "abstain").await.unwrap();
        assert_eq!(voted["votes"], json!({ "for": 0, "against": 0, "abstain": 1 }));
        t.clock.advance(Duration::from_secs(7 * 24 * 3600 - 1));
        stage.vote(2, &made, "for").await.unwrap();
        t.clock.advance(Duration::from_secs(1));
        let late = stage.vote(3, &made, "for").await.unwrap_err();
        assert_eq!((late.kind(), late.code()), (Kind::Conflict, "proposal_closed"));
        assert_eq!(stage.list("").await[0]["votes"]["for"], 1);
        let odd = stage.vote(1, &made, "maybe").await.unwrap_err();
        assert_eq!(odd.fields()[0].pointer, "/vote");
    }

    async fn what_too_few_or_no_majority_wants_is_rejected(t: &TestDb) {
        let stage = stage(t);
        let few = stage.propose(json!({ "fee": 100 })).await.unwrap();
        let tied = stage.propose(json!({ "fee": 200 })).await.unwrap();
        stage.vote(1, &few, "for").await.unwrap();
        stage.vote(1, &tied, "for").await.unwrap();
        stage.vote(2, &tied, "against").await.unwrap();
        stage.a_week_passes();
        for proposal in [&few, &tied] {
            let refused = stage.execute(1, proposal).await.unwrap_err();
            assert_eq!(refused.code(), "proposal_rejected");
        }
        assert_eq!(stage.fee.get(), 250);
        let statuses: Vec<_> =
            stage.list("").await.into_iter().map(|one| one["status"].clone()).collect();
        assert_eq!(statuses, ["rejected", "rejected"]);
    }

    async fn the_rules_of_a_vote_do_not_change_under_it(t: &TestDb) {
        let stage = stage(t);
        let made = stage.propose(json!({ "quorum": 1 })).await.unwrap();
        stage.policy.quorum.set(1);
        stage.policy.voting.set(Duration::from_secs(3600));
        stage.vote(1, &made, "for").await.unwrap();
        stage.a_week_passes();
        assert_eq!(stage.execute(1, &made).await.unwrap_err().code(), "proposal_rejected");
        let next = stage.propose(json!({ "fee": 1 })).await.unwrap();
        assert_eq!(next["quorum"], 1);
        stage.vote(1, &next, "for").await.unwrap();
        t.clock.advance(Duration::from_secs(3600));
        stage.execute(1, &next).await.unwrap();
        assert_eq!(stage.fee.get(), 1);
    }

    async fn what_no_setting_takes_is_not_proposed(t: &TestDb) {
        let stage = stage(t);
        for (values, pointer) in [
            (json!({ "fee": 1001 }), "/values/fee"),
            (json!({ "war": true }), "/values/war"),
            (json!({}), "/values"),
        ] {
            let error = stage.propose(values.clone()).await.unwrap_err();
            assert_eq!(error.fields()[0].pointer, pointer, "{values}");
        }
        let untitled = json!({ "title": "x", "values": { "fee": 1 } });
        assert_eq!(stage.send(1, "", untitled).await.unwrap_err().fields()[0].pointer, "/title");
        let nothing = json!({ "id": "prop_01h455vb4pex5vsknk084sn02q" });
        for refused in [stage.vote(1, &nothing, "for").await, stage.execute(1, &nothing).await] {
            assert_eq!(refused.unwrap_err().kind(), Kind::NotFound);
        }
        assert_eq!(verbs(&t.db).await, [""; 0]);
    }
}
