//! The case file: one verification whole, in one JSON file that is judged without asking anybody.
//!
//! ```json
//! {
//!   "format": "verza-case/1",
//!   "exportedAt": "2026-11-22T10:00:00Z",
//!   "verification": {
//!     "id": "vrf_...", "credential": "c_...", "verifier": "v_...", "status": "verified",
//!     "verdict": "verified, rejected, or absent where there is none"
//!   },
//!   "receipt": { "currency": "USD", "price": 2500, "fee": 62, "refunded": 0, "hold": "hold_..." },
//!   "report": { "commentsSha256": "...", "fileSha256": "...", "url": "..." },
//!   "timeline": [{
//!     "entry": "{...}", "key": "name+id+key", "proof": "c2sp.org/tlog-proof@v1 ...",
//!     "row": {}, "salt": "64 hexadecimal digits"
//!   }],
//!   "didDocument": {}, "bundle": {}, "proof": {}
//! }
//! ```
//!
//! The receipt stands where there is a verdict, the bundle (see [`super::bundle`]) where it is a
//! positive one. Every event of the timeline is a leaf of the transparency log, opened; the seal
//! (`eddsa-jcs-2022`) is the issuer's over the whole file.
//!
//! What it proves and what it does not: that each event was logged as it is shown, and none was
//! altered since; that verdict and amounts are those of the logged events; that the credential is
//! the one that this verdict issued. That a later event was left out cannot be seen from the file.
//! The report's hashes and the refund are what the issuer says.

use ed25519_dalek::SigningKey;
use serde_json::{Map, Value, json};

use super::bundle::{BundleError, LogEvidence, Members, refuse};
use super::credential::Signatures;
use super::report::{Findings, Name};
use super::trust::Keyring;
use super::{CLOCK_SKEW_SECONDS, Options, judge_bundle, record};
use crate::credential::proof::{self, Statement};
use crate::credential::timestamp::{self, TimestampError};
use crate::log::entry::{self, Entry};

/// The value of `format`.
pub const FORMAT: &str = "verza-case/1";
/// The event with which every verification begins.
const REQUESTED: &str = "verification.requested";

/// The verification that the file is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub id: String,
    pub credential: String,
    pub verifier: String,
    pub status: String,
    /// What the verifier found.
    pub verdict: Option<Verdict>,
}

/// What a verifier found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Verified,
    Rejected,
}

impl Verdict {
    const ALL: [Self; 2] = [Self::Verified, Self::Rejected];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Rejected => "rejected",
        }
    }

    fn verb(self) -> String {
        format!("verification.{}", self.as_str())
    }
}

/// What was paid, in minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub currency: String,
    pub price: i64,
    /// The platform's part of the price.
    pub fee: i64,
    /// What the owner has got back.
    pub refunded: i64,
    /// Where the ledger held it.
    pub hold: String,
}

/// The verifier's report by its hashes, hexadecimal, and where it is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportHashes {
    pub comments_sha256: Option<String>,
    pub file_sha256: Option<String>,
    pub url: Option<String>,
}

/// The parts of a case file.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub about: About,
    pub receipt: Option<Receipt>,
    pub report: Option<ReportHashes>,
    /// Oldest first.
    pub timeline: Vec<LogEvidence>,
    /// The issuer's DID document as of the export.
    pub did_document: Value,
    /// A sealed bundle.
    pub bundle: Option<Value>,
    /// In seconds since the Unix epoch.
    pub exported_at: i64,
}

impl Case {
    /// The finished file, sealed at `exported_at` by the issuer's key of this identifier.
    pub fn seal(&self, key: &SigningKey, verification_method: &str) -> Result<Value, BundleError> {
        let says = Statement { verification_method, created: self.exported_at };
        let case = self.to_json().map_err(BundleError::Time)?;
        proof::seal(case, key, says).map_err(BundleError::Proof)
    }

    fn to_json(&self) -> Result<Value, TimestampError> {
        let About { id, credential, verifier, status, verdict } = &self.about;
        let mut case = json!({
            "format": FORMAT,
            "exportedAt": timestamp::format(self.exported_at)?,
            "verification": {
                "id": id, "credential": credential, "verifier": verifier, "status": status,
            },
            "timeline": self.timeline.iter().map(event_json).collect::<Vec<_>>(),
            "didDocument": self.did_document,
        });
        if let Some(verdict) = verdict {
            case["verification"]["verdict"] = verdict.as_str().into();
        }
        if let Some(Receipt { currency, price, fee, refunded, hold }) = &self.receipt {
            case["receipt"] = json!({
                "currency": currency, "price": price, "fee": fee, "refunded": refunded,
                "hold": hold,
            });
        }
        if let Some(ReportHashes { comments_sha256, file_sha256, url }) = &self.report {
            let members =
                [("commentsSha256", comments_sha256), ("fileSha256", file_sha256), ("url", url)];
            let members = members
                .into_iter()
                .filter_map(|(name, text)| Some((name.to_owned(), Value::from(text.as_deref()?))));
            case["report"] = Value::Object(members.collect::<Map<_, _>>());
        }
        if let Some(bundle) = &self.bundle {
            case["bundle"] = bundle.clone();
        }
        Ok(case)
    }

