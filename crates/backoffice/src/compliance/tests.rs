//! Reports over HTTP.

use std::time::Duration;

use platform::db::Db;
use platform::journal::Fact;
use platform::on_both_engines;
use serde_json::{Value as Json, json};

use super::{Period, Service, routes};
use crate::testing::{TABLES, admin, get};

async fn record(db: &Db, verbs: &[&'static str]) {
    db.run("test.record", |tx| async move {
        for verb in verbs {
            tx.record(Fact::by(&admin(1), verb).on("x"));
        }
        Ok(())
    })
    .await
    .unwrap();
}

async fn report(db: &Db, query: &str) -> Json {
    let path = format!("/v1/admin/compliance/reports?{query}");
    get(&admin(1), path).body(routes(&Service { db: db.clone() })).await
}

fn total(report: &Json, id: &str) -> i64 {
    let controls = report["controls"].as_array().unwrap().iter();
    controls.filter(|one| one["id"] == id).map(|one| one["total"].as_i64().unwrap()).sum()
}

on_both_engines! { TABLES;
    async fn a_report_counts_the_facts_of_its_period(t: &TestDb) {
        record(&t.db, &["user.exported", "settings.changed", "passkey.registered"]).await;
        t.clock.advance(Duration::from_secs(31 * 24 * 3600));
        record(&t.db, &["user.exported", "user.exported", "user.erased"]).await;
        let january = report(&t.db, "framework=gdpr&period=2026-01").await;
        assert_eq!((total(&january, "Art. 15"), total(&january, "Art. 17")), (1, 0));
        assert_eq!((total(&january, "Art. 32"), &january["complete"]), (1, &json!(true)));
        let february = report(&t.db, "framework=gdpr").await;
        assert_eq!(february["from"], "2026-02-01T00:00:00Z");
        assert_eq!((total(&february, "Art. 15"), &february["complete"]), (2, &json!(false)));
        for period in ["2026-Q1", "2026"] {
            let report = report(&t.db, &format!("framework=gdpr&period={period}")).await;
            assert_eq!((total(&report, "Art. 15"), total(&report, "Art. 17")), (3, 1), "{period}");
        }
        let iso = report(&t.db, "framework=iso27001&period=2026-01").await;
        assert_eq!(total(&iso, "A.8.32"), 1);
        let soc = report(&t.db, "framework=soc2&period=2026-01").await;
        let change = &soc["controls"][0];
        assert_eq!(change["evidence"], json!([{ "action": "settings.changed", "count": 1 }]));
    }

    async fn a_report_about_a_period_that_is_over_is_always_the_same(t: &TestDb) {
        record(&t.db, &["user.exported"]).await;
        let early = report(&t.db, "framework=gdpr&period=2026-01").await;
        t.clock.advance(Duration::from_secs(40 * 24 * 3600));
        record(&t.db, &["user.exported"]).await;
        let late = report(&t.db, "framework=gdpr&period=2026-01").await;
        assert_eq!((&early["digest"], &early["controls"]), (&late["digest"], &late["controls"]));
        assert_ne!(late["digest"], report(&t.db, "framework=gdpr&period=2026").await["digest"]);
        assert_ne!(late["digest"], report(&t.db, "framework=soc2&period=2026-01").await["digest"]);
    }

    async fn a_wrong_question_is_named(t: &TestDb) {
        for (query, pointer) in [
            ("framework=pci", "/framework"),
            ("framework=gdpr&period=2026-13", "/period"),
            ("framework=gdpr&period=2026-Q5", "/period"),
            ("framework=gdpr&period=26", "/period"),
            ("framework=gdpr&period=2026-1", "/period"),
            ("framework=gdpr&period=-001", "/period"),
        ] {
            let path = format!("/v1/admin/compliance/reports?{query}");
            let error = get(&admin(1), path).of(routes(&Service { db: t.db.clone() })).await;
            assert_eq!(error.unwrap_err().fields()[0].pointer, pointer, "{query}");
        }
    }
}

#[test]
fn periods_end_where_the_next_begins() {
    let period = |text: &str| text.parse::<Period>().unwrap();
    assert_eq!(period("2026-Q4").to, period("2027").from);
    assert_eq!(period("2026-12").to, period("2027-01").from);
    assert_eq!(period("2026-Q2").from, period("2026-04").from);
}
