//! Bringing a backup back: into a folder that is not there yet, and all of it or nothing.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use kernel::{Error, Result, World};
use trust::log::{Memory, follows};

use super::{Draft, MASTER_KEY, blocking, cannot_write, contents, sync_folders};

/// Copies a backup that was found sound into a data folder. Every byte is hashed once more on the
/// way. `seen` is the newest checkpoint of the log that is known to have been signed: the folder
/// remembers it, so that a log which was set back is found out at the first start.
pub async fn restore(backup: &Path, place: &Path, seen: &str, world: &World) -> Result<()> {
    let draft = Draft::beside(place, world)?;
    let (from, to) = (backup.to_owned(), draft.path.clone());
    blocking(move || copy_all(&from, &to)).await?;
    if !seen.is_empty() {
        Memory::in_folder(&draft.path).keep(seen)?;
    }
    draft.keep()
}

/// Which of two checkpoints a restored folder is to remember: what the backup ends with, or what is
/// `known` on this machine, if that is of the same platform and vouches for more. Whether either is
/// genuine, the start decides.
pub fn newest<'a>(in_backup: &'a str, known: Option<&'a str>) -> &'a str {
    let head = |note: &'a str| {
        let mut lines = note.lines();
        let (origin, size) = (lines.next()?, lines.next()?.parse::<u64>().ok()?);
        origin.contains('/').then_some((origin, size))
    };
    match (head(in_backup), known.and_then(|known| head(known).map(|head| (known, head)))) {
        // A log of another term is one that the backup does not know, or the one before.
        (Some((own, size)), Some((known, (other, vouched)))) => {
            let is_newer = if own == other { vouched > size } else { follows(other, own) };
            if is_newer { known } else { in_backup }
        }
        (None, Some((known, _))) => known,
        _ => in_backup,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vouches_for_more_of_the_same_log_is_remembered() {
        let note = |origin: &str, size: u64| format!("{origin}\n{size}\nAAAA\n\n\u{2014} a b\n");
        let backup = note("a.example/audit/2026", 7);
        for (known, is_newer) in [
            (note("a.example/audit/2026", 8), true),
            (note("a.example/audit/2026", 6), false),
            (note("a.example/audit/2026-2", 1), true),
            (note("a.example/audit/2025", 99), false),
            (note("a.example/audit/2027", 1), true),
            (note("b.example/audit/2026", 99), false),
            ("nothing".to_owned(), false),
        ] {
            let found = newest(&backup, Some(&known));
            assert_eq!(found == known, is_newer, "{known}");
        }
        let ninth = note("a.example/audit/2026-9", 7);
        let tenth = note("a.example/audit/2026-10", 1);
        assert_eq!(newest(&ninth, Some(&tenth)), tenth);
        assert_eq!(newest(&tenth, Some(&ninth)), tenth);
        assert_eq!(newest(&backup, None), backup);
        assert_eq!(newest("", None), "");
    }
}
