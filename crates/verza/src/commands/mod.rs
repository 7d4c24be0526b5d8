//! The commands, one file each.

/// Prints a line for people. Who closes the pipe has seen enough.
macro_rules! say {
    ($($text:tt)*) => { $crate::commands::write_out(format_args!("{}\n", format_args!($($text)*))) };
}
/// Prints a text that ends its own lines.
macro_rules! say_all {
    ($($text:tt)*) => { $crate::commands::write_out(format_args!($($text)*)) };
}

mod admin;
mod analytics;
mod api;
mod backup;
mod config;
mod doctor;
mod healthcheck;
mod import;
mod keys;
mod ledger;
mod migrate;
mod migrate_data;
mod serve;
mod sim;
mod verify;
mod witness;

use std::process::ExitCode;

use clap::CommandFactory;
use kernel::{Error, Result};
use serde::Serialize;

pub use admin::admin;
pub use analytics::analytics;
pub use api::{api, openapi_document, routes_page};
pub use backup::{backup, restore};
pub use config::config;
pub use doctor::doctor;
pub use healthcheck::healthcheck;
pub use import::import;
pub use keys::keys;
pub use ledger::ledger;
pub use migrate::migrate;
pub use migrate_data::migrate_data;
pub use serve::{Word, serve};
pub use sim::sim;
pub use verify::{judge_file, verify};
pub use witness::witness;

/// Writes to standard output; when nobody reads it any more, the command ends.
fn write_out(text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    if std::io::stdout().write_fmt(text).is_err() {
        std::process::exit(0);
    }
}

/// The answer of a command that checks something.
fn verdict(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// Prints for programs.
fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::internal("the answer cannot be written").because(error))?;
    say!("{text}");
    Ok(())
}

/// Prints a shell's completion script.
pub fn completion(shell: clap_complete::Shell) -> Result<ExitCode> {
    let mut command = crate::cli::Cli::command();
    clap_complete::generate(shell, &mut command, "verza", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
