//! The API reference: `/openapi.json`, and `/docs` where a person can try it out.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use http::header;
use kernel::Error;
use platform::http::{At, Audience, Described, Info, Limit, Problem, Route, get, openapi, table};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

/// The description of these routes, and of what the internal listener serves.
pub fn document_of(info: &Info<'_>, rows: &[Described]) -> OpenApi {
    let mut document = openapi(info, rows);
    document.merge(crate::ops::describe(info));
    document
}

/// The reference pages over everything that `routes` holds.
pub fn docs_routes(info: Info<'static>, routes: &[Route]) -> Vec<Route> {
    let mut described: Vec<_> = routes.iter().map(Route::described).collect();
    let config = Arc::new(Config::from("/openapi.json"));
    // The document describes itself as well.
    let blank = Docs { document: Arc::new(LazyLock::new(Box::new(Bytes::new))), config };
    described.extend(rows(&blank).iter().map(Route::described));
    let document = move || {
        let document = document_of(&info, &described);
        serde_json::to_vec_pretty(&document).unwrap_or_default().into()
    };
    rows(&Docs { document: Arc::new(LazyLock::new(Box::new(document))), ..blank })
}

#[derive(Clone)]
struct Docs {
    /// Written when it is asked for the first time.
    document: Arc<LazyLock<Bytes, Box<dyn FnOnce() -> Bytes + Send>>>,
    config: Arc<Config<'static>>,
}

fn rows(docs: &Docs) -> Vec<Route> {
    let page = |path| get(Audience::Public, path).limit(Limit::Read);
    table(
        docs,
        [
            page("/openapi.json")
                .summary("The description of this API (OpenAPI 3.1)")
                .returns_media(200, "application/json", "The document.")
                .to(document),
            page("/docs")
                .summary("The API reference")
                .returns_media(200, "text/html", "A page that works without any network.")
                .to(index),
            page("/docs/{*file}")
                .summary("A file of the API reference")
                .returns_media(200, "*/*", "The file.")
                .to(file),
        ],
    )
}

async fn document(State(docs): State<Docs>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], Bytes::clone(&docs.document)).into_response()
}

async fn index() -> Redirect {
    Redirect::permanent("/docs/index.html")
}

async fn file(State(docs): State<Docs>, At(path): At<String>) -> Result<Response, Problem> {
    let found = utoipa_swagger_ui::serve(&path, docs.config)
        .map_err(|error| Problem(Error::internal(format!("the reference is broken: {error}"))))?
        .ok_or_else(|| Problem(Error::not_found("page")))?;
    let policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                  frame-ancestors 'none'";
    Ok((
        [
            (header::CONTENT_TYPE, found.content_type.as_str()),
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::CACHE_CONTROL, "public, max-age=3600"),
        ],
        Body::from(found.bytes.into_owned()),
    )
        .into_response())
}
