//! Settings as admins and other replicas see them.

use std::time::Duration;

use kernel::{Kind, Role};
use platform::db::Db;
use platform::fleet::Fleet;
use platform::live::Live;
use platform::on_both_engines;
use platform::testing::eventually;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::{Public, Service, Setting, public_routes, routes};
use crate::testing::{TABLES, admin, caller, get, patch, user, verbs};

/// One process with its own values.
struct Process {
    service: Service,
    fee: Live<u16>,
    open: Live<bool>,
    sla: Live<Duration>,
    mode: Live<String>,
    notice: Live<String>,
}

const PATH: &str = "/v1/admin/settings";

impl Process {
    fn over(db: &Db) -> Self {
        let (fee, open) = (Live::from(250_u16), Live::from(true));
        let sla = Live::from(Duration::from_secs(7200));
        let (mode, notice) = (Live::from("off".to_owned()), Live::<String>::default());
        let settings = vec![
            Setting::integer("fee", "The fee.", 0..=3000, &fee),
            Setting::flag("open", "Whether it is open.", &open),
            Setting::hours("sla", "How long.", 1..=24, &sla),
            Setting::choice("mode", "How.", &["off", "monitor", "enforce"], &mode),
            Setting::text("notice", "What is said.", 5, &notice),
        ];
        let service = Service::new(db.clone(), settings);
        Self { service, fee, open, sla, mode, notice }
    }

    async fn change(&self, version: i64, values: Json) -> kernel::Result<Json> {
        let ask = patch(&admin(1), PATH, json!({ "values": values }));
        let ask = ask.if_match(format!("\"{version}\""));
        ask.of(routes(&self.service)).await.map(|answer| answer.body)
    }
}

