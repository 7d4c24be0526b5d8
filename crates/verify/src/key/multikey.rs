//! Ed25519 public keys in Multikey form, Controlled Identifiers 1.0 section 2.2.2.

use std::fmt;

use ed25519_dalek::{Signature, SigningKey, VerifyingKey};

/// Multicodec `ed25519-pub` as an unsigned varint.
const ED25519_PUB: [u8; 2] = [0xed, 0x01];

/// Longer text than any Ed25519 Multikey; base58 decoding is quadratic, so it is asked first.
const MULTIKEY_LEN_MAX: usize = 64;

/// An Ed25519 public key that is safe to verify with.
///
/// Points of small order are refused on the way in: under such a key one signature fits many
/// messages (RFC 8032 section 5.1.7 leaves the matter to the application).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Why some bytes or text are not a usable public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Not `z` followed by base58btc text of a plausible length.
    NotMultibase,
    /// A Multikey of another kind than Ed25519, or of the wrong length.
    NotEd25519,
    /// Not a point of the curve, or one of small order.
    NotAPoint,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMultibase => "the key is not base58btc multibase text",
            Self::NotEd25519 => "the key is not an Ed25519 Multikey",
            Self::NotAPoint => "the key is not a usable Ed25519 point",
        })
    }
}

impl std::error::Error for KeyError {}

impl PublicKey {
    /// The public half of a signing key.
    pub fn of(key: &SigningKey) -> Self {
        Self(key.verifying_key())
    }

    /// Reads the 32 bytes of RFC 8032.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        if key.is_weak() {
            return Err(KeyError::NotAPoint);
        }
        Ok(Self(key))
    }

    /// Reads `publicKeyMultibase`: `z`, then base58btc of `0xed 0x01` and the 32 bytes.
    pub fn parse(multikey: &str) -> Result<Self, KeyError> {
        let base58 = multikey.strip_prefix('z').ok_or(KeyError::NotMultibase)?;
        if base58.len() > MULTIKEY_LEN_MAX {
            return Err(KeyError::NotMultibase);
        }
        let bytes = bs58::decode(base58).into_vec().map_err(|_| KeyError::NotMultibase)?;
        let point = bytes.strip_prefix(&ED25519_PUB).ok_or(KeyError::NotEd25519)?;
        Self::from_bytes(point.try_into().map_err(|_| KeyError::NotEd25519)?)
    }

    /// The key as `publicKeyMultibase` text; it begins with `z6Mk`.
    pub fn multikey(&self) -> String {
        let mut bytes = [0; 34];
        bytes[..2].copy_from_slice(&ED25519_PUB);
        bytes[2..].copy_from_slice(self.0.as_bytes());
        format!("z{}", bs58::encode(bytes).into_string())
    }

    /// The 32 bytes of RFC 8032.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Whether `signature` is this key's over `message`, with the strict equation, so that every
    /// verifier of the world reaches the same answer.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}
