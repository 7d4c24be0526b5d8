//! The verbs.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use kernel::id::kinds::{Transaction, User};
use kernel::{Asset, Caller, Error, Id, Money, Result};
use platform::db::Db;

use super::model::{Format, Month, PRINTED_MAX, Span};
use super::print::Paper;
use crate::ledger::{self, Account, Code, Entry};

/// Entries that are read in one go: what a statement has in memory.
const READ_MAX: i64 = 500;

/// Receipts and statements. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    default_currency: Asset,
}

/// A statement that is being written.
struct Writing {
    service: Service,
    span: Span,
    paper: Paper,
    /// The last entry that is on it.
    at: i64,
    balance: Money,
    came: Money,
    went: Money,
}

impl Service {
    pub(crate) fn new(options: &crate::Options) -> Self {
        let default_currency = options.default_currency;
        Self(Arc::new(Inner { db: options.db.clone(), default_currency }))
    }

    /// The receipt of a transaction of the caller's wallet.
    ///
    /// # Errors
    /// Not found, also when it is another user's.
    pub async fn receipt(
        &self,
        caller: &Caller,
        id: Id<Transaction>,
        format: Format,
    ) -> Result<Vec<u8>> {
        let owner = caller.user()?;
        let entries = ledger::entries(&self.0.db, id, owner, Code::WALLET).await?;
        if entries.is_empty() {
            return Err(Error::not_found("transaction"));
        }
        let mut paper = Paper::new(format);
        paper.receipt(&owner.to_string(), &entries);
        Ok(paper.finish())
    }

    /// What a statement of the caller's wallet spans, in one currency.
    ///
    /// # Errors
    /// Not found when the month has not begun; invalid, at `/format`, when there is more in it than
    /// pages hold.
    pub async fn span(
        &self,
        caller: &Caller,
        month: Month,
        currency: Option<Asset>,
        format: Format,
    ) -> Result<Span> {
        let (db, owner) = (&self.0.db, caller.user()?);
        let now = db.world().now();
        if month.start() > now {
            return Err(Error::not_found("statement"));
        }
        let asset = currency.unwrap_or(self.0.default_currency);
        let until = month.end().min(now);
        let account = Account::of(owner, Code::WALLET);
        // What is recorded in the very instant in which the next month begins belongs to that.
        let before = |at: kernel::Timestamp| kernel::Timestamp::from_micros(at.micros() - 1);
        let last = before(month.end()).min(now);
        let (after, opening) = ledger::place_at(db, account, asset, before(month.start())).await?;
        let (last, closing) = ledger::place_at(db, account, asset, last).await?;
        let span = Span { owner, month, until, opening, closing, after, last };
        if format == Format::Pdf && span.entries() > PRINTED_MAX {
            let message = format!(
                "csv or jsonl: this statement has {} entries, and pages hold {PRINTED_MAX}",
                span.entries()
            );
            return Err(Error::field("/format", "too_long", message));
        }
        Ok(span)
    }

    /// A statement, piece by piece. It breaks off when the books contradict themselves.
    pub fn write(&self, span: Span, format: Format) -> impl Stream<Item = Result<Bytes>> + use<> {
        let mut paper = Paper::new(format);
        paper.open(&span);
        let nothing = Money::new(0, span.opening.asset);
        let writing = Writing {
            service: self.clone(),
            span,
            paper,
            at: span.after,
            balance: span.opening,
            came: nothing,
            went: nothing,
        };
        stream::try_unfold(Some(writing), |writing| async move {
            match writing {
                Some(writing) => writing.go_on().await.map(Some),
                None => Ok(None),
            }
        })
    }

    async fn entries(&self, owner: Id<User>, span: &Span, after: i64) -> Result<Vec<Entry>> {
        let (account, asset) = (Account::of(owner, Code::WALLET), span.opening.asset);
        ledger::entries_after(&self.0.db, account, asset, after, span.last, READ_MAX).await
    }
}

impl Writing {
    /// Writes the next entries, or the end.
    async fn go_on(mut self) -> Result<(Bytes, Option<Self>)> {
        if self.at >= self.span.last {
            if self.balance != self.span.closing {
                return Err(Error::internal("a statement that does not come out"));
            }
            self.paper.close(&self.span, self.came, self.went);
            return Ok((self.paper.finish().into(), None));
        }
        let entries = self.service.entries(self.span.owner, &self.span, self.at).await?;
        for entry in &entries {
            self.balance = self.balance.plus(entry.delta)?;
            if entry.version != self.at + 1 || entry.balance_after != self.balance {
                return Err(Error::internal("an entry of a statement is missing"));
            }
            self.at = entry.version;
            let sum = if entry.delta.minor < 0 { &mut self.went } else { &mut self.came };
            *sum = sum.plus(entry.delta)?;
            self.paper.entry(entry);
        }
        if entries.is_empty() {
            return Err(Error::internal("the entries of a statement end too early"));
        }
        Ok((self.paper.take().into(), Some(self)))
    }
}
