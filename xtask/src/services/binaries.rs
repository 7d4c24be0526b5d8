//! Finding a service's programs, and installing their package where that is allowed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::scratch::is_root;
use crate::Result;

/// The programs a service needs and where they come from.
pub(crate) struct Wanted {
    /// The service, for messages.
    pub(crate) service: &'static str,
    /// Programs that must stand in one folder, so that they are of one version.
    pub(crate) programs: &'static [&'static str],
    /// Folders whose every version has the programs in a `bin` below it.
    pub(crate) versioned: &'static [&'static str],
    /// The Debian package that brings them.
    pub(crate) package: &'static str,
}

impl Wanted {
    /// The folder of the programs; installs the package when there is none and it may.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        if let Some(folder) = self.find() {
            return Ok(folder);
        }
        if !is_root() || !runs("apt-get") {
            return Err(self.missing("and only root with apt-get could install it").into());
        }
        // A package whose service cannot be started here is there all the same.
        let installed = self.install();
        match (self.find(), installed) {
            (Some(folder), _) => Ok(folder),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(self.missing("and installing its package brought none").into()),
        }
    }

    fn missing(&self, why: &str) -> String {
        format!(
            "{} is missing, {why}.\nWanted: the programs {} together in one folder of PATH or in \
             {}/<version>/bin.\nOn Debian and Ubuntu: apt-get install {}",
            self.service,
            self.programs.join(", "),
            self.versioned.join("/<version>/bin, "),
            self.package,
        )
    }

    fn find(&self) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let on_path = env::split_paths(&path).collect::<Vec<_>>();
        // Where servers are, which not everybody's PATH names.
        let servers = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
        let complete =
            |folder: &PathBuf| self.programs.iter().all(|name| folder.join(name).is_file());
        let newest_first = self.versioned.iter().flat_map(|parent| versions(Path::new(parent)));
        on_path.into_iter().chain(servers).chain(newest_first).find(complete)
    }

    fn install(&self) -> Result<()> {
        eprintln!("== {} is missing: installing the package {}", self.service, self.package);
        apt_get(&["update", "--quiet"])?;
        apt_get(&["install", "--yes", "--quiet", "--no-install-recommends", self.package])
    }
}

/// The `bin` folders under the versions in `parent`, the newest first.
fn versions(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_unstable_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn runs(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`apt-get {}` failed ({status})", arguments.join(" ")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_exactly() {
        let wanted = Wanted {
            service: "Nothing",
            programs: &["no-such-program", "nor-this"],
            versioned: &["/nonexistent"],
            package: "nothing",
        };
        assert_eq!(wanted.find(), None);
        let message = wanted.missing("sadly");
        assert!(message.contains("no-such-program, nor-this"), "{message}");
        assert!(message.contains("apt-get install nothing"), "{message}");
    }
}
