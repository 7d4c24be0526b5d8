//! The rules over a journal, and the alerts over HTTP.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::{Organization, User, Verification, Verifier};
use kernel::{Caller, Id, Kind, Result, Role, Secret};
use parking_lot::Mutex;
use platform::db::{Db, Read, Tx};
use platform::journal::{self, Fact, Filter, Runner};
use platform::on_both_engines;
use platform::testing::TestDb;
use serde_json::{Value as Json, json};

use super::places::tests::places;
use super::{Brake, Modes, Places, Service, Watcher, routes};
use crate::testing::{TABLES, admin, caller, get, post, user, verbs};

/// Whose wallets were frozen.
#[derive(Default)]
struct Wallets(Mutex<Vec<Id<User>>>);

impl Brake for Wallets {
    fn freeze<'a>(&'a self, _: &'a Tx, person: Id<User>) -> BoxFuture<'a, Result<()>> {
        self.0.lock().push(person);
        async { Ok(()) }.boxed()
    }
}

struct Stage<'t> {
    t: &'t TestDb,
    modes: Modes,
    wallets: Arc<Wallets>,
    service: Service,
    /// Whether the operator has a database of addresses.
    knows_places: bool,
}

fn stage(t: &TestDb) -> Stage<'_> {
    let modes = Modes { velocity_per_hour: 3.into(), ..Modes::default() };
    let service = Service { db: t.db.clone() };
    Stage { t, modes, wallets: Arc::default(), service, knows_places: false }
}

/// Somebody at an address with a client.
fn at(number: u128, role: Role, address: &str, agent: &str) -> Caller {
    let mut caller = caller(number, role);
    caller.origin.ip = Some(address.parse().unwrap());
    caller.origin.user_agent = Some(agent.into());
    caller
}

async fn record(db: &Db, fact: Fact) {
    let fact = &fact;
    db.run("test.record", |tx| async move {
        tx.record(fact.clone());
        Ok(())
    })
    .await
    .unwrap();
}

impl Stage<'_> {
    fn watcher(&self) -> Watcher {
        Watcher {
            db: self.t.db.clone(),
            modes: self.modes.clone(),
            key: Secret::new([7; 32]),
            places: if self.knows_places { places() } else { Places::default() },
            brake: self.wallets.clone(),
        }
    }

    async fn happens(&self, fact: Fact) {
        record(&self.t.db, fact).await;
        Runner::new(self.t.db.clone(), vec![Arc::new(self.watcher())]).drain().await;
    }

    async fn alerts(&self, query: &str) -> Vec<Json> {
        let path = format!("/v1/admin/fraud/alerts{query}");
        get(&admin(90), path).body(routes(&self.service)).await.as_array().unwrap().clone()
    }

    async fn decide(&self, alert: &Json, verb: &str) -> Result<Json> {
        let path = format!("/v1/admin/fraud/alerts/{}/{verb}", alert["id"].as_str().unwrap());
        let ask = post(&admin(90), path, json!({ "reason": "looked at" }));
        ask.of(routes(&self.service)).await.map(|answer| answer.body)
    }

    async fn create(&self, who: u128) {
        let by = caller(who, Role::User);
        self.happens(Fact::by(&by, "credential.created").on("c_x")).await;
    }

    /// A verdict of number 2 about something of number 1's, so long after it was accepted.
    async fn verdict(&self, number: u128, seconds: u64, verb: &'static str) {
        let id = Id::<Verification>::from_uuid(uuid::Uuid::from_u128(number));
        let verifier = caller(2, Role::Verifier);
        let fact = |verb| Fact::by(&verifier, verb).on(id).about(user(1)).about(user(2));
        self.happens(fact("verification.accepted")).await;
        self.t.clock.advance(Duration::from_secs(seconds));
        self.happens(fact(verb)).await;
        self.t.clock.advance(Duration::from_secs(3600));
    }

    async fn sign_in(&self, caller: &Caller) {
        self.happens(Fact::by(caller, "session.started").on("s_x")).await;
    }
}

