//! `verza verify`: judges an exported credential without any network.

use std::path::Path;
use std::process::ExitCode;

use kernel::{Error, Result};
use serde_json::json;
use verify::judge::report::{Report, Verdict};
use verify::judge::{self, Options, Presented, trust::Trust};
use verify::log::export::Manifest;
use verify::log::note::{NoteError, VerifierKey};

use super::{print_json, verdict};
use crate::cli::VerifyArgs;

/// A revocation list in a file may be a week old, where the reader does not say otherwise.
const STATUS_AGE_MAX_HOURS: u64 = 168;

pub fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    if let Some(manifest) = &args.manifest {
        return verify_export(args, manifest);
    }
    let mut pins = Vec::new();
    for path in [&args.did, &args.root, &args.issuer].into_iter().flatten() {
        pins.push(String::from_utf8_lossy(&read(path)?).into_owned());
    }
    pins.extend(args.log_key.iter().chain(&args.witness).cloned());
    let document = args.document.as_deref().map(read).transpose()?;
    let hours = args.max_status_age.unwrap_or(STATUS_AGE_MAX_HOURS);
    let mut options = options(&pins, document.as_deref(), hours)?;
    for path in &args.status_list {
        options.status_lists.push(String::from_utf8_lossy(&read(path)?).into_owned());
    }
    let asked = args.audience.clone().zip(args.nonce.clone());
    options.challenge = asked.map(|(audience, nonce)| Presented { audience, nonce });
    let file = read(&args.file)?;
    let report = match args.foreign {
        true => judge::foreign::judge(&file, &options),
        false => judge::verify(&file, &options),
    };
    if args.json {
        print_json(&report)?;
    } else {
        say_all!("{report}");
        if pins.is_empty() {
            say!(
                "\nThe issuer's key comes from the file itself. To learn whether it really is \
                 the issuer's, fetch its did.json yourself and give it with --did, or its root \
                 certificate with --root."
            );
        }
    }
    Ok(verdict(report.verdict == Verdict::Valid))
}

/// An exported list against its manifest, and that against the log's key.
fn verify_export(args: &VerifyArgs, manifest: &Path) -> Result<ExitCode> {
    let note = String::from_utf8_lossy(&read(manifest)?).into_owned();
    let file = read(&args.file)?;
    let wrong = |error: NoteError| Error::invalid("not_a_key", error.to_string());
    let lines = args.log_key.iter().flat_map(|keys| keys.lines());
    let logs: Vec<VerifierKey> =
        lines.map(|key| VerifierKey::parse(key.trim()).map_err(wrong)).collect::<Result<_>>()?;
    if logs.is_empty() {
        let message = "Give the log's vkey, as you got it elsewhere, with --log-key.";
        return Err(Error::invalid("no_log_key", message));
    }
    let signed = Manifest::open(&note, &logs).map_err(|error| error.to_string());
    let found = signed.and_then(|manifest| manifest.check(&file).map(|()| manifest));
    let is_valid = found.is_ok();
    match (&found, args.json) {
        (Ok(manifest), true) => print_json(&json!({
            "verdict": "valid",
            "list": manifest.list,
            "format": manifest.format,
            "madeAt": manifest.made_at,
            "rows": manifest.rows,
            "log": manifest.log.as_ref().map(|log| json!({ "origin": log.origin, "size": log.size })),
        }))?,
        (Err(reason), true) => print_json(&json!({ "verdict": "invalid", "reason": reason }))?,
        (Err(reason), false) => say!("INVALID\n  {reason}"),
        (Ok(manifest), false) => {
            let Manifest { list, rows, made_at, log, .. } = manifest;
            say!("VALID\n  {rows} rows of {list}, as {made_at} by {}", manifest.origin);
            if let Some(log) = log {
                say!("  the log {} had {} leaves then", log.origin, log.size);
            }
        }
    }
    Ok(verdict(is_valid))
}

/// Judges the bytes of a file against keys that the reader brings.
pub fn judge_file(
    file: &[u8],
    pins: &[String],
    document: Option<&[u8]>,
    status_age_hours: u64,
) -> Result<Report> {
    Ok(judge::verify(file, &options(pins, document, status_age_hours)?))
}

fn options(pins: &[String], document: Option<&[u8]>, status_age_hours: u64) -> Result<Options> {
    let mut trust = Trust::default();
    for pin in pins {
        trust.pin(pin).map_err(|error| Error::invalid("not_a_key", error.to_string()))?;
    }
    Ok(Options {
        now: platform::world::system().now().seconds(),
        trust,
        status_age_max: i64::try_from(status_age_hours.saturating_mul(3600)).unwrap_or(i64::MAX),
        document_sha256: document.map(platform::crypto::sha256),
        status_lists: Vec::new(),
        challenge: None,
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Error::unavailable("unreadable_file", format!("Cannot read {}: {error}.", path.display()))
    })
}
