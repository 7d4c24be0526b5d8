//! Batches over HTTP, with the real money, documents and trust beneath them, and workers that die.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use kernel::id::kinds;
use kernel::{Caller, Id, Role};
use platform::db::{Read, Tx};
use platform::jobs::{Registry, Worker};
use platform::testing::TestDb;
use serde_json::{Value as Json, json};

use super::model::{COLUMNS, Cells, Format, ROWS_MAX, is_formula};
use super::receive::Line;
use super::{csv, json as json_table, xlsx};
use crate::testing::{Client, id_of, with_key};
use crate::verification::tests::{FUNDS, MIGRATIONS, PRICE, Stage, diplomas, stage};
use crate::verifier::model::{Availability, Away};

mod workbooks;

const BATCHES: &str = "/v1/enterprise/verifications/batch";

/// An enterprise with as much money as so many rows take, and a client.
struct Desk<'a> {
    stage: Stage<'a>,
    eve: Caller,
    client: Client,
}

impl<'a> Desk<'a> {
    async fn open(t: &'a TestDb, rows: i64) -> Self {
        let stage = stage(t).await;
        let eve = stage.people.add(t, "Eve", Role::Enterprise);
        stage.fund(&eve, rows * PRICE + 1).await;
        let client = Client::over(stage.market.routes());
        Self { stage, eve, client }
    }

    fn verifier(&self) -> Id<kinds::Verifier> {
        id_of(&self.stage.verifier).same_as()
    }

    /// Sends a table as CSV; answers the status and the answer.
    async fn send(&self, query: &str, table: impl Into<Body>) -> (u16, Json) {
        let request = format!("POST {BATCHES}?verifierId={}{query}", self.verifier());
        let (status, text) = self.client.media(&self.eve, &request, ("text/csv", table)).await;
        (status, serde_json::from_str(&text).unwrap_or_else(|_| json!({ "code": text })))
    }

    /// Sends a table that is taken in; answers the batch's id.
    async fn submit(&self, query: &str, table: impl Into<Body>) -> String {
        let (status, answer) = self.send(query, table).await;
        assert_eq!(status, 202, "{answer}");
        answer["batch"]["id"].as_str().unwrap().to_owned()
    }

    /// Sends a table with an idempotency key; answers the status, and the batch's id or the code.
    async fn keyed(&self, key: u8, table: impl Into<Body>) -> (u16, Json) {
        let request = format!("POST {BATCHES}?verifierId={}", self.verifier());
        let keyed = with_key(&self.eve, key);
        let (status, text) = self.client.media(&keyed, &request, ("text/csv", table)).await;
        let answer: Result<Json, _> = serde_json::from_str(&text);
        (status, answer.map_or(json!(text), |answer| answer["batch"]["id"].clone()))
    }

    fn worker(&self) -> Worker {
        let mut registry = Registry::default();
        self.stage.market.jobs(&mut registry);
        Worker::new(self.stage.t.db.clone(), registry)
    }

    async fn progress(&self, id: &str) -> Json {
        self.client.get(&self.eve, &format!("{BATCHES}/{id}")).await
    }

    async fn rows(&self, id: &str, query: &str) -> Vec<Json> {
        let path = format!("{BATCHES}/{id}/rows?limit=100{query}");
        self.client.get(&self.eve, &path).await.as_array().unwrap().clone()
    }

    /// The codes of the failed rows, by their numbers.
    async fn failed(&self, id: &str) -> Vec<(i64, String)> {
        let rows = self.rows(id, "&state=failed").await;
        let code = |row: &Json| row["error"]["code"].as_str().unwrap().to_owned();
        rows.iter().map(|row| (row["row"].as_i64().unwrap(), code(row))).collect()
    }

    /// That so many rows are verifications, each once, with its hold, and the books are right.
    async fn has_done(&self, rows: i64) {
        use money::ledger::{self, Account, Code};
        for table in ["verifications", "commissions", "credentials"] {
            assert_eq!(self.stage.count(table).await, rows, "{table}");
        }
        let held = Account::of(id_of(&self.eve), Code::HELD);
        let db = &self.stage.t.db;
        let held = ledger::balance(db, held, kernel::Asset::USD).await.unwrap();
        assert_eq!(held.minor, rows * PRICE);
        assert!(ledger::check(db).await.unwrap().is_sound());
    }
}

