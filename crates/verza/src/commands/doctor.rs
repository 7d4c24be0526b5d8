//! `verza doctor`: looks at everything that is needed and says what is missing.

use std::process::ExitCode;

use kernel::Result;

use super::verdict;
use crate::config::Config;
use crate::datadir::DataDir;
use crate::wiring::{self, MIGRATIONS};

/// What was looked at, and what came of it.
struct Findings {
    well: bool,
}

impl Findings {
    fn note<T>(&mut self, what: &str, outcome: Result<T>) -> Option<T> {
        match outcome {
            Ok(value) => {
                say!("well     {what}");
                Some(value)
            }
            Err(error) => {
                self.well = false;
                say!("MISSING  {what}: {error}");
                None
            }
        }
    }
}

pub async fn doctor(config: Result<Config>) -> Result<ExitCode> {
    let mut findings = Findings { well: true };
    let Some(config) = findings.note("the configuration can be read", config) else {
        return Ok(verdict(false));
    };
    findings.note("the configuration makes sense", wiring::check(&config));
    let folder = &config.storage.data_dir;
    let claimed = DataDir::claim(folder);
    match &claimed {
        Err(error) if error.code() == "data_dir_in_use" => {
            say!("well     {} is used by a running Verza", folder.display());
        }
        _ => {
            findings.note(
                &format!("{} can be written", folder.display()),
                claimed.as_ref().map(|_| ()).map_err(Clone::clone),
            );
        }
    }
    if claimed.is_ok() {
        for (address, flag) in
            [(config.server.listen, "--listen"), (config.server.ops_listen, "--ops-listen")]
        {
            let free = gateway::listen(address, flag).await.map(drop);
            findings.note(&format!("{address} is free to listen on"), free);
        }
    }
    let known = config.database.url.is_some() || DataDir::database(folder).exists();
    if !known {
        say!("well     there is no database yet; the first start makes it");
    } else if let Some(db) = findings.note("the database opens", wiring::open_to_look(&config)) {
        findings.note("the database answers", db.ping().await);
        let status = db.migration_status(MIGRATIONS).await;
        if let Some(status) = findings.note("the schema is known", status) {
            let missing = status.iter().filter(|step| !step.applied).count();
            say!("well     {} migrations applied, {missing} to come", status.len() - missing);
        }
    }
    match wiring::redis(&config, platform::world::system()) {
        Ok(Some(redis)) => {
            if let Some(version) = findings.note("Redis answers", redis.version().await) {
                say!("well     it is Redis {version}");
            }
        }
        Ok(None) => say!("well     there is no Redis: one process serves, or a few do without"),
        Err(error) => drop(findings.note::<()>("Redis has an address", Err(error))),
    }
    Ok(verdict(findings.well))
}
