//! The issuer's key: where it is found, and who says that it is the issuer's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use webpki::ring;

use super::{Reader, Source};
use crate::credential::jcs;
use crate::credential::timestamp;
use crate::jose::es256;
use crate::jose::jws::{self, JwsError, Token};
use crate::jose::x5c::{self, ChainError};
use crate::judge::Options;
use crate::judge::trust::jwk_revocation;
use crate::key::did;
use crate::key::multikey::PublicKey;

/// Multicodec `p256-pub` as an unsigned varint.
const P256_PUB: [u8; 2] = [0x80, 0x24];
/// Longer text than any Multikey that is read here.
const MULTIKEY_LEN_MAX: usize = 64;
/// The most keys of a set that are tried.
const KEYS_MAX: usize = 32;

/// A key of another issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Ed25519 or P-256.
    Own(jws::Key),
    /// RSA of 2048 to 8192 bits, as the DER of an `RSAPublicKey` (RFC 8017).
    Rsa(Vec<u8>),
}

/// A key, how it was found, and what stands behind it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) key: Key,
    /// How it was found, in words that follow "the key is".
    pub(super) how: String,
    /// Whether the reader had brought it, or what vouches for it.
    pub(super) pinned: bool,
    /// Whether anything but the credential says that it is the issuer's.
    pub(super) vouched: bool,
    /// What its certificates show, where it has any.
    pub(super) chain: Option<&'static str>,
}

/// Why there is no key.
#[derive(Debug)]
pub(super) enum NoKey {
    /// It was not found: nothing speaks against the credential.
    Unknown(String),
    /// What was found speaks against the credential.
    Wrong(String),
}

/// Whose key is looked for, and what the credential says about where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) issuer: &'a str,
    /// The verification method, or a token's `kid`.
    pub(super) method: Option<&'a str>,
    pub(super) x5c: Option<&'a Value>,
    /// When it says that it was signed, in seconds since the Unix epoch.
    pub(super) made: Option<i64>,
    /// When it was signed by what the reader knows.
    pub(super) recorded: Option<i64>,
}

impl Asked<'_> {
    /// Whether it was signed before its key was compromised, as the reader's own records have it.
    fn outlives(&self, since: i64) -> bool {
        self.recorded.is_some_and(|at| at < since)
    }
}

