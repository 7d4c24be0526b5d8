//! `verza healthcheck`: is the server that runs here ready?

use std::process::ExitCode;
use std::time::Duration;

use kernel::{Error, Result};

use super::verdict;
use crate::config::Config;

const TIMEOUT: Duration = Duration::from_secs(5);

pub async fn healthcheck(config: &Config, url: Option<String>) -> Result<ExitCode> {
    let url = url.unwrap_or_else(|| format!("http://{}/readyz", config.server.listen));
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
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
