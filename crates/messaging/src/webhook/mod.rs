//! Webhooks: an organization's own address is told of what happens, signed after Standard Webhooks.
//!
//! The [`Feed`] follows the journal. A fact whose verb stands in the catalogue becomes one delivery
//! for each enabled endpoint of each organization that the fact concerns and that has asked for such
//! facts. Nobody is told of a fact that does not concern them, and of a fact only what the catalogue
//! names.
//!
//! ```text
//! endpoint:  enabled <--> paused            by the organization
//!            enabled ---> disabled          410 Gone at once; after five days of nothing but failures
//!            disabled --> enabled           by the organization
//! delivery:  waiting ---> delivered         2xx
//!            waiting ---> failed            the last try of its schedule; the endpoint was disabled
//!            failed, delivered --> waiting  retried by hand, or recovered
//! ```
//!
//! Invariants:
//! - A fact reaches an endpoint at least once, always under the same `webhook-id`, which is the fact's
//!   own id. There is one delivery of a fact to an endpoint, whatever is read twice.
//! - First attempts at one endpoint are made one after another in the journal's order (`sequence`).
//!   What fails is tried again later and holds up nobody; so does an endpoint: each has one job.
//! - What a dead worker held is taken over when its lease ends.
//! - Signing keys, and the addresses of chats, are sealed; a key is shown once.
//! - Only addresses on the public internet are called (`platform::outbound::guarded`).
//!
//! Channels of chats ([`Provider`]) are endpoints as well, with words instead of a signed body.

pub mod catalogue;
mod deliver;
mod feed;
mod http;
mod jobs;
mod model;
mod rules;
mod service;
mod signature;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use platform::crypto::MasterKey;
use platform::db::Db;
use platform::http::Route;
use platform::jobs::{Registry, Worker};
use platform::journal::Reader;
use platform::outbound::guarded::Guarded;

pub use feed::Feed;
pub use model::{Delivery, Endpoint, Provider, State};
pub use service::Service;
pub use signature::sign;

/// Endpoints that one process calls side by side. They wait for others nearly all of the time.
const WIDTH: usize = 64;

/// What webhooks stand on.
pub struct Options {
    pub db: Db,
    pub master_key: MasterKey,
    /// By whom the addresses are called.
    pub client: Guarded,
}

/// Webhooks and channels, put together.
#[derive(Clone)]
pub struct Webhooks {
    pub service: Service,
}

impl Webhooks {
    pub fn new(options: Options) -> Self {
        Self { service: Service::new(options) }
    }

    pub fn routes(&self) -> Vec<Route> {
        let mut routes = http::routes(&self.service);
        routes.extend(crate::integration::routes(&self.service));
        routes
    }

    /// Who of this noun follows the journal.
    pub fn readers(&self) -> Vec<Arc<dyn Reader>> {
        vec![Arc::new(Feed)]
    }

    /// What any worker does.
    pub fn jobs(&self, registry: &mut Registry) {
        jobs::register(&self.service, registry);
    }

    /// A worker of its own for the calls: an address that does not answer holds up other addresses
    /// hardly, and no mail.
    pub fn caller(&self) -> Worker {
        let mut registry = Registry::default();
        jobs::register_calls(&self.service, &mut registry);
        Worker::new(self.service.db().clone(), registry).wide(WIDTH)
    }
}
