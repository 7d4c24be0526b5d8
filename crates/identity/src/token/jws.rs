//! JSON Web Signature, compact form (RFC 7515), for Ed25519 only (RFC 8037). Written by hand
//! because of what it leaves out: there is no algorithm to choose, no key in the header, and
//! nothing optional.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Refusal;

/// Longer than any token of ours, and short enough to be looked at.
pub const LEN_MAX: usize = 2048;

const ALGORITHM: &str = "EdDSA";
const TYPE: &str = "at+jwt";
/// The type of tokens that say who somebody is and open nothing here: [`Unverified`] refuses them.
pub const TYPE_STATEMENT: &str = "JWT";

/// The one header that is accepted. Unknown members (`crit`, `jwk`, `jku`, `x5c`, `b64` ...) are
/// refused, and so are repeated ones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

/// Signs a payload. `kid` is letters, digits and underscores.
pub fn sign(kid: &str, payload: &[u8], key: &SigningKey) -> String {
    sign_as(TYPE, kid, payload, key)
}

/// Signs a payload of another type; `typ` is letters, digits and plus signs.
pub fn sign_as(typ: &str, kid: &str, payload: &[u8], key: &SigningKey) -> String {
    let header = format!(r#"{{"alg":"{ALGORITHM}","typ":"{typ}","kid":"{kid}"}}"#);
    let mut token = String::with_capacity(payload.len() * 4 / 3 + 256);
    URL_SAFE_NO_PAD.encode_string(header, &mut token);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = key.sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut token);
    token
}

/// A token that has the right form and nothing more yet.
#[derive(Debug)]
pub struct Unverified<'a> {
    pub kid: String,
    /// What the signature is over: header and payload as they were sent.
    signed: &'a str,
    payload: Vec<u8>,
    signature: Signature,
}

impl<'a> Unverified<'a> {
    pub fn parse(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > LEN_MAX {
            return Err(Refusal::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        // A dot that is left over is no letter of base64url, and is refused as such.
        let header = decode(header)?;
        let header: Header<'_> = object(&header)?;
        if header.alg != ALGORITHM || header.typ != TYPE {
            return Err(Refusal::Malformed);
        }
        let signature = <[u8; 64]>::try_from(decode(signature)?).map_err(|_| Refusal::Malformed)?;
        Ok(Self {
            kid: header.kid.to_owned(),
            signed,
            payload: decode(payload)?,
            signature: Signature::from_bytes(&signature),
        })
    }

    /// What the token says, when this key has signed it (RFC 8032 with the strict checks: no
    /// second encoding of a signature, no weak key).
    pub fn verify<T: DeserializeOwned>(&self, key: &VerifyingKey) -> Result<T, Refusal> {
        key.verify_strict(self.signed.as_bytes(), &self.signature)
            .map_err(|_| Refusal::BadSignature)?;
        object(&self.payload)
    }
}

/// Reads a JSON object. Serde would take an array of the members' values as well.
pub(super) fn object<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, Refusal> {
    if !json.starts_with(b"{") {
        return Err(Refusal::Malformed);
    }
    serde_json::from_slice(json).map_err(|_| Refusal::Malformed)
}

/// The engine refuses padding, foreign letters and loose bits at the end: one text per value.
fn decode(text: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Malformed)
}
