//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Role, TlsMode};

const EXIT_CODES: &str = "Exit codes: 0 done; 1 the answer is no (a check failed, a credential is \
invalid); 2 the command line is wrong; 3 the configuration is wrong; 4 something that is needed \
is not there (port, folder, database); 5 a defect of Verza.";

/// Verifies documents about people: escrow, verdicts, and signed credentials that anyone can
/// check.
#[derive(Debug, Parser)]
#[command(name = "verza", version = crate::VERSION, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub sources: SourceArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The configuration file; `verza config init` writes one to start from
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets one configuration key; may be given several times
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// The folder of the embedded database, the files and the generated keys
    #[arg(long, global = true, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts everything, plays one diploma from upload to a checked verdict, and stays up
    Demo(DemoArgs),
    /// Serves the platform, or one part of it
    Serve(ServeCommand),
    /// Stands in for the payment providers: their endpoints, signatures, webhooks and mishaps
    Sim(SimArgs),
    /// Checks an exported credential without any network
    Verify(VerifyArgs),
    /// Signs the checkpoints of logs that only grow (C2SP tlog-witness); run it apart from them
    Witness(WitnessArgs),
    /// Brings the database's schema up to date, or says what is missing
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Looks after the ledger
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Looks after the figures of dashboards and analytics
    #[command(subcommand)]
    Analytics(AnalyticsCommand),
    /// Makes backups and checks them
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Brings a backup back as a new data folder
    Restore(RestoreArgs),
    /// Moves all rows from SQLite to PostgreSQL or back; started again, it goes on
    MigrateData(MigrateDataArgs),
    /// Makes admins; there is never a default password. Erases people again after a restore
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Brings accounts from elsewhere
    #[command(subcommand)]
    Import(ImportCommand),
    /// Shows and rotates signing keys, and gives up lost ones
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Shows and checks the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Looks at everything that Verza needs, and says what is missing
    Doctor,
    /// Asks a running server whether it is ready: for container health checks
    Healthcheck {
        /// The server's address; without it, the configured one
        #[arg(long)]
        url: Option<String>,
    },
    /// Prints the API's generated descriptions
    #[command(subcommand)]
    Api(ApiCommand),
    /// Looks into a hostile file that is on standard input: what the platform starts for itself
    #[command(hide = true)]
    InspectFile,
    /// Prints a completion script for a shell
    Completion { shell: clap_complete::Shell },
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The address for clients
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// The address for operators (metrics, unsent mails)
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub ops_listen: Option<SocketAddr>,
    /// How clients reach the platform
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// HTTPS, and where its certificate comes from
    #[arg(long)]
    pub tls: Option<TlsMode>,
    /// The certificate chain for --tls files, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's key for --tls files, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ServeCommand {
    /// What this process is; without it, everything
    pub role: Option<Role>,
    #[command(flatten)]
    pub serve: ServeArgs,
    /// The address for gRPC
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub grpc_listen: Option<SocketAddr>,
    /// The gRPC address of the user service, where it runs in a process of its own
    #[arg(long, value_name = "URL")]
    pub users_url: Option<String>,
    /// The gRPC address of the order service, where it runs in a process of its own
    #[arg(long, value_name = "URL")]
    pub orders_url: Option<String>,
}

#[derive(Debug, Args)]
pub struct SimArgs {
    /// The address to serve at
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8090")]
    pub listen: SocketAddr,
    /// Where the platform is, for webhooks
    #[arg(long, value_name = "URL", default_value = "http://localhost:8080")]
    pub platform: String,
    /// How browsers reach the simulator; without it, the address it serves at
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
}

