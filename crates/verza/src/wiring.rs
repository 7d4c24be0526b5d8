//! The platform put together: configuration in, running services out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gateway::{
    Acme, AcmeOptions, CertificateFiles, Edge, EdgeOptions, Gauges, Health, Https, Ops, Origins,
    Readiness, ServerOptions, Tls, TrustedProxies,
};
use kernel::id::kinds::User;
use kernel::{Asset, Caller, Error, Id, Kind, Money, Result, Secret, World};
use organizations::Organizations;
use platform::crypto::MasterKey;
use platform::db::{Db, Migrations, PostgresOptions, SqliteOptions};
use platform::fleet::{Air, Fleet, Redis, RedisOptions};
use platform::http::{Info, Route};
use platform::jobs::{Registry, Worker};
use platform::journal::{Reader, Runner};
use platform::limits::{Limiter, Quota, Quotas, WhenAway};
use platform::load::Load;
use platform::mail::Mailer;
use platform::network::Network;
use platform::outbound::guarded::{self, Guarded};
use platform::privacy::Holder;
use rpc::orders::Orders;
use rpc::users::{Status, Users};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trust::{Trust, TrustOptions};

use crate::config::{
    self, Config, FacadeRegistration, IdentityMode, PasswordHash, Payments, TlsMode,
    WhenRedisIsAway, WhoamiLevel,
};
use crate::datadir::{self, DataDir};
use crate::files;
use crate::grpc;
use crate::mail;
use crate::notary::{self, Notary};
use crate::owners::{Keepers, WalletBrake};
use crate::purse::{Escrow, order_prices};
use crate::roles::{self, Away};
use crate::settings::Settings;
use crate::tariffs;
use crate::telemetry;

/// The tables of all contexts, in the order in which they are made.
pub const MIGRATIONS: &[Migrations] = &[
    platform::MIGRATIONS,
    identity::MIGRATIONS,
    money::MIGRATIONS,
    documents::MIGRATIONS,
    trust::MIGRATIONS,
    marketplace::MIGRATIONS,
    messaging::MIGRATIONS,
    orders::MIGRATIONS,
    organizations::MIGRATIONS,
    backoffice::MIGRATIONS,
];

/// What the API says of itself.
pub const API_INFO: Info<'static> = Info {
    title: "Verza",
    version: crate::VERSION,
    description: "Documents about people, verified: escrow, verdicts, and signed credentials \
                  that anyone can check. Amounts are whole minor units: 5000 with NGN is fifty \
                  naira. Errors are RFC 9457 problems. Lists are arrays with a Link header.",
};

/// The lists whose exports are signed: the audit trails.
const SIGNED_LISTS: [&str; 3] =
    ["/v1/audit/logs", "/v1/admin/audit-logs", "/v1/enterprise/audit-logs"];

/// How long a component is waited for that should say how it is.
const PROBE_MAX: Duration = Duration::from_secs(2);
/// How often a process takes up what other processes have changed: signing keys.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// All contexts over one database.
pub struct Platform {
    pub config: Config,
    pub db: Db,
    pub public_url: String,
    pub identity: Arc<identity::Identity>,
    pub money: money::Context,
    pub documents: documents::Documents,
    pub trust: Trust,
    pub marketplace: marketplace::Marketplace,
    pub messaging: messaging::Context,
    pub webhooks: messaging::webhook::Webhooks,
    /// The order service, wherever it runs.
    pub orders: Arc<dyn Orders>,
    pub organizations: Organizations,
    pub backoffice: backoffice::Context,
    pub mailer: Mailer,
    fleet: Arc<Fleet>,
    pub(crate) limiter: Arc<Limiter>,
    load: Arc<Load>,
    /// The user service, wherever it runs.
    pub(crate) users: Arc<dyn Users>,
    away: Away,
    /// What the processes of this platform show each other.
    pub(crate) secret: Secret<String>,
    /// Claimed for as long as the platform lives; none beside a server that runs already.
    _folder: Option<DataDir>,
}

/// What a configuration must fulfil beyond its types.
pub fn check(config: &Config) -> Result<()> {
    let wrong = |what: String| Error::invalid("invalid_configuration", what);
    let _: Asset = config.payments.default_currency.parse().map_err(|_| {
        let known: Vec<_> = Asset::ALL.iter().map(|asset| asset.code()).collect();
        wrong(format!("payments.default_currency must be one of {}.", known.join(", ")))
    })?;
    tariffs::staking(&config.staking, config.payments.default_currency.parse()?)?;
    tariffs::billing(&config.billing)?;
    if config.marketplace.slash_basis_points > marketplace::Bonding::SLASH_BPS_MAX {
        return Err(wrong("marketplace.slash_basis_points is at most 5000, which is half.".into()));
    }
    if config.marketplace.required_bond < 0 {
        return Err(wrong("marketplace.required_bond is 0 or more.".into()));
    }
    if config.marketplace.fee_basis_points > marketplace::Options::FEE_BPS_MAX {
        let message = "marketplace.fee_basis_points is at most 1000, which is a tenth of a price.";
        return Err(wrong(message.into()));
    }
    if !(10..=15).contains(&config.accounts.bcrypt_cost) {
        return Err(wrong("accounts.bcrypt_cost is between 10 and 15.".into()));
    }
    if config.trust.validity_days == 0 {
        return Err(wrong("trust.validity_days must be at least 1.".into()));
    }
    witnesses(config)?;
    telemetry::filter(&config.log.level)?;
    if let Some(key) = none_of(config) {
        return Err(wrong(format!("{key} must be at least 1.")));
    }
    for origin in &config.server.cors_origins {
        gateway::Origins::check(origin)
            .map_err(|error| wrong(format!("server.cors_origins: {error}.")))?;
    }
    check_providers(&config.payments)?;
    identity::password::Hasher::check(&hashing(&config.accounts))
        .map_err(|error| wrong(format!("accounts: {error}")))?;
    if let Some(what) = wrong_in(&config.sessions) {
        return Err(wrong(what));
    }
    if config.breaker.half_open_requests == 0 {
        return Err(wrong("breaker.half_open_requests must be at least 1.".into()));
    }
    if config.accounts.step_up_minutes == 0 {
        return Err(wrong("accounts.step_up_minutes must be at least 1.".into()));
    }
    identity::PublicUrl::parse(&config.server.public_url())
        .map_err(|error| wrong(format!("server.public_url: {error}")))?;
    verify::key::did::did_web(&config.server.public_url())
        .map_err(|error| wrong(format!("server.public_url: {error}.")))?;
    mail::options(config)?;
    files::check(config, platform::world::system())?;
    places(config)?;
    check_identity(config).map_err(|what| wrong(format!("identity.{what}")))?;
    TrustedProxies::parse(&config.server.trusted_proxies)
        .map_err(|error| wrong(format!("server.trusted_proxies: {error}.")))?;
    roles::check(config)?;
    webhook_client(config)?;
    acme(config)?;
    if let Some(files) = named_certificate(config)? {
        Tls::new(files).map_err(|error| wrong(format!("server.tls_certificate: {error}")))?;
    }
    redis(config, platform::world::system())
        .map_err(|error| wrong(format!("redis.url: {error}")))?;
    if let Some(key) = &config.secrets.master_key {
        datadir::parse_key(key.expose(), "secrets.master_key")?;
    } else if config.database.url.is_some() {
        return Err(datadir::shared_key_is_missing());
    }
    Ok(())
}