/// A table of good rows.
fn table(rows: std::ops::Range<i64>) -> String {
    let mut table = csv::line(["reference", "subject", "title", "type", "issuer"]);
    for row in rows {
        table += &csv::line([&*format!("HR-{row}"), "Anne", "Bachelor", "Education", "U"]);
    }
    table
}

/// Polls a future so many times, and drops it: its process was killed there. Whether it was done.
async fn kill_after<F: Future>(polls: usize, future: F) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        let first = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if first.is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

platform::on_both_engines! { MIGRATIONS;

async fn every_row_has_an_outcome_of_its_own(t: &TestDb) {
    let desk = Desk::open(t, 10).await;
    let rows = [
        "A,Anne,Bachelor,Education,U,",
        "B,Ben,,Education,U,",
        "C,Carl,Bachelor,Education,U,x",
        "D,Dora,Bachelor,Law,U,",
        "A,Anne once more,Bachelor,Education,U,",
        "E,=cmd(),Bachelor,Education,U,",
        "F,\"Fay\" F,Bachelor,Education,U,",
        "G,Gus,Bachelor,Education",
        "H,H\u{e9}l\u{e8}ne,\"Bachelor, \"\"cum laude\"\"\",Education,U,1999-12-31",
        "",
        "I,Ida,Bachelor,Education,U,2000-02-30",
        // Without the space, which is not kept, it is one as well.
        "J,\" =cmd()\",Bachelor,Education,U,",
    ];
    let head = "\u{feff}Reference,subject,title,TYPE,issuer,issue_date\r\n";
    let id = desk.submit("&name=Spring", format!("{head}{}\r\n", rows.join("\r\n"))).await;
    desk.worker().drain().await.unwrap();
    let seen = desk.progress(&id).await;
    assert_eq!((&seen["status"], &seen["name"]), (&json!("completed"), &json!("Spring")));
    assert_eq!(seen["rows"], json!({ "total": 11, "queued": 0, "done": 2, "failed": 9,
        "cancelled": 0 }));
    assert_eq!((&seen["percent"], &seen["spent"][0]["amount"]), (&json!(100), &json!(2 * PRICE)));
    let expected = [
        (2, "required"), (3, "invalid"), (4, "no_service"), (5, "duplicate"), (6, "formula"),
        (7, "stray_quote"), (8, "wrong_columns"), (10, "invalid"),
        (11, "formula"),
    ];
    let failed = desk.failed(&id).await;
    let rest = expected.map(|(row, code)| (row, code.to_owned()));
    for (found, expected) in failed.iter().zip(&rest) {
        // Which word the marketplace has for "no service fits" is its own.
        if expected.1 != "no_service" {
            assert_eq!(found, expected);
        }
    }
    assert_eq!(failed.len(), rest.len());
    let fields: Vec<_> =
        desk.rows(&id, "&state=failed").await.iter().map(|r| r["error"]["field"].clone()).collect();
    assert_eq!((&fields[0], &fields[1]), (&json!("title"), &json!("issueDate")));
    desk.has_done(2).await;
    let done = desk.rows(&id, "&state=done").await;
    let found = format!("/v1/enterprise/verifications/{}", done[1]["verificationId"].as_str().unwrap());
    let found = desk.client.get(&desk.eve, &found).await;
    assert_eq!((&found["subject"], &found["batchId"]), (&json!("H\u{e9}l\u{e8}ne"), &json!(id)));

    // The rest comes back as a table that can be mended and sent again.
    let path = format!("GET {BATCHES}/{id}/errors.csv");
    let (status, errors) = desk.client.media(&desk.eve, &path, ("", Body::empty())).await;
    assert_eq!((status, errors.lines().count()), (200, 10));
    assert!(errors.lines().any(|line| line.contains("E,'=cmd(),Bachelor")), "{errors}");
    assert!(errors.starts_with("row,code,field,error,reference,subject"));
    let (_, again) = desk.send("&dryRun=true", errors).await;
    assert_eq!(again["estimate"]["bad"].as_i64().unwrap() + again["estimate"]["good"].as_i64()
        .unwrap(), 9);
}

async fn a_dry_run_says_what_a_table_comes_to_and_leaves_nothing(t: &TestDb) {
    let desk = Desk::open(t, 0).await;
    let table = table(0..3) + "HR-9,Anne,,Education,U\n";
    let (status, answer) = desk.send("&dryRun=true", table).await;
    assert_eq!(status, 200);
    let estimate = &answer["estimate"];
    assert_eq!((&estimate["good"], &estimate["bad"]), (&json!(3), &json!(1)));
    assert_eq!(estimate["price"][0]["amount"], 3 * PRICE);
    assert_eq!((&estimate["errors"][0]["row"], &estimate["errors"][0]["field"]),
        (&json!(4), &json!("title")));
    for nothing in ["batches", "batch_rows", "credentials"] {
        assert_eq!(desk.stage.count(nothing).await, 0, "{nothing}");
    }
}

async fn workers_that_die_do_no_row_twice_and_leave_none_behind(t: &TestDb) {
    let desk = Desk::open(t, 60).await;
    let mut bad = table(0..40);
    bad += "HR-1,Twice,Bachelor,Education,U\nHR-40,No title,,Education,U\n";
    let id = desk.submit("", bad).await;
    // Dead after a little more each time; what they held is free when their leases are over.
    for polls in [1, 7, 40, 150, 400, 1000] {
        let worker = desk.worker();
        let done = kill_after(polls, worker.drain()).await;
        t.clock.advance(platform::jobs::LEASE * 2);
        if done {
            break;
        }
    }
    desk.worker().drain().await.unwrap();
    // Two at once, on what is over: nothing is left to do.
    let (one, other) = (desk.worker(), desk.worker());
    futures_util::future::join(one.drain(), other.drain()).await.0.unwrap();
    let seen = desk.progress(&id).await;
    assert_eq!((&seen["status"], &seen["rows"]["done"], &seen["rows"]["failed"]),
        (&json!("completed"), &json!(40), &json!(2)));
    desk.has_done(40).await;
    let codes: Vec<_> = desk.failed(&id).await.into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, ["duplicate", "required"]);
}

