//! The platform put together: configuration in, running services out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gateway::{Edge, EdgeOptions, Health, Origins, Readiness, ServerOptions, TrustedProxies};
use kernel::id::kinds::User;
use kernel::{Asset, Caller, Error, Id, Kind, Result, Secret};
use platform::blob::Blobs;
use platform::crypto::MasterKey;
use platform::db::{Db, Migrations, PostgresOptions, SqliteOptions};
use platform::http::{Info, Route};
use platform::jobs::{Registry, Worker};
use platform::journal::{Reader, Runner};
use platform::limits::{Limiter, Quotas};
use platform::mail::Mailer;
use rpc::users::{Status, Users};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trust::{Trust, TrustOptions};

use crate::config::{Config, PasswordHash};
use crate::datadir::{self, DataDir};
use crate::mail;
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
];

/// What the API says of itself.
pub const API_INFO: Info<'static> = Info {
    title: "Verza",
    version: crate::VERSION,
    description: "Documents about people, verified: escrow, verdicts, and signed credentials \
                  that anyone can check. Amounts are whole minor units: 5000 with NGN is fifty \
                  naira. Errors are RFC 9457 problems. Lists are arrays with a Link header.",
};

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
    pub backoffice: backoffice::Context,
    pub mailer: Mailer,
    limiter: Arc<Limiter>,
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
    if config.marketplace.fee_basis_points > 10_000 {
        return Err(wrong("marketplace.fee_basis_points is at most 10000, which is all.".into()));
    }
    if !(10..=15).contains(&config.accounts.bcrypt_cost) {
        return Err(wrong("accounts.bcrypt_cost is between 10 and 15.".into()));
    }
    if config.trust.validity_days == 0 {
        return Err(wrong("trust.validity_days must be at least 1.".into()));
    }
    identity::PublicUrl::parse(&config.server.public_url())
        .map_err(|error| wrong(format!("server.public_url: {error}")))?;
    trust::key::did::did_web(&config.server.public_url())
        .map_err(|error| wrong(format!("server.public_url: {error}.")))?;
    mail::options(config)?;
    TrustedProxies::parse(&config.server.trusted_proxies)
        .map_err(|error| wrong(format!("server.trusted_proxies: {error}.")))?;
    if let Some(key) = &config.secrets.master_key {
        datadir::parse_key(key.expose(), "secrets.master_key")?;
    } else if config.database.url.is_some() {
        return Err(datadir::shared_key_is_missing());
    }
    Ok(())
}

fn sqlite_options(config: &Config, path: &Path) -> SqliteOptions {
    SqliteOptions {
        statement_timeout: Duration::from_secs(config.database.statement_timeout_seconds),
        ..SqliteOptions::at(path)
    }
}

