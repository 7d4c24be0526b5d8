//! The page that a link opens in a browser: one document, no scripts, nothing from elsewhere.

use std::fmt::{self, Write};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kernel::Timestamp;
use platform::crypto::sha256;

use super::model::View;

/// A page, and the content security policy that lets it have its one style sheet and no more.
pub(super) struct Page {
    pub(super) html: String,
    pub(super) policy: String,
}

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;\
color:#1b1f24;background:#fff}\
h1{font-size:1.6rem;margin:0 0 .25rem}\
.status{display:inline-block;padding:.15rem .7rem;border-radius:1rem;color:#fff;background:#57606a}\
.valid{background:#176f2c}.revoked,.expired{background:#a40e26}\
dt{color:#57606a;margin-top:.75rem}dd{margin:0}\
details{margin-top:2rem}pre{overflow:auto;padding:1rem;background:#f6f8fa;font-size:.8rem}\
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}\
dt{color:#9198a1}pre{background:#161b22}}";

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(sha256(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
});

/// Text as HTML shows it, in elements and in quoted attributes: nothing in it is markup.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// What a link shows.
pub(super) fn view(view: &View) -> Page {
    let status = view.status.as_str();
    let mut body = String::new();
    push(&mut body, format_args!("<h1>{}</h1>\n", Text(&view.title)));
    push(&mut body, format_args!("<p><span class=\"status {status}\">{status}</span></p>\n<dl>"));
    for (label, value) in [
        ("Type", Some(view.r#type.clone())),
        ("Issued by", Some(view.issuer.clone())),
        ("Document number", view.document_number.clone()),
        ("Issue date", view.issue_date.map(|date| date.to_string())),
        ("Expiry date", view.expiry_date.map(|date| date.to_string())),
        ("Verified", view.verified_at.map(Timestamp::to_second_text)),
        ("Valid until", view.valid_until.map(Timestamp::to_second_text)),
        ("Verification", view.verified_by.clone()),
        ("This link works until", Some(view.shared_until.to_second_text())),
    ] {
        let Some(value) = value else { continue };
        push(&mut body, format_args!("\n<dt>{label}</dt><dd>{}</dd>", Text(&value)));
    }
    push(&mut body, format_args!("\n</dl>\n<p>{}</p>\n", Text(view.how_to_check)));
    let signed = view.signed_credential.as_ref();
    if let Some(signed) = signed.and_then(|signed| serde_json::to_string_pretty(signed).ok()) {
        let signed = Text(&signed);
        let summary = "<summary>The signed credential</summary>";
        push(&mut body, format_args!("<details>{summary}\n<pre>{signed}</pre></details>\n"));
    }
    frame(&view.title, &body)
}

/// Why a link shows nothing.
pub(super) fn refusal(message: &str) -> Page {
    let body = format!("<h1>There is nothing to see here</h1>\n<p>{}</p>\n", Text(message));
    frame("Shared credential", &body)
}

fn push(body: &mut String, what: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = body.write_fmt(what);
}

fn frame(title: &str, body: &str) -> Page {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex, nofollow\">\n<title>{}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        Text(title)
    );
    Page { html, policy: POLICY.clone() }
}
