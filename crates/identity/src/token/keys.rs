//! The keys as a process knows them, and the pages on which the public ones are shown.

use bytes::Bytes;
use ed25519_dalek::{SigningKey, VerifyingKey};
use kernel::id::kinds::Key;
use kernel::{Error, Id, Result, Secret, Timestamp};
use pasetors::keys::{AsymmetricPublicKey, AsymmetricSecretKey, SymmetricKey};
use pasetors::paserk::{self, FormatAsPaserk};
use pasetors::version4::V4;
use platform::crypto::base64url;

use super::jws;
use super::model::Format;
use super::paseto::{self, Verifying};
use super::store::Stored;

/// Makes tokens of one form.
pub(super) enum Signer {
    Jwt(SigningKey),
    PasetoPublic(AsymmetricSecretKey<V4>),
    PasetoLocal(SymmetricKey<V4>),
}

/// Checks tokens of one form.
pub(super) enum Verifier {
    Jwt(VerifyingKey),
    Paseto(Verifying),
}

/// A key that is believed.
pub(super) struct Believed {
    pub(super) format: Format,
    pub(super) kid: String,
    pub(super) verifier: Verifier,
    listed: Listed,
}

/// A key for those who look after keys.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: Id<Key>,
    pub format: Format,
    /// How tokens name it.
    pub kid: String,
    /// For JWTs the raw key in base64url, for PASETO its PASERK; none where nothing is public.
    pub public_key: Option<String>,
    pub created_at: Timestamp,
    /// Since when it signs no longer.
    pub retired_at: Option<Timestamp>,
}

/// All keys that matter now.
pub(super) struct Keys {
    signing: Vec<(Format, String, Signer)>,
    pub(super) believed: Vec<Believed>,
    /// The JWT keys as a JWK set (RFC 7517), ready to be sent.
    pub(super) jwks: Bytes,
    /// The PASETO keys as PASERKs, ready to be sent.
    pub(super) paserks: Bytes,
}

impl Keys {
    pub(super) fn none() -> Self {
        Self::of(Vec::new(), Vec::new())
    }

    /// Opens what was stored; `open` unseals.
    pub(super) fn read(
        stored: &[Stored],
        open: impl Fn(&Stored) -> Result<Secret<Vec<u8>>>,
    ) -> Result<Self> {
        let (mut signing, mut believed) = (Vec::new(), Vec::new());
        for key in stored {
            // What a local key checks with is as secret as what it makes tokens with.
            let secret = if key.retired_at.is_none() || key.format == Format::PasetoLocal {
                Some(open(key)?)
            } else {
                None
            };
            let seed = secret.as_ref().map(|secret| secret.expose().as_slice());
            let one = Believed::read(key, seed)?;
            if let (None, Some(seed)) = (key.retired_at, seed) {
                signing.push((key.format, one.kid.clone(), signer(key.format, seed)?));
            }
            believed.push(one);
        }
        Ok(Self::of(signing, believed))
    }

    fn of(signing: Vec<(Format, String, Signer)>, believed: Vec<Believed>) -> Self {
        let (jwks, paserks) = (jwks(&believed), paserks(&believed));
        Self { signing, believed, jwks, paserks }
    }

    /// What signs tokens of a form now.
    pub(super) fn signing(&self, format: Format) -> Option<(&str, &Signer)> {
        let found = self.signing.iter().find(|(of, ..)| *of == format);
        found.map(|(_, kid, signer)| (kid.as_str(), signer))
    }

    /// What a token of a form names as its key. The form is part of the question: no key serves
    /// two of them.
    pub(super) fn believed(&self, format: Format, kid: &str) -> Option<&Verifier> {
        let found = self.believed.iter().find(|key| key.format == format && key.kid == kid);
        found.map(|key| &key.verifier)
    }

    pub(super) fn list(&self) -> Vec<Listed> {
        self.believed.iter().map(|key| key.listed.clone()).collect()
    }
}

