//! Receipts and statements against the books.

use std::time::Duration;

use futures_util::StreamExt;
use http::StatusCode;
use kernel::Asset;
use platform::db::Db;
use platform::testing::TestDb;
use serde_json::{Value as Json, json};

use super::{Format, Month, Service};
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::testing::{MIGRATIONS, Op, Play, Site, assert_sound, caller, give, keyed, ngn, user};
use crate::wallet::NewTransfer;
use crate::{Context, Options};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn service(t: &TestDb) -> Service {
    Context::new(Options::new(t.db.clone())).unwrap().statements
}

/// The pieces of a statement.
async fn pieces(service: &Service, who: u128, month: &str, format: Format) -> Vec<Vec<u8>> {
    let month: Month = month.parse().unwrap();
    let span = service.span(&caller(user(who)), month, None, format).await.unwrap();
    service.write(span, format).map(|piece| piece.unwrap().to_vec()).collect().await
}

/// A line of a table: kind, amount, balance. Amounts are in minor units.
type Line = (String, i64, i64);

async fn lines(service: &Service, who: u128, month: &str) -> Vec<Line> {
    let text = String::from_utf8(pieces(service, who, month, Format::Csv).await.concat()).unwrap();
    let minor = |text: &str| text.replace('.', "").parse().unwrap_or_default();
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), 7, "{line}");
        (cells[2].to_owned(), minor(cells[4]), minor(cells[5]))
    };
    text.lines().skip(1).map(line).collect()
}

/// Fails unless a statement is right in itself; answers its opening and closing balance.
fn assert_adds_up(lines: &[Line]) -> (i64, i64) {
    let count = lines.len();
    let (opening, closing) = (&lines[0], &lines[count - 1]);
    assert_eq!((&*opening.0, &*closing.0), ("opening balance", "closing balance"));
    let (came, went) = (&lines[count - 3], &lines[count - 2]);
    assert_eq!((&*came.0, &*went.0), ("total in", "total out"));
    let (mut balance, mut sums) = (opening.2, (0, 0));
    for (kind, amount, after) in &lines[1..count - 3] {
        balance += amount;
        assert_eq!(balance, *after, "{kind}");
        if *amount < 0 { sums.1 += amount } else { sums.0 += amount }
    }
    assert_eq!((balance, sums), (closing.2, (came.1, went.1)));
    (opening.2, closing.2)
}

/// Small numbers that repeat, without a dependency.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn op(&mut self, holds: usize) -> Op {
        let (a, b) = (self.below(3), self.below(3));
        let [a, b] = [a, b].map(|it| usize::try_from(it).unwrap());
        let minor = i64::try_from(self.below(10_000)).unwrap() + 1;
        let hold = usize::try_from(self.below(holds as u64 + 1)).unwrap();
        match self.below(5) {
            0 => Op::Give { to: a, minor: minor * 3 },
            1 => Op::Hold { of: a, minor },
            2 => Op::Capture { hold, payee: b, bps: 250 },
            3 => Op::Release { hold },
            _ => Op::Send { from: a, to: b, minor },
        }
    }
}

/// A thousand entries in one transaction.
async fn many(db: &Db, batch: usize) {
    let clearing = Account::platform(Code::CLEARING_SANDBOX);
    db.run("gift", |tx| async move {
        let gift = NewTransaction::new("gift", format!("many:{batch}"), "x");
        let one = |gift: NewTransaction, _| {
            gift.post(clearing, Account::of(user(0), Code::WALLET), ngn(1))
        };
        ledger::post(&tx, (0..1_000).fold(gift, one)).await
    })
    .await
    .unwrap();
}

