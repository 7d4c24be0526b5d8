//! Whether the credential was taken back, as far as the enclosed status list knows.

use serde_json::Value;

use super::credential::{self, Judged, Signatures};
use super::report::{Findings, Name};
use super::{CLOCK_SKEW_SECONDS, Options};
use crate::credential::jcs;
use crate::credential::proof::Suite;
use crate::credential::rdfc::Template;
use crate::credential::timestamp;
use crate::status::bitstring::Bitstring;

/// The newest edition of the list that a credential names, of the one that came with it and those
/// that the reader has brought: what was taken back in between is not hidden by an older file.
pub(super) fn newest(
    credential: &Value,
    enclosed: Option<&Value>,
    options: &Options,
) -> Option<Value> {
    let wanted = &credential["credentialStatus"]["statusListCredential"];
    let brought = options.status_lists.iter().filter_map(|text| jcs::parse(text).ok());
    let brought = brought.filter(|list| list["id"] == *wanted);
    let from =
        |list: &Value| list["validFrom"].as_str().and_then(|text| timestamp::parse(text).ok());
    // The last of equals: within a second the reader's own is the newer one.
    enclosed.cloned().into_iter().chain(brought).max_by_key(from)
}

/// Judges the list that came along: its signatures, that it is the credential's, its age, the bit.
pub(super) fn judge(
    secured: &Value,
    credential: &Judged,
    options: &Options,
    signatures: &mut Signatures<'_>,
) {
    let (list, proofs) = match credential::split(secured, Template::StatusList) {
        Ok(parts) => parts,
        Err(reason) => return signatures.findings.fail(Name::StatusSignature, reason),
    };
    for suite in [Suite::Jcs, Suite::Rdfc(Template::StatusList)] {
        let Some(proof) = proofs.iter().find(|proof| proof.cryptosuite() == suite.name()) else {
            let detail = format!("the status list has no {} proof", suite.name());
            signatures.findings.fail(Name::StatusSignature, detail);
            continue;
        };
        signatures.judge(Name::StatusSignature, suite, &list, proof, &credential.issuer);
    }
    let findings = &mut *signatures.findings;
    if findings.outcome(Name::StatusSignature).is_none() {
        findings.prove(Name::StatusSignature, "both signatures of the status list fit");
    }
    judge_match(&list, credential, findings);
    judge_age(&list, options, findings);
    if findings.is_proved(Name::StatusSignature) && findings.is_proved(Name::StatusMatch) {
        judge_bit(&list, &credential.document["credentialStatus"], findings);
    }
}

fn judge_match(list: &Value, credential: &Judged, findings: &mut Findings) {
    let entry = &credential.document["credentialStatus"];
    let id = entry["statusListCredential"].as_str().unwrap_or_default();
    let index = entry["statusListIndex"].as_str().unwrap_or_default();
    let subject = &list["credentialSubject"];
    let same = list["id"] == id
        && list["issuer"] == credential.issuer
        && entry["id"] == format!("{id}#{index}")
        && entry["statusPurpose"] == "revocation"
        && subject["id"] == format!("{id}#list")
        && subject["statusPurpose"] == entry["statusPurpose"];
    if same {
        findings.prove(Name::StatusMatch, "the list is the one that the credential names");
    } else {
        findings.fail(Name::StatusMatch, "the list is not the one that the credential names");
    }
}

fn judge_age(list: &Value, options: &Options, findings: &mut Findings) {
    let time = |name: &str| list[name].as_str().and_then(|text| timestamp::parse(text).ok());
    let (Some(from), Some(until)) = (time("validFrom"), time("validUntil")) else {
        return findings.fail(Name::StatusFresh, "the list's period cannot be read");
    };
    let as_of = list["validFrom"].as_str().unwrap_or_default();
    if from > options.now.saturating_add(CLOCK_SKEW_SECONDS) {
        findings.fail(Name::StatusFresh, format!("the list is from the future, {as_of}"));
    } else if options.now >= until || options.now.saturating_sub(from) > options.status_age_max {
        // An old list does not speak against the credential; it just no longer speaks for it.
        let detail = format!("revocation is known as of {as_of} only, which is too long ago");
        findings.skip(Name::StatusFresh, detail);
    } else {
        findings.prove(Name::StatusFresh, format!("revocation is known as of {as_of}"));
    }
}

fn judge_bit(list: &Value, entry: &Value, findings: &mut Findings) {
    let encoded = list["credentialSubject"]["encodedList"].as_str().unwrap_or_default();
    let bit = parse_index(entry["statusListIndex"].as_str().unwrap_or_default())
        .ok_or_else(|| "the credential's index is not a number".to_owned())
        .and_then(|index| {
            let list = Bitstring::decode(encoded).map_err(|error| error.to_string())?;
            list.get(index).map_err(|error| error.to_string())
        });
    let as_of = list["validFrom"].as_str().unwrap_or_default();
    match bit {
        Ok(false) => findings.prove(Name::NotRevoked, format!("not revoked as of {as_of}")),
        Ok(true) => findings.fail(Name::NotRevoked, format!("revoked, as of {as_of}")),
        Err(reason) => findings.fail(Name::NotRevoked, reason),
    }
}

fn parse_index(text: &str) -> Option<u32> {
    let index: u32 = text.parse().ok()?;
    (index.to_string() == text).then_some(index)
}
