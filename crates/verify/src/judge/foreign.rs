//! Credentials of others under `eddsa-jcs-2022`: whatever they say, if it is signed.
//!
//! Of our own form every member is known and displayed; of others' it is only known that the issuer
//! signed exactly these words. What they mean is for a person to read. Keys are found offline: in
//! the identifier itself (`did:key`), or among what the reader brought.

use serde_json::Value;

use super::credential::Signatures;
use super::report::{Findings, Form, Name, Report};
use super::trust::Keyring;
use super::{CLOCK_SKEW_SECONDS, Options, read};
use crate::credential::proof::{self, Proof, Suite};
use crate::credential::timestamp;

/// The context with which every W3C credential begins.
const CREDENTIALS: &str = "https://www.w3.org/ns/credentials/v2";

/// Judges the bytes of a credential of any issuer and any form.
pub fn judge(file: &[u8], options: &Options) -> Report {
    let mut findings = Findings::new(Form::Document);
    match read(file) {
        Ok(secured) => judge_credential(&secured, options, &mut findings),
        Err(reason) => findings.fail(Name::Shape, reason),
    }
    findings.report()
}

fn judge_credential(secured: &Value, options: &Options, findings: &mut Findings) {
    let others = "the form is not ours, and has no such thing";
    for name in [Name::RdfcSignature, Name::BundleSeal] {
        findings.waive(name, others);
    }
    let contexts = secured["@context"].as_array().map_or(&[][..], Vec::as_slice);
    // A context that is written out could give the words of the others another meaning.
    if contexts.first().is_some_and(|first| first == CREDENTIALS)
        && contexts.iter().all(Value::is_string)
    {
        findings.prove(Name::Contexts, "the contexts are named, the credential's first");
    } else {
        findings.fail(Name::Contexts, "the contexts are not those of a W3C credential 2.0");
    }
    let (document, proof, issuer) = match parts(secured) {
        Ok(parts) => parts,
        Err(reason) => return findings.fail(Name::Shape, reason),
    };
    findings.prove(Name::Shape, "it is a W3C credential under one proof that is understood");
    findings.prove(Name::ProofPurpose, "the proof is made for assertionMethod");
    let mut signatures = Signatures::new(Keyring::new(None, &options.trust), findings);
    if signatures.judge(Name::JcsSignature, Suite::Jcs, &document, &proof, &issuer) {
        let detail = format!("signed by {}", proof.verification_method());
        signatures.findings.prove(Name::JcsSignature, detail);
    }
    signatures.judge_trust();
    judge_period(&document, &proof, options.now, findings);
    let status = [Name::StatusSignature, Name::StatusMatch, Name::StatusFresh, Name::NotRevoked];
    for name in status {
        match document.get("credentialStatus") {
            None => findings.waive(name, "the issuer keeps no status for this credential"),
            Some(_) => findings.skip(name, "the issuer's status list was not asked for"),
        }
    }
}

/// The credential without its proofs, the one proof of the suite, and who issued it.
fn parts(secured: &Value) -> Result<(Value, Proof, String), String> {
    let types = &secured["type"];
    let is_credential = |one: &Value| one == "VerifiableCredential";
    if !types.as_array().is_some_and(|types| types.iter().any(is_credential)) {
        return Err("it is not a VerifiableCredential".to_owned());
    }
    let issuer = secured["issuer"].as_str().or_else(|| secured["issuer"]["id"].as_str());
    let issuer = issuer.ok_or("it does not say who issued it")?.to_owned();
    let (document, proofs) = proof::split(secured).map_err(|error| error.to_string())?;
    let mut own = proofs.into_iter().filter(|proof| proof.cryptosuite() == Suite::Jcs.name());
    match (own.next(), own.next()) {
        (Some(proof), None) => Ok((document, proof, issuer)),
        (None, _) => Err(format!("it has no {} proof", Suite::Jcs.name())),
        (Some(_), Some(_)) => Err(format!("it has several {} proofs", Suite::Jcs.name())),
    }
}

