//! `cargo xtask judges`: what software that nobody here wrote says of what Verza signs.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cargo::{cargo, root, run};
use crate::{Result, unknown_argument, wants_help};

const HELP: &str = "\
Let outside judges look at what Verza signs: digitalbazaar's credential libraries and the OpenWallet
Foundation's SD-JWT libraries from npm, sd-jwt from PyPI, and the second reader under tools/, which
must agree with the first on a thousand tampered bundles. poppler's pdfsig looks at the PDFs whose
signatures we look at, the libraries of Go's checksum database at the tiles of a log, boto3 at presigned
addresses, and the wallet library @openid4vc/openid4vci collects a credential of a running server. Stripe's
own library asks the simulator what our adapter asks, our adapter asks localstripe, and standardwebhooks
checks our webhooks.

Installs from npm and PyPI into target/judges; needs node, npm and python3 with venv, and pdfsig and Go
with golang.org/x/mod, which are installed from the system's packages (Debian's) where they may be. Not a
part of `cargo xtask test`, which needs no network.

Usage: cargo xtask judges";

/// Those of PyPI whose answers are known in one version are pinned to it.
const PYPI: [&str; 6] = [
    "sd-jwt==0.10.4",
    "cryptography",
    "boto3",
    "stripe==16.1.0",
    "localstripe==1.15.10",
    "standardwebhooks==1.1.0",
];
/// Our tests that write for judges, or bring them together with what they judge.
const TESTS: [&[&str]; 4] = [
    &["test", "-p", "verify", "--lib", "--", "--ignored", "--nocapture"],
    &["test", "-p", "platform", "--lib", "--", "--ignored", "--nocapture", "outside_judges"],
    &["test", "-p", "money", "--lib", "--", "--ignored", "--nocapture", "outside_judges"],
    &["test", "-p", "messaging", "--lib", "--", "--ignored", "--nocapture", "outside_judges"],
];

pub(crate) fn judges(arguments: &[String]) -> Result<()> {
    if wants_help(arguments) {
        println!("{HELP}");
        return Ok(());
    }
    if let Some(unknown) = arguments.first() {
        return Err(unknown_argument(unknown, HELP));
    }
    let folder = root().join("target/judges");
    let files = folder.join("files");
    fs::create_dir_all(&files)?;
    for name in
        ["package.json", "judge.mjs", "judge.py", "pickup.mjs", "presigned.py", "webhooks.py"]
    {
        fs::copy(root().join("tools/judges").join(name), folder.join(name))?;
    }
    let venv = folder.join("venv");
    if !venv.exists() {
        carry_out(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let python = venv.join("bin/python3");
    carry_out(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PYPI))?;
    let npm = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
    carry_out(Command::new("npm").args(npm).current_dir(&folder))?;

    for arguments in TESTS {
        let mut tests = cargo(arguments);
        tests.env("VERZA_JUDGES", &files).env("PATH", path_with(&venv.join("bin")));
        run(tests)?;
    }
    let node = carry_out(Command::new("node").arg("judge.mjs").arg(&files).current_dir(&folder));
    let pypi = carry_out(Command::new(&python).arg(folder.join("judge.py")).arg(&files));
    let pdfsig = pdfsig(&files);
    let boto3 = carry_out(Command::new(&python).arg(folder.join("presigned.py")).arg(&files));
    let hooks = carry_out(Command::new(&python).arg(folder.join("webhooks.py")).arg(&files));
    let results = [node, pypi, pdfsig, boto3, hooks, go(&files), wallet(&folder)];
    // Each of them is heard before any of them fails.
    results.into_iter().collect()
}

/// What the libraries of Go's checksum database say of a log's tiles.
fn go(files: &Path) -> Result<()> {
    const MODULES: &str = "/usr/share/gocode";
    if !Path::new(MODULES).join("src/golang.org/x/mod/sumdb").exists() {
        let packages = ["golang-go", "golang-golang-x-mod-dev"];
        let install = ["install", "--yes", "--no-install-recommends"];
        carry_out(Command::new("apt-get").args(install).args(packages)).map_err(|error| {
            format!("Go's libraries are missing, and could not be installed: {error}")
        })?;
    }
    let program = root().join("tools/judges/tiles/main.go");
    let mut go = Command::new("go");
    go.env("GO111MODULE", "off").env("GOPATH", MODULES).env("GOFLAGS", "");
    carry_out(go.arg("run").arg(program).arg(files.join("log")))
}

/// What a wallet library says of a running server.
fn wallet(folder: &Path) -> Result<()> {
    let test = "a_wallet_of_others_collects_a_credential";
    let arguments = ["test", "-p", "verza", "--test", "system", "--", "--ignored", "--nocapture"];
    let mut tests = cargo(&arguments);
    tests.arg(test).env("VERZA_JUDGES_NODE", folder);
    run(tests)
}

/// What poppler says of signed, altered and continued PDFs, beside what we have said of them.
fn pdfsig(files: &Path) -> Result<()> {
    if Command::new("pdfsig").arg("-v").output().is_err() {
        let install = ["install", "--yes", "--no-install-recommends", "poppler-utils"];
        carry_out(Command::new("apt-get").args(install)).map_err(|error| {
            format!("pdfsig is missing, and could not be installed (poppler-utils): {error}")
        })?;
    }
    let mut right = true;
    for key in ["ecdsa", "rsa"] {
        for kind in ["good", "altered", "appended"] {
            let name = format!("{key}-{kind}.pdf");
            let ours = fs::read_to_string(files.join(format!("{name}.json")))?;
            let told = Command::new("pdfsig").arg("-nocert").arg(files.join(&name)).output()?;
            let told = String::from_utf8_lossy(&told.stdout);
            // It ends with 0 whatever it finds: only its words count.
            let facts = [
                (
                    "fits",
                    told.contains("Signature is Valid."),
                    ours.contains("\"integrity\":\"valid\""),
                ),
                (
                    "covers the whole file",
                    told.contains("Total document signed"),
                    ours.contains("\"coversWholeFile\":true"),
                ),
            ];
            for (what, theirs, ours) in facts {
                let verdict = if theirs == ours { "as expected" } else { "UNEXPECTED " };
                right &= theirs == ours;
                println!("{verdict}  {:24} {name} {what}: {theirs}", "poppler pdfsig");
            }
        }
    }
    if right { Ok(()) } else { Err("pdfsig sees other things than we do".into()) }
}

/// The search path with a folder in front, so that the second reader finds its package.
fn path_with(folder: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap_or(path)
}

fn carry_out(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("`{name}` did not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{name}` failed ({status})").into()) }
}
