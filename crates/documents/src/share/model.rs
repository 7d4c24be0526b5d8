//! What a share is, and what it shows.

use std::net::IpAddr;
use std::time::Duration;

use kernel::id::kinds::{Credential as CredentialKind, Share as ShareKind, User};
use kernel::{Error, Id, Result, Timestamp};
use platform::crypto::sha256;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

use crate::credential::judgement::Shown as Automatic;
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
    /// Whether it opens only with a code that is sent to the recipient.
    pub asks_code: bool,
    pub(super) code: Code,
}

/// The state of a share's codes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) hash: Option<[u8; 32]>,
    pub(super) expires_at: Option<Timestamp>,
    /// Wrong ones, since it was sent.
    pub(super) tries: i64,
    pub(super) sent_at: Option<Timestamp>,
    /// Of this share altogether.
    pub(super) sent: i64,
}

/// How long a code is good, and how soon another one may be sent.
pub(super) const CODE_LASTS: Duration = Duration::from_secs(10 * 60);
const CODE_PAUSE: Duration = Duration::from_secs(60);
const CODE_TRIES_MAX: i64 = 5;
/// A recipient's mailbox is not for strangers to fill.
const CODES_MAX: i64 = 30;

/// A code as it is kept: without the link, which we do not have, it cannot be guessed from this.
pub(super) fn code_hash(token: &str, code: &str) -> [u8; 32] {
    sha256(format!("share code\n{token}\n{code}"))
}

impl Code {
    /// Whether another one may be sent.
    pub(super) fn check_send(&self, now: Timestamp) -> Result<()> {
        if self.sent >= CODES_MAX {
            let message = "No more codes are sent for this link. Ask its owner for a new one.";
            return Err(Error::conflict("codes_used_up", message));
        }
        match self.sent_at.map(|sent| sent + CODE_PAUSE) {
            Some(soonest) if now < soonest => {
                let wait = u32::try_from(soonest.since(now).as_secs()).unwrap_or(u32::MAX);
                Err(Error::limited(wait.max(1)))
            }
            _ => Ok(()),
        }
    }

    /// Whether there is a code that can still be tried.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        self.hash.is_some()
            && self.tries < CODE_TRIES_MAX
            && self.expires_at.is_some_and(|end| now < end)
    }
}

/// How a share was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Page,
    Json,
}

impl Shown {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Json => "json",
        }
    }
}

/// One opening of a share, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Counted from 1.
    pub number: i64,
    /// `page` or `json`.
    pub form: String,
    pub network: Option<String>,
    pub viewed_at: Timestamp,
}

/// An address without the part that tells one machine of a network from the next: the owner learns
/// whether the university or somebody else has looked, and not who.
pub(super) fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => network(address.into()),
            None => {
                let [a, b, c, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}::/48")
            }
        },
    }
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
    /// What software found out about a file that is itself a signed credential. It is no verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automatic_check: Option<Automatic>,
    /// Until when this link works.
    pub shared_until: Timestamp,
    pub how_to_check: &'static str,
    /// A W3C Verifiable Credential 2.0 in Open Badge 3.0 shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub signed_credential: Option<Json>,
    /// The same with everything that `verza verify` takes to judge it, sealed at this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub bundle: Option<Json>,
}

const CHECK_SIGNED: &str = "The signed credential proves itself: give it to any verifier of W3C \
     Verifiable Credentials or Open Badges 3.0, or the bundle to POST /v1/verify or to `verza \
     verify`. Its proof and its revocation list are checked against the issuer's published \
     keys; this page need not be trusted.";
const CHECK_ASK: &str = "This page shows the state of things at this moment, as this platform \
     knows it. Ask the owner for the signed credential to check it without this platform.";
const CHECK_NOTHING: &str =
    "Nobody has verified this credential on this platform: what it says is what its owner says.";
const CHECK_SOFTWARE: &str = "No verifier has looked at this credential. Its file is signed by somebody \
     else, and software has looked at that signature: what it found is listed on this page. Title, \
     type and issuer are what its owner says. Ask the owner for the file to check it yourself.";

impl View {
    pub(super) fn of(share: &Share, credential: Credential, issued: Option<&Issued>) -> Self {
        let shows = |field| share.fields.contains(&field);
        let revoked = issued.is_some_and(|issued| issued.revoked_at.is_some());
        let status = match credential.status {
            Status::Revoked => Standing::Revoked,
            Status::Verified | Status::Expired if revoked => Standing::Revoked,
            Status::Verified => Standing::Valid,
            Status::Expired => Standing::Expired,
            Status::Draft | Status::Pending | Status::Rejected => Standing::Unverified,
        };
        let judged = status != Standing::Unverified;
        let document = issued.filter(|_| judged).map(|issued| issued.document.clone());
        let verified_by = document.as_ref().and_then(narrative);
        let signed_credential = document.filter(|_| shows(Field::SignedCredential));
        let how_to_check = match (judged, &signed_credential) {
            (true, Some(_)) => CHECK_SIGNED,
            (true, None) => CHECK_ASK,
            (false, _) if credential.judgement.is_some() => CHECK_SOFTWARE,
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
            automatic_check: credential
                .judgement
                .map(Automatic::from)
                .map(|check| if shows(Field::SignedCredential) { check } else { outline(check) }),
            shared_until: share.expires_at,
            how_to_check,
            signed_credential,
            bundle: None,
        }
    }
}

/// What is told of an automatic check where the credential itself is not shown: the verdict and its
/// sentence. The reason behind a colon, the checks and the rest are words and dates of the file's.
fn outline(check: Automatic) -> Automatic {
    let short = |summary: String| match summary.split_once(": ") {
        Some((said, _)) => format!("{said}."),
        None => summary,
    };
    let summary = check.summary.map(short);
    Automatic { summary, format: None, issuer: None, about: None, checks: Vec::new(), ..check }
}

/// The sentence about the check in a verdict credential: "Checked by ... on ...".
fn narrative(document: &Json) -> Option<String> {
    document.pointer("/evidence/0/narrative")?.as_str().map(str::to_owned)
}
