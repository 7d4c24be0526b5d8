//! HTTP as rows of data: a [`Route`] says method, path, audience, limits, idempotency, shapes and
//! handler. The router, access control, rate limits, OpenAPI and `routes.txt` are made from the
//! rows by the gateway; a noun's `http.rs` is a table of rows and handlers of a few lines.

mod export;
mod extract;
mod openapi;
mod reply;
mod route;
mod version;

pub use export::{Signer, Written};
pub use extract::{At, By, Form, Json, JsonOrForm, Paging, Query, Raw};
pub use openapi::{Info, openapi};
pub use reply::{
    Created, Done, Failure, List, NewToken, Problem, ProblemBody, Rendered, Reply, problem_status,
    render,
};
pub use route::{
    Audience, Described, ErrorShape, Freshness, Limit, Once, Route, RouteBuilder, Sayings, Sketch,
    delete, get, patch, post, put, table,
};
pub use version::Versioned;

/// A path segment or query value in the letters that a URL takes as they are (RFC 3986 section
/// 2.3). A space is `%20`: outside of forms a plus sign is one.
pub fn escape(text: &str) -> String {
    let form: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    // The serializer is that of forms: a plus sign for the space, the star as it is, no tilde.
    form.replace('+', "%20").replace('*', "%2A").replace("%7E", "~")
}
