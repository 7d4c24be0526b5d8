//! The pages that a link opens in a browser: one document each, no scripts, nothing from
//! elsewhere. Where a code is asked for, forms do it.

use std::fmt::{self, Write};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kernel::Timestamp;
use platform::crypto::sha256;
use serde_json::Value as Json;
use verify::key::did;

use super::service::Opened;
use crate::credential::judgement::Shown as Automatic;

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
dt{color:#9198a1}pre{background:#161b22}}\
svg{display:block;width:9rem;height:9rem;margin-top:2rem;background:#fff}\
form{margin:1rem 0}input,button{font:inherit;padding:.3rem .6rem}";

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(sha256(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'self'; \
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
pub(super) fn view(opened: &Opened) -> Page {
    let Opened { view, link } = opened;
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
    push(&mut body, format_args!("\n</dl>\n"));
    if let Some(automatic) = &view.automatic_check {
        automatic_check(&mut body, automatic);
    }
    push(&mut body, format_args!("<h2>How to check this yourself</h2>\n"));
    push(&mut body, format_args!("<p>{}</p>\n", Text(view.how_to_check)));
    if let Some(bundle) = &view.bundle {
        check_steps(&mut body, bundle);
    }
    for (summary, document) in [
        ("The bundle", &view.bundle),
        ("The signed credential alone, for other verifiers", &view.signed_credential),
    ] {
        let text = document.as_ref().and_then(|it| serde_json::to_string_pretty(it).ok());
        let Some(text) = text else { continue };
        let (summary, text) = (Text(summary), Text(&text));
        push(
            &mut body,
            format_args!("<details><summary>{summary}</summary>\n<pre>{text}</pre></details>\n"),
        );
    }
    if let Some(picture) = picture(link) {
        push(&mut body, format_args!("{picture}\n<p>This page, for a phone.</p>\n"));
    }
    frame(&view.title, &body)
}

/// What software has found out. Nothing of it looks like the status that a verifier's word gives.
fn automatic_check(body: &mut String, automatic: &Automatic) {
    push(body, format_args!("<h2>What software found in the file</h2>\n"));
    push(body, format_args!("<p>{}</p>\n", Text(automatic.notice)));
    let Some(verdict) = automatic.verdict else {
        return push(body, format_args!("<p>It has not been looked at yet.</p>\n"));
    };
    let summary = automatic.summary.as_deref().unwrap_or_default();
    let verdict = verdict.as_str();
    push(body, format_args!("<p><strong>{verdict}</strong>: {}</p>\n<dl>", Text(summary)));
    let trusted = match automatic.issuer_trusted {
        Some(true) => "yes",
        _ => "no",
    };
    for (label, value) in [
        ("The file says it was issued by", automatic.issuer.as_deref()),
        ("This platform trusts that issuer", Some(trusted)),
        ("The file calls itself", automatic.about.as_deref()),
    ] {
        let Some(value) = value else { continue };
        push(body, format_args!("\n<dt>{label}</dt><dd>{}</dd>", Text(value)));
    }
    if let Some(at) = automatic.checked_at {
        let at = at.to_second_text();
        push(body, format_args!("\n<dt>As of</dt><dd>{at}</dd>"));
    }
    push(body, format_args!("\n</dl>\n"));
    if automatic.checks.is_empty() {
        return;
    }
    push(body, format_args!("<details><summary>Every check</summary>\n<ul>"));
    for check in &automatic.checks {
        let (name, outcome, reason) =
            (Text(&check.name), Text(&check.outcome), Text(&check.reason));
        push(body, format_args!("\n<li>{name}: {outcome}. {reason}</li>"));
    }
    push(body, format_args!("\n</ul></details>\n"));
}

/// How anybody judges a bundle on their own machine. The issuer's keys are fetched from the issuer: a
/// file that brings its own proves nothing about who signed it.
fn check_steps(body: &mut String, bundle: &Json) {
    let issuer = bundle.pointer("/credential/issuer/id").and_then(Json::as_str);
    let keys = issuer.and_then(|did| did::document_url(did).ok()).unwrap_or_default();
    let (keys, file) = (Text(&keys), STANDARD.encode(bundle.to_string()));
    push(
        body,
        format_args!(
            "<ol>\n<li>Save <a download=\"bundle.json\" \
             href=\"data:application/json;base64,{file}\">the bundle</a> as bundle.json.</li>\n\
             <li>Get the issuer's keys: <code>curl -fsS -o did.json {keys}</code>. See that this is \
             the address of the issuer whom you trust.</li>\n\
             <li>Run <code>verza verify bundle.json --did did.json</code> on your own machine. It \
             says VALID while the verdict stands.</li>\n</ol>\n\
             <p>Or give the signed credential below to any verifier of W3C Verifiable Credentials \
             2.0 or Open Badges 3.0.</p>\n"
        ),
    );
}

/// A QR code of an address, as SVG inside of the page.
fn picture(link: &str) -> Option<String> {
    let svg = platform::qr::svg(link).ok()?;
    svg.find("<svg").map(|start| svg[start..].to_owned())
}

/// Asks for the code of a link, and says what has become of the last try.
pub(super) fn code(token: &str, note: Option<&str>) -> Page {
    let token = Text(token);
    let mut body = String::from("<h1>This credential is for somebody</h1>\n");
    if let Some(note) = note {
        push(&mut body, format_args!("<p><strong>{}</strong></p>\n", Text(note)));
    }
    push(
        &mut body,
        format_args!(
            "<p>It opens with a code that its recipient is sent by mail.</p>\n\
             <form method=\"post\" action=\"/v1/share/{token}/code\">\
             <button>Send me a code</button></form>\n\
             <form method=\"post\" action=\"/v1/share/{token}\"><label>Code \
             <input name=\"code\" inputmode=\"numeric\" autocomplete=\"one-time-code\" \
             maxlength=\"12\" required></label> <button>Open</button></form>\n"
        ),
    );
    frame("Shared credential", &body)
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