fn judge_period(document: &Value, proof: &Proof, now: i64, findings: &mut Findings) {
    const NAME: Name = Name::ValidityPeriod;
    let time = |name: &str| match &document[name] {
        Value::Null => Ok(None),
        Value::String(text) => timestamp::parse(text).map(Some).map_err(|error| error.to_string()),
        _ => Err(format!("{name} is no time")),
    };
    let (from, until) = match (time("validFrom"), time("validUntil")) {
        (Ok(from), Ok(until)) => (from, until),
        (Err(reason), _) | (_, Err(reason)) => return findings.fail(NAME, reason),
    };
    let soon = now.saturating_add(CLOCK_SKEW_SECONDS);
    let is_early = from.is_some_and(|from| soon < from) || proof.created() > soon;
    if is_early || until.is_some_and(|until| now >= until) {
        return findings.fail(NAME, "the time now is not within its validity");
    }
    match until {
        Some(_) => findings.prove(NAME, "the time now is within its validity"),
        None => findings.waive(NAME, "the issuer has set no end to it"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::credential::proof::Statement;
    use crate::judge::report::{Outcome, Verdict};
    use crate::judge::trust::Trust;
    use crate::key::SigningKey;
    use crate::key::multikey::PublicKey;
    use crate::sample::{DAY, ISSUED_AT};

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[21; 32])
    }

    fn did() -> String {
        format!("did:key:{}", PublicKey::of(&key()).multikey())
    }

    fn unsigned() -> Value {
        json!({
            "@context": [CREDENTIALS, "https://college.example/terms/v1"],
            "type": ["VerifiableCredential", "Degree"],
            "issuer": { "id": did(), "name": "A College" },
            "validFrom": "2026-01-01T00:00:00Z",
            "validUntil": "2030-01-01T00:00:00Z",
            "credentialSubject": { "id": "did:example:z", "degree": "Bachelor of Noted Things" },
        })
    }

    fn signed(document: Value) -> Value {
        let method = format!("{}#{}", did(), PublicKey::of(&key()).multikey());
        let says = Statement { verification_method: &method, created: ISSUED_AT };
        proof::seal(document, &key(), says).unwrap()
    }

    fn options() -> Options {
        Options {
            now: ISSUED_AT + DAY,
            trust: Trust::default(),
            status_age_max: DAY,
            document_sha256: None,
            status_lists: Vec::new(),
            challenge: None,
        }
    }

    fn report(secured: &Value, options: &Options) -> Report {
        judge(secured.to_string().as_bytes(), options)
    }

    #[test]
    fn a_strangers_credential_is_signed_and_its_issuer_unknown_until_pinned() {
        let secured = signed(unsigned());
        let found = report(&secured, &options());
        assert_eq!(found.verdict, Verdict::Unproven, "{found}");
        assert_eq!(found.outcome(Name::JcsSignature), Outcome::Proved, "{found}");
        assert_eq!(found.outcome(Name::IssuerTrust), Outcome::NotChecked, "{found}");
        let mut informed = options();
        informed.trust.pin(&PublicKey::of(&key()).multikey()).unwrap();
        let found = report(&secured, &informed);
        assert_eq!(found.verdict, Verdict::Valid, "{found}");
        // A list that nobody has asked for leaves a doubt.
        let mut listed = unsigned();
        listed["credentialStatus"] = json!({ "type": "BitstringStatusListEntry" });
        assert_eq!(report(&signed(listed), &informed).verdict, Verdict::Unproven);
    }

    #[test]
    fn what_was_altered_or_is_over_is_invalid() {
        let mut informed = options();
        informed.trust.pin(&PublicKey::of(&key()).multikey()).unwrap();
        let good = signed(unsigned());
        let alter = |pointer: &str, value: Value| {
            let mut altered = good.clone();
            *altered.pointer_mut(pointer).unwrap() = value;
            report(&altered, &informed)
        };
        let other = PublicKey::of(&SigningKey::from_bytes(&[22; 32])).multikey();
        for (pointer, value) in [
            ("/credentialSubject/degree", json!("Doctor")),
            ("/validUntil", json!("2040-01-01T00:00:00Z")),
            ("/issuer/id", json!(format!("did:key:{other}"))),
            ("/@context/1", json!("https://other.example")),
            ("/@context/0", json!("https://www.w3.org/2018/credentials/v1")),
            ("/@context/1", json!({ "degree": "https://other.example" })),
            ("/type", json!(["VerifiablePresentation"])),
            ("/proof/proofPurpose", json!("authentication")),
            ("/proof/cryptosuite", json!("eddsa-rdfc-2022")),
            ("/proof/verificationMethod", json!(format!("did:key:{other}#{other}"))),
        ] {
            let found = alter(pointer, value);
            assert_eq!(found.verdict, Verdict::Invalid, "{pointer}: {found}");
        }
        let late = Options { now: ISSUED_AT + 5 * 366 * DAY, ..informed.clone() };
        assert_eq!(report(&good, &late).outcome(Name::ValidityPeriod), Outcome::Failed);
        let early = Options { now: ISSUED_AT - DAY, ..informed };
        assert_eq!(report(&good, &early).verdict, Verdict::Invalid);
        assert_eq!(judge(b"{", &options()).verdict, Verdict::Invalid);
    }
}
