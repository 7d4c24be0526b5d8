//! `verza migrate-data`: all rows from one store to another.

use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use kernel::Result;
use platform::blob::Blobs;
use serde_json::json;

use super::{print_json, verdict};
use crate::cli::MigrateDataArgs;
use crate::config::Config;
use crate::custody::relocate::{self, Files, FilesMoved, Moved, Stage, Step, Store};
use crate::files;

pub async fn migrate_data(config: &Config, args: &MigrateDataArgs) -> Result<ExitCode> {
    let (from, to) = (store(config, &args.from)?, store(config, &args.to)?);
    let world = platform::world::system();
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} rows {eta} {msg}") {
        bar.set_style(style);
    }
    // Where the files cannot go, the rows stay.
    let new = match args.files_to.as_deref() {
        None => None,
        Some("s3") => Some(files::store(config, world.clone())?),
        Some(folder) => Some(Blobs::on_disk(folder, world.clone())?),
    };
    if let Some(new) = &new {
        new.probe().await?;
    }
    let files = match new {
        None => None,
        Some(to) => Some(Files { from: old_files(config, &from)?, to }),
    };
    let moved = relocate::relocate(&from, &to, files.as_ref(), &world, |step| {
        show(&bar, step);
        Ok(())
    })
    .await;
    bar.finish_and_clear();
    let moved = moved.inspect_err(|_| {
        eprintln!("The source is as it was. The same command goes on where this one has ended.");
    })?;
    if args.json {
        let (copied, there) = moved.files.map(|files| (files.copied, files.there)).unzip();
        print_json(&json!({ "moved": moved, "filesCopied": copied, "filesThere": there }))?;
    } else {
        print(&moved);
    }
    Ok(verdict(moved.is_whole()))
}

/// A store as it was named; `config` is the configured one, whose password no process list shows.
fn store(config: &Config, name: &str) -> Result<Store> {
    match (name, &config.database.url) {
        ("config", Some(url)) => Ok(Store::Postgres(url.clone())),
        ("config", None) => Ok(Store::Sqlite(config.storage.data_dir.clone())),
        (name, _) => Store::parse(name),
    }
}

/// Where the files of the source are: in its data folder, or where the configuration says.
fn old_files(config: &Config, from: &Store) -> Result<Blobs> {
    let world = platform::world::system();
    match from {
        Store::Sqlite(folder) => {
            Blobs::on_disk(config.storage.files_dir.as_ref().unwrap_or(folder), world)
        }
        Store::Postgres(_) => Blobs::on_disk(config.storage.files(), world),
    }
}

fn show(bar: &ProgressBar, step: Step<'_>) {
    match step.stage {
        Stage::Begin => bar.set_length(step.of),
        Stage::Copy => {
            bar.inc(step.rows);
            bar.set_message(step.table.to_owned());
        }
        Stage::Compare => bar.set_message(format!("comparing {}", step.table)),
        Stage::Files => bar.set_message(format!("{} files are over", step.rows)),
    }
}

fn print(moved: &Moved) {
    for table in &moved.tables {
        match &table.differs {
            None => say!("same     {:>10}  {}", table.rows, table.table),
            Some(other) => say!("DIFFERS  {:>10}  {}: {other}", table.rows, table.table),
        }
    }
    for what in &moved.contradictions {
        say!("BROKEN   {what}");
    }
    if !moved.is_whole() {
        say!(
            "\nThe target is not the same as the source, and is not to be served from. Empty it \
             and start again."
        );
        return;
    }
    let rows: u64 = moved.tables.iter().map(|table| table.rows).sum();
    let goes_on = if moved.resumed { ", going on with what had been begun" } else { "" };
    say!("\n{rows} rows are the same on both sides; {} copied now{goes_on}.", moved.copied);
    match moved.files {
        Some(FilesMoved { copied, there }) => {
            say!("{copied} files copied, {there} were there already.");
        }
        None => say!("The files stay where they are: configure the same store of files."),
    }
    say!(
        "Configure the new database and the same master key, and start. Keep the old store until \
         you are sure."
    );
}
