//! `cargo xtask test`: everything a change must pass, in one command.

use std::process::Command;
use std::time::Instant;

use crate::cargo::{cargo, has, run as run_cargo, spelled};
use crate::services::Services;
use crate::{Result, unknown_argument, wants_help};

const HELP: &str = "\
Check formatting and lints and run every test. The services the tests need are started for this
run from the system's binaries, on free ports, and stopped at its end whatever that end is.

Usage: cargo xtask test [options] [-- <filter>...]

Options:
  --keep-going  Do not stop at the first failure
  --no-lint     Only the tests: neither formatting nor clippy

What follows `--` goes to the test runner, cargo-nextest where it is installed and cargo test
where it is not: `cargo xtask test --no-lint -- ledger` runs the tests named so in any part.";

/// What the person asked for.
#[derive(Debug, Default, PartialEq)]
struct Options {
    keep_going: bool,
    no_lint: bool,
    filters: Vec<String>,
}

/// One thing that must succeed.
struct Step {
    name: &'static str,
    command: Command,
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if wants_help(arguments) {
        println!("{HELP}");
        return Ok(());
    }
    let options = parse(arguments)?;
    // Services come first: that a database is missing should be known before minutes of linting.
    let services = Services::start()?;
    let steps = steps(&options, &services);
    let failed = run_steps(steps, options.keep_going);
    drop(services);
    if failed.is_empty() {
        println!("\n== all passed");
        return Ok(());
    }
    Err(format!("failed: {}", failed.join(", ")).into())
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--keep-going" => options.keep_going = true,
            "--no-lint" => options.no_lint = true,
            "--" => options.filters.extend(rest.by_ref().cloned()),
            flag if flag.starts_with('-') => return Err(unknown_argument(flag, HELP)),
            filter => options.filters.push(filter.to_owned()),
        }
    }
    Ok(options)
}

fn steps(options: &Options, services: &Services) -> Vec<Step> {
    let mut steps = Vec::new();
    if options.no_lint {
        println!("== formatting and lints are left out, as asked");
    } else {
        let format = cargo(&["fmt", "--all", "--check"]);
        let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        steps.push(Step { name: "formatting", command: format });
        steps.push(Step { name: "lints", command: cargo(&clippy) });
    }
    let mut tests = tests(options, has("nextest"));
    tests.envs(services.environment());
    steps.push(Step { name: "tests", command: tests });
    steps
}

fn tests(options: &Options, nextest: bool) -> Command {
    let runner: &[&str] = if nextest { &["nextest", "run"] } else { &["test"] };
    let mut command = cargo(runner);
    command.args(["--workspace", "--locked"]);
    if options.keep_going {
        command.arg("--no-fail-fast");
    }
    if !nextest && !options.filters.is_empty() {
        command.arg("--");
    }
    command.args(&options.filters);
    command
}

/// Runs the steps in order and returns the names of those that failed.
fn run_steps(steps: Vec<Step>, keep_going: bool) -> Vec<&'static str> {
    let mut failed = Vec::new();
    for step in steps {
        println!("\n== {}: {}", step.name, spelled(&step.command));
        let begun = Instant::now();
        let outcome = run_cargo(step.command);
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("== {}: passed in {seconds:.1} s", step.name),
            Err(error) => {
                println!("== {}: FAILED in {seconds:.1} s: {error}", step.name);
                failed.push(step.name);
                if !keep_going {
                    break;
                }
            }
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_and_filters_are_told_apart() {
        let options = parse(&words("--keep-going ledger -- --no-capture wallet")).unwrap();
        let filters = words("ledger --no-capture wallet");
        assert_eq!(options, Options { keep_going: true, no_lint: false, filters });
        assert!(parse(&words("--keepgoing")).is_err());
    }

    #[test]
    fn filters_reach_either_test_runner() {
        let options = Options { filters: words("ledger"), ..Options::default() };
        let with_nextest = spelled(&tests(&options, true));
        let without = spelled(&tests(&options, false));
        assert_eq!(with_nextest, "cargo nextest run --workspace --locked ledger");
        assert_eq!(without, "cargo test --workspace --locked -- ledger");
    }
}
