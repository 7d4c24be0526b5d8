//! Developer commands, run as `cargo xtask <command>`. Standard library only, so that the first
//! thing a newcomer compiles takes a second.

mod bench;
mod cargo;
mod generate;
mod judges;
mod services;
mod test;

use std::env;
use std::process::ExitCode;

/// Everything here ends at a person's terminal, so an error is the sentence they read.
type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const HELP: &str = "\
Developer commands of Verza.

Usage: cargo xtask <command> [options]

Commands:
  test      Check formatting and lints and run every test, with the services the tests need
  services  Start those services, print how to reach them, and stay until Ctrl-C
  generate  Rewrite the generated files that are committed (routes.txt, openapi.json)
  bench     Measure the hot paths against their physical limit
  judges    Let software of others judge what is signed (installs from npm and PyPI)
  help      Print this

`cargo xtask <command> --help` explains a command.";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    match run(command.as_deref(), &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<&str>, arguments: &[String]) -> Result<()> {
    match command {
        Some("test") => test::run(arguments),
        Some("services") => services::run(arguments),
        Some("generate") => generate::run(arguments),
        Some("bench") => bench::run(arguments),
        Some("judges") => judges::judges(arguments),
        Some("help" | "-h" | "--help") => {
            println!("{HELP}");
            Ok(())
        }
        Some(unknown) => Err(format!("there is no command `{unknown}`\n\n{HELP}").into()),
        None => Err(format!("which command?\n\n{HELP}").into()),
    }
}

/// Whether the person asked what a command does instead of asking for it to be done.
fn wants_help(arguments: &[String]) -> bool {
    arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "-h" || argument == "--help")
}

/// The error for an argument a command does not know.
fn unknown_argument(argument: &str, help: &str) -> Box<dyn std::error::Error> {
    format!("unknown argument `{argument}`\n\n{help}").into()
}
