//! Enterprises as organizations: who belongs to them, and the keys by which programs act for them.
//!
//! [`member`] holds the organization and its team, [`apikey`] its keys. The gateway asks, through
//! [`Standings`], for whom somebody acts; everybody else sees the organization's account as the
//! caller and need not know.

pub mod apikey;
pub mod member;
mod personal;
pub mod report;
mod standing;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use platform::crypto::MasterKey;
use platform::db::{Db, Migration, Migrations};
use platform::http::Route;
use platform::jobs::Registry;
use platform::journal::Reader;
use platform::mail::Mailer;
use rpc::users::Users;

pub use apikey::is_key;
pub use personal::Held;
pub use standing::Standings;

/// The tables of this context.
pub const MIGRATIONS: Migrations = Migrations {
    context: "organizations",
    files: &[
        Migration {
            name: "0001_organizations",
            sql: include_str!("../migrations/0001_organizations.sql"),
        },
        Migration {
            name: "0002_key_addresses",
            sql: include_str!("../migrations/0002_key_addresses.sql"),
        },
    ],
};

/// What the context is made of.
pub struct Options {
    pub db: Db,
    pub users: Arc<dyn Users>,
    pub mailer: Mailer,
    pub master_key: MasterKey,
    /// Without a slash at the end: links in mails begin with it.
    pub public_url: String,
    /// Days for which records of decisions are kept after an account was closed.
    pub retention_days: u32,
}

/// The context: its nouns' services.
#[derive(Clone)]
pub struct Organizations {
    pub members: Arc<member::Service>,
    pub keys: Arc<apikey::Service>,
    pub reports: Arc<report::Service>,
}

impl Organizations {
    pub fn new(options: Options) -> Self {
        let Options { db, users, mailer, master_key, public_url, retention_days } = options;
        let reports = report::Service { db: db.clone(), retention_days };
        let keys = apikey::Service::new(db.clone(), Arc::clone(&users), &master_key);
        let members = member::Service { db, users, mailer, public_url };
        Self { members: Arc::new(members), keys: Arc::new(keys), reports: Arc::new(reports) }
    }

    pub fn routes(&self) -> Vec<Route> {
        let mut routes = member::http::routes(&self.members);
        routes.extend(apikey::http::routes(&self.keys));
        routes.extend(report::http::routes(&self.reports));
        routes
    }

    pub fn jobs(&self, registry: &mut Registry) {
        member::jobs::register(&self.members, registry);
    }

    pub fn readers(&self) -> Vec<Arc<dyn Reader>> {
        vec![Arc::new(member::reader::Follower)]
    }
}
