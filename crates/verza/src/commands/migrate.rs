//! `verza migrate`: the schema of the database.

use std::process::ExitCode;

use kernel::Result;
use serde::Serialize;

use super::{print_json, verdict};
use crate::cli::MigrateCommand;
use crate::config::Config;
use crate::wiring::{self, MIGRATIONS};

#[derive(Serialize)]
struct Step {
    context: &'static str,
    name: &'static str,
    applied: bool,
}

pub async fn migrate(config: &Config, command: &MigrateCommand) -> Result<ExitCode> {
    match command {
        MigrateCommand::Status { json } => {
            let db = wiring::open_to_look(config)?;
            let status = db.migration_status(MIGRATIONS).await?;
            let complete = status.iter().all(|step| step.applied);
            if *json {
                let steps = status.iter().map(|step| Step {
                    context: step.context,
                    name: step.name,
                    applied: step.applied,
                });
                print_json(&steps.collect::<Vec<_>>())?;
            } else {
                for step in &status {
                    let state = if step.applied { "applied" } else { "missing" };
                    say!("{state}  {}/{}", step.context, step.name);
                }
            }
            Ok(verdict(complete))
        }
        MigrateCommand::Up => {
            let (db, _folder) = wiring::open_to_write(config)?;
            let done = db.migrate(MIGRATIONS).await?;
            for step in &done {
                say!("applied  {}/{}", step.context, step.name);
            }
            say!("The schema is up to date ({} applied now).", done.len());
            db.close().await;
            Ok(ExitCode::SUCCESS)
        }
    }
}
