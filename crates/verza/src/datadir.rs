//! The data folder: who uses it, and the key that is made in it when none is configured.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kernel::{Error, Result, Secret, World};
use platform::crypto::MasterKey;

use crate::config::Config;

/// The folder, for as long as this process may write to it.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Locked while the process lives; the system unlocks it whatever becomes of us.
    _lock: File,
}

impl DataDir {
    /// Makes the folder if it is not there, and claims it for this process alone.
    pub fn claim(path: &Path) -> Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| unusable(path, &error))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("verza.lock"))
            .map_err(|error| unusable(path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::unavailable(
                "data_dir_in_use",
                format!(
                    "The data folder {} is used by another Verza: stop that one, or choose \
                     another folder with --data-dir.",
                    path.display()
                ),
            )),
            Err(TryLockError::Error(error)) => Err(unusable(path, &error)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The embedded database's file.
    pub fn database(path: &Path) -> PathBuf {
        path.join("verza.db")
    }

    /// The configured master key, or the one in the folder, which is made if there is neither it nor
    /// a database that was sealed under it.
    pub fn master_key(&self, config: &Config, world: &World) -> Result<MasterKey> {
        if let Some(text) = &config.secrets.master_key {
            return parse_key(text.expose(), "secrets.master_key");
        }
        if config.database.url.is_some() {
            return Err(shared_key_is_missing());
        }
        let path = self.path.join("master.key");
        match std::fs::read_to_string(&path) {
            Ok(text) => parse_key(text.trim(), &path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let database = Self::database(&self.path);
                if database.exists() {
                    return Err(lost_key(&path, &database));
                }
                let key: [u8; 32] = world.random();
                write_key(&self.path, &path, &key)?;
                Ok(MasterKey::new(key))
            }
            Err(error) => Err(unusable(&path, &error)),
        }
    }
}

/// The master key for commands that only look: it must be there already.
pub(crate) fn existing_master_key(config: &Config) -> Result<MasterKey> {
    let (text, place) = existing_master_key_text(config)?;
    parse_key(text.expose(), &place)
}

/// The same as it is written, and where.
pub(crate) fn existing_master_key_text(config: &Config) -> Result<(Secret<String>, String)> {
    if let Some(text) = &config.secrets.master_key {
        return Ok((text.clone(), "secrets.master_key".into()));
    }
    let path = config.storage.data_dir.join("master.key");
    Ok((read_key(&path)?, path.display().to_string()))
}

/// The text of a key that is in a file.
pub(crate) fn read_key(path: &Path) -> Result<Secret<String>> {
    let mut text = String::new();
    File::open(path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|error| unusable(path, &error))?;
    Ok(Secret::new(text.trim().to_owned()))
}

/// Why no key is made beside a database: it would open nothing in there.
fn lost_key(path: &Path, database: &Path) -> Error {
    let message = format!(
        "{} is missing, and keys and mails in {} are sealed under it: bring back master.key from \
         its backup.",
        path.display(),
        database.display()
    );
    Error::unavailable("master_key_missing", message)
}

/// Why a shared database is not served without a configured key.
pub(crate) fn shared_key_is_missing() -> Error {
    Error::invalid(
        "invalid_configuration",
        "secrets.master_key is not set. With a PostgreSQL database it must be: every process that \
         shares the database needs the same one. Make one with: openssl rand -hex 32",
    )
}

/// Reads a key, and refuses what is obviously none.
pub(crate) fn parse_key(text: &str, place: &str) -> Result<MasterKey> {
    let key: Option<[u8; 32]> = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    let key = key.ok_or_else(|| {
        let message =
            format!("{place} must be 64 hexadecimal digits, as openssl rand -hex 32 gives.");
        Error::invalid("invalid_configuration", message)
    })?;
    let first = key[0];
    if key.iter().all(|byte| *byte == first) {
        let message =
            format!("{place} is one byte repeated: that is no secret. Make a random one.");
        return Err(Error::invalid("invalid_configuration", message));
    }
    Ok(MasterKey::new(key))
}

/// Written beside and renamed, so that a crash leaves the whole key or none; a half key would
/// lock everything that it seals.
fn write_key(folder: &Path, path: &Path, key: &[u8; 32]) -> Result<()> {
    let beside = folder.join("master.key.new");
    let write = || -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(hex::encode(key).as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    if matches!(error.kind(), StorageFull | QuotaExceeded) {
        let message = format!("{} cannot be written: its disk is full. Make room.", path.display());
        return Error::unavailable("storage_full", message);
    }
    let message = format!(
        "{} cannot be used: {error}. Choose a folder that this user may write with --data-dir.",
        path.display()
    );
    Error::unavailable("data_dir_unusable", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_claims_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::claim(folder.path()).unwrap();
        let error = DataDir::claim(folder.path()).unwrap_err();
        assert_eq!(error.code(), "data_dir_in_use");
        drop(first);
        DataDir::claim(folder.path()).unwrap();
    }

    #[test]
    fn the_made_key_is_kept_and_is_nobody_else_s_to_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let claimed = DataDir::claim(folder.path()).unwrap();
        let world = platform::world::system();
        let config = Config::default();
        let sealed =
            claimed.master_key(&config, &world).unwrap().seal(&world, "x", b"secret").unwrap();
        let again = claimed.master_key(&config, &world).unwrap();
        assert_eq!(again.open("x", &sealed).unwrap().expose(), b"secret");
        let mode = folder.path().join("master.key").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn no_key_is_made_beside_a_database_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let claimed = DataDir::claim(folder.path()).unwrap();
        std::fs::write(DataDir::database(folder.path()), "").unwrap();
        let error = claimed.master_key(&Config::default(), &platform::world::system()).unwrap_err();
        assert_eq!(error.code(), "master_key_missing");
        assert!(error.message().contains("bring back master.key"), "{error}");
        assert!(!folder.path().join("master.key").exists());
    }

    #[test]
    fn a_weak_or_missing_key_is_refused() {
        for text in ["", "abc", &"00".repeat(32), &"zz".repeat(32), &"ab".repeat(31)] {
            let mut config = Config::default();
            config.secrets.master_key = Some(Secret::new(text.to_owned()));
            assert!(existing_master_key(&config).is_err(), "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        let claimed = DataDir::claim(folder.path()).unwrap();
        let mut config = Config::default();
        config.database.url = Some(Secret::new("postgres://x".into()));
        let error = claimed.master_key(&config, &platform::world::system()).unwrap_err();
        assert!(error.message().contains("openssl rand -hex 32"));
    }
}
