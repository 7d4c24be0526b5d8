//! The credential itself, and the signatures of everything its issuer signed.

use serde_json::Value;

use super::CLOCK_SKEW_SECONDS;
use super::report::{Findings, Name};
use super::trust::{FoundKey, KeyProblem, Keyring};
use crate::credential::proof::{self, Proof, Suite};
use crate::credential::rdfc::{self, Template};
use crate::credential::timestamp;
use crate::key::did;

/// A credential whose form is known, without its proofs.
pub(super) struct Judged {
    pub(super) document: Value,
    pub(super) issuer: String,
}

/// Judges form, signatures and period; nothing when there is no form to go on with.
pub(super) fn judge(secured: &Value, now: i64, signatures: &mut Signatures<'_>) -> Option<Judged> {
    let findings = &mut *signatures.findings;
    if secured["@context"].as_array().is_none_or(|c| c != Template::Verdict.contexts()) {
        findings.fail(Name::Contexts, "the credential's contexts are not the pinned ones");
    } else {
        findings.prove(Name::Contexts, "the contexts are the pinned ones, in order");
    }
    judge_purpose(&secured["proof"], findings);
    let (document, proofs) = match split(secured, Template::Verdict) {
        Ok(parts) => parts,
        Err(reason) => {
            findings.fail(Name::Shape, reason);
            return None;
        }
    };
    findings.prove(Name::Shape, "every member is known and none is missing");
    let issuer = document["issuer"]["id"].as_str()?.to_owned();
    let suites =
        [(Suite::Jcs, Name::JcsSignature), (Suite::Rdfc(Template::Verdict), Name::RdfcSignature)];
    for (suite, name) in suites {
        match proofs.iter().find(|proof| proof.cryptosuite() == suite.name()) {
            Some(proof) if signatures.judge(name, suite, &document, proof, &issuer) => {
                let detail = format!("signed by {}", proof.verification_method());
                signatures.findings.prove(name, detail);
            }
            Some(_) => {}
            None => signatures.findings.skip(name, "the credential has no proof of this suite"),
        }
    }
    judge_period(&document, &proofs, now, signatures.findings);
    Some(Judged { document, issuer })
}

/// Takes a signed document of a template apart, with at most one proof of each suite.
pub(super) fn split(secured: &Value, template: Template) -> Result<(Value, Vec<Proof>), String> {
    let (document, proofs) = proof::split(secured).map_err(|error| error.to_string())?;
    rdfc::canonicalize(template, &document).map_err(|error| error.to_string())?;
    let suites = [Suite::Jcs.name(), Suite::Rdfc(template).name()];
    let known = proofs.iter().all(|proof| suites.contains(&proof.cryptosuite()));
    let twice =
        matches!(proofs.as_slice(), [one, other] if one.cryptosuite() == other.cryptosuite());
    if proofs.len() > suites.len() || !known || twice {
        return Err("there are other proofs than one of each suite".to_owned());
    }
    Ok((document, proofs))
}

fn judge_purpose(proof: &Value, findings: &mut Findings) {
    let proofs = proof.as_array().map_or(std::slice::from_ref(proof), Vec::as_slice);
    if !proofs.is_empty() && proofs.iter().all(|one| one["proofPurpose"] == "assertionMethod") {
        findings.prove(Name::ProofPurpose, "the proofs are made for assertionMethod");
    } else {
        findings.fail(Name::ProofPurpose, "a proof is not made for assertionMethod");
    }
}

fn judge_period(document: &Value, proofs: &[Proof], now: i64, findings: &mut Findings) {
    let time = |name: &str| document[name].as_str().and_then(|text| timestamp::parse(text).ok());
    let (Some(from), Some(until)) = (time("validFrom"), time("validUntil")) else {
        return findings.fail(Name::ValidityPeriod, "the validity period cannot be read");
    };
    let detail = format!(
        "valid from {} until {}",
        document["validFrom"].as_str().unwrap_or_default(),
        document["validUntil"].as_str().unwrap_or_default(),
    );
    let soon = now.saturating_add(CLOCK_SKEW_SECONDS);
    if soon < from || now >= until || proofs.iter().any(|proof| proof.created() > soon) {
        findings.fail(Name::ValidityPeriod, format!("{detail}, which the time now is not within"));
    } else {
        findings.prove(Name::ValidityPeriod, detail);
    }
}

/// Checks signatures and keeps account of the keys behind them.
pub(super) struct Signatures<'a> {
    keyring: Keyring<'a>,
    pub(super) findings: &'a mut Findings,
    strangers: Vec<String>,
    signed: bool,
    /// When the credential was signed, where somebody else than its signer says so.
    signed_at: Option<i64>,
}

impl<'a> Signatures<'a> {
    pub(super) fn new(keyring: Keyring<'a>, findings: &'a mut Findings) -> Self {
        Self { keyring, findings, strangers: Vec::new(), signed: false, signed_at: None }
    }

