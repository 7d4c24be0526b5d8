//! The system over HTTP.

use std::collections::BTreeMap;

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Error, Id, Timestamp};
use platform::http::{Audience, Json, List, Paging, Query, Reply, Route, get, table};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::model::{Component, Level, Line, LogFilter, State as ComponentState};
use super::rules::{self, Figure};
use super::service::{Health, Service};

// Named without its parameter, which has no schema of its own.
type LineId = Id<kinds::LogLine>;

pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/system/health")
                .summary("Look at how the platform and its components are")
                .describe(
                    "Processor, memory and uptime are those of the process that answers. It \
                     answers 200 whatever it has found: load balancers ask `/readyz`.",
                )
                .returns::<HealthBody>(200)
                .to(health),
            get(Audience::Admin, "/v1/admin/system/metrics")
                .summary("Read the metrics of the process that answers, as numbers")
                .describe("The same as `/metrics` on the internal listener, without buckets.")
                .query::<MetricsQuery>()
                .returns::<Vec<FigureBody>>(200)
                .to(metrics),
            get(Audience::Admin, "/v1/admin/system/error-logs")
                .summary("List warnings and errors of all processes, newest first")
                .describe(
                    "Without what looks like a secret; of the last 30 days, and the newest 20,000 \
                     at most.",
                )
                .query::<LogQuery>()
                .paged()
                .returns::<Vec<LineBody>>(200)
                .to(error_logs),
        ],
    )
}

/// How the platform is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SystemHealth)]
struct HealthBody {
    /// `healthy`, `degraded` or `unavailable`.
    status: &'static str,
    timestamp: Timestamp,
    /// What part of the platform answers.
    service: &'static str,
    /// How busy this process keeps the machine since the last look; of all processors.
    #[schema(example = "45%")]
    cpu: String,
    /// How much of the machine's memory is taken.
    #[schema(example = "60%")]
    memory: String,
    /// For how long this process has run.
    #[schema(example = "3d 04:05:06")]
    uptime: String,
    uptime_seconds: u64,
    processors: usize,
    /// What this process occupies, in bytes; absent where the system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_bytes: Option<f64>,
    #[schema(inline)]
    components: Vec<ComponentBody>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SystemComponent)]
struct ComponentBody {
    /// `database`, `sequencer`, `journalReaders`, `jobs`, `redis`, `blobs`, `mail`.
    name: &'static str,
    #[schema(inline)]
    state: ComponentState,
    #[schema(value_type = Object)]
    details: Map<String, Value>,
}

impl From<Health> for HealthBody {
    fn from(health: Health) -> Self {
        let of_machine = |busy| rules::percent(busy, health.processors as f64);
        let taken = health.memory.map(|it| rules::percent(it.total - it.available, it.total));
        let unknown = || "unknown".to_owned();
        Self {
            status: health.status,
            timestamp: health.at,
            service: health.service,
            cpu: health.busy.map_or_else(unknown, of_machine),
            memory: taken.unwrap_or_else(unknown),
            uptime: rules::uptime(health.up_for),
            uptime_seconds: health.up_for.as_secs(),
            processors: health.processors,
            resident_bytes: health.memory.map(|memory| memory.resident),
            components: health
                .components
                .into_iter()
                .map(|Component { name, state, details }| ComponentBody { name, state, details })
                .collect(),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
struct MetricsQuery {
    /// What the names begin with, such as `http_`.
    #[serde(default)]
    prefix: String,
}

/// One figure.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Metric)]
struct FigureBody {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl From<Figure> for FigureBody {
    fn from(Figure { name, labels, value }: Figure) -> Self {
        Self { name, labels: labels.into_iter().collect(), value }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
struct LogQuery {
    /// `all`, `gateway`, `users`, `orders` or `worker`: what part of the platform complained.
    service: Option<String>,
    #[param(inline)]
    level: Option<Level>,
    /// From this time on, RFC 3339.
    from: Option<Timestamp>,
    /// Before this time, RFC 3339.
    to: Option<Timestamp>,
}

/// A warning or an error of a process.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LogLine)]
struct LineBody {
    id: LineId,
    timestamp: Timestamp,
    service: String,
    #[schema(inline)]
    level: Level,
    /// The module that said it.
    target: String,
    message: String,
    #[schema(value_type = Object)]
    fields: Value,
}

impl From<Line> for LineBody {
    fn from(line: Line) -> Self {
        Self {
            id: line.id,
            timestamp: line.at,
            service: line.service,
            level: line.level,
            target: line.target,
            message: line.message,
            fields: line.fields,
        }
    }
}

async fn health(State(service): State<Service>) -> Reply<Json<HealthBody>> {
    Ok(Json(service.health().await.into()))
}

async fn metrics(
    State(service): State<Service>,
    Query(query): Query<MetricsQuery>,
) -> Reply<Json<Vec<FigureBody>>> {
    let figures = service.figures(&query.prefix).await;
    Ok(Json(figures.into_iter().map(FigureBody::from).collect()))
}

async fn error_logs(
    State(service): State<Service>,
    Query(query): Query<LogQuery>,
    paging: Paging,
) -> Reply<List<LineBody>> {
    let LogQuery { service: part, level, from, to } = query;
    if let (Some(from), Some(to)) = (from, to)
        && to <= from
    {
        return Err(Error::field("/to", "out_of_range", "later than `from`").into());
    }
    let filter = LogFilter { service: part.filter(|part| !part.is_empty()), level, from, to };
    let page = service.lines(&filter, &paging.page).await?;
    Ok(paging.reply(page.map(LineBody::from)))
}
