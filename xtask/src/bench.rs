//! `cargo xtask bench`: builds what is measured, then measures it.

use crate::Result;
use crate::cargo::{cargo, run as run_cargo};

const HELP: &str = "\
Build the executable and the benchmarks optimised, and measure the hot paths against their
physical limit in the same run. Every argument is handed on to the benchmarks.

Usage: cargo xtask bench [path...] [options]

`cargo xtask bench --list` shows the paths, `cargo xtask bench -- --help` all options.";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if crate::wants_help(arguments) || arguments.is_empty() {
        println!("{HELP}");
        return Ok(());
    }
    // The benchmarks start the executable that stands beside them, so it has to be the current one.
    run_cargo(cargo(&["build", "--profile", "dist", "--locked", "-p", "verza"]))?;
    let mut command =
        cargo(&["run", "--quiet", "--profile", "dist", "--locked", "-p", "bench", "--"]);
    command.args(arguments.iter().filter(|argument| *argument != "--"));
    run_cargo(command)
}
