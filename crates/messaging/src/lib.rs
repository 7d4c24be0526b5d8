//! Messaging: what the platform tells its users.
//!
//! It follows the journal, puts what concerns a user into words ([`notification`]), tells it while
//! it happens ([`stream`]) and to organizations at their own address ([`webhook`]); and it carries
//! what people write to each other ([`chat`]). Of other contexts it asks the user service only, by
//! its port.

pub mod chat;
pub mod integration;
pub mod notification;
mod personal;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod ticket;
pub mod webhook;

use std::sync::Arc;

use platform::db::{Db, Migration, Migrations};
use platform::fleet::Air;
use platform::http::Route;
use platform::jobs::Registry;
use platform::journal::Reader;
use platform::limits::Limiter;
use rpc::users::Users;

pub use personal::Held;

/// The tables of this context.
pub const MIGRATIONS: Migrations = Migrations {
    context: "messaging",
    files: &[
        Migration { name: "0001_messaging", sql: include_str!("../migrations/0001_messaging.sql") },
        Migration { name: "0002_live", sql: include_str!("../migrations/0002_live.sql") },
        Migration { name: "0003_chat", sql: include_str!("../migrations/0003_chat.sql") },
        Migration { name: "0010_webhooks", sql: include_str!("../migrations/0010_webhooks.sql") },
        Migration {
            name: "0011_notification_places",
            sql: include_str!("../migrations/0011_notification_places.sql"),
        },
    ],
};

/// What the context is made of.
#[derive(Clone)]
pub struct Options {
    pub db: Db,
    pub users: Arc<dyn Users>,
    pub limiter: Arc<Limiter>,
    /// How many streams there may be, and how they are kept.
    pub streams: stream::Policy,
    /// Where processes tell each other who is there and who types. Without it, each knows its own
    /// listeners only.
    pub air: Option<Arc<Air>>,
}

/// The services of the context.
#[derive(Clone)]
pub struct Context {
    pub notifications: notification::Service,
    /// Everybody who listens; somebody must [`stream::Hub::run`] it where clients are served.
    pub hub: Arc<stream::Hub>,
    pub tickets: ticket::Service,
    /// Somebody must [`chat::Service::run`] it where clients are served.
    pub chat: chat::Service,
}

impl Context {
    pub fn new(options: Options) -> Self {
        let Options { db, users, streams, .. } = options.clone();
        let hub = stream::Hub::new(db.clone(), Arc::clone(&users), streams);
        Self {
            notifications: notification::Service::new(db.clone(), Arc::clone(&hub)),
            chat: chat::Service::new(options, Arc::clone(&hub)),
            tickets: ticket::Service::new(db, users),
            hub,
        }
    }

    pub fn routes(&self) -> Vec<Route> {
        let mut routes = notification::routes(&self.notifications);
        routes.extend(stream::routes(&self.hub));
        routes.extend(ticket::routes(&self.tickets));
        routes.extend(chat::routes(&self.chat));
        routes
    }

    pub fn jobs(&self, registry: &mut Registry) {
        ticket::register(&self.tickets, registry);
    }

    /// Who of this context follows the journal.
    pub fn readers(&self) -> Vec<Arc<dyn Reader>> {
        vec![Arc::new(notification::Notifier::new(Arc::clone(&self.hub)))]
    }
}
