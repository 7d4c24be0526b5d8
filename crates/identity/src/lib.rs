//! The user service: accounts, sessions, the tokens that show them, and setting up the first
//! admin. Every way of signing in starts its sessions through [`session`], and how much each is
//! worth stands in [`factor`].
//!
//! | noun | what it is |
//! |---|---|
//! | [`account`] | a person or an organisation that signs in |
//! | [`device`] | a device on which an account has signed in |
//! | [`import`] | accounts from elsewhere, out of a file |
//! | [`password`] | how an account shows who it is, so far |
//! | [`session`] | one signed-in device |
//! | [`recovery`] | back into an account whose password is lost |
//! | [`factor`] | what an account shows beside its password, and how sure that makes us |
//! | [`token`] | a session shown as a JWT or a PASETO |
//! | [`kratos`] | Ory Kratos: believed, and stood in for |
//! | [`setup`] | the one-time link that makes an admin |
//! | [`facade`] | the user APIs of two older systems, over the same |
//! | [`people`] | what admins do with people: making, changing, making admins of them |
//! | [`impersonation`] | an admin looks at the platform as a user |
//! | [`closing`] | taking one's data along, closing an account, and erasing what was held |
//! | [`privacy`] | the same in somebody's place, which takes two admins |
//! | [`handle`] | the username under which Streamfair's clients know a user |
//! | [`streamfair`] | Streamfair's five services, over the same |
//! | [`accounttype`] | a kind of account that a user may hold |
//! | [`holding`] | an account of some type, held by a user |
//!
//! Other contexts reach this one through [`rpc::users::Users`], which [`Identity`] implements.

pub mod account;
pub mod accounttype;
mod asked;
pub mod closing;
pub mod device;
pub mod facade;
pub mod factor;
pub mod handle;
pub mod holding;
pub mod impersonation;
pub mod import;
pub mod kratos;
pub mod password;
pub mod people;
pub mod privacy;
mod public_url;
pub mod recovery;
pub mod session;
pub mod setup;
pub mod streamfair;
pub mod token;

#[cfg(test)]
mod testing;

use std::sync::{Arc, OnceLock};
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
use platform::live::Live;
use platform::mail::Mailer;
use rpc::users::{Profile, Reissued, Users, is_kratos};
use tokio_util::sync::CancellationToken;

pub use public_url::PublicUrl;

