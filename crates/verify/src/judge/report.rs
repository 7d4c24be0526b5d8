//! What a judgement says: each check by name, with its outcome and a sentence for people.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// The whole judgement in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything that makes a credential worth believing was proved.
    Valid,
    /// Nothing speaks against it, but something needed could not be shown.
    Unproven,
    /// At least one check failed.
    Invalid,
}

/// What came of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Shown to be so.
    Proved,
    /// Shown not to be so.
    Failed,
    /// Neither; the detail says what was lacking.
    NotChecked,
}

/// What kind of file is judged, and by that which checks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON document under Data Integrity proofs, alone or in a bundle.
    #[default]
    Document,
    /// A token: SD-JWT or JWT.
    Token,
    /// A case file, with or without a document.
    Case,
    /// A document of any issuer under Data Integrity proofs.
    Foreign,
}

/// The checks, in the order in which a report lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// The file is JSON of one meaning and has exactly the members of its form.
    Shape,
    /// The credential's `@context` is the pinned list, so that its words mean what is displayed.
    Contexts,
    /// The `eddsa-jcs-2022` signature fits.
    JcsSignature,
    /// The `eddsa-rdfc-2022` signature fits.
    RdfcSignature,
    /// The proofs were made to assert (`assertionMethod`), not for another purpose.
    ProofPurpose,
    /// The token's signature fits.
    TokenSignature,
    /// The certificates of the header hold and stand for the issuer.
    CertificateChain,
    /// What was disclosed belongs to the token, each thing once.
    Disclosures,
    /// Whoever presents it has the key that it is bound to, and did so for this reader just now.
    KeyBinding,
    /// The keys are named as the issuer's own.
    VerificationMethod,
    /// The keys stand in the issuer's DID document, or were brought by the reader.
    IssuerKey,
    /// The keys are those that the reader brought from elsewhere.
    IssuerTrust,
    /// The reader's time lies within `validFrom` and `validUntil`.
    ValidityPeriod,
    /// Both signatures of the status list fit.
    StatusSignature,
    /// The status list is the one, by the issuer, that the credential names.
    StatusMatch,
    /// The status list is not older than the reader accepts.
    StatusFresh,
    /// The credential's bit in the status list is clear.
    NotRevoked,
    /// The bundle's own signature fits.
    BundleSeal,
    /// The log signed the enclosed checkpoint.
    LogCheckpoint,
    /// The log's key is one that the reader brought from elsewhere.
    LogTrust,
    /// A witness whose key the reader brought from elsewhere has signed the checkpoint as well:
    /// nobody was shown another history under it.
    LogWitness,
    /// The log entry is in the tree of that checkpoint.
    LogInclusion,
    /// The log entry commits to exactly this credential.
    LogCommitment,
    /// The document at hand is the one that was checked.
    Document,
    /// The case file's own signature fits.
    CaseSeal,
    /// Every event of the case is what its leaf commits to, in order, from the request on.
    CaseTimeline,
    /// The log holds every event of the case.
    CaseInclusion,
    /// The verdict is the logged one, and the credential the one that it issued.
    CaseVerdict,
    /// The amounts are the logged ones.
    CaseReceipt,
}

impl Name {
    /// Every check there is.
    pub const ALL: [Self; 29] = [
        Self::Shape,
        Self::Contexts,
        Self::JcsSignature,
        Self::RdfcSignature,
        Self::ProofPurpose,
        Self::TokenSignature,
        Self::CertificateChain,
        Self::Disclosures,
        Self::KeyBinding,
        Self::VerificationMethod,
        Self::IssuerKey,
        Self::IssuerTrust,
        Self::ValidityPeriod,
        Self::StatusSignature,
        Self::StatusMatch,
        Self::StatusFresh,
        Self::NotRevoked,
        Self::BundleSeal,
        Self::LogCheckpoint,
        Self::LogTrust,
        Self::LogWitness,
        Self::LogInclusion,
        Self::LogCommitment,
        Self::Document,
        Self::CaseSeal,
        Self::CaseTimeline,
        Self::CaseInclusion,
        Self::CaseVerdict,
        Self::CaseReceipt,
    ];

    /// Whether a report on such a file speaks of it.
    fn concerns(self, form: Form) -> bool {
        match self {
            Self::Shape
            | Self::IssuerKey
            | Self::IssuerTrust
            | Self::ValidityPeriod
            | Self::StatusSignature
            | Self::StatusMatch
            | Self::StatusFresh
            | Self::NotRevoked => true,
            Self::TokenSignature
            | Self::CertificateChain
            | Self::Disclosures
            | Self::KeyBinding => form == Form::Token,
            Self::CaseSeal
            | Self::CaseTimeline
            | Self::CaseInclusion
            | Self::CaseVerdict
            | Self::CaseReceipt => form == Form::Case,
            Self::Contexts | Self::JcsSignature | Self::ProofPurpose | Self::VerificationMethod => {
                form != Form::Token
            }
            _ => !matches!(form, Form::Token | Form::Foreign),
        }
    }

