//! The marketplace: who verifies, for how much, and one verification from request to verdict.
//!
//! [`verifier`] holds profiles and services; [`verification`] holds requests, jobs and verdicts, and
//! is where money, documents and trust meet in one transaction. [`dispute`], [`review`] and
//! [`overview`] stand on it.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Asset, Money};
use platform::db::{Db, Migration, Migrations};
use platform::http::Route;
use platform::jobs::Registry;
use platform::journal::Reader;
use platform::live::Live;
use rpc::users::Users;

pub mod batch;
pub mod commission;
pub mod dispute;
mod merged;
pub mod overview;
mod personal;
pub mod review;
pub mod verification;
pub mod verifier;

#[cfg(test)]
mod apart;
#[cfg(test)]
mod deaths;
#[cfg(test)]
mod stale;
#[cfg(test)]
mod testing;

pub use personal::Held;

/// The tables of this context.
pub const MIGRATIONS: Migrations = Migrations {
    context: "marketplace",
    files: &[
        Migration {
            name: "0001_marketplace",
            sql: include_str!("../migrations/0001_marketplace.sql"),
        },
        Migration { name: "0011_disputes", sql: include_str!("../migrations/0011_disputes.sql") },
        Migration { name: "0012_reviews", sql: include_str!("../migrations/0012_reviews.sql") },
        Migration {
            name: "0020_commissions",
            sql: include_str!("../migrations/0020_commissions.sql"),
        },
        Migration { name: "0021_batches", sql: include_str!("../migrations/0021_batches.sql") },
        Migration { name: "0022_board", sql: include_str!("../migrations/0022_board.sql") },
        Migration {
            name: "0023_attachments",
            sql: include_str!("../migrations/0023_attachments.sql"),
        },
        Migration { name: "0024_search", sql: include_str!("../migrations/0024_search.sql") },
        Migration { name: "0025_rollups", sql: include_str!("../migrations/0025_rollups.sql") },
        Migration {
            name: "0026_reputation",
            sql: include_str!("../migrations/0026_reputation.sql"),
        },
        Migration {
            name: "0027_verifier_versions",
            sql: include_str!("../migrations/0027_verifier_versions.sql"),
        },
        Migration {
            name: "0028_lists_in_order",
            sql: include_str!("../migrations/0028_lists_in_order.sql"),
        },
        Migration {
            name: "0029_file_views",
            sql: include_str!("../migrations/0029_file_views.sql"),
        },
        Migration {
            name: "0030_revoked_is_disputed",
            sql: include_str!("../migrations/0030_revoked_is_disputed.sql"),
        },
        Migration { name: "0031_stakes", sql: include_str!("../migrations/0031_stakes.sql") },
        Migration {
            name: "0032_dispute_openers",
            sql: include_str!("../migrations/0032_dispute_openers.sql"),
        },
        Migration {
            name: "0033_running_batches",
            sql: include_str!("../migrations/0033_running_batches.sql"),
        },
        Migration {
            name: "0034_parts_of_days",
            sql: include_str!("../migrations/0034_parts_of_days.sql"),
        },
        Migration {
            name: "0035_standing_verdicts",
            sql: include_str!("../migrations/0035_standing_verdicts.sql"),
        },
    ],
};

/// What the marketplace stands on.
pub struct Options {
    pub db: Db,
    pub users: Arc<dyn Users>,
    pub wallets: money::wallet::Service,
    pub credentials: documents::credential::Service,
    pub files: documents::file::Service,
    pub issuance: trust::issuance::service::Service,
    pub bonds: money::staking::Service,
    pub billing: money::billing::Service,
    /// What verifiers answer with for their work.
    pub bonding: Bonding,
    /// The platform's part of a price, in hundredths of a percent: 0 to 10000.
    pub fee_bps: Live<u16>,
    /// How long a request waits for the verifier's answer before the owner gets the price back.
    pub acceptance_sla: Live<Duration>,
    /// How long a job that was claimed from the board may lie before it goes back there.
    pub claim_lease: Duration,
    /// How long the decision of a dispute can be appealed before it is carried out.
    pub appeal_window: Duration,
    /// What a list sorted by price is in, where the client names no currency.
    pub currency: Asset,
}

/// What verifiers answer with for their work.
#[derive(Debug, Clone, Copy)]
pub struct Bonding {
    /// What must be staked to take a job; none where nothing must.
    pub required: Option<Money>,
    /// The part of all that is at stake that an overturned verdict costs, in hundredths of a
    /// percent; no more than half.
    pub slash_bps: u16,
}

impl Bonding {
    pub const SLASH_BPS_MAX: u16 = 5_000;
}

