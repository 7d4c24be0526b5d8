//! The configuration: one tree, with defaults that work out of the box.
//!
//! A file is overruled by `VERZA_*` environment variables, and those by flags. A key that does
//! not exist is an error that names the nearest one that does. Every secret can be given as a
//! file: `VERZA_DATABASE_URL_FILE=/run/secrets/db`. The doc comment of a key is its
//! documentation everywhere: in `config init`, in the schema and in the guide.

mod load;
mod show;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;

use kernel::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

pub use load::{Sources, load};
pub use show::{environment_name, init_file, schema};

/// Everything that can be set.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the platform listens and how it is reached.
    pub server: Server,
    /// Files on the local disk.
    pub storage: Storage,
    /// The store of uploaded files; without a bucket it is the data folder.
    pub files: Files,
    /// The database; without a URL it is SQLite in the data folder.
    pub database: Database,
    /// What several processes over one database share; without a URL there is none.
    pub redis: Redis,
    /// How often things may be done.
    pub limits: Limits,
    /// What is refused when there is more to do than can be done.
    pub load: Load,
    /// Streams: what clients are told while it happens.
    pub streams: Streams,
    /// Keys that protect everything else.
    pub secrets: Secrets,
    /// Accounts, passwords and sessions.
    pub accounts: Accounts,
    /// How long sessions and their tokens live.
    pub sessions: Sessions,
    /// The user APIs of two older systems, below /api/users.
    pub facades: Facades,
    /// What stays of people who have closed their accounts, and for how long.
    pub privacy: Privacy,
    /// Mails; without a server they go into the sink, where a developer reads them.
    pub mail: Mail,
    /// Where people show who they are: here, at Ory Kratos, or both.
    pub identity: Identity,
    /// gRPC.
    pub grpc: Grpc,
    /// The circuit breaker before each service that is reached over the network.
    pub breaker: Breaker,
    /// Where the services are that run in processes of their own.
    pub services: Services,
    /// Payments.
    pub payments: Payments,
    /// What verifiers stake.
    pub staking: Staking,
    /// The plans of enterprises.
    pub billing: Billing,
    /// The marketplace of verifiers.
    pub marketplace: Marketplace,
    /// Orders of comments, likes and views; free unless they have a price here.
    pub orders: Orders,
    /// What rules against fraud know.
    pub fraud: Fraud,
    /// Signed verdicts.
    pub trust: Trust,
    /// Webhooks and integrations of organizations.
    pub webhooks: Webhooks,
    /// What is written to the log.
    pub log: Log,
    /// Traces of requests and jobs, sent to a collector.
    pub traces: Traces,
    /// The authority that is asked for a certificate, by ACME.
    pub acme: Acme,
}

/// Where the platform listens and how it is reached.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// What this process is: all, gateway, users or worker. See `verza help serve`.
    pub role: Role,
    /// The address for clients.
    pub listen: SocketAddr,
    /// The address for operators: metrics, and the mails that were not sent. No login guards it.
    pub ops_listen: SocketAddr,
    /// HTTPS on the address for clients: off, where a proxy in front does it or nobody needs it;
    /// files, with the certificate and key below; acme, with one that is asked for and renewed by
    /// itself; dev, with a certificate made for this machine.
    pub tls: TlsMode,
    /// The certificate chain, PEM. It is taken up anew when the file changes.
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's key, PEM.
    pub tls_key: Option<PathBuf>,
    /// An address, such as 0.0.0.0:80, whose plain HTTP is sent to the HTTPS address, and where an
    /// authority of ACME looks for us.
    pub redirect_listen: Option<SocketAddr>,
    /// How clients reach the platform. Every link in a mail, and the issuer's did:web name, are
    /// built from it. Without it: `http://localhost` or `https://localhost` and the port.
    pub public_url: Option<String>,
    /// Origins of pages that may call the API from a browser, such as https://app.example.com.
    pub cors_origins: Vec<String>,
    /// Networks of proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8.
    pub trusted_proxies: Vec<String>,
    /// The header in which they say whom they serve: x-forwarded-for, or forwarded (RFC 7239).
    pub forwarded_header: ForwardedHeader,
    /// Seconds that a request may take.
    pub request_timeout_seconds: u64,
    /// Seconds that an upload or download may take.
    pub transfer_timeout_seconds: u64,
    /// Connections that one listener keeps open at once; who comes beyond that is hung up on.
    pub connections_max: usize,
    /// Seconds between the word to stop, from which on /readyz says 503, and the end of listening:
    /// what a load balancer takes to notice.
    pub shutdown_delay_seconds: u64,
    /// Seconds that requests in flight may go on after that.
    pub shutdown_grace_seconds: u64,
    /// Threads that serve requests; 0 takes one a core.
    pub threads: usize,
    /// Whether answers say in Server-Timing how long they took. Without a word, only where the
    /// platform is reached at localhost.
    pub timing: Option<bool>,
    /// Whether costly and guessable requests (signing in, registering, mails, refreshing, uploads)
    /// are limited by address.
    pub rate_limits: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            role: Role::All,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            ops_listen: SocketAddr::from(([127, 0, 0, 1], 9464)),
            tls: TlsMode::Off,
            tls_certificate: None,
            tls_key: None,
            redirect_listen: None,
            public_url: None,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            request_timeout_seconds: 30,
            transfer_timeout_seconds: 900,
            connections_max: 20_000,
            shutdown_delay_seconds: 0,
            shutdown_grace_seconds: 30,
            threads: 0,
            timing: None,
            rate_limits: true,
        }
    }
}

