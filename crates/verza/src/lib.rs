//! Verza, the executable: it reads the command line and the configuration, builds the platform
//! for the role it is to play, and runs it. A library, so that the tests of the whole system start
//! it as the executable does.

pub mod cli;
pub mod commands;
pub mod config;
pub mod custody;
mod datadir;
pub mod demo;
mod files;
mod grpc;
mod mail;
mod notary;
mod owners;
mod purse;
mod roles;
mod settings;
mod tariffs;
mod telemetry;
pub mod wiring;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use config::{Config, Sources};
use kernel::{Error, Kind, Result};

/// This release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs a command line.
pub fn run_command_line() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("verza: {error}");
            ExitCode::from(exit_code(&error))
        }
    }
}

/// The exit code of an error; the command line's help lists them.
fn exit_code(error: &Error) -> u8 {
    match (error.code(), error.kind()) {
        ("invalid_configuration" | "unknown_configuration_key" | "invalid_database_url", _) => 3,
        (_, Kind::Internal) => 5,
        (_, Kind::Unavailable) => 4,
        _ => 1,
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let mut flags = cli.sources.flags()?;
    match &cli.command {
        Command::Serve(args) => flags.extend(args.flags()),
        Command::Demo(args) => flags.splice(0..0, demo::defaults(&args.serve)).for_each(drop),
        _ => {}
    }
    let read = || config::load(&Sources::of_process(cli.sources.config.clone(), flags));
    match cli.command {
        Command::Completion { shell } => commands::completion(shell),
        Command::InspectFile => {
            documents::file::child().map(|()| ExitCode::SUCCESS).map_err(|error| {
                Error::unavailable("not_inspected", "The file cannot be looked into.")
                    .because(error)
            })
        }
        Command::Verify(args) => commands::verify(&args),
        Command::Api(command) => commands::api(&command),
        Command::Config(command) => commands::config(&command, read),
        Command::Serve(_) => in_runtime(read()?, commands::serve),
        Command::Witness(args) => {
            in_runtime(Config::default(), async move |_| commands::witness(&args).await)
        }
        Command::Sim(args) => in_runtime(read()?, async move |_| commands::sim(&args).await),
        Command::Demo(args) => {
            in_runtime(read()?, async move |config| Box::pin(demo::run(config, &args)).await)
        }
        Command::Migrate(command) => {
            in_runtime(read()?, async move |config| commands::migrate(&config, &command).await)
        }
        Command::Ledger(command) => {
            in_runtime(read()?, async move |config| commands::ledger(&config, &command).await)
        }
        Command::Analytics(command) => {
            in_runtime(read()?, async move |config| commands::analytics(&config, &command).await)
        }
        Command::Backup(command) => {
            in_runtime(read()?, async move |config| commands::backup(&config, &command).await)
        }
        Command::Restore(args) => {
            in_runtime(read()?, async move |config| commands::restore(&config, &args).await)
        }
        Command::MigrateData(args) => {
            in_runtime(read()?, async move |config| commands::migrate_data(&config, &args).await)
        }
        Command::Admin(command) => {
            in_runtime(read()?, async move |config| commands::admin(&config, &command).await)
        }
        Command::Import(command) => {
            in_runtime(read()?, async move |config| commands::import(&config, &command).await)
        }
        Command::Keys(command) => {
            in_runtime(read()?, async move |config| commands::keys(&config, &command).await)
        }
        Command::Doctor => {
            let config = read();
            in_runtime(Config::default(), async move |_| commands::doctor(config).await)
        }
        Command::Healthcheck { url } => {
            in_runtime(read()?, async move |config| commands::healthcheck(&config, url).await)
        }
    }
}

/// TLS wants one provider for the whole process, chosen before its first use; choosing it again
/// changes nothing.
fn choose_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Runs a command on the asynchronous runtime, with as many threads as are configured.
fn in_runtime(
    config: Config,
    command: impl AsyncFnOnce(Config) -> Result<ExitCode>,
) -> Result<ExitCode> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if config.server.threads > 0 {
        builder.worker_threads(config.server.threads);
    }
    let runtime = builder.enable_all().build().map_err(|error| {
        Error::unavailable("threads", "The system gives no threads to run on.").because(error)
    })?;
    choose_cryptography();
    runtime.block_on(command(config))
}
