//! Signed tokens in compact form (RFC 7515).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::es256::{PublicKey, SecretKey};
use crate::credential::jcs;
use crate::key::multikey;

/// The longest token that is read.
pub const TOKEN_LEN_MAX: usize = 4 << 20;

/// A key that a token may be signed with, and by that the algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// ES256.
    P256(PublicKey),
    /// EdDSA over Ed25519 (RFC 8037, RFC 9864).
    Ed25519(multikey::PublicKey),
}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwsError {
    /// Not three base64url parts, the first two of them JSON objects of one meaning.
    Malformed,
    /// It has a `typ` other than the one that is expected here.
    OtherType,
    /// Its algorithm is not the key's.
    Algorithm,
    /// It asks for an extension that is not understood.
    Critical,
    /// The signature does not fit.
    Signature,
}

impl fmt::Display for JwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the token is malformed",
            Self::OtherType => "the token is of another type",
            Self::Algorithm => "the token's algorithm does not go with the key",
            Self::Critical => "the token has critical header members",
            Self::Signature => "the token's signature does not fit",
        })
    }
}

impl std::error::Error for JwsError {}

/// A token taken apart. Nothing of it is believed before [`Token::verify`].
#[derive(Clone, Debug)]
pub struct Token<'a> {
    /// The protected header.
    pub header: Value,
    /// The claims.
    pub payload: Value,
    input: &'a str,
    signature: Vec<u8>,
}

/// Signs a header and claims with ES256. The header's `alg` is put there.
pub fn sign(mut header: Value, payload: &Value, key: &SecretKey) -> String {
    header["alg"] = "ES256".into();
    let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload.to_string(), &mut token);
    let signature = key.sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

/// Base64url of a JSON object in which no name stands twice and no number is a fraction.
fn object(part: &str) -> Result<Value, JwsError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Malformed)?;
    let text = String::from_utf8(bytes).map_err(|_| JwsError::Malformed)?;
    let value = jcs::parse(&text).map_err(|_| JwsError::Malformed)?;
    if value.is_object() { Ok(value) } else { Err(JwsError::Malformed) }
}

impl<'a> Token<'a> {
    /// Takes a compact token apart.
    pub fn parse(token: &'a str) -> Result<Self, JwsError> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(JwsError::Malformed);
        }
        let (input, signature) = token.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = input.split_once('.').ok_or(JwsError::Malformed)?;
        let parsed = Self {
            header: object(header)?,
            payload: object(payload)?,
            input,
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| JwsError::Malformed)?,
        };
        if parsed.header.get("crit").is_some() || parsed.header.get("b64").is_some() {
            return Err(JwsError::Critical);
        }
        Ok(parsed)
    }

    /// The header's `typ`, without the `application/` that RFC 7515 allows in front of it.
    pub fn typ(&self) -> Option<&str> {
        let typ = self.header.get("typ")?.as_str()?;
        Some(typ.strip_prefix("application/").unwrap_or(typ))
    }

    /// Whether it is of the type that is expected; one type of token never passes for another.
    pub fn expect(&self, typ: &str) -> Result<(), JwsError> {
        if self.typ() == Some(typ) { Ok(()) } else { Err(JwsError::OtherType) }
    }

    /// A claim that is a whole number, such as `exp`.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.payload.get(name)?.as_i64()
    }

    /// A claim that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.payload.get(name)?.as_str()
    }

    /// What was signed, and the signature: for algorithms that [`Key`] has none of.
    pub(crate) fn signed(&self) -> (&[u8], &[u8]) {
        (self.input.as_bytes(), &self.signature)
    }

    /// Checks the signature under the algorithm that goes with the key.
    pub fn verify(&self, key: &Key) -> Result<(), JwsError> {
        let alg = self.header.get("alg").and_then(Value::as_str);
        let fits = match (key, alg) {
            (Key::P256(key), Some("ES256")) => {
                self.signature.len() == 64 && key.verify(self.input.as_bytes(), &self.signature)
            }
            (Key::Ed25519(key), Some("EdDSA" | "Ed25519")) => {
                let signature = self.signature.as_slice().try_into();
                signature.is_ok_and(|signature| key.verify(self.input.as_bytes(), signature))
            }
            _ => return Err(JwsError::Algorithm),
        };
        if fits { Ok(()) } else { Err(JwsError::Signature) }
    }
}