impl Server {
    /// The public address, without a slash at its end.
    pub fn public_url(&self) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let scheme = if self.tls == TlsMode::Off { "http" } else { "https" };
                format!("{scheme}://localhost:{}", self.listen.port())
            }
        }
    }

    /// Whether clients are on this machine only: somebody is trying things out.
    fn is_local(&self) -> bool {
        matches!(self.host().as_str(), "localhost" | "127.0.0.1") && self.listen.ip().is_loopback()
    }

    /// The name or address in the public URL.
    pub fn host(&self) -> String {
        let url = self.public_url();
        let host = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        host.split(['/', ':']).next().unwrap_or_default().to_owned()
    }
}

impl Config {
    /// Whether mails are kept for a developer to read instead of sent.
    pub fn mail_sink(&self) -> bool {
        self.mail.smtp_host.is_none()
    }

    /// Whether the pages that show the sink are served beside the API.
    pub fn mail_viewer(&self) -> bool {
        self.mail_sink() && self.server.is_local()
    }

    /// Whether answers say how long they took.
    pub fn server_timing(&self) -> bool {
        self.server.timing.unwrap_or_else(|| self.server.is_local())
    }

    /// Whether the sandbox takes deposits.
    pub fn sandbox(&self) -> bool {
        self.payments.sandbox.unwrap_or_else(|| self.server.is_local())
    }
}

/// Files on the local disk.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// The folder of the embedded database, the uploaded files and the generated keys.
    pub data_dir: PathBuf,
    /// The folder of the uploaded files alone, where several processes share it; without it they
    /// are in the data folder, which one process has for itself.
    pub files_dir: Option<PathBuf>,
    /// Megabytes that one account may store.
    pub quota_mb: u64,
}

impl Storage {
    /// Where the uploaded files are.
    pub fn files(&self) -> &std::path::Path {
        self.files_dir.as_ref().unwrap_or(&self.data_dir)
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self { data_dir: PathBuf::from("data"), files_dir: None, quota_mb: 2048 }
    }
}

/// The store of uploaded files; without a bucket it is the data folder.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// Megabytes that one file may have.
    pub max_mb: u64,
    /// A clamd that looks at each file before anybody reads it: host:port, or the path of its
    /// socket. While it gives no verdict, files wait.
    pub clamd: Option<String>,
    /// Certificates, PEM, of the authorities whose signatures in PDFs mean something here. Without
    /// it every signer is unknown.
    pub signature_anchors: Option<PathBuf>,
    /// Issuers whose credentials are valid here when they are uploaded, by their identifiers, such as
    /// did:web:university.example or https://registry.example. This platform itself is one.
    pub trusted_issuers: Vec<String>,
    /// Certificates, PEM, of the authorities whose issuers' credentials (x5c) are valid here as well.
    pub credential_anchors: Option<PathBuf>,
    /// Whether issuers are asked for their keys and status lists when somebody uploads a credential.
    pub ask_issuers: bool,
    /// Networks that are not public in which issuers may be asked all the same, such as 10.2.0.0/16.
    pub issuer_networks: Vec<String>,
    /// A bucket of S3, or of anything that speaks S3, which must be there.
    pub s3_bucket: Option<String>,
    /// Where it is, such as https://s3.eu-central-1.amazonaws.com or http://minio:9000.
    pub s3_endpoint: Option<String>,
    /// Where clients reach the same, if not there: presigned addresses begin with it.
    pub s3_public_endpoint: Option<String>,
    /// The region, which is part of every signature.
    pub s3_region: String,
    /// Whether the bucket is named in the path (MinIO) and not in the host's name (AWS).
    pub s3_path_style: bool,
    /// What the names of all objects begin with.
    pub s3_prefix: String,
    /// The id of the access key.
    pub s3_access_key: Option<String>,
    /// The secret that goes with it.
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub s3_secret_key: Option<Secret<String>>,
    /// Encryption at rest that each write asks for: bucket (what the bucket does by itself),
    /// aes256, or kms.
    pub s3_encryption: S3Encryption,
    /// The key for kms; without it, the bucket's default.
    pub s3_kms_key: Option<String>,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            max_mb: 50,
            clamd: None,
            signature_anchors: None,
            trusted_issuers: Vec::new(),
            credential_anchors: None,
            ask_issuers: true,
            issuer_networks: Vec::new(),
            s3_bucket: None,
            s3_endpoint: None,
            s3_public_endpoint: None,
            s3_region: "us-east-1".into(),
            s3_path_style: false,
            s3_prefix: "verza/".into(),
            s3_access_key: None,
            s3_secret_key: None,
            s3_encryption: S3Encryption::Bucket,
            s3_kms_key: None,
        }
    }
}

