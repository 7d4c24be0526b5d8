//! `verza healthcheck`: is the server that runs here ready?

use std::process::ExitCode;
use std::time::Duration;

use kernel::{Error, Result};

use super::verdict;
use crate::config::{Config, TlsMode};

const TIMEOUT: Duration = Duration::from_secs(5);

pub async fn healthcheck(config: &Config, url: Option<String>) -> Result<ExitCode> {
    let scheme = if config.server.tls == TlsMode::Off { "http" } else { "https" };
    let url = url.unwrap_or_else(|| match config.server.role.serves_clients() {
        true => format!("{scheme}://{}/readyz", config.server.listen),
        false => format!("http://{}/readyz", config.server.ops_listen),
    });
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        // It asks whether the server on this machine is ready, not whether it is the right one.
        .tls_danger_accept_invalid_certs(true)
        .build()
        .map_err(|error| Error::internal("no HTTP client").because(error))?;
    match client.get(&url).send().await {
        Ok(answer) => {
            say!("{url} answers {}", answer.status());
            Ok(verdict(answer.status().is_success()))
        }
        Err(error) => {
            say!("{url} does not answer: {error}");
            Ok(verdict(false))
        }
    }
}