impl Default for Bonding {
    /// A tenth, of those who have staked.
    fn default() -> Self {
        Self { required: None, slash_bps: 1_000 }
    }
}

impl Options {
    /// A fortieth of each price.
    pub const FEE_BPS: u16 = 250;
    /// A tenth: the platform takes no more of a price.
    pub const FEE_BPS_MAX: u16 = 1_000;
    /// A week.
    pub const ACCEPTANCE_SLA: Duration = Duration::from_secs(7 * 24 * 3600);
    /// Half a day.
    pub const CLAIM_LEASE: Duration = Duration::from_secs(12 * 3600);
    /// Three days.
    pub const APPEAL_WINDOW: Duration = Duration::from_secs(3 * 24 * 3600);
    pub const CURRENCY: Asset = Asset::USD;
}

/// The context: its nouns' services.
#[derive(Clone)]
pub struct Marketplace {
    pub verifiers: Arc<verifier::Service>,
    pub verifications: Arc<verification::Service>,
    pub disputes: Arc<dispute::Service>,
    pub reviews: Arc<review::Service>,
    pub commissions: Arc<commission::Service>,
    pub batches: Arc<batch::Service>,
    pub overviews: Arc<overview::Service>,
}

impl Marketplace {
    pub fn new(options: Options) -> Self {
        let Options { db, users, currency, .. } = options;
        let verifiers = Arc::new(verifier::Service::new(
            db.clone(),
            Arc::clone(&users),
            currency,
            options.bonding.required,
        ));
        let verifications = verification::Service {
            db: db.clone(),
            users: Arc::clone(&users),
            verifiers: Arc::clone(&verifiers),
            wallets: options.wallets,
            credentials: options.credentials.clone(),
            files: options.files.clone(),
            issuance: options.issuance,
            bonds: options.bonds,
            terms: verification::service::Terms {
                fee_bps: options.fee_bps,
                acceptance_sla: options.acceptance_sla,
                claim_lease: options.claim_lease,
                bonding: Bonding {
                    slash_bps: options.bonding.slash_bps.min(Bonding::SLASH_BPS_MAX),
                    ..options.bonding
                },
            },
        };
        let verifications = Arc::new(verifications);
        let disputes = dispute::Service {
            db: db.clone(),
            users: Arc::clone(&users),
            verifications: Arc::clone(&verifications),
            files: options.files,
            appeal_window: options.appeal_window,
        };
        let overviews = overview::Service {
            db: db.clone(),
            verifiers: Arc::clone(&verifiers),
            verifications: Arc::clone(&verifications),
        };
        let commissions = commission::Service {
            db: db.clone(),
            credentials: options.credentials.clone(),
            verifications: Arc::clone(&verifications),
            billing: options.billing,
        };
        let commissions = Arc::new(commissions);
        let batches = batch::Service {
            db: db.clone(),
            users,
            verifiers: Arc::clone(&verifiers),
            credentials: options.credentials,
            commissions: Arc::clone(&commissions),
        };
        let reviews = review::Service {
            db,
            verifiers: Arc::clone(&verifiers),
            verifications: Arc::clone(&verifications),
        };
        let (disputes, reviews) = (Arc::new(disputes), Arc::new(reviews));
        Self {
            verifiers,
            verifications,
            disputes,
            reviews,
            commissions,
            batches: Arc::new(batches),
            overviews: Arc::new(overviews),
        }
    }

    pub fn routes(&self) -> Vec<Route> {
        let mut routes = verifier::http::routes(&self.verifiers);
        routes.extend(verifier::office::routes(&self.verifiers));
        routes.extend(verification::http::routes(&self.verifications));
        routes.extend(dispute::http::routes(&self.disputes));
        routes.extend(review::http::routes(&self.reviews));
        routes.extend(overview::http::routes(&self.overviews));
        routes.extend(commission::http::routes(&self.commissions));
        routes.extend(batch::http::routes(&self.batches));
        routes
    }

    pub fn jobs(&self, registry: &mut Registry) {
        verification::jobs::register(&self.verifications, registry);
        verifier::jobs::register(&self.verifiers, registry);
        dispute::jobs::register(&self.disputes, registry);
        batch::jobs::register(&self.batches, registry);
        overview::rollup::register(&self.overviews.db, registry);
    }

    pub fn readers(&self) -> Vec<Arc<dyn Reader>> {
        vec![
            Arc::new(verifier::reader::Follower),
            Arc::new(verifier::stake::Follower { bonds: self.verifications.bonds.clone() }),
            Arc::new(verification::reader::Follower),
            Arc::new(overview::rollup::Keeper),
        ]
    }
}