/// Encryption at rest in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum S3Encryption {
    Bucket,
    Aes256,
    Kms,
}

/// The database; without a URL it is SQLite in the data folder.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// A PostgreSQL URL: postgres://user:password@host:5432/verza?sslmode=require
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub url: Option<Secret<String>>,
    /// PostgreSQL connections of this process.
    pub connections: usize,
    /// Seconds that one statement may take.
    pub statement_timeout_seconds: u64,
    /// Whether a pooler in transaction mode (PgBouncer) stands before PostgreSQL.
    pub transaction_pooler: bool,
    /// Whether the schema is brought up to date at start; else `verza migrate up` does it.
    pub migrate_at_start: bool,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            connections: 16,
            statement_timeout_seconds: 10,
            transaction_pooler: false,
            migrate_at_start: true,
        }
    }
}

/// What several processes over one database share; without a URL there is none.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// A Redis URL: redis://user:password@host:6379/0, or rediss:// for TLS.
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub url: Option<Secret<String>>,
    /// The password, in the place of the URL's.
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub password: Option<Secret<String>>,
    /// What all keys begin with: several platforms may share one Redis.
    pub prefix: String,
    /// Milliseconds that one command may take; after that Redis counts as away.
    pub timeout_milliseconds: u64,
}

impl Default for Redis {
    fn default() -> Self {
        Self { url: None, password: None, prefix: "verza".into(), timeout_milliseconds: 250 }
    }
}

/// How often things may be done.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// What signing in, registering and asking for mail do while Redis is away: local lets each
    /// process count for itself, refuse answers 503.
    pub when_redis_is_away: WhenRedisIsAway,
    /// Registrations an hour from all addresses together; a quarter of them at once.
    pub registrations_per_hour: u32,
    /// Requests for mail an hour from all addresses together; a quarter of them at once.
    pub mails_per_hour: u32,
    /// Reads a minute from one address; 0 is as many as it likes. Whole offices share an address.
    pub reads_per_minute: u32,
    /// Writes a minute from one address; 0 is as many as it likes.
    pub writes_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            when_redis_is_away: WhenRedisIsAway::Local,
            registrations_per_hour: 2000,
            mails_per_hour: 4000,
            reads_per_minute: 0,
            writes_per_minute: 0,
        }
    }
}

/// What is refused when there is more to do than can be done. Health checks and logout are always
/// served.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    /// Whether anything is: with 503 and Retry-After.
    pub shedding: bool,
    /// Requests of one route that may be under way at most. The limit in effect shrinks while they
    /// are much slower than usual.
    pub concurrency_max: u32,
    /// What it shrinks to at most: so many may always be under way, however slow they are.
    pub concurrency_min: u32,
    /// Milliseconds that work may wait for a processor before fewer requests are let in.
    pub lag_milliseconds: u64,
    /// Requests a second that this process lets in, whatever it could do; 0 is as many as it can.
    pub requests_per_second: u32,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            shedding: true,
            concurrency_max: 2048,
            concurrency_min: 256,
            lag_milliseconds: 25,
            requests_per_second: 0,
        }
    }
}

/// Streams: what clients are told while it happens, by server-sent events or WebSocket.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Streams {
    /// Streams that one user may have open in this process. Every tab of a browser has one or two.
    pub per_user: usize,
    /// Streams that this process has open at most. Each is a connection: see
    /// server.connections_max.
    pub max: usize,
    /// Seconds after which something is sent where nothing happens: less than the shortest time
    /// that proxies on the way allow for silence.
    pub heartbeat_seconds: u64,
}