on_both_engines! { TABLES;
    async fn many_of_a_kind_in_an_hour_are_one_alert(t: &TestDb) {
        let stage = stage(t);
        for _ in 0..3 {
            stage.create(1).await;
            stage.create(2).await;
        }
        assert!(stage.alerts("").await.is_empty());
        stage.create(1).await;
        stage.create(1).await;
        let alerts = stage.alerts("?status=open&rule=velocity").await;
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        assert_eq!(alerts[0]["user"], user(1).to_string());
        assert_eq!((&alerts[0]["seen"], &alerts[0]["enforced"]), (&json!(2), &json!(false)));
        assert_eq!(
            alerts[0]["reasons"],
            json!(["5 credentials in an hour, where 3 are usual at most"])
        );
        assert_eq!(alerts[0]["score"], 83);
        t.clock.advance(Duration::from_secs(3601));
        stage.create(2).await;
        assert_eq!(stage.alerts("").await.len(), 1, "an hour later it begins anew");
        assert!(stage.wallets.0.lock().is_empty());
    }

    async fn a_fact_is_looked_at_once_however_often_it_is_asked_for(t: &TestDb) {
        let stage = stage(t);
        for _ in 0..4 {
            stage.create(1).await;
        }
        // Another process reads the same journal at the same time.
        let (one, two) = (stage.watcher(), stage.watcher());
        for _ in 0..3 {
            let read = tokio::join!(
                journal::advance(&t.db, &one),
                journal::advance(&t.db, &two),
            );
            assert!(read.0.is_ok() || read.1.is_ok());
        }
        assert_eq!(stage.alerts("").await[0]["seen"], 1);
    }

    async fn a_rule_is_off_monitors_or_enforces(t: &TestDb) {
        let stage = stage(t);
        stage.modes.velocity.set("off".to_owned());
        for _ in 0..6 {
            stage.create(1).await;
        }
        assert!(stage.alerts("").await.is_empty());
        stage.modes.velocity.set("enforce".to_owned());
        stage.create(1).await;
        assert_eq!(stage.alerts("").await[0]["enforced"], true);
        assert_eq!(*stage.wallets.0.lock(), [user(1)]);
    }

    async fn the_same_bytes_elsewhere_name_the_one_who_came_second(t: &TestDb) {
        let stage = stage(t);
        let nobody = Caller::nobody();
        stage.happens(Fact::by(&nobody, "file.duplicated").on("file_x")).await;
        let by = caller(1, Role::User);
        stage.happens(Fact::by(&by, "file.uploaded").on("file_x")).await;
        let alert = &stage.alerts("?rule=duplicate_document").await[0];
        assert_eq!((&alert["subject"], &alert["user"]), (&json!("file_x"), &json!(user(1))));
        assert_eq!(alert.get("counterpart"), None);
    }

    async fn what_three_people_flag_is_an_alert(t: &TestDb) {
        let stage = stage(t);
        for who in [1, 2, 2, 3] {
            assert!(stage.alerts("").await.is_empty());
            let by = caller(who, Role::User);
            stage.happens(Fact::by(&by, "flag.raised").on("flag_x").with("subject", "rv_x")).await;
        }
        let alert = &stage.alerts("").await[0];
        assert_eq!((&alert["rule"], &alert["subject"]), (&json!("flagged"), &json!("rv_x")));
        assert_eq!(alert["score"], 60);
    }

    async fn money_that_is_touched_from_nowhere_known_is_an_alert(t: &TestDb) {
        let stage = stage(t);
        let home = at(1, Role::User, "192.0.2.7", "Firefox");
        let same_net = at(1, Role::User, "192.0.2.99", "Safari");
        let away = at(1, Role::User, "203.0.113.5", "curl");
        let withdraws = |who: &Caller| Fact::by(who, "withdrawal.requested").on("wd_x");
        for known in [&home, &home, &same_net] {
            stage.sign_in(known).await;
            stage.happens(withdraws(known)).await;
        }
        assert!(stage.alerts("").await.is_empty(), "the first sign-in is nobody else's");
        stage.sign_in(&away).await;
        stage.happens(withdraws(&away)).await;
        let alert = &stage.alerts("").await[0];
        assert_eq!((&alert["rule"], &alert["user"]), (&json!("takeover"), &json!(user(1))));
        assert!(!alert.to_string().contains("203.0.113"), "{alert}");
        t.clock.advance(Duration::from_secs(25 * 3600));
        stage.happens(withdraws(&away)).await;
        assert_eq!(stage.alerts("").await[0]["seen"], 1, "a day later it is nothing new");
    }

    async fn who_is_in_two_far_places_at_once_is_an_alert(t: &TestDb) {
        let mut stage = stage(t);
        let paris = at(1, Role::User, "192.0.2.7", "Firefox");
        let tokyo = at(1, Role::User, "203.0.113.5", "Firefox");
        stage.sign_in(&paris).await;
        stage.sign_in(&tokyo).await;
        assert!(stage.alerts("").await.is_empty(), "without a database nothing is known of places");
        stage.knows_places = true;
        stage.sign_in(&paris).await;
        t.clock.advance(Duration::from_secs(11 * 3600));
        stage.sign_in(&tokyo).await;
        // Where the database knows nothing, nobody was; another one is somebody else.
        stage.sign_in(&at(1, Role::User, "10.0.0.1", "Firefox")).await;
        stage.sign_in(&at(2, Role::User, "192.0.2.7", "Firefox")).await;
        assert!(stage.alerts("").await.is_empty(), "there was time to fly");
        t.clock.advance(Duration::from_secs(40 * 60));
        stage.modes.travel.set("enforce".to_owned());
        stage.sign_in(&at(1, Role::User, "192.0.2.8", "curl")).await;
        let alert = &stage.alerts("").await[0];
        assert_eq!((&alert["rule"], &alert["user"]), (&json!("travel"), &json!(user(1))));
        assert_eq!((&alert["score"], &alert["enforced"]), (&json!(100), &json!(true)));
        assert_eq!(alert["reasons"], json!([
            "signed in from FR 40 minutes after JP, 9585 km away",
            "with a device that was never seen before",
        ]));
        assert_eq!(*stage.wallets.0.lock(), [user(1)]);
    }

    async fn a_verifier_and_a_user_of_one_mind_are_an_alert(t: &TestDb) {
        let stage = stage(t);
        for number in 1..=4 {
            stage.verdict(number, 3600, "verification.verified").await;
        }
        assert!(stage.alerts("").await.is_empty(), "a customer who comes again");
        for number in 5..=12 {
            stage.verdict(number, 5, "verification.verified").await;
        }
        let alert = &stage.alerts("?rule=collusion").await[0];
        assert_eq!((&alert["user"], &alert["counterpart"]), (&json!(user(2)), &json!(user(1))));
        assert!(alert["score"].as_i64().unwrap() >= 60, "{alert}");
        let reasons = alert["reasons"].to_string();
        assert!(reasons.contains("verdicts in 30 days") && reasons.contains("favourable"), "{reasons}");
    }

    async fn what_a_verifier_s_rules_accept_is_accepted_by_them(t: &TestDb) {
        let stage = stage(t);
        stage.sign_in(&at(1, Role::User, "192.0.2.7", "Firefox")).await;
        stage.sign_in(&at(2, Role::Verifier, "192.0.2.8", "Firefox")).await;
        let id = Id::<Verification>::from_uuid(uuid::Uuid::from_u128(1));
        let verifier: Id<Verifier> = user(2).same_as();
        let by_itself = Fact::by(&Caller::nobody(), "verification.accepted").on(id);
        stage.happens(by_itself.with("verifier", verifier).with("byItself", true)).await;
        t.clock.advance(Duration::from_secs(5));
        let verdict = Fact::by(&caller(2, Role::Verifier), "verification.verified").on(id);
        stage.happens(verdict.about(user(1)).about(user(2))).await;
        let reasons = stage.alerts("?rule=collusion").await[0]["reasons"].clone();
        assert_eq!(reasons[0], "1 of 1 within 120 seconds of being accepted");
    }

    async fn one_household_weighs_more(t: &TestDb) {
        let stage = stage(t);
        stage.sign_in(&at(1, Role::User, "192.0.2.7", "Firefox")).await;
        stage.sign_in(&at(2, Role::Verifier, "192.0.2.8", "Firefox")).await;
        stage.verdict(1, 5, "verification.verified").await;
        let reasons = stage.alerts("?rule=collusion").await[0]["reasons"].clone();
        assert_eq!(reasons, json!([
            "1 of 1 within 120 seconds of being accepted",
            "both were seen on the same network",
            "both were seen with the same kind of device",
        ]));
    }

    async fn the_people_of_an_organization_are_its_household(t: &TestDb) {
        let stage = stage(t);
        let organization: Id<Organization> = user(1).same_as();
        // Number 3 belongs to number 1, and shares an office with the verifier.
        stage.sign_in(&at(3, Role::User, "192.0.2.7", "Firefox")).await;
        stage.sign_in(&at(2, Role::Verifier, "192.0.2.8", "Firefox")).await;
        stage.verdict(1, 5, "verification.verified").await;
        assert!(stage.alerts("").await.is_empty(), "nobody knows whose number 3 is");
        for _ in 0..2 {
            let asked = Fact::by(&caller(3, Role::Enterprise), "verification.requested").on("vr_x");
            stage.happens(asked.with("organization", organization)).await;
        }
        stage.verdict(2, 5, "verification.verified").await;
        let alert = &stage.alerts("?rule=collusion").await[0];
        assert_eq!((&alert["user"], &alert["counterpart"]), (&json!(user(2)), &json!(user(1))));
        assert!(alert["reasons"].to_string().contains("the same network"), "{alert}");
        let noted = "SELECT CAST(COUNT(*) AS BIGINT) FROM fraud_signals WHERE kind = 'member'";
        assert_eq!(t.db.one(noted, &[], |row| row.take::<i64>()).await.unwrap(), 1);
    }

    async fn an_alert_is_decided_about_once_and_then_quiet_for_a_week(t: &TestDb) {
        let stage = stage(t);
        for _ in 0..4 {
            stage.create(1).await;
        }
        let alert = stage.alerts("").await.remove(0);
        let escalated = stage.decide(&alert, "escalate").await.unwrap();
        assert_eq!((&escalated["status"], &escalated["note"]), (&json!("escalated"), &json!("looked at")));
        assert_eq!(stage.decide(&alert, "escalate").await.unwrap_err().code(), "wrong_state");
        stage.create(1).await;
        assert_eq!(stage.alerts("?status=escalated").await[0]["seen"], 2, "the same alert");
        let (one, two) =
            tokio::join!(stage.decide(&alert, "dismiss"), stage.decide(&alert, "dismiss"));
        assert_eq!(i32::from(one.is_ok()) + i32::from(two.is_ok()), 1, "{one:?} {two:?}");
        stage.create(1).await;
        assert!(stage.alerts("?status=open").await.is_empty());
        t.clock.advance(Duration::from_secs(8 * 24 * 3600));
        for _ in 0..4 {
            stage.create(1).await;
        }
        assert_eq!(stage.alerts("?status=open").await.len(), 1);
        let told: Vec<_> =
            verbs(&t.db).await.into_iter().filter(|verb| verb.starts_with("alert.")).collect();
        assert_eq!(told, ["alert.raised", "alert.escalated", "alert.dismissed", "alert.raised"]);
        let nothing = json!({ "id": "alert_01h455vb4pex5vsknk084sn02q" });
        assert_eq!(stage.decide(&nothing, "dismiss").await.unwrap_err().kind(), Kind::NotFound);
    }

    async fn whom_an_alert_is_about_does_not_learn_of_it(t: &TestDb) {
        let stage = stage(t);
        for number in 1..=12 {
            stage.verdict(number, 5, "verification.verified").await;
        }
        assert_eq!(stage.alerts("").await.len(), 1);
        for who in [1, 2] {
            let (filter, page) = (Filter::default(), kernel::PageRequest::first(100));
            let seen = journal::of_party(&t.db, user(who), &filter, &page).await.unwrap();
            assert!(!seen.items.is_empty());
            assert!(seen.items.iter().all(|fact| !fact.verb.starts_with("alert.")));
        }
    }

    async fn signals_are_forgotten(t: &TestDb) {
        let stage = stage(t);
        stage.create(1).await;
        t.clock.advance(Duration::from_secs(34 * 24 * 3600));
        assert_eq!(stage.service.prune().await.unwrap(), 0);
        t.clock.advance(Duration::from_secs(2 * 24 * 3600));
        assert_eq!(stage.service.prune().await.unwrap(), 1);
    }
}
