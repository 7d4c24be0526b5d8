//! Log lines, traces and metrics.

mod complaints;
mod scrub;
mod traces;

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use kernel::{Error, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use platform::db::Db;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};
pub(crate) use complaints::inbox;
use scrub::Scrubbed;
pub(crate) use scrub::scrub;
pub(crate) use traces::Traces;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Which lines are written: a level, or directives with commas between them.
///
/// # Errors
/// `invalid_configuration`: a word alone that is no level. It would be taken for the name of a
/// module, and everything else would be written nowhere.
pub(crate) fn filter(level: &str) -> Result<EnvFilter> {
    let wrong = |what: String| {
        let message = format!(
            "log.level is set to {level:?}: {what}. It is off, error, warn, info, debug or trace, \
             or directives such as info,platform=debug."
        );
        Error::invalid("invalid_configuration", message)
    };
    for directive in level.split(',').map(str::trim) {
        let is_level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(directive));
        if !is_level && !directive.contains(['=', '[']) {
            return Err(wrong(format!("{directive:?} is no level")));
        }
    }
    EnvFilter::try_new(level).map_err(|error| wrong(error.to_string()))
}

/// Starts logging to standard error, and sending traces where that is configured. Called once in a
/// process, on the runtime.
pub(crate) fn start(config: &Config) -> Result<Option<Traces>> {
    let log = &config.log;
    let filter = filter(&log.level)?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(Scrubbed)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match log.format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let traces = Traces::new(&config.traces)?;
    let started = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(complaints::Complaints(platform::world::system()).with_filter(LevelFilter::WARN))
        .with(traces::boxed(traces.as_ref()))
        .try_init();
    started.map_err(|error| Error::internal(format!("the log was started twice: {error}")))?;
    Ok(traces)
}

/// What was counted, ready to be rendered for Prometheus. Counting starts with the first call;
/// there is one count a process.
pub(crate) fn metrics() -> Result<PrometheusHandle> {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(metrics) = METRICS.get() {
        return Ok(metrics.clone());
    }
    let started = start_metrics()?;
    Ok(METRICS.get_or_init(|| started).clone())
}

fn start_metrics() -> Result<PrometheusHandle> {
    let seconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
    let members = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
    let failed = |error| Error::internal("the metrics cannot be set up").because(error);
    let builder = PrometheusBuilder::new()
        .set_buckets(&seconds)
        .and_then(|builder| {
            let name = metrics_exporter_prometheus::Matcher::Suffix("_members".into());
            builder.set_buckets_for_metric(name, &members)
        })
        .map_err(failed)?;
    let handle = builder.install_recorder().map_err(failed)?;
    // Samples are folded into their buckets now and then: kept raw, they would only grow.
    let upkeep = handle.clone();
    std::thread::Builder::new()
        .name("metrics-upkeep".into())
        .spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(5));
                upkeep.run_upkeep();
            }
        })
        .map_err(|error| Error::unavailable("threads", "No thread for metrics.").because(error))?;
    Ok(handle)
}

/// Sets the gauges of what nobody counts as it changes.
pub(crate) async fn measure(db: &Db) {
    let set = |name: &'static str, value: f64| metrics::gauge!(name).set(value);
    if let Ok((waiting, dead)) = platform::jobs::depth(db).await {
        set("jobs_waiting", waiting as f64);
        set("jobs_dead", dead as f64);
    }
    if let Ok(since) = trust::log::unsequenced_since(db).await {
        let age = since.map_or(0.0, |since| db.world().now().since(since).as_secs_f64());
        set("log_unsequenced_age_seconds", age);
    }
    if let Some(connections) = db.connections() {
        set("db_connections_max", connections.max as f64);
        set("db_connections_open", connections.open as f64);
        set("db_connections_idle", connections.idle as f64);
        set("db_connections_waiting", connections.waiting as f64);
    }
    if let Some(bytes) = resident_bytes() {
        set("process_resident_memory_bytes", bytes);
    }
}

/// How sending mail goes: letters that were given up are letters that nobody got.
pub(crate) async fn mail_state(db: &Db, in_sink: bool) -> backoffice::system::Component {
    use backoffice::system::{Component, State};
    let queues = platform::jobs::queues(db, db.world().now()).await.unwrap_or_default();
    let own = queues.into_iter().find(|queue| queue.kind == "mail.send");
    let (waiting, dead) = own.map_or((0, 0), |queue| (queue.ready + queue.running, queue.dead));
    let state = if dead > 0 { State::Degraded } else { State::Up };
    Component::new("mail", state)
        .with("transport", if in_sink { "sink" } else { "smtp" })
        .with("waiting", waiting)
        .with("dead", dead)
}

/// The memory that this process occupies, where the system says so.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(kib * 1024.0)
}
