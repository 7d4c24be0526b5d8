//! Books against the simulator.

use http::StatusCode;
use serde_json::json;

use crate::ledger::{self, Account, Code};
use crate::provider::ProviderName;
use crate::testing::{MIGRATIONS, Site, assert_sound, facts, ngn, user};

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

async fn what_a_provider_pays_out_to_our_bank_is_booked_once(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let path = "/v1/admin/reconciliation/payouts";
    let out = |reference: &str, amount: i64| {
        json!({ "provider": "stripe", "reference": reference, "amount": amount, "currency": "NGN" })
    };
    let book = async |key: &str, body| {
        let (status, answer) = site.post(user(9), path, key, body).await;
        (status.as_u16(), answer["code"].as_str().unwrap_or("booked").to_owned())
    };
    let done = |status, code: &str| (status, code.to_owned());
    assert_eq!(book("a", out("po_1", 700)).await, done(201, "booked"));
    assert_eq!(book("b", out("po_1", 700)).await, done(409, "payout_known"));
    assert_eq!(book("c", out("po_1", 701)).await, done(409, "transaction_differs"));
    for wrong in ["", "po 1", "po/1", &"x".repeat(101)] {
        assert_eq!(book("d", out(wrong, 1)).await.0, 422, "{wrong}");
    }
    assert_eq!(book("e", out("po_2", 0)).await.0, 422);
    let of = async |code| {
        let (account, asset) = (Account::platform(code), kernel::Asset::NGN);
        ledger::balance(&t.db, account, asset).await.unwrap().minor
    };
    assert_eq!((of(Code::BANK).await, of(Code::CLEARING_STRIPE).await), (700, -700));
    assert_eq!(facts(&t.db, "provider.paid_out").await, 1);
    assert_sound(&t.db).await;
}

}
