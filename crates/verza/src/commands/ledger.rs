//! `verza ledger`: recomputes the ledger's invariants, and checks what holders can check of it.

use std::path::Path;
use std::process::ExitCode;

use kernel::{Asset, Error, Money, Result};
use serde_json::json;
use verify::log::note::VerifierKey;
use verify::solvency::{Counted, Proof};

use super::{print_json, verdict};
use crate::cli::LedgerCommand;
use crate::config::Config;
use crate::wiring;

pub async fn ledger(config: &Config, command: &LedgerCommand) -> Result<ExitCode> {
    match command {
        LedgerCommand::Check { json } => check(config, *json).await,
        LedgerCommand::Proof { file, key, json } => proof(file, key, *json),
    }
}

async fn check(config: &Config, json: bool) -> Result<ExitCode> {
    let db = wiring::open_to_look(config)?;
    let report = money::ledger::check(&db).await?;
    if json {
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

fn proof(file: &Path, keys: &[String], json: bool) -> Result<ExitCode> {
    let known: Vec<VerifierKey> = keys
        .iter()
        .map(|key| VerifierKey::parse(key))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::invalid("not_a_key", format!("--key: {error}.")))?;
    let text = std::fs::read_to_string(file).map_err(|error| {
        Error::unavailable("unreadable_file", format!("Cannot read {}: {error}.", file.display()))
    })?;
    let proof: Proof = serde_json::from_str(&text).map_err(|error| {
        let message = format!("{} is no proof of solvency: {error}.", file.display());
        Error::invalid("not_a_proof", message)
    })?;
    match proof.check(&known) {
        Ok(counted) => {
            if json {
                print_json(&told(&proof.holder, &counted))?;
            } else {
                tell(&proof.holder, &counted);
            }
            Ok(verdict(true))
        }
        Err(error) => {
            if json {
                print_json(&json!({ "counted": false, "reason": error.to_string() }))?;
            } else {
                say!("NOT PROVED  {error}");
            }
            Ok(verdict(false))
        }
    }
}

fn told(holder: &str, counted: &Counted) -> serde_json::Value {
    let amounts = counted.amounts.iter().map(|(currency, amount)| {
        let owed = counted.statement.currencies.get(currency).map(|(sums, _)| sums.root.sum);
        json!({
            "currency": currency,
            "amount": amount,
            "owedToAll": owed,
            "booked": counted.statement.booked(currency, "as.clearing.").to_string(),
        })
    });
    json!({
        "counted": true,
        "holder": holder,
        "statement": counted.statement.id,
        "statedBy": counted.statement.origin,
        "at": counted.statement.at,
        "amounts": amounts.collect::<Vec<_>>(),
    })
}

fn tell(holder: &str, counted: &Counted) {
    let statement = &counted.statement;
    say!("{} stated at {}:", statement.origin, statement.at);
    for (currency, amount) in &counted.amounts {
        let owed = statement.currencies.get(currency).map_or(0, |(sums, _)| sums.root.sum);
        let booked = statement.booked(currency, "as.clearing.");
        let show = |minor: i128| match (currency.parse::<Asset>(), i64::try_from(minor)) {
            (Ok(asset), Ok(minor)) => Money::new(minor, asset).to_string(),
            _ => format!("{minor} {currency}"),
        };
        say!("counted  {} of {holder}", show(i128::from(*amount)));
        say!(
            "         among {} that are owed to all, with {} at the providers by the books",
            show(i128::from(owed)),
            show(booked)
        );
    }
    say!(
        "\nIt does not show that the providers have what the books say: the statement says what \
         each of them answered."
    );
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