#[derive(Debug, Args)]
pub struct WitnessArgs {
    /// The witness's name: an address without scheme that is yours, such as witness.example
    #[arg(long)]
    pub name: String,
    /// The folder for its key, and for what it has signed; nobody else may write there
    #[arg(long, value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The vkey of a log that it watches, with the logs of later years; may be given several times
    #[arg(long, value_name = "VKEY")]
    pub log: Vec<String>,
    /// The address to serve at
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8095")]
    pub listen: SocketAddr,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Ends when the story is told, instead of staying up
    #[arg(long)]
    pub once: bool,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The exported file: a bundle, a bare credential, an SD-JWT or a JWT credential
    pub file: PathBuf,
    /// A did.json of the issuer that you got elsewhere and trust
    #[arg(long, value_name = "FILE")]
    pub did: Option<PathBuf>,
    /// A key of the transparency log that you got elsewhere and trust
    #[arg(long, value_name = "VKEY")]
    pub log_key: Option<String>,
    /// The vkey of a witness whose word you take for it that the log has one history
    #[arg(long, value_name = "VKEY")]
    pub witness: Vec<String>,
    /// Root certificates (PEM) of an SD-JWT's issuer that you got elsewhere and trust
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// JWT VC issuer metadata that you got elsewhere and trust
    #[arg(long, value_name = "FILE")]
    pub issuer: Option<PathBuf>,
    /// The newest status list of the credential, as its address serves it
    #[arg(long, value_name = "FILE")]
    pub status_list: Vec<PathBuf>,
    /// For whom an SD-JWT must have been presented: your identifier
    #[arg(long, value_name = "TEXT", requires = "nonce")]
    pub audience: Option<String>,
    /// The nonce that the presentation must answer
    #[arg(long, value_name = "TEXT", requires = "audience")]
    pub nonce: Option<String>,
    /// The document itself, to learn whether it is the one that was checked
    #[arg(long, value_name = "FILE")]
    pub document: Option<PathBuf>,
    /// Takes a credential of any issuer and any form: an SD-JWT, a JWT, an eddsa-jcs-2022 document,
    /// or a badge baked into PNG or SVG
    #[arg(long)]
    pub foreign: bool,
    /// The signed manifest of FILE, which is an exported audit trail
    #[arg(long, value_name = "FILE", conflicts_with = "foreign")]
    pub manifest: Option<PathBuf>,
    /// How old the revocation list in the file may be, in hours
    #[arg(long, value_name = "HOURS")]
    pub max_status_age: Option<u64>,
    /// Prints the report as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum MigrateCommand {
    /// Says which migrations have been applied
    Status {
        #[arg(long)]
        json: bool,
    },
    /// Applies what is missing
    Up,
}

