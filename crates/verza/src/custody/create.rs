//! Making a backup, also beside a running server.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use documents::Inventory;
use kernel::{Error, Kind, Result, Secret, World};
use platform::blob::{Blobs, Key, Stored};
use platform::db::{Db, SqliteOptions, copy_sqlite};

use super::contents::{Item, Writer, blob_path};
use super::manifest::{Damage, Damaged, FORMAT, LogHead, Manifest, TableSum};
use super::{DATABASE, Draft, MASTER_KEY, blocking, cannot_write, check, relocate, sync_folders};
use crate::config::Config;
use crate::datadir::{self, DataDir};
use crate::files;

/// A database of the backup that is still being written to.
const DRAFT: &str = "draft.db";

/// Makes a backup at a place where there is nothing yet. `tell` hears what is being done.
pub async fn create(
    config: &Config,
    place: &Path,
    with_keys: bool,
    tell: impl Fn(String),
) -> Result<Manifest> {
    let (key_text, key_place) = datadir::existing_master_key_text(config)?;
    let master = datadir::parse_key(key_text.expose(), &key_place)?;
    let live = crate::wiring::open_to_look(config)?;
    let world = live.world().clone();
    let draft = Draft::beside(place, &world)?;
    let folder = draft.path.clone();
    let mut copier = Copier {
        from: files::store(config, world.clone())?,
        to: Blobs::on_disk(&folder, world.clone())?,
        folder: folder.clone(),
        altered: HashMap::new(),
        missing: HashSet::new(),
        vanished: Vec::new(),
        tell: &tell,
        copied: 0,
    };
    // Most files first. What is deleted meanwhile is not in the database's copy, and what comes in
    // is fetched once there is one: no row of it is without its bytes.
    copier.gather(&live, &live).await?;
    let created_at = world.now();
    let copy = copier.copy_database(config, &live).await?;
    copier.drop_strays(&copy).await?;

    tell("summing up".into());
    let (mut list, damaged) = copier.list(&copy).await?;
    if with_keys {
        list.add(&write_key(&folder, &key_text)?)?;
    }
    let manifest = Manifest {
        format: FORMAT,
        verza: crate::VERSION.into(),
        created_at: created_at.to_string(),
        engine: live.engine_name().into(),
        public_url: config.server.public_url(),
        has_master_key: with_keys,
        contents: list.finish()?,
        tables: table_sums(&copy).await?,
        log: log_head(&copy).await?,
        damaged,
    };
    copy.close().await;
    live.close().await;
    manifest.write(&folder, &master)?;
    blocking(move || sync_folders(&folder).map_err(|error| cannot_write(&folder, &error))).await?;
    draft.keep()?;
    Ok(manifest)
}

struct Copier<'a, F: Fn(String)> {
    from: Blobs,
    to: Blobs,
    folder: PathBuf,
    /// By key: what was uploaded differs from what is there, which is this.
    altered: HashMap<String, Stored>,
    /// Their rows are there and their bytes are not.
    missing: HashSet<String>,
    /// Deleted before they could be copied.
    vanished: Vec<Key>,
    tell: &'a F,
    copied: u64,
}

