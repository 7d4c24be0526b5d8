//! A private mail server that fails where a test wants it to, with a certificate of its own making.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::Service;
use super::binaries::Wanted;
use super::scratch::Scratch;
use super::watched::Watched;
use crate::Result;

const AIOSMTPD: Wanted = Wanted {
    service: "The mail server of the tests",
    programs: &["aiosmtpd"],
    versioned: &[],
    package: "python3-aiosmtpd",
};
const OPENSSL: Wanted =
    Wanted { service: "OpenSSL", programs: &["openssl"], versioned: &[], package: "openssl" };

/// Arguments: the folder of openssl, the Python that has aiosmtpd, the scratch folder.
const START: &str = r#"
"$1/openssl" req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
    -config "$3/smtp.cnf" -keyout "$3/key.pem" -out "$3/cert.pem" || exit
exec "$2" "$3/smtp.py" "$3"
"#;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn start() -> Result<Service> {
    let python = interpreter(&AIOSMTPD.folder()?.join("aiosmtpd"))?;
    let openssl = OPENSSL.folder()?;
    let scratch = Scratch::new("smtp", None)?;
    let folder = scratch.path().to_owned();
    fs::write(folder.join("smtp.py"), include_str!("smtp.py"))?;
    fs::write(folder.join("smtp.cnf"), include_str!("smtp.cnf"))?;
    let words = [openssl.as_path(), &folder].map(Path::to_string_lossy);
    let command = ["sh", "-c", START, "start", &words[0], &python, &words[1]];
    let process = Watched::start(scratch, "TERM", &command)?;
    let url = wait_until_ready(&process)?;
    Ok(Service { name: "SMTP", variable: "VERZA_TEST_SMTP_URL", url, process })
}

/// The Python that the package was installed for stands in the first line of its program. Another
/// one that comes first in PATH does not have it.
fn interpreter(program: &Path) -> Result<String> {
    let text = fs::read_to_string(program)?;
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("#!").map(|line| line.trim().to_owned()).ok_or_else(|| {
        format!("{} does not say which Python it runs under", program.display()).into()
    })
}

fn wait_until_ready(process: &Watched) -> Result<String> {
    let begun = Instant::now();
    loop {
        if process.has_ended() {
            return Err(format!("the mail server did not start:\n{}", process.log_tail()).into());
        }
        if let Ok(url) = fs::read_to_string(process.folder().join("url")) {
            return Ok(url);
        }
        if begun.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            let log = process.log_tail();
            return Err(format!("the mail server was not ready in {seconds} s:\n{log}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
}
