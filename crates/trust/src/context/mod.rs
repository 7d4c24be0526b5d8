//! The context put together.

use std::sync::Arc;
use std::time::Duration;

use kernel::Result;
use platform::crypto::MasterKey;
use platform::db::Db;
use platform::http::Route;
use platform::journal::Reader;

use crate::{issuance, key, log, status};

/// What the context is set up with.
pub struct TrustOptions {
    pub db: Db,
    pub master_key: MasterKey,
    /// Where the platform is reached; it names the issuer.
    pub public_url: String,
    pub issuer_name: String,
    /// For how long a verdict holds.
    pub validity: Duration,
}

/// Keys, lists, log and issuance. Cheap to clone.
#[derive(Clone)]
pub struct Trust {
    pub keys: key::service::Service,
    pub lists: status::service::Service,
    pub log: log::service::Service,
    pub issuance: issuance::service::Service,
    db: Db,
    public_url: String,
}

impl Trust {
    pub fn new(options: TrustOptions) -> Result<Self> {
        let TrustOptions { db, master_key, public_url, issuer_name, validity } = options;
        let keys = key::service::Service::new(db.clone(), master_key, &public_url)?;
        let lists = status::service::Service::new(db.clone(), keys.clone(), &public_url);
        let log = log::service::Service::new(db.clone(), keys.clone(), &public_url);
        let issuance = issuance::service::Service::new(
            keys.clone(),
            lists.clone(),
            log.clone(),
            &public_url,
            &issuer_name,
            validity,
        );
        Ok(Self { keys, lists, log, issuance, db, public_url })
    }

    /// Makes and opens the keys, and names the log. Once, before anything is signed.
    pub async fn start(&self) -> Result<()> {
        self.keys.start().await?;
        self.log.start().await
    }

    pub fn routes(&self) -> Vec<Route> {
        let pages = issuance::http::Pages {
            keys: self.keys.clone(),
            log: self.log.clone(),
            world: self.db.world().clone(),
            public_url: self.public_url.clone(),
        };
        let log = log::http::Pages { log: self.log.clone(), db: self.db.clone() };
        [
            key::http::routes(&self.keys),
            status::http::routes(&self.lists),
            issuance::http::routes(&pages),
            log::http::routes(&log),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The reader that turns facts into leaves.
    pub fn readers(&self) -> Vec<Arc<dyn Reader>> {
        vec![Arc::new(self.log.clone())]
    }
}

#[cfg(test)]
mod tests;
