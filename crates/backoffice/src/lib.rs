//! The back office: what the platform's own people, and everybody for themselves, look into.

pub mod audit;

use platform::db::Db;
use platform::http::Route;

/// What the context is made of.
pub struct Options {
    pub db: Db,
}

/// The services of the context.
#[derive(Clone)]
pub struct Context {
    pub audit: audit::Service,
}

impl Context {
    pub fn new(options: Options) -> Self {
        Self { audit: audit::Service::new(options.db) }
    }

    pub fn routes(&self) -> Vec<Route> {
        audit::routes(&self.audit)
    }
}
