//! `did:web` identifiers and the `did.json` behind them: DID Core 1.0 and the did:web method.
//!
//! The document is where a verifier learns which keys may speak for the issuer. A key that was
//! compromised stays in it with the time since when nobody may use it (`revoked`, Controlled
//! Identifiers 1.0 section 2.2), so that what it signed before can still be told apart. Under a key
//! that leaves the document every credential ends.

use std::fmt;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::jose::es256;

use super::multikey::{KeyError, PublicKey};

/// The contexts of a DID document that lists Multikeys.
pub const CONTEXTS: [&str; 2] =
    ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"];

/// One key in a DID document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationMethod {
    /// What follows `#` in the method's identifier, for example `key-1`.
    pub fragment: String,
    /// The key itself.
    pub key: PublicKey,
    /// That it must not be used any more.
    pub revoked: Option<Revoked>,
}

/// That a key was compromised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Since when whatever it signs is nobody's word: RFC 3339, in UTC.
    pub since: String,
    /// Whether that is all that it has ever signed. Then it leaves `assertionMethod`, for readers
    /// who do not know `revoked`.
    pub wholly: bool,
}

/// Why a URL, an identifier or a document was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DidError {
    /// The public URL has no form that did:web can express.
    Url,
    /// The text is not a did:web identifier.
    Identifier,
    /// The document lacks a member, or the member has another shape.
    Document(&'static str),
    /// The document belongs to another identifier.
    OtherSubject,
    /// The document has no such verification method, or has it twice.
    UnknownMethod,
    /// The verification method is listed, but not for making assertions.
    NotForAssertion,
    /// The verification method is listed as revoked, and for making assertions no more.
    Revoked,
    /// The key text is unusable.
    Key(KeyError),
}

impl fmt::Display for DidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str("did:web needs http(s)://host[:port][/path] of plain ASCII"),
            Self::Identifier => f.write_str("not a did:web identifier"),
            Self::Document(member) => write!(f, "the DID document has no usable `{member}`"),
            Self::OtherSubject => f.write_str("the DID document describes another identifier"),
            Self::UnknownMethod => f.write_str("the DID document does not list this key once"),
            Self::NotForAssertion => f.write_str("the key is not listed under assertionMethod"),
            Self::Revoked => f.write_str("the issuer has revoked the key and all that it signed"),
            Self::Key(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DidError {}

impl From<KeyError> for DidError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// The did:web identifier of a public base URL.
///
/// A port is written `%3A8443`, path segments follow as `:segment`, a trailing slash means nothing
/// and the scheme's default port is left out. Addresses in brackets have no did:web form. Plain
/// `http` is taken for a developer's machine; resolvers always use `https`.
pub fn did_web(base_url: &str) -> Result<String, DidError> {
    let (rest, default_port) = match base_url.split_once("://") {
        Some(("https", rest)) => (rest, "443"),
        Some(("http", rest)) => (rest, "80"),
        _ => return Err(DidError::Url),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, Some(path)),
        None => (rest, None),
    };
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if !is_host(host) || port.is_some_and(|port| !is_port(port)) {
        return Err(DidError::Url);
    }
    let mut did = format!("did:web:{}", host.to_ascii_lowercase());
    if let Some(port) = port.filter(|port| *port != default_port) {
        did.push_str("%3A");
        did.push_str(port);
    }
    for segment in path.into_iter().flat_map(|path| path.split('/')) {
        if !is_segment(segment) {
            return Err(DidError::Url);
        }
        did.push(':');
        did.push_str(segment);
    }
    Ok(did)
}

/// Where a did:web identifier's document is fetched: under `/.well-known/` for a bare host, at
/// `/path/did.json` for an identifier with a path.
pub fn document_url(did: &str) -> Result<String, DidError> {
    let rest = did.strip_prefix("did:web:").ok_or(DidError::Identifier)?;
    let mut parts = rest.split(':');
    let authority = parts.next().unwrap_or_default();
    let authority = match authority.split_once("%3A") {
        Some((host, port)) if is_host(host) && is_port(port) => format!("{host}:{port}"),
        None if is_host(authority) => authority.to_owned(),
        _ => return Err(DidError::Identifier),
    };
    let segments: Vec<&str> = parts.collect();
    if !segments.iter().all(|segment| is_segment(segment)) {
        return Err(DidError::Identifier);
    }
    Ok(if segments.is_empty() {
        format!("https://{authority}/.well-known/did.json")
    } else {
        format!("https://{authority}/{}/did.json", segments.join("/"))
    })
}

