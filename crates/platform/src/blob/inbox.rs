//! The inbox: where clients put bytes by themselves, at addresses that we have signed.
//!
//! Only an object store has one. What lies in it is nobody's blob and is never shown: whoever
//! wants to keep it reads it through a writer, and so knows what it is and that it stays so. An
//! address may be used again until it expires, so what has been looked at and what lies there a
//! moment later need not be the same.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use kernel::{Result, Timestamp};

use super::s3::S3;

/// A place for one upload, and what may be put there.
#[derive(Debug, Clone)]
pub struct Slot<'a> {
    /// Of letters, digits and `-`.
    pub name: String,
    /// In bytes, exactly.
    pub size: u64,
    pub media_type: &'a str,
    pub sha256: Option<[u8; 32]>,
}

impl Slot<'_> {
    /// As `x-amz-checksum-sha256` has it.
    pub fn checksum(&self) -> Option<String> {
        self.sha256.map(|hash| STANDARD.encode(hash))
    }
}

/// A request that a client may send: exactly with these headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presigned {
    pub method: &'static str,
    pub url: String,
    pub headers: Vec<(String, String)>,
}

/// The same as a form of `multipart/form-data`: these fields, and then the part `file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    pub url: String,
    pub fields: Vec<(String, String)>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Inbox(pub(super) Arc<S3>);

impl Inbox {
    /// A `PUT` that is good for what the slot says, once, for `lasts`.
    pub fn put(&self, slot: &Slot<'_>, lasts: Duration) -> Result<Presigned> {
        self.0.put_address(slot, lasts)
    }

    /// A form that is good for what the slot says, for `lasts`.
    pub fn post(&self, slot: &Slot<'_>, lasts: Duration) -> Result<Form> {
        self.0.post_form(slot, lasts)
    }

    /// How many bytes lie in a slot; none while nothing has come.
    pub async fn size(&self, name: &str) -> Result<Option<u64>> {
        self.0.slot_size(name).await
    }

    /// What lies in a slot.
    pub async fn open(&self, name: &str) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        self.0.slot_open(name).await
    }

    /// Empties every slot that was filled before `before`. Answers how many there were.
    pub async fn sweep(&self, before: Timestamp) -> Result<u64> {
        self.0.slot_sweep(before).await
    }

    /// Empties a slot. One that is empty is no error.
    pub async fn discard(&self, name: &str) -> Result<()> {
        self.0.slot_discard(name).await
    }
}
