//! Judging a verdict from a file alone, without asking or trusting the server that made it.
//!
//! The file is a bundle (see [`bundle`]), a case file (see [`casefile`]) or a bare credential. The
//! judgement is a [`Report`]: every check by name, and whether it was proved, failed, or could not
//! be made. Offline two things stay out of reach and are said in as many words: a revocation after
//! the enclosed status list, and who the issuer is, unless the reader brings the issuer's key from
//! elsewhere.
//!
//! Invariants: the verdict is never `Valid` on account of something the file says about itself; a
//! failed check cannot be outvoted; nothing here reads a clock, a disk or a network.

pub mod bundle;
pub mod casefile;
pub mod foreign;
pub mod report;
pub mod trust;

mod credential;
mod record;
mod status;
mod token;

use serde_json::Value;

use crate::credential::badge;
use crate::credential::jcs;
use crate::credential::timestamp;
use crate::log::entry::credential_digest;
use bundle::Bundle;
use credential::Signatures;
use report::{Findings, Form, Name, Report};
use trust::{Keyring, Trust};

/// The largest file that is read.
const FILE_LEN_MAX: usize = 16 << 20;

/// How far the clocks of issuer and reader may lie apart.
const CLOCK_SKEW_SECONDS: i64 = 300;

/// What the reader brings along.
#[derive(Clone, Debug)]
pub struct Options {
    /// The reader's time, in seconds since the Unix epoch.
    pub now: i64,
    /// The keys that the reader has from elsewhere and believes in.
    pub trust: Trust,
    /// The oldest acceptable knowledge of revocations, in seconds.
    pub status_age_max: i64,
    /// SHA-256 of the document at hand, to learn whether it is the one that was checked.
    pub document_sha256: Option<[u8; 32]>,
    /// Status lists that were fetched apart, as their publisher serves them: for tokens and bare
    /// credentials, which carry none, and for files whose own may be older.
    pub status_lists: Vec<String>,
    /// Whom a presentation must have been made for.
    pub challenge: Option<Presented>,
}

/// What a presentation must answer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The reader's full identifier, as it was given to the wallet.
    pub audience: String,
    /// The nonce, as it was given to the wallet.
    pub nonce: String,
}

/// Judges the bytes of a file: a bundle or a case file if it has a `format`, a token if it is no
/// JSON, else a credential.
pub fn verify(file: &[u8], options: &Options) -> Report {
    if let Some(text) = token::text(file) {
        return token::judge(text, options);
    }
    let read = read(file);
    let is_case = read.as_ref().is_ok_and(|value| value["format"] == casefile::FORMAT);
    let mut findings = Findings::new(if is_case { Form::Case } else { Form::Document });
    match read {
        Err(reason) => findings.fail(Name::Shape, reason),
        Ok(value) if is_case => casefile::judge(&value, options, &mut findings),
        Ok(value) if value.get("format").is_some() => judge_bundle(&value, options, &mut findings),
        Ok(value) => judge_credential(&value, options, &mut findings),
    }
    findings.report()
}

fn read(file: &[u8]) -> Result<Value, String> {
    if file.len() > FILE_LEN_MAX {
        return Err(format!("the file is larger than {FILE_LEN_MAX} bytes"));
    }
    let text = std::str::from_utf8(file).map_err(|error| error.to_string())?;
    let value = jcs::parse(text).map_err(|error| error.to_string())?;
    if value.is_object() { Ok(value) } else { Err("the file is not a JSON object".to_owned()) }
}

fn judge_bundle(value: &Value, options: &Options, findings: &mut Findings) {
    let bundle = match Bundle::parse(value) {
        Ok(bundle) => bundle,
        Err(error) => return findings.fail(Name::Shape, error.to_string()),
    };
    let keyring = Keyring::new(Some(&bundle.did_document), &options.trust);
    let mut signatures = Signatures::new(keyring, findings);
    let logged = record::issued_at(bundle.log.as_ref(), &bundle.credential, &options.trust);
    signatures.date(logged.or_else(|| recorded(&bundle.credential, &options.trust)));
    let Some(credential) = credential::judge(&bundle.credential, options.now, &mut signatures)
    else {
        return;
    };
    judge_seal(value, &bundle, &credential, options.now, &mut signatures);
    let list = status::newest(&bundle.credential, Some(&bundle.status_list), options);
    let list = list.as_ref().unwrap_or(&bundle.status_list);
    status::judge(list, &credential, options, &mut signatures);
    signatures.judge_trust();
    record::judge(bundle.log.as_ref(), &bundle.credential, &options.trust, findings);
    judge_document(&credential, bundle.document_salt.as_ref(), options, findings);
}