impl Key {
    /// Reads a public JWK of a kind that is checked here.
    fn from_jwk(jwk: &Value) -> Option<Self> {
        if jwk.get("d").is_some() || jwk.get("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str()?).ok();
        match (jwk["kty"].as_str()?, jwk["crv"].as_str()) {
            ("EC", Some("P-256")) => {
                es256::PublicKey::from_jwk(jwk).ok().map(|key| Self::Own(jws::Key::P256(key)))
            }
            ("OKP", Some("Ed25519")) => {
                let key = PublicKey::from_bytes(&bytes("x")?.try_into().ok()?).ok()?;
                Some(Self::Own(jws::Key::Ed25519(key)))
            }
            ("RSA", _) => Some(Self::Rsa(rsa(&bytes("n")?, &bytes("e")?)?)),
            _ => None,
        }
    }

    /// Reads a Multikey of Ed25519 or P-256.
    fn from_multikey(text: &str) -> Option<Self> {
        if let Ok(key) = PublicKey::parse(text) {
            return Some(Self::Own(jws::Key::Ed25519(key)));
        }
        let base58 = text.strip_prefix('z').filter(|text| text.len() <= MULTIKEY_LEN_MAX)?;
        let bytes = bs58::decode(base58).into_vec().ok()?;
        let key = es256::PublicKey::from_sec1(bytes.strip_prefix(&P256_PUB)?).ok()?;
        Some(Self::Own(jws::Key::P256(key)))
    }

    /// Since when it must not be used, by what the reader has pinned.
    fn revoked_since(&self, reader: &Reader<'_>) -> Option<i64> {
        match self {
            Self::Own(key) => reader.options.trust.token_key_revoked(key),
            Self::Rsa(_) => None,
        }
    }

    /// The key of Data Integrity proofs.
    pub(super) fn ed25519(&self) -> Option<&PublicKey> {
        match self {
            Self::Own(jws::Key::Ed25519(key)) => Some(key),
            _ => None,
        }
    }

    /// Checks a token's signature under the algorithm that goes with the key.
    pub(super) fn check(&self, token: &Token<'_>) -> Result<(), JwsError> {
        let key = match self {
            Self::Own(key) => return token.verify(key),
            Self::Rsa(key) => key,
        };
        let algorithm = match token.header.get("alg").and_then(Value::as_str) {
            Some("RS256") => ring::RSA_PKCS1_2048_8192_SHA256,
            Some("RS384") => ring::RSA_PKCS1_2048_8192_SHA384,
            Some("RS512") => ring::RSA_PKCS1_2048_8192_SHA512,
            _ => return Err(JwsError::Algorithm),
        };
        let (message, signature) = token.signed();
        algorithm.verify_signature(key, message, signature).map_err(|_| JwsError::Signature)
    }
}

/// The DER of an `RSAPublicKey`: a sequence of two positive integers.
fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    fn element(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
        let length = u16::try_from(content.len()).ok()?;
        let mut bytes = vec![tag];
        match length {
            0..=127 => bytes.push(length.to_be_bytes()[1]),
            128..=255 => bytes.extend([0x81, length.to_be_bytes()[1]]),
            _ => bytes.extend([&[0x82][..], &length.to_be_bytes()].concat()),
        }
        bytes.extend_from_slice(content);
        Some(bytes)
    }
    fn integer(bytes: &[u8]) -> Option<Vec<u8>> {
        let start = bytes.iter().position(|byte| *byte != 0)?;
        let bytes = &bytes[start..];
        // A number whose first bit is set would be read as negative.
        let lead: &[u8] = if bytes.first()? & 0x80 == 0 { &[] } else { &[0] };
        element(0x02, &[lead, bytes].concat())
    }
    element(0x30, &[integer(modulus)?, integer(exponent)?].concat())
}

/// The keys that may be meant: one, or all of an issuer who names none. However a key was found, it
/// is none where a pinned document says that it was compromised.
pub(super) fn find(reader: &Reader<'_>, asked: Asked<'_>) -> Result<Vec<Known>, NoKey> {
    let mut good = Vec::new();
    let mut lost = None;
    for known in located(reader, asked)? {
        match known.key.revoked_since(reader).filter(|since| !asked.outlives(*since)) {
            Some(since) => lost = Some(revoked(since, asked.made)),
            None => good.push(known),
        }
    }
    match lost {
        Some(lost) if good.is_empty() => Err(lost),
        _ => Ok(good),
    }
}

fn located(reader: &Reader<'_>, asked: Asked<'_>) -> Result<Vec<Known>, NoKey> {
    let trust = &reader.options.trust;
    if let Some(key) = trust.token_key(asked.issuer, asked.method) {
        return Ok(vec![Known {
            key: Key::Own(key),
            how: "one that was pinned".to_owned(),
            pinned: true,
            vouched: true,
            chain: None,
        }]);
    }
    if asked.issuer.starts_with("did:") {
        return of_did(reader, asked);
    }
    if !asked.issuer.starts_with("https://") && !asked.issuer.starts_with("http://") {
        let reason = "the issuer is neither a DID nor an address: its keys cannot be found";
        return Err(NoKey::Unknown(reason.to_owned()));
    }
    let certified = asked.x5c.map(|chain| of_chain(reader, asked.issuer, chain)).transpose()?;
    match certified {
        Some(known) if known.pinned => Ok(vec![known]),
        Some(known) => Ok(of_address(reader, asked).map_or(vec![known.clone()], |published| {
            let same = published.into_iter().find(|one| one.key == known.key);
            vec![same.map_or(known.clone(), |one| Known { chain: known.chain, ..one })]
        })),
        None => of_address(reader, asked),
    }
}