platform::on_both_engines! { MIGRATIONS;

async fn every_months_statement_adds_up_and_agrees_with_the_ledger(t: &TestDb) {
    for seed in 0..3 {
        let first = seed * 10;
        let owners: Vec<_> = (first..first + 3).collect();
        let mut play = Play::new(&t.db, owners.iter().map(|it| user((*it).into())).collect());
        let mut dice = Dice(seed);
        for _ in 0..120 {
            t.clock.advance(Duration::from_secs(dice.below(60_000)));
            // What is refused is refused.
            let op = dice.op(play.holds.len());
            let _ = play.step(&op).await;
        }
        let papers = service(t);
        for &owner in &owners {
            let (mut month, mut last): (Month, i64) = ("2026-01".parse().unwrap(), 0);
            while month.start() <= t.db.world().now() {
                let text = month.to_string();
                let (opening, closing) = assert_adds_up(&lines(&papers, owner.into(), &text).await);
                assert_eq!(opening, last, "a month opens with what the last one closed with");
                last = closing;
                month = month.next();
            }
            let account = Account::of(user(owner.into()), Code::WALLET);
            let booked = ledger::balance(&t.db, account, Asset::NGN).await.unwrap();
            assert_eq!(booked.minor, last);
        }
    }
    assert_sound(&t.db).await;
}

async fn what_is_booked_as_a_month_turns_is_the_next_ones(t: &TestDb) {
    give(&t.db, user(0), ngn(100)).await;
    t.clock.advance(31 * DAY - Duration::from_micros(1));
    give(&t.db, user(0), ngn(20)).await;
    t.clock.advance(Duration::from_micros(1));
    give(&t.db, user(0), ngn(3)).await;
    let papers = service(t);
    assert_eq!(assert_adds_up(&lines(&papers, 0, "2026-01").await), (0, 120));
    assert_eq!(assert_adds_up(&lines(&papers, 0, "2026-02").await), (120, 123));
    assert_eq!(assert_adds_up(&lines(&papers, 0, "2025-12").await), (0, 0));
    assert_eq!(assert_adds_up(&lines(&papers, 7, "2026-01").await), (0, 0));
    let later = papers.span(&caller(user(0)), "2026-03".parse().unwrap(), None, Format::Csv).await;
    assert_eq!(later.unwrap_err().code(), "not_found");
}

async fn a_long_statement_goes_out_piece_by_piece(t: &TestDb) {
    for _ in 0..1_203 {
        give(&t.db, user(0), ngn(1)).await;
    }
    let papers = service(t);
    for format in [Format::Csv, Format::Pdf] {
        let pieces = pieces(&papers, 0, "2026-01", format).await;
        // Three reads, and the end.
        assert_eq!(pieces.len(), 4, "{format:?}");
        assert!(pieces.iter().all(|piece| piece.len() < 150_000), "{format:?}");
        let text: String = pieces.concat().into_iter().map(char::from).collect();
        assert!(text.contains("12.03") && text.contains("opening balance"), "{format:?}");
    }
}

async fn a_statement_of_any_length_holds_no_more_rows_than_one_read(t: &TestDb) {
    let papers = service(t);
    let begin = async |format| {
        let month: Month = "2026-01".parse().unwrap();
        papers.span(&caller(user(0)), month, None, format).await
    };
    let mut longest = Vec::new();
    let batches = platform::testing::scaled(11).max(11);
    for batch in 0..batches {
        many(&t.db, batch).await;
        if batch != 0 && batch + 1 != batches {
            continue;
        }
        let entries = 1_000 * (batch + 1);
        for format in [Format::Csv, Format::Jsonl] {
            let mut pieces = Box::pin(papers.write(begin(format).await.unwrap(), format));
            let (mut rows, mut most) = (0, (0, 0));
            while let Some(piece) = pieces.next().await {
                let piece = piece.unwrap();
                let held = piece.iter().filter(|byte| **byte == b'\n').count();
                rows += held;
                most = (most.0.max(held), most.1.max(piece.len()));
            }
            // The head, the opening balance, two sums and the closing one.
            let around = if format == Format::Csv { 5 } else { 4 };
            assert_eq!(rows, entries + around, "{format:?}");
            assert!(most.0 <= 502, "{} rows at a time", most.0);
            longest.push(most.1);
        }
    }
    // What is held of eleven times as much is longer by the digits of the balance only.
    assert!(longest[2] < longest[0] + 2_000 && longest[3] < longest[1] + 2_000, "{longest:?}");
    let refused = begin(Format::Pdf).await.unwrap_err();
    assert_eq!(refused.fields()[0].pointer, "/format");
}

async fn a_line_of_json_has_what_a_line_of_the_table_has(t: &TestDb) {
    give(&t.db, user(0), ngn(1_050)).await;
    let text = pieces(&service(t), 0, "2026-01", Format::Jsonl).await.concat();
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<Json> = text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(lines[0]["kind"], "opening_balance");
    let entry = &lines[1];
    assert_eq!((&entry["amount"], &entry["balance"]), (&json!(1_050), &json!(1_050)));
    assert!(entry["transaction"].as_str().unwrap().starts_with("tx_"));
    let last = lines.last().unwrap();
    assert_eq!((&last["kind"], &last["balance"]), (&json!("closing_balance"), &json!(1_050)));
    let site = Site::open(&t.db).await;
    let path = "/v1/user/wallet/statements/2026-01?format=jsonl";
    assert_eq!(site.get(user(0), path).await.1.as_str(), Some(text.as_str()));
}

async fn a_receipt_is_its_holders_and_says_what_was_moved(t: &TestDb) {
    let site = Site::open(&t.db).await;
    give(&t.db, user(0), ngn(50_000)).await;
    give(&t.db, user(1), ngn(1)).await;
    let transfer = NewTransfer { to: user(1), amount: ngn(12_345) };
    let wallet = &site.context.wallet;
    let sent = wallet.transfer(&keyed(user(0), "k", ""), transfer).await.unwrap();
    let path = format!("/v1/user/wallet/transactions/{}/receipt", sent.id);
    let (status, csv) = site.get(user(0), &format!("{path}?format=csv")).await;
    let csv = csv.as_str().unwrap().to_owned();
    assert_eq!(status, StatusCode::OK);
    assert!(csv.contains(&format!(",{},transfer,", sent.id)));
    assert!(csv.contains(",-123.45,376.55,NGN"));
    let (_, pdf) = site.get(user(0), &path).await;
    let pdf = pdf.as_str().unwrap();
    assert!(pdf.starts_with("%PDF-1.4") && pdf.contains("-123.45") && pdf.contains("376.55"));
    // The other side has a receipt of its own, and nobody else has one.
    let (_, other) = site.get(user(1), &format!("{path}?format=csv")).await;
    assert!(other.as_str().unwrap().contains(",123.45,123.46,NGN"));
    assert_eq!(site.get(user(2), &path).await.0, StatusCode::NOT_FOUND);
    let (status, text) = site.get(user(0), "/v1/user/wallet/statements/2026-01?format=csv").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.as_str().unwrap().contains("closing balance,,,376.55,NGN"), "{text}");
    for wrong in ["2026-1", "x", "2026-13", "2030-01"] {
        let path = format!("/v1/user/wallet/statements/{wrong}");
        assert_eq!(site.get(user(0), &path).await.0, StatusCode::NOT_FOUND, "{wrong}");
    }
    let other = "/v1/user/wallet/statements/2026-01?format=csv&currency=USD";
    let (_, text) = site.get(user(0), other).await;
    assert!(text.as_str().unwrap().contains("closing balance,,,0.00,USD"), "{text}");
}

}