#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Recomputes the ledger's invariants; changes nothing, also beside a running server
    Check {
        #[arg(long)]
        json: bool,
    },
    /// Checks that a balance is counted in a statement of solvency; needs no server
    Proof {
        /// The proof, as GET /v1/user/wallet/solvency answers it
        file: PathBuf,
        /// A key of the platform's, `name+id+key`, that you got elsewhere and trust
        #[arg(long, value_name = "VKEY", required = true)]
        key: Vec<String>,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum AnalyticsCommand {
    /// Counts all days anew from the verifications, also beside a running server, and says how many
    /// were otherwise
    Rebuild {
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Makes a backup, also beside a running server
    Create {
        /// The folder to be made
        backup: PathBuf,
        /// Puts the master key inside; without it, keep the key apart
        #[arg(long)]
        with_keys: bool,
        /// Prints the manifest as JSON
        #[arg(long)]
        json: bool,
    },
    /// Reads a whole backup and says what it proves; changes nothing
    Verify(BackupVerifyArgs),
}

#[derive(Debug, Args)]
pub struct BackupVerifyArgs {
    /// The backup's folder
    pub backup: PathBuf,
    #[command(flatten)]
    pub brought: BroughtArgs,
    /// Prints the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// What somebody who checks a backup has from elsewhere.
#[derive(Debug, Args)]
pub struct BroughtArgs {
    /// The master key as it was kept apart; without it, the configured one if there is one
    #[arg(long, value_name = "FILE")]
    pub master_key: Option<PathBuf>,
    /// A checkpoint of the transparency log that was saved some time
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup's folder
    pub backup: PathBuf,
    /// The data folder to be made
    #[arg(long, value_name = "FOLDER")]
    pub to: PathBuf,
    #[command(flatten)]
    pub brought: BroughtArgs,
    /// Prints the report as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct MigrateDataArgs {
    /// Where the rows are: sqlite:FOLDER, postgres://..., or config for the configured database
    #[arg(long, value_name = "STORE")]
    pub from: String,
    /// An empty store for them, named in the same ways
    #[arg(long, value_name = "STORE")]
    pub to: String,
    /// Copies the uploaded files as well: into a folder, or into the bucket that is configured
    #[arg(long, value_name = "FOLDER|s3")]
    pub files_to: Option<String>,
    /// Prints the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Prints a one-time link with which a first or further admin sets up an account
    SetupLink,
    /// Makes an admin; the password is read from the terminal or from standard input
    Create {
        #[arg(long)]
        email: String,
        #[arg(long)]
        name: String,
    },
    /// Prints the ids of everybody who was erased, one a line: keep it apart from the backups
    Forgotten,
    /// Erases people again whom an older backup has brought back; do it before the first start
    Forget {
        /// Their ids, one a line, as `verza admin forgotten` has printed them
        list: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Imports accounts with their password hashes; started again, it goes on where it stopped
    Users(ImportUsersArgs),
}

#[derive(Debug, Args)]
pub struct ImportUsersArgs {
    /// The accounts, one a line: email, and perhaps name, role, passwordHash, emailVerified,
    /// createdAt, externalId
    pub file: PathBuf,
    /// Without it, what the file's name ends with
    #[arg(long)]
    pub format: Option<FileFormat>,
    /// Checks every row and changes nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Writes what is wrong with which line as JSON lines
    #[arg(long, value_name = "FILE")]
    pub errors: Option<PathBuf>,
    /// Takes rows with the role admin
    #[arg(long)]
    pub allow_admin: bool,
    /// Prints the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// The form of a file of accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FileFormat {
    /// With a first line that names the columns
    Csv,
    /// One JSON object a line
    Jsonl,
}

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Lists the signing keys: public halves, purposes, ages
    List {
        #[arg(long)]
        json: bool,
    },
    /// Makes a new key for a purpose; the old one stays published
    Rotate {
        /// tokens, issuer, certified or log
        purpose: String,
    },
    /// Gives up a key of credentials that somebody else may have, and takes back what it signed;
    /// started again, it goes on
    Compromise(CompromiseArgs),
}

#[derive(Debug, Args)]
pub struct CompromiseArgs {
    /// The key, as `verza keys list` names it
    pub key: String,
    /// Since when nothing that it signed is to be believed, such as 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: String,
    /// Why, in your own words; they are kept in the database and not published
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Signs the verdicts anew that are still held, instead of revoking them
    #[arg(long)]
    pub reissue: bool,
    /// Prints the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Reads the configuration and says whether it is right
    Check,
    /// Prints the configuration as it is in effect, without secrets
    Show {
        #[arg(long)]
        json: bool,
    },
    /// Prints the JSON Schema of the configuration file
    Schema,
    /// Prints a configuration file with every key and its documentation
    Init,
}

#[derive(Debug, Subcommand)]
pub enum ApiCommand {
    /// One line a route: method, path, audience, limit, idempotency, handler
    Routes,
    /// The OpenAPI 3.1 document
    Openapi,
}

impl ServeCommand {
    /// The flags as configuration keys.
    pub fn flags(&self) -> Vec<(String, String)> {
        let mut flags = self.serve.flags();
        let mut add = |key: &str, value: Option<String>| {
            flags.extend(value.map(|value| (key.to_owned(), value)));
        };
        add("server.role", self.role.map(|role| role.as_str().to_owned()));
        add("grpc.listen", self.grpc_listen.map(|address| address.to_string()));
        add("services.users_url", self.users_url.clone());
        add("services.orders_url", self.orders_url.clone());
        flags
    }
}

impl ServeArgs {
    /// The flags as configuration keys.
    pub fn flags(&self) -> Vec<(String, String)> {
        let mut flags = Vec::new();
        let mut add = |key: &str, value: Option<String>| {
            flags.extend(value.map(|value| (key.to_owned(), value)));
        };
        add("server.listen", self.listen.map(|address| address.to_string()));
        add("server.ops_listen", self.ops_listen.map(|address| address.to_string()));
        add("server.public_url", self.public_url.clone());
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        add("server.tls", self.tls.map(|tls| tls.as_str().to_owned()));
        add("server.tls_certificate", path(&self.tls_certificate));
        add("server.tls_key", path(&self.tls_key));
        flags
    }
}

impl SourceArgs {
    /// The flags as configuration keys.
    pub fn flags(&self) -> kernel::Result<Vec<(String, String)>> {
        let mut flags = Vec::new();
        for pair in &self.set {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                let message = format!("--set {pair}: write it as section.key=value.");
                kernel::Error::invalid("invalid_configuration", message)
            })?;
            flags.push((key.to_owned(), value.to_owned()));
        }
        if let Some(folder) = &self.data_dir {
            flags.push(("storage.data_dir".into(), folder.display().to_string()));
        }
        Ok(flags)
    }
}
