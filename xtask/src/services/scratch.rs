//! The throw-away folder of a service, and the user it belongs to.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Result;

/// Who runs a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Owner {
    /// The user who runs this program.
    Ourselves,
    /// Somebody else; only root can start a process for them.
    Other { uid: u32, gid: u32 },
}

/// A folder that only its owner and root can read. Dropping removes it.
pub(crate) struct Scratch {
    path: PathBuf,
    owner: Owner,
}

impl Scratch {
    /// Makes a fresh folder. When this program is root, it belongs to the first of `users` that
    /// exists (some services refuse to run as root); without `users`, and for anybody else, it
    /// belongs to whoever runs this program.
    pub(crate) fn new(name: &str, users: Option<&[&str]>) -> Result<Scratch> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let owner = match users {
            Some(users) if is_root() => first_user(users)?,
            _ => Owner::Ourselves,
        };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("verza-{name}-{}-{count}", process::id()));
        let failed = |error| format!("{} cannot be made: {error}", path.display());
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        if let Owner::Other { uid, gid } = owner {
            chown(&path, Some(uid), Some(gid)).map_err(failed)?;
        }
        Ok(Scratch { path, owner })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Mostly it is gone already, with the service that used it.
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                eprintln!("warning: {} is left behind: {error}", self.path.display());
            }
            _ => {}
        }
    }
}

/// Whether this program may do everything.
pub(crate) fn is_root() -> bool {
    number(&["-u"]) == Some(0)
}

fn first_user(users: &[&str]) -> Result<Owner> {
    let found = users.iter().find_map(|user| {
        let (uid, gid) = (number(&["-u", user])?, number(&["-g", user])?);
        Some(Owner::Other { uid, gid })
    });
    found.ok_or_else(|| {
        let users = users.join(" nor ");
        format!("this runs as root, and there is neither a user {users} to run a service").into()
    })
}

/// One number from `id`, which knows users that stand in no file as well.
fn number(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().parse().ok()
}