async fn the_organization_is_told_how_far_its_batch_is(t: &TestDb) {
    let desk = Desk::open(t, 450).await;
    let id = desk.submit("", table(0..450) + "HR-1,Twice,Bachelor,Education,U\n").await;
    desk.worker().drain().await.unwrap();
    let page = kernel::PageRequest::first(2000);
    let all = platform::journal::Filter::default();
    let eve = id_of(&desk.eve);
    let facts = platform::journal::of_party(&t.db, eve, &all, &page).await.unwrap().items;
    let of_batch = facts.iter().rev().filter(|fact| fact.subject == id);
    let told: Vec<_> = of_batch
        .map(|fact| (fact.verb.as_str(), fact.data["done"].clone(), fact.data["total"].clone()))
        .collect();
    assert_eq!(told, [
        ("batch.submitted", Json::Null, Json::Null),
        ("batch.progressed", json!(200), json!(451)),
        ("batch.progressed", json!(400), json!(451)),
        ("batch.completed", json!(450), json!(451)),
    ]);
}

async fn a_job_that_takes_long_leaves_the_rest_to_another(t: &TestDb) {
    let desk = Desk::open(t, 120).await;
    let id = desk.submit("", table(0..120)).await;
    let worker = desk.worker();
    let begun = async {
        while desk.stage.count("verifications").await == 0 {
            tokio::task::yield_now().await;
        }
    };
    let (drain, begun) = (pin!(worker.drain()), pin!(begun));
    let Either::Right(((), drain)) = select(drain, begun).await else {
        panic!("all of it was done at once");
    };
    t.clock.advance(Duration::from_secs(25));
    drain.await.unwrap();
    desk.has_done(120).await;
    let told = platform::journal::newest_of(&t.db, &id, "batch.progressed").await.unwrap().unwrap();
    let done = told.data["done"].as_i64().unwrap();
    assert!((1..120).contains(&done), "{done}");
    assert_eq!(desk.progress(&id).await["status"], "completed");
}