    /// Reads the parts; seal, events and bundle are checked apart.
    pub fn parse(case: &Value) -> Result<Self, BundleError> {
        let mut members = Members::of(case);
        if members.text("format")? != FORMAT {
            return Err(refuse("format"));
        }
        members.object("proof")?;
        let parsed = Self {
            exported_at: timestamp::parse(&members.text("exportedAt")?)
                .map_err(|_| refuse("exportedAt"))?,
            about: about(Members::of(&members.object("verification")?))?,
            receipt: members.maybe("receipt", |value| receipt(Members::of(&value)))?,
            report: members.maybe("report", |value| report(Members::of(&value)))?,
            timeline: members.list("timeline")?.iter().map(event).collect::<Result<_, _>>()?,
            did_document: members.object("didDocument")?,
            bundle: members.maybe("bundle", Ok)?,
        };
        members.finish()?;
        Ok(parsed)
    }
}

fn event_json(event: &LogEvidence) -> Value {
    let LogEvidence { proof, entry, salt, row, key } = event;
    json!({ "entry": entry, "key": key, "proof": proof, "row": row, "salt": hex::encode(salt) })
}

fn event(value: &Value) -> Result<LogEvidence, BundleError> {
    let mut members = Members::of(value);
    let event = LogEvidence {
        proof: members.text("proof")?,
        entry: members.text("entry")?,
        key: members.text("key")?,
        salt: members.salt("salt")?,
        row: members.object("row")?,
    };
    members.finish()?;
    Ok(event)
}

fn about(mut members: Members) -> Result<About, BundleError> {
    let verdict = members.maybe_text("verdict")?.map(|text| {
        let known = Verdict::ALL.into_iter().find(|verdict| verdict.as_str() == text);
        known.ok_or_else(|| refuse("verdict"))
    });
    let about = About {
        id: members.text("id")?,
        credential: members.text("credential")?,
        verifier: members.text("verifier")?,
        status: members.text("status")?,
        verdict: verdict.transpose()?,
    };
    members.finish()?;
    Ok(about)
}

fn receipt(mut members: Members) -> Result<Receipt, BundleError> {
    let receipt = Receipt {
        currency: members.text("currency")?,
        price: members.number("price")?,
        fee: members.number("fee")?,
        refunded: members.number("refunded")?,
        hold: members.text("hold")?,
    };
    members.finish()?;
    Ok(receipt)
}

fn report(mut members: Members) -> Result<ReportHashes, BundleError> {
    let report = ReportHashes {
        comments_sha256: members.maybe_digest("commentsSha256")?,
        file_sha256: members.maybe_digest("fileSha256")?,
        url: members.maybe_text("url")?,
    };
    members.finish()?;
    Ok(report)
}

/// Judges a case file: the credential in it as any other, and what ties the parts together.
pub(super) fn judge(value: &Value, options: &Options, findings: &mut Findings) {
    let case = match Case::parse(value) {
        Ok(case) => case,
        Err(error) => return findings.fail(Name::Shape, error.to_string()),
    };
    findings.prove(Name::Shape, "every member is known and none is missing");
    judge_seal(value, &case, options, findings);
    judge_timeline(&case, options, findings);
    match &case.bundle {
        Some(bundle) => judge_bundle(bundle, options, findings),
        None => waive_credential(findings),
    }
    match verdict(&case) {
        Ok(None) => {
            findings.waive(Name::CaseVerdict, "there is no verdict");
        }
        Ok(Some(detail)) => findings.prove(Name::CaseVerdict, detail),
        Err(Doubt::Wrong(reason)) => findings.fail(Name::CaseVerdict, reason),
        Err(Doubt::Unknown(reason)) => findings.skip(Name::CaseVerdict, reason),
    }
    judge_receipt(&case, findings);
}

fn judge_seal(value: &Value, case: &Case, options: &Options, findings: &mut Findings) {
    let Some(issuer) = case.did_document["id"].as_str() else {
        return findings.fail(Name::CaseSeal, "the DID document names nobody");
    };
    let of = case.bundle.as_ref().map(|bundle| &bundle["credential"]["issuer"]["id"]);
    if of.is_some_and(|other| other != issuer) {
        findings.fail(Name::CaseSeal, "the credential is another issuer's");
    }
    if case.exported_at > options.now.saturating_add(CLOCK_SKEW_SECONDS) {
        findings.fail(Name::CaseSeal, "the case was exported in the future");
    }
    let keyring = Keyring::new(Some(&case.did_document), &options.trust);
    let mut signatures = Signatures::new(keyring, findings);
    if signatures.judge_seal(Name::CaseSeal, value, issuer) {
        let detail = format!("{issuer} sealed the whole file");
        signatures.findings.prove(Name::CaseSeal, detail);
    }
    signatures.judge_trust();
}

