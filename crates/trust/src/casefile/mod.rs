//! The case file: one verification whole, sealed by the issuer, to be judged without the server.
//!
//! What belongs to a verification is known to others; here it is put under the log's proofs and the
//! issuer's seal. The form, what it proves and what it does not, and the judgement are
//! [`verify::judge::casefile`]'s.
//!
//! - Every event that is shown is opened to its leaf. A case whose last event the log has not come
//!   to is not made.
//! - It holds no words of the verifier's, only their hashes; with them whoever has the report can
//!   show that it is this one.

use kernel::id::kinds::Issued;
use kernel::{Error, Id, Result};
use platform::db::Db;
use platform::journal::Recorded;
use serde_json::Value as Json;
use verify::judge::bundle::LogEvidence;
use verify::judge::casefile::Case;

pub use verify::judge::casefile::{About, Receipt, ReportHashes, Verdict};

use crate::issuance::service::Service as Issuance;
use crate::key::service::Purpose;

/// What a case is made of.
pub struct Parts {
    pub about: About,
    pub receipt: Option<Receipt>,
    pub report: Option<ReportHashes>,
    /// What has happened to the verification, oldest first.
    pub facts: Vec<Recorded>,
    /// What a positive verdict issued.
    pub issued: Option<Id<Issued>>,
}

/// The sealed file. 503 `log_behind` while the log has not come to the last event.
pub async fn seal(issuance: &Issuance, db: &Db, parts: Parts) -> Result<Json> {
    let Parts { about, receipt, report, facts, issued } = parts;
    let mut timeline = Vec::with_capacity(facts.len());
    for fact in &facts {
        let event = issuance.log().inclusion(fact).await?.ok_or_else(behind)?;
        timeline.push(LogEvidence {
            proof: event.proof,
            entry: event.entry,
            salt: event.salt,
            row: event.row,
            key: event.key,
        });
    }
    let bundle = match issued {
        Some(id) => Some(issuance.bundle(db, id).await?),
        None => None,
    };
    // It ties the credential to the verdict.
    if bundle.as_ref().is_some_and(|bundle| bundle.get("logProof").is_none()) {
        return Err(behind());
    }
    let now = db.world().now();
    let case = Case {
        about,
        receipt,
        report,
        timeline,
        did_document: issuance.keys().did_document(),
        bundle,
        exported_at: now.seconds(),
    };
    let signer = issuance.keys().signer(Purpose::Credential, now)?;
    case.seal(&signer.key, &signer.method)
        .map_err(|error| Error::internal("a case file cannot be sealed").because(error))
}

fn behind() -> Error {
    let message = "The log has not come to the last event yet. Try again in a moment.";
    Error::unavailable("log_behind", message).retry_after(1)
}
