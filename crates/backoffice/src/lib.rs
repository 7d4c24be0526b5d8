//! The back office: what the platform's own people, and everybody for themselves, look into.

pub mod audit;
pub mod job;
mod personal;
pub mod setting;
pub mod system;
#[cfg(test)]
mod testing;

use std::borrow::Cow;
use std::time::Duration;

use platform::db::{Db, Migration, Migrations};
use platform::http::Route;
use platform::jobs::Registry;
use tokio_util::sync::CancellationToken;

pub use personal::Held;

/// The tables of this context.
pub const MIGRATIONS: Migrations = Migrations {
    context: "backoffice",
    files: &[Migration { name: "0001_office", sql: include_str!("../migrations/0001_office.sql") }],
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
}

impl Options {
    /// Nothing but a database.
    pub fn new(db: Db) -> Self {
        let began = db.world().now();
        Self {
            db,
            settings: Vec::new(),
            public: setting::Public::default(),
            system: system::Sources::since(began),
            scrub: |text| Cow::Borrowed(text),
        }
    }
}

/// The services of the context.
#[derive(Clone)]
pub struct Context {
    pub audit: audit::Service,
    pub jobs: job::Service,
    pub settings: setting::Service,
    pub system: system::Service,
    public: setting::Public,
}

impl Context {
    pub fn new(options: Options) -> Self {
        let Options { db, settings, public, system, scrub } = options;
        Self {
            audit: audit::Service::new(db.clone()),
            jobs: job::Service { db: db.clone(), scrub },
            settings: setting::Service::new(db.clone(), settings),
            system: system::Service::new(db, system),
            public,
        }
    }

    pub fn routes(&self) -> Vec<Route> {
        let mut routes = audit::routes(&self.audit);
        routes.extend(job::routes(&self.jobs));
        routes.extend(setting::routes(&self.settings));
        routes.extend(setting::public_routes(&self.public));
        routes.extend(system::routes(&self.system));
        routes
    }

    pub fn jobs(&self, registry: &mut Registry) {
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
