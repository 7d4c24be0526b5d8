//! Log lines and metrics.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use kernel::{Error, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging to standard error. Called once in a process.
pub(crate) fn start_log(log: &Log) -> Result<()> {
    let filter = EnvFilter::try_new(&log.level).map_err(|error| {
        let message = format!("log.level is set to {:?}: {error}.", log.level);
        Error::invalid("invalid_configuration", message)
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match log.format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Error::internal(format!("the log was started twice: {error}")))
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
