//! Bitstring Status List 1.0: the list, its compressed text, and the credential that carries it.

use std::fmt;
use std::io::{Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::credential::rdfc::Template;
use crate::credential::timestamp::{self, TimestampError};

/// The fewest entries of a list: below this a holder would hide in too small a crowd (section 6.1).
pub const ENTRIES_MIN: u32 = 131_072;

/// The most entries that are decoded: 2 MiB of bits. A list of a few hundred compressed bytes can
/// unfold to gigabytes, so the reader sets the bound.
pub const ENTRIES_MAX: u32 = 1 << 24;

/// Why a list was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitstringError {
    /// Fewer entries than [`ENTRIES_MIN`], more than [`ENTRIES_MAX`], or not a multiple of 8.
    Length,
    /// The position is beyond the list's end.
    Range,
    /// Not `u` followed by unpadded base64url.
    Multibase,
    /// Not one whole GZIP member (RFC 1952).
    Gzip,
}

impl fmt::Display for BitstringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the status list has an unacceptable number of entries",
            Self::Range => "the status list has no such entry",
            Self::Multibase => "the status list is not base64url multibase text",
            Self::Gzip => "the status list is not GZIP data",
        })
    }
}

impl std::error::Error for BitstringError {}

/// A list of single bits. Index 0 is the most significant bit of the first byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitstring {
    bytes: Vec<u8>,
}

impl Bitstring {
    /// A list of `entries` clear bits.
    pub fn new(entries: u32) -> Result<Self, BitstringError> {
        if !(ENTRIES_MIN..=ENTRIES_MAX).contains(&entries) || !entries.is_multiple_of(8) {
            return Err(BitstringError::Length);
        }
        Ok(Self { bytes: vec![0; entries as usize / 8] })
    }

    /// The number of entries, set or clear.
    pub fn entries(&self) -> u32 {
        // The constructors keep the length below ENTRIES_MAX / 8, far from overflow.
        (self.bytes.len() * 8) as u32
    }

    /// The bytes, eight entries each.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the entry's bit is set.
    pub fn get(&self, index: u32) -> Result<bool, BitstringError> {
        let byte = self.bytes.get(index as usize / 8).ok_or(BitstringError::Range)?;
        Ok(byte & mask(index) != 0)
    }

    /// Sets the entry's bit, or clears it where the list's purpose allows a way back.
    pub fn set(&mut self, index: u32, value: bool) -> Result<(), BitstringError> {
        let byte = self.bytes.get_mut(index as usize / 8).ok_or(BitstringError::Range)?;
        if value {
            *byte |= mask(index);
        } else {
            *byte &= !mask(index);
        }
        Ok(())
    }

    /// The value of `encodedList`: GZIP, unpadded base64url, multibase prefix `u` (section 3.3).
    pub fn encode(&self) -> String {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let written = gzip.write_all(&self.bytes).and_then(|()| gzip.finish());
        #[expect(clippy::expect_used, reason = "a Vec accepts every write")]
        let gzip = written.expect("compression into memory cannot fail");
        format!("u{}", URL_SAFE_NO_PAD.encode(gzip))
    }

    /// Reads `encodedList`, unfolding at most [`ENTRIES_MAX`] entries (section 3.4).
    pub fn decode(encoded: &str) -> Result<Self, BitstringError> {
        let base64 = encoded.strip_prefix('u').ok_or(BitstringError::Multibase)?;
        let gzip = URL_SAFE_NO_PAD.decode(base64).map_err(|_| BitstringError::Multibase)?;
        let limit = u64::from(ENTRIES_MAX) / 8;
        let mut bytes = Vec::new();
        // One byte more than allowed tells a list that is too long from one that ends in time,
        // and reading to the end is what makes the decoder check the member's checksum.
        let mut member = GzDecoder::new(gzip.as_slice()).take(limit + 1);
        member.read_to_end(&mut bytes).map_err(|_| BitstringError::Gzip)?;
        if bytes.len() as u64 > limit || bytes.len() < ENTRIES_MIN as usize / 8 {
            return Err(BitstringError::Length);
        }
        if !member.into_inner().into_inner().is_empty() {
            return Err(BitstringError::Gzip);
        }
        Ok(Self { bytes })
    }
}

fn mask(index: u32) -> u8 {
    0x80 >> (index % 8)
}

/// What a set bit means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Taken back for good.
    Revocation,
    /// Out of force for now.
    Suspension,
}

impl Purpose {
    /// The value of `statusPurpose`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revocation => "revocation",
            Self::Suspension => "suspension",
        }
    }
}

/// One edition of a status list, as a credential (section 2.2).
#[derive(Clone, Copy, Debug)]
pub struct StatusListCredential<'a> {
    /// The URL at which the list is served and by which entries name it.
    pub url: &'a str,
    /// The issuer's DID, the same as that of the credentials it speaks of.
    pub issuer: &'a str,
    /// What a set bit means.
    pub purpose: Purpose,
    /// As of when the list is true, in seconds since the Unix epoch.
    pub valid_from: i64,
    /// When a newer edition must be fetched.
    pub valid_until: i64,
    /// The bits.
    pub list: &'a Bitstring,
}

impl StatusListCredential<'_> {
    /// The unsigned credential, ready for [`crate::credential::proof::sign`].
    pub fn to_json(&self) -> Result<Value, TimestampError> {
        Ok(json!({
            "@context": Template::StatusList.contexts(),
            "id": self.url,
            "type": ["VerifiableCredential", "BitstringStatusListCredential"],
            "issuer": self.issuer,
            "validFrom": timestamp::format(self.valid_from)?,
            "validUntil": timestamp::format(self.valid_until)?,
            "credentialSubject": {
                "id": format!("{}#list", self.url),
                "type": "BitstringStatusList",
                "statusPurpose": self.purpose.as_str(),
                "encodedList": self.list.encode(),
            },
        }))
    }
}

#[cfg(test)]
mod tests;