async fn a_batch_whose_job_has_failed_too_often_is_taken_up_again(t: &TestDb) {
    let desk = Desk::open(t, 3).await;
    let id = desk.submit("", table(0..3)).await;
    let jobs = async || {
        let sql = "SELECT state FROM jobs WHERE kind = 'batch.work' ORDER BY state";
        t.db.all(sql, &[], |row| row.take::<String>()).await.unwrap()
    };
    let batches = &desk.stage.market.batches;
    batches.resume().await.unwrap();
    assert_eq!(jobs().await, ["ready"], "it has one already");
    let dies = |tx: Tx| async move {
        tx.execute("UPDATE jobs SET state = 'dead' WHERE kind = 'batch.work'", &[]).await?;
        Ok(())
    };
    t.db.run("test.die", dies).await.unwrap();
    for _ in 0..2 {
        batches.resume().await.unwrap();
        assert_eq!(jobs().await, ["dead", "ready"]);
    }
    desk.worker().drain().await.unwrap();
    assert_eq!(desk.progress(&id).await["status"], "completed");
    desk.has_done(3).await;
    batches.resume().await.unwrap();
    assert_eq!(jobs().await, ["dead"]);
    // The worker looks for such batches by itself.
    let other = desk.submit("", table(3..4)).await;
    t.db.run("test.die", dies).await.unwrap();
    t.clock.advance(Duration::from_secs(600));
    desk.worker().drain().await.unwrap();
    assert_eq!(desk.progress(&other).await["status"], "completed");
}

async fn a_budget_is_never_overspent_and_a_retry_does_the_rest(t: &TestDb) {
    let desk = Desk::open(t, 5).await;
    let query = format!("&budget={}&currency=USD", 2 * PRICE + 5);
    let id = desk.submit(&query, table(0..4)).await;
    desk.worker().drain().await.unwrap();
    desk.has_done(2).await;
    let codes: Vec<_> = desk.failed(&id).await.into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, ["budget_exceeded"; 2]);
    let retry = format!("POST {BATCHES}/{id}/retry");
    let refused = desk.client.send(&desk.eve, &retry, json!({ "budget": PRICE })).await;
    assert_eq!((refused.0, &refused.1["code"]), (409, &json!("budget_spent")));
    desk.client.ok(&desk.eve, &retry, json!({ "budget": 3 * PRICE })).await;
    desk.worker().drain().await.unwrap();
    desk.has_done(3).await;
    desk.client.ok(&desk.eve, &retry, json!({ "budget": 9 * PRICE })).await;
    desk.worker().drain().await.unwrap();
    desk.has_done(4).await;
    let nothing = desk.client.send(&desk.eve, &retry, json!({})).await;
    assert_eq!((nothing.0, &nothing.1["code"]), (409, &json!("nothing_to_retry")));
}

async fn what_cannot_be_paid_is_tried_again_when_it_can(t: &TestDb) {
    let desk = Desk::open(t, 1).await;
    let id = desk.submit("", table(0..3)).await;
    desk.worker().drain().await.unwrap();
    desk.has_done(1).await;
    let rows = desk.rows(&id, "&state=failed").await;
    assert_eq!(rows[0]["error"]["code"], "insufficient_funds");
    assert_eq!(rows[0]["error"]["retryable"], true);
    desk.stage.fund(&desk.eve, FUNDS).await;
    desk.client.ok(&desk.eve, &format!("POST {BATCHES}/{id}/retry"), json!({})).await;
    desk.worker().drain().await.unwrap();
    desk.has_done(3).await;
}

async fn what_a_verifier_does_not_do_at_present_is_tried_again(t: &TestDb) {
    let desk = Desk::open(t, 3).await;
    let verifiers = &desk.stage.market.verifiers;
    let retry = async |id: &str, code: &str| {
        let row = &desk.rows(id, "&state=failed").await[0];
        assert_eq!((&row["error"]["code"], &row["error"]["retryable"]), (&json!(code), &json!(true)));
        desk.client.ok(&desk.eve, &format!("POST {BATCHES}/{id}/retry"), json!({})).await;
    };
    let away = Some(Away { from: t.db.world().now(), until: None });
    let away = Availability::parse(&[], away, None).unwrap();
    verifiers.replace_availability(&desk.stage.verifier, &away).await.unwrap();
    let id = desk.submit("", table(0..1)).await;
    desk.worker().drain().await.unwrap();
    let back = Availability::parse(&[], None, None).unwrap();
    verifiers.replace_availability(&desk.stage.verifier, &back).await.unwrap();
    verifiers.replace_offers(&desk.stage.verifier, &[]).await.unwrap();
    retry(&id, "away").await;
    desk.worker().drain().await.unwrap();
    verifiers.replace_offers(&desk.stage.verifier, &[diplomas(PRICE)]).await.unwrap();
    retry(&id, "no_fitting_service").await;
    desk.worker().drain().await.unwrap();
    desk.has_done(1).await;
}