impl Default for Streams {
    fn default() -> Self {
        Self { per_user: 20, max: 10_000, heartbeat_seconds: 15 }
    }
}

impl Streams {
    /// The same, as those who tell take it.
    pub fn policy(&self) -> messaging::stream::Policy {
        messaging::stream::Policy {
            per_user: self.per_user.max(1),
            all: self.max.max(1),
            heartbeat: std::time::Duration::from_secs(self.heartbeat_seconds.max(1)),
            ..messaging::stream::Policy::default()
        }
    }
}

impl Load {
    /// The same, as the edge takes it.
    pub fn policy(&self) -> platform::load::Policy {
        let rate_max = (self.requests_per_second > 0).then_some(self.requests_per_second);
        if !self.shedding {
            let (most, lag_max) = (u32::MAX, std::time::Duration::MAX);
            let (concurrency_min, concurrency_max) = (most, most);
            return platform::load::Policy { concurrency_min, concurrency_max, lag_max, rate_max };
        }
        platform::load::Policy {
            concurrency_min: self.concurrency_min,
            concurrency_max: self.concurrency_max,
            lag_max: std::time::Duration::from_millis(self.lag_milliseconds),
            rate_max,
        }
    }
}

/// What exact limits do while Redis is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenRedisIsAway {
    Local,
    Refuse,
}

/// Keys that protect everything else.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// 64 hexadecimal digits under which all other keys are wrapped. Without it one is made and
    /// kept in the data folder; replicas that share a database must share it too.
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub master_key: Option<Secret<String>>,
}

/// Accounts, passwords and sessions.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Accounts {
    /// What new password hashes are made with: argon2id, or bcrypt, which looks at 72 bytes of a
    /// password, so that longer ones are then refused. All others that are stored are made anew
    /// when their owner signs in.
    pub password_hash: PasswordHash,
    /// The cost of one bcrypt hash, 10 to 15: each step doubles its time.
    pub bcrypt_cost: u32,
    /// Memory of one argon2id hash, in KiB.
    pub argon2_memory_kib: u32,
    /// Passes of one argon2id hash.
    pub argon2_passes: u32,
    /// Passwords hashed at once; 0 takes one less than there are cores, at least one.
    pub hashing_threads: usize,
    /// Whether admins are let in with a second factor only: an authenticator app or a passkey.
    pub admin_second_factor: bool,
    /// Minutes for which a proof of who one is counts as fresh, where what is done cannot be taken
    /// back or changes how one signs in.
    pub step_up_minutes: u32,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            password_hash: PasswordHash::Argon2id,
            bcrypt_cost: 12,
            argon2_memory_kib: 19_456,
            argon2_passes: 2,
            hashing_threads: 0,
            admin_second_factor: true,
            step_up_minutes: 10,
        }
    }
}

/// How long sessions and their tokens live.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sessions {
    /// Minutes that an access token lives, from 1 to 60. Its session can end before.
    pub access_token_minutes: u64,
    /// Minutes after which a session of users ends, however much it is used.
    pub user_lifetime_minutes: u64,
    /// Minutes without a request after which a session of users ends.
    pub user_idle_minutes: u64,
    /// Sessions that one account of users may have; one more ends the oldest.
    pub user_max: u32,
    /// Minutes after which a session of verifiers ends, however much it is used.
    pub verifier_lifetime_minutes: u64,
    /// Minutes without a request after which a session of verifiers ends.
    pub verifier_idle_minutes: u64,
    /// Sessions that one account of verifiers may have; one more ends the oldest.
    pub verifier_max: u32,
    /// Minutes after which a session of enterprises ends, however much it is used.
    pub enterprise_lifetime_minutes: u64,
    /// Minutes without a request after which a session of enterprises ends.
    pub enterprise_idle_minutes: u64,
    /// Sessions that one account of enterprises may have; one more ends the oldest.
    pub enterprise_max: u32,
    /// Minutes after which a session of admins ends, however much it is used.
    pub admin_lifetime_minutes: u64,
    /// Minutes without a request after which a session of admins ends.
    pub admin_idle_minutes: u64,
    /// Sessions that one account of admins may have; one more ends the oldest.
    pub admin_max: u32,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            access_token_minutes: 15,
            user_lifetime_minutes: 43_200,
            user_idle_minutes: 20_160,
            user_max: 20,
            verifier_lifetime_minutes: 43_200,
            verifier_idle_minutes: 20_160,
            verifier_max: 10,
            enterprise_lifetime_minutes: 43_200,
            enterprise_idle_minutes: 20_160,
            enterprise_max: 10,
            admin_lifetime_minutes: 1440,
            admin_idle_minutes: 120,
            admin_max: 5,
        }
    }
}

