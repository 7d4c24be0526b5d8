//! The internal listener: metrics, profiles, and in development the mails that were not sent.
//!
//! It has no authentication. It listens on loopback, or on an address that only the operator's
//! own network reaches.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::header;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::BoxFuture;
use http::StatusCode;
use kernel::{Error, Result};
use metrics_exporter_prometheus::PrometheusHandle;
use platform::db::Db;
use platform::http::{self as route, Audience, Info, Limit, Route, openapi};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::OpenApi;

use crate::profile;

/// Brings gauges up to date that nobody keeps so: depths of queues and pools.
pub type Gauges = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// The longest that one profile may take.
const PROFILE_MAX: u64 = 120;

/// What the internal listener shows.
pub struct Ops {
    pub metrics: PrometheusHandle,
    /// Called before the metrics are shown.
    pub gauges: Gauges,
    /// Where mails are kept instead of sent.
    pub mail_sink: Option<Db>,
}

/// What the rows show.
#[derive(Clone)]
struct Shown {
    metrics: PrometheusHandle,
    gauges: Gauges,
}

/// The rows that there are in every process, as they are served and described.
fn rows() -> [Route<Shown>; 3] {
    let row = |path| route::get(Audience::Ops, path).limit(Limit::Free);
    let profile = "application/octet-stream";
    [
        row("/metrics")
            .summary("The metrics of a process, in Prometheus's text format")
            .returns_media(200, "text/plain", "Version 0.0.4 of the format.")
            .to(render_metrics),
        row("/debug/pprof/profile")
            .summary("Where a process spends its processor time, in pprof's format")
            .query::<ProfileQuery>()
            .returns_media(200, profile, "A profile, gzipped.")
            .to(profile_processor),
        row("/debug/pprof/heap")
            .summary("Where a process has its memory, in pprof's format")
            .returns_media(200, profile, "A profile, gzipped.")
            .to(profile_memory),
    ]
}

/// The description of the internal listener's routes.
pub(crate) fn describe(info: &Info<'_>) -> OpenApi {
    openapi(info, &rows().iter().map(Route::described).collect::<Vec<_>>())
}

/// The routes of the internal listener.
pub fn ops_router(ops: Ops) -> Router {
    let shown = Shown { metrics: ops.metrics, gauges: ops.gauges };
    let metrics = rows()
        .into_iter()
        .fold(Router::new(), |all, row| all.route(row.path, row.handler))
        .with_state(shown);
    match ops.mail_sink {
        Some(db) => metrics.merge(mails(db)),
        None => metrics,
    }
}

/// The mails that were not sent. They hold links that let their holder into accounts, so a page
/// whose name was made to lead here does not read them.
fn mails(db: Db) -> Router {
    let by_no_domain = middleware::from_fn(platform::mail::by_no_domain);
    Router::new().route("/mail", get(list_mail)).layer(by_no_domain).with_state(db)
}

async fn render_metrics(State(Shown { metrics, gauges }): State<Shown>) -> Response {
    gauges().await;
    let media = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, media)], metrics.render()).into_response()
}

#[derive(Deserialize, IntoParams)]
struct ProfileQuery {
    /// For how long it looks: 1 to 120, and 30 when left out.
    seconds: Option<u64>,
}

async fn profile_processor(Query(query): Query<ProfileQuery>) -> Response {
    let seconds = query.seconds.unwrap_or(30).clamp(1, PROFILE_MAX);
    take_profile("profile", move || profile::processor(Duration::from_secs(seconds))).await
}

async fn profile_memory() -> Response {
    take_profile("heap", profile::memory).await
}

/// Takes a profile on a thread where nobody waits behind it.
async fn take_profile(
    name: &str,
    take: impl FnOnce() -> Result<Vec<u8>> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(|| take().and_then(|profile| gzipped(&profile))).await {
        Ok(Ok(profile)) => {
            let file = format!("attachment; filename=\"{name}.pb.gz\"");
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
                (header::CONTENT_DISPOSITION, file),
            ];
            (headers, profile).into_response()
        }
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// As profile.proto has it: profiles are stored gzipped (RFC 1952).
fn gzipped(profile: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let written = gzip.write_all(profile).and_then(|()| gzip.finish());
    written.map_err(|error| Error::internal("a profile cannot be packed").because(error))
}

#[derive(Deserialize)]
struct MailQuery {
    to: Option<String>,
}

async fn list_mail(State(db): State<Db>, Query(query): Query<MailQuery>) -> Response {
    match platform::mail::sink::list(&db, query.to.as_deref(), 50).await {
        Ok(mails) => Json(mails).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
