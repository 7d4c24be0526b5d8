//! `verza analytics`: counts anew what dashboards and analytics are read from.

use std::process::ExitCode;

use kernel::Result;
use serde_json::json;

use super::print_json;
use crate::cli::AnalyticsCommand;
use crate::config::Config;
use crate::wiring;

pub async fn analytics(config: &Config, command: &AnalyticsCommand) -> Result<ExitCode> {
    let AnalyticsCommand::Rebuild { json } = command;
    let platform = wiring::open_platform(config).await?;
    let rebuilt = platform.marketplace.overviews.rebuild().await;
    platform.db.close().await;
    let rebuilt = rebuilt?;
    if *json {
        print_json(&json!({ "parties": rebuilt.parties, "mended": rebuilt.mended }))?;
    } else {
        say!("counted the days of {} parties; {} were otherwise", rebuilt.parties, rebuilt.mended);
    }
    Ok(ExitCode::SUCCESS)
}