/// A length of time that nothing could keep to.
fn none_of(config: &Config) -> Option<&'static str> {
    let Config { server, database, streams, services, .. } = config;
    let times = [
        ("server.request_timeout_seconds", server.request_timeout_seconds),
        ("server.transfer_timeout_seconds", server.transfer_timeout_seconds),
        ("database.statement_timeout_seconds", database.statement_timeout_seconds),
        ("streams.heartbeat_seconds", streams.heartbeat_seconds),
        ("services.timeout_milliseconds", services.timeout_milliseconds),
    ];
    times.into_iter().find(|(_, time)| *time == 0).map(|(key, _)| key)
}

/// Those who are asked to sign the log's checkpoints.
fn witnesses(config: &Config) -> Result<Vec<trust::log::Witness>> {
    config.trust.witnesses.iter().map(|text| trust::log::Witness::parse(text)).collect()
}

/// What makes no sense in the times of sessions.
fn wrong_in(sessions: &config::Sessions) -> Option<String> {
    if !(1..=60).contains(&sessions.access_token_minutes) {
        return Some("sessions.access_token_minutes is from 1 to 60.".into());
    }
    // A century of minutes: what is longer is a slip, and would not fit everywhere.
    const LONGEST: u64 = 100 * 366 * 24 * 60;
    let identity::session::Policies { user, verifier, enterprise, admin } = policies(sessions);
    let roles =
        [("user", user), ("verifier", verifier), ("enterprise", enterprise), ("admin", admin)];
    for (role, policy) in roles {
        let minutes = |duration: Duration| duration.as_secs() / 60;
        for (key, value) in [("lifetime", policy.lifetime), ("idle", policy.idle)] {
            if !(1..=LONGEST).contains(&minutes(value)) {
                return Some(format!("sessions.{role}_{key}_minutes is from 1 to {LONGEST}."));
            }
        }
        if policy.sessions_max == 0 {
            return Some(format!("sessions.{role}_max must be at least 1."));
        }
    }
    None
}

fn policies(sessions: &config::Sessions) -> identity::session::Policies {
    let policy = |lifetime: u64, idle: u64, sessions_max| identity::session::Policy {
        lifetime: Duration::from_secs(lifetime.saturating_mul(60)),
        idle: Duration::from_secs(idle.saturating_mul(60)),
        sessions_max,
    };
    let it = sessions;
    identity::session::Policies {
        user: policy(it.user_lifetime_minutes, it.user_idle_minutes, it.user_max),
        verifier: policy(it.verifier_lifetime_minutes, it.verifier_idle_minutes, it.verifier_max),
        enterprise: policy(
            it.enterprise_lifetime_minutes,
            it.enterprise_idle_minutes,
            it.enterprise_max,
        ),
        admin: policy(it.admin_lifetime_minutes, it.admin_idle_minutes, it.admin_max),
    }
}

/// What is known of where addresses are.
fn places(config: &Config) -> Result<backoffice::fraud::Places> {
    match &config.fraud.address_database {
        Some(path) => backoffice::fraud::Places::open(path),
        None => Ok(backoffice::fraud::Places::default()),
    }
}

/// By whom organizations' own addresses are called.
fn webhook_client(config: &Config) -> Result<Guarded> {
    let wrong = |what: String| Error::invalid("invalid_configuration", what);
    let config::Webhooks { allow_http, networks, timeout_seconds } = &config.webhooks;
    // Well within the lease of the job that calls.
    if !(1..=20).contains(timeout_seconds) {
        return Err(wrong("webhooks.timeout_seconds is from 1 to 20.".into()));
    }
    let networks: Result<Vec<Network>> = networks.iter().map(|text| text.parse()).collect();
    Guarded::new(guarded::Options {
        allow_http: *allow_http,
        networks: networks.map_err(|error| wrong(format!("webhooks.networks: {error}.")))?,
        timeout: Duration::from_secs(*timeout_seconds),
        ..guarded::Options::default()
    })
}

/// What is wrong with the section `identity`, if anything.
fn check_identity(config: &Config) -> Result<(), String> {
    let identity = &config.identity;
    if identity.mode == IdentityMode::Native {
        return Ok(());
    }
    let addresses = [
        ("kratos_public_url", &identity.kratos_public_url),
        ("kratos_admin_url", &identity.kratos_admin_url),
    ];
    for (key, address) in addresses {
        let Some(address) = address else {
            return Err(format!("{key} is needed in the modes kratos and both."));
        };
        // The cookie would be sent round in a circle.
        if address.trim_end_matches('/') == config.server.public_url() {
            return Err(format!("{key} is the address of this platform itself."));
        }
        platform::outbound::Peer::new(address, Duration::from_secs(1), 1)
            .map_err(|error| format!("{key}: {}", error.message()))?;
    }
    if !(1..=60).contains(&identity.kratos_cache_seconds) {
        return Err("kratos_cache_seconds is from 1 to 60.".into());
    }
    if !(50..=30_000).contains(&identity.kratos_timeout_ms) {
        return Err("kratos_timeout_ms is from 50 to 30000.".into());
    }
    if identity.kratos_hook_key.as_ref().is_some_and(|key| key.expose().len() < 16) {
        return Err("kratos_hook_key is too short: at least 16 characters.".into());
    }
    Ok(())
}

/// How Kratos is reached and believed.
fn kratos_options(config: &Config) -> identity::kratos::Options {
    use identity::kratos::{Mode, Options};
    let identity = &config.identity;
    Options {
        mode: match identity.mode {
            IdentityMode::Native => Mode::Native,
            IdentityMode::Kratos => Mode::Kratos,
            IdentityMode::Both => Mode::Both,
        },
        public_url: identity.kratos_public_url.clone().unwrap_or_default(),
        admin_url: identity.kratos_admin_url.clone().unwrap_or_default(),
        admin_token: identity.kratos_admin_token.clone(),
        hook_key: identity.kratos_hook_key.clone(),
        timeout: Duration::from_millis(identity.kratos_timeout_ms),
        cache: Duration::from_secs(identity.kratos_cache_seconds),
        whoami_level: match identity.whoami_level {
            WhoamiLevel::Aal1 => kernel::Level::One,
            WhoamiLevel::Aal2 => kernel::Level::Two,
        },
        ..Options::default()
    }
}

fn sqlite_options(config: &Config, path: &Path) -> SqliteOptions {
    SqliteOptions {
        statement_timeout: Duration::from_secs(config.database.statement_timeout_seconds),
        ..SqliteOptions::at(path)
    }
}

