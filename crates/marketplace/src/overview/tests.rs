//! Overviews of verifications with real money beneath them.

use std::collections::BTreeMap;
use std::time::Duration;

use kernel::id::kinds;
use kernel::{Id, Random};
use platform::db::Read;
use platform::jobs::{Registry, Worker};
use platform::journal::Runner;
use platform::testing::{SeededRandom, TestDb};
use serde_json::{Value as Json, json};

use super::model::Day;
use crate::dispute::model::{Ground, NewEvidence, Resolution, Ruling};
use crate::testing::{Client, id_of};
use crate::verification::model::{Command, Text};
use crate::verification::tests::{DAY, FEE, FUNDS, MIGRATIONS, PRICE, Stage, stage};

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
        stage.follow().await;

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

    async fn a_period_is_whole_days_and_today_is_one_of_them(t: &TestDb) {
        let stage = stage(t).await;
        stage.fund(&stage.owner, 3 * FUNDS).await;
        let client = Client::over(stage.market.routes());
        let now = t.db.world().now();
        t.clock.advance(Day::of(now).ends().since(now) - Duration::from_secs(1));
        stage.judged_and_read(Command::Verify).await;
        let count = async |period: &str| {
            let path = format!("/v1/user/analytics?period={period}");
            let seen = client.get(&stage.owner, &path).await;
            let verified = &seen["verified"];
            (verified["value"].as_i64().unwrap(), verified["previous"].as_i64().unwrap())
        };
        assert_eq!(count("1d").await, (1, 0));
        t.clock.advance(Duration::from_secs(1));
        assert_eq!(count("1d").await, (0, 1), "midnight has passed");
        assert_eq!(count("2d").await, (1, 0));
        t.clock.advance(DAY);
        assert_eq!((count("1d").await, count("2d").await), ((0, 0), (0, 1)));
    }

    async fn reputation_is_gone_over_once_a_week_and_lost_at_once(t: &TestDb) {
        let stage = stage(t).await;
        stage.fund(&stage.owner, 3 * FUNDS).await;
        let (verifiers, id) = (&stage.market.verifiers, id_of(&stage.verifier).same_as());
        let reputation =
            async || verifiers.find(&t.db, id).await.unwrap().unwrap().reputation;
        assert_eq!(reputation().await, 5_000);
        let contested = stage.judged_and_read(Command::Verify).await;
        for _ in 0..3 {
            stage.judged_and_read(Command::Reject).await;
        }
        verifiers.repute_due().await.unwrap();
        assert_eq!(reputation().await, 6_500);
        assert_eq!(verifiers.repute_due().await.unwrap(), 0, "a week has to pass");

        stage.overturned(contested).await;
        stage.follow().await;
        assert_eq!(reputation().await, 4_550);
        stage.follow().await;
        assert_eq!(reputation().await, 4_550, "once");
        t.clock.advance(4 * DAY);
        verifiers.repute_due().await.unwrap();
        assert_eq!(reputation().await, 5_435, "three of four verdicts stand");
        t.clock.advance(40 * DAY);
        verifiers.repute_due().await.unwrap();
        assert_eq!(reputation().await, 5_304, "nothing recent: back towards the start");
        let client = Client::over(stage.market.routes());
        let shown = client.get(&stage.owner, &format!("/v1/marketplace/verifiers/{id}")).await;
        assert_eq!(shown["reputation"], 53);
        let own = client.get(&stage.verifier, "/v1/verifier/analytics").await;
        assert_eq!(own["reputation"], 53);
    }

    async fn the_days_are_what_a_recount_finds_after_any_history(t: &TestDb) {
        let stage = stage(t).await;
        stage.fund(&stage.owner, 8 * FUNDS).await;
        for seed in 1..=3_u64 {
            history(&stage, seed).await;
            stage.follow().await;
            let days = Days::kept(t).await;
            assert_eq!(days, Days::recounted(t).await, "seed {seed}");
            assert!(days.verdicts.len() > 4 && days.requests.len() > 2, "{days:?}");
        }
        let days = Days::kept(t).await;
        assert!(days.verdicts.iter().any(|day| day.1[3] > 0), "nothing was given back: {days:?}");

        // Read from the beginning once more, as by a process that has lost its place.
        let again = "DELETE FROM journal_readers WHERE name = 'marketplace.days'";
        write(t, again).await;
        stage.follow().await;
        assert_eq!(Days::kept(t).await, days);

        // A hand in the database.
        write(t, "UPDATE verdict_days SET paid = paid + 1, verdicts = verdicts * 2").await;
        write(t, "DELETE FROM request_days").await;
        let stray = "INSERT INTO verdict_days SELECT credential, 'owner', 1, 'verified', 'USD', 1, 1,
                         0, 0, 0 FROM verifications LIMIT 1";
        write(t, stray).await;
        assert_ne!(Days::kept(t).await, days);
        crate::overview::rollup::recount_all(&t.db).await.unwrap();
        let mut registry = Registry::default();
        stage.market.jobs(&mut registry);
        Worker::new(t.db.clone(), registry).drain().await.unwrap();
        assert_eq!(Days::kept(t).await, days);
    }

    async fn what_is_rebuilt_is_what_was_kept_and_what_was_mended_is_told(t: &TestDb) {
        let stage = stage(t).await;
        stage.fund(&stage.owner, 8 * FUNDS).await;
        history(&stage, 4).await;
        stage.follow().await;
        let (overviews, days) = (&stage.market.overviews, Days::kept(t).await);
        let sound = overviews.rebuild().await.unwrap();
        assert_eq!((sound.parties, sound.mended), (2, 0));
        assert_eq!(Days::kept(t).await, days);

        let verdicts = days.verdicts.len() as u64;
        let requests = days.requests.len() as u64;
        for (hand, mended) in [
            ("UPDATE verdict_days SET fees = fees - 1", verdicts),
            ("DELETE FROM verdict_days", verdicts),
            ("DELETE FROM request_days", requests),
        ] {
            write(t, hand).await;
            assert_ne!(Days::kept(t).await, days, "{hand}");
            assert_eq!(overviews.rebuild().await.unwrap().mended, mended, "{hand}");
            assert_eq!(Days::kept(t).await, days, "{hand}");
        }
        // Days of nobody, of more than are counted together.
        t.db.run("test.write", |tx| async move {
            for _ in 0..150 {
                let nobody: Id<kinds::User> = tx.world().id();
                let sql = "INSERT INTO request_days (party, day, requests) VALUES ($1, 1, 1)";
                tx.execute(sql, platform::params![nobody]).await?;
            }
            Ok(())
        })
        .await
        .unwrap();
        let rebuilt = overviews.rebuild().await.unwrap();
        assert_eq!((rebuilt.parties, rebuilt.mended), (152, 150));
        assert_eq!(Days::kept(t).await, days);
        // Twice at once.
        let (first, second) = futures_util::join!(overviews.rebuild(), overviews.rebuild());
        assert_eq!((first.unwrap().mended, second.unwrap().mended), (0, 0));
        assert_eq!(Days::kept(t).await, days);
    }

    async fn nobody_else_s_verifications_are_counted(t: &TestDb) {
        let stage = stage(t).await;
        let accepted = stage.accepted().await;
        stage.give(&stage.verifier, accepted.id, Command::Verify).await.unwrap();
        stage.follow().await;
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

impl Stage<'_> {
    /// Lets the readers of the journal come by.
    async fn follow(&self) {
        Runner::new(self.t.db.clone(), self.market.readers()).drain().await;
    }

    /// A dispute about a verdict, which the owner wins.
    async fn overturned(&self, id: Id<kinds::Verification>) {
        let evidence = NewEvidence { text: Text::some("", "Words.").unwrap(), file: None };
        let disputes = &self.market.disputes;
        let opened = disputes.open(&self.owner, id, Ground::Other, &evidence).await.unwrap();
        let ruling = Ruling::parse(Resolution::RefundUser, None, "Reasons.").unwrap();
        disputes.resolve(&self.admin, opened.id, &ruling).await.unwrap();
        self.t.clock.advance(4 * DAY);
        disputes.close_due().await.unwrap();
    }

    /// A verification from the request to the verdict, and the journal read.
    async fn judged_and_read(&self, verdict: Command) -> Id<kinds::Verification> {
        let accepted = self.accepted().await;
        let ended = self.give(&self.verifier, accepted.id, verdict).await.unwrap();
        self.follow().await;
        ended.id
    }
}

