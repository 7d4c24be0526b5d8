//! `verza import`: accounts from elsewhere.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use identity::import::{Format, Policy, Report, RowError, Rows};
use indicatif::{ProgressBar, ProgressStyle};
use kernel::{Caller, Error, Result};
use serde::Serialize;

use super::{print_json, verdict};
use crate::cli::{FileFormat, ImportCommand, ImportUsersArgs};
use crate::config::Config;
use crate::wiring;

/// Errors that are shown; all of them are in the file.
const SHOWN: u64 = 20;

pub async fn import(config: &Config, command: &ImportCommand) -> Result<ExitCode> {
    let ImportCommand::Users(args) = command;
    let file = open(&args.file)?;
    let format = format_of(args)?;
    let mut errors = Errors::new(args.errors.as_deref())?;
    let platform = wiring::open_platform(config).await?;
    let bar = progress(&file);
    let policy = Policy { allow_admin: args.allow_admin, now: platform.db.world().now() };
    let counted = Counted { file, bar: bar.clone() };
    let rows = Rows::new(BufReader::with_capacity(64 * 1024, counted), format, policy)?;
    let begun = Instant::now();
    let outcome = platform
        .identity
        .imports
        .run(
            &Caller::nobody(),
            rows,
            args.dry_run,
            |error| errors.take(&bar, &error),
            |report| bar.set_message(format!("{} rows", report.rows)),
        )
        .await;
    bar.finish_and_clear();
    platform.db.close().await;
    let finished = errors.finish();
    let report = outcome?;
    finished?;
    show(args, &report, begun.elapsed().as_secs_f64())?;
    Ok(verdict(report.failed == 0))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| {
        let message = format!("{} cannot be read: {error}.", path.display());
        Error::unavailable("file_unreadable", message)
    })
}

fn format_of(args: &ImportUsersArgs) -> Result<Format> {
    let ending = args.file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match (args.format, ending.to_ascii_lowercase().as_str()) {
        (Some(FileFormat::Csv), _) | (None, "csv") => Ok(Format::Csv),
        (Some(FileFormat::Jsonl), _) | (None, "jsonl" | "ndjson") => Ok(Format::Jsonl),
        (None, _) => {
            let message = "The file's name does not say its form: add --format csv or jsonl.";
            Err(Error::invalid("unknown_format", message))
        }
    }
}

/// A bar over the file's bytes, seen on a terminal only.
fn progress(file: &File) -> ProgressBar {
    let len = file.metadata().map_or(0, |metadata| metadata.len());
    let bar = ProgressBar::new(len);
    let style = "{bar:40} {bytes}/{total_bytes} {eta} {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

/// A file that says how far it was read.
struct Counted {
    file: File,
    bar: ProgressBar,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(into)?;
        self.bar.inc(u64::try_from(read).unwrap_or_default());
        Ok(read)
    }
}

/// Where errors go: the first ones to the terminal, all of them as JSON lines into a file.
struct Errors {
    file: Option<BufWriter<File>>,
    count: u64,
}

impl Errors {
    fn new(path: Option<&Path>) -> Result<Self> {
        let file = match path {
            None => None,
            Some(path) => Some(BufWriter::new(File::create(path).map_err(|error| {
                let message = format!("{} cannot be written: {error}.", path.display());
                Error::unavailable("file_unwritable", message)
            })?)),
        };
        Ok(Self { file, count: 0 })
    }

    fn take(&mut self, bar: &ProgressBar, error: &RowError) -> Result<()> {
        self.count += 1;
        if self.count <= SHOWN {
            let what: Vec<String> = error
                .errors
                .iter()
                .map(|field| format!("{} {}", field.pointer, field.message).trim().to_owned())
                .collect();
            let line = format!("line {}: {}", error.line, what.join("; "));
            bar.suspend(|| eprintln!("{line}"));
        }
        if self.count == SHOWN + 1 && self.file.is_none() {
            bar.suspend(|| eprintln!("More lines are wrong: --errors FILE names them all."));
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let text = serde_json::to_string(error)
            .map_err(|error| Error::internal("an error cannot be written").because(error))?;
        writeln!(file, "{text}").map_err(|error| unwritten(&error))
    }

    fn finish(&mut self) -> Result<()> {
        let flush = |file: &mut BufWriter<File>| file.flush().map_err(|error| unwritten(&error));
        self.file.as_mut().map_or(Ok(()), flush)
    }
}

fn unwritten(error: &std::io::Error) -> Error {
    let message = format!("The file of errors cannot be written: {error}.");
    Error::unavailable("file_unwritable", message)
}

fn show(args: &ImportUsersArgs, report: &Report, seconds: f64) -> Result<()> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Shown<'a> {
        #[serde(flatten)]
        report: &'a Report,
        dry_run: bool,
        seconds: f64,
    }
    if args.json {
        return print_json(&Shown { report, dry_run: args.dry_run, seconds });
    }
    let Report { rows, imported, unchanged, failed } = report;
    let made = if args.dry_run { "would be imported" } else { "imported" };
    say!("{rows} rows: {imported} {made}, {unchanged} there already, {failed} wrong.");
    Ok(())
}
