//! A batch whose worker is killed in the midst of it, twice: each good row is done once.

use std::time::Duration;

use platform::db::{Read, Row};
use serde_json::{Value as Json, json};
use verza::wiring;

use crate::house::House;
use crate::town::{PRICE, Person, Town, until, verifier_id};

const GOOD: i64 = 600;
const BATCHES: &str = "/v1/enterprise/verifications/batch";

/// What the server may take, with everything that it takes when nobody asks for anything.
const MEMORY_MAX: u64 = 100_000_000;

const SAMPLE: Duration = Duration::from_millis(10);

/// Good rows, and among them one that is there twice and one that says too little.
fn table() -> String {
    let mut table = String::from("reference,subject,title,type,issuer\n");
    for row in 0..GOOD {
        table += &format!("HR-{row},Anne,Bachelor,Education,University X\n");
        if row == GOOD / 3 {
            table += "HR-1,Twice,Bachelor,Education,University X\nHR-X,No title,,Education,U\n";
        }
    }
    table
}

struct Desk {
    town: Town,
    eve: Person,
    batch: String,
}

impl Desk {
    /// An enterprise with the money for all rows, and its batch under way.
    async fn open(house: &House) -> Self {
        let (town, eve, vera) = enterprise(house).await;
        town.deposit(&eve, GOOD * PRICE).await;
        let made = send(&town, &eve, &vera, table()).await;
        assert_eq!(made["estimate"]["bad"], 2, "{made}");
        let batch = made["batch"]["id"].as_str().unwrap().to_owned();
        Self { town, eve, batch }
    }

    async fn progress(&self) -> Json {
        self.town.get(&format!("{BATCHES}/{}", self.batch), &self.eve).done().await
    }

    /// Waits until more rows than these are done; how many are.
    async fn has_done_more_than(&self, rows: i64) -> i64 {
        until("rows of the batch", async || {
            let done = self.progress().await["rows"]["done"].as_i64().unwrap();
            (done > rows).then_some(done)
        })
        .await
    }
}

/// An enterprise, and a verifier for it.
async fn enterprise(house: &House) -> (Town, Person, Person) {
    let town = house.town();
    let admin = town.set_up(&house.setup_link().await).await;
    let vera = town.join("Vera", "verifier").await;
    town.open_shop(&admin, &vera).await;
    let eve = town.join("Eve", "enterprise").await;
    town.approve(&admin, &eve).await;
    let eve = town.login(&eve.email).await;
    (town, eve, vera)
}

async fn send(town: &Town, eve: &Person, vera: &Person, table: String) -> Json {
    let path = format!("{BATCHES}?verifierId={}", verifier_id(vera));
    let call = town.post(&path, eve).key("the-batch").within(Duration::from_secs(300));
    call.media("text/csv", table).done().await
}

/// What the kill has left, while nobody serves it; and the minute is over that a dead worker holds
/// its job.
async fn look_inside(house: &House) -> (i64, i64) {
    let platform = wiring::open_platform(&house.config()).await.expect("the platform opens");
    let db = &platform.db;
    let count = async |sql: &'static str| {
        db.one(sql, &[], |row: &Row<'_>| row.take::<i64>()).await.unwrap()
    };
    let done = count(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM batch_rows JOIN commissions
             ON commissions.batch = batch_rows.batch AND commissions.place = batch_rows.place
             AND commissions.verification = batch_rows.verification
         WHERE batch_rows.state = 'done'",
    )
    .await;
    let made = count("SELECT CAST(COUNT(*) AS BIGINT) FROM verifications").await;
    assert_eq!(done, made, "a verification without its row, or a row without its verification");
    let queued = "SELECT CAST(COUNT(*) AS BIGINT) FROM batch_rows WHERE state = 'queued'";
    let queued = count(queued).await;
    assert!(money::ledger::check(db).await.unwrap().is_sound());
    db.run("test.lease_ends", |tx| async move {
        Ok(tx.execute("UPDATE jobs SET run_at = 0 WHERE state = 'running'", &[]).await?)
    })
    .await
    .unwrap();
    db.close().await;
    (done, queued)
}

async fn each_good_row_is_done_once(mut house: House) {
    house.start().await;
    let desk = Desk::open(&house).await;
    let mut done = 0;
    for _ in 0..2 {
        done = desk.has_done_more_than(done).await;
        house.kill().await;
        let (kept, queued) = look_inside(&house).await;
        assert!(kept >= done, "{done} rows were shown as done, {kept} are");
        assert!(queued > 0, "the kill has come too late to hit anything");
        done = kept;
        house.start().await;
    }
    let seen = until("the end of the batch", async || {
        let seen = desk.progress().await;
        (seen["status"] == "completed").then_some(seen)
    })
    .await;
    let rows = json!({ "total": GOOD + 2, "queued": 0, "done": GOOD, "failed": 2, "cancelled": 0 });
    assert_eq!(seen["rows"], rows);
    assert_eq!(desk.town.wallet(&desk.eve).await, (0, GOOD * PRICE));
    let told = desk.town.get("/v1/audit/logs?action=batch.progressed", &desk.eve).done().await;
    assert!(!told.as_array().unwrap().is_empty(), "nothing was told on the way");
    house.stop().await;
    assert_eq!(look_inside(&house).await, (GOOD, 0));
    house.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_good_row_is_done_once_on_sqlite() {
    each_good_row_is_done_once(House::on_sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_good_row_is_done_once_on_postgres() {
    each_good_row_is_done_once(House::on_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_rows_in_one_request_take_little_memory() {
    let mut house = House::on_sqlite();
    house.start().await;
    let (town, eve, vera) = enterprise(&house).await;
    let mut table = String::from("reference,subject,title,type,issuer\n");
    for row in 0..100_000 {
        table += &format!("HR-{row},Anne {row},Bachelor,Education,University X\n");
    }
    let mut sent = std::pin::pin!(send(&town, &eve, &vera, table));
    let mut peak = 0;
    let made = loop {
        tokio::select! {
            made = &mut sent => break made,
            () = tokio::time::sleep(SAMPLE) => peak = peak.max(house.own_memory()),
        }
    };
    assert_eq!(made["estimate"]["good"], 100_000, "{}", made["estimate"]);
    println!("{} MB at most", peak / 1_000_000);
    assert!(peak < MEMORY_MAX, "{} MB at most", peak / 1_000_000);
    house.kill().await;
    house.finish().await;
}
