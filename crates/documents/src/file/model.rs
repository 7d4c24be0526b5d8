//! What a file is.

use kernel::id::kinds::{File as FileKind, User};
use kernel::{Id, Timestamp};
use platform::blob::Key;
use serde::{Deserialize, Serialize};
use verify::pdf::Signature;

/// The kinds of document that are taken. Nothing here is ever run by a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaType {
    Pdf,
    Png,
    Jpeg,
    WebP,
    /// Office Open XML text, as word processors write it, without macros.
    Docx,
    /// A signed W3C credential in JSON.
    Credential,
    /// A signed credential whose claims are shown one by one.
    SdJwt,
    /// A W3C credential in a JWT.
    VcJwt,
    /// A badge baked into SVG. Only what is signed in it matters here: it is handed out as text,
    /// which nothing runs.
    SvgBadge,
}

impl MediaType {
    pub const ALL: [Self; 9] = [
        Self::Pdf,
        Self::Png,
        Self::Jpeg,
        Self::WebP,
        Self::Docx,
        Self::Credential,
        Self::SdJwt,
        Self::VcJwt,
        Self::SvgBadge,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            Self::Credential => "application/vc",
            Self::SdJwt => "application/dc+sd-jwt",
            Self::VcJwt => "application/vc+jwt",
            Self::SvgBadge => "image/svg+xml",
        }
    }

    /// As what it is handed out.
    pub(super) const fn served_as(self) -> &'static str {
        match self {
            Self::SvgBadge => "text/plain; charset=utf-8",
            other => other.as_str(),
        }
    }

    /// Whether it is nothing but a signed credential.
    pub const fn is_credential(self) -> bool {
        matches!(self, Self::Credential | Self::SdJwt | Self::VcJwt | Self::SvgBadge)
    }

    /// The endings that a name of this kind may have; the first is the one that is added.
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Pdf => &["pdf"],
            Self::Png => &["png"],
            Self::Jpeg => &["jpg", "jpeg"],
            Self::WebP => &["webp"],
            Self::Docx => &["docx"],
            Self::Credential => &["json", "jsonld"],
            Self::SdJwt => &["sd-jwt", "txt"],
            Self::VcJwt => &["jwt", "txt"],
            // What opens pictures would run the scripts in it.
            Self::SvgBadge => &["txt"],
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|media| media.as_str() == text)
    }
}

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub id: Id<FileKind>,
    pub owner: Id<User>,
    /// As it is shown; see [`super::name::tame`].
    pub name: String,
    pub media_type: MediaType,
    /// In bytes, never zero.
    pub size: u64,
    pub sha256: [u8; 32],
    pub blob: Key,
    pub created_at: Timestamp,
    /// Whether a virus scanner has still to look at it: till then nobody reads it.
    pub scanning: bool,
    /// What is known of the signatures in it; nothing where nobody looks for any.
    pub signatures: Option<Inspection>,
}

/// What is known of the signatures in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Inspection {
    /// It has not been looked into yet.
    Pending,
    Checked {
        at: Timestamp,
        /// In the order in which they stand in the file; empty where there are none.
        found: Vec<Signature>,
        /// Whether there are more than are looked at.
        truncated: bool,
    },
    /// It could not be looked into, and will not be.
    Failed { reason: String },
}
