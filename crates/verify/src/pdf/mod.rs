//! Signatures of PDF files: ISO 32000-2 section 12.8 with CMS (RFC 5652), as PAdES and Adobe make
//! them.
//!
//! Three facts stand apart, and each by itself proves little: that the signature fits the bytes it
//! covers, that it covers the whole file, and that its signer is below an authority that the
//! reader believes in. Anybody can make the first true with a certificate of their own, and a
//! revision that is appended to a signed file leaves the first one true.
//!
//! The file is not understood here, only searched: what a signature covers is given by its
//! `ByteRange`, and the one gap in it may hold nothing but the signature itself. So there is no
//! object, stream or reference in a hostile file that could lead astray or in circles.
//! Whether a certificate was revoked cannot be known offline, and when a file was signed is the
//! signer's own word.

mod cms;
mod scan;
#[cfg(test)]
mod tests;

pub use cms::Anchors;
pub use scan::Marks;

use serde::{Deserialize, Serialize};

/// The most signatures that are looked at.
const SIGNATURES_MAX: usize = 32;

/// What was found out about one signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    /// Whether it fits what it covers.
    pub integrity: Integrity,
    /// Whether it covers every byte of the file but itself. Otherwise something was appended after
    /// it, or left out of it.
    pub covers_whole_file: bool,
    /// Whether a configured authority vouches for the signer.
    pub signer: Signer,
    /// Why, where a fact is not as one would wish.
    pub details: Vec<String>,
    /// The name in the signer's certificate; what it is worth says `signer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Who is said to have certified the signer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// When it was signed by the signer's own word, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<i64>,
}

/// Whether a signature fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Integrity {
    Valid,
    /// What it covers was altered, or it is no signature.
    Invalid,
    /// Of a kind that is not understood here: nothing is said.
    Unsupported,
}

/// Who stands behind a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signer {
    /// Certified below a configured authority, at the time of the check.
    Anchored,
    /// Nobody who is configured vouches for it.
    Unknown,
}

/// Everything that was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Findings {
    /// In the order in which they stand in the file.
    pub signatures: Vec<Signature>,
    /// Whether there are more than are looked at.
    pub truncated: bool,
}

/// Looks at every signature of a file, at `now` in seconds since the Unix epoch. A file without
/// any has none to be found; so has one that is no PDF.
pub fn inspect(file: &[u8], anchors: &Anchors, now: i64) -> Findings {
    let mut found = Findings::default();
    for place in scan::places(file) {
        if found.signatures.len() == SIGNATURES_MAX {
            found.truncated = true;
            break;
        }
        found.signatures.push(judge(file, &place, anchors, now));
    }
    found
}

fn judge(file: &[u8], place: &scan::Place, anchors: &Anchors, now: i64) -> Signature {
    let mut signature = Signature {
        integrity: Integrity::Invalid,
        covers_whole_file: false,
        signer: Signer::Unknown,
        details: Vec::new(),
        subject: None,
        issuer: None,
        claimed_at: None,
    };
    let covered = match scan::covered(file, place) {
        Ok(covered) => covered,
        Err(why) => {
            signature.details.push(why.to_owned());
            return signature;
        }
    };
    signature.covers_whole_file = covered.is_whole;
    if !covered.is_whole {
        signature.details.push("there is more in the file than this signature covers".to_owned());
    }
    cms::judge(&covered, anchors, now, &mut signature);
    signature
}
