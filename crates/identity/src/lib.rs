//! The user service: accounts, sessions, the tokens that show them, and setting up the first
//! admin. Second factors, passkeys and further token formats join as nouns of their own
//! and start sessions through [`session`].
//!
//! | noun | what it is |
//! |---|---|
//! | [`account`] | a person or an organisation that signs in |
//! | [`import`] | accounts from elsewhere, out of a file |
//! | [`password`] | how an account shows who it is, so far |
//! | [`session`] | one signed-in device |
//! | [`recovery`] | back into an account whose password is lost |
//! | [`token`] | a session shown as a JWT |
//! | [`setup`] | the one-time link that makes an admin |
//!
//! Other contexts reach this one through [`rpc::users::Users`], which [`Identity`] implements.

pub mod account;
mod asked;
pub mod import;
pub mod password;
mod public_url;
pub mod recovery;
pub mod session;
pub mod setup;
pub mod token;

#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::User;
use kernel::{Id, Principal, Result, Timestamp};
use platform::crypto::MasterKey;
use platform::db::{Db, Migration, Migrations};
use platform::http::Route;
use platform::jobs::Registry;
use platform::limits::Limiter;
use platform::mail::Mailer;
use rpc::users::{Profile, Users};
use tokio_util::sync::CancellationToken;

pub use public_url::PublicUrl;

/// The tables of the user service.
pub const MIGRATIONS: Migrations = Migrations {
    context: "identity",
    files: &[
        Migration { name: "0001_identity", sql: include_str!("../migrations/0001_identity.sql") },
        Migration { name: "0002_proofs", sql: include_str!("../migrations/0002_proofs.sql") },
        Migration { name: "0005_imports", sql: include_str!("../migrations/0005_imports.sql") },
    ],
};

/// How often each process writes what it has gathered and reads what others have changed.
const TEND_EVERY: Duration = Duration::from_secs(15);

/// What the user service is made of and how it behaves.
pub struct IdentityOptions {
    pub db: Db,
    pub master_key: MasterKey,
    pub mailer: Mailer,
    /// The limiter of the process.
    pub limiter: Arc<Limiter>,
    /// Where the platform is reached; links in mails start with it.
    pub public_url: PublicUrl,
    pub hashing: password::Hashing,
    pub sessions: session::Policies,
    pub tokens: token::Policy,
    /// Presentations of sessions that a process remembers, at about a kilobyte each.
    pub remembered_max: usize,
}

impl IdentityOptions {
    /// The usual behaviour.
    pub fn new(
        db: Db,
        master_key: MasterKey,
        mailer: Mailer,
        limiter: Arc<Limiter>,
        public_url: PublicUrl,
    ) -> Self {
        Self {
            db,
            master_key,
            mailer,
            limiter,
            hashing: password::Hashing::default(),
            sessions: session::Policies::default(),
            tokens: token::Policy::at(public_url.as_str()),
            public_url,
            remembered_max: 100_000,
        }
    }
}

/// The user service.
pub struct Identity {
    pub accounts: Arc<account::Service>,
    pub sessions: Arc<session::Service>,
    pub tokens: Arc<token::Service>,
    pub setup: Arc<setup::Service>,
    pub recovery: Arc<recovery::Service>,
    pub imports: import::Service,
    hasher: Arc<password::Hasher>,
    limiter: Arc<Limiter>,
    db: Db,
}

impl Identity {
    /// # Errors
    /// `Invalid`: hash parameters that Argon2 does not take.
    pub fn new(options: IdentityOptions) -> Result<Arc<Self>> {
        let IdentityOptions { db, master_key, mailer, limiter, public_url, .. } = options;
        let hasher = password::Hasher::new(&options.hashing, db.world().clone())?;
        let hasher = Arc::new(hasher);
        let tokens = token::Service::new(db.clone(), master_key.clone(), options.tokens);
        let tokens = Arc::new(tokens);
        let sessions = Arc::new(session::Service::new(session::Parts {
            db: db.clone(),
            tokens: Arc::clone(&tokens),
            hasher: Arc::clone(&hasher),
            limiter: Arc::clone(&limiter),
            policies: options.sessions,
            remembered_max: options.remembered_max,
            master: master_key,
            show: account::http::show_me,
            secure_cookie: public_url.is_secure(),
        }));
        let accounts = Arc::new(account::Service::new(
            db.clone(),
            mailer.clone(),
            Arc::clone(&limiter),
            Arc::clone(&hasher),
            Arc::clone(&sessions),
            public_url.clone(),
        ));
        let recovery = Arc::new(recovery::Service::new(
            db.clone(),
            mailer,
            Arc::clone(&limiter),
            Arc::clone(&hasher),
            Arc::clone(&sessions),
            public_url.clone(),
        ));
        let setup = Arc::new(setup::Service::new(db.clone(), Arc::clone(&hasher), public_url));
        let imports = import::Service::new(db.clone());
        Ok(Arc::new(Self {
            imports,
            accounts,
            sessions,
            tokens,
            setup,
            recovery,
            hasher,
            limiter,
            db,
        }))
    }

    /// Reads the token keys, and makes the first one: call at the start, before serving.
    pub async fn ensure_keys(&self) -> Result<()> {
        self.tokens.ensure_keys().await
    }

    /// What every process that serves does for itself, until told to stop: it writes when its
    /// sessions were last seen, reads the token keys again, and gives back memory. No job, since
    /// a job runs once in the whole fleet.
    pub async fn tend(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(TEND_EVERY) => self.tend_once().await,
                () = stop.cancelled() => break,
            }
        }
        self.tend_once().await;
    }

    /// One round of [`Identity::tend`].
    pub async fn tend_once(&self) {
        if let Err(error) = self.sessions.write_seen().await {
            tracing::warn!(%error, "when sessions were last seen was not written");
        }
        if let Err(error) = self.tokens.reload().await {
            tracing::warn!(%error, "the token keys were not read again");
        }
        self.limiter.sweep(self.db.world().now());
        self.hasher.rest();
    }
}

impl Users for Identity {
    fn cached(&self, presented: &str, now: Timestamp) -> Option<Arc<Principal>> {
        self.sessions.cached(presented, now)
    }

    fn authenticate<'a>(&'a self, presented: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>> {
        self.sessions.authenticate(presented).boxed()
    }

    fn profile(&self, user: Id<User>) -> BoxFuture<'_, Result<Profile>> {
        self.accounts.profile(user).boxed()
    }

    fn profiles<'a>(&'a self, users: &'a [Id<User>]) -> BoxFuture<'a, Result<Vec<Profile>>> {
        self.accounts.profiles(users).boxed()
    }
}

/// The routes of the user service.
pub fn routes(identity: &Identity) -> Vec<Route> {
    let mut routes = account::http::routes(&identity.accounts);
    routes.extend(session::http::routes(&identity.sessions));
    routes.extend(recovery::http::routes(&identity.recovery));
    routes.extend(setup::http::routes(&identity.setup));
    routes.extend(token::http::routes(&identity.tokens));
    routes
}

/// The background jobs of the user service, each once in the whole fleet.
pub fn jobs(identity: &Identity, registry: &mut Registry) {
    account::register_jobs(&identity.accounts, registry);
    session::register_jobs(&identity.sessions, registry);
    recovery::register_jobs(&identity.recovery, registry);
    setup::register_jobs(&identity.setup, registry);
    let tokens = Arc::clone(&identity.tokens);
    registry.every("token.keep_fresh", Duration::from_secs(24 * 3600), move || {
        let tokens = Arc::clone(&tokens);
        async move { tokens.keep_fresh().await }
    });
}