/// The DID document that lists these keys, each of them for making assertions.
///
/// A retired key stays listed until the last credential under it has expired.
pub fn document(did: &str, methods: &[VerificationMethod]) -> Value {
    let listed: Vec<Value> = methods
        .iter()
        .map(|method| {
            let mut listed = json!({
                "id": method_id(did, &method.fragment),
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": method.key.multikey(),
            });
            if let Some(revoked) = &method.revoked {
                listed["revoked"] = revoked.since.as_str().into();
            }
            listed
        })
        .collect();
    let asserting =
        methods.iter().filter(|method| method.revoked.as_ref().is_none_or(|it| !it.wholly));
    let ids: Vec<String> = asserting.map(|method| method_id(did, &method.fragment)).collect();
    json!({
        "@context": CONTEXTS,
        "id": did,
        "verificationMethod": listed,
        "assertionMethod": ids,
    })
}

/// The absolute identifier of a key: the DID, `#`, the fragment.
pub fn method_id(did: &str, fragment: &str) -> String {
    format!("{did}#{fragment}")
}

/// The DID to which a verification method's identifier belongs.
pub fn controller(method_id: &str) -> Option<&str> {
    let (did, fragment) = method_id.split_once('#')?;
    (did.starts_with("did:") && !fragment.is_empty()).then_some(did)
}

/// The key that a `did:key` identifier is, with itself as its one verification method; nothing of
/// other identifiers.
pub fn key_of(method_id: &str) -> Result<Option<PublicKey>, DidError> {
    let Some(rest) = method_id.strip_prefix("did:key:") else { return Ok(None) };
    match rest.split_once('#') {
        Some((key, fragment)) if key == fragment => Ok(Some(PublicKey::parse(key)?)),
        _ => Err(DidError::UnknownMethod),
    }
}

/// Finds the key that `method_id` names, for making assertions (Data Integrity 1.0 section 4.5).
///
/// The document must be the method's own DID's, list the method exactly once with that DID as its
/// controller, and name it under `assertionMethod`.
pub fn assertion_key(document: &Value, method_id: &str) -> Result<PublicKey, DidError> {
    let method = assertion_method(document, method_id, "Multikey")?;
    let key =
        method["publicKeyMultibase"].as_str().ok_or(DidError::Document("publicKeyMultibase"))?;
    Ok(PublicKey::parse(key)?)
}

/// [`assertion_key`] of a P-256 key in a `JsonWebKey`, as JWT credentials are signed with.
pub fn assertion_jwk(document: &Value, method_id: &str) -> Option<es256::PublicKey> {
    let method = assertion_method(document, method_id, "JsonWebKey").ok()?;
    es256::PublicKey::from_jwk(&method["publicKeyJwk"]).ok()
}

/// Since when the document says that a verification method must not be used, in seconds since the
/// Unix epoch. A time that cannot be read is the beginning of all times.
pub fn revoked_since(document: &Value, method_id: &str) -> Option<i64> {
    let did = controller(method_id)?;
    let methods = document["verificationMethod"].as_array().filter(|_| document["id"] == did)?;
    let own = methods.iter().filter(|method| method["id"] == method_id);
    own.filter_map(revocation).min()
}

/// [`revoked_since`] of one method.
pub(crate) fn revocation(method: &Value) -> Option<i64> {
    let since = method.get("revoked")?;
    let time = since.as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    Some(time.map_or(i64::MIN, OffsetDateTime::unix_timestamp))
}

fn assertion_method<'a>(
    document: &'a Value,
    method_id: &str,
    kind: &str,
) -> Result<&'a Value, DidError> {
    let did = controller(method_id).ok_or(DidError::UnknownMethod)?;
    if document["id"] != did {
        return Err(DidError::OtherSubject);
    }
    let methods = document["verificationMethod"]
        .as_array()
        .ok_or(DidError::Document("verificationMethod"))?;
    let mut named = methods.iter().filter(|method| method["id"] == method_id);
    let (Some(method), None) = (named.next(), named.next()) else {
        return Err(DidError::UnknownMethod);
    };
    if method["type"] != kind || method["controller"] != did {
        return Err(DidError::Document("verificationMethod"));
    }
    let asserting =
        document["assertionMethod"].as_array().ok_or(DidError::Document("assertionMethod"))?;
    if !asserting.iter().any(|listed| listed == method_id) {
        let revoked = method.get("revoked").is_some();
        return Err(if revoked { DidError::Revoked } else { DidError::NotForAssertion });
    }
    Ok(method)
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && !host.starts_with(['.', '-'])
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

fn is_port(port: &str) -> bool {
    !port.starts_with('0')
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}

fn is_segment(segment: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !segment.is_empty() && !matches!(segment, "." | "..") && segment.bytes().all(plain)
}
