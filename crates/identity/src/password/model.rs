//! What may be a password.

use kernel::{Error, Result, Secret};

use super::common::is_common;

/// In bytes: characters beyond ASCII count for more, which does no harm.
const LEN_MIN: usize = 8;
const LEN_MAX: usize = 256;

/// A password that is fit to be set. Taken as the bytes that were sent, without any change.
#[derive(Debug, Clone)]
pub struct Password {
    text: Secret<String>,
    /// Where the request has it: the hasher may have something to say about it too.
    pointer: String,
}

impl Password {
    /// `pointer` is where the request has it, for the error. `email` is the account's address,
    /// which is nobody's secret.
    ///
    /// # Errors
    /// A field error: `too_short`, `too_long`, `too_common`.
    pub fn parse(pointer: &str, text: Secret<String>, email: &str) -> Result<Self> {
        let wrong = |code, message: &str| Err(Error::field(pointer, code, message));
        let bytes = text.expose().len();
        if bytes < LEN_MIN {
            return wrong("too_short", "at least 8 characters");
        }
        if bytes > LEN_MAX {
            return wrong("too_long", "at most 256 bytes");
        }
        let folded = Secret::new(text.expose().to_lowercase());
        let local = email.split('@').next().unwrap_or_default();
        if folded.expose().as_str() == email || folded.expose().as_str() == local {
            return wrong("too_common", "not the address of the account");
        }
        if is_one_letter(folded.expose()) || is_common(folded.expose()) {
            return wrong("too_common", "one of the first that a guesser would try");
        }
        Ok(Self { text, pointer: pointer.to_owned() })
    }

    /// What somebody presents as their password. Nothing is asked of it but that it is short
    /// enough to be one.
    ///
    /// # Errors
    /// A field error: `too_long`.
    pub fn presented(pointer: &str, text: Secret<String>) -> Result<Self> {
        if text.expose().len() > LEN_MAX {
            return Err(Error::field(pointer, "too_long", "at most 256 bytes"));
        }
        Ok(Self { text, pointer: pointer.to_owned() })
    }

    pub(super) fn pointer(&self) -> &str {
        &self.pointer
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.text.expose().as_bytes()
    }
}

/// One letter over and over, which no list is long enough for.
fn is_one_letter(folded: &str) -> bool {
    let mut letters = folded.chars();
    let first = letters.next();
    letters.all(|letter| Some(letter) == first)
}
