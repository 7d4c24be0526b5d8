//! What wallets send, read strictly.

use serde_json::Value;
use verify::jose::es256::PublicKey;
use verify::jose::jws::{Key, Token};

/// The `typ` of a wallet's proof that it has a key.
const PROOF_TYPE: &str = "openid4vci-proof+jwt";
/// How old a proof may be, and how far ahead the wallet's clock, in seconds.
const PROOF_AGE_MAX: i64 = 300;

/// Why a proof was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProofRefusal {
    Proof(&'static str),
    Nonce,
}

/// A key that a wallet has shown to have, and the nonce that it signed.
#[derive(Debug)]
pub(super) struct KeyProof {
    pub(super) key: PublicKey,
    pub(super) nonce: String,
}

impl KeyProof {
    /// Reads a proof for this issuer (OpenID4VCI 1.0 appendix F.1).
    pub(super) fn parse(text: &str, issuer: &str, now: i64) -> Result<Self, ProofRefusal> {
        let refuse = |why| ProofRefusal::Proof(why);
        let token = Token::parse(text).map_err(|_| refuse("The proof is no JWT."))?;
        token.expect(PROOF_TYPE).map_err(|_| refuse("The proof is of another type."))?;
        let header = &token.header;
        // With two of them it would be open which key is meant; `kid` and `x5c` we cannot resolve.
        if header.get("kid").is_some() || header.get("x5c").is_some() {
            return Err(refuse("The proof must carry its key as jwk."));
        }
        let key = PublicKey::from_jwk(header.get("jwk").unwrap_or(&Value::Null))
            .map_err(|_| refuse("The proof's jwk is no public P-256 key."))?;
        token
            .verify(&Key::P256(key))
            .map_err(|_| refuse("The proof was not signed by its own key with ES256."))?;
        if token.text("aud") != Some(issuer) {
            return Err(refuse("The proof is for another issuer."));
        }
        if token.payload.get("iss").is_some() {
            return Err(refuse("An anonymous wallet names no client."));
        }
        let age = token.number("iat").map(|at| now.saturating_sub(at));
        if age.is_none_or(|age| !(-PROOF_AGE_MAX..=PROOF_AGE_MAX).contains(&age)) {
            return Err(refuse("The proof was not made just now."));
        }
        let nonce = token.text("nonce").ok_or(ProofRefusal::Nonce)?.to_owned();
        Ok(Self { key, nonce })
    }
}
