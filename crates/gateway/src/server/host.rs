//! Whom a request is for: said once, and rightly (RFC 9112 section 3.2, RFC 9113 section 8.3.1).
//!
//! Who stands between a client and us may go by one name and we by another: a request with two of
//! them, with none or with one that is no name is answered by neither.

use std::net::Ipv6Addr;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode, Version, header};

/// Whether a request names one host. HTTP/1.0 need not know of them.
pub(super) fn is_named_once<B>(request: &Request<B>) -> bool {
    let mut named = request.headers().get_all(header::HOST).iter();
    let authority = request.uri().authority();
    match (request.version(), named.next(), named.next()) {
        (_, _, Some(_)) => false,
        (Version::HTTP_2, None, _) => authority.is_some(),
        (version, None, _) => version < Version::HTTP_11,
        (version, Some(host), None) => {
            let host = host.as_bytes();
            let is_another = |authority: &http::uri::Authority| {
                !authority.as_str().as_bytes().eq_ignore_ascii_case(host)
            };
            is_host(host) && (version != Version::HTTP_2 || !authority.is_some_and(is_another))
        }
    }
}

/// Whether this is a host with or without a port (RFC 3986 section 3.2.2). An empty one is.
fn is_host(value: &[u8]) -> bool {
    let (is_name, port) = if let Some(rest) = value.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
        let address = std::str::from_utf8(&rest[..end]).ok();
        let is_address = address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        (is_address, &rest[end + 1..])
    } else {
        let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
        let of_a_name =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
        (value[..end].iter().all(of_a_name), &value[end..])
    };
    let is_port = match port.split_first() {
        None => true,
        Some((colon, digits)) => *colon == b':' && digits.iter().all(u8::is_ascii_digit),
    };
    is_name && is_port
}

/// What such a request is told. Nothing more is read of its connection: what comes behind it may be
/// meant for somebody else.
pub(super) fn refusal() -> Response<Body> {
    let message = "A request names the host it is for once, in Host or :authority: a name or an \
                   address, and a port where it needs one.\n";
    (StatusCode::BAD_REQUEST, [(header::CONNECTION, "close")], message).into_response()
}
