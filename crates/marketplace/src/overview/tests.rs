//! Overviews of verifications with real money beneath them.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::dispute::model::{Ground, NewEvidence, Resolution, Ruling};
use crate::testing::Client;
use crate::verification::model::{Command, Text};
use crate::verification::tests::{DAY, FEE, FUNDS, MIGRATIONS, PRICE, stage};

platform::on_both_engines! { MIGRATIONS;
    async fn every_figure_is_counted_from_the_verdicts(t: &TestDb) {
        let stage = stage(t).await;
        stage.fund(&stage.owner, 3 * FUNDS).await;
        let judge = async |command| {
            let accepted = stage.accepted().await;
            t.clock.advance(Duration::from_secs(5 * 3600));
            stage.give(&stage.verifier, accepted.id, command).await.unwrap();
            accepted.id
        };
        judge(Command::Verify).await;
        judge(Command::Reject).await;
        t.clock.advance(31 * DAY);
        judge(Command::Verify).await;
        t.clock.advance(DAY);
        judge(Command::Verify).await;
        let contested = judge(Command::Verify).await;
        stage.requested().await;
        let words = Text::some("", "Words.").unwrap();
        let evidence = NewEvidence { text: words, file: None };
        let disputes = &stage.market.disputes;
        let dispute = disputes.open(&stage.owner, contested, Ground::Other, &evidence).await;
        let ruling = Ruling::parse(Resolution::RefundUser, None, "Reasons.").unwrap();
        let dispute = dispute.unwrap().id;
        disputes.resolve(&stage.admin, dispute, &ruling).await.unwrap();
        t.clock.advance(3 * DAY);
        disputes.close_due().await.unwrap();

        let client = Client::over(stage.market.routes());
        let mine = client.get(&stage.owner, "/v1/user/analytics?period=30d").await;
        let figure = |value: i64, previous: i64, change: f64| {
            json!({ "value": value, "previous": previous, "percentChange": change })
        };
        assert_eq!(mine["verified"], figure(3, 1, 200.0));
        assert_eq!(mine["rejected"], figure(0, 1, -100.0));
        assert_eq!(mine["requested"], figure(4, 2, 100.0));
        assert_eq!((&mine["spent"][0]["amount"], &mine["spent"][0]["currency"]),
            (&json!(2 * PRICE), &json!("USD")));
        let days = mine["days"].as_array().unwrap();
        assert_eq!(days.iter().map(|day| day["verified"].as_i64().unwrap()).sum::<i64>(), 3);
        assert!(days.len() >= 2, "{days:?}");
        let all = client.get(&stage.owner, "/v1/user/analytics?period=366d").await;
        assert_eq!(all["verified"], figure(4, 0, 100.0));

        let work = client.get(&stage.verifier, "/v1/verifier/analytics").await;
        assert_eq!((&work["completed"], &work["turnaroundHours"]), (&figure(3, 2, 50.0), &json!(5.0)));
        let earned = client.get(&stage.verifier, "/v1/verifier/earnings/summary?period=366d").await;
        let sum = &earned["earned"][0];
        assert_eq!((&sum["jobs"], &sum["earned"]), (&json!(5), &json!(4 * (PRICE - FEE))));
        assert_eq!((&sum["fees"], &sum["refunded"]), (&json!(4 * FEE), &json!(PRICE)));
        let standing = json!({ "currency": "USD", "pending": 4 * (PRICE - FEE), "available": 0 });
        assert_eq!(earned["balances"], json!([standing]));
        let paid = client.get(&stage.verifier, "/v1/verifier/earnings/transactions").await;
        let amounts: Vec<_> =
            paid.as_array().unwrap().iter().map(|job| job["amount"].as_i64().unwrap()).collect();
        assert_eq!(amounts, [0, PRICE - FEE, PRICE - FEE, PRICE - FEE, PRICE - FEE]);

        let board = client.get(&stage.owner, "/v1/user/dashboard").await;
        let metric = |n: usize| (board["metrics"][n]["id"].clone(), board["metrics"][n]["value"].clone());
        assert_eq!(metric(0), (json!("verified"), json!("3")));
        assert_eq!(metric(1), (json!("pending"), json!("1")));
        assert_eq!(board["metrics"][0]["percentChange"], 200.0);
        assert_eq!(board["verificationStatus"][0]["status"], "pending");
        assert_eq!(board["activity"].as_array().unwrap().len(), 5);
    }

    async fn nobody_else_s_verifications_are_counted(t: &TestDb) {
        let stage = stage(t).await;
        let accepted = stage.accepted().await;
        stage.give(&stage.verifier, accepted.id, Command::Verify).await.unwrap();
        let client = Client::over(stage.market.routes());
        let other = client.get(&stage.stranger, "/v1/user/analytics").await;
        assert_eq!((&other["verified"]["value"], &other["spent"]), (&json!(0), &json!([])));
        let rival = client.get(&stage.rival, "/v1/verifier/earnings/summary").await;
        assert_eq!((&rival["earned"], &rival["balances"]), (&json!([]), &json!([])));
        let paid = client.get(&stage.rival, "/v1/verifier/earnings/transactions").await;
        assert_eq!(paid, json!([]));
        for period in ["0d", "367d", "30", "d", "-1d", "1w", "%F0%9F%A6%80"] {
            let path = format!("GET /v1/user/analytics?period={period}");
            let (status, refused, _) = client.send(&stage.owner, &path, Json::Null).await;
            assert_eq!((status, &refused["fields"][0]), (422, &json!("/period")), "{period}");
        }
    }
}
