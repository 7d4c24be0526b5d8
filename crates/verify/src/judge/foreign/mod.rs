//! Credentials of any issuer: SD-JWT VC, JWT credentials, and W3C credentials under
//! `eddsa-jcs-2022`, each also baked into a picture (Open Badges 3.0).
//!
//! Of our own form every member is known and displayed; of others' it is only known that the issuer
//! signed exactly these words. What they mean is for a person to read.
//!
//! Keys and status lists lie elsewhere, and nothing here asks for them: a judgement names what it
//! lacked ([`Judgement::wanted`]), whoever called asks for that and judges once more. A status list
//! is wanted only of a credential whose signature fits, so that nobody makes others ask for whatever
//! they like.
//!
//! Invariants: a key that came with the credential and that nobody vouches for proves nothing; the
//! verdict is `Valid` only under an issuer whom the reader trusts; what cannot be read here, but may
//! be good elsewhere (another algorithm, another proof), is unproven and not invalid.

mod document;
mod found;
mod keys;
mod status;
mod token;

#[cfg(test)]
mod tests;

use std::cell::RefCell;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use found::{Found, Source, Wanted};
pub use keys::metadata_url;

use super::report::{Findings, Form, Name, Report};
use super::{CLOCK_SKEW_SECONDS, Options};
use crate::credential::baked;
use crate::credential::timestamp;

/// The longest text that is repeated of what a credential says about itself.
const SAID_MAX: usize = 200;

/// How a credential is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SD-JWT VC.
    SdJwt,
    /// A W3C credential in a JWT.
    Jwt,
    /// A W3C credential under Data Integrity proofs.
    Document,
}

impl Kind {
    /// The name as it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SdJwt => "sd-jwt-vc",
            Self::Jwt => "vc-jwt",
            Self::Document => "data-integrity",
        }
    }
}

/// What was found out about a credential.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// How it is written down, where that can be told.
    pub kind: Option<Kind>,
    /// Whoever it says has issued it.
    pub issuer: Option<String>,
    /// What it calls itself: its types, or the name of an achievement.
    pub about: Option<String>,
    /// Whether the issuer's key, or what vouches for it, is one that the reader trusts.
    pub is_trusted: bool,
    /// The checks.
    pub report: Report,
    /// What was lacking and could be asked for.
    pub wanted: Vec<Wanted>,
}

/// What the reader brings, and what has been found elsewhere so far.
pub(super) struct Reader<'a> {
    options: &'a Options,
    found: &'a Found,
    trusted: &'a [String],
    wanted: RefCell<Vec<Wanted>>,
}

impl Reader<'_> {
    /// What was found at an address; notes that it is wanted where nobody has asked yet.
    fn look(&self, source: Source, url: &str) -> Result<&[u8], String> {
        let wanted = Wanted { source, url: url.to_owned() };
        match self.found.get(&wanted) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(reason)) => Err(format!("{url} did not answer: {reason}")),
            None => {
                let mut all = self.wanted.borrow_mut();
                if !all.contains(&wanted) {
                    all.push(wanted);
                }
                Err(format!("{url} was not asked"))
            }
        }
    }
}

/// What a credential says of itself before anything of it is believed.
#[derive(Default)]
struct Said {
    kind: Option<Kind>,
    issuer: Option<String>,
    about: Option<String>,
}

/// Judges the bytes of a credential of any issuer and any form, with what the reader brings alone.
pub fn judge(file: &[u8], options: &Options) -> Report {
    judge_with(file, options, &Found::default(), &[]).report
}

/// Judges with what was found elsewhere. `trusted` are identifiers of issuers whom the reader
/// trusts wherever their keys are found.
pub fn judge_with(file: &[u8], options: &Options, found: &Found, trusted: &[String]) -> Judgement {
    let reader = Reader { options, found, trusted, wanted: RefCell::default() };
    let mut said = Said::default();
    let report = match baked::find(file) {
        Err(error) => broken(error.to_string()),
        Ok(Some(inner)) => judge_bytes(inner.as_bytes(), &reader, &mut said),
        Ok(None) => judge_bytes(file, &reader, &mut said),
    };
    let is_trusted = report.outcome(Name::IssuerTrust) == super::report::Outcome::Proved;
    let Said { kind, issuer, about } = said;
    let wanted = reader.wanted.into_inner();
    Judgement { kind, issuer, about, is_trusted, report, wanted }
}

