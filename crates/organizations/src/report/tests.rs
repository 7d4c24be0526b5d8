//! Reports against the trail that they are made of.

use std::time::Duration;

use kernel::{Caller, Role};
use platform::journal::{self, Fact, Filter};
use serde_json::{Value as Json, json};

use crate::testing::{House, TABLES, id_of};

const REPORTS: &str = "GET /v1/enterprise/compliance/reports";

async fn happens(t: &platform::testing::TestDb, fact: Fact) {
    let fact = &fact;
    t.db.run("test", |tx| async move {
        tx.record(fact.clone());
        Ok(())
    })
    .await
    .unwrap();
}

platform::on_both_engines! { TABLES;

async fn every_figure_is_the_number_of_lines_in_the_trail(t: &TestDb) {
    let house = House::new(t);
    let (eve, olga) = (house.add("Eve", Role::Enterprise), house.add("Olga", Role::Enterprise));
    let vera = house.add("Vera", Role::Verifier);
    let verify = |of: &Caller, verb| Fact::by(&vera, verb).on("vrf_1").about(id_of(of));
    happens(t, verify(&eve, "verification.verified")).await;
    t.clock.advance(Duration::from_secs(40 * 24 * 3600));
    for _ in 0..3 {
        happens(t, verify(&eve, "verification.verified")).await;
    }
    happens(t, verify(&eve, "verification.rejected")).await;
    happens(t, verify(&olga, "verification.rejected")).await;
    happens(t, verify(&eve, "document.viewed").on("c_1")).await;
    happens(t, verify(&eve, "dispute.evidence_viewed").on("dsp_1")).await;
    let key = json!({ "name": "Import", "scopes": ["verifications:read"] });
    house.ok(&eve, "POST /v1/enterprise/api-keys", key).await;
    t.clock.advance(Duration::from_secs(1));

    let report = house.ok(&eve, REPORTS, Json::Null).await;
    assert_eq!(report["verifications"], json!({ "verified": 3, "rejected": 1 }));
    assert_eq!(report["apiKeys"], json!({ "created": 1 }));
    assert_eq!(report["retentionDays"], 365);
    let accesses = report["accesses"].as_array().unwrap();
    let resources: Vec<_> = accesses.iter().map(|access| &access["resource"]).collect();
    assert_eq!(resources, ["dsp_1", "c_1"]);
    assert_eq!(accesses[0]["actor"], id_of(&vera).to_string());
    // From the trail once more.
    let at = |name: &str| report[name].as_str().unwrap().parse().unwrap();
    for (action, count) in report["actions"].as_object().unwrap() {
        let filter = Filter {
            action: Some(action.clone()), from: Some(at("from")), to: Some(at("to")),
            ..Filter::default()
        };
        let page = kernel::PageRequest::first(100);
        let lines = journal::of_party(&t.db, id_of(&eve), &filter, &page).await.unwrap();
        assert_eq!(count.as_u64(), u64::try_from(lines.items.len()).ok(), "{action}");
    }
    let month = house.ok(&eve, &format!("{REPORTS}?period=2026-01"), Json::Null).await;
    assert_eq!(month["verifications"], json!({ "verified": 1 }));
    assert_eq!((&month["from"], &month["to"]),
        (&json!("2026-01-01T00:00:00Z"), &json!("2026-02-01T00:00:00Z")));
    for wrong in ["?period=400d", "?period=x", "?format=pdf"] {
        assert_eq!(house.send(&eve, &format!("{REPORTS}{wrong}"), Json::Null).await.0, 422);
    }
}

async fn a_report_is_a_table_where_one_is_asked_for(t: &TestDb) {
    let house = House::new(t);
    let eve = house.add("Eve", Role::Enterprise);
    happens(t, Fact::by(&eve, "document.viewed").on("c_1")).await;
    t.clock.advance(Duration::from_secs(1));
    let (status, text) = house.text(&eve, &format!("{REPORTS}?format=csv")).await;
    assert_eq!(status, 200);
    let lines: Vec<_> = text.split("\r\n").collect();
    assert_eq!(lines[0], "section,name,value,timestamp,actor,resource");
    assert!(lines.contains(&"actions,document.viewed,1,,,"), "{text}");
    let access = format!("accesses,document.viewed,,2026-01-01T00:00:00Z,{},c_1", id_of(&eve));
    assert!(lines.contains(&&*access), "{text}");
}
}
