//! Money: the ledger, wallets with escrow, and payments through providers.
//!
//! Every amount is a whole number of minor units with its asset. Money moves by transactions of
//! the [`ledger`] and in no other way; a wallet is an account of it, an escrow is another. What
//! a provider collected is credited once, by what the provider itself answers when asked.
//!
//! This context calls no other. Who may receive a transfer it asks through a port of its own
//! ([`wallet::Payees`]); who is notified, others read from the journal.

pub mod billing;
pub mod chargeback;
mod kept;
pub mod ledger;
pub mod payment;
pub mod payout;
mod pdf;
mod personal;
#[cfg(test)]
mod played;
pub mod provider;
pub mod reconciliation;
pub mod refund;
pub mod sandbox;
pub mod sim;
pub mod solvency;
pub mod staking;
pub mod statement;
pub mod wallet;

#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use kernel::{Asset, Result};
use platform::db::{Db, Migration, Migrations};
use platform::http::Route;
use platform::jobs::Registry;
use platform::live::Live;

pub use personal::Held;

/// The tables of this context.
pub const MIGRATIONS: Migrations = Migrations {
    context: "money",
    files: &[
        Migration { name: "0001_money", sql: include_str!("../migrations/0001_money.sql") },
        Migration { name: "0002_sandbox", sql: include_str!("../migrations/0002_sandbox.sql") },
        Migration { name: "0008_people", sql: include_str!("../migrations/0008_people.sql") },
        Migration { name: "0010_providers", sql: include_str!("../migrations/0010_providers.sql") },
        Migration { name: "0011_payouts", sql: include_str!("../migrations/0011_payouts.sql") },
        Migration {
            name: "0012_chargebacks",
            sql: include_str!("../migrations/0012_chargebacks.sql"),
        },
        Migration { name: "0013_staking", sql: include_str!("../migrations/0013_staking.sql") },
        Migration { name: "0014_billing", sql: include_str!("../migrations/0014_billing.sql") },
        Migration { name: "0015_addresses", sql: include_str!("../migrations/0015_addresses.sql") },
        Migration { name: "0016_refunds", sql: include_str!("../migrations/0016_refunds.sql") },
        Migration { name: "0017_bond_pins", sql: include_str!("../migrations/0017_bond_pins.sql") },
        Migration { name: "0018_seals", sql: include_str!("../migrations/0018_seals.sql") },
        Migration { name: "0019_asking", sql: include_str!("../migrations/0019_asking.sql") },
        Migration {
            name: "0020_invoice_payments",
            sql: include_str!("../migrations/0020_invoice_payments.sql"),
        },
        Migration { name: "0021_opening", sql: include_str!("../migrations/0021_opening.sql") },
        Migration { name: "0022_reversals", sql: include_str!("../migrations/0022_reversals.sql") },
        Migration { name: "0023_usage", sql: include_str!("../migrations/0023_usage.sql") },
        Migration {
            name: "0024_billing_ends",
            sql: include_str!("../migrations/0024_billing_ends.sql"),
        },
    ],
};

/// What the context is made of. [`Options::new`] has the defaults.
pub struct Options {
    pub db: Db,
    /// What an amount is counted in where a request does not say.
    pub default_currency: Asset,
    /// The least that can be paid in at once, in minor units.
    pub deposit_minimum: i64,
    /// The least that can be sent to another user at once, in minor units.
    pub transfer_minimum: i64,
    /// The platform's share of a job, in hundredths of a percent.
    pub job_fee_bps: Live<u16>,
    /// How long earnings stay open to dispute before they may be paid out.
    pub earning_window: Duration,
    /// How long a payer has to pay.
    pub payment_lifetime: Duration,
    /// Who may be sent money, and be credited for what they pay in. Without it, whoever has a
    /// wallet already, and everybody.
    pub payees: Option<Arc<dyn wallet::Payees>>,
    /// The provider that comes with the platform; none where only real ones are offered.
    pub sandbox: Option<sandbox::Options>,
    /// What may leave the platform, and how fast.
    pub payouts: payout::Policy,
    /// How bonds work here.
    pub staking: staking::Policy,
    /// The plans of enterprises.
    pub billing: billing::Policy,
    /// The account at Paystack, where there is one.
    pub paystack: Option<provider::paystack::Settings>,
    /// The account at Stripe.
    pub stripe: Option<provider::stripe::Settings>,
    /// The account at PayPal.
    pub paypal: Option<provider::paypal::Settings>,
    /// The signer behind which coins are kept.
    pub crypto: Option<provider::crypto::Settings>,
    /// Further providers.
    pub providers: Vec<Arc<dyn provider::Provider>>,
    /// Who signs what we owe and have; nothing is stated without.
    pub solvency: Option<solvency::Options>,
}

