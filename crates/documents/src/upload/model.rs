//! What an upload is.

use std::ops::Range;
use std::time::Duration;

use kernel::error::Fields;
use kernel::id::kinds::{File as FileKind, User};
use kernel::{Error, Id, Result, Timestamp};

use crate::file::{Limits, MediaType};

/// How long an upload may take altogether.
pub(super) const LASTS: Duration = Duration::from_secs(24 * 3600);
/// How long one address is good; asking again gives a new one.
pub(super) const ADDRESS_LASTS: Duration = Duration::from_secs(3600);
/// Uploads of one owner that may be open.
pub(super) const OPEN_MAX: i64 = 50;
/// The smallest part that may be asked for, but for the last.
const PART_BYTES_MIN: u64 = 256 * 1024;
const PARTS_MAX: u64 = 1000;
const NAME_BYTES_MAX: usize = 1024;

/// An upload about to begin.
#[derive(Debug, Clone)]
pub struct NewUpload {
    pub(super) name: String,
    pub(super) media_type: MediaType,
    pub(super) size: u64,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) part_size: u64,
}

impl NewUpload {
    /// All that is wrong is named at once: `/name`, `/contentType`, `/size`, `/sha256`,
    /// `/partSize`. What is too large for any upload is `payload_too_large`.
    pub fn parse(
        name: &str,
        content_type: &str,
        size: u64,
        sha256: Option<&str>,
        part_size: Option<u64>,
        limits: Limits,
    ) -> Result<Self> {
        let mut wrong = Fields::new();
        if name.trim().is_empty() || name.len() > NAME_BYTES_MAX {
            wrong.add("/name", "invalid", format!("from 1 to {NAME_BYTES_MAX} bytes"));
        }
        let media_type = MediaType::parse(content_type);
        if media_type.is_none() {
            let known = MediaType::ALL.map(MediaType::as_str).join(", ");
            wrong.add("/contentType", "unsupported", format!("one of {known}"));
        }
        if size == 0 {
            wrong.add("/size", "out_of_range", "the file is empty");
        }
        let hash = sha256.map(|text| hex::decode(text).ok().and_then(|it| it.try_into().ok()));
        if hash == Some(None) {
            wrong.add("/sha256", "invalid", "64 hexadecimal digits");
        }
        let part_size = part_size.unwrap_or(size);
        if part_size < size.min(PART_BYTES_MIN) || size.div_ceil(part_size.max(1)) > PARTS_MAX {
            let message = format!("at least {PART_BYTES_MIN}, and at most {PARTS_MAX} parts");
            wrong.add("/partSize", "out_of_range", message);
        }
        wrong.check()?;
        if size > limits.file_bytes {
            let message = format!("A file has at most {} bytes.", limits.file_bytes);
            return Err(Error::invalid("payload_too_large", message));
        }
        let unread = || Error::internal("a checked field is gone");
        Ok(Self {
            name: name.to_owned(),
            media_type: media_type.ok_or_else(unread)?,
            size,
            sha256: hash.flatten(),
            part_size: part_size.min(size),
        })
    }
}

/// An upload that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub id: Id<FileKind>,
    pub owner: Id<User>,
    /// As its owner has named it.
    pub name: String,
    pub media_type: MediaType,
    /// In bytes.
    pub size: u64,
    pub sha256: Option<[u8; 32]>,
    pub part_size: u64,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

impl Upload {
    /// How many parts it has, at least one.
    pub fn parts(&self) -> u32 {
        u32::try_from(self.size.div_ceil(self.part_size.max(1))).unwrap_or(u32::MAX)
    }

    /// Which bytes of the file a part is; parts are counted from 1.
    pub fn part(&self, number: u32) -> Option<Range<u64>> {
        let start = u64::from(number.checked_sub(1)?) * self.part_size;
        (start < self.size).then(|| start..(start + self.part_size).min(self.size))
    }

    /// What a part's bytes must hash to: known only where one part is the whole file.
    pub(super) fn part_sha256(&self) -> Option<[u8; 32]> {
        self.sha256.filter(|_| self.parts() == 1)
    }

    /// The name of a part's place.
    pub(super) fn slot(&self, number: u32) -> String {
        format!("{}-{number}", self.id.uuid().simple())
    }

    pub(super) fn check_open(&self, now: Timestamp) -> Result<()> {
        if now < self.expires_at {
            return Ok(());
        }
        Err(Error::gone("upload_expired", "The time for this upload is over. Begin a new one."))
    }
}
