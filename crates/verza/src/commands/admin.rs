//! `verza admin`: the first admin, and further ones.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use identity::account::Registration;
use kernel::{Caller, Error, Result, Role, Secret};

use crate::cli::AdminCommand;
use crate::config::Config;
use crate::wiring;

pub async fn admin(config: &Config, command: &AdminCommand) -> Result<ExitCode> {
    let platform = wiring::open_platform(config).await?;
    match command {
        AdminCommand::SetupLink => {
            let link = platform.setup_link().await?;
            say!("{link}");
            eprintln!("Good for one hour and one use.");
        }
        AdminCommand::Create { email, name } => {
            let password = read_password()?;
            let admin = Registration::parse(name, email, password, Role::Admin)?;
            let link = platform.setup_link().await?;
            let (_, token) = link.split_once("token=").unwrap_or_default();
            let setup = &platform.identity.setup;
            say!("{}", setup.complete(&Caller::nobody(), token, &admin).await?);
        }
    }
    platform.db.close().await;
    Ok(ExitCode::SUCCESS)
}

/// One line from standard input; the prompt shows on a terminal only.
fn read_password() -> Result<Secret<String>> {
    let input = std::io::stdin();
    if input.is_terminal() {
        eprint!("Password (visible while you type): ");
        let _ = std::io::stderr().flush();
    }
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(|error| {
        Error::unavailable("no_password", "No password could be read.").because(error)
    })?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
