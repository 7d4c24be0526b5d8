//! What of the configuration admins may change while the platform runs.
//!
//! The configuration says the defaults. Whatever is built from it holds the same [`Live`] values,
//! which [`Settings::declared`] hands to the back office to be set.

use std::time::Duration;

use backoffice::fraud::{MODES, Modes};
use backoffice::governance::Policy;
use backoffice::setting::{Public, Setting};
use platform::live::Live;

use crate::config::Config;

/// The values, as code reads them.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) fee_bps: Live<u16>,
    pub(crate) acceptance: Live<Duration>,
    pub(crate) withdrawals_per_day: Live<i64>,
    pub(crate) withdrawal_review_above: Live<i64>,
    pub(crate) public: Public,
    pub(crate) fraud: Modes,
    pub(crate) governance: Policy,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Self {
        let Config { marketplace, payments, .. } = config;
        Self {
            fee_bps: marketplace.fee_basis_points.into(),
            acceptance: Duration::from_secs(marketplace.acceptance_hours * 3600).into(),
            withdrawals_per_day: i64::from(payments.withdrawals_per_day).into(),
            withdrawal_review_above: payments.withdrawal_review_above.into(),
            public: Public::default(),
            fraud: Modes::default(),
            governance: Policy::default(),
        }
    }

    /// The declarations, in the order in which they are shown.
    pub(crate) fn declared(&self) -> Vec<Setting> {
        let mut all = self.of_business();
        all.extend(self.of_fraud());
        all.extend([
            Setting::integer(
                "governance.quorum",
                "How many must vote on a proposal made from now on.",
                1..=1000,
                &self.governance.quorum,
            ),
            Setting::hours(
                "governance.votingHours",
                "How long a proposal made from now on is voted on.",
                1..=2160,
                &self.governance.voting,
            ),
        ]);
        all
    }

    fn of_fraud(&self) -> Vec<Setting> {
        let fraud = &self.fraud;
        let mode = |key, about, live| Setting::choice(key, about, MODES, live);
        vec![
            mode(
                "fraud.duplicateDocument",
                "What becomes of a file whose bytes another account has as well.",
                &fraud.duplicate_document,
            ),
            mode(
                "fraud.velocity",
                "What becomes of many credentials, requests or deposits in an hour.",
                &fraud.velocity,
            ),
            Setting::integer(
                "fraud.velocityPerHour",
                "Of one kind and one person in an hour, beyond which that is many.",
                1..=10_000,
                &fraud.velocity_per_hour,
            ),
            mode(
                "fraud.flagged",
                "What becomes of a thing that three people have flagged.",
                &fraud.flagged,
            ),
            mode(
                "fraud.takeover",
                "What becomes of money that is touched after a sign-in from nowhere known.",
                &fraud.takeover,
            ),
            mode(
                "fraud.collusion",
                "What becomes of a verifier and a user who seem to be of one mind.",
                &fraud.collusion,
            ),
            mode(
                "fraud.travel",
                "What becomes of a sign-in farther away than anybody travels since the last one.",
                &fraud.travel,
            ),
        ]
    }

    fn of_business(&self) -> Vec<Setting> {
        vec![
            Setting::flag(
                "registration.open",
                "Whether people may make accounts by themselves. Admins make them all the same.",
                &self.public.registration_open,
            ),
            Setting::text(
                "platform.notice",
                "What everybody is told at GET /v1/platform, such as when maintenance begins.",
                500,
                &self.public.notice,
            ),
            Setting::integer(
                "marketplace.feeBasisPoints",
                "The platform's part of a price, in hundredths of a percent, for verdicts from \
                 now on.",
                0..=i64::from(marketplace::Options::FEE_BPS_MAX),
                &self.fee_bps,
            ),
            Setting::hours(
                "marketplace.acceptanceHours",
                "How long a new request waits for the verifier's answer.",
                1..=2160,
                &self.acceptance,
            ),
            Setting::integer(
                "withdrawals.perDay",
                "Withdrawals of one owner in 24 hours.",
                0..=1000,
                &self.withdrawals_per_day,
            ),
            Setting::integer(
                "withdrawals.reviewAbove",
                "Above this amount, in minor units of the default currency, an admin looks first.",
                0..=kernel::Money::MAX_MINOR,
                &self.withdrawal_review_above,
            ),
        ]
    }
}