async fn rows_that_wait_are_called_off_and_what_is_done_stays(t: &TestDb) {
    let desk = Desk::open(t, 5).await;
    let id = desk.submit("", table(0..3)).await;
    let cancel = format!("POST {BATCHES}/{id}/cancel");
    let seen = desk.client.ok(&desk.eve, &cancel, Json::Null).await;
    assert_eq!((&seen["status"], &seen["rows"]["cancelled"]), (&json!("cancelled"), &json!(3)));
    desk.worker().drain().await.unwrap();
    desk.has_done(0).await;
    let again = desk.client.send(&desk.eve, &cancel, Json::Null).await;
    assert_eq!((again.0, &again.1["code"]), (409, &json!("wrong_state")));
    assert!(again.1["members"]["state"].is_string() && again.1["members"]["allowed"].is_array());
    let stranger = desk.stage.people.add(t, "Olga", Role::Enterprise);
    for request in [
        format!("GET {BATCHES}/{id}"), format!("GET {BATCHES}/{id}/rows"), cancel,
        format!("GET {BATCHES}/{id}/errors.csv"),
    ] {
        assert_eq!(desk.client.send(&stranger, &request, Json::Null).await.0, 404, "{request}");
    }
    let retry = format!("POST {BATCHES}/{id}/retry");
    assert_eq!(desk.client.send(&stranger, &retry, json!({})).await.0, 404);
    assert_eq!(desk.client.get(&stranger, BATCHES).await, json!([]));
}

async fn what_is_no_table_is_refused_whole_and_leaves_no_row(t: &TestDb) {
    let desk = Desk::open(t, 5).await;
    let utf16: Vec<u8> =
        "\u{feff}title\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let long = format!("title\n{}", "x\n".repeat(ROWS_MAX as usize + 1));
    for (table, code) in [
        (Vec::new(), "empty_table"),
        (b"title,type\r\n".to_vec(), "empty_table"),
        (b"title,colour\nx,y\n".to_vec(), "invalid_fields"),
        (b"title,title\nx,y\n".to_vec(), "invalid_fields"),
        (b"\x89PNG\r\n\x1a\n".to_vec(), "unsupported_encoding"),
        (utf16, "unsupported_encoding"),
        ("x".repeat(20_000).into_bytes(), "no_header"),
        (long.into_bytes(), "too_many_rows"),
    ] {
        let (status, answer) = desk.send("", table).await;
        assert!(matches!(status, 400 | 422), "{code}: {status} {answer}");
        assert_eq!(answer["code"], code);
        assert_eq!(desk.stage.count("batch_rows").await, 0, "{code}");
    }
    // A client that goes away in the middle.
    let rows = table(0..2000).into_bytes();
    let parts = [Ok(Bytes::from(rows)), Err(std::io::Error::other("gone"))];
    let (status, answer) = desk.send("", Body::from_stream(stream::iter(parts))).await;
    assert_eq!((status, &answer["code"]), (400, &json!("broken_body")));
    assert_eq!(desk.stage.count("batch_rows").await, 0);
    desk.worker().drain().await.unwrap();
    desk.has_done(0).await;
    let media = format!("POST {BATCHES}");
    let refused = desk.client.media(&desk.eve, &media, ("application/vnd.ms-excel", "x")).await;
    assert_eq!(refused, (415, "unsupported_media_type".to_owned()));
}