fn connect_postgres(config: &Config, url: &Secret<String>) -> Result<Db> {
    let options = PostgresOptions {
        // A reader of the journal may open what is sealed while its transaction is: that takes two.
        connections: config.database.connections.max(2),
        statement_timeout: Duration::from_secs(config.database.statement_timeout_seconds),
        transaction_pooler: config.database.transaction_pooler,
        ..PostgresOptions::at(url.expose().clone())
    };
    Db::connect_postgres(&options, platform::world::system())
}

/// Redis, where one is configured. Nothing is connected yet.
pub fn redis(config: &Config, world: World) -> Result<Option<Arc<Redis>>> {
    let Some(url) = &config.redis.url else { return Ok(None) };
    let options = RedisOptions {
        password: config.redis.password.clone(),
        prefix: config.redis.prefix.clone(),
        timeout: Duration::from_millis(config.redis.timeout_milliseconds.max(1)),
        ..RedisOptions::at(url.expose().clone())
    };
    Redis::new(&options, world).map(Some)
}

/// The database for commands that change nothing, also beside a running server.
pub fn open_to_look(config: &Config) -> Result<Db> {
    if let Some(url) = &config.database.url {
        return connect_postgres(config, url);
    }
    let path = DataDir::database(&config.storage.data_dir);
    if !path.exists() {
        let message = format!(
            "There is no database at {}. Is --data-dir the one that the server uses?",
            path.display()
        );
        return Err(Error::unavailable("no_database", message));
    }
    let options = SqliteOptions { read_only: true, ..sqlite_options(config, &path) };
    Db::open_sqlite(&options, platform::world::system())
}

/// The database for commands that must be alone with it.
pub fn open_to_write(config: &Config) -> Result<(Db, DataDir)> {
    let folder = DataDir::claim(&config.storage.data_dir)?;
    if config.database.url.is_none() {
        // A database beside which there is no key is taken for one whose key was lost.
        folder.master_key(config, &platform::world::system())?;
    }
    Ok((open(config)?, folder))
}

fn open(config: &Config) -> Result<Db> {
    match &config.database.url {
        Some(url) => connect_postgres(config, url),
        None => {
            let path = DataDir::database(&config.storage.data_dir);
            Db::open_sqlite(&sqlite_options(config, &path), platform::world::system())
        }
    }
}

/// The platform for commands: also beside a server that runs already, which takes up what they
/// change. Where there is none, none is made: it would not be the one that was meant.
pub async fn open_platform(config: &Config) -> Result<Platform> {
    open_beside(config, true).await
}

/// The same for what a server that runs already would not take up: beside the embedded store
/// nobody tells it what others change, and it goes on with the keys that it remembers.
///
/// # Errors
/// `Unavailable` `data_dir_in_use`.
pub async fn open_platform_alone(config: &Config) -> Result<Platform> {
    open_beside(config, config.database.url.is_some()).await
}

async fn open_beside(config: &Config, a_server: bool) -> Result<Platform> {
    check(config)?;
    refuse_nothing(config).await?;
    let folder = match DataDir::claim(&config.storage.data_dir) {
        Ok(folder) => Some(folder),
        Err(error) if a_server && error.code() == "data_dir_in_use" => None,
        Err(error) => return Err(error),
    };
    let local_url = format!("http://{}", reachable(config.server.listen));
    Platform::build(config.clone(), folder, &local_url).await
}

async fn refuse_nothing(config: &Config) -> Result<()> {
    let db = open_to_look(config)?;
    let status = db.migration_status(MIGRATIONS).await;
    db.close().await;
    if status?.iter().any(|step| step.applied) {
        return Ok(());
    }
    let message = "There is no platform in the database. Is it the one that the server uses? \
                   `verza serve` and `verza migrate up` make a new one.";
    Err(Error::unavailable("no_database", message))
}

/// An address at which this machine reaches its own listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

impl Platform {
    /// Opens the database, brings it up to date, and puts the contexts together.
    async fn build(config: Config, folder: Option<DataDir>, local_url: &str) -> Result<Self> {
        // Before the database, which is not made without its key.
        let master_key = match &folder {
            Some(folder) => folder.master_key(&config, &platform::world::system())?,
            None => datadir::existing_master_key(&config)?,
        };
        let db = open(&config)?;
        refuse_half_filled(&db).await?;
        if config.database.migrate_at_start {
            db.migrate(MIGRATIONS).await?;
        } else {
            refuse_stale_schema(&db).await?;
        }
        let platform = Self::over(db, config, master_key, folder, local_url)?;
        platform.identity.ensure_keys().await?;
        platform.trust.start().await?;
        platform.backoffice.settings.reload().await?;
        Ok(platform)
    }

