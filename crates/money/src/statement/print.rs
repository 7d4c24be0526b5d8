//! How statements and receipts look: as a table, as lines of JSON, and as pages.

use kernel::{Asset, Money, Timestamp};
use serde::Serialize;

use super::model::{Format, Span};
use crate::ledger::Entry;
use crate::pdf;

/// A table whose columns are `date, transaction, kind, subject, amount, balance, currency`.
const HEADER: [&str; 7] =
    ["date", "transaction", "kind", "subject", "amount", "balance", "currency"];

/// A line of either kind of paper.
struct Row<'a> {
    at: Timestamp,
    transaction: String,
    kind: &'a str,
    subject: &'a str,
    /// None on lines that tell of a balance only.
    amount: Option<Money>,
    balance: Option<Money>,
}

/// A line for programs: amounts are whole minor units, as everywhere in the API.
#[derive(Serialize)]
struct JsonLine<'a> {
    date: Timestamp,
    #[serde(skip_serializing_if = "str::is_empty")]
    transaction: &'a str,
    kind: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<i64>,
    currency: Option<Asset>,
}

/// Writes each kind of paper, piece by piece.
pub(super) enum Paper {
    Csv(String),
    Jsonl(String),
    Pdf(pdf::Writer),
}

impl Paper {
    pub(super) fn new(format: Format) -> Self {
        match format {
            Format::Csv => {
                let mut own = Self::Csv(String::new());
                own.cells(HEADER.map(str::to_owned));
                own
            }
            Format::Jsonl => Self::Jsonl(String::new()),
            Format::Pdf => Self::Pdf(pdf::Writer::new()),
        }
    }

    /// The head of a statement, with its opening balance.
    pub(super) fn open(&mut self, span: &Span) {
        let Span { owner, month, until, opening, .. } = span;
        self.text(&[
            format!("Statement {month}, {}", opening.asset),
            String::new(),
            format!("Holder  {owner}"),
            format!("Period  {}", month.start().to_second_text()),
            format!("     to {}", until.to_second_text()),
            String::new(),
        ]);
        self.heading();
        self.row(&Row::balance(month.start(), "opening balance", *opening));
    }

    /// An entry of a statement.
    pub(super) fn entry(&mut self, entry: &Entry) {
        self.row(&Row::of(entry));
    }

    /// The end of a statement: what came in, what went out, what is left.
    pub(super) fn close(&mut self, span: &Span, came: Money, went: Money) {
        self.text(&[String::new()]);
        for (kind, amount) in [("total in", came), ("total out", went)] {
            self.row(&Row {
                amount: Some(amount),
                balance: None,
                ..Row::balance(span.until, kind, amount)
            });
        }
        self.row(&Row::balance(span.until, "closing balance", span.closing));
    }

    /// A receipt: the entries of one transaction on its holder's wallet.
    pub(super) fn receipt(&mut self, holder: &str, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        self.text(&[
            format!("Receipt {}", first.transaction),
            String::new(),
            format!("Holder  {holder}"),
            format!("Date    {}", first.recorded_at.to_second_text()),
            format!("Kind    {}", words(&first.kind)),
            format!("Subject {}", first.subject),
            String::new(),
        ]);
        self.heading();
        for entry in entries {
            self.row(&Row::of(entry));
        }
    }

    /// What is ready to be sent.
    pub(super) fn take(&mut self) -> Vec<u8> {
        match self {
            Self::Csv(text) | Self::Jsonl(text) => std::mem::take(text).into_bytes(),
            Self::Pdf(writer) => writer.take(),
        }
    }

    /// The rest of it.
    pub(super) fn finish(self) -> Vec<u8> {
        match self {
            Self::Csv(text) | Self::Jsonl(text) => text.into_bytes(),
            Self::Pdf(writer) => writer.finish(),
        }
    }

    /// Lines that a table has no place for.
    fn text(&mut self, lines: &[String]) {
        if let Self::Pdf(writer) = self {
            lines.iter().for_each(|line| writer.line(line));
        }
    }

