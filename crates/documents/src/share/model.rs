//! What a share is, and what it shows.

use kernel::id::kinds::{Credential as CredentialKind, Share as ShareKind, User};
use kernel::{Error, Id, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

use crate::credential::{Credential, Date, Status};
use trust::issuance::service::Issued;

/// How long a share lasts where nothing else is asked for, and the most that may be.
pub(super) const DAYS_DEFAULT: u16 = 30;
pub(super) const DAYS_MAX: u16 = 365;
const EMAIL_BYTES_MAX: usize = 254;

/// What a share may show besides title, type, issuer and status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ShareField)]
pub enum Field {
    DocumentNumber,
    IssueDate,
    ExpiryDate,
    /// The signed credential itself, for a check that does not ask this server.
    SignedCredential,
}

impl Field {
    /// A document's number identifies a person, so it is shown only when it is asked for.
    pub(super) const DEFAULT: [Self; 3] =
        [Self::IssueDate, Self::ExpiryDate, Self::SignedCredential];
}

/// A share as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub id: Id<ShareKind>,
    pub credential: Id<CredentialKind>,
    pub owner: Id<User>,
    pub recipient_email: Option<String>,
    pub fields: Vec<Field>,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub views: i64,
    pub last_viewed_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

impl Share {
    /// Refuses what is over. The link was real: its holder is told why it shows nothing.
    pub(super) fn check_open(&self, now: Timestamp) -> Result<()> {
        if self.revoked_at.is_some() {
            return Err(Error::gone("share_revoked", "The owner has taken this link back."));
        }
        if self.expires_at <= now {
            return Err(Error::gone("share_expired", "The time of this link is over."));
        }
        Ok(())
    }
}

/// The address of somebody to be told of a share: enough of a check to keep a mail from being
/// made of it that is none. Whether it exists, sending shows.
pub(super) fn email(text: &str) -> Result<String> {
    let text = text.trim();
    let fits = text.len() <= EMAIL_BYTES_MAX
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || "<>(),;:\\\"".contains(c))
        && text.rsplit_once('@').is_some_and(|(name, host)| {
            !name.is_empty() && !name.contains('@') && !host.is_empty() && !host.starts_with('.')
        });
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Error::field("/recipientEmail", "invalid", "not an e-mail address"))
    }
}

/// What a credential is worth to somebody who checks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ShareStatus)]
pub enum Standing {
    /// A verifier has found it genuine, and that still holds.
    Valid,
    Revoked,
    Expired,
    /// There is no positive verdict.
    Unverified,
}

impl Standing {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Unverified => "unverified",
        }
    }
}

/// What the holder of a link sees.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SharedCredential)]
pub struct View {
    pub title: String,
    pub r#type: String,
    pub issuer: String,
    pub status: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Timestamp>,
    /// Until when the verdict holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// Who checked the document, when and how, in the words of the signed credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue_date: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_date: Option<Date>,
    /// Until when this link works.
    pub shared_until: Timestamp,
    pub how_to_check: &'static str,
    /// A W3C Verifiable Credential 2.0 in Open Badge 3.0 shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub signed_credential: Option<Json>,
}

const CHECK_SIGNED: &str = "The signed credential proves itself: give it to any verifier of W3C \
     Verifiable Credentials or Open Badges 3.0, to POST /v1/verify, or to `verza verify`. \
     Its proof and its revocation list are checked against the issuer's published \
     keys; this page need not be trusted.";
const CHECK_ASK: &str = "This page shows the state of things at this moment, as this platform \
     knows it. Ask the owner for the signed credential to check it without this platform.";
const CHECK_NOTHING: &str =
    "Nobody has verified this credential on this platform: what it says is what its owner says.";

impl View {
    pub(super) fn of(share: &Share, credential: Credential, issued: Option<Issued>) -> Self {
        let shows = |field| share.fields.contains(&field);
        let revoked = issued.as_ref().is_some_and(|issued| issued.revoked_at.is_some());
        let status = match credential.status {
            Status::Revoked => Standing::Revoked,
            Status::Verified | Status::Expired if revoked => Standing::Revoked,
            Status::Verified => Standing::Valid,
            Status::Expired => Standing::Expired,
            Status::Draft | Status::Pending | Status::Rejected => Standing::Unverified,
        };
        let judged = status != Standing::Unverified;
        let document = issued.filter(|_| judged).map(|issued| issued.document);
        let verified_by = document.as_ref().and_then(narrative);
        let signed_credential = document.filter(|_| shows(Field::SignedCredential));
        let how_to_check = match (judged, &signed_credential) {
            (true, Some(_)) => CHECK_SIGNED,
            (true, None) => CHECK_ASK,
            (false, _) => CHECK_NOTHING,
        };
        Self {
            title: credential.title,
            r#type: credential.kind,
            issuer: credential.issuer_name,
            status,
            verified_at: credential.verified_at.filter(|_| judged),
            valid_until: credential.valid_until.filter(|_| judged),
            verified_by,
            document_number: credential.document_number.filter(|_| shows(Field::DocumentNumber)),
            issue_date: credential.issue_date.filter(|_| shows(Field::IssueDate)),
            expiry_date: credential.expiry_date.filter(|_| shows(Field::ExpiryDate)),
            shared_until: share.expires_at,
            how_to_check,
            signed_credential,
        }
    }
}

/// The sentence about the check in a verdict credential: "Checked by ... on ...".
fn narrative(document: &Json) -> Option<String> {
    document.pointer("/evidence/0/narrative")?.as_str().map(str::to_owned)
}