async fn a_table_that_is_sent_twice_is_one_batch(t: &TestDb) {
    let desk = Desk::open(t, 5).await;
    let keyed = with_key(&desk.eve, 9);
    let request = format!("POST {BATCHES}?verifierId={}", desk.verifier());
    let send = async || {
        let (status, text) = desk.client.media(&keyed, &request, ("text/csv", table(0..3))).await;
        assert_eq!(status, 202, "{text}");
        serde_json::from_str::<Json>(&text).unwrap()["batch"]["id"].clone()
    };
    let first = send().await;
    assert_eq!(first, send().await);
    desk.worker().drain().await.unwrap();
    assert_eq!(first, send().await);
    desk.worker().drain().await.unwrap();
    desk.has_done(3).await;
}

async fn a_key_stands_for_the_table_that_was_sent_with_it(t: &TestDb) {
    let desk = Desk::open(t, 5).await;
    let first = desk.keyed(7, table(0..2)).await;
    assert_eq!(first.0, 202, "{}", first.1);
    for other in [table(0..3), table(2..4), String::new()] {
        let refused = desk.keyed(7, other).await;
        assert_eq!(refused, (422, json!("idempotency_key_reused")));
    }
    assert_eq!(desk.keyed(7, table(0..2)).await, first);
    desk.worker().drain().await.unwrap();
    desk.has_done(2).await;
    assert_eq!(desk.stage.count("batches").await, 1);
}

async fn a_key_whose_table_was_none_or_broke_off_is_as_unused(t: &TestDb) {
    let desk = Desk::open(t, 5).await;
    let (bad, good) = ("title,colour\nx,y\n", table(0..3));
    assert_eq!(desk.keyed(7, bad).await, (422, json!("invalid_fields")));
    let rows = table(0..2000).into_bytes();
    let parts = [Ok(Bytes::from(rows)), Err(std::io::Error::other("gone"))];
    let broken = desk.keyed(7, Body::from_stream(stream::iter(parts))).await;
    assert_eq!(broken, (400, json!("broken_body")));
    // As of a process that dies while the table comes in.
    let endless = stream::iter([Ok::<_, std::io::Error>(Bytes::from(good.clone()))]);
    let endless = Body::from_stream(endless.chain(stream::pending()));
    assert!(!kill_after(1000, desk.keyed(7, endless)).await);
    let (status, id) = desk.keyed(7, good.clone()).await;
    assert_eq!(status, 202, "{id}");
    assert_eq!(desk.progress(id.as_str().unwrap()).await["status"], "running");
    assert_eq!(desk.keyed(7, good).await, (202, id));
    desk.worker().drain().await.unwrap();
    desk.has_done(3).await;
}

async fn of_two_equal_requests_at_the_same_time_one_becomes_a_batch(t: &TestDb) {
    let desk = Desk::open(t, 5).await;
    let send = || desk.keyed(7, table(0..3));
    let (one, other) = futures_util::future::join(send(), send()).await;
    let (_, id) = desk.keyed(7, table(0..3)).await;
    for (status, answer) in [one, other] {
        let in_progress = (409, json!("idempotency_in_progress"));
        assert!((status, &answer) == (202, &id) || (status, answer) == in_progress);
    }
    desk.worker().drain().await.unwrap();
    desk.has_done(3).await;
}

async fn json_is_a_table_as_well_and_who_sent_it_is_in_the_facts(t: &TestDb) {
    let desk = Desk::open(t, 5).await;
    let verifier = desk.verifier();
    let row = |reference: &str| json!({ "reference": reference, "title": "Bachelor",
        "type": "Education", "issuer": "U", "verifierId": verifier });
    let array = json!([row("A"), row("B"), { "title": 5, "colour": "x" }, 7, row("A")]);
    let lines = format!("{}\n\n{}\nnot json\n", row("C"), row("D"));
    let request = format!("POST {BATCHES}");
    for (media, body, done, bad) in [
        ("application/json; charset=utf-8", array.to_string(), 2, 3),
        ("application/x-ndjson", lines, 2, 1),
    ] {
        let (status, text) = desk.client.media(&desk.eve, &request, (media, body)).await;
        assert_eq!(status, 202, "{text}");
        let answer: Json = serde_json::from_str(&text).unwrap();
        assert_eq!((&answer["estimate"]["good"], &answer["estimate"]["bad"]),
            (&json!(done), &json!(bad)), "{answer}");
    }
    for broken in ["{}", "[{}", "[{},]", "[{}] x", "[,]", ""] {
        let body = ("application/json", broken);
        let (status, code) = desk.client.media(&desk.eve, &request, body).await;
        assert_eq!((status, &*code), (400, "invalid_json"), "{broken}");
    }
    desk.worker().drain().await.unwrap();
    desk.has_done(4).await;
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM facts
               WHERE verb = 'verification.requested' AND actor = $1";
    let eve = id_of(&desk.eve);
    let made = t.db.one(sql, platform::params![eve], |row| row.take::<i64>()).await.unwrap();
    assert_eq!(made, 4);
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM facts WHERE verb = 'batch.completed'";
    assert_eq!(t.db.one(sql, &[], |row| row.take::<i64>()).await.unwrap(), 2);
    let empty = "SELECT CAST(COUNT(*) AS BIGINT) FROM batch_rows
                 WHERE state = 'done' AND content <> ''";
    assert_eq!(t.db.one(empty, &[], |row| row.take::<i64>()).await.unwrap(), 0);
}
}

