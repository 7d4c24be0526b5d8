//! `verza keys`: the signing keys.

use std::process::ExitCode;
use std::time::Duration;

use kernel::{Caller, Error, Result};
use serde::Serialize;
use trust::authority::service::Purpose as Certified;
use trust::compromise::service::{Compromise, Declaration};
use trust::key::service::{PUBLISHED_BEFORE_USE, Purpose};

use super::print_json;
use crate::cli::{CompromiseArgs, KeysCommand};
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
    /// Since when nothing that it signed is to be believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    compromised_since: Option<String>,
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
                    let lost = key.compromised_since.map(|at| format!(" lost since {at}"));
                    let lost = lost.unwrap_or_default();
                    let public_key = public_key.unwrap_or_else(|| "secret".to_owned());
                    let till = retired_at.map(|at| format!(" till {at}")).unwrap_or_default();
                    say!("{id}  {purpose:13}  signs from {signs_from}{till}{lost}  {public_key}");
                }
            }
        }
        KeysCommand::Rotate { purpose } => rotate(&platform, purpose).await?,
        KeysCommand::Compromise(args) => compromise(&platform, args).await?,
    }
    platform.db.close().await;
    Ok(ExitCode::SUCCESS)
}

/// The keys of credentials and of the log, the certified ones, then those of access tokens.
fn list(platform: &wiring::Platform) -> Vec<Key> {
    let published = platform.trust.keys.published();
    let trust = published.iter().map(|key| Key {
        id: key.id.to_string(),
        purpose: key.purpose.as_str(),
        public_key: Some(key.public_key.multikey()),
        created_at: key.created_at.to_second_text(),
        signs_from: key.signs_from.to_second_text(),
        retired_at: None,
        compromised_since: key.compromised.map(kernel::Timestamp::to_second_text),
    });
    let certified = platform.trust.authority.published().into_iter().map(|key| Key {
        id: key.id.to_string(),
        purpose: match key.purpose {
            Certified::Root => "root",
            Certified::Credential => "certified",
            Certified::Request => "request",
        },
        public_key: Some(key.public_key.thumbprint()),
        created_at: key.created_at.to_second_text(),
        signs_from: key.signs_from.to_second_text(),
        retired_at: None,
        compromised_since: key.compromised.map(kernel::Timestamp::to_second_text),
    });
    let tokens = platform.identity.tokens.list().into_iter().map(|key| Key {
        id: key.kid,
        purpose: key.format.as_str(),
        public_key: key.public_key,
        created_at: key.created_at.to_second_text(),
        signs_from: key.created_at.to_second_text(),
        retired_at: key.retired_at.map(kernel::Timestamp::to_second_text),
        compromised_since: None,
    });
    trust.chain(certified).chain(tokens).collect()
}

async fn rotate(platform: &wiring::Platform, purpose: &str) -> Result<()> {
    let (id, wait) = match purpose {
        "issuer" => {
            let wait = PUBLISHED_BEFORE_USE;
            (platform.trust.keys.rotate(Purpose::Credential, wait).await?.to_string(), wait)
        }
        "certified" => {
            let authority = &platform.trust.authority;
            let id = authority.rotate(Certified::Credential, PUBLISHED_BEFORE_USE).await?;
            (id.to_string(), PUBLISHED_BEFORE_USE)
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
            let message = format!("{other} is no purpose: use tokens, issuer, certified or log.");
            return Err(Error::invalid("unknown_purpose", message));
        }
    };
    say!("{id} is published now and signs in {} s. The old key stays good.", wait.as_secs());
    Ok(())
}

/// What came of a compromise.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Withdrawn {
    key: String,
    since: String,
    revoked: i64,
    reissued: i64,
}

async fn compromise(platform: &wiring::Platform, args: &CompromiseArgs) -> Result<()> {
    let no_key = |_| Error::not_found("signing key");
    let no_time = |_| {
        let message = format!("{} is no time: write it as 2026-11-22T10:00:00Z.", args.since);
        Error::invalid("since", message)
    };
    let declaration = Declaration {
        key: args.key.parse().map_err(no_key)?,
        since: args.since.parse().map_err(no_time)?,
        reason: args.reason.clone(),
        reissue: args.reissue,
    };
    let compromises = &platform.trust.compromises;
    let declared = compromises.declare(&Caller::nobody(), &declaration).await?;
    if !args.json {
        let since = declared.since.to_second_text();
        say!("{} signs no more, and is published as revoked since {since}.", declared.key);
    }
    let told = |state: &Compromise| {
        if !args.json && state.carried_out_at.is_none() {
            say!("{} revoked, {} signed anew so far", state.revoked, state.reissued);
        }
        Ok(())
    };
    let done = compromises.carry_out(declared.key, told).await?;
    let Compromise { key, since, revoked, reissued, .. } = done;
    if args.json {
        let since = since.to_second_text();
        return print_json(&Withdrawn { key: key.to_string(), since, revoked, reissued });
    }
    say!(
        "{revoked} revoked, {reissued} signed anew. Status lists show it at once; who fetched one \
         before asks again within its lifetime. Running processes hear of it within half a minute."
    );
    Ok(())
}
