//! Books against the simulator.

use http::StatusCode;
use serde_json::json;

use crate::provider::ProviderName;
use crate::testing::{MIGRATIONS, Site, facts, ngn, user};

platform::on_both_engines! { MIGRATIONS;

async fn p10_a_difference_is_found_and_named_and_told(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let body = json!({ "amount": 5_000, "currency": "NGN", "provider": "stripe" });
    let (_, answer) = site.post(user(0), "/v1/user/wallet/deposit", "k", body).await;
    site.sim.pay(answer["reference"].as_str().unwrap(), None).unwrap();
    let stripe = async || {
        let (status, all) = site.get(user(9), "/v1/admin/reconciliation").await;
        assert_eq!(status, StatusCode::OK, "{all}");
        let all = all.as_array().unwrap().clone();
        all.into_iter().find(|it| it["provider"] == "stripe").unwrap()
    };
    // Paid there, and we have not looked yet: the difference has its explanation beside it.
    let report = stripe().await;
    assert_eq!((&report["status"], &report["open"]["payments"]), (&json!("differs"), &json!(1)));
    assert_eq!(report["currencies"][0]["difference"], 4_925);
    site.context.reconciliation.tell().await.unwrap();
    assert_eq!(facts(&t.db, "reconciliation.mismatched").await, 1);

    site.sim.deliver().await;
    site.worker.drain().await.unwrap();
    assert_eq!(stripe().await["status"], "agrees");
    site.sim.fund(ProviderName::Stripe, ngn(7));
    assert_eq!(stripe().await["currencies"][0]["difference"], 7);
    site.context.reconciliation.prove().await.unwrap();
    assert_eq!(facts(&t.db, "ledger.invariant_failed").await, 0);
}

}
