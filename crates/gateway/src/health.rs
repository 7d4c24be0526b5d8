//! Whether the process lives, and whether it can serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use kernel::Timestamp;
use platform::db::Db;
use platform::fleet::Fleet;
use platform::http::{Audience, Json, Limit, Route, get, table};
use serde::Serialize;
use utoipa::ToSchema;

/// Off during start and shutdown: a load balancer then sends nobody here.
#[derive(Debug, Default)]
pub struct Readiness(AtomicBool);

impl Readiness {
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::SeqCst);
    }

    pub fn get(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What the health routes look at.
#[derive(Clone)]
pub struct Health {
    pub db: Db,
    pub fleet: Arc<Fleet>,
    pub readiness: Arc<Readiness>,
    pub version: &'static str,
    pub commit: &'static str,
}

/// The state of the process.
#[derive(Serialize, ToSchema)]
struct ProcessState {
    /// `healthy`, or `unavailable`.
    status: &'static str,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

/// What the process stands on. Of these only the database decides whether it is ready.
#[derive(Serialize, ToSchema)]
#[schema(as = ProcessDetails)]
struct Details {
    /// `up` or `down`.
    database: &'static str,
    /// `up` or `down`; absent where none is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<&'static str>,
    /// How soon sessions that end elsewhere are refused here: `alone` (there is no elsewhere),
    /// `live` (at once) or `behind` (within a second).
    revocations: &'static str,
}

/// Which build this is.
#[derive(Serialize, ToSchema)]
struct Version {
    version: &'static str,
    commit: &'static str,
    /// `sqlite` or `postgres`.
    database: &'static str,
}

pub fn routes(health: &Health) -> Vec<Route> {
    let row = |path, summary: &'static str| {
        get(Audience::Public, path).limit(Limit::Free).summary(summary).returns::<ProcessState>(200)
    };
    table(
        health,
        [
            row("/livez", "Whether the process lives").to(live),
            row("/readyz", "Whether the process can serve requests now").to(ready),
            row("/healthz", "Whether the process can serve requests now (alias)").to(healthz),
            row("/health", "Whether the process can serve requests now (alias)").to(health_alias),
            get(Audience::Public, "/version")
                .limit(Limit::Free)
                .summary("Which build this is")
                .returns::<Version>(200)
                .to(version),
        ],
    )
}

/// The same without an edge, for the internal listener: a process that serves no clients is asked
/// there.
pub fn router(health: &Health) -> Router {
    routes(health).into_iter().fold(Router::new(), |all, row| all.route(row.path, row.handler))
}

async fn live(State(health): State<Health>) -> Response {
    answer(&health, true, None)
}

async fn ready(State(health): State<Health>) -> Response {
    let has_database = health.db.ping().await.is_ok();
    let word = |up| if up { "up" } else { "down" };
    let fleet = health.fleet.health();
    let details = Details {
        database: word(has_database),
        redis: fleet.redis.map(word),
        revocations: fleet.liveness.as_str(),
    };
    answer(&health, health.readiness.get() && has_database, Some(details))
}

async fn healthz(state: State<Health>) -> Response {
    ready(state).await
}

async fn health_alias(state: State<Health>) -> Response {
    ready(state).await
}

fn answer(health: &Health, well: bool, details: Option<Details>) -> Response {
    let status = if well { "healthy" } else { "unavailable" };
    let body = Json(ProcessState { status, timestamp: health.db.world().now(), details });
    let code = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, body).into_response()
}

async fn version(State(health): State<Health>) -> Json<Version> {
    Json(Version {
        version: health.version,
        commit: health.commit,
        database: health.db.engine_name(),
    })
}
