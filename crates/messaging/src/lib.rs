//! Messaging: what the platform tells its users.
//!
//! This context calls no other. It follows the journal and puts what concerns a user into words.

pub mod notification;
mod personal;

use std::sync::Arc;

use platform::db::{Db, Migration, Migrations};
use platform::http::Route;
use platform::journal::Reader;

pub use personal::Held;

/// The tables of this context.
pub const MIGRATIONS: Migrations = Migrations {
    context: "messaging",
    files: &[Migration {
        name: "0001_messaging",
        sql: include_str!("../migrations/0001_messaging.sql"),
    }],
};

/// What the context is made of.
pub struct Options {
    pub db: Db,
}

/// The services of the context.
#[derive(Clone)]
pub struct Context {
    pub notifications: notification::Service,
}

impl Context {
    pub fn new(options: Options) -> Self {
        Self { notifications: notification::Service::new(options.db) }
    }

    pub fn routes(&self) -> Vec<Route> {
        notification::routes(&self.notifications)
    }

    /// Who of this context follows the journal.
    pub fn readers(&self) -> Vec<Arc<dyn Reader>> {
        vec![Arc::new(notification::Notifier)]
    }
}
