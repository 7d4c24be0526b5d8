//! Reading a backup whole, and saying of each part what that proves.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use documents::Inventory;
use kernel::{Error, Result, World};
use platform::crypto::MasterKey;
use platform::db::{Db, SqliteOptions};
use serde::Serialize;
use trust::log::Continuity;

use super::contents::{self, Item};
use super::manifest::{Authenticity, Damage, Damaged, Manifest};
use super::{DATABASE, MASTER_KEY, blocking, create};
use crate::wiring::MIGRATIONS;

/// Contradictions that are told of one check.
const SHOWN: usize = 10;
/// No statement over a copy is in anybody's way.
const UNHURRIED: Duration = Duration::from_secs(24 * 3600);

/// What came of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Proved,
    /// Nothing speaks against it, and nothing for it: something was missing that proves it.
    Unproved,
    Broken,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// For programs.
    pub name: &'static str,
    pub outcome: Outcome,
    /// What is proved, or why not, for people.
    pub says: String,
    /// The first few contradictions.
    pub contradictions: Vec<String>,
}

/// Everything that was checked.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub manifest: Manifest,
    pub checks: Vec<Check>,
    /// Whether the log has signed more than the backup holds.
    #[serde(skip)]
    set_back: bool,
}

impl Report {
    /// Whether nothing is broken.
    pub fn is_sound(&self) -> bool {
        self.checks.iter().all(|check| check.outcome != Outcome::Broken)
    }

    /// Whether it can be restored: sound, but that the log may have signed more since, and that the
    /// platform itself may have lost files before. Serving it is no fork where the machine remembers
    /// what was signed: another log goes on then. And it is all that is left of the platform.
    pub fn is_restorable(&self) -> bool {
        let is_no_obstacle =
            |check: &Check| check.name == ORIGINALS || (check.name == CONTINUITY && self.set_back);
        self.checks.iter().all(|check| check.outcome != Outcome::Broken || is_no_obstacle(check))
    }

    /// Whether the log has signed more than the backup holds.
    pub fn is_set_back(&self) -> bool {
        self.set_back
    }

    fn add(&mut self, name: &'static str, outcome: Outcome, says: impl Into<String>) {
        let says = says.into();
        self.checks.push(Check { name, outcome, says, contradictions: Vec::new() });
    }

    /// A check that holds where nothing contradicts it.
    fn settle(&mut self, name: &'static str, says: impl Into<String>, mut against: Vec<String>) {
        let outcome = if against.is_empty() { Outcome::Proved } else { Outcome::Broken };
        let more = against.len().saturating_sub(SHOWN);
        against.truncate(SHOWN);
        if more > 0 {
            against.push(format!("and {more} more"));
        }
        self.checks.push(Check { name, outcome, says: says.into(), contradictions: against });
    }
}

/// The check that compares with a checkpoint which somebody has seen.
const CONTINUITY: &str = "continuity";

/// The check that names what was not whole when the backup was made.
const ORIGINALS: &str = "originals";

/// What the reader brings.
#[derive(Default)]
pub struct Brought {
    /// The master key, from elsewhere than the backup.
    pub master: Option<MasterKey>,
    /// A checkpoint of the log that was seen some time.
    pub checkpoint: Option<String>,
}

/// Checks a backup: every byte against the list, the list against the manifest, the manifest
/// against the master key, and the database against all that must hold in one. Changes nothing.
/// Fails where there is no backup that can be understood.
pub async fn check(folder: &Path, brought: &Brought, world: &World) -> Result<Report> {
    let manifest = Manifest::read(folder)?;
    let mut report = Report { manifest, checks: Vec::new(), set_back: false };
    authenticate(&mut report, folder, brought)?;
    let listed = report.manifest.contents.clone();
    let of = folder.to_owned();
    let against = blocking(move || Ok(check_bytes(&of, &listed))).await?;
    let database_is_whole = !against.iter().any(|what| what.starts_with(DATABASE));
    let count = report.manifest.contents.files;
    let says = format!("{count} files are there, with the sizes and the SHA-256 that are listed");
    let is_listed = !against.iter().any(|what| what.starts_with(LIST));
    report.settle("bytes", says, against);
    if !is_listed || !database_is_whole {
        report.add("database", Outcome::Unproved, "the database was not opened: it is not whole");
        return Ok(report);
    }
    let db = open_copy(&folder.join(DATABASE), world)?;
    let checked = check_database(&mut report, &db, folder, brought).await;
    db.close().await;
    match checked {
        Ok(()) => {}
        // A copy that cannot be read is no failure of whoever reads it.
        Err(error) => report.settle("readable", "the database can be read", vec![told(&error)]),
    }
    Ok(report)
}

fn told(error: &Error) -> String {
    error.message().to_owned()
}