/// Requests that go on, are judged, contested and decided, over some weeks; the journal is read at
/// any time.
async fn history(stage: &Stage<'_>, seed: u64) {
    let random = SeededRandom::new(seed);
    let below = |most: u64| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        u64::from_le_bytes(bytes) % most
    };
    let (disputes, admin) = (&stage.market.disputes, &stage.admin);
    for _ in 0..10 {
        stage.t.clock.advance(Duration::from_secs(below(60) * 3600));
        let one = stage.requested().await.id;
        if below(6) == 0 {
            stage.give(&stage.owner, one, Command::Cancel).await.unwrap();
            continue;
        }
        stage.give(&stage.verifier, one, Command::Accept).await.unwrap();
        stage.t.clock.advance(Duration::from_secs(below(30) * 3600));
        let verdict = if below(3) == 0 { Command::Reject } else { Command::Verify };
        stage.give(&stage.verifier, one, verdict).await.unwrap();
        if below(2) == 0 {
            stage.follow().await;
        }
        if below(2) == 0 {
            let evidence = NewEvidence { text: Text::some("", "Words.").unwrap(), file: None };
            let opened = disputes.open(&stage.owner, one, Ground::Other, &evidence).await.unwrap();
            let (resolution, bps) = match below(3) {
                0 => (Resolution::RefundUser, None),
                1 => (Resolution::Split, Some(1 + below(9_999))),
                _ => (Resolution::PayVerifier, None),
            };
            let bps = bps.map(|bps| u16::try_from(bps).unwrap());
            let ruling = Ruling::parse(resolution, bps, "Reasons.").unwrap();
            disputes.resolve(admin, opened.id, &ruling).await.unwrap();
            stage.t.clock.advance(4 * DAY);
            disputes.close_due().await.unwrap();
        }
    }
}

