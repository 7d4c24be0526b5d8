//! `verza ledger check`: recomputes the ledger's invariants.

use std::process::ExitCode;

use kernel::Result;
use serde_json::json;

use super::{print_json, verdict};
use crate::cli::LedgerCommand;
use crate::config::Config;
use crate::wiring;

pub async fn ledger(config: &Config, command: &LedgerCommand) -> Result<ExitCode> {
    let LedgerCommand::Check { json } = command;
    let db = wiring::open_to_look(config)?;
    let report = money::ledger::check(&db).await?;
    if *json {
        let checks = report.checks.iter().map(|check| {
            json!({
                "name": check.name,
                "states": check.states,
                "violations": check.violations,
            })
        });
        print_json(&checks.collect::<Vec<_>>())?;
    } else {
        for line in report_lines(&report) {
            say!("{line}");
        }
    }
    Ok(verdict(report.is_sound()))
}

/// The report for people: a line a check.
pub(super) fn report_lines(report: &money::ledger::Report) -> Vec<String> {
    report
        .checks
        .iter()
        .map(|check| {
            let held = check.violations.is_empty();
            let mark = if held { "holds " } else { "BROKEN" };
            let mut line = format!("{mark}  {:4} {}", check.name, check.states);
            for violation in check.violations.iter().take(10) {
                line.push_str(&format!("\n             {violation}"));
            }
            line
        })
        .collect()
}