    /// Whether a verdict of `Valid` rests on it. The log shows that issuance was public, a chain of
    /// certificates is one of two ways to the issuer's key, and the document comparison is the
    /// reader's wish; a credential can be good without any of them.
    pub fn is_required(self) -> bool {
        !matches!(
            self,
            Self::CertificateChain
                | Self::LogCheckpoint
                | Self::LogTrust
                | Self::LogWitness
                | Self::LogInclusion
                | Self::LogCommitment
                | Self::Document
        )
    }

    /// The name as reports print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shape => "shape",
            Self::Contexts => "contexts",
            Self::JcsSignature => "jcs-signature",
            Self::RdfcSignature => "rdfc-signature",
            Self::ProofPurpose => "proof-purpose",
            Self::TokenSignature => "token-signature",
            Self::CertificateChain => "certificate-chain",
            Self::Disclosures => "disclosures",
            Self::KeyBinding => "key-binding",
            Self::VerificationMethod => "verification-method",
            Self::IssuerKey => "issuer-key",
            Self::IssuerTrust => "issuer-trust",
            Self::ValidityPeriod => "validity-period",
            Self::StatusSignature => "status-signature",
            Self::StatusMatch => "status-match",
            Self::StatusFresh => "status-fresh",
            Self::NotRevoked => "not-revoked",
            Self::BundleSeal => "bundle-seal",
            Self::LogCheckpoint => "log-checkpoint",
            Self::LogTrust => "log-trust",
            Self::LogWitness => "log-witness",
            Self::LogInclusion => "log-inclusion",
            Self::LogCommitment => "log-commitment",
            Self::Document => "document",
            Self::CaseSeal => "case-seal",
            Self::CaseTimeline => "case-timeline",
            Self::CaseInclusion => "case-inclusion",
            Self::CaseVerdict => "case-verdict",
            Self::CaseReceipt => "case-receipt",
        }
    }
}

/// One check and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which check.
    pub name: Name,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, or as of when, in a sentence.
    pub detail: String,
}

/// A judgement. It lists every check, those that could not be made included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The judgement in a word.
    pub verdict: Verdict,
    /// The checks in the order of [`Name::ALL`].
    pub checks: Vec<Check>,
}

impl Report {
    /// What came of one check.
    pub fn outcome(&self, name: Name) -> Outcome {
        let check = self.checks.iter().find(|check| check.name == name);
        check.map_or(Outcome::NotChecked, |check| check.outcome)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Valid => "VALID",
            Verdict::Unproven => "UNPROVEN",
            Verdict::Invalid => "INVALID",
        };
        writeln!(f, "{verdict}")?;
        for Check { name, outcome, detail } in &self.checks {
            let outcome = match outcome {
                Outcome::Proved => "proved",
                Outcome::Failed => "FAILED",
                Outcome::NotChecked => "not checked",
            };
            writeln!(f, "  {outcome:<12} {:<20} {detail}", name.as_str())?;
        }
        Ok(())
    }
}

/// A report in the making.
#[derive(Debug, Default)]
pub(super) struct Findings {
    form: Form,
    found: BTreeMap<Name, (Outcome, String)>,
    waived: Vec<Name>,
}

impl Findings {
    pub(super) fn new(form: Form) -> Self {
        Self { form, ..Self::default() }
    }

    /// Notes that there is nothing here to check, and that the verdict does not rest on it.
    pub(super) fn waive(&mut self, name: Name, detail: impl Into<String>) {
        self.skip(name, detail);
        self.waived.push(name);
    }

    /// Notes that something was shown, unless it failed or was found lacking before.
    pub(super) fn prove(&mut self, name: Name, detail: impl Into<String>) {
        self.found.entry(name).or_insert_with(|| (Outcome::Proved, detail.into()));
    }

    /// Notes a failure, which replaces everything but an earlier failure.
    pub(super) fn fail(&mut self, name: Name, detail: impl Into<String>) {
        if self.outcome(name) != Some(Outcome::Failed) {
            self.found.insert(name, (Outcome::Failed, detail.into()));
        }
    }

    /// Notes that something could not be shown, unless it failed before.
    pub(super) fn skip(&mut self, name: Name, detail: impl Into<String>) {
        if matches!(self.outcome(name), None | Some(Outcome::Proved)) {
            self.found.insert(name, (Outcome::NotChecked, detail.into()));
        }
    }

    pub(super) fn outcome(&self, name: Name) -> Option<Outcome> {
        self.found.get(&name).map(|(outcome, _)| *outcome)
    }

    pub(super) fn is_proved(&self, name: Name) -> bool {
        self.outcome(name) == Some(Outcome::Proved)
    }

    pub(super) fn report(mut self) -> Report {
        let checks: Vec<Check> = Name::ALL
            .into_iter()
            .filter(|name| name.concerns(self.form))
            .map(|name| {
                let not_reached =
                    || (Outcome::NotChecked, "an earlier check left nothing to go by".to_owned());
                let (outcome, detail) = self.found.remove(&name).unwrap_or_else(not_reached);
                Check { name, outcome, detail }
            })
            .collect();
        let needed =
            |check: &&Check| check.name.is_required() && !self.waived.contains(&check.name);
        let verdict = if checks.iter().any(|check| check.outcome == Outcome::Failed) {
            Verdict::Invalid
        } else if checks.iter().filter(needed).all(|check| check.outcome == Outcome::Proved) {
            Verdict::Valid
        } else {
            Verdict::Unproven
        };
        Report { verdict, checks }
    }
}
