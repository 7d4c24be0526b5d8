//! `cargo xtask generate`: the files that are made by the executable and committed for people.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;

use crate::cargo::{cargo, root, spelled};
use crate::{Result, unknown_argument, wants_help};

const HELP: &str = "\
Rewrite the generated files that are committed, each from the executable's own description of
itself: routes.txt from `verza api routes`, openapi.json from `verza api openapi`.

Usage: cargo xtask generate [options]

Options:
  --check  Change nothing; fail when a file is not what would be generated";

/// Each file, and what the executable is asked for to fill it.
const FILES: [(&str, &[&str]); 2] =
    [("routes.txt", &["api", "routes"]), ("openapi.json", &["api", "openapi"])];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if wants_help(arguments) {
        println!("{HELP}");
        return Ok(());
    }
    let mut check = false;
    for argument in arguments {
        match argument.as_str() {
            "--check" => check = true,
            unknown => return Err(unknown_argument(unknown, HELP)),
        }
    }
    // Everything is generated before anything is written, so that a failure leaves no mixture.
    let mut fresh = Vec::new();
    for (name, question) in FILES {
        fresh.push((name, ask(question)?));
    }
    let mut stale = Vec::new();
    for (name, text) in fresh {
        if !settle(&root().join(name), name, &text, check)? {
            stale.push(name);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("{} out of date: run `cargo xtask generate` and commit", stale.join(", ")).into())
}

/// What the executable answers.
fn ask(question: &[&str]) -> Result<String> {
    let mut command = cargo(&["run", "--quiet", "-p", "verza", "--"]);
    command.args(question).stderr(Stdio::inherit());
    let output = command
        .output()
        .map_err(|error| format!("`{}` did not start: {error}", spelled(&command)))?;
    if !output.status.success() {
        return Err(format!("`{}` failed ({})", spelled(&command), output.status).into());
    }
    let text = String::from_utf8(output.stdout)
        .map_err(|_| format!("`{}` printed something that is not UTF-8", spelled(&command)))?;
    if text.trim().is_empty() {
        return Err(format!("`{}` printed nothing", spelled(&command)).into());
    }
    Ok(text)
}

/// Writes the file, or with `check` says where it differs. False when the file is out of date.
fn settle(path: &Path, name: &str, fresh: &str, check: bool) -> Result<bool> {
    let committed = match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("{name} cannot be read: {error}").into()),
    };
    if committed.as_deref() == Some(fresh) {
        println!("{name}: up to date");
        return Ok(true);
    }
    if check {
        let place = committed.map_or("is missing".to_owned(), |old| difference(&old, fresh));
        println!("{name}: {place}");
        return Ok(false);
    }
    fs::write(path, fresh).map_err(|error| format!("{name} cannot be written: {error}"))?;
    println!("{name}: written");
    Ok(true)
}

/// The first line at which two texts part, shown from both.
fn difference(committed: &str, fresh: &str) -> String {
    let (mut old, mut new) = (committed.lines(), fresh.lines());
    let mut number = 1;
    loop {
        match (old.next(), new.next()) {
            (None, None) => return "differs in its line ends".to_owned(),
            (left, right) if left == right => number += 1,
            (left, right) => {
                let [left, right] = [left, right].map(|line| line.unwrap_or("(end of file)"));
                return format!(
                    "differs from line {number}\n  committed: {left}\n  generated: {right}"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_first_line_that_parts() {
        let report = difference("a\nb\nc\n", "a\nx\nc\n");
        assert_eq!(report, "differs from line 2\n  committed: b\n  generated: x");
        assert!(difference("a\n", "a\nb\n").contains("committed: (end of file)"));
        assert_eq!(difference("a\n", "a"), "differs in its line ends");
    }
}
