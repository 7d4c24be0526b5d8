//! PASETO version 4 and nothing else (<https://github.com/paseto-standard/paseto-spec>). The
//! cryptography is the library's; which tokens get that far is decided here.

use pasetors::keys::{AsymmetricPublicKey, AsymmetricSecretKey, SymmetricKey};
use pasetors::token::{Local, Public, UntrustedToken};
use pasetors::version4::{LocalToken, PublicToken, V4};
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::jws::{LEN_MAX, object};

pub(super) const PUBLIC: &str = PublicToken::HEADER;
pub(super) const LOCAL: &str = LocalToken::HEADER;

/// What checks a token. A key is for one purpose: a token of the other one never meets it.
pub(super) enum Verifying {
    Public(AsymmetricPublicKey<V4>),
    Local(SymmetricKey<V4>),
}

/// The one footer that is accepted.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Footer<'a> {
    kid: &'a str,
}

fn footer(kid: &str) -> String {
    format!(r#"{{"kid":"{kid}"}}"#)
}

/// Signs a payload: `v4.public`. `kid` is a PASERK id. `None` when the library refuses, which it
/// does of empty payloads.
pub(super) fn sign(kid: &str, payload: &[u8], key: &AsymmetricSecretKey<V4>) -> Option<String> {
    PublicToken::sign(key, payload, Some(footer(kid).as_bytes()), None).ok()
}

/// Encrypts a payload: `v4.local`. The nonce is the library's own, from the system.
pub(super) fn encrypt(kid: &str, payload: &[u8], key: &SymmetricKey<V4>) -> Option<String> {
    LocalToken::encrypt(key, payload, Some(footer(kid).as_bytes()), None).ok()
}

enum Untrusted {
    Public(UntrustedToken<Public, V4>),
    Local(UntrustedToken<Local, V4>),
}

/// A token that has the right form and nothing more yet.
pub(super) struct Unverified(Untrusted);

impl Unverified {
    pub(super) fn parse(token: &str) -> Result<Self, Refusal> {
        // Looked at first: decoding makes as many bytes as it is given.
        if token.len() > LEN_MAX || token.ends_with('.') {
            return Err(Refusal::Malformed);
        }
        let parsed = if token.starts_with(PUBLIC) {
            UntrustedToken::try_from(token).map(Untrusted::Public)
        } else if token.starts_with(LOCAL) {
            UntrustedToken::try_from(token).map(Untrusted::Local)
        } else {
            return Err(Refusal::Malformed);
        };
        parsed.map(Self).map_err(|_| Refusal::Malformed)
    }

    pub(super) fn footer(&self) -> &[u8] {
        match &self.0 {
            Untrusted::Public(token) => token.untrusted_footer(),
            Untrusted::Local(token) => token.untrusted_footer(),
        }
    }

    /// Which key the footer names. It is believed no further than to pick among our own keys.
    pub(super) fn kid(&self) -> Result<&str, Refusal> {
        let footer: Footer<'_> = object(self.footer())?;
        Ok(footer.kid)
    }

    /// The payload, when this key has made the token. Footer and implicit assertion are part of
    /// what is authenticated.
    pub(super) fn open(&self, key: &Verifying, implicit: &[u8]) -> Result<String, Refusal> {
        let implicit = Some(implicit);
        let opened = match (&self.0, key) {
            (Untrusted::Public(token), Verifying::Public(key)) => {
                PublicToken::verify(key, token, None, implicit)
            }
            (Untrusted::Local(token), Verifying::Local(key)) => {
                LocalToken::decrypt(key, token, None, implicit)
            }
            (Untrusted::Public(_), Verifying::Local(_))
            | (Untrusted::Local(_), Verifying::Public(_)) => return Err(Refusal::UnknownKey),
        };
        let opened = opened.map_err(|_| Refusal::BadSignature)?;
        Ok(opened.payload().to_owned())
    }
}