impl<F: Fn(String)> Copier<'_, F> {
    /// Copies the database, and the files that have come in since the others were copied.
    async fn copy_database(&mut self, config: &Config, live: &Db) -> Result<Db> {
        (self.tell)("copying the database".into());
        let world = live.world();
        let to = self.folder.join(DATABASE);
        if live.is_shared() {
            self.draw_off(live).await?;
        } else {
            let (from, into) = (DataDir::database(&config.storage.data_dir), to.clone());
            blocking(move || copy_sqlite(&from, &into)).await?;
        }
        self.vanished.clear();
        let copy = check::open_copy(&to, world)?;
        self.gather(&copy, live).await?;
        if self.vanished.is_empty() {
            return Ok(copy);
        }
        copy.close().await;
        drop(copy);
        self.forget_vanished(world).await?;
        check::open_copy(&to, world)
    }

    /// Fills an embedded database with the rows of a shared one as they are at one moment, however
    /// long that takes and whoever writes meanwhile.
    async fn draw_off(&self, live: &Db) -> Result<()> {
        let draft = self.folder.join(DRAFT);
        let target = Db::open_sqlite(&SqliteOptions::at(&draft), live.world().clone())?;
        relocate::draw_off(live, &target).await?;
        target.close().await;
        drop(target);
        self.settle_draft().await
    }

    /// Makes the database of a draft. Once more copied: what has been written to has a log beside
    /// it.
    async fn settle_draft(&self) -> Result<()> {
        let (draft, into) = (self.folder.join(DRAFT), self.folder.join(DATABASE));
        blocking(move || copy_sqlite(&draft, &into)).await?;
        for end in ["", "-wal", "-shm"] {
            let path = self.folder.join(format!("{DRAFT}{end}"));
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(cannot_write(&path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Copies what a database refers to and is not here yet.
    async fn gather(&mut self, db: &Db, live: &Db) -> Result<()> {
        let mut inventory = Inventory::default();
        loop {
            let blobs = inventory.next(db).await?;
            if blobs.is_empty() {
                return Ok(());
            }
            for blob in &blobs {
                self.fetch(blob, live).await?;
            }
            (self.tell)(format!("{} files copied", self.copied));
        }
    }

    async fn fetch(&mut self, blob: &Stored, live: &Db) -> Result<()> {
        if self.folder.join(blob_path(&blob.key)).exists() {
            return Ok(());
        }
        let stored = match self.from.copy_to(&self.to, &blob.key, blob.size).await {
            Ok(stored) => stored,
            // Deleted since its row was read.
            Err(_) if !Inventory::holds(live, &blob.key).await? => {
                self.vanished.push(blob.key.clone());
                return Ok(());
            }
            // The store answers, and has not what it should have. One file that is lost must not
            // cost all the others their backup: it is named, and the others are copied.
            Err(error) if error.kind() == Kind::Internal => {
                tracing::error!(%error, blob = %blob.key, "a file could not be copied");
                self.missing.insert(blob.key.to_string());
                return Ok(());
            }
            Err(error) => return Err(not_made(&blob.key, &error)),
        };
        self.copied += 1;
        if stored.sha256 != blob.sha256 {
            self.altered.insert(blob.key.to_string(), stored);
        }
        Ok(())
    }

    /// Takes out of the copy what was deleted between its moment and now: the bytes are gone, and
    /// so is the row to be.
    async fn forget_vanished(&self, world: &World) -> Result<()> {
        let (last, draft) = (self.folder.join(DATABASE), self.folder.join(DRAFT));
        fs::rename(&last, &draft).map_err(|error| cannot_write(&last, &error))?;
        let db = Db::open_sqlite(&SqliteOptions::at(&draft), world.clone())?;
        let vanished = &self.vanished;
        db.run("backup.forget", |tx| async move {
            for key in vanished {
                if !Inventory::forget(&tx, key).await? {
                    let message = "A credential and its document were deleted while the backup \
                                   was made. Start it again.";
                    return Err(Error::unavailable("backup_overtaken", message));
                }
            }
            Ok(())
        })
        .await?;
        db.close().await;
        drop(db);
        self.settle_draft().await
    }

    /// Lists the database and the files that it refers to; answers also which are not whole.
    async fn list(&self, db: &Db) -> Result<(Writer, Vec<Damaged>)> {
        let mut damaged = Vec::new();
        let mut list = Writer::create(&self.folder)?;
        let folder = self.folder.clone();
        list.add(&blocking(move || Item::of_file(&folder, DATABASE)).await?)?;
        let mut inventory = Inventory::default();
        loop {
            let blobs = inventory.next(db).await?;
            if blobs.is_empty() {
                return Ok((list, damaged));
            }
            for blob in &blobs {
                if self.missing.contains(blob.key.as_str()) {
                    damaged.push(Self::damage(db, &blob.key, Damage::Missing).await?);
                    continue;
                }
                let altered = self.altered.get(blob.key.as_str());
                if altered.is_some() {
                    damaged.push(Self::damage(db, &blob.key, Damage::Altered).await?);
                }
                list.add(&Item::of_blob(altered.unwrap_or(blob)))?;
            }
        }
    }

    async fn damage(db: &Db, key: &Key, what: Damage) -> Result<Damaged> {
        let file = Inventory::file_of(db, key).await?;
        let file = file.map_or_else(|| "a file".to_owned(), |id| id.to_string());
        Ok(Damaged { file, path: blob_path(key), what })
    }

    /// Removes what was deleted after it had been copied: it is not to live on here.
    async fn drop_strays(&mut self, db: &Db) -> Result<()> {
        let end = db.world().now() + std::time::Duration::from_secs(24 * 3600);
        for slice in 0..=u8::MAX {
            for key in self.to.slice(slice, end).await? {
                if !Inventory::holds(db, &key).await? {
                    self.to.delete(&key).await?;
                }
            }
        }
        // Nothing is on its way in any more.
        let incoming = self.folder.join("incoming");
        fs::remove_dir(&incoming).map_err(|error| cannot_write(&incoming, &error))
    }
}

/// What happened to a file, for whoever wanted a backup.
fn not_made(key: &Key, error: &Error) -> Error {
    let path = blob_path(key);
    let message = format!("{path} could not be copied, and no backup was made: {error}");
    Error::unavailable("backup_failed", message).because(error.clone())
}

fn write_key(folder: &Path, text: &Secret<String>) -> Result<Item> {
    let path = folder.join(MASTER_KEY);
    let write = || -> std::io::Result<()> {
        let mut file =
            fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
        file.write_all(text.expose().as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| cannot_write(&path, &error))?;
    Item::of_file(folder, MASTER_KEY)
}

/// All tables of a store that nobody writes to, summed up.
pub(super) async fn table_sums(db: &Db) -> Result<Vec<TableSum>> {
    let snapshot = db.snapshot().await?;
    let mut sums = Vec::new();
    for table in snapshot.tables().await? {
        let sum = snapshot.sum(&table, |_| ()).await?;
        sums.push(TableSum { name: table.name, rows: sum.rows, sha256: hex::encode(sum.sha256) });
    }
    Ok(sums)
}

async fn log_head(db: &Db) -> Result<LogHead> {
    let (size, checkpoint) = trust::log::head(db).await?;
    Ok(LogHead { size, checkpoint })
}
