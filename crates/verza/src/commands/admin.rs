//! `verza admin`: the first admin, and further ones.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use identity::account::Registration;
use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Result, Role, Secret};

use crate::cli::AdminCommand;
use crate::config::Config;
use crate::wiring;

pub async fn admin(config: &Config, command: &AdminCommand) -> Result<ExitCode> {
    let platform = match command {
        AdminCommand::Forget { .. } => wiring::open_platform_alone(config).await?,
        _ => wiring::open_platform(config).await?,
    };
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
        AdminCommand::Forgotten => {
            for id in platform.identity.closing.gone().await? {
                say!("{id}");
            }
        }
        AdminCommand::Forget { list } => forget(&platform, list).await?,
    }
    platform.db.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Every line is read before anybody is erased: a list with a mistake in it erases nobody.
async fn forget(platform: &wiring::Platform, list: &Path) -> Result<()> {
    let text = std::fs::read_to_string(list).map_err(|error| {
        let message = format!("Cannot read {}: {error}.", list.display());
        Error::unavailable("unreadable_file", message)
    })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let ids: Vec<Id<User>> = lines
        .map(|line| {
            let wrong = |error| Error::invalid("not_an_id", format!("{line}: {error}."));
            line.parse().map_err(wrong)
        })
        .collect::<Result<_>>()?;
    let mut done = 0;
    for id in &ids {
        done += usize::from(platform.identity.closing.forget_again(*id).await?);
    }
    say!(
        "{done} of {} were held here and are erased. Their files go when the server runs.",
        ids.len()
    );
    Ok(())
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