fn connect_postgres(config: &Config, url: &Secret<String>) -> Result<Db> {
    let options = PostgresOptions {
        connections: config.database.connections.max(1),
        statement_timeout: Duration::from_secs(config.database.statement_timeout_seconds),
        transaction_pooler: config.database.transaction_pooler,
        ..PostgresOptions::at(url.expose().clone())
    };
    Db::connect_postgres(&options, platform::world::system())
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
/// change.
pub async fn open_platform(config: &Config) -> Result<Platform> {
    check(config)?;
    let folder = match DataDir::claim(&config.storage.data_dir) {
        Ok(folder) => Some(folder),
        Err(error) if error.code() == "data_dir_in_use" => None,
        Err(error) => return Err(error),
    };
    let local_url = format!("http://{}", reachable(config.server.listen));
    Platform::build(config.clone(), folder, &local_url).await
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
        let db = open(&config)?;
        if config.database.migrate_at_start {
            db.migrate(MIGRATIONS).await?;
        } else {
            refuse_stale_schema(&db).await?;
        }
        let master_key = match &folder {
            Some(folder) => folder.master_key(&config, db.world())?,
            None => datadir::existing_master_key(&config)?,
        };
        let platform = Self::over(db, config, master_key, folder, local_url)?;
        platform.identity.ensure_keys().await?;
        platform.trust.start().await?;
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
        let public_url = config.server.public_url();
        let quotas = if config.server.rate_limits { quotas() } else { Quotas::NONE };
        let limiter = Arc::new(Limiter::new(quotas));
        let mailer = Mailer::new(db.clone(), master_key.clone(), mail::options(&config)?);
        let identity = build_identity(&db, &config, &master_key, &mailer, &limiter)?;
        let money = money::Context::new(money_options(
            &db,
            &config,
            &master_key,
            local_url,
            identity.clone(),
        )?)?;
        let trust = Trust::new(TrustOptions {
            db: db.clone(),
            master_key,
            public_url: public_url.clone(),
            issuer_name: config.trust.issuer_name.clone(),
            validity: Duration::from_secs(u64::from(config.trust.validity_days) * 24 * 3600),
        })?;
        let blobs = Blobs::on_disk(&config.storage.data_dir, db.world().clone())?;
        let documents = documents::Documents::new(documents::Parts {
            db: db.clone(),
            blobs,
            issuance: trust.issuance.clone(),
            mailer: mailer.clone(),
            options: documents::Options {
                owner_bytes_max: config.storage.quota_mb * 1024 * 1024,
                ..documents::Options::at(public_url.clone())
            },
        });
        let users: Arc<dyn Users> = identity.clone();
        let marketplace = marketplace::Marketplace::new(marketplace::Options {
            db: db.clone(),
            users: users.clone(),
            wallets: money.wallet.clone(),
            credentials: documents.credentials.clone(),
            files: documents.files.clone(),
            issuance: trust.issuance.clone(),
            fee_bps: config.marketplace.fee_basis_points,
            acceptance_sla: Duration::from_secs(config.marketplace.acceptance_hours * 3600),
            currency: config.payments.default_currency.parse()?,
        });
        let messaging = messaging::Context::new(messaging::Options { db: db.clone() });
        let backoffice = backoffice::Context::new(backoffice::Options { db: db.clone() });
        Ok(Self {
            config,
            db,
            public_url,
            identity,
            money,
            documents,
            trust,
            marketplace,
            messaging,
            backoffice,
            mailer,
            limiter,
            _folder: folder,
        })
    }

    /// Every route of the platform but the pages that describe them.
    fn routes(&self, health: &Health) -> Vec<Route> {
        let mut routes = gateway::health::routes(health);
        routes.extend(identity::routes(&self.identity));
        routes.extend(self.money.routes());
        routes.extend(self.documents.routes());
        routes.extend(self.trust.routes());
        routes.extend(self.marketplace.routes());
        routes.extend(self.messaging.routes());
        routes.extend(self.backoffice.routes());
        let docs = gateway::docs_routes(&API_INFO, &routes);
        routes.extend(docs);
        routes
    }

    /// Everybody who follows the journal.
    fn readers(&self) -> Vec<Arc<dyn Reader>> {
        let mut readers = self.trust.readers();
        readers.extend(self.marketplace.readers());
        readers.extend(self.messaging.readers());
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
        self.marketplace.jobs(&mut registry);
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
            users: self.identity.clone(),
            limiter: self.limiter.clone(),
            origins: Origins::new(&self.public_url, &server.cors_origins),
            proxies: TrustedProxies::parse(&server.trusted_proxies)?,
            https: self.public_url.starts_with("https://"),
            request_timeout: Duration::from_secs(server.request_timeout_seconds),
            transfer_timeout: Duration::from_secs(server.transfer_timeout_seconds),
        }))
    }
}

/// Who may be sent money: whoever has an account in good standing.
struct Payees(Arc<dyn Users>);

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
fn quotas() -> Quotas {
    Quotas { read: None, write: None, ..Quotas::default() }
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
    options.hashing.memory_kib = accounts.argon2_memory_kib;
    options.hashing.passes = accounts.argon2_passes;
    options.hashing.bcrypt_cost =
        (accounts.password_hash == PasswordHash::Bcrypt).then_some(accounts.bcrypt_cost);
    options.hashing.at_once = accounts.hashing_threads;
    identity::Identity::new(options)
}

