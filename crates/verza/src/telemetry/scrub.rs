//! The last thing between a log line and whoever reads it: what looks like a secret is taken out.
//!
//! Nothing here is meant to log secrets in the first place; types hide them (`Secret<T>`), and the
//! edge logs routes and not addresses. This is for what slips through all the same: a library's
//! debug line, a cause that quotes what it could not read.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::LazyLock;

use regex::{Captures, Regex, RegexSet};
use tracing_subscriber::fmt::MakeWriter;

const SECRET: &str = "[secret]";

/// Names whose values are secrets, wherever they stand: in JSON, forms, queries, cookies and the
/// debug text of types.
const NAMES: &str = "pass(?:word|wd|phrase|code)?|[a-z_-]*secret|[a-z_-]*token|(?:x-)?api[_-]?key|\
                     private[_-]?key|master[_-]?key|authorization|(?:set-)?cookie|otp|totp|pin|\
                     recovery[_-]?code|verza_session|session_key|ory_kratos_session|signature";

/// What is taken out; the group of each expression stays in front of it.
static SHAPES: LazyLock<Shapes> = LazyLock::new(|| {
    let mut shapes = vec![
        // A private key, to its end or to that of the text.
        r"(?s)()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)"
            .into(),
        // "name": "value", name: "value", name="value"; quotes may be escaped.
        format!(r#"(?i)(\b(?:{NAMES})\\?"?\s*[:=]\s*\\?")(?:[^"\\]|\\[^"])*"#),
        // name=value.
        format!(r#"(?i)(\b(?:{NAMES})=)[^\s"&;,\[\]{{}}()]+"#),
        // Authorization schemes.
        r"(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}".into(),
        // The password in an address.
        r"(://[^\s/:@]*:)[^\s/@]+@".into(),
        // Tokens by their beginnings: JWT, PASETO, Ory, webhook secrets, API keys.
        r"(\b)(?:eyJ[A-Za-z0-9_-]{8,}[A-Za-z0-9._-]*|v4\.(?:local|public)\.[A-Za-z0-9._-]+)".into(),
        r"(\b)(?:ory_(?:st|at|rt|ac)_|whsec_|sk_|vz_|verza_)[A-Za-z0-9_-]{12,}".into(),
    ];
    // Thirty-two random bytes in base64url, which is what every token of ours is, and what is longer.
    shapes.push(r"()[A-Za-z0-9_-]{43,}".to_owned());
    Shapes {
        any: RegexSet::new(&shapes).ok(),
        each: shapes.iter().filter_map(|shape| Regex::new(shape).ok()).collect(),
    }
});

struct Shapes {
    /// Looks for all of them in one pass: most lines have none.
    any: Option<RegexSet>,
    /// The last one is judged by [`is_random`].
    each: Vec<Regex>,
}

/// The text without what looks like a secret.
pub(crate) fn scrub(text: &str) -> Cow<'_, str> {
    if SHAPES.any.as_ref().is_some_and(|any| !any.is_match(text)) {
        return Cow::Borrowed(text);
    }
    let mut scrubbed = Cow::Borrowed(text);
    for (place, shape) in SHAPES.each.iter().enumerate() {
        let is_last = place + 1 == SHAPES.each.len();
        let hide = |found: &Captures<'_>| {
            let whole = &found[0];
            if is_last && !is_random(whole) {
                return whole.to_owned();
            }
            let end = if whole.ends_with('@') { "@" } else { "" };
            format!("{}{SECRET}{end}", &found[1])
        };
        let hidden = match shape.replace_all(&scrubbed, hide) {
            Cow::Owned(hidden) => hidden,
            Cow::Borrowed(_) => continue,
        };
        scrubbed = Cow::Owned(hidden);
    }
    scrubbed
}

/// Whether a long word looks drawn by chance: names of things are of one case, and hashes are
/// hexadecimal.
fn is_random(word: &str) -> bool {
    let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
}

/// Standard error, for lines that are scrubbed first.
pub(super) struct Scrubbed;

/// One line on its way.
pub(super) struct Line;

impl<'a> MakeWriter<'a> for Scrubbed {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line
    }
}

impl Write for Line {
    /// Takes a whole line at once, as the formatter hands it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        io::stderr().lock().write_all(scrub(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shapes_are_expressions() {
        assert!(SHAPES.any.as_ref().is_some_and(|any| any.len() == SHAPES.each.len()));
        assert_eq!(SHAPES.each.len(), 8);
    }

    #[test]
    fn what_looks_like_a_secret_is_taken_out() {
        for (line, scrubbed) in [
            (
                r#"{"email":"a@b.c","password":"x y\z z"}"#,
                r#"{"email":"a@b.c","password":"[secret]"}"#,
            ),
            (r#"body="{\"password\":\"hunter2\"}""#, r#"body="{\"password\":\"[secret]\"}""#),
            (
                r#"Login { password: "x", name: "y" }"#,
                r#"Login { password: "[secret]", name: "y" }"#,
            ),
            ("password=hunter2&name=y", "password=[secret]&name=y"),
            ("GET /x?access_token=abc&y=1", "GET /x?access_token=[secret]&y=1"),
            ("authorization: Bearer abcdef.ghi", "authorization: Bearer [secret]"),
            ("Basic dXNlcjpwYXNz", "Basic [secret]"),
            ("verza_session=abc; a=b", "verza_session=[secret]; a=b"),
            ("postgres://verza:hunter2@db:5432/x", "postgres://verza:[secret]@db:5432/x"),
            ("got eyJhbGciOiJFZERTQSJ9.e30.c2ln here", "got [secret] here"),
            ("v4.local.AAAA_b-c", "[secret]"),
            ("ory_st_0123456789abcdef", "[secret]"),
            ("a 0aA_bcdefghijklmnopqrstuvwxyz0123456789-ABCDE b", "a [secret] b"),
            ("-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY----- x", "[secret] x"),
        ] {
            assert_eq!(scrub(line), scrubbed);
        }
    }

    #[test]
    fn what_is_none_stays_as_it_is() {
        for line in [
            "method=GET route=/v1/auth/password status=401 micros=12 code=invalid_token",
            "request_id=0190b7c1a2b37c4d8e9f001122334455 user=u_01h455vb4pex5vsknk084sn02q",
            "the token is over; show another one, or a password",
            "root=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "listening on https://verza.example:8443/path, database=postgres",
        ] {
            assert_eq!(scrub(line), line);
        }
    }
}