/// The user APIs of two older systems, below /api/users.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Facades {
    /// immediate signs in whoever registers there, as their documents promise; till the address
    /// is confirmed the session is good for those APIs only. confirmed asks for the mail first.
    pub registration: FacadeRegistration,
    /// Whether GET /api/users/extUserId/{token} is there. Tokens in addresses end up in logs.
    pub token_in_path: bool,
}

/// What happens to who registers at an older API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FacadeRegistration {
    #[default]
    Immediate,
    Confirmed,
}

/// What stays of people who have closed their accounts, and for how long.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    /// Days from closing an account to erasing what is held of its owner. Until then an admin can
    /// open it again. 0 erases at once.
    pub grace_days: u32,
    /// Days for which the records of what was decided about a person's documents (comments, notes,
    /// signed verdicts) are kept beyond that, where a law asks for it. Ledger rows and facts are
    /// kept for good, by id only.
    pub retention_days: u32,
}

/// An algorithm for password hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PasswordHash {
    Argon2id,
    Bcrypt,
}

/// Mails; without a server they go into the sink, where a developer reads them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// The mail server's name, as its certificate has it.
    pub smtp_host: Option<String>,
    /// Its port; without it 587 for starttls, 465 for tls, 25 for none.
    pub smtp_port: Option<u16>,
    /// starttls (TLS after a greeting, or nothing is sent), tls (from the first byte), or none,
    /// with which a password goes only to a server on this machine.
    pub smtp_tls: SmtpTls,
    /// Who we are to the server; without it we do not sign in.
    pub smtp_user: Option<String>,
    /// The password that goes with it.
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub smtp_password: Option<Secret<String>>,
    /// A file of certificates (PEM) that alone are believed when the server shows its own; without
    /// it, those that the system believes.
    pub smtp_ca_file: Option<PathBuf>,
    /// Who letters are from: Verza <no-reply@verza.example>. Needed with a server.
    pub from: Option<String>,
    /// Seconds that sending one letter may take; at most 45.
    pub timeout_seconds: u64,
    /// Connections to the server that are kept open.
    pub connections: u32,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            smtp_host: None,
            smtp_port: None,
            smtp_tls: SmtpTls::StartTls,
            smtp_user: None,
            smtp_password: None,
            smtp_ca_file: None,
            from: None,
            timeout_seconds: 30,
            connections: 4,
        }
    }
}

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    StartTls,
    Tls,
    None,
}

/// Where people show who they are: here, at Ory Kratos, or both.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// native (here), kratos (at Ory Kratos only) or both.
    pub mode: IdentityMode,
    /// Kratos's public API, such as http://kratos:4433. Needed in the modes kratos and both.
    pub kratos_public_url: Option<String>,
    /// Kratos's admin API, such as http://kratos:4434. Needed in the modes kratos and both.
    pub kratos_admin_url: Option<String>,
    /// Sent to the admin API as a bearer token, where it asks for one.
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub kratos_admin_token: Option<Secret<String>>,
    /// What Kratos's hooks must show; at least 16 characters. Without it there are no hooks.
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub kratos_hook_key: Option<Secret<String>>,
    /// Milliseconds that one question to Kratos may take.
    pub kratos_timeout_ms: u64,
    /// Seconds for which an answer of Kratos holds, 1 to 60: a session that ends at Kratos is
    /// refused here that much later at the latest.
    pub kratos_cache_seconds: u64,
    /// The level that our own GET /sessions/whoami demands: aal1 or aal2.
    pub whoami_level: WhoamiLevel,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            mode: IdentityMode::Native,
            kratos_public_url: None,
            kratos_admin_url: None,
            kratos_admin_token: None,
            kratos_hook_key: None,
            kratos_timeout_ms: 2000,
            kratos_cache_seconds: 10,
            whoami_level: WhoamiLevel::Aal1,
        }
    }
}

/// Where people show who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdentityMode {
    Native,
    Kratos,
    Both,
}

/// How sure one must be of who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhoamiLevel {
    Aal1,
    Aal2,
}

