//! `verza config`: what is configured, and what could be.

use std::process::ExitCode;

use kernel::{Error, Result};

use super::print_json;
use crate::cli::ConfigCommand;
use crate::config::{Config, init_file, schema};

pub fn config(command: &ConfigCommand, read: impl FnOnce() -> Result<Config>) -> Result<ExitCode> {
    match command {
        ConfigCommand::Schema => print_json(&schema())?,
        ConfigCommand::Init => say_all!("{}", init_file()),
        ConfigCommand::Check => {
            let config = read()?;
            crate::wiring::check(&config)?;
            say!("The configuration is right.");
        }
        ConfigCommand::Show { json: true } => print_json(&read()?)?,
        ConfigCommand::Show { json: false } => {
            let text = toml::to_string(&read()?)
                .map_err(|error| Error::internal("it cannot be shown").because(error))?;
            say_all!("{text}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
