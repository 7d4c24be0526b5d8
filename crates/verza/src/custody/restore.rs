//! Bringing a backup back: into a folder that is not there yet, and all of it or nothing.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use kernel::{Error, Result, World};

use super::{Draft, MASTER_KEY, blocking, cannot_write, contents, sync_folders};

/// Copies a backup that was found sound into a data folder. Every byte is hashed once more on the
/// way.
pub async fn restore(backup: &Path, place: &Path, world: &World) -> Result<()> {
    let draft = Draft::beside(place, world)?;
    let (from, to) = (backup.to_owned(), draft.path.clone());
    blocking(move || copy_all(&from, &to)).await?;
    draft.keep()
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for item in contents::Reader::open(from)? {
        let item = item?;
        let target = to.join(&item.path);
        if let Some(parent) = target.parent() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
            made.map_err(|error| cannot_write(parent, &error))?;
        }
        if contents::copy(&from.join(&item.path), &target)? != (item.size, item.sha256) {
            let message = format!(
                "{} changed while it was read: nothing was restored.",
                from.join(&item.path).display()
            );
            return Err(Error::unavailable("backup_changed", message));
        }
        if item.path == MASTER_KEY {
            let private = fs::Permissions::from_mode(0o600);
            let set = fs::set_permissions(&target, private);
            set.map_err(|error| cannot_write(&target, &error))?;
        }
    }
    sync_folders(to).map_err(|error| cannot_write(to, &error))
}
