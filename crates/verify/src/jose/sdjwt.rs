//! SD-JWT (RFC 9901) and SD-JWT VC: claims that their holder shows one by one.

use std::collections::{HashMap, HashSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::es256::{PublicKey, SecretKey};
use super::jws::{self, JwsError, Key, TOKEN_LEN_MAX, Token};
use crate::credential::jcs::Budget;

/// The `typ` of an SD-JWT VC.
pub const TYPE: &str = "dc+sd-jwt";
/// The `typ` of a key binding token.
pub const KEY_BINDING_TYPE: &str = "kb+jwt";
/// Claims that an SD-JWT VC never hides (SD-JWT VC section 3.2.2.2).
const NEVER_HIDDEN: [&str; 8] =
    ["iss", "nbf", "exp", "cnf", "vct", "vct#integrity", "status", "_sd_alg"];
/// How deep disclosures may lie in each other.
const DEPTH_MAX: usize = 16;

/// A claim that its holder may withhold.
#[derive(Clone, Debug)]
pub struct Hidden {
    /// The claim's name.
    pub name: &'static str,
    /// The claim's value.
    pub value: Value,
    /// What keeps the value from being guessed from its digest.
    pub salt: [u8; 16],
}

/// Why an SD-JWT was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SdJwtError {
    /// Not a token and disclosures with a `~` after each.
    Malformed,
    /// The token inside.
    Token(JwsError),
    /// Another hash than SHA-256.
    Hash,
    /// A disclosure that is not base64url of `[salt, name, value]` or `[salt, value]`.
    Disclosure,
    /// One digest stands at two places.
    DuplicateDigest,
    /// A disclosure that no digest asks for.
    Unreferenced,
    /// A disclosure that would overwrite a claim, or take a reserved name.
    Name(String),
    /// Disclosures that lie too deep in each other.
    Depth,
    /// The holder did not show that the key is theirs.
    NoKeyBinding,
    /// A key binding where the credential names no key.
    NoHolderKey,
    /// The key binding is about another presentation.
    OtherPresentation,
    /// The key binding is for another audience.
    Audience,
    /// The key binding answers another nonce.
    Nonce,
    /// The key binding was made too long ago, or in the future.
    Time,
}

impl fmt::Display for SdJwtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the SD-JWT is malformed",
            Self::Token(error) => return error.fmt(f),
            Self::Hash => "the digests are not SHA-256",
            Self::Disclosure => "a disclosure is malformed",
            Self::DuplicateDigest => "a digest stands at two places",
            Self::Unreferenced => "a disclosure belongs to no digest",
            Self::Name(name) => return write!(f, "a disclosure may not give the claim `{name}`"),
            Self::Depth => "the disclosures lie too deep in each other",
            Self::NoKeyBinding => "the holder's key binding is missing",
            Self::NoHolderKey => "the credential names no usable holder key",
            Self::OtherPresentation => "the key binding is about another presentation",
            Self::Audience => "the key binding is for another audience",
            Self::Nonce => "the key binding answers another nonce",
            Self::Time => "the key binding was not made just now",
        })
    }
}

impl std::error::Error for SdJwtError {}

impl From<JwsError> for SdJwtError {
    fn from(error: JwsError) -> Self {
        Self::Token(error)
    }
}

/// An SD-JWT taken apart. Nothing of it is believed before the issuer's signature was checked.
#[derive(Clone, Debug)]
pub struct SdJwt<'a> {
    /// The issuer's token.
    pub token: Token<'a>,
    /// The disclosures as they were sent.
    pub disclosures: Vec<&'a str>,
    /// The holder's token, if there is one.
    pub key_binding: Option<Token<'a>>,
    /// What the key binding must be about: everything up to and including the last `~`.
    bound: &'a str,
}

/// Who asked for a presentation, and when it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Challenge<'a> {
    /// The verifier's full identifier.
    pub audience: &'a str,
    /// The number that was to be signed.
    pub nonce: &'a str,
    /// Seconds since the Unix epoch.
    pub now: i64,
    /// For how long, in seconds, a key binding is new.
    pub age_max: i64,
}

/// Issues an SD-JWT: `open` claims for everyone, `hidden` ones for whom the holder chooses.
///
/// `decoys` are digests of nothing, so that the number of claims stays unknown. All digests are
/// sorted, and by that in an order which says nothing.
pub fn issue(
    header: Value,
    mut open: Map<String, Value>,
    hidden: &[Hidden],
    decoys: &[[u8; 32]],
    key: &SecretKey,
) -> String {
    let disclosures: Vec<String> = hidden.iter().map(disclosure).collect();
    let mut digests: Vec<String> = disclosures.iter().map(|text| digest(text)).collect();
    digests.extend(decoys.iter().map(|decoy| URL_SAFE_NO_PAD.encode(decoy)));
    digests.sort_unstable();
    open.insert("_sd".to_owned(), digests.into());
    open.insert("_sd_alg".to_owned(), "sha-256".into());
    let mut text = jws::sign(header, &Value::Object(open), key);
    for disclosure in disclosures {
        text.push('~');
        text.push_str(&disclosure);
    }
    text.push('~');
    text
}