/// gRPC.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Grpc {
    /// The address for gRPC, such as 127.0.0.1:9090; none without it. Used in the roles all and
    /// users.
    pub listen: Option<SocketAddr>,
    /// The certificate chain of this process for gRPC, PEM: as a server, and as a client of other
    /// processes.
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's key, PEM.
    pub tls_key: Option<PathBuf>,
    /// The authority (PEM) whose certificates are believed of others. With it, whoever connects to
    /// the gRPC listener must show one.
    pub tls_authority: Option<PathBuf>,
    /// Whether the processes may talk to each other without TLS over a network: only where the
    /// network itself is encrypted.
    pub plaintext: bool,
}

/// Where the services are that run in processes of their own.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Services {
    /// The gRPC address of the user service, such as `https://users:9090`; without it, it runs in
    /// this process.
    pub users_url: Option<String>,
    /// The gRPC address of the order service, such as `https://orders:9090`; without it, it runs in
    /// this process.
    pub orders_url: Option<String>,
    /// What the processes show each other, at least 32 characters; without it, it is made of the
    /// master key, which they share.
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub secret: Option<Secret<String>>,
    /// Milliseconds that one process waits for another's answer to a question. Requests that are
    /// handed on have server.request_timeout_seconds.
    pub timeout_milliseconds: u64,
}

impl Default for Services {
    fn default() -> Self {
        Self { users_url: None, orders_url: None, secret: None, timeout_milliseconds: 5000 }
    }
}

/// Certificates by ACME (RFC 8555). To use it is to agree to the authority's terms of service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Acme {
    /// The authority's directory; Let's Encrypt's, if nothing is said.
    pub directory: String,
    /// The mail address to which the authority writes before a certificate ends.
    pub contact: Option<String>,
    /// Whose certificate the authority's own server shows, where the system does not know it: PEM.
    pub authority: Option<PathBuf>,
}

impl Default for Acme {
    fn default() -> Self {
        let directory = "https://acme-v02.api.letsencrypt.org/directory".into();
        Self { directory, contact: None, authority: None }
    }
}

/// Webhooks and integrations of organizations. They call https addresses on the public internet,
/// unless it is said here what else they may call.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// Also addresses without TLS: for development.
    pub allow_http: bool,
    /// Networks that may be called although they are not public, such as 10.1.0.0/16. Everybody who
    /// may make a webhook can then send requests to every machine in them.
    pub networks: Vec<String>,
    /// Seconds that one call may take, from connecting to the end of the answer: 1 to 20.
    pub timeout_seconds: u64,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self { allow_http: false, networks: Vec::new(), timeout_seconds: 15 }
    }
}

/// The circuit breaker before each service that is reached over the network.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// Failures in a row that it bears; one more opens it. Only a service that is away or gives no
    /// usable answer counts, never a refusal.
    pub failures_max: u32,
    /// Seconds after which failures are forgotten.
    pub interval_seconds: u64,
    /// Seconds that a service is left alone once it is open.
    pub open_seconds: u64,
    /// Requests that may then try, and must all succeed before it closes.
    pub half_open_requests: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures_max: 5, interval_seconds: 60, open_seconds: 300, half_open_requests: 5 }
    }
}

impl Breaker {
    /// The same, as breakers take it.
    pub fn policy(&self) -> platform::breaker::Policy {
        platform::breaker::Policy {
            failures_max: self.failures_max,
            interval: std::time::Duration::from_secs(self.interval_seconds),
            rest: std::time::Duration::from_secs(self.open_seconds),
            trials: self.half_open_requests,
        }
    }
}

