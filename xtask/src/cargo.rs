//! Cargo, called from a program that cargo itself started.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;

/// Variables that `cargo run` sets for this program and that build scripts of dependencies watch.
/// Handed on, they make every nested build recompile those dependencies, and the next plain build
/// recompile them back.
const INHERITED: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

/// A cargo command at the workspace root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if INHERITED.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// The workspace root: the folder above this crate.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Whether `cargo <subcommand>` is installed.
pub(crate) fn has(subcommand: &str) -> bool {
    cargo(&[subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as a person would type it.
pub(crate) fn spelled(command: &Command) -> String {
    let words = command.get_args().map(|word| {
        let word = word.to_string_lossy();
        if word.contains(char::is_whitespace) { format!("'{word}'") } else { word.into_owned() }
    });
    std::iter::once("cargo".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Runs the command with this terminal, and fails when it fails.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let status = command
        .status()
        .map_err(|error| format!("`{}` did not start: {error}", spelled(&command)))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{}` failed ({status})", spelled(&command)).into())
}