fn disclosure(hidden: &Hidden) -> String {
    let salt = URL_SAFE_NO_PAD.encode(hidden.salt);
    URL_SAFE_NO_PAD.encode(json!([salt, hidden.name, hidden.value]).to_string())
}

/// The digest of a disclosure: over its base64url text (RFC 9901 section 4.2.3).
pub fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

/// What a holder does with an issued SD-JWT: keeps the disclosures whose claims `show` accepts,
/// and signs for one audience and nonce.
pub fn present(
    issued: &str,
    show: impl Fn(&str) -> bool,
    key: &SecretKey,
    challenge: &Challenge<'_>,
) -> Result<String, SdJwtError> {
    let parsed = SdJwt::parse(issued)?;
    let mut text = issued.split('~').next().unwrap_or_default().to_owned();
    text.push('~');
    for disclosure in &parsed.disclosures {
        if Disclosure::parse(disclosure, &Budget::default())?.name.is_none_or(|name| show(&name)) {
            text.push_str(disclosure);
            text.push('~');
        }
    }
    let claims = json!({
        "iat": challenge.now,
        "aud": challenge.audience,
        "nonce": challenge.nonce,
        "sd_hash": digest(&text),
    });
    text.push_str(&jws::sign(json!({ "typ": KEY_BINDING_TYPE }), &claims, key));
    Ok(text)
}

/// A disclosure that was decoded: without a name it is an item of an array.
struct Disclosure {
    name: Option<String>,
    value: Value,
}

impl Disclosure {
    fn parse(text: &str, budget: &Budget) -> Result<Self, SdJwtError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| SdJwtError::Disclosure)?;
        let json = String::from_utf8(bytes).map_err(|_| SdJwtError::Disclosure)?;
        let Ok(Value::Array(mut parts)) = budget.parse(&json) else {
            return Err(SdJwtError::Disclosure);
        };
        let (value, name) = match parts.len() {
            2 => (parts.pop(), None),
            3 => (parts.pop(), parts.pop()),
            _ => return Err(SdJwtError::Disclosure),
        };
        let (Some(value), Some(Value::String(_))) = (value, parts.pop()) else {
            return Err(SdJwtError::Disclosure);
        };
        match name {
            None => Ok(Self { name: None, value }),
            Some(Value::String(name)) => Ok(Self { name: Some(name), value }),
            Some(_) => Err(SdJwtError::Disclosure),
        }
    }
}

impl<'a> SdJwt<'a> {
    /// Takes an SD-JWT apart, with or without key binding.
    pub fn parse(text: &'a str) -> Result<Self, SdJwtError> {
        if text.len() > TOKEN_LEN_MAX {
            return Err(SdJwtError::Malformed);
        }
        let (front, last) = text.rsplit_once('~').ok_or(SdJwtError::Malformed)?;
        let mut parts = front.split('~');
        let token = Token::parse(parts.next().ok_or(SdJwtError::Malformed)?)?;
        let disclosures: Vec<&str> = parts.collect();
        if disclosures.iter().any(|disclosure| disclosure.is_empty()) {
            return Err(SdJwtError::Malformed);
        }
        let key_binding = if last.is_empty() { None } else { Some(Token::parse(last)?) };
        let bound = &text[..=front.len()];
        Ok(Self { token, disclosures, key_binding, bound })
    }

    /// The claims with what was disclosed put in its place, and without the machinery
    /// (RFC 9901 section 7.1).
    pub fn claims(&self) -> Result<Map<String, Value>, SdJwtError> {
        let algorithm = self.token.payload.get("_sd_alg");
        if algorithm.is_some_and(|name| name != "sha-256") {
            return Err(SdJwtError::Hash);
        }
        let mut unfolding = Unfolding { disclosures: HashMap::new(), seen: HashSet::new() };
        let budget = Budget::default();
        for text in &self.disclosures {
            let opened = Disclosure::parse(text, &budget)?;
            if unfolding.disclosures.insert(digest(text), opened).is_some() {
                return Err(SdJwtError::DuplicateDigest);
            }
        }
        let mut claims = match unfolding.unfold(self.token.payload.clone(), 0)? {
            Value::Object(claims) => claims,
            _ => return Err(SdJwtError::Malformed),
        };
        if !unfolding.disclosures.is_empty() {
            return Err(SdJwtError::Unreferenced);
        }
        claims.remove("_sd_alg");
        Ok(claims)
    }