/// Payments.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Payments {
    /// The currency of requests that name none.
    pub default_currency: String,
    /// Whether money can be deposited through the sandbox, a provider that asks nobody. Without a
    /// word it is on only where the platform is reached at localhost, to try things out.
    pub sandbox: Option<bool>,
    /// Where the sandbox is reached; without it, the one inside of this process.
    pub sandbox_url: Option<String>,
    /// The secret key of an account at Paystack; without it there is no Paystack.
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub paystack_secret_key: Option<Secret<String>>,
    /// Paystack's address.
    pub paystack_url: String,
    /// The secret key of an account at Stripe; without it there is no Stripe.
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub stripe_secret_key: Option<Secret<String>>,
    /// The secret of Stripe's webhook endpoint, whsec_...
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub stripe_webhook_secret: Option<Secret<String>>,
    /// Stripe's address.
    pub stripe_url: String,
    /// The client id of an app at PayPal; without it there is no PayPal.
    pub paypal_client_id: Option<String>,
    /// The secret of that app.
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub paypal_client_secret: Option<Secret<String>>,
    /// The id of PayPal's webhook, as PayPal shows it where it is set up.
    pub paypal_webhook_id: Option<String>,
    /// PayPal's address; https://api-m.sandbox.paypal.com moves no real money.
    pub paypal_url: String,
    /// The SHA-256 of the root certificate that PayPal's webhooks must lead to, in hexadecimal
    /// digits; without it, any that the system trusts.
    pub paypal_certificate_root: Option<String>,
    /// The address of the signer behind which coins are kept; without it there are none.
    pub crypto_url: Option<String>,
    /// What the signer knows the platform by.
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub crypto_key: Option<Secret<String>>,
    /// What the signer signs its callbacks with.
    #[serde(serialize_with = "hide")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub crypto_webhook_secret: Option<Secret<String>>,
    /// The chain, by its id of EIP-155; 1 is the main one.
    pub crypto_chain: u64,
    /// Blocks that have to vouch for a transfer before it counts, its own included.
    pub crypto_confirmations: u64,
    /// Where a payer's browser goes after paying; without it, the platform's own address.
    pub return_url: Option<String>,
    /// Hours from when a payout destination was saved until it can be used.
    pub destination_cooling_hours: u64,
    /// Withdrawals of one user in 24 hours.
    pub withdrawals_per_day: u32,
    /// The most that a user may withdraw in 24 hours, in minor units of the default currency;
    /// without it there is no such limit.
    pub withdrawal_daily_limit: Option<i64>,
    /// Above this an admin looks at a withdrawal first, in minor units of the default currency.
    /// Withdrawals in other currencies are always looked at.
    pub withdrawal_review_above: i64,
    /// What a withdrawal costs, in hundredths of a percent of its amount.
    pub withdrawal_fee_basis_points: u16,
}

impl Default for Payments {
    fn default() -> Self {
        Self {
            default_currency: "USD".into(),
            sandbox: None,
            sandbox_url: None,
            paystack_secret_key: None,
            paystack_url: money::provider::paystack::BASE_URL.into(),
            stripe_secret_key: None,
            stripe_webhook_secret: None,
            stripe_url: money::provider::stripe::BASE_URL.into(),
            paypal_client_id: None,
            paypal_client_secret: None,
            paypal_webhook_id: None,
            paypal_url: money::provider::paypal::BASE_URL.into(),
            paypal_certificate_root: None,
            crypto_url: None,
            crypto_key: None,
            crypto_webhook_secret: None,
            crypto_chain: 1,
            crypto_confirmations: 12,
            return_url: None,
            destination_cooling_hours: 24,
            withdrawals_per_day: 5,
            withdrawal_daily_limit: None,
            withdrawal_review_above: 0,
            withdrawal_fee_basis_points: 0,
        }
    }
}

/// What verifiers stake. Amounts are minor units of payments.default_currency.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Staking {
    /// Days from the wish to take staked money out until it is free.
    pub cool_down_days: u32,
    /// The least that can be staked or taken out at once.
    pub minimum: i64,
    /// Tiers in ascending order: each a name, a colon and what must be staked to reach it.
    pub tiers: Vec<String>,
    /// What is given out at the end of every epoch, shared by what was staked and for how long; 0
    /// is nothing.
    pub reward_pool: i64,
    /// Days of an epoch.
    pub reward_days: u32,
}

impl Default for Staking {
    fn default() -> Self {
        let tiers = ["none:0", "bronze:10000", "silver:100000", "gold:1000000"];
        Self {
            cool_down_days: 14,
            minimum: 100,
            tiers: tiers.map(str::to_owned).to_vec(),
            reward_pool: 0,
            reward_days: 7,
        }
    }
}

/// The plans of enterprises. Amounts are minor units of payments.default_currency.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Billing {
    /// Added to every price, in hundredths of a percent.
    pub tax_basis_points: u16,
    /// Days that a plan is billed for at once.
    pub period_days: u32,
    /// Plans in ascending order of their prices: each a code, a name, the price of a period, the
    /// verifications that are in it, and the price of each one more, with colons between. A plan
    /// that somebody has must stay.
    pub plans: Vec<String>,
}

impl Default for Billing {
    fn default() -> Self {
        let plans =
            ["free:Free:0:10:0", "team:Team:9900:200:50", "business:Business:49900:2000:25"];
        let plans = plans.map(str::to_owned).to_vec();
        Self { tax_basis_points: 0, period_days: 30, plans }
    }
}

