//! The commands, one file each.

mod admin;
mod api;
mod config;
mod doctor;
mod healthcheck;
mod keys;
mod ledger;
mod migrate;
mod serve;
mod verify;

use std::process::ExitCode;

use clap::CommandFactory;
use kernel::{Error, Result};
use serde::Serialize;

pub use admin::admin;
pub use api::{api, openapi_document, routes_page};
pub use config::config;
pub use doctor::doctor;
pub use healthcheck::healthcheck;
pub use keys::keys;
pub use ledger::ledger;
pub use migrate::migrate;
pub use serve::{serve, wait_for_the_word};
pub use verify::{judge_file, verify};

/// The answer of a command that checks something.
fn verdict(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// Prints for programs.
fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::internal("the answer cannot be written").because(error))?;
    println!("{text}");
    Ok(())
}

/// Prints a shell's completion script.
pub fn completion(shell: clap_complete::Shell) -> Result<ExitCode> {
    let mut command = crate::cli::Cli::command();
    clap_complete::generate(shell, &mut command, "verza", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