    fn heading(&mut self) {
        self.text(&[format!("{:20} {:18} {:>20} {:>20}", "Date", "Kind", "Amount", "Balance")]);
    }

    fn row(&mut self, row: &Row<'_>) {
        if let Self::Jsonl(text) = self {
            text.push_str(&row.json());
            text.push('\n');
            return;
        }
        let Row { at, transaction, kind, subject, amount, balance } = row;
        let plain = |it: &Option<Money>| it.map(plain).unwrap_or_default();
        let (amount, left) = (plain(amount), plain(balance));
        let asset = row.amount.or(*balance).map_or("", |it| it.asset.code());
        match self {
            Self::Pdf(writer) => {
                let at = at.to_second_text();
                let kind = words(kind);
                writer.line(&format!("{at:20} {kind:18} {amount:>20} {left:>20}"));
                if !transaction.is_empty() {
                    writer.line(&format!("{:20} {transaction}", ""));
                }
            }
            Self::Csv(_) | Self::Jsonl(_) => self.cells([
                at.to_string(),
                transaction.clone(),
                words(kind),
                (*subject).to_owned(),
                amount,
                left,
                asset.to_owned(),
            ]),
        }
    }

    fn cells(&mut self, cells: [String; 7]) {
        if let Self::Csv(text) = self {
            let cells = cells.map(|cell| quoted(&cell));
            text.push_str(&cells.join(","));
            text.push_str("\r\n");
        }
    }
}

impl<'a> Row<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self {
            at: entry.recorded_at,
            transaction: entry.transaction.to_string(),
            kind: &entry.kind,
            subject: &entry.subject,
            amount: Some(entry.delta),
            balance: Some(entry.balance_after),
        }
    }

    fn json(&self) -> String {
        let Row { at, transaction, kind, subject, amount, balance } = self;
        let line = JsonLine {
            date: *at,
            transaction,
            kind: kind.replace(' ', "_"),
            subject,
            amount: amount.map(|it| it.minor),
            balance: balance.map(|it| it.minor),
            currency: amount.or(*balance).map(|it| it.asset),
        };
        // Texts and numbers under names of our own can always be written.
        serde_json::to_string(&line).unwrap_or_default()
    }

    const fn balance(at: Timestamp, kind: &'a str, balance: Money) -> Self {
        let transaction = String::new();
        Self { at, transaction, kind, subject: "", amount: None, balance: Some(balance) }
    }
}

/// A kind as people read it.
fn words(kind: &str) -> String {
    kind.replace('_', " ")
}

/// An amount as programs read it: no sign of a currency, no separators of thousands.
fn plain(money: Money) -> String {
    let scale = usize::from(money.asset.scale());
    let digits = format!("{:0>width$}", money.minor.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if money.minor < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A cell (RFC 4180), which no spreadsheet takes for a formula: only numbers begin with a minus.
fn quoted(cell: &str) -> String {
    let is_number =
        cell.trim_start_matches('-').bytes().all(|it| it.is_ascii_digit() || it == b'.');
    let is_formula = !is_number && cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let cell = if is_formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains(['"', ',', '\n', '\r']) {
        return format!("\"{}\"", cell.replace('"', "\"\""));
    }
    cell
}

#[cfg(test)]
mod tests {
    use kernel::Asset;

    use super::*;

    #[test]
    fn an_amount_is_plain_and_a_cell_is_no_formula() {
        assert_eq!(plain(Money::new(-500_005, Asset::NGN)), "-5000.05");
        assert_eq!(plain(Money::new(7, Asset::JPY)), "7");
        assert_eq!(plain(Money::new(1, Asset::ETH)), "0.000000001");
        for (cell, shown) in [
            ("-5000.05", "-5000.05"),
            ("=1+1", "'=1+1"),
            ("-1+1", "'-1+1"),
            ("a,b", "\"a,b\""),
            ("\"", "\"\"\"\""),
        ] {
            assert_eq!(quoted(cell), shown);
        }
    }
}
