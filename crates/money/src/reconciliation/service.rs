//! The verbs.

use std::sync::Arc;

use kernel::{Asset, Caller, Error, Money, Result, Timestamp};
use platform::db::Db;
use platform::journal::Fact;

use super::store::{self, Open};
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::provider::{Provider, ProviderName};

/// The longest reference that a provider gives to what it pays out.
const REFERENCE_MAX: usize = 100;

/// What a provider has paid out to our own bank.
#[derive(Debug, Clone)]
pub struct PaidOut {
    pub provider: ProviderName,
    /// What the provider calls it.
    pub reference: String,
    pub amount: Money,
}

/// Compares books and providers. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    db: Db,
    providers: Vec<Arc<dyn Provider>>,
}

/// One currency at one provider.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    pub booked: Money,
    /// What the provider says is there.
    pub there: Money,
}

impl Line {
    pub const fn difference(self) -> i64 {
        self.there.minor - self.booked.minor
    }
}

/// One provider.
#[derive(Debug)]
pub struct Report {
    pub provider: ProviderName,
    /// None when the provider does not answer, or has no balance to tell of.
    pub lines: Option<Vec<Line>>,
    pub open: Open,
    pub at: Timestamp,
}

impl Report {
    /// Whether every currency agrees.
    pub fn agrees(&self) -> bool {
        self.lines.as_ref().is_some_and(|lines| lines.iter().all(|it| it.difference() == 0))
    }
}

impl Service {
    pub(crate) const fn new(db: Db, providers: Vec<Arc<dyn Provider>>) -> Self {
        Self { db, providers }
    }

    /// Asks every provider and compares.
    pub async fn compare(&self) -> Result<Vec<Report>> {
        let mut reports = Vec::with_capacity(self.providers.len());
        for provider in &self.providers {
            reports.push(self.compare_one(provider.as_ref()).await?);
        }
        Ok(reports)
    }

    async fn compare_one(&self, provider: &dyn Provider) -> Result<Report> {
        let name = provider.name();
        let answered = provider.balance().await;
        if let Err(failure) = &answered {
            tracing::warn!(?failure, provider = %name, "no balance to compare with");
        }
        let lines = match answered {
            Ok(there) => Some(self.lines(name, &there).await?),
            Err(_) => None,
        };
        let open = store::open(&self.db, name.as_str()).await?;
        Ok(Report { provider: name, lines, open, at: self.db.world().now() })
    }

    async fn lines(&self, name: ProviderName, there: &[Money]) -> Result<Vec<Line>> {
        let clearing = Account::platform(Code::clearing(name));
        let mut lines = Vec::new();
        for &asset in Asset::ALL {
            let booked = ledger::balance(&self.db, clearing, asset).await?;
            let told = there.iter().find(|it| it.asset == asset).copied();
            let line = Line { booked, there: told.unwrap_or(Money::new(0, asset)) };
            if told.is_some() || booked.minor != 0 {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    /// Books what a provider has paid out to our own bank: once for each reference.
    ///
    /// # Errors
    /// Invalid, at `/reference`, `/provider`; `payout_known` (conflict) for a reference that is
    /// booked already, `transaction_differs` where that was another amount.
    pub async fn paid_out(&self, admin: &Caller, out: PaidOut) -> Result<()> {
        let PaidOut { provider, reference, amount } = &out;
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=REFERENCE_MAX).contains(&reference.len()) || !reference.bytes().all(is_word) {
            let message = "1 to 100 letters, digits, -, _ and .";
            return Err(Error::field("/reference", "invalid", message));
        }
        if !self.providers.iter().any(|it| it.name() == *provider) {
            return Err(Error::field("/provider", "unknown", "is not configured here"));
        }
        self.db
            .once(admin, "provider.paid_out", |tx| async move {
                let key = format!("settle:{provider}:{reference}");
                let out = NewTransaction::new("provider_payout", key, reference).post(
                    Account::platform(Code::BANK),
                    Account::platform(Code::clearing(*provider)),
                    *amount,
                );
                if !ledger::post(&tx, out).await?.is_new {
                    let message = "This reference is booked already.";
                    return Err(Error::conflict("payout_known", message));
                }
                tx.record(
                    Fact::by(admin, "provider.paid_out")
                        .with("provider", provider)
                        .with("reference", reference)
                        .with("amount", amount.minor)
                        .with("currency", amount.asset),
                );
                Ok(())
            })
            .await
    }

    /// Compares, and tells in the journal what differs: the nightly job.
    pub async fn tell(&self) -> Result<()> {
        for report in self.compare().await? {
            let differing: Vec<Line> = report
                .lines
                .iter()
                .flatten()
                .filter(|line| line.difference() != 0)
                .copied()
                .collect();
            if differing.is_empty() {
                continue;
            }
            let (provider, differing) = (report.provider, &differing);
            self.db
                .run("reconciliation.tell", |tx| async move {
                    for line in differing {
                        tx.record(
                            Fact::by(&Caller::nobody(), "reconciliation.mismatched")
                                .with("provider", provider)
                                .with("currency", line.booked.asset)
                                .with("expected", line.booked.minor)
                                .with("actual", line.there.minor),
                        );
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }

    /// Seals what was booked since the last time: the nightly job.
    pub async fn seal(&self) -> Result<()> {
        ledger::seal(&self.db).await.map(drop)
    }

    /// Proves the books, and tells in the journal what does not hold: the nightly job.
    pub async fn prove(&self) -> Result<()> {
        let report = ledger::check(&self.db).await?;
        if report.is_sound() {
            return Ok(());
        }
        let report = &report;
        self.db
            .run("ledger.prove", |tx| async move {
                for check in report.checks.iter().filter(|it| !it.violations.is_empty()) {
                    tracing::error!(check.name, ?check.violations, "the ledger is not sound");
                    tx.record(
                        Fact::by(&Caller::nobody(), "ledger.invariant_failed")
                            .with("check", check.name)
                            .with("violations", check.violations.len()),
                    );
                }
                Ok(())
            })
            .await
    }
}
