//! The internal listener: metrics, and in development the mails that were not sent.
//!
//! It has no authentication. It listens on loopback, or on an address that only the operator's
//! own network reaches.

use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use platform::db::Db;
use serde::Deserialize;

/// The routes of the internal listener. `mail_sink` is given where mails are kept instead of
/// sent.
pub fn ops_router(metrics: PrometheusHandle, mail_sink: Option<Db>) -> Router {
    let mut router = Router::new().route("/metrics", get(render_metrics)).with_state(metrics);
    if let Some(db) = mail_sink {
        router = router.merge(Router::new().route("/mail", get(list_mail)).with_state(db));
    }
    router
}

async fn render_metrics(State(metrics): State<PrometheusHandle>) -> Response {
    let media = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, media)], metrics.render()).into_response()
}

#[derive(Deserialize)]
struct MailQuery {
    to: Option<String>,
}

async fn list_mail(State(db): State<Db>, Query(query): Query<MailQuery>) -> Response {
    match platform::mail::sink::list(&db, query.to.as_deref(), 50).await {
        Ok(mails) => Json(mails).into_response(),
        Err(error) => (http::StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
