//! Passkeys, and what the library that checks them is told of us.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::id::kinds::{self, User};
use kernel::{Error, Id, Result, Timestamp};
use platform::crypto::sha256;
use serde::Deserialize;
use webauthn_rs::prelude::{Passkey as Key, Url};
use webauthn_rs::{Webauthn, WebauthnBuilder};

use crate::PublicUrl;

/// A passkey as it stands.
#[derive(Debug, Clone)]
pub struct Passkey {
    pub id: Id<kinds::Passkey>,
    pub user: Id<User>,
    /// What its owner calls it.
    pub name: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    /// The public key, the counter, and what else the library keeps of it.
    pub(super) key: Key,
    /// Grows with every change of the key.
    pub(super) version: i64,
}

/// The library, set up for the site at a public URL; nothing where that has no host name.
pub(super) fn relying_party(public_url: &PublicUrl, name: &str) -> Result<Option<Webauthn>> {
    let broken = |what: String| Error::internal(format!("passkeys cannot be set up: {what}"));
    let url = Url::parse(public_url.as_str()).map_err(|error| broken(error.to_string()))?;
    let Some(host) = url.domain() else { return Ok(None) };
    // An origin has no path.
    let origin = url.origin().ascii_serialization();
    let origin = Url::parse(&origin).map_err(|error| broken(error.to_string()))?;
    let builder = WebauthnBuilder::new(host, &origin).map_err(|error| broken(error.to_string()))?;
    let built = builder.rp_name(name).timeout(super::service::CEREMONY_LIFETIME).build();
    built.map(Some).map_err(|error| broken(error.to_string()))
}

/// By what a ceremony is found again: the hash of the challenge that the browser has signed over
/// (section 5.8.1). That it is ours and for this is known once it has been found.
pub(super) fn ceremony_of(client_data: &[u8]) -> Option<[u8; 32]> {
    #[derive(Deserialize)]
    struct ClientData<'a> {
        challenge: &'a str,
    }
    let data: ClientData<'_> = serde_json::from_slice(client_data).ok()?;
    let challenge = URL_SAFE_NO_PAD.decode(data.challenge).ok()?;
    Some(sha256(challenge))
}