/// [`signed_digest`](super::signed_digest) of a file of any form, or of what is baked into it.
pub fn signed_digest(file: &[u8]) -> Option<[u8; 32]> {
    match baked::find(file) {
        Ok(Some(inner)) => super::signed_digest(inner.as_bytes()),
        _ => super::signed_digest(file),
    }
}

fn broken(reason: String) -> Report {
    let mut findings = Findings::new(Form::Foreign);
    findings.fail(Name::Shape, reason);
    findings.report()
}

fn judge_bytes(file: &[u8], reader: &Reader<'_>, said: &mut Said) -> Report {
    match super::token::text(file) {
        Some(text) => token::judge(text, reader, said),
        None => document::judge(file, reader, said),
    }
}

/// Text of a credential as it may be shown: short, on one line.
fn shown(text: &str) -> String {
    let plain = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    plain.take(SAID_MAX).collect()
}

/// What a W3C credential calls itself.
fn about(document: &Value) -> Option<String> {
    let subject = &document["credentialSubject"];
    let first = subject.as_array().and_then(|all| all.first()).unwrap_or(subject);
    let name = first["achievement"]["name"].as_str().or_else(|| document["name"].as_str());
    let types = document["type"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let types: Vec<&str> = types.filter(|one| *one != "VerifiableCredential").collect();
    let text = match (types.join(", "), name) {
        (types, Some(name)) if types.is_empty() => name.to_owned(),
        (types, Some(name)) => format!("{types}: {name}"),
        (types, None) => types,
    };
    Some(shown(&text)).filter(|text| !text.is_empty())
}

/// The issuer of a W3C credential: text, or an object with an `id`.
fn issuer(document: &Value) -> Option<String> {
    let issuer = document["issuer"].as_str().or_else(|| document["issuer"]["id"].as_str());
    issuer.filter(|issuer| !issuer.is_empty()).map(str::to_owned)
}

fn is_of_type(document: &Value, wanted: &str) -> bool {
    match &document["type"] {
        Value::String(one) => one == wanted,
        Value::Array(all) => all.iter().any(|one| one == wanted),
        _ => false,
    }
}

/// A time as others may write it: any RFC 3339, down to seconds.
fn time_of(document: &Value, name: &str) -> Result<Option<i64>, String> {
    match &document[name] {
        Value::Null => Ok(None),
        Value::String(text) => OffsetDateTime::parse(text, &Rfc3339)
            .map(|time| Some(time.unix_timestamp()))
            .map_err(|_| format!("{name} is no time")),
        _ => Err(format!("{name} is no time")),
    }
}

/// Whether the reader's time lies between the latest beginning and the earliest end.
fn judge_period(
    from: impl IntoIterator<Item = Option<i64>>,
    until: impl IntoIterator<Item = Option<i64>>,
    now: i64,
    findings: &mut Findings,
) {
    const NAME: Name = Name::ValidityPeriod;
    let written = |time: i64| timestamp::format(time).unwrap_or_else(|_| time.to_string());
    let from = from.into_iter().flatten().max();
    let until = until.into_iter().flatten().min();
    if from.is_some_and(|from| now.saturating_add(CLOCK_SKEW_SECONDS) < from) {
        let from = written(from.unwrap_or_default());
        return findings.fail(NAME, format!("it is valid from {from} only"));
    }
    match until {
        Some(until) if now >= until => {
            findings.fail(NAME, format!("it was valid until {}", written(until)));
        }
        Some(until) => findings.prove(NAME, format!("valid until {}", written(until))),
        None => findings.waive(NAME, "the issuer has set no end to it"),
    }
}

/// Whether the reader trusts whoever was found to have signed.
fn judge_trust(key: &keys::Known, issuer: &str, reader: &Reader<'_>, findings: &mut Findings) {
    if key.pinned {
        findings.prove(Name::IssuerTrust, "the key, or what vouches for it, was pinned");
    } else if key.vouched && reader.trusted.iter().any(|trusted| trusted == issuer) {
        findings.prove(Name::IssuerTrust, format!("{issuer} is among the trusted issuers"));
    } else {
        let detail = format!(
            "{} is not among the trusted issuers: anybody can issue such a credential in a name \
             of their own",
            shown(issuer)
        );
        findings.skip(Name::IssuerTrust, detail);
    }
}