/// Opens a database that nobody writes to.
pub(crate) fn open_copy(path: &Path, world: &World) -> Result<Db> {
    let options =
        SqliteOptions { read_only: true, statement_timeout: UNHURRIED, ..SqliteOptions::at(path) };
    Db::open_sqlite(&options, world.clone())
}

fn authenticate(report: &mut Report, folder: &Path, brought: &Brought) -> Result<()> {
    const NAME: &str = "origin";
    let Some(master) = &brought.master else {
        let says = "no master key was given: who made this, and whether it was altered as a \
                    whole, is not known (--master-key)";
        report.add(NAME, Outcome::Unproved, says);
        return Ok(());
    };
    match Manifest::authenticate(folder, master)? {
        Authenticity::Genuine => {
            let says = "the manifest is as somebody made it who has this master key";
            report.add(NAME, Outcome::Proved, says);
        }
        Authenticity::Wrong => {
            let says = "the manifest was altered, or is of a platform with another master key";
            report.add(NAME, Outcome::Broken, says);
        }
    }
    Ok(())
}

/// What contradictions about the list itself begin with.
const LIST: &str = "the list";

/// Reads every byte. Answers what is not as it is listed.
fn check_bytes(folder: &Path, listed: &super::manifest::Contents) -> Vec<String> {
    let mut against = Vec::new();
    match contents::Reader::sha256(folder) {
        Ok(hash) if hash == listed.sha256 => {}
        Ok(_) => return vec![format!("{LIST} of contents is not the one that the manifest names")],
        Err(error) => return vec![format!("{LIST} of contents: {}", error.message())],
    }
    let mut files = 0;
    let mut read = || -> Result<()> {
        for item in contents::Reader::open(folder)? {
            let item = item?;
            files += 1;
            match contents::sum(&folder.join(&item.path)) {
                Ok((size, hash)) if (size, hash) == (item.size, item.sha256) => {}
                Ok((size, _)) if size != item.size => against
                    .push(format!("{} has {size} bytes and should have {}", item.path, item.size)),
                Ok(_) => against.push(format!("{} has other bytes than are listed", item.path)),
                Err(error) => against.push(format!("{} {}", item.path, error.message())),
            }
        }
        Ok(())
    };
    if let Err(error) = read() {
        against.push(format!("{LIST} of contents: {}", error.message()));
    }
    // The manifest, its MAC and the list are not in the list.
    match count(folder) {
        Ok(found) if found == files + 3 => {}
        Ok(found) => against.push(format!("there are {found} files where {} should be", files + 3)),
        Err(error) => against.push(format!("the folder cannot be read: {error}")),
    }
    against
}

fn count(folder: &Path) -> std::io::Result<u64> {
    let mut files = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(files)
}

async fn check_database(
    report: &mut Report,
    db: &Db,
    folder: &Path,
    brought: &Brought,
) -> Result<()> {
    report.settle("integrity", "SQLite finds the database whole", db.integrity().await?);
    let status = db.migration_status(MIGRATIONS).await?;
    let missing = status.iter().filter(|step| !step.applied).count();
    let says = match missing {
        0 => "the schema is the one of this release".to_owned(),
        _ => format!("the schema is one of this release's: {missing} migrations are to come"),
    };
    report.add("schema", Outcome::Proved, says);
    check_tables(report, db).await?;

    let ledger = money::ledger::check(db).await?;
    let against = ledger.checks.iter().flat_map(|check| {
        check.violations.iter().map(move |what| format!("{} {what}", check.name))
    });
    report.settle("ledger", "the books balance, and each entry follows", against.collect());
    check_log(report, db, brought).await?;
    check_files(report, db, folder).await?;
    check_keys(report, db, brought).await
}

async fn check_tables(report: &mut Report, db: &Db) -> Result<()> {
    let found = create::table_sums(db).await?;
    let listed = &report.manifest.tables;
    let mut against = Vec::new();
    if found.len() != listed.len() {
        against.push(format!("{} tables where {} should be", found.len(), listed.len()));
    }
    for (found, listed) in found.iter().zip(listed).filter(|(found, listed)| found != listed) {
        against.push(format!("{} is not {} as it was summed up", found.name, listed.name));
    }
    let rows: u64 = found.iter().map(|table| table.rows).sum();
    let says = format!("{} tables with {rows} rows are as they were summed up", found.len());
    report.settle("tables", says, against);
    Ok(())
}

