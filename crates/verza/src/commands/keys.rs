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
    /// None where nothing of the key is public.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    created_at: String,
    signs_from: String,
    /// Since when it signs no longer; it is believed for a while yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_at: Option<String>,
}

pub async fn keys(config: &Config, command: &KeysCommand) -> Result<ExitCode> {
    let platform = wiring::open_platform(config).await?;
    match command {
        KeysCommand::List { json } => {
            let keys = list(&platform);
            if *json {
                print_json(&keys)?;
            } else {
                for key in keys {
                    let Key { id, purpose, public_key, signs_from, retired_at, .. } = key;
                    let public_key = public_key.unwrap_or_else(|| "secret".to_owned());
                    let till = retired_at.map(|at| format!(" till {at}")).unwrap_or_default();
                    say!("{id}  {purpose:13}  signs from {signs_from}{till}  {public_key}");
                }
            }
        }
        KeysCommand::Rotate { purpose } => rotate(&platform, purpose).await?,
    }
    platform.db.close().await;
    Ok(ExitCode::SUCCESS)
}

/// The keys of credentials and of the log, then those of access tokens.
fn list(platform: &wiring::Platform) -> Vec<Key> {
    let published = platform.trust.keys.published();
    let trust = published.iter().map(|key| Key {
        id: key.id.to_string(),
        purpose: key.purpose.as_str(),
        public_key: Some(key.public_key.multikey()),
        created_at: key.created_at.to_second_text(),
        signs_from: key.signs_from.to_second_text(),
        retired_at: None,
    });
    let tokens = platform.identity.tokens.list().into_iter().map(|key| Key {
        id: key.kid,
        purpose: key.format.as_str(),
        public_key: key.public_key,
        created_at: key.created_at.to_second_text(),
        signs_from: key.created_at.to_second_text(),
        retired_at: key.retired_at.map(kernel::Timestamp::to_second_text),
    });
    trust.chain(tokens).collect()
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
            say!(
                "New keys sign access tokens, one a form. The old ones stay published while their \
                 tokens live."
            );
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
