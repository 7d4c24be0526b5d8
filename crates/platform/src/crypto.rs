//! The few cryptographic constructions that several contexts share, over audited primitives.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use hmac::{Hmac, Mac};
use kernel::{Error, Result, Secret, World};
use sha2::{Digest, Sha256};

/// SHA-256 of some bytes.
pub fn sha256(bytes: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(bytes.as_ref()).into()
}

/// HMAC-SHA-256 (RFC 2104).
#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key will do");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Base64url without padding (RFC 4648 section 5).
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A bearer token: 256 random bits as 43 letters, and the hash by which it is found again. Only
/// the hash is ever stored. One round of SHA-256 is right here: there is nothing to guess.
pub struct Token {
    pub text: Secret<String>,
    pub hash: [u8; 32],
}

impl Token {
    pub fn new(world: &World) -> Self {
        let text = base64url(world.random::<32>());
        let hash = sha256(&text);
        Self { text: Secret::new(text), hash }
    }
}

/// The key under which everything secret in the database is wrapped. Keys for different purposes
/// are derived from it by label, so that none serves two.
#[derive(Clone, Debug)]
pub struct MasterKey(Secret<[u8; 32]>);

impl MasterKey {
    pub const fn new(key: [u8; 32]) -> Self {
        Self(Secret::new(key))
    }

    /// A key of its own for a purpose: HMAC-SHA-256 over the label, as HKDF-Expand (RFC 5869)
    /// does for its first block.
    pub fn derive(&self, label: &str) -> Secret<[u8; 32]> {
        Secret::new(hmac_sha256(self.0.expose(), &[label.as_bytes(), &[1]].concat()))
    }

    /// Encrypts a secret for the database: XChaCha20-Poly1305 with a random nonce in front.
    /// `context` names what it is and whose, so that a row cannot be moved elsewhere.
    pub fn seal(&self, world: &World, context: &str, secret: &[u8]) -> Result<Vec<u8>> {
        let nonce = world.random::<24>();
        let payload = Payload { msg: secret, aad: context.as_bytes() };
        let sealed = self
            .cipher()
            .encrypt(&nonce.into(), payload)
            .map_err(|_| Error::internal("a secret cannot be sealed"))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens what [`MasterKey::seal`] has sealed for the same context.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>> {
        let wrong = || {
            Error::internal(format!(
                "{context} cannot be opened: the master key is not the one that sealed it"
            ))
        };
        let (nonce, sealed) = sealed.split_first_chunk::<24>().ok_or_else(wrong)?;
        let payload = Payload { msg: sealed, aad: context.as_bytes() };
        self.cipher().decrypt(&(*nonce).into(), payload).map(Secret::new).map_err(|_| wrong())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.derive("seal").expose().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_gives_rfc_4231_s_second_answer() {
        let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(
            hex::encode(mac),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_sealed_secret_opens_only_in_its_place() {
        let (world, _) = crate::testing::world();
        let key = MasterKey::new([7; 32]);
        let sealed = key.seal(&world, "key/1", b"secret").unwrap();
        assert_eq!(key.open("key/1", &sealed).unwrap().expose(), b"secret");
        assert!(key.open("key/2", &sealed).is_err());
        assert!(MasterKey::new([8; 32]).open("key/1", &sealed).is_err());
        for place in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[place] ^= 1;
            assert!(key.open("key/1", &broken).is_err(), "byte {place}");
        }
        assert!(key.open("key/1", &sealed[..10]).is_err());
    }

    #[test]
    fn a_token_is_found_by_its_hash() {
        let token = Token::new(&crate::testing::world().0);
        assert_eq!(token.text.expose().len(), 43);
        assert_eq!(token.hash, sha256(token.text.expose()));
    }
}