async fn write(t: &TestDb, sql: &'static str) {
    t.db.run("test.write", |tx| async move { Ok(tx.execute(sql, &[]).await?) }).await.unwrap();
}

type DayOf = (String, String, i64, String, String);

/// Verdicts by party, side, day, verdict and currency (count, paid, fees, refunded, work), and
/// requests by party and day.
#[derive(Debug, Default, PartialEq, Eq)]
struct Days {
    verdicts: BTreeMap<DayOf, [i64; 5]>,
    requests: BTreeMap<(String, i64), i64>,
}

impl Days {
    async fn kept(t: &TestDb) -> Self {
        let sql = "SELECT party, side, day, verdict, currency, verdicts, paid, fees, refunded, work
                   FROM verdict_days";
        let verdicts = t.db.all(sql, &[], |row| {
            let party = row.take::<Id<kinds::User>>()?.to_string();
            let key = (party, row.take()?, row.take()?, row.take()?, row.take()?);
            let sums = [row.take()?, row.take()?, row.take()?, row.take()?, row.take()?];
            Ok((key, sums))
        });
        let sql = "SELECT party, day, requests FROM request_days";
        let requests = t.db.all(sql, &[], |row| {
            Ok(((row.take::<Id<kinds::User>>()?.to_string(), row.take()?), row.take()?))
        });
        Self {
            verdicts: verdicts.await.unwrap().into_iter().collect(),
            requests: requests.await.unwrap().into_iter().collect(),
        }
    }

    /// From the verifications, by other means than those that are tested.
    async fn recounted(t: &TestDb) -> Self {
        let sql = "SELECT owner, verifier, requested_at, ended_at, accepted_at, verdict, currency,
                       price, fee, refunded FROM verifications";
        let mut days = Self::default();
        let add = |row: &platform::db::Row<'_>| {
            let user = |id: Option<Id<kinds::User>>| id.map(|id| id.to_string());
            let parties = [("owner", user(row.take()?)), ("verifier", user(row.take()?))];
            let times: [Option<i64>; 3] = [row.take()?, row.take()?, row.take()?];
            let verdict: (Option<String>, String) = (row.take()?, row.take()?);
            let money: [Option<i64>; 3] = [row.take()?, row.take()?, row.take()?];
            Ok((parties, times, verdict, money))
        };
        let day = |micros: i64| micros / 1_000_000 / 3600 / 24;
        for (parties, times, (verdict, currency), money) in t.db.all(sql, &[], add).await.unwrap() {
            let [requested, ended, accepted] = times;
            let owner = parties[0].1.clone().unwrap();
            *days.requests.entry((owner, day(requested.unwrap()))).or_default() += 1;
            let (Some(verdict), [Some(price), Some(fee), Some(refunded)]) = (verdict, money) else {
                continue;
            };
            let work = ended.unwrap() - accepted.unwrap();
            for (side, party) in parties {
                let (party, ended) = (party.unwrap(), day(ended.unwrap()));
                let key = (party, side.to_owned(), ended, verdict.clone(), currency.clone());
                let sums = days.verdicts.entry(key).or_default();
                for (sum, add) in sums.iter_mut().zip([1, price - refunded, fee, refunded, work]) {
                    *sum += add;
                }
            }
        }
        days
    }
}