    /// The contexts over a database; nothing is read or written yet.
    fn over(
        db: Db,
        config: Config,
        master_key: MasterKey,
        folder: Option<DataDir>,
        local_url: &str,
    ) -> Result<Self> {
        db.keep_private(master_key.clone());
        let public_url = config.server.public_url();
        let fleet = Fleet::new(db.clone(), redis(&config, db.world().clone())?, &master_key);
        let fleet = Arc::new(fleet);
        let limiter = Arc::new(build_limiter(&config, &master_key, fleet.redis()));
        let mailer = Mailer::new(db.clone(), master_key.clone(), mail::options(&config)?);
        let settings = Settings::of(&config);
        let identity = build_identity(&db, &config, &settings, &master_key, &mailer, &limiter)?;
        let away = Away::new(&config, db.world(), &master_key)?;
        let secret = roles::secret(&config, &master_key);
        let users = away.users(identity.clone(), db.board());
        let trust = Trust::new(TrustOptions {
            db: db.clone(),
            master_key: master_key.clone(),
            public_url: public_url.clone(),
            issuer_name: config.trust.issuer_name.clone(),
            validity: Duration::from_secs(u64::from(config.trust.validity_days) * 24 * 3600),
            witnesses: witnesses(&config)?,
            memory: folder.as_ref().map(|folder| trust::log::Memory::in_folder(folder.path())),
        })?;
        let mut money_options =
            money_options(&db, &config, &settings, &master_key, local_url, users.clone())?;
        money_options.solvency = Some(money::solvency::Options {
            notary: Arc::new(Notary::new(trust.keys.clone(), &db, &public_url)),
            secret: master_key.derive("money/solvency"),
        });
        let money = money::Context::new(money_options)?;
        let upload_key = master_key.derive("documents/uploads");
        let fraud_key = master_key.derive("backoffice/fraud");
        let organizations = Organizations::new(organizations::Options {
            db: db.clone(),
            users: users.clone(),
            mailer: mailer.clone(),
            master_key: master_key.clone(),
            public_url: public_url.clone(),
            retention_days: config.privacy.retention_days,
        });
        let blobs = files::store(&config, db.world().clone())?;
        let sources = sources(&db, &config, &fleet, &blobs);
        let documents = documents::Documents::new(documents::Parts {
            db: db.clone(),
            blobs,
            issuance: trust.issuance.clone(),
            judge: files::judge(&config, trust.judging.clone())?,
            mailer: mailer.clone(),
            options: documents::Options {
                owner_bytes_max: config.storage.quota_mb * 1024 * 1024,
                file_bytes_max: config.files.max_mb * 1024 * 1024,
                scanner: files::scanner(&config)?,
                inspector: Some(files::inspector(&config)?),
                upload_key: Some(upload_key),
                ..documents::Options::at(public_url.clone())
            },
        });
        trust.pickup.ask(Arc::new(documents.credentials.clone()));
        trust.presentations.ask(Arc::new(Askers(users.clone())));
        let marketplace = marketplace::Marketplace::new(marketplace::Options {
            db: db.clone(),
            users: users.clone(),
            wallets: money.wallet.clone(),
            credentials: documents.credentials.clone(),
            files: documents.files.clone(),
            issuance: trust.issuance.clone(),
            bonds: money.staking.clone(),
            billing: money.billing.clone(),
            bonding: bonding(&config)?,
            fee_bps: settings.fee_bps.clone(),
            acceptance_sla: settings.acceptance.clone(),
            claim_lease: Duration::from_secs(config.marketplace.claim_hours * 3600),
            appeal_window: Duration::from_secs(config.marketplace.appeal_hours * 3600),
            currency: config.payments.default_currency.parse()?,
        });
        let orders = away.orders(orders::service(orders::Options {
            db: db.clone(),
            users: users.clone(),
            escrow: Arc::new(Escrow(money.wallet.clone())),
            prices: order_prices(&config)?,
        }));
        let messaging = messaging::Context::new(messaging::Options {
            db: db.clone(),
            users: users.clone(),
            limiter: limiter.clone(),
            streams: config.streams.policy(),
            air: fleet.redis().map(|redis| Air::new(redis, "chat", &master_key, db.world())),
        });
        let webhooks = messaging::webhook::Webhooks::new(messaging::webhook::Options {
            db: db.clone(),
            master_key: master_key.clone(),
            client: webhook_client(&config)?,
        });
        let owners = Arc::new(Keepers {
            db: db.clone(),
            credentials: documents.credentials.clone(),
            verifiers: Arc::clone(&marketplace.verifiers),
            reviews: Arc::clone(&marketplace.reviews),
            accounts: Arc::clone(&identity.accounts),
            chat: messaging.chat.clone(),
        });
        let brake = Arc::new(WalletBrake(money.wallet.clone()));
        let backoffice = backoffice::Context::new(backoffice::Options {
            settings: settings.declared(),
            public: settings.public,
            system: sources,
            scrub: telemetry::scrub,
            fraud: settings.fraud,
            fraud_key,
            places: places(&config)?,
            governance: settings.governance,
            ..backoffice::Options::new(db.clone(), owners, brake)
        });
        identity.closing.know(holders());
        Ok(Self {
            load: Load::new(config.load.policy()),
            config,
            db,
            public_url,
            identity,
            money,
            documents,
            trust,
            marketplace,
            messaging,
            webhooks,
            orders,
            organizations,
            backoffice,
            mailer,
            fleet,
            limiter,
            users,
            away,
            secret,
            _folder: folder,
        })
    }

    /// Every route of the platform but the pages that describe them.
    fn routes(&self, health: &Health) -> Vec<Route> {
        let mut routes = gateway::health::routes(health);
        routes.extend(self.away.users_rows(self.users_rows(), self.db.board()));
        routes.extend(self.money.routes());
        routes.extend(self.documents.routes());
        routes.extend(self.trust.routes());
        routes.extend(self.marketplace.routes());
        routes.extend(self.messaging.routes());
        routes.extend(self.webhooks.routes());
        routes.extend(orders::routes(&self.orders));
        routes.extend(self.organizations.routes());
        routes.extend(self.backoffice.routes());
        let signer = notary::signer_of_exports(&self.trust, &self.db, &self.public_url);
        for route in routes.iter_mut().filter(|route| SIGNED_LISTS.contains(&route.path)) {
            route.handler = route.handler.clone().layer(axum::Extension(signer.clone()));
        }
        let docs = gateway::docs_routes(API_INFO, &routes);
        routes.extend(docs);
        routes
    }

    /// The rows of the user service, answered here.
    pub(crate) fn users_rows(&self) -> Vec<Route> {
        let mut rows = identity::routes(&self.identity);
        let two_factors = self.config.accounts.admin_second_factor;
        rows.extend(gateway::streamfair::routes(&self.identity.streamfair.ports(), two_factors));
        rows
    }

    /// Everybody who follows the journal.
    fn readers(&self) -> Vec<Arc<dyn Reader>> {
        let mut readers = self.trust.readers();
        readers.extend(self.marketplace.readers());
        readers.extend(self.messaging.readers());
        readers.extend(self.backoffice.readers());
        readers.extend(self.webhooks.readers());
        readers.extend(self.organizations.readers());
        readers
    }

    /// A worker for the jobs of all contexts.
    pub fn worker(&self) -> Worker {
        Worker::new(self.db.clone(), self.registry())
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        self.mailer.jobs(&mut registry);
        identity::jobs(&self.identity, &mut registry);
        self.money.jobs(&mut registry);
        self.documents.jobs(&mut registry);
        self.trust.jobs(&mut registry);
        self.marketplace.jobs(&mut registry);
        self.organizations.jobs(&mut registry);
        self.messaging.jobs(&mut registry);
        self.backoffice.jobs(&mut registry);
        self.webhooks.jobs(&mut registry);
        let db = self.db.clone();
        registry.every("idempotency.sweep", Duration::from_secs(3600), move || {
            let db = db.clone();
            async move { platform::db::sweep_replies(&db).await.map(drop) }
        });
        registry
    }

    /// A set-up link if nobody can administer the platform yet.
    pub async fn first_setup_link(&self) -> Result<Option<String>> {
        if self.identity.setup.is_needed().await? {
            return self.setup_link().await.map(Some);
        }
        Ok(None)
    }

    /// A new one-time link that makes an admin.
    pub async fn setup_link(&self) -> Result<String> {
        let link = self.identity.setup.create_link(&Caller::nobody()).await?;
        Ok(link.url.expose().clone())
    }

    fn edge(&self) -> Result<Arc<Edge>> {
        let server = &self.config.server;
        Ok(Edge::new(EdgeOptions {
            world: self.db.world().clone(),
            users: self.users.clone(),
            standings: Arc::new(self.organizations.clone()),
            tickets: Arc::new(Tickets(self.messaging.tickets.clone())),
            limiter: self.limiter.clone(),
            load: self.load.clone(),
            origins: Origins::new(&self.public_url, &server.cors_origins),
            proxies: TrustedProxies::parse(&server.trusted_proxies)?
                .reading(forwarded_header(server.forwarded_header)),
            https: self.public_url.starts_with("https://"),
            request_timeout: Duration::from_secs(server.request_timeout_seconds),
            transfer_timeout: Duration::from_secs(server.transfer_timeout_seconds),
            server_timing: self.config.server_timing(),
            admin_second_factor: self.config.accounts.admin_second_factor,
            step_up_within: Duration::from_secs(
                u64::from(self.config.accounts.step_up_minutes) * 60,
            ),
        }))
    }
}