    /// The key that the credential is bound to, if it names one.
    pub fn holder_key(&self) -> Option<Key> {
        let jwk = self.token.payload.get("cnf")?.get("jwk")?;
        PublicKey::from_jwk(jwk).ok().map(Key::P256)
    }

    /// Whether the issuer bound the credential to a key at all.
    pub fn is_bound(&self) -> bool {
        self.token.payload.get("cnf").is_some()
    }

    /// Checks that the holder of the key made this presentation, for this audience, just now
    /// (RFC 9901 section 7.3).
    pub fn check_key_binding(&self, challenge: &Challenge<'_>) -> Result<(), SdJwtError> {
        let binding = self.key_binding.as_ref().ok_or(SdJwtError::NoKeyBinding)?;
        let key = self.holder_key().ok_or(SdJwtError::NoHolderKey)?;
        binding.expect(KEY_BINDING_TYPE)?;
        binding.verify(&key)?;
        if binding.text("sd_hash") != Some(digest(self.bound).as_str()) {
            return Err(SdJwtError::OtherPresentation);
        }
        if binding.text("aud") != Some(challenge.audience) {
            return Err(SdJwtError::Audience);
        }
        if binding.text("nonce") != Some(challenge.nonce) {
            return Err(SdJwtError::Nonce);
        }
        let made = binding.number("iat").ok_or(SdJwtError::Time)?;
        let age = challenge.now.saturating_sub(made);
        if age > challenge.age_max || age < -challenge.age_max {
            return Err(SdJwtError::Time);
        }
        Ok(())
    }
}

/// Puts disclosures where their digests stand, each exactly once.
struct Unfolding {
    disclosures: HashMap<String, Disclosure>,
    seen: HashSet<String>,
}

impl Unfolding {
    fn take(&mut self, digest: &Value) -> Result<Option<Disclosure>, SdJwtError> {
        let digest = digest.as_str().ok_or(SdJwtError::Malformed)?;
        if !self.seen.insert(digest.to_owned()) {
            return Err(SdJwtError::DuplicateDigest);
        }
        Ok(self.disclosures.remove(digest))
    }

    fn unfold(&mut self, value: Value, depth: usize) -> Result<Value, SdJwtError> {
        if depth > DEPTH_MAX {
            return Err(SdJwtError::Depth);
        }
        match value {
            Value::Object(members) => self.unfold_object(members, depth).map(Value::Object),
            Value::Array(items) => self.unfold_array(items, depth).map(Value::Array),
            plain => Ok(plain),
        }
    }

    fn unfold_object(
        &mut self,
        members: Map<String, Value>,
        depth: usize,
    ) -> Result<Map<String, Value>, SdJwtError> {
        let mut unfolded = Map::new();
        let mut digests = Vec::new();
        for (name, value) in members {
            match (name.as_str(), value) {
                ("_sd", Value::Array(found)) => digests = found,
                ("_sd" | "...", _) => return Err(SdJwtError::Malformed),
                (_, value) => {
                    let value = self.unfold(value, depth + 1)?;
                    unfolded.insert(name, value);
                }
            }
        }
        for digest in digests {
            let Some(Disclosure { name, value }) = self.take(&digest)? else { continue };
            let name = name.ok_or(SdJwtError::Disclosure)?;
            let reserved = matches!(name.as_str(), "_sd" | "...");
            let fixed = depth == 0 && NEVER_HIDDEN.contains(&name.as_str());
            if reserved || fixed || unfolded.contains_key(&name) {
                return Err(SdJwtError::Name(name));
            }
            let value = self.unfold(value, depth + 1)?;
            unfolded.insert(name, value);
        }
        Ok(unfolded)
    }

    fn unfold_array(&mut self, items: Vec<Value>, depth: usize) -> Result<Vec<Value>, SdJwtError> {
        let mut unfolded = Vec::with_capacity(items.len());
        for item in items {
            let digest = item.as_object().filter(|members| members.len() == 1);
            let Some(digest) = digest.and_then(|members| members.get("...")) else {
                unfolded.push(self.unfold(item, depth + 1)?);
                continue;
            };
            let digest = digest.clone();
            let Some(Disclosure { name, value }) = self.take(&digest)? else { continue };
            if name.is_some() {
                return Err(SdJwtError::Disclosure);
            }
            unfolded.push(self.unfold(value, depth + 1)?);
        }
        Ok(unfolded)
    }
}