    /// Notes when the credential was signed, as the reader's records or a log that the reader knows
    /// have it.
    pub(super) fn date(&mut self, signed_at: Option<i64>) {
        self.signed_at = signed_at;
    }

    /// Whether the issuer made this proof. If not, says so under `name`; what concerns the key is
    /// noted under the names of the key's own checks.
    pub(super) fn judge(
        &mut self,
        name: Name,
        suite: Suite,
        document: &Value,
        proof: &Proof,
        issuer: &str,
    ) -> bool {
        let method = proof.verification_method();
        if did::controller(method) != Some(issuer) {
            self.findings.fail(Name::VerificationMethod, format!("{method} is not the issuer's"));
            self.findings.fail(name, "the signing key is not the issuer's");
            return false;
        }
        self.findings.prove(Name::VerificationMethod, "the keys are named as the issuer's own");
        let candidates = match self.keyring.find(method) {
            Ok(candidates) => candidates,
            Err(problem) => {
                self.judge_key_problem(name, &problem);
                return false;
            }
        };
        let fits = |found: &&FoundKey| proof.verify(suite, document, &found.key).is_ok();
        match candidates.iter().find(fits) {
            Some(FoundKey { revoked: Some(since), .. }) if !self.outlives(name, proof, *since) => {
                false
            }
            Some(found) => {
                let detail = "the keys stand in the issuer's DID document or were pinned";
                self.findings.prove(Name::IssuerKey, detail);
                if !found.pinned {
                    self.strangers.push(method.to_owned());
                }
                self.signed = true;
                true
            }
            None => {
                let detail = format!("the {} signature does not fit", suite.name());
                self.findings.fail(name, detail);
                false
            }
        }
    }

    /// Whether a signature that fits still counts although its key was compromised. The date in the
    /// proof is the word of whoever has the key; a credential counts when somebody else says that
    /// it was there before. If not, says so under `name`.
    fn outlives(&mut self, name: Name, proof: &Proof, since: i64) -> bool {
        let method = proof.verification_method();
        let written = |time: i64| timestamp::format(time).unwrap_or_else(|_| "ever".to_owned());
        let revoked = format!("the issuer has revoked {method} as of {}", written(since));
        if proof.created() >= since {
            let detail = format!("signed on {}, with a revoked key", written(proof.created()));
            self.findings.fail(name, detail);
            self.findings.fail(Name::IssuerKey, revoked);
            return false;
        }
        let of_credential = matches!(name, Name::JcsSignature | Name::RdfcSignature);
        if of_credential && self.signed_at.is_some_and(|at| at < since) {
            return true;
        }
        let detail = if of_credential {
            "the key was compromised later, and nothing but its own date shows that this was \
             signed before: a log that was pinned could"
        } else {
            "the key was compromised later: have it exported again, or fetch a newer list"
        };
        self.findings.skip(name, detail);
        self.findings.skip(Name::IssuerKey, revoked);
        false
    }

    fn judge_key_problem(&mut self, name: Name, problem: &KeyProblem) {
        match problem {
            KeyProblem::NoSource => {
                self.findings.skip(Name::IssuerKey, problem.to_string());
                self.findings.skip(name, "the issuer's key is not known");
            }
            KeyProblem::Document(_) => {
                self.findings.fail(Name::IssuerKey, problem.to_string());
                self.findings.fail(name, "the issuer's key is not known");
            }
            KeyProblem::Conflict => {
                self.findings.fail(Name::IssuerKey, problem.to_string());
                self.findings.fail(Name::IssuerTrust, problem.to_string());
                self.findings.fail(name, "the issuer's key is not the pinned one");
            }
        }
    }

    /// Whether the issuer sealed this whole object with one `eddsa-jcs-2022` proof. If not, says so
    /// under `name`.
    pub(super) fn judge_seal(&mut self, name: Name, sealed: &Value, issuer: &str) -> bool {
        match proof::split(sealed) {
            Ok((document, proofs)) if proofs.len() == 1 => {
                self.judge(name, Suite::Jcs, &document, &proofs[0], issuer)
            }
            Ok(_) => {
                self.findings.fail(name, "the file is not sealed by one proof");
                false
            }
            Err(error) => {
                self.findings.fail(name, error.to_string());
                false
            }
        }
    }

    /// Whether every key that signed was pinned by the reader.
    pub(super) fn judge_trust(&mut self) {
        if !self.keyring.names_issuers() {
            let detail = "no issuer was pinned, so the file is only shown to agree with itself";
            self.findings.skip(Name::IssuerTrust, detail);
        } else if let Some(stranger) = self.strangers.first() {
            let detail =
                format!("{stranger} is not among the pinned keys: newer, withdrawn or forged");
            self.findings.skip(Name::IssuerTrust, detail);
        } else if self.signed {
            self.findings.prove(Name::IssuerTrust, "every key that signed was pinned");
        }
    }
}
