//! Traces, sent to a collector by OTLP over gRPC; off unless configured.

use std::time::Duration;

use kernel::{Error, Result};
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use platform::certificates::authorities;
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
            .with_timeout(EXPORT_MAX);
        let exporter = match believed(traces)? {
            Some(tls) => exporter.with_tls_config(tls),
            None => exporter,
        };
        let exporter = exporter.build().map_err(|error| {
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

/// Whose certificates are believed of a collector that is reached by TLS.
fn believed(traces: &config::Traces) -> Result<Option<ClientTlsConfig>> {
    let is_secure =
        traces.otlp_endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("https://"));
    let Some(path) = &traces.otlp_authority else {
        return Ok(is_secure.then(|| ClientTlsConfig::new().with_native_roots()));
    };
    if !is_secure {
        let message = "With traces.otlp_authority, traces.otlp_endpoint begins with https://.";
        return Err(Error::invalid("invalid_configuration", message));
    }
    Ok(Some(ClientTlsConfig::new().trust_anchors(authorities(path)?.roots)))
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use axum::Router;
    use axum::body::Body;
    use axum::response::Response;
    use bytes::Bytes;
    use gateway::{CertificateFiles, Https, ServerOptions, Tls};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

    /// A collector behind this certificate; answers its port and what it is sent.
    async fn collector(files: &CertificateFiles) -> (u16, mpsc::UnboundedReceiver<Bytes>) {
        let (sent, received) = mpsc::unbounded_channel();
        let take = axum::routing::post(move |body: Bytes| async move {
            sent.send(body).unwrap();
            // An empty message, and that all went well.
            let mut answer = Response::new(Body::from(&[0; 5][..]));
            let headers = answer.headers_mut();
            headers.insert("content-type", "application/grpc".parse().unwrap());
            headers.insert("grpc-status", "0".parse().unwrap());
            answer
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = Tls::new(files.clone()).unwrap();
        let tls = Some(Https { tls, redirect: Router::new() });
        let options = ServerOptions { tls, ..ServerOptions::default() };
        let router = Router::new().route(EXPORT, take);
        tokio::spawn(gateway::serve(listener, router, options, CancellationToken::new()));
        (port, received)
    }

    fn to(endpoint: String, authority: Option<&Path>) -> config::Traces {
        let otlp_authority = authority.map(Path::to_owned);
        config::Traces { otlp_endpoint: Some(endpoint), otlp_authority, ..Default::default() }
    }

    fn certificate(folder: &Path) -> CertificateFiles {
        let world = platform::world::system();
        CertificateFiles::for_development(folder, &[], &world).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn spans_reach_a_collector_that_the_authority_vouches_for_and_no_other() {
        crate::choose_cryptography();
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [own, other] = folders.each_ref().map(|folder| certificate(folder.path()));
        let (port, mut received) = collector(&own).await;
        for (believed, arrives) in [(&other, false), (&own, true)] {
            let endpoint = format!("https://localhost:{port}");
            let traces = to(endpoint, Some(&believed.certificate));
            let traces = Traces::new(&traces).unwrap().unwrap();
            let log = tracing_subscriber::registry().with(traces.layer());
            tracing::subscriber::with_default(log, || {
                tracing::info_span!(target: "gateway", "a request").in_scope(|| {});
            });
            traces.finish().await;
            let span = received.try_recv().ok();
            assert_eq!(span.is_some(), arrives, "{:?}", believed.certificate);
            assert!(span.is_none_or(|span| span.windows(9).any(|part| part == b"a request")));
        }
    }

    #[tokio::test]
    async fn an_authority_that_is_none_stops_the_start() {
        crate::choose_cryptography();
        let folder = tempfile::tempdir().unwrap();
        let authority = certificate(folder.path()).certificate;
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no PEM").unwrap();
        let missing = folder.path().join("none.pem");
        for (endpoint, authority, code) in [
            ("https://localhost:4317", missing, "no_certificate"),
            ("https://localhost:4317", empty, "no_certificate"),
            ("http://localhost:4317", authority, "invalid_configuration"),
        ] {
            let refused = Traces::new(&to(endpoint.to_owned(), Some(&authority))).err().unwrap();
            assert_eq!(refused.code(), code, "{endpoint} {authority:?}");
        }
        assert!(Traces::new(&to("https://localhost:4317".to_owned(), None)).unwrap().is_some());
    }
}