fn judge_timeline(case: &Case, options: &Options, findings: &mut Findings) {
    let mut before = None;
    for event in &case.timeline {
        if let Err(reason) = opens(event, &case.about) {
            findings.fail(Name::CaseTimeline, reason);
        }
        match record::included(event, &options.trust, findings) {
            Err(reason) => findings.fail(Name::CaseInclusion, reason),
            Ok(index) if before.is_some_and(|before| index <= before) => {
                findings.fail(Name::CaseTimeline, "the events are not in the log's order");
            }
            Ok(index) => before = Some(index),
        }
    }
    let first = case.timeline.first().map(|event| &event.row["verb"]);
    if first.is_none_or(|verb| verb != REQUESTED) {
        findings.fail(Name::CaseTimeline, "the timeline does not begin with the request");
    }
    let count = case.timeline.len();
    let detail = format!("{count} events are as they were logged; later ones may be missing");
    findings.prove(Name::CaseTimeline, detail);
    findings.prove(Name::CaseInclusion, format!("the log holds all {count} of them"));
}

/// Whether an event is what its leaf commits to, and is about this verification.
fn opens(event: &LogEvidence, about: &About) -> Result<(), String> {
    let entry = Entry::parse(&event.entry).map_err(|error| error.to_string())?;
    let commitment = entry::commitment(&event.salt, &event.row);
    if commitment.map_err(|error| error.to_string())? != entry.commitment {
        return Err("salt and row of an event do not open its commitment".to_owned());
    }
    if event.row["verb"] != entry.kind || event.row["subject"] != about.id {
        return Err("an event is of another verification".to_owned());
    }
    Ok(())
}

/// Why something was not shown.
enum Doubt {
    Wrong(String),
    Unknown(String),
}

/// The logged verdict and its row.
fn logged_verdict(case: &Case) -> Option<(Verdict, &Value)> {
    case.timeline.iter().find_map(|event| {
        let verdict = Verdict::ALL.into_iter().find(|verdict| event.row["verb"] == verdict.verb());
        verdict.map(|verdict| (verdict, &event.row))
    })
}

fn verdict(case: &Case) -> Result<Option<String>, Doubt> {
    let wrong = |what: &str| Err(Doubt::Wrong(what.to_owned()));
    let logged = logged_verdict(case);
    if logged.map(|(verdict, _)| verdict) != case.about.verdict {
        return wrong("the verdict is not the one that was logged");
    }
    let Some((verdict, row)) = logged else {
        return if case.bundle.is_none() {
            Ok(None)
        } else {
            wrong("a credential, and no verdict")
        };
    };
    let bundle = match (verdict, &case.bundle) {
        (Verdict::Rejected, None) => return Ok(Some("the logged verdict is: rejected".into())),
        (Verdict::Rejected, Some(_)) => return wrong("a credential of a negative verdict"),
        (Verdict::Verified, None) => return wrong("the credential of the verdict is missing"),
        (Verdict::Verified, Some(bundle)) => bundle,
    };
    let issuance = &bundle["logCommitment"]["row"];
    if issuance.is_null() {
        let what = "the credential's issuance was not logged yet, which ties it to the verdict";
        return Err(Doubt::Unknown(what.into()));
    }
    let is_of_this = issuance["data"]["verification"] == case.about.id
        && issuance["data"]["credential"] == case.about.credential
        && issuance["subject"] == row["data"]["issued"];
    if !is_of_this {
        return wrong("the credential is of another verification");
    }
    Ok(Some("the logged verdict is: verified, and it issued the credential".into()))
}

fn judge_receipt(case: &Case, findings: &mut Findings) {
    const NAME: Name = Name::CaseReceipt;
    let (receipt, row) = match (&case.receipt, logged_verdict(case)) {
        (None, None) => return findings.waive(NAME, "nothing was paid"),
        (None, Some(_)) => return findings.fail(NAME, "there is a verdict and no receipt"),
        (Some(_), None) => return findings.fail(NAME, "there is a receipt and no verdict"),
        (Some(receipt), Some((_, row))) => (receipt, row),
    };
    let logged = &row["data"];
    let Receipt { currency, price, fee, refunded, .. } = receipt;
    if logged["price"] != *price || logged["fee"] != *fee || logged["currency"] != *currency {
        return findings.fail(NAME, "the receipt is not of the amounts that were logged");
    }
    let detail = format!(
        "{price} {currency} (minor units) were paid, {fee} of it to the platform; the issuer says \
         that {refunded} were given back"
    );
    findings.prove(NAME, detail);
}

/// There is nothing to be said of a credential where none was issued.
fn waive_credential(findings: &mut Findings) {
    let names = [
        Name::Contexts,
        Name::JcsSignature,
        Name::RdfcSignature,
        Name::ProofPurpose,
        Name::ValidityPeriod,
        Name::StatusSignature,
        Name::StatusMatch,
        Name::StatusFresh,
        Name::NotRevoked,
        Name::BundleSeal,
    ];
    for name in names {
        findings.waive(name, "no credential was issued");
    }
}
