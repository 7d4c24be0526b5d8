//! The context put together.

use std::sync::Arc;
use std::time::Duration;

use kernel::Result;
use platform::crypto::MasterKey;
use platform::db::Db;
use platform::http::Route;
use platform::jobs::Registry;
use platform::journal::Reader;

use crate::judging::Judging;
use crate::{authority, compromise, issuance, key, log, pickup, presentation, status};

/// What the context is set up with.
pub struct TrustOptions {
    pub db: Db,
    pub master_key: MasterKey,
    /// Where the platform is reached; it names the issuer.
    pub public_url: String,
    pub issuer_name: String,
    /// For how long a verdict holds.
    pub validity: Duration,
    /// Who signs the log's checkpoints as well.
    pub witnesses: Vec<log::Witness>,
    /// What this machine remembers of the log apart from the database.
    pub memory: Option<log::Memory>,
}

/// Keys, lists, log and issuance. Cheap to clone.
#[derive(Clone)]
pub struct Trust {
    pub keys: key::service::Service,
    pub authority: authority::service::Service,
    pub lists: status::service::Service,
    pub log: log::service::Service,
    pub issuance: issuance::service::Service,
    pub compromises: compromise::service::Service,
    pub pickup: pickup::service::Service,
    pub presentations: presentation::service::Service,
    pub judging: Judging,
    issuer_name: String,
    db: Db,
    public_url: String,
}

impl Trust {
    pub fn new(options: TrustOptions) -> Result<Self> {
        let TrustOptions { db, master_key, public_url, issuer_name, validity, witnesses, memory } =
            options;
        let keys = key::service::Service::new(db.clone(), master_key.clone(), &public_url)?;
        let authority =
            authority::service::Service::new(db.clone(), master_key.clone(), &public_url);
        let lists =
            status::service::Service::new(db.clone(), keys.clone(), authority.clone(), &public_url);
        let log =
            log::service::Service::new(db.clone(), keys.clone(), &public_url, witnesses, memory);
        let issuance = issuance::service::Service::new(
            keys.clone(),
            authority.clone(),
            lists.clone(),
            log.clone(),
            &public_url,
            &issuer_name,
            validity,
        );
        let pickup =
            pickup::service::Service::new(db.clone(), issuance.clone(), &master_key, &public_url);
        let compromises = compromise::service::Service::new(
            db.clone(),
            keys.clone(),
            authority.clone(),
            issuance.clone(),
        );
        let judging = Judging {
            db: db.clone(),
            keys: keys.clone(),
            authority: authority.clone(),
            lists: lists.clone(),
            log: log.clone(),
        };
        let presentations = presentation::service::Service::new(
            db.clone(),
            authority.clone(),
            judging.clone(),
            &master_key,
        );
        Ok(Self {
            keys,
            authority,
            lists,
            log,
            issuance,
            compromises,
            pickup,
            presentations,
            judging,
            issuer_name,
            db,
            public_url,
        })
    }

    /// Makes and opens the keys, and names the log. Once, before anything is signed.
    pub async fn start(&self) -> Result<()> {
        self.keys.start().await?;
        self.authority.start().await?;
        self.log.start().await
    }

    pub fn routes(&self) -> Vec<Route> {
        let pages = issuance::http::Pages {
            judging: self.judging.clone(),
            public_url: self.public_url.clone(),
        };
        let keys = key::http::Pages { keys: self.keys.clone(), authority: self.authority.clone() };
        let pickup = pickup::http::Pages {
            pickup: self.pickup.clone(),
            issuer_name: self.issuer_name.clone(),
        };
        let log = log::http::Pages { log: self.log.clone(), db: self.db.clone() };
        [
            key::http::routes(&keys),
            authority::http::routes(&self.authority),
            pickup::http::routes(&pickup),
            presentation::http::routes(&self.presentations),
            status::http::routes(&self.lists),
            issuance::http::routes(&pages),
            log::http::routes(&log),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Opens the keys anew, which another replica or a command may have rotated.
    pub async fn reload_keys(&self) -> Result<()> {
        self.keys.reload().await?;
        self.authority.reload().await
    }

    pub fn jobs(&self, registry: &mut Registry) {
        log::register(registry, &self.log);
        compromise::register(registry, &self.compromises);
    }

    /// The reader that turns facts into leaves.
    pub fn readers(&self) -> Vec<Arc<dyn Reader>> {
        vec![Arc::new(self.log.clone())]
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