/// The marketplace of verifiers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Marketplace {
    /// The platform's share of a price, in hundredths of a percent: a tenth, 1000, at most.
    pub fee_basis_points: u16,
    /// Hours that a verifier has to accept a request, or the board to find one, before the money
    /// goes back.
    pub acceptance_hours: u64,
    /// Hours in which a job that was claimed from the board must be begun, or it goes back there.
    pub claim_hours: u64,
    /// Hours in which the decision of a dispute can be appealed before it is carried out.
    pub appeal_hours: u64,
    /// What a verifier must have staked to take a job, in minor units of
    /// payments.default_currency; 0 where nothing must.
    pub required_bond: i64,
    /// The part of a verifier's bond that an overturned verdict costs, in hundredths of a percent;
    /// half at most.
    pub slash_basis_points: u16,
}

impl Default for Marketplace {
    fn default() -> Self {
        Self {
            fee_basis_points: 250,
            acceptance_hours: 168,
            claim_hours: 12,
            appeal_hours: 72,
            required_bond: 0,
            slash_basis_points: 1_000,
        }
    }
}

/// What orders cost, in minor units of payments.default_currency. A price is held in the wallet
/// from the order on; the platform has it when an admin says that the order is done.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Orders {
    /// The price of one comment; 0 is free.
    pub comment_price: u32,
    /// The price of one like; 0 is free.
    pub like_price: u32,
    /// The price of one view; 0 is free.
    pub view_price: u32,
}

/// What rules against fraud know.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fraud {
    /// A database of addresses in the MaxMind format (.mmdb), with coordinates, such as GeoLite2 City.
    /// It is read into memory at the start; without it fraud.travel finds nothing.
    pub address_database: Option<PathBuf>,
}

/// Signed verdicts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// The issuer's name, as verdicts show it.
    pub issuer_name: String,
    /// Days for which a verdict is valid.
    pub validity_days: u32,
    /// Who signs the transparency log's checkpoints as well: each a vkey, a space and the address
    /// at which the witness takes checkpoints (C2SP tlog-witness).
    pub witnesses: Vec<String>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { issuer_name: "Verza".into(), validity_days: 730, witnesses: Vec::new() }
    }
}

/// What is written to the log.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// error, warn, info, debug or trace; or directives such as info,platform=debug.
    pub level: String,
    /// text for people, json for machines.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// Traces of requests and jobs, sent to a collector.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Traces {
    /// Where an OpenTelemetry collector takes OTLP over gRPC, such as http://localhost:4317, or
    /// with TLS https://collector.example:4317; none are sent without it.
    pub otlp_endpoint: Option<String>,
    /// The authority (PEM) whose certificates are believed of the collector, in the place of those
    /// that the system knows.
    pub otlp_authority: Option<PathBuf>,
    /// How many of a hundred traces are sent.
    pub sampled_percent: u32,
    /// What this process is called in them.
    pub service_name: String,
}

impl Default for Traces {
    fn default() -> Self {
        let service_name = "verza".into();
        Self { otlp_endpoint: None, otlp_authority: None, sampled_percent: 100, service_name }
    }
}

/// What a process is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything in one process
    All,
    /// What clients reach: HTTP, and all contexts that have no address of their own
    Gateway,
    /// The user service, asked by gRPC
    Users,
    /// The order service, asked by gRPC
    Orders,
    /// Jobs in the background, and whoever follows the journal
    Worker,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Gateway => "gateway",
            Self::Users => "users",
            Self::Orders => "orders",
            Self::Worker => "worker",
        }
    }

    /// Whether clients are served by HTTP.
    pub const fn serves_clients(self) -> bool {
        matches!(self, Self::All | Self::Gateway)
    }

    /// Whether gRPC is served, where it has an address.
    pub const fn serves_grpc(self) -> bool {
        matches!(self, Self::All | Self::Users | Self::Orders)
    }

    /// Whether other processes of the platform ask this one.
    pub const fn is_asked(self) -> bool {
        matches!(self, Self::Users | Self::Orders)
    }

    /// Whether jobs are run and the journal is followed.
    pub const fn works(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }
}

/// Where the certificate for HTTPS comes from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// No HTTPS here
    Off,
    /// From files
    Files,
    /// From an authority, asked for and renewed by itself (ACME)
    Acme,
    /// Made for this machine, to try things out
    Dev,
}

impl TlsMode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Files => "files",
            Self::Acme => "acme",
            Self::Dev => "dev",
        }
    }
}

/// In which header proxies say whom they serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    XForwardedFor,
    Forwarded,
}

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

fn hide<S: Serializer>(secret: &Option<Secret<String>>, out: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(_) => out.serialize_some("[secret]"),
        None => out.serialize_none(),
    }
}