/// Reads a table in pieces of a length.
fn read(format: Format, bytes: &[u8], piece: usize) -> kernel::Result<Vec<Line>> {
    let mut lines = Vec::new();
    match format {
        Format::Csv => {
            let mut reader = csv::Reader::new();
            bytes.chunks(piece).try_for_each(|part| reader.push(part, &mut lines))?;
            reader.finish(&mut lines)?;
        }
        Format::Json | Format::JsonLines => {
            let mut reader = json_table::Reader::new(format == Format::Json);
            bytes.chunks(piece).try_for_each(|part| reader.push(part, &mut lines))?;
            reader.finish(&mut lines)?;
        }
        Format::Xlsx => {
            let mut reader = xlsx::Reader::new();
            bytes.chunks(piece).try_for_each(|part| reader.push(part))?;
            while reader.more(&mut lines)? {}
        }
    }
    Ok(lines)
}

fn codes(table: &[u8]) -> Vec<String> {
    let lines = read(Format::Csv, table, 3).unwrap();
    let code = |line: Line| line.cells.map_or_else(|problem| problem.code, |_| "ok".to_owned());
    lines.into_iter().map(code).collect()
}

#[test]
fn a_number_in_json_is_read_as_it_is_written() {
    let numbers = ["12345678901234567890123", "0.10", "1E5", "-7", "1e999", "18446744073709551616"];
    for number in numbers {
        for (format, (before, behind)) in
            [(Format::Json, ("[", "]")), (Format::JsonLines, ("", ""))]
        {
            let table =
                format!("{before}{{\"title\": \"T\", \"documentNumber\" : {number} }}{behind}");
            let cells = read(format, table.as_bytes(), 3).unwrap().remove(0).cells.unwrap();
            assert_eq!((&*cells.0[2], &*cells.0[5]), ("T", number));
        }
    }
}

#[test]
fn what_is_no_text_in_a_row_of_json_is_said_of_it() {
    let table = br#"[{"title": null, "type": "a\u00e9\n"}, {"title": true}, {"title": [1]}, 7,
        {"title": "\ud800"}, {"title": 01}, {"title": "a", "title": "b"}]"#;
    let found: Vec<_> = read(Format::Json, table, 3)
        .unwrap()
        .into_iter()
        .map(|line| line.cells.map_or_else(|it| it.code, |it| it.0[2..4].join("|")))
        .collect();
    let wrong = "invalid_json";
    assert_eq!(found, ["|a\u{e9}\n", "invalid", "invalid", wrong, wrong, wrong, "b|"]);
}

#[test]
fn a_mark_before_lines_of_json_is_no_part_of_the_first_row() {
    for table in [
        "\u{feff}{\"title\":\"a\"}\n{\"title\":\"b\"}",
        "\u{feff}\n{\"title\":\"a\"}\n{\"title\":\"b\"}\n",
    ] {
        let lines = read(Format::JsonLines, table.as_bytes(), 1).unwrap();
        let titles: Vec<_> =
            lines.into_iter().map(|line| line.cells.unwrap().0[2].clone()).collect();
        assert_eq!(titles, ["a", "b"], "{table:?}");
    }
    let inside = "{\"title\":\"a\"}\n\u{feff}{\"title\":\"b\"}";
    assert!(read(Format::JsonLines, inside.as_bytes(), 1).unwrap().remove(1).cells.is_err());
}

