//! Whether the issuer has taken a credential back, by lists that were asked for apart.

use serde_json::Value;

use super::keys::{self, Asked};
use super::token::{self, Refused};
use super::{Reader, Source, document, is_of_type, issuer as issuer_of, shown, time_of};
use crate::credential::jcs;
use crate::credential::proof::Suite;
use crate::credential::timestamp;
use crate::jose::jws::Token;
use crate::judge::CLOCK_SKEW_SECONDS;
use crate::judge::report::{Findings, Name};
use crate::key::did;
use crate::status::bitstring::Bitstring;
use crate::status::token as list;

const NAMES: [Name; 4] =
    [Name::StatusSignature, Name::StatusMatch, Name::StatusFresh, Name::NotRevoked];
/// The most entries of one credential that are looked at.
const ENTRIES_MAX: usize = 4;

fn waive(findings: &mut Findings) {
    for name in NAMES {
        findings.waive(name, "the issuer keeps no status for this credential");
    }
}

fn skip(reason: &str, findings: &mut Findings) {
    for name in NAMES {
        findings.skip(name, reason);
    }
}

/// The status of an SD-JWT credential (Token Status List).
pub(super) fn judge_token(
    credential: &Token<'_>,
    issuer: &str,
    reader: &Reader<'_>,
    findings: &mut Findings,
) {
    let Some(status) = credential.payload.get("status") else { return waive(findings) };
    let entry = &status["status_list"];
    let (Some(uri), Some(index)) = (entry["uri"].as_str(), entry["idx"].as_u64()) else {
        return skip("the status of the credential is of a kind that is not read here", findings);
    };
    let text = match reader.look(Source::TokenList, uri) {
        Ok(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Err(reason) => return skip(&reason, findings),
    };
    let found = match Token::parse(text.trim()) {
        Ok(found) => found,
        Err(error) => return findings.fail(Name::StatusSignature, error.to_string()),
    };
    if let Err(error) = found.expect(list::TYPE) {
        return findings.fail(Name::StatusSignature, error.to_string());
    }
    if found.text("sub") != Some(uri) {
        return findings.fail(Name::StatusMatch, "the list is not the one that was asked for");
    }
    findings.prove(Name::StatusMatch, "the list is the one that the credential names");
    match check(&found, issuer, reader) {
        Ok(()) => findings.prove(Name::StatusSignature, "the issuer signed the list"),
        Err(refused) => return refuse(refused, findings),
    }
    judge_age(found.number("iat"), found.number("exp"), reader.options.now, findings);
    match list::status(&found, index) {
        Ok(0) => findings.prove(Name::NotRevoked, "not revoked as of then"),
        Ok(1) => findings.fail(Name::NotRevoked, "the issuer has revoked it"),
        Ok(2) => findings.fail(Name::NotRevoked, "the issuer has suspended it"),
        Ok(status) => findings.fail(Name::NotRevoked, format!("the list gives status {status}")),
        Err(error) => findings.fail(Name::NotRevoked, error.to_string()),
    }
}

/// Whether the issuer signed a list in a token. Under a certificate for which nobody vouches it may
/// be anybody's, and takes nothing back and leaves nothing in force.
fn check(found: &Token<'_>, issuer: &str, reader: &Reader<'_>) -> Result<(), Refused> {
    let key = token::check(found, issuer, reader)?;
    if key.vouched {
        return Ok(());
    }
    Err(Refused::Unknown(format!("the list's key is {}", key.how)))
}

fn refuse(refused: Refused, findings: &mut Findings) {
    match refused {
        Refused::Unknown(reason) | Refused::Unchecked(reason) => {
            findings.skip(Name::StatusSignature, reason);
            findings.skip(Name::NotRevoked, "nobody knows who signed the list");
        }
        Refused::Wrong(reason) | Refused::Unfit(reason) => {
            findings.fail(Name::StatusSignature, reason);
        }
    }
}

/// The status of a W3C credential: one entry or several (Bitstring Status List 1.0).
pub(super) fn judge_entries(
    status: &Value,
    issuer: &str,
    reader: &Reader<'_>,
    findings: &mut Findings,
) {
    let entries = match status {
        Value::Null => return waive(findings),
        Value::Array(entries) if entries.is_empty() => return waive(findings),
        Value::Array(entries) => entries.as_slice(),
        entry => std::slice::from_ref(entry),
    };
    if entries.len() > ENTRIES_MAX {
        return skip("it has more entries in status lists than are looked at", findings);
    }
    for entry in entries {
        judge_entry(entry, issuer, reader, findings);
    }
}

fn judge_entry(entry: &Value, issuer: &str, reader: &Reader<'_>, findings: &mut Findings) {
    let purpose = entry["statusPurpose"].as_str().unwrap_or_default();
    if entry["type"] != "BitstringStatusListEntry"
        || !matches!(purpose, "revocation" | "suspension")
        || !is_of_one_bit(entry)
    {
        return skip("the status of the credential is of a kind that is not read here", findings);
    }
    let index = entry["statusListIndex"].as_str().and_then(|text| text.parse::<u32>().ok());
    let (Some(url), Some(index)) = (entry["statusListCredential"].as_str(), index) else {
        return findings.fail(Name::StatusMatch, "the status entry cannot be read");
    };
    let bytes = match reader.look(Source::BitstringList, url) {
        Ok(bytes) => bytes,
        Err(reason) => return skip(&reason, findings),
    };
    let Some(list) = opened(bytes, issuer, reader, findings) else { return };
    let subject = &list["credentialSubject"];
    let is_one = list["id"] == url
        && issuer_of(&list).as_deref() == Some(issuer)
        && is_of_type(&list, "BitstringStatusListCredential")
        && is_for(&subject["statusPurpose"], purpose);
    if !is_one {
        return findings.fail(Name::StatusMatch, "the list is not the one that was asked for");
    }
    if !is_of_one_bit(subject) {
        return skip("the status list is of a kind that is not read here", findings);
    }
    findings.prove(Name::StatusMatch, "the list is the one that the credential names");
    match (time_of(&list, "validFrom"), time_of(&list, "validUntil")) {
        (Ok(from), Ok(until)) => judge_age(from, until, reader.options.now, findings),
        (Err(reason), _) | (_, Err(reason)) => findings.fail(Name::StatusFresh, reason),
    }
    let encoded = subject["encodedList"].as_str().unwrap_or_default();
    match Bitstring::decode(encoded).and_then(|list| list.get(index)) {
        Ok(false) => findings.prove(Name::NotRevoked, "not revoked as of then"),
        Ok(true) if purpose == "suspension" => {
            findings.fail(Name::NotRevoked, "the issuer has suspended it");
        }
        Ok(true) => findings.fail(Name::NotRevoked, "the issuer has revoked it"),
        Err(error) => findings.fail(Name::NotRevoked, error.to_string()),
    }
}

/// Whether there is one bit for each credential. `statusSize` stands in the credential's entry
/// (Bitstring Status List 1.0 section 2.1); drafts had it in the list.
fn is_of_one_bit(value: &Value) -> bool {
    value.get("statusSize").is_none_or(|size| size == 1)
}

/// Whether a list serves this purpose: its one, or one of several.
fn is_for(purposes: &Value, purpose: &str) -> bool {
    let all = purposes.as_array().map_or(std::slice::from_ref(purposes), Vec::as_slice);
    all.iter().any(|one| one == purpose)
}

/// A list that its issuer has signed, as a document or as a JWT.
fn opened(
    bytes: &[u8],
    issuer: &str,
    reader: &Reader<'_>,
    findings: &mut Findings,
) -> Option<Value> {
    if let Some(text) = crate::judge::token::text(bytes) {
        let found = match Token::parse(text) {
            Ok(found) => found,
            Err(error) => {
                findings.fail(Name::StatusSignature, error.to_string());
                return None;
            }
        };
        return match check(&found, issuer, reader) {
            Ok(()) => {
                findings.prove(Name::StatusSignature, "the issuer signed the list");
                Some(found.payload.get("vc").unwrap_or(&found.payload).clone())
            }
            Err(refused) => {
                refuse(refused, findings);
                None
            }
        };
    }
    let text = String::from_utf8_lossy(bytes);
    let signed = jcs::parse(&text).map_err(|error| error.to_string());
    match signed.and_then(|secured| document::split(&secured)) {
        Ok(Some((list, proof))) => {
            let method = proof.verification_method();
            let is_own = did::controller(method) == Some(issuer);
            let made = Some(proof.created());
            let method = Some(method);
            let asked = Asked { issuer, method, x5c: None, made, recorded: None };
            let known = keys::find(reader, asked).unwrap_or_default();
            let fits = |known: &keys::Known| {
                known.key.ed25519().is_some_and(|key| proof.verify(Suite::Jcs, &list, key).is_ok())
            };
            if is_own && known.iter().any(fits) {
                findings.prove(Name::StatusSignature, "the issuer signed the list");
                return Some(list);
            }
            let detail = format!("{} did not sign the list", shown(issuer));
            findings.fail(Name::StatusSignature, detail);
            None
        }
        Ok(None) => {
            skip("the status list is signed in a way that is not checked here", findings);
            None
        }
        Err(reason) => {
            findings.fail(Name::StatusSignature, reason);
            None
        }
    }
}

fn judge_age(from: Option<i64>, until: Option<i64>, now: i64, findings: &mut Findings) {
    let written = |time: i64| timestamp::format(time).unwrap_or_else(|_| time.to_string());
    let as_of = from.map_or_else(|| "now".to_owned(), written);
    if from.is_some_and(|from| from > now.saturating_add(CLOCK_SKEW_SECONDS)) {
        findings.fail(Name::StatusFresh, format!("the list is from the future, {as_of}"));
    } else if until.is_some_and(|until| now >= until) {
        let detail = format!("revocation is known as of {as_of} only, and the list is out of date");
        findings.skip(Name::StatusFresh, detail);
    } else {
        findings.prove(Name::StatusFresh, format!("the list is of {as_of}"));
    }
}
