//! P-256 keys: ES256 signatures (RFC 7518 section 3.4), JWKs (RFC 7517), thumbprints (RFC 7638).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A secret P-256 key. It has no `Debug`, so that it cannot be printed by accident.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

/// A P-256 public key: a point of the curve, never the point at infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Why some bytes or a JWK are not a usable key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Zero, or not below the order of the curve's group.
    Scalar,
    /// Not a point of the curve.
    Point,
    /// Not a JWK of the P-256 curve for ES256.
    Jwk,
    /// A JWK that gives away the secret half.
    Private,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "the bytes are no secret P-256 key",
            Self::Point => "the key is no point of the P-256 curve",
            Self::Jwk => "the key is no P-256 JWK",
            Self::Private => "the JWK holds a secret key",
        })
    }
}

impl std::error::Error for KeyError {}

impl SecretKey {
    /// Reads 32 random bytes. About one draw in four billion is refused: draw again.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        SigningKey::from_slice(bytes).map(Self).map_err(|_| KeyError::Scalar)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }

    /// Signs with a nonce derived from key and message (RFC 6979): r, then s.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = self.0.sign(message);
        signature.to_bytes().into()
    }

    /// [`Self::sign`] in the DER form of X.509.
    pub fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.0.sign(message);
        signature.to_der().as_bytes().to_vec()
    }

    /// The shared secret with another key (ECDH, SP 800-56A): the x coordinate.
    pub fn agree(&self, other: &PublicKey) -> [u8; 32] {
        let other = p256::PublicKey::from(other.0);
        let shared = p256::ecdh::diffie_hellman(self.0.as_nonzero_scalar(), other.as_affine());
        (*shared.raw_secret_bytes()).into()
    }
}

impl PublicKey {
    /// Reads a SEC1 point, compressed or not.
    pub fn from_sec1(bytes: &[u8]) -> Result<Self, KeyError> {
        VerifyingKey::from_sec1_bytes(bytes).map(Self).map_err(|_| KeyError::Point)
    }

    /// The uncompressed SEC1 point: 0x04, x, y.
    pub fn to_sec1(&self) -> [u8; 65] {
        let mut bytes = [0; 65];
        bytes.copy_from_slice(self.0.to_sec1_point(false).as_bytes());
        bytes
    }

    /// Reads a public JWK. Members that do not concern the key itself are passed over, except
    /// those which say that it must not be used here.
    pub fn from_jwk(jwk: &Value) -> Result<Self, KeyError> {
        let jwk = jwk.as_object().ok_or(KeyError::Jwk)?;
        if jwk.contains_key("d") || jwk.contains_key("k") {
            return Err(KeyError::Private);
        }
        let is = |name: &str, wanted: &str| jwk.get(name).is_some_and(|value| value == wanted);
        let may = |name: &str, wanted: &[&str]| match jwk.get(name) {
            None => true,
            Some(value) => value.as_str().is_some_and(|value| wanted.contains(&value)),
        };
        if !is("kty", "EC")
            || !is("crv", "P-256")
            || !may("use", &["sig", "enc"])
            || !may("alg", &["ES256", "ECDH-ES"])
        {
            return Err(KeyError::Jwk);
        }
        let coordinate = |name: &str| -> Result<[u8; 32], KeyError> {
            let text = jwk.get(name).and_then(Value::as_str).ok_or(KeyError::Jwk)?;
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Jwk)?;
            bytes.try_into().map_err(|_| KeyError::Jwk)
        };
        let mut point = [4; 65];
        point[1..33].copy_from_slice(&coordinate("x")?);
        point[33..].copy_from_slice(&coordinate("y")?);
        Self::from_sec1(&point)
    }

    /// The JWK: `kty`, `crv`, `x`, `y` and nothing else.
    pub fn to_jwk(&self) -> Value {
        let (x, y) = self.coordinates();
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
    }

    fn coordinates(&self) -> (String, String) {
        let point = self.to_sec1();
        (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]))
    }

    /// The JWK's SHA-256 thumbprint, base64url.
    pub fn thumbprint(&self) -> String {
        let (x, y) = self.coordinates();
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
    }

    /// Whether `signature` (r, then s) is this key's over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = Signature::from_slice(signature) else { return false };
        self.0.verify(message, &signature).is_ok()
    }

    /// [`Self::verify`] for the DER form of X.509.
    pub fn verify_der(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = Signature::from_der(signature) else { return false };
        self.0.verify(message, &signature).is_ok()
    }
}
