//! `verza keys`: the signing keys.

use std::process::ExitCode;
use std::time::Duration;

use kernel::{Caller, Error, Result};
use serde::Serialize;
use trust::key::service::{PUBLISHED_BEFORE_USE, Purpose};

use super::print_json;
use crate::cli::KeysCommand;
use crate::config::Config;
use crate::wiring;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    id: String,
    purpose: &'static str,
    public_key: String,
    created_at: String,
    signs_from: String,
}

pub async fn keys(config: &Config, command: &KeysCommand) -> Result<ExitCode> {
    let platform = wiring::open_platform(config).await?;
    match command {
        KeysCommand::List { json } => {
            let keys: Vec<Key> = platform
                .trust
                .keys
                .published()
                .iter()
                .map(|key| Key {
                    id: key.id.to_string(),
                    purpose: key.purpose.as_str(),
                    public_key: key.public_key.multikey(),
                    created_at: key.created_at.to_second_text(),
                    signs_from: key.signs_from.to_second_text(),
                })
                .collect();
            if *json {
                print_json(&keys)?;
            } else {
                for key in keys {
                    let Key { id, purpose, public_key, signs_from, .. } = key;
                    say!("{id}  {purpose:10}  signs from {signs_from}  {public_key}");
                }
            }
        }
        KeysCommand::Rotate { purpose } => rotate(&platform, purpose).await?,
    }
    platform.db.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn rotate(platform: &wiring::Platform, purpose: &str) -> Result<()> {
    let (id, wait) = match purpose {
        "issuer" => {
            let wait = PUBLISHED_BEFORE_USE;
            (platform.trust.keys.rotate(Purpose::Credential, wait).await?.to_string(), wait)
        }
        "log" => {
            let id = platform.trust.keys.rotate(Purpose::Log, Duration::ZERO).await?;
            (id.to_string(), Duration::ZERO)
        }
        "tokens" => {
            platform.identity.tokens.rotate(&Caller::nobody()).await?;
            say!("A new key signs tokens. The old one stays published while its tokens live.");
            return Ok(());
        }
        other => {
            let message = format!("{other} is no purpose: use tokens, issuer or log.");
            return Err(Error::invalid("unknown_purpose", message));
        }
    };
    say!("{id} is published now and signs in {} s. The old key stays good.", wait.as_secs());
    Ok(())
}
