//! The verbs: all of them read, but for the one that mends.

use std::sync::Arc;

use kernel::{Asset, Caller, Money, Page, PageRequest, Result};
use money::ledger::{self, Code};
use platform::db::Db;
use platform::journal::{self, Filter, Recorded};

use super::model::{Line, Period, Span};
use super::rollup::{self, Rebuilt};
use super::rules;
use super::store::{self, Side};
use crate::verification::model::{State, Verification};
use crate::verifier::rules::REPUTATION_START;
use crate::{verification, verifier};

/// How much of each list a dashboard shows.
const GLANCE: i64 = 5;

/// Overviews.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) verifiers: Arc<verifier::Service>,
    pub(crate) verifications: Arc<verification::Service>,
}

/// An owner's verifications at a glance.
#[derive(Debug, Clone)]
pub struct Dashboard {
    /// How many stand in each state now.
    pub tally: Vec<(State, i64)>,
    pub now: Vec<Line>,
    pub before: Vec<Line>,
    pub requested: (i64, i64),
    pub activity: Vec<Recorded>,
    /// The newest ones.
    pub latest: Vec<Verification>,
}

/// What has come of verifications in a period, and in the one before it.
#[derive(Debug, Clone)]
pub struct Analytics {
    pub span: Span,
    pub now: Vec<Line>,
    pub before: Vec<Line>,
    /// How many were asked for, now and before; of owners.
    pub requested: (i64, i64),
    /// From 0 to 100; of verifiers.
    pub reputation: i64,
}

/// What a verifier has earned in a period, and what of all earnings waits or is free.
#[derive(Debug, Clone)]
pub struct Earnings {
    pub span: Span,
    pub sums: Vec<rules::Sum>,
    /// Open to dispute, and free to be paid out, in each currency.
    pub standing: Vec<(Money, Money)>,
}

impl Service {
    /// Counts the days anew from which all overviews are read, which is also done once a week: what
    /// mends them after a hand in the database. Changes nothing where they are as they should be.
    pub async fn rebuild(&self) -> Result<Rebuilt> {
        rollup::rebuild(&self.db).await
    }

    /// The caller's verifications at a glance.
    pub async fn dashboard(&self, caller: &Caller) -> Result<Dashboard> {
        let user = caller.user()?;
        let analytics = self.of_owner(caller, Period::parse(None)?).await?;
        let glance = PageRequest::first(GLANCE);
        let activity = journal::of_party(&self.db, user, &Filter::default(), &glance).await?;
        let latest = self.verifications.list(caller, None, &glance).await?;
        Ok(Dashboard {
            tally: store::tally(&self.db, Side::Owner, user).await?,
            now: analytics.now,
            before: analytics.before,
            requested: analytics.requested,
            activity: activity.items,
            latest: latest.items,
        })
    }

    /// What has come of the caller's requests.
    pub async fn of_owner(&self, caller: &Caller, period: Period) -> Result<Analytics> {
        let user = caller.user()?;
        let (span, earlier) = period.spans(self.db.world().now());
        let requested = (
            store::requested(&self.db, user, span).await?,
            store::requested(&self.db, user, earlier).await?,
        );
        Ok(Analytics {
            span,
            now: store::verdicts(&self.db, Side::Owner, user, span).await?,
            before: store::verdicts(&self.db, Side::Owner, user, earlier).await?,
            requested,
            reputation: 0,
        })
    }

    /// What has come of the calling verifier's jobs.
    pub async fn of_verifier(&self, caller: &Caller, period: Period) -> Result<Analytics> {
        let user = caller.user()?;
        let (span, earlier) = period.spans(self.db.world().now());
        let known = self.verifiers.find(&self.db, user.same_as()).await?;
        let reputation = known.map_or(REPUTATION_START, |verifier| verifier.reputation);
        Ok(Analytics {
            span,
            now: store::verdicts(&self.db, Side::Verifier, user, span).await?,
            before: store::verdicts(&self.db, Side::Verifier, user, earlier).await?,
            requested: (0, 0),
            reputation: reputation / 100,
        })
    }

    /// What the calling verifier has earned.
    pub async fn earnings(&self, caller: &Caller, period: Period) -> Result<Earnings> {
        let user = caller.user()?;
        let (span, _) = period.spans(self.db.world().now());
        let lines = store::verdicts(&self.db, Side::Verifier, user, span).await?;
        let accounts = ledger::balances(&self.db, user).await?;
        let of = |wanted: Code, asset: Asset| {
            let found =
                accounts.iter().find(|(code, money)| *code == wanted && money.asset == asset);
            found.map_or(Money::new(0, asset), |(_, money)| *money)
        };
        let is_earning = |code: Code| code == Code::EARN_PENDING || code == Code::EARN;
        let earning = accounts.iter().filter(|(code, _)| is_earning(*code));
        let mut assets: Vec<Asset> = earning.map(|(_, money)| money.asset).collect();
        assets.sort_unstable_by_key(|asset| asset.code());
        assets.dedup();
        let standing = |asset: Asset| (of(Code::EARN_PENDING, asset), of(Code::EARN, asset));
        Ok(Earnings {
            span,
            sums: rules::sums(&lines),
            standing: assets.into_iter().map(standing).collect(),
        })
    }

    /// The calling verifier's paid jobs, newest first.
    pub async fn paid(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Verification>> {
        self.verifications.paid(caller, page).await
    }
}
