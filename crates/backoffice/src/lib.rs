//! The back office: what the platform's own people, and everybody for themselves, look into.

pub mod audit;
pub mod compliance;
pub mod fraud;
pub mod governance;
pub mod job;
pub mod moderation;
mod personal;
pub mod setting;
pub mod system;
#[cfg(test)]
mod testing;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use kernel::Secret;
use platform::db::{Db, Migration, Migrations};
use platform::http::Route;
use platform::jobs::Registry;
use platform::journal::Reader;
use tokio_util::sync::CancellationToken;

pub use personal::Held;

/// The tables of this context.
pub const MIGRATIONS: Migrations = Migrations {
    context: "backoffice",
    files: &[
        Migration { name: "0001_office", sql: include_str!("../migrations/0001_office.sql") },
        Migration { name: "0002_flags", sql: include_str!("../migrations/0002_flags.sql") },
        Migration { name: "0003_fraud", sql: include_str!("../migrations/0003_fraud.sql") },
        Migration {
            name: "0004_governance",
            sql: include_str!("../migrations/0004_governance.sql"),
        },
        Migration {
            name: "0005_message_flags",
            sql: include_str!("../migrations/0005_message_flags.sql"),
        },
        Migration { name: "0006_places", sql: include_str!("../migrations/0006_places.sql") },
        Migration {
            name: "0007_signals_of_pairs",
            sql: include_str!("../migrations/0007_signals_of_pairs.sql"),
        },
    ],
};

/// Takes out of a text what looks like a secret.
pub type Scrub = for<'a> fn(&'a str) -> Cow<'a, str>;

/// What the context is made of. [`Options::new`] is the least of it.
pub struct Options {
    pub db: Db,
    /// What admins may change while the platform runs.
    pub settings: Vec<setting::Setting>,
    /// What of it everybody may know.
    pub public: setting::Public,
    /// Where the state of the platform is looked at.
    pub system: system::Sources,
    pub scrub: Scrub,
    /// Those who keep what can be flagged, and carry out what is decided.
    pub owners: Arc<dyn moderation::Owners>,
    /// How the rules against fraud are set.
    pub fraud: fraud::Modes,
    /// Under which addresses and devices are compared.
    pub fraud_key: Secret<[u8; 32]>,
    /// Where addresses are.
    pub places: fraud::Places,
    /// What a rule that enforces does.
    pub brake: Arc<dyn fraud::Brake>,
    /// How proposals are voted on.
    pub governance: governance::Policy,
}

impl Options {
    /// Nothing but a database, and those who carry out decisions.
    pub fn new(db: Db, owners: Arc<dyn moderation::Owners>, brake: Arc<dyn fraud::Brake>) -> Self {
        let began = db.world().now();
        Self {
            db,
            settings: Vec::new(),
            public: setting::Public::default(),
            system: system::Sources::since(began),
            scrub: |text| Cow::Borrowed(text),
            owners,
            fraud: fraud::Modes::default(),
            fraud_key: Secret::new([0; 32]),
            places: fraud::Places::default(),
            brake,
            governance: governance::Policy::default(),
        }
    }
}

/// The services of the context.
#[derive(Clone)]
pub struct Context {
    pub audit: audit::Service,
    pub compliance: compliance::Service,
    pub fraud: fraud::Service,
    pub governance: governance::Service,
    pub jobs: job::Service,
    pub moderation: moderation::Service,
    pub settings: setting::Service,
    pub system: system::Service,
    public: setting::Public,
    watcher: Arc<fraud::Watcher>,
}

impl Context {
    pub fn new(options: Options) -> Self {
        let Options { db, settings, public, system, scrub, owners, .. } = options;
        let settings = setting::Service::new(db.clone(), settings);
        let watcher = fraud::Watcher {
            db: db.clone(),
            modes: options.fraud,
            key: options.fraud_key,
            places: options.places,
            brake: options.brake,
        };
        let governance = governance::Service {
            db: db.clone(),
            settings: settings.clone(),
            policy: options.governance,
        };
        Self {
            audit: audit::Service::new(db.clone()),
            compliance: compliance::Service { db: db.clone() },
            fraud: fraud::Service { db: db.clone() },
            governance,
            jobs: job::Service { db: db.clone(), scrub },
            moderation: moderation::Service { db: db.clone(), owners },
            settings,
            system: system::Service::new(db, system),
            public,
            watcher: Arc::new(watcher),
        }
    }

    pub fn routes(&self) -> Vec<Route> {
        let mut routes = audit::routes(&self.audit);
        routes.extend(compliance::routes(&self.compliance));
        routes.extend(fraud::routes(&self.fraud));
        routes.extend(governance::routes(&self.governance));
        routes.extend(job::routes(&self.jobs));
        routes.extend(moderation::routes(&self.moderation));
        routes.extend(setting::routes(&self.settings));
        routes.extend(setting::public_routes(&self.public));
        routes.extend(system::routes(&self.system));
        routes
    }

    /// Who of this context follows the journal.
    pub fn readers(&self) -> Vec<Arc<dyn Reader>> {
        vec![self.watcher.clone()]
    }

    pub fn jobs(&self, registry: &mut Registry) {
        let fraud = self.fraud.clone();
        registry.every("fraud.prune_signals", Duration::from_secs(24 * 3600), move || {
            let fraud = fraud.clone();
            async move { fraud.prune().await.map(drop) }
        });
        let system = self.system.clone();
        registry.every("system.prune_lines", Duration::from_secs(3600), move || {
            let system = system.clone();
            async move { system.prune().await.map(drop) }
        });
    }

    /// What every process does for itself until told to stop: it takes up settings that others
    /// change, and writes down what it complains of.
    pub async fn tend(&self, stop: CancellationToken) {
        tokio::join!(self.settings.follow(stop.clone()), self.system.keep_lines(stop));
    }
}