fn judge_credential(value: &Value, options: &Options, findings: &mut Findings) {
    let keyring = Keyring::new(None, &options.trust);
    let mut signatures = Signatures::new(keyring, findings);
    signatures.date(recorded(value, &options.trust));
    let judged = credential::judge(value, options.now, &mut signatures);
    let list = status::newest(value, None, options);
    if let Some(credential) = judged {
        if let Some(list) = &list {
            status::judge(list, &credential, options, &mut signatures);
        }
        signatures.judge_trust();
        judge_document(&credential, None, options, findings);
    }
    if list.is_some() {
        // What a seal is for, that an old list does not pass for a new one, the reader has seen to.
        let detail = "there is no bundle to be sealed: the status list was brought by the reader";
        return findings.waive(Name::BundleSeal, detail);
    }
    let missing = "a credential by itself carries no status list";
    for name in [Name::StatusSignature, Name::StatusMatch, Name::StatusFresh, Name::NotRevoked] {
        findings.skip(name, missing);
    }
}

/// When this credential was signed, if the reader's records have it.
fn recorded(credential: &Value, trust: &Trust) -> Option<i64> {
    trust.recorded(&credential_digest(credential).ok()?)
}

/// What a file's issuer has signed, by a digest under which it can be recorded (see
/// [`Trust::record`]): a credential with its proofs, or a token without what is disclosed of it.
pub fn signed_digest(file: &[u8]) -> Option<[u8; 32]> {
    if let Some(text) = token::text(file) {
        return Some(token::digest(text));
    }
    credential_digest(of_issuer(&read(file).ok()?)?).ok()
}

/// The address of the status list that a file's credential names, so that it can be fetched
/// beforehand.
pub fn status_url(file: &[u8]) -> Option<String> {
    if let Some(text) = token::text(file) {
        return token::status_url(text);
    }
    let value = read(file).ok()?;
    let entry = &of_issuer(&value)?["credentialStatus"]["statusListCredential"];
    entry.as_str().map(str::to_owned)
}

/// The credential in a case file, in a bundle, or by itself.
fn of_issuer(file: &Value) -> Option<&Value> {
    let of_bundle = file.pointer("/bundle/credential").or_else(|| file.get("credential"));
    if file.get("format").is_some() { of_bundle } else { Some(file) }
}

/// The bundle's own proof: that the issuer put these parts together, all of them and unaltered.
fn judge_seal(
    value: &Value,
    bundle: &Bundle,
    credential: &credential::Judged,
    now: i64,
    signatures: &mut Signatures<'_>,
) {
    if bundle.exported_at > now.saturating_add(CLOCK_SKEW_SECONDS) {
        signatures.findings.fail(Name::BundleSeal, "the bundle was exported in the future");
    }
    if signatures.judge_seal(Name::BundleSeal, value, &credential.issuer) {
        let detail = match timestamp::format(bundle.exported_at) {
            Ok(time) => format!("the issuer sealed the whole file on {time}"),
            Err(error) => return signatures.findings.fail(Name::BundleSeal, error.to_string()),
        };
        signatures.findings.prove(Name::BundleSeal, detail);
    }
}

fn judge_document(
    credential: &credential::Judged,
    salt: Option<&[u8; 32]>,
    options: &Options,
    findings: &mut Findings,
) {
    let (Some(document_sha256), Some(salt)) = (&options.document_sha256, salt) else {
        let missing = match options.document_sha256 {
            None => "no document was given to compare with",
            Some(_) => "the file carries no salt to compare the document by",
        };
        return findings.skip(Name::Document, missing);
    };
    let id = badge::evidence_id(salt, document_sha256);
    let evidence = credential.document["evidence"].as_array();
    if evidence.is_some_and(|evidence| evidence.iter().any(|checked| checked["id"] == id)) {
        findings.prove(Name::Document, "the document given is the one that was checked");
    } else {
        findings.fail(Name::Document, "the document given is not the one that was checked");
    }
}

#[cfg(test)]
mod agreement_tests;
#[cfg(test)]
mod artifact_tests;
#[cfg(test)]
mod casefile_tests;
#[cfg(test)]
mod compromise_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod token_tests;
