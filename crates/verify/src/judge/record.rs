//! Whether the issuance stands in the transparency log.

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::bundle::LogEvidence;
use super::report::{Findings, Name};
use super::trust::Trust;
use crate::credential::timestamp;
use crate::log::checkpoint::Checkpoint;
use crate::log::entry::{self, CREDENTIAL_DIGEST_POINTER, CREDENTIAL_ISSUED, Entry};
use crate::log::note::{Note, VerifierKey};
use crate::log::proof::InclusionProof;

/// Judges the log's evidence: checkpoint, key, path, and that the entry is about this credential.
pub(super) fn judge(
    evidence: Option<&LogEvidence>,
    credential: &Value,
    trust: &Trust,
    findings: &mut Findings,
) {
    let Some(evidence) = evidence else {
        let names = [
            Name::LogCheckpoint,
            Name::LogTrust,
            Name::LogWitness,
            Name::LogInclusion,
            Name::LogCommitment,
        ];
        for name in names {
            findings.skip(name, "the bundle was exported before its issuance was logged");
        }
        return;
    };
    match opens(evidence, credential) {
        Ok(()) => {
            let detail = "the log entry commits to exactly this credential";
            findings.prove(Name::LogCommitment, detail);
        }
        Err(reason) => findings.fail(Name::LogCommitment, reason),
    }
    let key = match VerifierKey::parse(&evidence.key) {
        Ok(key) => key,
        Err(error) => return findings.fail(Name::LogCheckpoint, error.to_string()),
    };
    judge_trust(&key, trust, findings);
    judge_inclusion(evidence, key, trust, findings);
}

fn judge_trust(key: &VerifierKey, trust: &Trust, findings: &mut Findings) {
    if trust.log_keys().contains(key) {
        findings.prove(Name::LogTrust, "the log's key was pinned");
    } else if trust.log_keys().iter().any(|pinned| pinned.name() == key.name()) {
        findings.fail(Name::LogTrust, "the file gives another key for the pinned log");
    } else {
        findings.skip(Name::LogTrust, "the log's key comes from the file and was not pinned");
    }
}

/// When a credential was issued, as a log says that the reader knows from elsewhere.
pub(super) fn issued_at(
    evidence: Option<&LogEvidence>,
    credential: &Value,
    trust: &Trust,
) -> Option<i64> {
    let evidence = evidence?;
    let key =
        VerifierKey::parse(&evidence.key).ok().filter(|key| trust.log_keys().contains(key))?;
    opens(evidence, credential).ok()?;
    let proof = InclusionProof::parse(&evidence.proof).ok()?;
    proof.verify(evidence.entry.as_bytes(), &[key]).ok()?;
    let at = OffsetDateTime::parse(evidence.row["at"].as_str()?, &Rfc3339).ok()?;
    Some(at.unix_timestamp())
}

/// Whether somebody apart from the log has signed this checkpoint too. Every checkpoint of a file
/// must have been: one that was not speaks for the whole.
fn judge_witness(checkpoint: &Note, trust: &Trust, findings: &mut Findings) {
    const NAME: Name = Name::LogWitness;
    if trust.witnesses().is_empty() {
        let detail = "no witness was pinned: that others are shown the same log is on its own word";
        return findings.skip(NAME, detail);
    }
    let mut signed = Vec::new();
    for witness in trust.witnesses() {
        match checkpoint.cosigned_at(witness) {
            Ok(Some(time)) => {
                let time = i64::try_from(time).ok().and_then(|time| timestamp::format(time).ok());
                signed.push(format!("{} on {}", witness.name(), time.unwrap_or_default()));
            }
            Ok(None) => {}
            Err(error) => {
                return findings.fail(NAME, format!("{}: {error}", witness.name()));
            }
        }
    }
    if signed.is_empty() {
        findings.skip(NAME, "none of the pinned witnesses has signed the checkpoint");
    } else {
        findings.prove(NAME, format!("also signed by {}", signed.join(", ")));
    }
}

/// The place of an event in a log whose checkpoint is signed by the key that comes with it; what is
/// known of that key is noted under [`Name::LogTrust`], who else has signed under
/// [`Name::LogWitness`].
pub(super) fn included(
    evidence: &LogEvidence,
    trust: &Trust,
    findings: &mut Findings,
) -> Result<u64, String> {
    let key = VerifierKey::parse(&evidence.key).map_err(|error| error.to_string())?;
    judge_trust(&key, trust, findings);
    let proof = InclusionProof::parse(&evidence.proof).map_err(|error| error.to_string())?;
    proof.verify(evidence.entry.as_bytes(), &[key]).map_err(|error| error.to_string())?;
    judge_witness(&proof.checkpoint, trust, findings);
    Ok(proof.index)
}

fn judge_inclusion(
    evidence: &LogEvidence,
    key: VerifierKey,
    trust: &Trust,
    findings: &mut Findings,
) {
    let proof = match InclusionProof::parse(&evidence.proof) {
        Ok(proof) => proof,
        Err(error) => return findings.fail(Name::LogInclusion, error.to_string()),
    };
    let checkpoint = match Checkpoint::open(&proof.checkpoint, &[key]) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return findings.fail(Name::LogCheckpoint, error.to_string()),
    };
    let Checkpoint { origin, size, .. } = &checkpoint;
    findings.prove(Name::LogCheckpoint, format!("signed by the log {origin} at size {size}"));
    judge_witness(&proof.checkpoint, trust, findings);
    match proof.leads_to(evidence.entry.as_bytes(), &checkpoint) {
        Ok(()) => {
            findings
                .prove(Name::LogInclusion, format!("the log holds the entry at {}", proof.index));
        }
        Err(error) => findings.fail(Name::LogInclusion, error.to_string()),
    }
}

/// Whether the entry opens to the row, and the row names the credential.
fn opens(evidence: &LogEvidence, credential: &Value) -> Result<(), String> {
    let entry = Entry::parse(&evidence.entry).map_err(|error| error.to_string())?;
    if entry.kind != CREDENTIAL_ISSUED {
        return Err(format!("the log entry is of type {}", entry.kind));
    }
    let commitment = entry::commitment(&evidence.salt, &evidence.row);
    if commitment.map_err(|error| error.to_string())? != entry.commitment {
        return Err("salt and row do not open the log entry's commitment".to_owned());
    }
    let digest = entry::credential_digest(credential).map_err(|error| error.to_string())?;
    let named = evidence.row.pointer(CREDENTIAL_DIGEST_POINTER).and_then(Value::as_str);
    if named == Some(hex::encode(digest).as_str()) {
        Ok(())
    } else {
        Err("the logged row names another credential".to_owned())
    }
}
