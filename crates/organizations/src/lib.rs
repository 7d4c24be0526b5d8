//! Enterprises as organizations: who belongs to them, and the keys by which programs act for them.
//!
//! [`member`] holds the organization and its team, [`apikey`] its keys. The gateway asks, through
//! [`Standings`], for whom somebody acts; everybody else sees the organization's account as the
//! caller and need not know.

pub mod apikey;
pub mod member;
mod personal;
mod standing;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use platform::crypto::MasterKey;
use platform::db::{Db, Migration, Migrations};
use platform::http::Route;
use platform::jobs::Registry;
use platform::mail::Mailer;
use rpc::users::Users;

pub use apikey::is_key;
pub use personal::Held;
pub use standing::Standings;

/// The tables of this context.
pub const MIGRATIONS: Migrations = Migrations {
    context: "organizations",
    files: &[Migration {
        name: "0001_organizations",
        sql: include_str!("../migrations/0001_organizations.sql"),
    }],
};

/// What the context is made of.
pub struct Options {
    pub db: Db,
    pub users: Arc<dyn Users>,
    pub mailer: Mailer,
    pub master_key: MasterKey,
    /// Without a slash at the end: links in mails begin with it.
    pub public_url: String,
}

/// The context: its nouns' services.
#[derive(Clone)]
pub struct Organizations {
    pub members: Arc<member::Service>,
    pub keys: Arc<apikey::Service>,
}

impl Organizations {
    pub fn new(options: Options) -> Self {
        let Options { db, users, mailer, master_key, public_url } = options;
        let keys = apikey::Service::new(db.clone(), Arc::clone(&users), &master_key);
        let members = member::Service { db, users, mailer, public_url };
        Self { members: Arc::new(members), keys: Arc::new(keys) }
    }

    pub fn routes(&self) -> Vec<Route> {
        let mut routes = member::http::routes(&self.members);
        routes.extend(apikey::http::routes(&self.keys));
        routes
    }

    pub fn jobs(&self, registry: &mut Registry) {
        member::jobs::register(&self.members, registry);
    }
}
