//! The `Idempotency-Key` header and the fingerprint of what it stands for
//! (draft-ietf-httpapi-idempotency-key-header-07).

use http::{HeaderMap, Method};
use kernel::caller::Idempotency;
use kernel::{Error, Principal, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The key of a request: 1 to 255 visible ASCII characters, with or without the quotes that the
/// draft puts around it.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = || {
        let message = "The Idempotency-Key must be one key of 1 to 255 visible ASCII characters.";
        Error::invalid("invalid_idempotency_key", message)
    };
    if values.next().is_some() {
        return Err(wrong());
    }
    let text = value.to_str().map_err(|_| wrong())?;
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let visible = text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    if text.is_empty() || text.len() > 255 || !visible { Err(wrong()) } else { Ok(Some(text)) }
}

/// Who uses the key, and for what. Another principal's equal key is another key.
pub(crate) fn scope(
    principal: Option<&Principal>,
    method: &Method,
    path: &str,
    key: &str,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    match principal {
        Some(principal) => hash.update(principal.user.uuid().as_bytes()),
        None => hash.update([0; 16]),
    }
    for part in [method.as_str(), path, key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// What was asked for: method, address, and the body, a JSON body by its meaning, so that key
/// order and white space do not make it another one.
pub(crate) fn fingerprint(method: &Method, uri: &http::Uri, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut query: Vec<&str> = uri.query().unwrap_or_default().split('&').collect();
    query.sort_unstable();
    for part in [method.as_str(), uri.path(), &query.join("&")] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    // Canonical enough to compare a request with itself.
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => hash.update(sorted(value).to_string()),
        Err(_) => hash.update(body),
    }
    hash.finalize().into()
}

/// The same value with the members of its objects in order, which a map need not keep by itself.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.into_iter().collect();
            members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            let members = members.into_iter().map(|(name, value)| (name, sorted(value)));
            Value::Object(members.collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

pub(crate) fn of(
    principal: Option<&Principal>,
    method: &Method,
    route: &str,
    uri: &http::Uri,
    key: &str,
    body: &[u8],
) -> Idempotency {
    Idempotency::new(scope(principal, method, route, key), fingerprint(method, uri, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<String> {
        let headers: HeaderMap =
            [(http::HeaderName::from_static("idempotency-key"), value.parse().unwrap())]
                .into_iter()
                .collect();
        key(&headers).ok().flatten().map(str::to_owned)
    }

    #[test]
    fn quoted_and_bare_keys_are_equal() {
        assert_eq!(read("\"8e03978e\""), read("8e03978e"));
        assert_eq!(read(""), None);
        assert_eq!(read("a b"), None);
        assert_eq!(read(&"k".repeat(256)), None);
        assert!(read(&"k".repeat(255)).is_some());
    }

    #[test]
    fn key_order_and_white_space_do_not_make_another_request() {
        let uri: http::Uri = "/v1/x?b=2&a=1".parse().unwrap();
        let turned: http::Uri = "/v1/x?a=1&b=2".parse().unwrap();
        let first = fingerprint(&Method::POST, &uri, br#"{"a":1,"b":[1,2]}"#);
        assert_eq!(first, fingerprint(&Method::POST, &turned, b"{ \"b\": [1, 2], \"a\": 1 }"));
        assert_ne!(first, fingerprint(&Method::POST, &uri, br#"{"a":1,"b":[2,1]}"#));
        assert_ne!(first, fingerprint(&Method::PUT, &uri, br#"{"a":1,"b":[1,2]}"#));
    }
}