on_both_engines! { TABLES;
    async fn what_is_changed_is_in_effect_and_says_by_whom(t: &TestDb) {
        let process = Process::over(&t.db);
        let read = get(&admin(1), PATH).of(routes(&process.service)).await.unwrap();
        assert_eq!(read.etag.as_deref(), Some("\"0\""));
        assert_eq!(read.body["settings"][0], json!({
            "key": "fee", "description": "The fee.", "type": "integer", "minimum": 0,
            "maximum": 3000, "value": 250, "default": 250,
        }));
        let values = json!({ "fee": 300, "open": false, "sla": 5, "mode": "monitor" });
        let changed = process.change(0, values).await.unwrap();
        assert_eq!(changed["version"], 1);
        assert_eq!(changed["settings"][0]["value"], 300);
        assert_eq!(changed["settings"][0]["changedBy"], user(1).to_string());
        assert_eq!(changed["settings"][0]["changedAt"], "2026-01-01T00:00:00Z");
        assert_eq!(changed["settings"][3]["values"], json!(["off", "monitor", "enforce"]));
        assert_eq!((process.fee.get(), process.open.get()), (300, false));
        assert_eq!(process.sla.get(), Duration::from_secs(5 * 3600));
        assert_eq!(process.mode.get(), "monitor");
        let back = process.change(1, json!({ "fee": null })).await.unwrap();
        assert_eq!(back["settings"][0].get("changedBy"), None);
        assert_eq!((process.fee.get(), process.open.get()), (250, false));
        assert_eq!(verbs(&t.db).await, ["settings.changed", "settings.changed"]);
    }

    async fn the_fact_says_what_was_and_what_is(t: &TestDb) {
        let process = Process::over(&t.db);
        process.change(0, json!({ "fee": 300 })).await.unwrap();
        process.change(1, json!({ "fee": 310, "notice": "soon" })).await.unwrap();
        let filter = platform::journal::Filter::default();
        let page = kernel::PageRequest::default();
        let facts = platform::journal::search(&t.db, &filter, &page).await.unwrap().items;
        assert_eq!(facts[0].data, json!({
            "version": 2,
            "changes": {
                "fee": { "from": 300, "to": 310 },
                "notice": { "from": "", "to": "soon" },
            },
        }));
        assert!(facts[0].is_by(user(1).uuid()));
    }

    async fn what_no_setting_takes_is_named(t: &TestDb) {
        let process = Process::over(&t.db);
        for (values, pointer, code) in [
            (json!({ "fee": 3001 }), "/values/fee", "out_of_range"),
            (json!({ "fee": -1 }), "/values/fee", "out_of_range"),
            (json!({ "fee": 1.5 }), "/values/fee", "out_of_range"),
            (json!({ "fee": "300" }), "/values/fee", "out_of_range"),
            (json!({ "open": 1 }), "/values/open", "invalid"),
            (json!({ "mode": "loud" }), "/values/mode", "invalid"),
            (json!({ "notice": "longer" }), "/values/notice", "too_long"),
            (json!({ "notice": "a\u{0}" }), "/values/notice", "too_long"),
            (json!({ "fees": 1 }), "/values/fees", "unknown"),
            (json!({ "a/b~c": 1 }), "/values/a~1b~0c", "unknown"),
            (json!({}), "/values", "required"),
        ] {
            let error = process.change(0, values.clone()).await.unwrap_err();
            let field = &error.fields()[0];
            assert_eq!((&*field.pointer, &*field.code), (pointer, code), "{values}");
        }
        // One that is wrong keeps the others from being changed.
        assert!(process.change(0, json!({ "open": false, "fee": -1 })).await.is_err());
        assert!(process.open.get());
        let ask = patch(&admin(1), PATH, json!({ "values": { "fee": 1 } }));
        let error = ask.of(routes(&process.service)).await.unwrap_err();
        assert_eq!(error.code(), "if_match_needed");
        assert_eq!(verbs(&t.db).await, [""; 0]);
    }

    async fn of_two_admins_at_once_one_is_refused(t: &TestDb) {
        let process = Process::over(&t.db);
        for round in 0..5 {
            let (one, two) = tokio::join!(
                process.change(round, json!({ "fee": 100 + round })),
                process.change(round, json!({ "fee": 200 + round })),
            );
            let won = i64::from(one.is_ok()) + i64::from(two.is_ok());
            assert_eq!(won, 1, "{one:?} {two:?}");
            let refused = one.err().or(two.err()).unwrap();
            assert_eq!((refused.kind(), refused.code()), (Kind::Conflict, "changed_meanwhile"));
        }
        assert_eq!(verbs(&t.db).await.len(), 5);
        let stale = process.change(4, json!({ "fee": 1 })).await.unwrap_err();
        assert_eq!(stale.code(), "changed_meanwhile");
    }

    async fn a_value_that_no_longer_fits_is_the_default(t: &TestDb) {
        let process = Process::over(&t.db);
        process.change(0, json!({ "fee": 3000 })).await.unwrap();
        let fee = Live::from(250_u16);
        let narrower = vec![Setting::integer("fee", "The fee.", 0..=1000, &fee)];
        let service = Service::new(t.db.clone(), narrower);
        service.reload().await.unwrap();
        assert_eq!(fee.get(), 250);
    }

    async fn everybody_reads_the_notice_and_whether_one_can_register(t: &TestDb) {
        let process = Process::over(&t.db);
        let public =
            Public { registration_open: process.open.clone(), notice: process.notice.clone() };
        let read = || get(&caller(5, Role::User), "/v1/platform").body(public_routes(&public));
        assert_eq!(read().await, json!({ "registrationOpen": true }));
        process.change(0, json!({ "open": false, "notice": "soon" })).await.unwrap();
        assert_eq!(read().await, json!({ "registrationOpen": false, "notice": "soon" }));
    }
}

/// Two processes over one store: what the one is told, the other does.
#[tokio::test]
async fn what_one_replica_changes_is_in_effect_on_the_others() {
    let t = platform::testing::TestDb::postgres(TABLES).await;
    let (here, there) = (Process::over(&t.db), Process::over(&t.replica()));
    let replica = t.replica();
    let there_too = Process::over(&replica);
    drop(there);
    let stop = CancellationToken::new();
    let following = tokio::spawn({
        let (service, stop) = (there_too.service.clone(), stop.clone());
        async move { service.follow(stop).await }
    });
    here.change(0, json!({ "fee": 777 })).await.unwrap();
    let fleet = Fleet::new(replica.clone(), None, &platform::crypto::MasterKey::new([7; 32]));
    fleet.read_counters_once().await.unwrap();
    eventually("the replica has the new fee", async || there_too.fee.get() == 777).await;
    stop.cancel();
    following.await.unwrap();
    drop((here, there_too, fleet, replica));
    t.finish().await;
}