/// Whose a ticket is, as the edge asks it.
struct Tickets(messaging::ticket::Service);

impl gateway::Tickets for Tickets {
    fn redeem<'a>(&'a self, ticket: &'a str) -> BoxFuture<'a, Result<Arc<kernel::Principal>>> {
        self.0.redeem(ticket).boxed()
    }
}

fn forwarded_header(header: config::ForwardedHeader) -> gateway::ForwardedHeader {
    match header {
        config::ForwardedHeader::XForwardedFor => gateway::ForwardedHeader::XForwardedFor,
        config::ForwardedHeader::Forwarded => gateway::ForwardedHeader::Forwarded,
    }
}

/// Whoever has tables: what they hold of people is exported and erased through them. A test walks
/// the schema and fails for a table that none of them knows.
pub fn holders() -> Vec<Arc<dyn Holder>> {
    vec![
        Arc::new(platform::privacy::Own),
        Arc::new(identity::closing::Held),
        Arc::new(documents::Held),
        Arc::new(trust::Held),
        Arc::new(marketplace::Held),
        Arc::new(money::Held),
        Arc::new(messaging::Held),
        Arc::new(orders::Held),
        Arc::new(organizations::Held),
        Arc::new(backoffice::Held),
    ]
}

/// Where the back office looks at how the platform is.
fn sources(
    db: &Db,
    config: &Config,
    fleet: &Arc<Fleet>,
    blobs: &platform::blob::Blobs,
) -> backoffice::system::Sources {
    use backoffice::system::{Component, Probe, Sources, State};
    let up = |is_up| if is_up { State::Up } else { State::Down };
    let of_fleet = Arc::clone(fleet);
    let redis: Probe = Arc::new(move || {
        let health = of_fleet.health();
        let component = Component::new("redis", health.redis.map_or(State::Off, up));
        let component = component.with("revocations", health.liveness.as_str());
        std::future::ready(component).boxed()
    });
    let (blobs, in_bucket) = (blobs.clone(), config.files.s3_bucket.is_some());
    let files: Probe = Arc::new(move || {
        let blobs = blobs.clone();
        async move {
            let asked = tokio::time::timeout(PROBE_MAX, blobs.probe()).await;
            let component = Component::new("blobs", up(matches!(asked, Ok(Ok(())))));
            component.with("store", if in_bucket { "s3" } else { "disk" })
        }
        .boxed()
    });
    let (mails, in_sink) = (db.clone(), config.mail_sink());
    let mail: Probe = Arc::new(move || {
        let db = mails.clone();
        async move { telemetry::mail_state(&db, in_sink).await }.boxed()
    });
    let measured = db.clone();
    let metrics: backoffice::system::Metrics = Arc::new(move || {
        let db = measured.clone();
        async move {
            telemetry::measure(&db).await;
            telemetry::metrics().ok().map(|metrics| metrics.render())
        }
        .boxed()
    });
    Sources {
        service: config.server.role.as_str(),
        probes: vec![redis, files, mail],
        metrics: Some(metrics),
        inbox: telemetry::inbox(),
        ..Sources::since(db.world().now())
    }
}

/// Who may be sent money: whoever has an account in good standing.
struct Payees(Arc<dyn Users>);

/// The organizations that ask wallets, by the name that an admin has approved.
struct Askers(Arc<dyn Users>);