fn money_options(
    db: &Db,
    config: &Config,
    master_key: &MasterKey,
    local_url: &str,
    users: Arc<dyn Users>,
) -> Result<money::Options> {
    let mut options = money::Options::new(db.clone());
    options.payees = Some(Arc::new(Payees(users)));
    options.default_currency = config.payments.default_currency.parse()?;
    options.job_fee_bps = config.marketplace.fee_basis_points;
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

    fn health(&self, readiness: Arc<Readiness>) -> Health {
        let commit = option_env!("VERZA_COMMIT").unwrap_or("unknown");
        Health { db: self.db.clone(), readiness, version: crate::VERSION, commit }
    }
}

/// A platform that serves.
pub struct Running {
    pub platform: Platform,
    pub address: SocketAddr,
    pub ops_address: SocketAddr,
    stop: CancellationToken,
    readiness: Arc<Readiness>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts everything in this process.
pub async fn start(config: Config) -> Result<Running> {
    crate::choose_cryptography();
    // Before anything else is done: a taken port is the most common reason not to start.
    let listener = gateway::listen(config.server.listen, "--listen").await?;
    let ops_listener = gateway::listen(config.server.ops_listen, "--ops-listen").await?;
    let local = |listener: &tokio::net::TcpListener| {
        listener
            .local_addr()
            .map_err(|error| Error::internal("a listener has no address").because(error))
    };
    let (address, ops_address) = (local(&listener)?, local(&ops_listener)?);
    let mut config = config;
    config.server.listen = address;
    check(&config)?;
    let folder = DataDir::claim(&config.storage.data_dir)?;
    let local_url = format!("http://{}", reachable(address));
    let metrics = telemetry::metrics()?;
    let platform = Platform::build(config, Some(folder), &local_url).await?;

    let stop = CancellationToken::new();
    let readiness = Arc::new(Readiness::default());
    let router = platform.router(readiness.clone())?;
    let options = ServerOptions {
        grace: Duration::from_secs(platform.config.server.shutdown_grace_seconds),
        ..ServerOptions::default()
    };
    let mail_sink = platform.config.mail_sink().then(|| platform.db.clone());
    let ops = gateway::ops_router(metrics, mail_sink);
    let serve = |listener, router: Router| {
        tokio::spawn(gateway::serve(listener, router, options.clone(), stop.clone()))
    };
    let mut tasks = vec![serve(listener, router), serve(ops_listener, ops)];
    tasks.extend(start_workers(&platform, &stop, options.grace));
    readiness.set(true);
    Ok(Running { platform, address, ops_address, stop, readiness, tasks })
}

fn start_workers(
    platform: &Platform,
    stop: &CancellationToken,
    grace: Duration,
) -> Vec<JoinHandle<()>> {
    let journal = Runner::new(platform.db.clone(), platform.readers());
    let worker = platform.worker();
    let (identity, trust) = (platform.identity.clone(), platform.trust.clone());
    let stopped = || stop.clone();
    let (for_journal, for_jobs, for_tending, for_keys) =
        (stopped(), stopped(), stopped(), stopped());
    vec![
        tokio::spawn(async move { journal.run(for_journal).await }),
        tokio::spawn(async move { worker.run(for_jobs, grace).await }),
        tokio::spawn(async move { identity.tend(for_tending).await }),
        tokio::spawn(async move { take_up_keys(&trust, &for_keys).await }),
    ]
}

/// Keys that another process has made are taken up well before they sign.
async fn take_up_keys(trust: &Trust, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(HEARTBEAT) => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = trust.keys.reload().await {
            tracing::warn!(%error, "the signing keys were not read again");
        }
    }
}

impl Running {
    /// Where this machine reaches the platform.
    pub fn local_url(&self) -> String {
        format!("http://{}", reachable(self.address))
    }

    /// Stops within the grace: nobody new is let in, requests in flight finish, workers hand back
    /// what they hold, and the files are closed. What the last requests left to do is done after
    /// the next start.
    pub async fn finish(self) {
        self.readiness.set(false);
        self.stop.cancel();
        futures_util::future::join_all(self.tasks).await;
        self.platform.db.close().await;
        tracing::info!("stopped");
    }
}
