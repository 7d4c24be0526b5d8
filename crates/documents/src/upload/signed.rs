//! The embedded store's own signed addresses, with the rules of S3's.
//!
//! The signature (HMAC-SHA-256 under a key derived from the master key) covers the method, the
//! part, the expiry, and the values that the headers `content-length`, `content-type` and
//! `x-amz-checksum-sha256` must have. It is checked by signing again what the request says: a
//! request that says anything else has another signature.

use kernel::id::kinds::File as FileKind;
use kernel::{Error, Id, Result, Secret, Timestamp};
use platform::crypto::{base64url, hmac_sha256};
use subtle::ConstantTimeEq;

/// What an address is good for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    /// `PUT`, or `POST` for a form.
    pub(super) method: &'a str,
    pub(super) upload: Id<FileKind>,
    pub(super) part: u32,
    /// Of the part, in bytes.
    pub(super) size: u64,
    pub(super) media_type: &'a str,
    /// In base64, as the header has it.
    pub(super) checksum: Option<&'a str>,
    /// In seconds since the Unix epoch.
    pub(super) expires: i64,
}

pub(super) struct Key(pub(super) Secret<[u8; 32]>);

impl Key {
    pub(super) fn sign(&self, terms: Terms<'_>) -> String {
        let Terms { method, upload, part, size, media_type, checksum, expires } = terms;
        let checksum = checksum.unwrap_or("-");
        // A line each, and no line break can be in a header: no two terms read the same.
        let text = format!(
            "verza upload 1\n{method}\n{upload}\n{part}\n{expires}\n{size}\n{media_type}\n\
             {checksum}"
        );
        base64url(hmac_sha256(self.0.expose(), text.as_bytes()))
    }

    /// Refuses what was not signed so, or is over. Which of the two it is, only who holds a
    /// right signature learns.
    pub(super) fn check(&self, terms: Terms<'_>, signature: &str, now: Timestamp) -> Result<()> {
        let right = self.sign(terms);
        if !bool::from(right.as_bytes().ct_eq(signature.as_bytes())) {
            let message = "The signature does not fit: the request must be sent exactly as it was \
                           signed, with the same method, length, type and checksum.";
            return Err(Error::forbidden("invalid_signature", message));
        }
        if terms.expires <= now.seconds() {
            let message = "This address is over. Ask for the upload again to get a new one.";
            return Err(Error::forbidden("signature_expired", message));
        }
        Ok(())
    }
}