/// The tables of the user service.
pub const MIGRATIONS: Migrations = Migrations {
    context: "identity",
    files: &[
        Migration { name: "0001_identity", sql: include_str!("../migrations/0001_identity.sql") },
        Migration { name: "0002_proofs", sql: include_str!("../migrations/0002_proofs.sql") },
        Migration { name: "0003_tokens", sql: include_str!("../migrations/0003_tokens.sql") },
        Migration { name: "0004_factors", sql: include_str!("../migrations/0004_factors.sql") },
        Migration { name: "0005_imports", sql: include_str!("../migrations/0005_imports.sql") },
        Migration { name: "0006_kratos", sql: include_str!("../migrations/0006_kratos.sql") },
        Migration { name: "0007_accounts", sql: include_str!("../migrations/0007_accounts.sql") },
        Migration { name: "0008_people", sql: include_str!("../migrations/0008_people.sql") },
        Migration { name: "0009_privacy", sql: include_str!("../migrations/0009_privacy.sql") },
        Migration { name: "0010_standing", sql: include_str!("../migrations/0010_standing.sql") },
        Migration {
            name: "0011_link_makers",
            sql: include_str!("../migrations/0011_link_makers.sql"),
        },
        Migration {
            name: "0012_email_changes",
            sql: include_str!("../migrations/0012_email_changes.sql"),
        },
        Migration {
            name: "0013_proven_addresses",
            sql: include_str!("../migrations/0013_proven_addresses.sql"),
        },
        Migration {
            name: "0014_refreshing_clients",
            sql: include_str!("../migrations/0014_refreshing_clients.sql"),
        },
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
    pub facades: facade::Policy,
    /// The platform's name, as authenticators show it.
    pub name: String,
    /// Whether admins are of no use without a second factor. The gateway shuts their doors; here
    /// it keeps them from giving up the last one.
    pub admin_second_factor: bool,
    /// How long what is held of people stays after they have gone.
    pub closing: closing::Policy,
    /// Where people show who they are.
    pub kratos: kratos::Options,
    /// Whether people may make accounts by themselves.
    pub registration_open: Live<bool>,
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
            facades: facade::Policy::default(),
            public_url,
            name: "Verza".to_owned(),
            admin_second_factor: true,
            closing: closing::Policy::default(),
            kratos: kratos::Options::default(),
            registration_open: true.into(),
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
    pub facade: Arc<facade::Service>,
    pub factors: Arc<factor::Service>,
    pub passkeys: Arc<factor::passkey::Service>,
    pub people: Arc<people::Service>,
    pub impersonation: Arc<impersonation::Service>,
    pub closing: Arc<closing::Service>,
    pub privacy: Arc<privacy::Service>,
    pub recovery: Arc<recovery::Service>,
    pub imports: import::Service,
    pub kratos: Arc<kratos::Service>,
    pub account_types: Arc<accounttype::Service>,
    pub holdings: Arc<holding::Service>,
    pub streamfair: streamfair::Service,
    hasher: Arc<password::Hasher>,
    limiter: Arc<Limiter>,
    db: Db,
}

impl Identity {
    /// # Errors
    /// `Invalid`: hash parameters that Argon2 does not take, addresses of Kratos that are none.
    pub fn new(options: IdentityOptions) -> Result<Arc<Self>> {
        let IdentityOptions { db, master_key, mailer, limiter, public_url, .. } = options;
        let hasher = password::Hasher::new(&options.hashing, db.world().clone())?;
        let hasher = Arc::new(hasher);
        let tokens = token::Service::new(db.clone(), master_key.clone(), options.tokens);
        let tokens = Arc::new(tokens);
        let checker = factor::Checker::new(
            db.clone(),
            master_key.clone(),
            mailer.clone(),
            Arc::clone(&limiter),
        );
        let checker = Arc::new(checker);
        let sessions = Arc::new(session::Service::new(session::Parts {
            db: db.clone(),
            tokens: Arc::clone(&tokens),
            hasher: Arc::clone(&hasher),
            limiter: Arc::clone(&limiter),
            factors: Arc::clone(&checker),
            policies: options.sessions,
            remembered_max: options.remembered_max,
            master: master_key,
            show: account::http::show_me,
            secure_cookie: public_url.is_secure(),
            source: options.kratos.mode,
        }));
        let accounts = Arc::new(account::Service::new(
            db.clone(),
            mailer.clone(),
            Arc::clone(&limiter),
            Arc::clone(&hasher),
            Arc::clone(&sessions),
            public_url.clone(),
            account::Policy {
                closing: options.closing,
                registration_open: options.registration_open,
            },
        ));
        let recovery = Arc::new(recovery::Service::new(
            db.clone(),
            mailer.clone(),
            Arc::clone(&limiter),
            Arc::clone(&hasher),
            Arc::clone(&accounts),
            Arc::clone(&sessions),
            public_url.clone(),
        ));
        let kratos = Arc::new(kratos::Service::new(kratos::Parts {
            db: db.clone(),
            accounts: Arc::clone(&accounts),
            sessions: Arc::clone(&sessions),
            tokens: Arc::clone(&tokens),
            public_url: public_url.clone(),
            options: options.kratos,
        })?);
        let passkeys = Arc::new(factor::passkey::Service::new(factor::passkey::Parts {
            db: db.clone(),
            checker: Arc::clone(&checker),
            sessions: Arc::clone(&sessions),
            public_url: public_url.clone(),
            name: options.name.clone(),
            admin_second_factor: options.admin_second_factor,
        })?);
        let factors = Arc::new(factor::Service::new(factor::Parts {
            db: db.clone(),
            checker: Arc::clone(&checker),
            sessions: Arc::clone(&sessions),
            passkeys: Arc::clone(&passkeys),
            hasher: Arc::clone(&hasher),
            limiter: Arc::clone(&limiter),
            issuer: options.name,
            admin_second_factor: options.admin_second_factor,
        }));
        let setup = setup::Service::new(db.clone(), Arc::clone(&hasher), public_url.clone());
        let setup = Arc::new(setup);
        let people = Arc::new(people::Service {
            db: db.clone(),
            hasher: Arc::clone(&hasher),
            accounts: Arc::clone(&accounts),
            sessions: Arc::clone(&sessions),
            setup: Arc::clone(&setup),
        });
        let impersonation =
            impersonation::Service { db: db.clone(), sessions: Arc::clone(&sessions) };
        let closing = closing::Service {
            db: db.clone(),
            hasher: Arc::clone(&hasher),
            limiter: Arc::clone(&limiter),
            checker: Arc::clone(&checker),
            sessions: Arc::clone(&sessions),
            public_url,
            policy: options.closing,
            holders: OnceLock::new(),
        };
        let closing = Arc::new(closing);
        let privacy = privacy::Service { db: db.clone(), closing: Arc::clone(&closing) };
        let facade = facade::Service {
            db: db.clone(),
            accounts: Arc::clone(&accounts),
            sessions: Arc::clone(&sessions),
            closing: Arc::clone(&closing),
            policy: options.facades,
        };
        let imports = import::Service::new(db.clone());
        let account_types = Arc::new(accounttype::Service::new(db.clone()));
        let holdings = Arc::new(holding::Service::new(db.clone(), options.admin_second_factor));
        let streamfair = streamfair::Service {
            db: db.clone(),
            accounts: Arc::clone(&accounts),
            sessions: Arc::clone(&sessions),
            account_types: Arc::clone(&account_types),
            holdings: Arc::clone(&holdings),
            hasher: Arc::clone(&hasher),
            closing: Arc::clone(&closing),
            registration: options.facades.registration,
        };
        Ok(Arc::new(Self {
            recovery,
            imports,
            accounts,
            sessions,
            tokens,
            setup,
            facade: Arc::new(facade),
            factors,
            passkeys,
            people,
            impersonation: Arc::new(impersonation),
            closing,
            privacy: Arc::new(privacy),
            kratos,
            account_types,
            holdings,
            streamfair,
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

    fn believable(&self, presented: &str) -> Option<(Arc<Principal>, Duration)> {
        self.sessions.believable(presented)
    }

    fn authenticate<'a>(&'a self, presented: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>> {
        if is_kratos(presented) {
            return self.kratos.authenticate(presented).boxed();
        }
        self.sessions.authenticate(presented).boxed()
    }

    fn reissue<'a>(&'a self, expired: &'a str, cookie: &'a str) -> BoxFuture<'a, Result<Reissued>> {
        self.sessions.reissue(expired, cookie).boxed()
    }

    fn ways_to_prove(&self, user: Id<User>) -> BoxFuture<'_, Result<Vec<String>>> {
        let ways = self.factors.ways_to_prove(user);
        let names = |ways: Vec<session::Method>| ways.iter().map(|w| w.as_str().into()).collect();
        async move { ways.await.map(names) }.boxed()
    }

    fn is_prompt(&self) -> bool {
        self.db.board().liveness().is_prompt()
    }

    fn confirm<'a>(&'a self, presented: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>> {
        if is_kratos(presented) {
            return self.kratos.confirm(presented).boxed();
        }
        self.sessions.confirm(presented).boxed()
    }

    fn session(
        &self,
        user: Id<User>,
        session: Id<kernel::id::kinds::Session>,
    ) -> BoxFuture<'_, Result<Arc<Principal>>> {
        self.sessions.look_up(user, session).boxed()
    }

    fn profile(&self, user: Id<User>) -> BoxFuture<'_, Result<Profile>> {
        self.accounts.profile(user).boxed()
    }

    fn profiles<'a>(&'a self, users: &'a [Id<User>]) -> BoxFuture<'a, Result<Vec<Profile>>> {
        self.accounts.profiles(users).boxed()
    }

    fn order_role<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, Result<String>> {
        self.facade.role_of(principal).boxed()
    }
}

