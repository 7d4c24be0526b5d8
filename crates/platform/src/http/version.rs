//! Things that have a version: `ETag` on what tells of one, `If-Match` on what changes it (RFC 9110
//! sections 8.8.3 and 13.1.1).
//!
//! A row says `versioned`, and then a request that names versions reaches its verb as a caller with
//! [`kernel::caller::Expected`] ones: the verb asks [`Caller::expect`] in the transaction in which
//! it decides, where nobody can change anything in between.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderValue};
use kernel::Caller;
use kernel::caller::Expected;

/// An answer about one thing, with the thing's version as `ETag`.
#[derive(Debug)]
pub struct Versioned<T>(pub i64, pub T);

impl<T: IntoResponse> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        let Self(version, answer) = self;
        let mut response = answer.into_response();
        // Digits between quotes are always a header's value.
        if let Ok(tag) = HeaderValue::try_from(format!("\"{version}\"")) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// Lets the caller of a versioned row expect what the request's `If-Match` names.
pub(super) async fn expecting(mut request: Request, next: Next) -> Response {
    if let Some(expected) = if_match(request.headers())
        && let Some(caller) = request.extensions_mut().get_mut::<Caller>()
    {
        caller.expected = Some(expected);
    }
    next.run(request).await
}

/// The versions in `If-Match`; none where it is absent, or is `*` and any will do. What is no tag
/// of ours is a version that there never was.
fn if_match(headers: &HeaderMap) -> Option<Expected> {
    let mut values = headers.get_all(header::IF_MATCH).iter().peekable();
    values.peek()?;
    let mut versions = Vec::new();
    for value in values {
        for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if tag == "*" {
                return None;
            }
            // A weak tag never matches where strong ones are compared.
            let opaque = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            versions.extend(opaque.and_then(|version| version.parse::<i64>().ok()));
        }
    }
    Some(Expected::one_of(versions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<Expected> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, value.parse().unwrap());
        }
        if_match(&headers)
    }

    #[test]
    fn if_match_names_the_versions_that_will_do() {
        let of = |versions: &[i64]| Some(Expected::one_of(versions.iter().copied()));
        for (values, expected) in [
            (&[][..], None),
            (&["*"], None),
            (&["\"3\""], of(&[3])),
            (&[" \"3\" , \"4\""], of(&[3, 4])),
            (&["\"3\"", "\"5\""], of(&[3, 5])),
            (&["\"3\"", "*"], None),
            (&["W/\"3\""], of(&[])),
            (&["3"], of(&[])),
            (&["\"x\""], of(&[])),
            (&[""], of(&[])),
        ] {
            assert_eq!(read(values), expected, "{values:?}");
        }
    }
}
