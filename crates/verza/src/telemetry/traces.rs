//! Traces, sent to a collector by OTLP over gRPC; off unless configured.

use std::time::Duration;

use kernel::{Error, Result};
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use platform::trace::{Bridge, TraceContext};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

use crate::config;

/// How long one delivery to the collector may take.
const EXPORT_MAX: Duration = Duration::from_secs(5);

/// What sends traces; [`Traces::finish`] sends what is still held.
#[derive(Clone)]
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Nothing is connected yet; a collector that is away loses traces and nothing else.
    pub(super) fn new(traces: &config::Traces) -> Result<Option<Self>> {
        let Some(endpoint) = &traces.otlp_endpoint else { return Ok(None) };
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint.clone())
            .with_timeout(EXPORT_MAX)
            .build()
            .map_err(|error| {
                let message = "traces.otlp_endpoint must read like http://localhost:4317.";
                Error::invalid("invalid_configuration", message).because(error)
            })?;
        let resource = Resource::builder()
            .with_service_name(traces.service_name.clone())
            .with_attribute(KeyValue::new("service.version", crate::VERSION))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            // By the trace's id alone: all processes agree, and no client can make us keep more.
            .with_sampler(Sampler::TraceIdRatioBased(f64::from(traces.sampled_percent) / 100.0))
            .with_resource(resource)
            .build();
        Ok(Some(Self(provider)))
    }

    /// What hands spans over: those of requests and jobs, and the transactions within.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let ours = Targets::new()
            .with_target("verza::store", LevelFilter::TRACE)
            .with_target("gateway", LevelFilter::INFO)
            .with_target("platform", LevelFilter::INFO)
            .with_target("rpc", LevelFilter::INFO);
        platform::trace::export_through(OpenTelemetry);
        let tracer = self.0.tracer("verza");
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours)
    }

    /// Sends what is still held. Waits for it, in a thread that may wait.
    pub(crate) async fn finish(self) {
        let finished = tokio::task::spawn_blocking(move || self.0.shutdown()).await;
        if let Ok(Err(error)) = finished {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

struct OpenTelemetry;

impl Bridge for OpenTelemetry {
    fn begin(&self, span: &Span, parent: Option<&TraceContext>) -> Option<TraceContext> {
        if let Some(parent) = parent {
            let flags = if parent.is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
            let parent = SpanContext::new(
                TraceId::from_bytes(parent.trace),
                SpanId::from_bytes(parent.span),
                flags,
                true,
                TraceState::NONE,
            );
            // A span that is not exported has no place to be put.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
        let context = span.context();
        let begun = context.span().span_context().clone();
        begun.is_valid().then(|| TraceContext {
            trace: begun.trace_id().to_bytes(),
            span: begun.span_id().to_bytes(),
            is_sampled: begun.is_sampled(),
        })
    }
}

/// The layer, where there is one.
pub(super) fn boxed<S>(traces: Option<&Traces>) -> Option<Box<dyn Layer<S> + Send + Sync>>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    traces.map(|traces| traces.layer().boxed())
}