/// The routes of the user service.
pub fn routes(identity: &Identity) -> Vec<Route> {
    let mut routes = account::http::routes(&identity.accounts);
    routes.extend(session::http::routes(&identity.sessions));
    routes.extend(factor::http::routes(&identity.factors));
    routes.extend(factor::passkey::http::routes(&identity.passkeys));
    routes.extend(recovery::http::routes(&identity.recovery));
    routes.extend(setup::http::routes(&identity.setup));
    routes.extend(people::http::routes(&identity.people));
    routes.extend(impersonation::http::routes(&identity.impersonation));
    routes.extend(closing::http::routes(&identity.closing));
    routes.extend(privacy::routes(&identity.privacy));
    routes.extend(token::http::routes(&identity.tokens));
    routes.extend(facade::http::routes(&identity.facade));
    routes.extend(kratos::http::routes(&identity.kratos));
    routes.extend(accounttype::http::routes(&identity.account_types));
    routes.extend(holding::http::routes(&identity.holdings));
    routes
}

/// The background jobs of the user service, each once in the whole fleet.
pub fn jobs(identity: &Identity, registry: &mut Registry) {
    account::register_jobs(&identity.accounts, registry);
    session::register_jobs(&identity.sessions, registry);
    factor::register_jobs(&identity.factors, registry);
    recovery::register_jobs(&identity.recovery, registry);
    setup::register_jobs(&identity.setup, registry);
    closing::register_jobs(&identity.closing, registry);
    kratos::register_jobs(&identity.kratos, registry);
    let tokens = Arc::clone(&identity.tokens);
    registry.every("token.keep_fresh", Duration::from_secs(24 * 3600), move || {
        let tokens = Arc::clone(&tokens);
        async move { tokens.keep_fresh().await }
    });
}
