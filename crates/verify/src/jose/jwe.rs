//! Encryption to a P-256 key: ECDH-ES with AES-GCM (RFC 7516, RFC 7518 section 4.6), as wallets use
//! it for `direct_post.jwt`.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::es256::{PublicKey, SecretKey};
use super::jws::TOKEN_LEN_MAX;
use crate::credential::jcs;

/// Why a message was not opened. Which part of the cipher failed is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JweError {
    /// Not five base64url parts with an object in front and no wrapped key.
    Malformed,
    /// Another algorithm than ECDH-ES with A128GCM or A256GCM.
    Algorithm,
    /// Not encrypted to this key, or changed.
    Sealed,
}

impl fmt::Display for JweError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the encrypted token is malformed",
            Self::Algorithm => "the encryption is not ECDH-ES with AES-GCM",
            Self::Sealed => "the encrypted token does not open",
        })
    }
}

impl std::error::Error for JweError {}

/// The content encryptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    A128Gcm,
    A256Gcm,
}

impl Encryption {
    /// The value of `enc`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A128Gcm => "A128GCM",
            Self::A256Gcm => "A256GCM",
        }
    }

    const fn key_len(self) -> usize {
        match self {
            Self::A128Gcm => 16,
            Self::A256Gcm => 32,
        }
    }

    fn seal(self, key: &[u8], nonce: &[u8; 12], payload: Payload<'_, '_>) -> Option<Vec<u8>> {
        let nonce = Nonce::from(*nonce);
        match self {
            Self::A128Gcm => Aes128Gcm::new_from_slice(key).ok()?.encrypt(&nonce, payload).ok(),
            Self::A256Gcm => Aes256Gcm::new_from_slice(key).ok()?.encrypt(&nonce, payload).ok(),
        }
    }

    fn open(self, key: &[u8], nonce: &[u8; 12], payload: Payload<'_, '_>) -> Option<Vec<u8>> {
        let nonce = Nonce::from(*nonce);
        match self {
            Self::A128Gcm => Aes128Gcm::new_from_slice(key).ok()?.decrypt(&nonce, payload).ok(),
            Self::A256Gcm => Aes256Gcm::new_from_slice(key).ok()?.decrypt(&nonce, payload).ok(),
        }
    }
}

/// Concat KDF with SHA-256 (SP 800-56A section 5.8.1): one round is enough for 256 bits.
pub(super) fn derive(shared: &[u8; 32], enc: Encryption, apu: &[u8], apv: &[u8]) -> Vec<u8> {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let name = enc.as_str().as_bytes();
    let bits = u32::try_from(enc.key_len() * 8).unwrap_or_default();
    let mut hash = Sha256::new_with_prefix(1_u32.to_be_bytes());
    hash.update(shared);
    for part in [name, apu, apv] {
        hash.update(len(part));
        hash.update(part);
    }
    hash.update(bits.to_be_bytes());
    hash.finalize()[..enc.key_len()].to_vec()
}

/// Encrypts to a key, with an ephemeral key and a nonce of the caller's chance.
pub fn encrypt(
    plaintext: &[u8],
    to: &PublicKey,
    kid: &str,
    enc: Encryption,
    ephemeral: &SecretKey,
    nonce: &[u8; 12],
) -> Result<String, JweError> {
    let header = serde_json::json!({
        "alg": "ECDH-ES",
        "enc": enc.as_str(),
        "kid": kid,
        "epk": ephemeral.public().to_jwk(),
    });
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let key = derive(&ephemeral.agree(to), enc, &[], &[]);
    let payload = Payload { msg: plaintext, aad: header.as_bytes() };
    let mut sealed = enc.seal(&key, nonce, payload).ok_or(JweError::Sealed)?;
    let tag = sealed.split_off(sealed.len().saturating_sub(16));
    let [nonce, sealed, tag] = [&nonce[..], &sealed, &tag].map(|part| URL_SAFE_NO_PAD.encode(part));
    Ok(format!("{header}..{nonce}.{sealed}.{tag}"))
}

/// Opens what was encrypted to a key.
pub fn decrypt(token: &str, key: &SecretKey) -> Result<Vec<u8>, JweError> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, "", nonce, sealed, tag] = parts[..] else { return Err(JweError::Malformed) };
    if token.len() > TOKEN_LEN_MAX {
        return Err(JweError::Malformed);
    }
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JweError::Malformed);
    let members = String::from_utf8(decode(header)?).map_err(|_| JweError::Malformed)?;
    let members = jcs::parse(&members).map_err(|_| JweError::Malformed)?;
    if members["alg"] != "ECDH-ES" || members.get("crit").is_some() || members.get("zip").is_some()
    {
        return Err(JweError::Algorithm);
    }
    let enc = [Encryption::A128Gcm, Encryption::A256Gcm].into_iter();
    let enc = enc.into_iter().find(|enc| members["enc"] == enc.as_str());
    let enc = enc.ok_or(JweError::Algorithm)?;
    let epk = PublicKey::from_jwk(&members["epk"]).map_err(|_| JweError::Malformed)?;
    let party = |name: &str| match members.get(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => decode(text),
        Some(_) => Err(JweError::Malformed),
    };
    let content_key = derive(&key.agree(&epk), enc, &party("apu")?, &party("apv")?);
    let nonce: [u8; 12] = decode(nonce)?.try_into().map_err(|_| JweError::Malformed)?;
    let mut message = decode(sealed)?;
    let tag = decode(tag)?;
    if tag.len() != 16 {
        return Err(JweError::Malformed);
    }
    message.extend_from_slice(&tag);
    let payload = Payload { msg: &message, aad: header.as_bytes() };
    enc.open(&content_key, &nonce, payload).ok_or(JweError::Sealed)
}