#[test]
fn what_is_wrong_with_a_line_of_csv_is_said_of_it_and_of_no_other() {
    for (table, expected) in [
        (&b"title,type\na,b\n"[..], &["ok"][..]),
        (b"title,type\ra,b\n", &[]),
        (b"title;type\r\na,1;b\r\n", &["ok"]),
        (b"title\ttype\na\tb", &["ok"]),
        (b"title,type\n\n\r\n,\n", &["ok"]),
        (b"title,type\na\na,b,c\na,b\n", &["wrong_columns", "wrong_columns", "ok"]),
        (b"title,type\n\"a\nb\",c\nd,e\n", &["ok", "ok"]),
        (b"title,type\n\"a\"x,b\nc\"d,e\nf,g\n", &["stray_quote", "stray_quote", "ok"]),
        (b"title,type\na,b\n\"open,c\nd,e\n", &["ok", "open_quote"]),
        (b"title,type\n\xff,b\nc,d\n", &["invalid_encoding", "ok"]),
        (b"title,type\n\"\",\"\"\n", &["ok"]),
    ] {
        let shown = String::from_utf8_lossy(table).into_owned();
        if expected.is_empty() {
            assert!(read(Format::Csv, table, 3).is_err(), "{shown}");
        } else {
            assert_eq!(codes(table), expected, "{shown}");
        }
    }
}

#[test]
fn a_quote_that_is_never_closed_swallows_a_bounded_part_of_the_table() {
    let mut table = b"title,type\n\"open,x\n".to_vec();
    for row in 0..10_000 {
        table.extend(format!("row {row},Education\n").bytes());
    }
    let found = codes(&table);
    assert_eq!(found[0], "row_too_long");
    let good = found.iter().filter(|code| *code == "ok").count();
    assert!(good > 6_000 && good == found.len() - 1, "{good}");
}

#[test]
fn what_leaves_as_csv_is_computed_by_no_spreadsheet() {
    let cells =
        ["=1+1", "+1", "-1", "@a", "\ta", "\ra", " =a", " a", "a=b", "a\"b", "a,b", "a\nb", ""];
    let line = csv::line(cells);
    let expected =
        "'=1+1,'+1,'-1,'@a,\"'\ta\",\"'\ra\",' =a, a,a=b,\"a\"\"b\",\"a,b\",\"a\nb\",\r\n";
    assert_eq!(line, expected);
}

fn without_formulas(cell: &str) -> String {
    if !is_formula(cell) {
        return cell.to_owned();
    }
    let computed = |c: char| c.is_whitespace() || ['=', '+', '-', '@'].contains(&c);
    cell.trim_start_matches(computed).to_owned()
}

proptest::proptest! {
    #[test]
    fn every_table_that_we_write_is_read_as_it_was(
        rows in proptest::collection::vec(
            proptest::collection::vec("[a-z\"',;\n\r =é-]{0,8}", COLUMNS.len()), 1..8),
        piece in 1_usize..40,
    ) {
        let mut text = csv::line(COLUMNS);
        let mut written = Vec::new();
        for row in &rows {
            let mut cells = Cells::default();
            for (cell, word) in cells.0.iter_mut().zip(row) {
                *cell = without_formulas(word);
            }
            text += &csv::line(cells.0.iter().map(String::as_str));
            written.push(cells);
        }
        let read = read(Format::Csv, text.as_bytes(), piece).unwrap();
        let found: Vec<_> = read.into_iter().map(|line| line.cells.unwrap()).collect();
        proptest::prop_assert_eq!(found, written);
    }

    #[test]
    fn no_bytes_break_a_reader(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400),
        piece in 1_usize..40,
    ) {
        for format in [Format::Csv, Format::Json, Format::JsonLines, Format::Xlsx] {
            let _ = read(format, &bytes, piece);
            let _ = read(format, &[b"title,type\n", &bytes[..]].concat(), piece);
            let _ = read(format, &[b"[{", &bytes[..]].concat(), piece);
        }
    }
}