impl trust::presentation::Askers for Askers {
    fn name(&self, user: Id<User>) -> BoxFuture<'_, Result<Option<String>>> {
        async move {
            match self.0.profile(user).await {
                Ok(profile) => Ok(Some(profile.name)),
                Err(error) if error.kind() == Kind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }
}

impl money::wallet::Payees for Payees {
    fn may_receive(&self, user: Id<User>) -> BoxFuture<'_, Result<bool>> {
        async move {
            match self.0.profile(user).await {
                Ok(profile) => Ok(profile.status == Status::Active),
                Err(error) if error.kind() == Kind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }
}

/// By default only doors that a guesser would try and what is costly are limited: plain reads and
/// writes are bounded by what the machine can do.
fn quotas(config: &Config) -> Quotas {
    if !config.server.rate_limits {
        return Quotas::NONE;
    }
    let hourly = |count: u32| Some(Quota::per_hour(count).burst(count.div_ceil(4)));
    let per_minute = |count: u32| (count > 0).then(|| Quota::per_minute(count));
    Quotas {
        read: per_minute(config.limits.reads_per_minute),
        write: per_minute(config.limits.writes_per_minute),
        register_everyone: hourly(config.limits.registrations_per_hour),
        mail_everyone: hourly(config.limits.mails_per_hour),
        ..Quotas::default()
    }
}

fn build_limiter(config: &Config, master_key: &MasterKey, redis: Option<&Arc<Redis>>) -> Limiter {
    let limiter = Limiter::new(quotas(config));
    let Some(redis) = redis else { return limiter };
    let when_away = match config.limits.when_redis_is_away {
        WhenRedisIsAway::Local => WhenAway::Local,
        WhenRedisIsAway::Refuse => WhenAway::Refuse,
    };
    limiter.shared(Arc::clone(redis), master_key.derive("limits/subjects"), when_away)
}

/// A store that rows are still being moved into is not the platform yet.
async fn refuse_half_filled(db: &Db) -> Result<()> {
    if db.is_being_filled().await?.is_none() {
        return Ok(());
    }
    let message = "The database is being filled by `verza migrate-data` and is not whole: run that \
                   command again until it says that both sides are the same.";
    Err(Error::unavailable("store_half_filled", message))
}

async fn refuse_stale_schema(db: &Db) -> Result<()> {
    let missing =
        db.migration_status(MIGRATIONS).await?.iter().filter(|step| !step.applied).count();
    if missing == 0 {
        return Ok(());
    }
    let message = format!("{missing} migrations are missing. Apply them with: verza migrate up");
    Err(Error::unavailable("stale_schema", message))
}

fn build_identity(
    db: &Db,
    config: &Config,
    settings: &Settings,
    master_key: &MasterKey,
    mailer: &Mailer,
    limiter: &Arc<Limiter>,
) -> Result<Arc<identity::Identity>> {
    let public_url = identity::PublicUrl::parse(&config.server.public_url())?;
    let accounts = &config.accounts;
    let mut options = identity::IdentityOptions::new(
        db.clone(),
        master_key.clone(),
        mailer.clone(),
        limiter.clone(),
        public_url,
    );
    let days = |days: u32| Duration::from_secs(u64::from(days) * 24 * 3600);
    options.registration_open = settings.public.registration_open.clone();
    options.closing.grace = days(config.privacy.grace_days);
    options.closing.retention = days(config.privacy.retention_days);
    options.hashing = hashing(accounts);
    options.sessions = policies(&config.sessions);
    options.tokens.lifetime = Duration::from_secs(config.sessions.access_token_minutes * 60);
    options.facades = identity::facade::Policy {
        registration: match config.facades.registration {
            FacadeRegistration::Immediate => identity::facade::Registration::Immediate,
            FacadeRegistration::Confirmed => identity::facade::Registration::Confirmed,
        },
        token_in_path: config.facades.token_in_path,
    };
    options.name.clone_from(&config.trust.issuer_name);
    options.admin_second_factor = accounts.admin_second_factor;
    options.kratos = kratos_options(config);
    identity::Identity::new(options)
}

fn hashing(accounts: &config::Accounts) -> identity::password::Hashing {
    let is_bcrypt = accounts.password_hash == PasswordHash::Bcrypt;
    identity::password::Hashing {
        memory_kib: accounts.argon2_memory_kib,
        passes: accounts.argon2_passes,
        bcrypt_cost: is_bcrypt.then_some(accounts.bcrypt_cost),
        at_once: accounts.hashing_threads,
        ..identity::password::Hashing::default()
    }
}

/// What verifiers answer with for their work.
fn bonding(config: &Config) -> Result<marketplace::Bonding> {
    let currency = config.payments.default_currency.parse()?;
    let least = config.marketplace.required_bond;
    Ok(marketplace::Bonding {
        required: (least > 0).then_some(Money::new(least, currency)),
        slash_bps: config.marketplace.slash_basis_points,
    })
}

fn money_options(
    db: &Db,
    config: &Config,
    settings: &Settings,
    master_key: &MasterKey,
    local_url: &str,
    users: Arc<dyn Users>,
) -> Result<money::Options> {
    let mut options = money::Options::new(db.clone());
    options.payees = Some(Arc::new(Payees(users)));
    options.default_currency = config.payments.default_currency.parse()?;
    options.job_fee_bps = settings.fee_bps.clone();
    options.staking = tariffs::staking(&config.staking, options.default_currency)?;
    options.billing = tariffs::billing(&config.billing)?;
    offer_providers(&mut options, config, settings)?;
    if config.sandbox() {
        let secret = |label: &str| Secret::new(hex::encode(master_key.derive(label).expose()));
        let url = config.payments.sandbox_url.as_deref().unwrap_or(local_url);
        let sandbox =
            money::sandbox::Options::at(url, secret("sandbox/api"), secret("sandbox/webhook"));
        options.sandbox = Some(money::sandbox::Options {
            public_url: config.payments.sandbox_url.clone().unwrap_or(config.server.public_url()),
            callback_url: format!("{local_url}/v1/payments/webhook/sandbox"),
            ..sandbox
        });
    }
    Ok(options)
}

/// Who money is collected by and paid out through, and how much of it may leave.
fn offer_providers(
    options: &mut money::Options,
    config: &Config,
    settings: &Settings,
) -> Result<()> {
    let payments = &config.payments;
    let return_url = payments.return_url.clone().unwrap_or(config.server.public_url());
    options.paystack = payments.paystack_secret_key.clone().map(|secret_key| {
        money::provider::paystack::Settings {
            base_url: payments.paystack_url.clone(),
            secret_key,
            return_url: Some(return_url.clone()),
        }
    });
    options.stripe = stripe(payments, return_url.clone())?;
    options.paypal = paypal(payments, return_url)?;
    options.crypto = signer(payments)?;
    let asset = options.default_currency;
    options.payouts = money::payout::Policy {
        cooling: Duration::from_secs(payments.destination_cooling_hours * 3600),
        per_day: settings.withdrawals_per_day.clone(),
        daily_limit: payments
            .withdrawal_daily_limit
            .map(|most| (asset, most))
            .into_iter()
            .collect(),
        review_above: vec![(asset, settings.withdrawal_review_above.clone())],
        fees: money::payout::Fee::everywhere(payments.withdrawal_fee_basis_points),
        ..money::payout::Policy::default()
    };
    Ok(())
}

/// That what is set of a provider is all that it needs.
fn check_providers(payments: &Payments) -> Result<()> {
    stripe(payments, String::new())?;
    paypal(payments, String::new())?;
    signer(payments)?;
    Ok(())
}

fn stripe(
    payments: &Payments,
    return_url: String,
) -> Result<Option<money::provider::stripe::Settings>> {
    match (&payments.stripe_secret_key, &payments.stripe_webhook_secret) {
        (Some(secret_key), Some(webhook_secret)) => Ok(Some(money::provider::stripe::Settings {
            base_url: payments.stripe_url.clone(),
            secret_key: secret_key.clone(),
            webhook_secret: webhook_secret.clone(),
            return_url,
        })),
        (None, None) => Ok(None),
        _ => {
            let message = "Stripe needs payments.stripe_secret_key and \
                           payments.stripe_webhook_secret, both.";
            Err(Error::invalid("invalid_configuration", message))
        }
    }
}

fn paypal(
    payments: &Payments,
    return_url: String,
) -> Result<Option<money::provider::paypal::Settings>> {
    let Payments { paypal_client_id, paypal_client_secret, paypal_webhook_id, .. } = payments;
    match (paypal_client_id, paypal_client_secret, paypal_webhook_id) {
        (Some(client_id), Some(client_secret), Some(webhook_id)) => {
            Ok(Some(money::provider::paypal::Settings {
                base_url: payments.paypal_url.clone(),
                client_id: client_id.clone(),
                client_secret: client_secret.clone(),
                webhook_id: webhook_id.clone(),
                certificate_root: payments.paypal_certificate_root.clone(),
                return_url,
            }))
        }
        (None, None, None) => Ok(None),
        _ => {
            let message = "PayPal needs payments.paypal_client_id, payments.paypal_client_secret \
                           and payments.paypal_webhook_id, all of them.";
            Err(Error::invalid("invalid_configuration", message))
        }
    }
}

fn signer(payments: &Payments) -> Result<Option<money::provider::crypto::Settings>> {
    let Payments { crypto_url, crypto_key, crypto_webhook_secret, .. } = payments;
    match (crypto_url, crypto_key, crypto_webhook_secret) {
        (Some(base_url), Some(key), Some(webhook_secret)) => {
            Ok(Some(money::provider::crypto::Settings {
                base_url: base_url.clone(),
                key: key.clone(),
                webhook_secret: webhook_secret.clone(),
                chain: payments.crypto_chain,
                confirmations: payments.crypto_confirmations.max(1),
            }))
        }
        (None, None, None) => Ok(None),
        _ => {
            let message = "A signer needs payments.crypto_url, payments.crypto_key and \
                           payments.crypto_webhook_secret, all of them.";
            Err(Error::invalid("invalid_configuration", message))
        }
    }
}

/// The routes as they are described: over an empty database in memory, which nobody asks.
pub fn routes_for_description() -> Result<Vec<Route>> {
    let folder = std::env::temp_dir().join(format!("verza-describe-{}", std::process::id()));
    let world = platform::world::system();
    let db = Db::open_sqlite(&SqliteOptions::at(":memory:"), world)?;
    let mut config = Config::default();
    config.storage.data_dir.clone_from(&folder);
    let key = MasterKey::new(db.world().random());
    let platform = Platform::over(db, config, key, None, "http://localhost:8080");
    // The folder for files is made by looking at it.
    let _ = std::fs::remove_dir_all(&folder);
    let platform = platform?;
    Ok(platform.routes(&platform.health(Arc::default())))
}

impl Platform {
    /// Everything that clients reach, behind the edge.
    pub fn router(&self, readiness: Arc<Readiness>) -> Result<Router> {
        let routes = self.routes(&self.health(readiness));
        let router = gateway::router(&self.edge()?, routes)?;
        let router = match &self.money.sandbox {
            Some(sandbox) => router.merge(sandbox.router()),
            None => router,
        };
        Ok(if self.config.mail_viewer() {
            router.merge(platform::mail::viewer(self.db.clone()))
        } else {
            router
        })
    }