impl Signer {
    /// A token over a payload.
    pub(super) fn sign(&self, kid: &str, payload: &[u8]) -> Result<Secret<String>> {
        let made = match self {
            Self::Jwt(key) => Some(jws::sign(kid, payload, key)),
            Self::PasetoPublic(key) => paseto::sign(kid, payload, key),
            Self::PasetoLocal(key) => paseto::encrypt(kid, payload, key),
        };
        made.map(Secret::new).ok_or_else(|| Error::internal("a token cannot be made"))
    }
}

impl Believed {
    fn read(stored: &Stored, seed: Option<&[u8]>) -> Result<Self> {
        let Stored { id, format, public_key, created_at, retired_at, .. } = stored;
        let (kid, verifier, public) = match format {
            Format::Jwt => {
                let key = public_key.as_slice().try_into().map_err(|_| broken())?;
                let key = VerifyingKey::from_bytes(key).map_err(|_| broken())?;
                (id.to_string(), Verifier::Jwt(key), Some(base64url(key.as_bytes())))
            }
            Format::PasetoPublic => {
                let key = AsymmetricPublicKey::from(public_key).map_err(|_| broken())?;
                let (kid, public) = (text(&paserk::Id::from(&key))?, text(&key)?);
                (kid, Verifier::Paseto(Verifying::Public(key)), Some(public))
            }
            Format::PasetoLocal => {
                let key = SymmetricKey::from(seed.unwrap_or_default()).map_err(|_| broken())?;
                (text(&paserk::Id::from(&key))?, Verifier::Paseto(Verifying::Local(key)), None)
            }
        };
        let listed = Listed {
            id: *id,
            format: *format,
            kid: kid.clone(),
            public_key: public,
            created_at: *created_at,
            retired_at: *retired_at,
        };
        Ok(Self { format: *format, kid, verifier, listed })
    }
}

fn signer(format: Format, seed: &[u8]) -> Result<Signer> {
    let seed: &[u8; 32] = seed.try_into().map_err(|_| broken())?;
    Ok(match format {
        Format::Jwt => Signer::Jwt(SigningKey::from_bytes(seed)),
        Format::PasetoPublic => {
            let pair = SigningKey::from_bytes(seed).to_keypair_bytes();
            Signer::PasetoPublic(AsymmetricSecretKey::from(&pair).map_err(|_| broken())?)
        }
        Format::PasetoLocal => Signer::PasetoLocal(SymmetricKey::from(seed).map_err(|_| broken())?),
    })
}

/// The half of a key that may be shown, as it is stored.
pub(super) fn public_half(format: Format, seed: &[u8; 32]) -> Vec<u8> {
    match format {
        Format::Jwt | Format::PasetoPublic => {
            SigningKey::from_bytes(seed).verifying_key().to_bytes().to_vec()
        }
        Format::PasetoLocal => Vec::new(),
    }
}

fn broken() -> Error {
    Error::internal("a token key is broken")
}

fn text(key: &impl FormatAsPaserk) -> Result<String> {
    let mut out = String::new();
    key.fmt(&mut out).map_err(|_| broken())?;
    Ok(out)
}

/// RFC 8037 section 2.
fn jwks(keys: &[Believed]) -> Bytes {
    let one = |key: &Believed| match (&key.verifier, &key.listed.public_key) {
        (Verifier::Jwt(_), Some(x)) => Some(serde_json::json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": x,
            "kid": key.kid,
            "use": "sig",
            "alg": "EdDSA",
        })),
        _ => None,
    };
    let keys: Vec<_> = keys.iter().filter_map(one).collect();
    serde_json::json!({ "keys": keys }).to_string().into()
}

/// No standard says how PASETO keys are published; PASERK says how one is written, and a JWK set
/// how a set of keys looks.
fn paserks(keys: &[Believed]) -> Bytes {
    let one = |key: &Believed| match (&key.verifier, &key.listed.public_key) {
        (Verifier::Paseto(Verifying::Public(_)), Some(paserk)) => Some(serde_json::json!({
            "kid": key.kid,
            "version": "v4",
            "purpose": "public",
            "paserk": paserk,
        })),
        _ => None,
    };
    let keys: Vec<_> = keys.iter().filter_map(one).collect();
    serde_json::json!({ "keys": keys }).to_string().into()
}