/// The key of the certificates in a token's header.
fn of_chain(reader: &Reader<'_>, issuer: &str, chain: &Value) -> Result<Known, NoKey> {
    let Options { trust, now, .. } = reader.options;
    let leaf = x5c::check(chain, trust.anchors(), *now).map_err(|error| match error {
        ChainError::Algorithm => NoKey::Unknown(error.to_string()),
        _ => NoKey::Wrong(error.to_string()),
    })?;
    if !leaf.speaks_for(issuer) {
        return Err(NoKey::Wrong(format!("the certificate does not stand for {issuer}")));
    }
    let (how, chain) = match leaf.anchored {
        true => (
            "that of its certificate, which a configured authority vouches for",
            "the chain ends below a configured authority",
        ),
        false => (
            "that of a certificate which came with it and for which nobody known here vouches",
            "the chain holds, but its root is not known here",
        ),
    };
    Ok(Known {
        key: Key::Own(jws::Key::P256(leaf.key)),
        how: how.to_owned(),
        pinned: leaf.anchored,
        vouched: leaf.anchored,
        chain: Some(chain),
    })
}

fn of_did(reader: &Reader<'_>, asked: Asked<'_>) -> Result<Vec<Known>, NoKey> {
    let trust = &reader.options.trust;
    let issuer = asked.issuer;
    let method = asked.method.map(|method| absolute(issuer, method));
    if let Some(method) = &method
        && did::controller(method) != Some(issuer)
    {
        return Err(NoKey::Wrong(format!("{method} is not the issuer's")));
    }
    let known = |key: Key, how: &str| {
        let pinned = key.ed25519().is_some_and(|key| trust.pins(key));
        Known { key, how: how.to_owned(), pinned, vouched: true, chain: None }
    };
    if let Some(text) = issuer.strip_prefix("did:key:") {
        if method.is_some_and(|method| method != format!("{issuer}#{text}")) {
            return Err(NoKey::Wrong("a did:key has itself as its one key".to_owned()));
        }
        let key = Key::from_multikey(text).ok_or_else(unread)?;
        return Ok(vec![known(key, "the identifier itself (did:key)")]);
    }
    if let Some(text) = issuer.strip_prefix("did:jwk:") {
        let json = URL_SAFE_NO_PAD.decode(text).ok().and_then(|json| String::from_utf8(json).ok());
        let jwk = json.and_then(|json| jcs::parse(&json).ok());
        let key = jwk.as_ref().and_then(Key::from_jwk).ok_or_else(unread)?;
        return Ok(vec![known(key, "the identifier itself (did:jwk)")]);
    }
    if let Some(document) = trust.did_document(issuer) {
        let keys = of_document(document, asked, method.as_deref())?;
        let how = "listed in the DID document that was pinned";
        let pinned = |key| Known { pinned: true, ..known(key, how) };
        return Ok(keys.into_iter().map(pinned).collect());
    }
    if let Ok(url) = did::document_url(issuer) {
        match reader.look(Source::DidDocument, &url) {
            Ok(bytes) => {
                let document = object(bytes).map_err(NoKey::Unknown)?;
                let keys = of_document(&document, asked, method.as_deref())?;
                let how = format!("listed in the issuer's DID document at {url}");
                return Ok(keys.into_iter().map(|key| known(key, &how)).collect());
            }
            Err(reason) if trust.bare_keys().is_empty() => return Err(NoKey::Unknown(reason)),
            Err(_) => {}
        }
    }
    // Whoever pins a bare key says that it is good for whatever fits it.
    let bare = trust.bare_keys().iter().map(|key| Key::Own(jws::Key::Ed25519(*key)));
    let bare: Vec<Known> = bare.map(|key| known(key, "one that was pinned")).collect();
    if bare.is_empty() {
        return Err(NoKey::Unknown("keys of this kind of DID are not looked for".to_owned()));
    }
    Ok(bare)
}

fn unread() -> NoKey {
    NoKey::Unknown("the key is of a kind that is not checked here".to_owned())
}

/// A verification method's identifier in full: `#key` is short for one of the issuer's own.
fn absolute(issuer: &str, method: &str) -> String {
    if method.starts_with('#') { format!("{issuer}{method}") } else { method.to_owned() }
}