    /// Depths of queues and pools, looked at when somebody asks.
    fn gauges(&self) -> Gauges {
        let db = self.db.clone();
        Arc::new(move || {
            let db = db.clone();
            async move { telemetry::measure(&db).await }.boxed()
        })
    }

    fn health(&self, readiness: Arc<Readiness>) -> Health {
        let commit = option_env!("VERZA_COMMIT").unwrap_or("unknown");
        let (db, fleet) = (self.db.clone(), Arc::clone(&self.fleet));
        Health { db, fleet, readiness, version: crate::VERSION, commit }
    }
}

/// A process that serves.
pub struct Running {
    pub platform: Platform,
    /// Where clients are served; of a process that serves none, the internal listener.
    pub address: SocketAddr,
    pub ops_address: SocketAddr,
    /// None where gRPC is not served.
    pub grpc_address: Option<SocketAddr>,
    local_url: String,
    readiness: Arc<Readiness>,
    ends: Ends,
}

/// How a platform is stopped: what serves first, and what it stands on when that is done.
struct Ends {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    last: CancellationToken,
    supporting: Vec<JoinHandle<()>>,
}

/// Where a process listens.
struct Sockets {
    /// For clients: address and listener of a process that serves any.
    clients: Option<TcpListener>,
    ops: TcpListener,
    grpc: Option<TcpListener>,
    redirect: Option<TcpListener>,
    /// The platform's own requests to itself where clients come by HTTPS: they have no certificate
    /// to check, and stay in here.
    inner: Option<TcpListener>,
}

impl Sockets {
    /// Before anything else is done: a taken port is the most common reason not to start.
    async fn open(config: &Config) -> Result<Self> {
        let server = &config.server;
        let mut sockets = Self {
            clients: None,
            ops: gateway::listen(server.ops_listen, "--ops-listen").await?,
            grpc: grpc::listen(config).await?,
            redirect: None,
            inner: None,
        };
        if server.role.serves_clients() {
            sockets.clients = Some(gateway::listen(server.listen, "--listen").await?);
            if let Some(address) = server.redirect_listen {
                sockets.redirect = Some(gateway::listen(address, "server.redirect_listen").await?);
            }
            if server.tls != TlsMode::Off {
                sockets.inner = Some(gateway::listen(INNER, "--listen").await?);
            }
        }
        Ok(sockets)
    }
}

fn local(listener: &TcpListener) -> Result<SocketAddr> {
    listener
        .local_addr()
        .map_err(|error| Error::internal("a listener has no address").because(error))
}

/// Starts what this process is.
pub async fn start(config: Config) -> Result<Running> {
    crate::choose_cryptography();
    // Before anything is made that counts: what is made earlier counts for nobody, for ever.
    telemetry::metrics()?;
    let sockets = Sockets::open(&config).await?;
    let ops_address = local(&sockets.ops)?;
    let grpc_address = sockets.grpc.as_ref().map(local).transpose()?;
    let address = sockets.clients.as_ref().map(local).transpose()?;
    let mut config = config;
    config.server.listen = address.unwrap_or(config.server.listen);
    check(&config)?;
    let folder = DataDir::claim(&config.storage.data_dir)?;
    let inner = sockets.inner.as_ref().map(local).transpose()?;
    // Who serves no clients reaches the platform as they do.
    let local_url = match inner.or(address) {
        Some(address) => format!("http://{}", reachable(address)),
        None => config.server.public_url(),
    };
    let platform = Box::pin(Platform::build(config, Some(folder), &local_url)).await?;
    let stop = CancellationToken::new();
    let readiness = Arc::new(Readiness::default());
    let ends = serve(&platform, sockets, &readiness, &stop)?;
    readiness.set(true);
    let address = address.unwrap_or(ops_address);
    Ok(Running { platform, address, ops_address, grpc_address, local_url, readiness, ends })
}

/// Everything that goes on in this process until it is told to stop.
fn serve(
    platform: &Platform,
    sockets: Sockets,
    readiness: &Arc<Readiness>,
    stop: &CancellationToken,
) -> Result<Ends> {
    let options = ServerOptions {
        grace: Duration::from_secs(platform.config.server.shutdown_grace_seconds),
        connections_max: platform.config.server.connections_max.max(1),
        ..ServerOptions::default()
    };
    let mail_sink = platform.config.mail_sink().then(|| platform.db.clone());
    let (metrics, gauges) = (telemetry::metrics()?, platform.gauges());
    let ops = gateway::ops_router(Ops { metrics, gauges, mail_sink })
        .merge(gateway::health::router(&platform.health(Arc::clone(readiness))));
    let last = CancellationToken::new();
    let mut supporting = start_support(platform, &last);
    let ops = gateway::serve(sockets.ops, ops, options.clone(), last.clone());
    // Clients wait in line, and operators do not.
    let load = platform.config.load.shedding.then(|| Arc::clone(&platform.load));
    let options = ServerOptions { load, ..options };
    let serve = |listener, router: Router, options: &ServerOptions| {
        tokio::spawn(gateway::serve(listener, router, options.clone(), stop.clone()))
    };
    supporting.push(tokio::spawn(ops));
    let mut tasks = Vec::new();
    if let Some(listener) = sockets.clients {
        let router = platform.router(Arc::clone(readiness))?;
        let redirect = gateway::redirect_router(&platform.public_url);
        let acme = acme(&platform.config)?;
        let acme =
            acme.map(|options| Acme::new(options, platform.db.world().clone())).transpose()?;
        let tls = tls(&platform.config, acme.as_deref())?;
        let https = tls.clone().map(|tls| Https { tls, redirect: redirect.clone() });
        let inner = sockets.inner.map(|listener| serve(listener, router.clone(), &options));
        tasks.extend(inner);
        let secured = ServerOptions { tls: https, ..options.clone() };
        tasks.push(serve(listener, router, &secured));
        let plain = match &acme {
            Some(acme) => acme.router(redirect),
            None => redirect,
        };
        tasks.extend(sockets.redirect.map(|listener| serve(listener, plain, &options)));
        if let Some(tls) = tls {
            let stop = stop.clone();
            tasks.push(tokio::spawn(async move { tls.follow(stop).await }));
        }
        if let Some(acme) = acme {
            let stop = stop.clone();
            tasks.push(tokio::spawn(async move { acme.tend(stop).await }));
        }
    }
    if let Some(listener) = sockets.grpc {
        let services = platform.grpc_services()?;
        tasks.push(tokio::spawn(grpc::serve(listener, services, stop.clone(), options.grace)));
    }
    if platform.config.server.role.serves_clients() {
        let (hub, chat) = (Arc::clone(&platform.messaging.hub), platform.messaging.chat.clone());
        let (for_hub, for_chat) = (stop.clone(), stop.clone());
        tasks.push(tokio::spawn(async move { hub.run(for_hub).await }));
        tasks.push(tokio::spawn(async move { chat.run(for_chat).await }));
    }
    tasks.extend(start_workers(platform, stop, options.grace));
    Ok(Ends { stop: stop.clone(), tasks, last, supporting })
}

/// Any free port of this machine.
const INNER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Which authority is asked for a certificate.
fn acme(config: &Config) -> Result<Option<AcmeOptions>> {
    let (server, acme) = (&config.server, &config.acme);
    if server.tls != TlsMode::Acme {
        return Ok(None);
    }
    let wrong = |what: &'static str| Err(Error::invalid("invalid_configuration", what));
    if server.tls_certificate.is_some() || server.tls_key.is_some() {
        return wrong(
            "server.tls = \"acme\" makes its own files: leave out server.tls_certificate.",
        );
    }
    if server.redirect_listen.is_none() {
        return wrong(
            "server.tls = \"acme\" needs server.redirect_listen, such as 0.0.0.0:80: the authority \
             looks for us there.",
        );
    }
    let host = server.host();
    let is_name = host.parse::<IpAddr>().is_err() && host.contains('.');
    if !is_name || !server.public_url().starts_with("https://") {
        return wrong(
            "server.tls = \"acme\" needs the name that the certificate is for: set \
             server.public_url, such as https://verza.example.",
        );
    }
    Ok(Some(AcmeOptions {
        directory: acme.directory.clone(),
        contact: acme.contact.clone(),
        hosts: vec![host],
        authority: acme.authority.clone(),
        folder: config.storage.data_dir.join("acme"),
    }))
}

/// The files of the certificate, where they are what is shown.
fn named_certificate(config: &Config) -> Result<Option<CertificateFiles>> {
    let server = &config.server;
    match (server.tls, &server.tls_certificate, &server.tls_key) {
        (TlsMode::Off | TlsMode::Acme | TlsMode::Dev, None, None) => Ok(None),
        (TlsMode::Files, Some(certificate), Some(key)) => {
            Ok(Some(CertificateFiles { certificate: certificate.clone(), key: key.clone() }))
        }
        _ => {
            let message = "Name both server.tls_certificate and server.tls_key with server.tls = \
                           \"files\", and neither of them otherwise.";
            Err(Error::invalid("invalid_configuration", message))
        }
    }
}

/// The certificate that is made for this machine, or was.
pub(crate) fn development_certificate(config: &Config) -> Result<CertificateFiles> {
    let folder = config.storage.data_dir.join("tls");
    let (hosts, world) = ([config.server.host()], platform::world::system());
    CertificateFiles::for_development(&folder, &hosts, &world)
}

/// HTTPS as it is configured.
fn tls(config: &Config, acme: Option<&Acme>) -> Result<Option<Arc<Tls>>> {
    let server = &config.server;
    if let Some(acme) = acme {
        return Tls::new(acme.files()).map(Some);
    }
    let files = match named_certificate(config)? {
        Some(files) => files,
        None if server.tls == TlsMode::Dev => development_certificate(config)?,
        None => return Ok(None),
    };
    Tls::new(files).map(Some)
}

fn start_workers(
    platform: &Platform,
    stop: &CancellationToken,
    grace: Duration,
) -> Vec<JoinHandle<()>> {
    let (identity, trust) = (platform.identity.clone(), platform.trust.clone());
    let stopped = || stop.clone();
    let backoffice = platform.backoffice.clone();
    let (for_tending, for_keys, for_office) = (stopped(), stopped(), stopped());
    let mut tasks = vec![
        tokio::spawn(async move { identity.tend(for_tending).await }),
        tokio::spawn(async move { take_up_keys(&trust, &for_keys).await }),
        tokio::spawn(async move { backoffice.tend(for_office).await }),
    ];
    if platform.config.server.role.works() {
        let journal = Runner::new(platform.db.clone(), platform.readers());
        let worker = platform.worker();
        let caller = platform.webhooks.caller();
        let (for_journal, for_jobs, for_calls) = (stopped(), stopped(), stopped());
        tasks.push(tokio::spawn(async move { journal.run(for_journal).await }));
        tasks.push(tokio::spawn(async move { worker.run(for_jobs, grace).await }));
        tasks.push(tokio::spawn(async move { caller.run(for_calls, grace).await }));
    }
    tasks
}

/// What requests stand on for as long as there are any.
fn start_support(platform: &Platform, last: &CancellationToken) -> Vec<JoinHandle<()>> {
    let (fleet, for_fleet) = (Arc::clone(&platform.fleet), last.clone());
    let (limiter, for_limits) = (Arc::clone(&platform.limiter), last.clone());
    let (load, for_load) = (Arc::clone(&platform.load), last.clone());
    let world = platform.db.world().clone();
    vec![
        tokio::spawn(async move { load.watch(for_load).await }),
        tokio::spawn(async move { fleet.run(for_fleet).await }),
        tokio::spawn(async move { limiter.settle(&world, &for_limits).await }),
    ]
}

/// Keys that another process has made are taken up well before they sign.
async fn take_up_keys(trust: &Trust, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(HEARTBEAT) => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = trust.reload_keys().await {
            tracing::warn!(%error, "the signing keys were not read again");
        }
    }
}

impl Running {
    /// Where this machine reaches the platform.
    pub fn local_url(&self) -> String {
        self.local_url.clone()
    }

    /// Stops: load balancers are told, and given the time to notice. Then nobody new is let in,
    /// requests in flight finish and workers hand back what they hold, within the grace. Last goes
    /// what those stood on, and the files are closed. What the last requests left to do is done
    /// after the next start.
    pub async fn finish(self) {
        let Ends { stop, tasks, last, supporting } = self.ends;
        self.readiness.set(false);
        let delay = self.platform.config.server.shutdown_delay_seconds;
        if delay > 0 {
            tokio::time::sleep(Duration::from_secs(delay)).await;
        }
        stop.cancel();
        futures_util::future::join_all(tasks).await;
        last.cancel();
        futures_util::future::join_all(supporting).await;
        self.platform.db.close().await;
        tracing::info!("stopped");
    }
}
