//! `verza backup` and `verza restore`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::ProgressBar;
use kernel::{Error, Result};
use serde_json::json;

use super::{print_json, verdict};
use crate::cli::{BackupCommand, BackupVerifyArgs, BroughtArgs, RestoreArgs};
use crate::config::Config;
use crate::custody::check::{self, Brought, Outcome, Report};
use crate::custody::manifest::Damage;
use crate::custody::{create, restore as restoring};
use crate::datadir;

pub async fn backup(config: &Config, command: &BackupCommand) -> Result<ExitCode> {
    match command {
        BackupCommand::Create { backup, with_keys, json } => {
            make(config, backup, *with_keys, *json).await
        }
        BackupCommand::Verify(BackupVerifyArgs { backup, brought, json }) => {
            let folder = check::folder_of(backup);
            let report = look(config, &folder, brought).await?;
            if *json {
                print_json(&report)?;
            } else {
                print(&report);
            }
            Ok(verdict(report.is_sound()))
        }
    }
}

async fn make(config: &Config, place: &Path, with_keys: bool, json: bool) -> Result<ExitCode> {
    let bar = spinner();
    let made = create::create(config, place, with_keys, |what| bar.set_message(what)).await;
    bar.finish_and_clear();
    let manifest = made?;
    let place = place.display();
    if json {
        let damaged: Vec<&str> = manifest.damaged.iter().map(|it| it.path.as_str()).collect();
        print_json(&json!({ "manifest": manifest, "damaged": damaged }))?;
    } else {
        let rows: u64 = manifest.tables.iter().map(|table| table.rows).sum();
        let (files, bytes) = (manifest.contents.files, manifest.contents.bytes);
        say!("{place}: {rows} rows, {files} files, {bytes} bytes, at {}", manifest.created_at);
        if with_keys {
            say!("The master key is inside: whoever has this backup has everything.");
        } else {
            say!(
                "The master key is not inside. Keep it apart from the backup: without it nobody \
                 signs in to what is restored, and nothing sealed opens."
            );
        }
        say!("Check it with: verza backup verify {place}");
    }
    for damaged in &manifest.damaged {
        let then = match damaged.what {
            Damage::Missing => "look for it in an older backup",
            Damage::Altered => "it was copied as it is",
        };
        eprintln!("verza: {damaged}; {then}.");
    }
    Ok(verdict(manifest.damaged.is_empty()))
}

pub async fn restore(config: &Config, args: &RestoreArgs) -> Result<ExitCode> {
    let folder = check::folder_of(&args.backup);
    let report = look(config, &folder, &args.brought).await?;
    let in_backup = &report.manifest.log.checkpoint;
    let known = match &args.brought.checkpoint {
        Some(path) => Some(read(path)?),
        // What this machine remembers of the log that it served.
        None => {
            trust::log::Memory::in_folder(&config.storage.data_dir).recall().unwrap_or_default()
        }
    };
    let seen = restoring::newest(in_backup, known.as_deref());
    let set_back = report.is_set_back() || seen != in_backup;
    if report.is_restorable() {
        let bar = spinner();
        bar.set_message("copying");
        let world = platform::world::system();
        let restored = restoring::restore(&folder, &args.to, seen, &world).await;
        bar.finish_and_clear();
        restored?;
    }
    if args.json {
        let restored = report.is_restorable();
        print_json(&json!({ "restored": restored, "report": report }))?;
        return Ok(verdict(restored));
    }
    print(&report);
    if !report.is_restorable() {
        say!("\nNothing was restored.");
        return Ok(verdict(false));
    }
    let to = args.to.display();
    say!("\nRestored to {to}.");
    if set_back {
        say!(
            "The log has signed more than this backup holds. That is remembered: at its start the \
             server closes the log where it stands and goes on in another one, which says so."
        );
    }
    if !report.manifest.has_master_key {
        say!("Put the master key there as {to}/master.key, or configure it, before the start.");
    }
    say!(
        "Configure server.public_url = \"{}\" as it was, and start: verza serve --data-dir {to}",
        report.manifest.public_url
    );
    Ok(verdict(true))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("Cannot read {}: {error}.", path.display());
        Error::unavailable("unreadable_file", message)
    })
}

async fn look(config: &Config, folder: &Path, args: &BroughtArgs) -> Result<Report> {
    let master = match &args.master_key {
        Some(path) => {
            let text = datadir::read_key(path)?;
            Some(datadir::parse_key(text.expose(), &path.display().to_string())?)
        }
        // One that is configured, or in the data folder: none is no reason to stop.
        None => datadir::existing_master_key(config).ok(),
    };
    let checkpoint = args.checkpoint.as_deref().map(read);
    let brought = Brought { master, checkpoint: checkpoint.transpose()? };
    let bar = spinner();
    bar.set_message("reading the backup");
    let report = check::check(folder, &brought, &platform::world::system()).await;
    bar.finish_and_clear();
    report
}

fn print(report: &Report) {
    for check in &report.checks {
        let mark = match check.outcome {
            Outcome::Proved => "proved  ",
            Outcome::Unproved => "unproved",
            Outcome::Broken => "BROKEN  ",
        };
        say!("{mark}  {:10} {}", check.name, check.says);
        for what in &check.contradictions {
            say!("{:21}{what}", "");
        }
    }
    let made = &report.manifest;
    say!("\nMade at {} by Verza {} of {}.", made.created_at, made.verza, made.public_url);
}

/// Seen on a terminal only.
fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