/// The keys for assertions in a DID document: the named one, or all.
fn of_document(
    document: &Value,
    asked: Asked<'_>,
    method: Option<&str>,
) -> Result<Vec<Key>, NoKey> {
    let did = asked.issuer;
    let wrong = |reason: &str| NoKey::Wrong(reason.to_owned());
    if document["id"] != did {
        return Err(wrong("the DID document describes another identifier"));
    }
    let all = |name: &str| document[name].as_array().map_or(&[][..], Vec::as_slice);
    let id = |one: &Value| {
        let id = one.as_str().or_else(|| one["id"].as_str());
        id.map(|id| absolute(did, id))
    };
    let mut keys = Vec::new();
    let mut named = 0;
    let mut withdrawn = None;
    for listed in all("assertionMethod").iter().take(KEYS_MAX) {
        let Some(listed_id) = id(listed) else { continue };
        if method.is_some_and(|method| method != listed_id) {
            continue;
        }
        let mut same =
            all("verificationMethod").iter().filter(|one| id(one).as_ref() == Some(&listed_id));
        let found = match (listed.is_object(), same.next(), same.next()) {
            (true, None, _) => listed,
            (false, Some(one), None) => one,
            _ => return Err(wrong("the DID document does not list this key once")),
        };
        if found["controller"] != did {
            return Err(wrong("the DID document gives this key to somebody else"));
        }
        if let Some(since) = did::revocation(found).filter(|since| !asked.outlives(*since)) {
            withdrawn = Some(revoked(since, asked.made));
            continue;
        }
        named += 1;
        let multikey = found["publicKeyMultibase"].as_str().and_then(Key::from_multikey);
        keys.extend(multikey.or_else(|| Key::from_jwk(&found["publicKeyJwk"])));
    }
    if keys.is_empty()
        && let Some(withdrawn) = withdrawn.or_else(|| revoked_method(document, asked, method))
    {
        return Err(withdrawn);
    }
    match (keys.is_empty(), named) {
        (false, _) => Ok(keys),
        (true, 0) => Err(wrong("the issuer's DID document does not list this key for assertions")),
        (true, _) => Err(unread()),
    }
}

/// A key that the document lists as revoked, and for assertions no more.
fn revoked_method(document: &Value, asked: Asked<'_>, method: Option<&str>) -> Option<NoKey> {
    let since = did::revoked_since(document, method?)?;
    Some(revoked(since, asked.made))
}

/// What is to be said of something under a key that its issuer has revoked. Whoever stole the key
/// can date what they sign as they like, so that an earlier date shows nothing.
fn revoked(since: i64, made: Option<i64>) -> NoKey {
    let as_of = timestamp::format(since).unwrap_or_else(|_| "ever".to_owned());
    let reason = format!("the issuer has revoked its key as of {as_of}");
    match made {
        Some(made) if made >= since => NoKey::Wrong(format!("{reason}; this was signed later")),
        _ => NoKey::Unknown(format!("{reason}; nothing shows that this was signed before")),
    }
}

