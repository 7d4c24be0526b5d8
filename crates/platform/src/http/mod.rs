//! HTTP as rows of data: a [`Route`] says method, path, audience, limits, idempotency, shapes and
//! handler. The router, access control, rate limits, OpenAPI and `routes.txt` are made from the
//! rows by the gateway; a noun's `http.rs` is a table of rows and handlers of a few lines.

mod extract;
mod openapi;
mod reply;
mod route;

pub use extract::{At, By, Form, Json, JsonOrForm, Paging, Query, Raw};
pub use openapi::{Info, openapi};
pub use reply::{
    Created, Done, Failure, List, NewToken, Problem, ProblemBody, Rendered, Reply, problem_status,
    render,
};
pub use route::{
    Audience, ErrorShape, Freshness, Limit, Once, Route, RouteBuilder, delete, get, patch, post,
    put, table,
};
