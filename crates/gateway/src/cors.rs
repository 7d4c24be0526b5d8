//! Cross-origin requests: exact origins, never a wildcard together with credentials.

use axum::body::Body;
use axum::response::Response;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use kernel::{Error, Result};

/// The origins whose pages may call, besides the platform's own.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    own: String,
    allowed: Vec<String>,
}

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-none-match, if-match, range, x-request-id, \
     x-amz-checksum-sha256, traceparent, tracestate",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "authorization, link, etag, retry-after, ratelimit, ratelimit-policy, x-request-id, idempotency-replayed, \
     content-disposition, server-timing",
);

impl Origins {
    /// `public_url` is where this platform is reached; `allowed` are whole origins such as
    /// `https://app.example.com`.
    pub fn new(public_url: &str, allowed: &[String]) -> Self {
        let trim = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
        Self {
            own: origin_of(&trim(public_url)),
            allowed: allowed.iter().map(|origin| trim(origin)).collect(),
        }
    }

    /// Whether this is an origin as browsers write one.
    ///
    /// # Errors
    /// `invalid_origin`: what no origin will ever equal, such as `*`: pages that may call are named,
    /// since they may use a session.
    pub fn check(origin: &str) -> Result<()> {
        let parts = origin.strip_suffix('/').unwrap_or(origin).split_once("://");
        let is_origin = parts.is_some_and(|(scheme, host)| {
            let is_scheme =
                scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
            let is_host = host.parse::<Authority>().is_ok() && !host.contains(['@', '*']);
            is_scheme && !scheme.is_empty() && is_host
        });
        if is_origin {
            return Ok(());
        }
        let message = format!(
            "{origin:?} is no origin: write it as https://app.example.com, with a port where the \
             page has one"
        );
        Err(Error::invalid("invalid_origin", message))
    }

    fn allows(&self, origin: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }

    /// The answer to a preflight, if the request is one.
    pub(crate) fn preflight(&self, request: &Request<Body>) -> Option<Response> {
        let headers = request.headers();
        if request.method() != Method::OPTIONS
            || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        if origin.is_some_and(|origin| self.allows(origin)) {
            let out = response.headers_mut();
            out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
            out.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
        }
        self.mark(headers.get(header::ORIGIN), response.headers_mut());
        Some(response)
    }

    /// Lets the page of an allowed origin read the answer.
    pub(crate) fn mark(&self, origin: Option<&HeaderValue>, out: &mut HeaderMap) {
        let Some(origin) = origin else { return };
        out.append(header::VARY, HeaderValue::from_static("origin"));
        if origin.to_str().is_ok_and(|origin| self.allows(origin)) {
            out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            out.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            out.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    /// Whether a request that is authenticated by a cookie and changes something comes from a
    /// page that may send it. Browsers name the origin of such requests; what names none is no
    /// browser, and carries no cookie against its user's will.
    pub(crate) fn may_use_cookie(&self, headers: &HeaderMap) -> bool {
        if let Some(site) = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok())
            && matches!(site, "same-origin" | "none")
        {
            return true;
        }
        match headers.get(header::ORIGIN) {
            None => !headers.contains_key("sec-fetch-site"),
            Some(origin) => origin
                .to_str()
                .is_ok_and(|origin| origin.eq_ignore_ascii_case(&self.own) || self.allows(origin)),
        }
    }
}

/// Scheme, host and port of a URL.
fn origin_of(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins() -> Origins {
        Origins::new("https://verza.example/app", &["https://front.example".to_owned()])
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_foreign_page_cannot_spend_a_cookie() {
        let origins = origins();
        assert!(!origins.may_use_cookie(&headers(&[("origin", "https://evil.example")])));
        assert!(!origins.may_use_cookie(&headers(&[("origin", "null")])));
        assert!(!origins.may_use_cookie(&headers(&[("sec-fetch-site", "cross-site")])));
        assert!(origins.may_use_cookie(&headers(&[("origin", "https://verza.example")])));
        assert!(origins.may_use_cookie(&headers(&[("origin", "https://front.example")])));
        assert!(origins.may_use_cookie(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(origins.may_use_cookie(&headers(&[])));
    }

    #[test]
    fn what_no_browser_calls_an_origin_is_refused() {
        for origin in [
            "https://app.example.com",
            "http://localhost:5173",
            "https://app.example.com/",
            "http://[::1]:8080",
            "capacitor://localhost",
        ] {
            assert!(Origins::check(origin).is_ok(), "{origin}");
        }
        for origin in [
            "*",
            "app.example",
            "https://*.example.com",
            "https://",
            "://app.example",
            "https://app.example/path",
            "https://anne@app.example",
            "https://app.example https://b.example",
            "null",
            "",
        ] {
            assert!(Origins::check(origin).is_err(), "{origin}");
        }
    }

    #[test]
    fn only_allowed_origins_may_read() {
        for (origin, readable) in [
            ("https://front.example", true),
            ("https://front.example.evil.example", false),
            ("http://front.example", false),
            ("null", false),
        ] {
            let mut out = HeaderMap::new();
            origins().mark(Some(&origin.parse().unwrap()), &mut out);
            assert_eq!(out.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), readable, "{origin}");
            assert_ne!(out.get(header::ACCESS_CONTROL_ALLOW_ORIGIN), Some(&"*".parse().unwrap()));
        }
    }
}
