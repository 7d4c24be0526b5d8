//! What software finds out about a credential that was signed elsewhere and uploaded.
//!
//! It is never a verdict: those are people's, and signed. It says whether the file's signature
//! fits, whose key that is and how it was found, whether the credential is in force, and whether
//! this platform trusts its issuer. The title, type and issuer that the owner has given stay the owner's
//! words; what the file calls itself is said beside them.

use kernel::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use verify::judge::foreign;
use verify::judge::report::{Name, Outcome, Verdict as Found};

/// What is known of a signed credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Judgement {
    /// Nobody has looked at it yet.
    Pending,
    Checked(Checked),
}

/// The judgement in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AutomaticVerdict)]
pub enum Verdict {
    /// Signed by an issuer whom this platform trusts, unaltered, and in force.
    Valid,
    /// Something speaks against it.
    Invalid,
    /// Nothing speaks against it, but something needed could not be shown.
    Undetermined,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Undetermined => "undetermined",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AutomaticCheckStep)]
pub struct Check {
    #[schema(example = "token-signature")]
    pub name: String,
    /// `proved`, `failed` or `not-checked`.
    pub outcome: String,
    pub reason: String,
}

/// What was found out, and when: a revocation after that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    pub verdict: Verdict,
    pub summary: String,
    /// `sd-jwt-vc`, `vc-jwt` or `data-integrity`.
    pub format: Option<String>,
    /// Whoever the file says has issued it.
    pub issuer: Option<String>,
    pub issuer_trusted: bool,
    /// What the file calls itself.
    pub about: Option<String>,
    pub checked_at: Timestamp,
    pub checks: Vec<Check>,
}

impl Checked {
    pub(crate) fn of(judged: foreign::Judgement, checked_at: Timestamp) -> Self {
        let report = &judged.report;
        let verdict = match report.verdict {
            Found::Valid => Verdict::Valid,
            Found::Invalid => Verdict::Invalid,
            Found::Unproven => Verdict::Undetermined,
        };
        let outcome = |outcome| match outcome {
            Outcome::Proved => "proved",
            Outcome::Failed => "failed",
            Outcome::NotChecked => "not-checked",
        };
        let checks = report.checks.iter().map(|check| Check {
            name: check.name.as_str().to_owned(),
            outcome: outcome(check.outcome).to_owned(),
            reason: check.detail.clone(),
        });
        Self {
            verdict,
            summary: summary(&judged),
            format: judged.kind.map(|kind| kind.as_str().to_owned()),
            issuer: judged.issuer.clone(),
            issuer_trusted: judged.is_trusted,
            about: judged.about.clone(),
            checked_at,
            checks: checks.collect(),
        }
    }

    /// Of a file that is too large to be looked into.
    pub(crate) fn too_large(checked_at: Timestamp) -> Self {
        Self {
            verdict: Verdict::Undetermined,
            summary: "The file is too large to be looked into.".to_owned(),
            format: None,
            issuer: None,
            issuer_trusted: false,
            about: None,
            checked_at,
            checks: Vec::new(),
        }
    }
}

/// The judgement in a sentence, which does not let an unknown issuer pass for a known one.
fn summary(judged: &foreign::Judgement) -> String {
    let report = &judged.report;
    let proved = |name| report.outcome(name) == Outcome::Proved;
    if let Some(failed) = report.checks.iter().find(|check| check.outcome == Outcome::Failed) {
        return format!("It must not be relied on: {}.", failed.detail);
    }
    if !proved(Name::TokenSignature) && !proved(Name::JcsSignature) {
        let open = [Name::Shape, Name::IssuerKey, Name::TokenSignature, Name::JcsSignature];
        let mut open = report.checks.iter().filter(|check| open.contains(&check.name));
        let why = open.find(|check| check.outcome == Outcome::NotChecked);
        let why = why.map_or("it cannot be read here", |check| check.detail.as_str());
        return format!("Its signature could not be checked: {why}.");
    }
    if !judged.is_trusted {
        return "The signature fits, but this platform does not know the issuer: anybody can issue \
                such a credential in a name of their own."
            .to_owned();
    }
    if report.verdict == Found::Valid {
        return "Signed by an issuer whom this platform trusts, unaltered, and in force."
            .to_owned();
    }
    "Signed by an issuer whom this platform trusts; whether it is still in force is not known."
        .to_owned()
}

/// What stands beside every automatic check that is shown.
const NOTICE: &str = "Software has checked this file. No verifier has looked at it, and the title, \
                      type and issuer given with it are its owner's words.";

/// An automatic check as it is shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AutomaticCheck)]
pub struct Shown {
    /// `pending`, or `checked` with all that follows.
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The same in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// `sd-jwt-vc`, `vc-jwt` or `data-integrity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Whoever the file says has issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Whether the operator of this platform trusts that issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_trusted: Option<bool>,
    /// What the file calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// A revocation after this is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// That no person has looked at it.
    pub notice: &'static str,
}

impl From<Judgement> for Shown {
    fn from(judgement: Judgement) -> Self {
        let mut shown = Self {
            state: "pending",
            verdict: None,
            summary: None,
            format: None,
            issuer: None,
            issuer_trusted: None,
            about: None,
            checked_at: None,
            checks: Vec::new(),
            notice: NOTICE,
        };
        if let Judgement::Checked(checked) = judgement {
            shown = Self {
                state: "checked",
                verdict: Some(checked.verdict),
                summary: Some(checked.summary),
                format: checked.format,
                issuer: checked.issuer,
                issuer_trusted: Some(checked.issuer_trusted),
                about: checked.about,
                checked_at: Some(checked.checked_at),
                checks: checked.checks,
                notice: NOTICE,
            };
        }
        shown
    }
}