async fn check_log(report: &mut Report, db: &Db, brought: &Brought) -> Result<()> {
    let log = trust::log::check(db, brought.checkpoint.as_deref()).await?;
    let mut against = log.failures;
    if log.checkpoint != report.manifest.log.checkpoint {
        against.push("the newest checkpoint is not the one that the manifest names".into());
    }
    let says = format!("each of the log's {} leaves is its fact, under a signed root", log.size);
    report.settle("log", says, against);
    let Some(continuity) = log.continuity else {
        let says = "no checkpoint was given: whether the log goes on from one that somebody has \
                    seen is not known (--checkpoint)";
        report.add(CONTINUITY, Outcome::Unproved, says);
        return Ok(());
    };
    report.set_back = matches!(continuity, Continuity::Behind { .. });
    let (outcome, says) = match continuity {
        Continuity::Continues { size } => {
            (Outcome::Proved, format!("the log goes on from the checkpoint of {size} leaves"))
        }
        Continuity::Behind { seen, here } => (
            Outcome::Broken,
            format!(
                "the backup is older than the checkpoint: of its log {here} leaves are here, and \
                 {seen} were vouched for. Serving from it sets the log back, and whoever knows \
                 the checkpoint sees a fork"
            ),
        ),
        Continuity::Forked { size } => (
            Outcome::Broken,
            format!("the log has forked: its first {size} leaves are not those of the checkpoint"),
        ),
        Continuity::Foreign(what) => (Outcome::Broken, format!("the checkpoint: {what}")),
    };
    report.add(CONTINUITY, outcome, says);
    Ok(())
}

/// Says of the files whether they are in the backup as uploaded, but for those of which the
/// manifest says that the platform did not have them so itself.
async fn check_files(report: &mut Report, db: &Db, folder: &Path) -> Result<()> {
    let damaged = &report.manifest.damaged;
    let against = compare_files(db, folder, damaged).await?;
    let named: Vec<String> = damaged.iter().map(ToString::to_string).collect();
    let says = match named.len() {
        0 => "every file that the database knows is there as uploaded".to_owned(),
        count => format!("every file but {count} that the database knows is there as uploaded"),
    };
    report.settle("files", says, against);
    if !named.is_empty() {
        let says = "these were not whole any more when the backup was made: look for them in an \
                    older one";
        report.settle(ORIGINALS, says, named);
    }
    Ok(())
}

/// Holds the list against the rows, both in the order in which the backup was made.
async fn compare_files(db: &Db, folder: &Path, damaged: &[Damaged]) -> Result<Vec<String>> {
    let damage: HashMap<&str, Damage> =
        damaged.iter().map(|it| (it.path.as_str(), it.what)).collect();
    let mut listed = contents::Reader::open(folder)?.peekable();
    let is_other = |item: &Result<Item>| {
        item.as_ref().is_ok_and(|item| item.path == DATABASE || item.path == MASTER_KEY)
    };
    let mut against = Vec::new();
    let mut inventory = Inventory::default();
    loop {
        let blobs = inventory.next(db).await?;
        if blobs.is_empty() {
            break;
        }
        for row in blobs.iter().map(Item::of_blob) {
            while listed.next_if(is_other).is_some() {}
            match listed.next_if(|item| item.as_ref().is_ok_and(|item| item.path == row.path)) {
                Some(Ok(item)) if item == row => {}
                Some(_) if damage.get(row.path.as_str()) == Some(&Damage::Altered) => {}
                None if damage.get(row.path.as_str()) == Some(&Damage::Missing) => {}
                Some(_) => against.push(format!("{} is not what was uploaded", row.path)),
                None => against.push(format!("{} is missing", row.path)),
            }
        }
    }
    while listed.next_if(is_other).is_some() {}
    if listed.next().is_some() {
        against.push("there are files that no row knows".into());
    }
    Ok(against)
}

/// A key that was kept apart is worth nothing if it is the wrong one: better to learn it now.
async fn check_keys(report: &mut Report, db: &Db, brought: &Brought) -> Result<()> {
    const NAME: &str = "keys";
    let Some(master) = &brought.master else {
        let says = "whether the master key that is kept elsewhere opens the keys in here is not \
                    known (--master-key)";
        report.add(NAME, Outcome::Unproved, says);
        return Ok(());
    };
    let url = &report.manifest.public_url;
    let keys = trust::key::service::Service::new(db.clone(), master.clone(), url)?;
    match keys.reload().await {
        Ok(()) => {
            let says = format!("the master key opens the {} signing keys", keys.published().len());
            report.add(NAME, Outcome::Proved, says);
        }
        Err(_) => {
            let says = "the master key that was given does not open the signing keys";
            report.add(NAME, Outcome::Broken, says);
        }
    }
    Ok(())
}

/// The folder of a backup as somebody names it: itself, or its manifest.
pub fn folder_of(path: &Path) -> PathBuf {
    match path.file_name() {
        Some(name) if name == "manifest.json" => {
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
        }
        _ => path,
    }
    .to_owned()
}
