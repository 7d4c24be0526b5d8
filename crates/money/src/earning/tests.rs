//! Earnings over HTTP.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::testing::{MIGRATIONS, Site, give, ngn, user};

platform::on_both_engines! { MIGRATIONS;

async fn earnings_are_summed_by_period_and_listed_with_their_status(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let wallet = &site.context.wallet;
    give(&t.db, user(0), ngn(30_000)).await;
    for (turn, days) in [40_u64, 1, 0].into_iter().enumerate() {
        let subject = &turn.to_string();
        let work = |tx| async move {
            let hold = wallet.hold(&tx, user(0), ngn(10_000), "job", subject).await?;
            wallet.capture(&tx, hold, user(1), ngn(1_000)).await
        };
        t.db.run("work", work).await.unwrap();
        t.clock.advance(Duration::from_secs(days * 24 * 3600));
    }
    wallet.release_due().await.unwrap();
    let (status, page) = site.get(user(1), "/v1/verifier/earnings/summary?period=30d").await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let expected = json!({ "currency": "NGN", "earned": 18_000, "fees": 2_000, "jobs": 2,
        "pending": 18_000, "available": 9_000, "display": "₦180.00" });
    assert_eq!(page["currencies"], json!([expected]));
    let (_, list) = site.get(user(1), "/v1/verifier/earnings/transactions?limit=2").await;
    assert_eq!((&list[0]["subject"], &list[0]["status"]), (&json!("2"), &json!("pending")));
    assert_eq!(list.as_array().unwrap().len(), 2);
    let (_, list) = site.get(user(1), "/v1/verifier/earnings/transactions").await;
    assert_eq!((&list[2]["amount"], &list[2]["status"]), (&json!(9_000), &json!("released")));
    let (_, none) = site.get(user(0), "/v1/verifier/earnings/transactions").await;
    assert_eq!(none, json!([]));
    for wrong in ["30", "0d", "d", "99999d", "-1d"] {
        let path = format!("/v1/verifier/earnings/summary?period={wrong}");
        assert_eq!(site.get(user(1), &path).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}

}