/// The keys that an issuer publishes at its own address.
fn of_address(reader: &Reader<'_>, asked: Asked<'_>) -> Result<Vec<Known>, NoKey> {
    let issuer = asked.issuer;
    // Open Badges 3.0 name the key by where it lies; elsewhere than at the issuer's it is not
    // theirs.
    if let Some(url) = asked.method.filter(|method| is_address(method)) {
        if !lies_below(url, issuer) {
            let reason = format!("the key lies at {url}, which is not below the issuer's address");
            return Err(NoKey::Unknown(reason));
        }
        // Whoever may put a file there is not whom the reader trusts: of those the metadata decides.
        if !reader.trusted.iter().any(|trusted| trusted == issuer) {
            let bytes = reader.look(Source::KeySet, url).map_err(NoKey::Unknown)?;
            let found = object(bytes).map_err(NoKey::Unknown)?;
            return published(&found, (None, asked.made), &format!("published at {url}"));
        }
    }
    let url = metadata_url(issuer)
        .ok_or_else(|| NoKey::Unknown("the issuer's address cannot be read".to_owned()))?;
    let bytes = reader.look(Source::IssuerMetadata, &url).map_err(NoKey::Unknown)?;
    let metadata = object(bytes).map_err(NoKey::Unknown)?;
    if metadata["issuer"] != issuer {
        return Err(NoKey::Wrong(format!("what is published at {url} is another issuer's")));
    }
    let how = format!("published at {url}");
    match (metadata.get("jwks"), metadata["jwks_uri"].as_str()) {
        (Some(set), None) => published(set, (asked.method, asked.made), &how),
        (None, Some(at)) => {
            let bytes = reader.look(Source::KeySet, at).map_err(NoKey::Unknown)?;
            let set = object(bytes).map_err(NoKey::Unknown)?;
            published(&set, (asked.method, asked.made), &format!("{how}, at {at}"))
        }
        _ => Err(NoKey::Unknown(format!("what is published at {url} names no keys"))),
    }
}

/// The keys of a JWK set, or a JWK by itself: the one of this `kid`, or all where none is named.
fn published(
    set: &Value,
    (kid, made): (Option<&str>, Option<i64>),
    how: &str,
) -> Result<Vec<Known>, NoKey> {
    let alone = std::slice::from_ref(set);
    let keys = set["keys"].as_array().map_or(alone, Vec::as_slice);
    let meant = |jwk: &&Value| kid.is_none_or(|kid| jwk["kid"] == kid);
    let meant: Vec<&Value> = keys.iter().filter(meant).take(KEYS_MAX).collect();
    if meant.is_empty() {
        return Err(match kid.is_some_and(is_address) {
            // It may be good where it lies.
            true => NoKey::Unknown("the issuer's metadata does not name this key".to_owned()),
            false => NoKey::Wrong("the issuer does not publish this key".to_owned()),
        });
    }
    let (withdrawn, good): (Vec<&Value>, Vec<&Value>) =
        meant.into_iter().partition(|jwk| jwk_revocation(jwk).is_some());
    let keys: Vec<Key> = good.into_iter().filter_map(Key::from_jwk).collect();
    if keys.is_empty() {
        let since = withdrawn.into_iter().filter_map(jwk_revocation).min();
        return Err(since.map_or_else(unread, |since| revoked(since, made)));
    }
    let known = |key| Known { key, how: how.to_owned(), pinned: false, vouched: true, chain: None };
    Ok(keys.into_iter().map(known).collect())
}

/// Whether a key is named by where it lies.
fn is_address(method: &str) -> bool {
    method.contains("://")
}

/// Whether an address lies below the issuer's own: what else is on its host may be anybody's.
fn lies_below(url: &str, issuer: &str) -> bool {
    let (Some(home), Some(place)) = (origin(issuer), origin(url)) else { return false };
    let path = issuer[home.len()..].trim_end_matches('/');
    let rest = url[place.len()..].strip_prefix(path);
    // These lead elsewhere, once a server has read them.
    let has_detours = url.contains(['%', '\\']) || url.split(['/', '?', '#']).any(is_step);
    home == place
        && !has_detours
        && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '#']))
}

fn is_step(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty())?;
    url.get(..scheme.len() + 3 + host.len())
}

/// Where an issuer's metadata lies (SD-JWT VC section 5): the well-known part comes between the
/// host and the issuer's own path.
pub fn metadata_url(issuer: &str) -> Option<String> {
    let origin = origin(issuer)?;
    let path = issuer.get(origin.len()..)?.trim_end_matches('/');
    let is_plain = !path.contains(['?', '#']);
    is_plain.then(|| format!("{origin}/.well-known/jwt-vc-issuer{path}"))
}

fn object(bytes: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "what was answered is no text".to_owned())?;
    let value = jcs::parse(text).map_err(|_| "what was answered is no usable JSON".to_owned())?;
    if value.is_object() {
        Ok(value)
    } else {
        Err("what was answered is no JSON object".to_owned())
    }
}