impl Options {
    pub fn new(db: Db) -> Self {
        Self {
            db,
            default_currency: Asset::NGN,
            deposit_minimum: 100,
            transfer_minimum: 100,
            job_fee_bps: 1_000.into(),
            earning_window: Duration::from_secs(7 * 24 * 3600),
            payment_lifetime: Duration::from_secs(24 * 3600),
            payees: None,
            payouts: payout::Policy::default(),
            staking: staking::Policy::default(),
            billing: billing::Policy::default(),
            sandbox: None,
            paystack: None,
            stripe: None,
            paypal: None,
            crypto: None,
            providers: Vec::new(),
            solvency: None,
        }
    }
}

/// The services of the context.
#[derive(Clone)]
pub struct Context {
    pub wallet: wallet::Service,
    pub payments: payment::Service,
    pub payouts: payout::Service,
    pub refunds: refund::Service,
    pub staking: staking::Service,
    pub billing: billing::Service,
    pub reconciliation: reconciliation::Service,
    pub solvency: solvency::Service,
    pub statements: statement::Service,
    db: Db,
    pub sandbox: Option<sandbox::Server>,
}

impl Context {
    /// # Errors
    /// When the sandbox's settings are not usable.
    pub fn new(options: Options) -> Result<Self> {
        let sandbox = options
            .sandbox
            .as_ref()
            .map(|sandbox| sandbox::Server::new(options.db.clone(), sandbox.clone()))
            .transpose()?;
        let mut providers = options.providers.clone();
        // Where the sandbox is on, somebody is trying things out: it is the default then.
        if let Some(sandbox) = &options.sandbox {
            providers.push(Arc::new(sandbox::Adapter::new(sandbox)?));
        }
        if let Some(settings) = &options.paystack {
            let adapter = provider::paystack::Adapter::new(settings.clone(), options.db.clone())?;
            providers.push(Arc::new(adapter));
        }
        if let Some(settings) = &options.stripe {
            let adapter = provider::stripe::Adapter::new(settings.clone(), options.db.clone())?;
            providers.push(Arc::new(adapter));
        }
        if let Some(settings) = &options.paypal {
            let adapter = provider::paypal::Adapter::new(settings.clone(), options.db.clone())?;
            providers.push(Arc::new(adapter));
        }
        if let Some(settings) = &options.crypto {
            let adapter = provider::crypto::Adapter::new(settings.clone(), options.db.clone())?;
            providers.push(Arc::new(adapter));
        }
        let wallet = wallet::Service::new(&options);
        let reconciliation = reconciliation::Service::new(options.db.clone(), providers.clone());
        let solvency = solvency::Service::new(
            options.db.clone(),
            reconciliation.clone(),
            options.solvency.clone(),
        );
        let payouts = payout::Service::new(&options, providers.clone());
        let refunds = refund::Service::new(options.db.clone(), providers.clone());
        let billing = billing::Service::new(&options);
        let others = payment::Others {
            wallet: wallet.clone(),
            payouts: payouts.clone(),
            refunds: refunds.clone(),
            billing: billing.clone(),
        };
        let payments = payment::Service::new(&options, providers, others);
        let staking = staking::Service::new(&options);
        let statements = statement::Service::new(&options);
        Ok(Self {
            wallet,
            payments,
            payouts,
            refunds,
            staking,
            billing,
            reconciliation,
            solvency,
            statements,
            db: options.db,
            sandbox,
        })
    }

    /// The routes of wallets and payments. The sandbox's own pages are no part of the API:
    /// [`sandbox::Server::router`].
    pub fn routes(&self) -> Vec<Route> {
        let mut routes = wallet::routes(&self.wallet);
        routes.extend(payment::routes(&self.payments));
        routes.extend(payout::routes(&self.payouts));
        routes.extend(refund::routes(&self.refunds));
        routes.extend(staking::routes(&self.staking));
        routes.extend(billing::routes(&self.billing));
        routes.extend(reconciliation::routes(&self.reconciliation));
        routes.extend(solvency::routes(&self.solvency));
        routes.extend(statement::routes(&self.statements));
        routes
    }

    /// Who runs this context's jobs.
    pub fn jobs(&self, registry: &mut Registry) {
        wallet::jobs(&self.wallet, registry);
        payment::jobs(&self.payments, registry);
        payout::jobs(&self.payouts, registry);
        refund::jobs(&self.refunds, registry);
        staking::jobs(&self.staking, registry);
        billing::jobs(&self.billing, registry);
        reconciliation::jobs(&self.reconciliation, registry);
        solvency::jobs(&self.solvency, registry);
        provider::jobs(&self.db, registry);
        if let Some(sandbox) = &self.sandbox {
            sandbox.jobs(registry);
        }
    }
}
