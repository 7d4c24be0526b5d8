//! W3C credentials 2.0 under `eddsa-jcs-2022`.

use serde_json::{Map, Value};

use super::keys::{self, Asked, NoKey};
use super::{
    Kind, Reader, Said, about, is_of_type, issuer, judge_period, judge_trust, status, time_of,
};
use crate::credential::jcs;
use crate::credential::proof::{Proof, Suite};
use crate::judge::report::{Findings, Form, Name, Report};
use crate::judge::{CLOCK_SKEW_SECONDS, read, recorded};
use crate::key::did;

/// The context with which every W3C credential 2.0 begins.
const CREDENTIALS: &str = "https://www.w3.org/ns/credentials/v2";
/// The one of version 1.1, which is not read here.
const CREDENTIALS_1: &str = "https://www.w3.org/2018/credentials/v1";

pub(super) fn judge(file: &[u8], reader: &Reader<'_>, said: &mut Said) -> Report {
    let mut findings = Findings::new(Form::Foreign);
    match read(file) {
        Ok(secured) => judge_credential(&secured, reader, said, &mut findings),
        // Good JSON in which a number has several spellings: nobody's fault.
        Err(reason) if has_odd_numbers(file) => {
            findings.skip(Name::Shape, format!("it cannot be read here: {reason}"));
        }
        Err(reason) => findings.fail(Name::Shape, reason),
    }
    findings.report()
}

fn has_odd_numbers(file: &[u8]) -> bool {
    let text = std::str::from_utf8(file).ok().filter(|text| text.trim_start().starts_with('{'));
    text.is_some_and(jcs::has_odd_numbers)
}

fn judge_credential(
    secured: &Value,
    reader: &Reader<'_>,
    said: &mut Said,
    findings: &mut Findings,
) {
    said.kind = Some(Kind::Document);
    said.about = about(secured);
    said.issuer = issuer(secured);
    judge_contexts(secured, findings);
    let Some(issuer) = &said.issuer else {
        return findings.fail(Name::Shape, "it does not say who issued it");
    };
    if !is_of_type(secured, "VerifiableCredential") {
        return findings.fail(Name::Shape, "it is not a VerifiableCredential");
    }
    let Some((document, proof)) = parts(secured, findings) else { return };
    findings.prove(Name::Shape, "it is a W3C credential under one proof that is understood");
    findings.prove(Name::ProofPurpose, "the proof is made for assertionMethod");
    let recorded = recorded(secured, &reader.options.trust);
    judge_signature((&document, &proof), issuer, recorded, reader, findings);
    let times = (time_of(&document, "validFrom"), time_of(&document, "validUntil"));
    let now = reader.options.now;
    match times {
        (Ok(_), Ok(_)) if proof.created() > now.saturating_add(CLOCK_SKEW_SECONDS) => {
            findings.fail(Name::ValidityPeriod, "the proof was made in the future");
        }
        (Ok(from), Ok(until)) => judge_period([from], [until], now, findings),
        (Err(reason), _) | (_, Err(reason)) => findings.fail(Name::ValidityPeriod, reason),
    }
    if findings.is_proved(Name::JcsSignature) {
        status::judge_entries(&document["credentialStatus"], issuer, reader, findings);
    }
}

fn judge_contexts(secured: &Value, findings: &mut Findings) {
    let contexts = secured["@context"].as_array().map_or(&[][..], Vec::as_slice);
    // A context that is written out could give the words of the others another meaning.
    let are_named = contexts.iter().all(Value::is_string);
    match contexts.first().and_then(Value::as_str) {
        Some(CREDENTIALS) if are_named => {
            findings.prove(Name::Contexts, "the contexts are named, the credential's first");
        }
        Some(CREDENTIALS_1) if are_named => {
            findings.skip(Name::Contexts, "it is a credential of version 1.1, not read here");
        }
        _ => findings.fail(Name::Contexts, "the contexts are not those of a W3C credential 2.0"),
    }
}

/// The document without its proofs, and the one proof that is checked here.
pub(super) fn parts(secured: &Value, findings: &mut Findings) -> Option<(Value, Proof)> {
    match split(secured) {
        Ok(Some(parts)) => Some(parts),
        Ok(None) => {
            findings.skip(
                Name::JcsSignature,
                format!("it has no {} proof; others are not checked here", Suite::Jcs.name()),
            );
            None
        }
        Err(reason) => {
            findings.fail(Name::Shape, reason);
            None
        }
    }
}

/// [`parts`] without a word; nothing where all proofs are by other suites.
pub(super) fn split(secured: &Value) -> Result<Option<(Value, Proof)>, String> {
    let mut members: Map<String, Value> = secured.as_object().cloned().unwrap_or_default();
    let proofs = match members.remove("proof") {
        Some(Value::Array(proofs)) => proofs,
        Some(proof) => vec![proof],
        None => return Err("it is not signed".to_owned()),
    };
    let mut own = proofs.iter().filter(|proof| proof["cryptosuite"] == Suite::Jcs.name());
    match (own.next(), own.next()) {
        (Some(proof), None) => {
            let proof = Proof::read(proof).map_err(|error| error.to_string())?;
            Ok(Some((Value::Object(members), proof)))
        }
        (None, _) if proofs.is_empty() => Err("it is not signed".to_owned()),
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(format!("it has several {} proofs", Suite::Jcs.name())),
    }
}

fn judge_signature(
    (document, proof): (&Value, &Proof),
    issuer: &str,
    recorded: Option<i64>,
    reader: &Reader<'_>,
    findings: &mut Findings,
) {
    const NAME: Name = Name::JcsSignature;
    let method = proof.verification_method();
    if did::controller(method) != Some(issuer) {
        findings.fail(Name::VerificationMethod, format!("{method} is not the issuer's"));
        return findings.fail(NAME, "the signing key is not the issuer's");
    }
    findings.prove(Name::VerificationMethod, "the key is named as the issuer's own");
    let made = Some(proof.created());
    let asked = Asked { issuer, method: Some(method), x5c: None, made, recorded };
    let known = match keys::find(reader, asked) {
        Ok(known) => known,
        Err(NoKey::Unknown(reason)) => {
            findings.skip(Name::IssuerKey, reason);
            return findings.skip(NAME, "the issuer's key is not known");
        }
        Err(NoKey::Wrong(reason)) => {
            findings.fail(Name::IssuerKey, reason);
            return findings.fail(NAME, "the issuer's key is not known");
        }
    };
    let fits = |known: &&keys::Known| {
        known.key.ed25519().is_some_and(|key| proof.verify(Suite::Jcs, document, key).is_ok())
    };
    let Some(key) = known.iter().find(fits) else {
        return findings.fail(NAME, format!("the {} signature does not fit", Suite::Jcs.name()));
    };
    findings.prove(Name::IssuerKey, format!("the key is {}", key.how));
    findings.prove(NAME, format!("signed by {method}"));
    judge_trust(key, issuer, reader, findings);
}
