//! TLS between processes: what a process shows of itself and whom it believes, from files that may
//! change under way. Each connection is made with what the files hold by then.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use kernel::{Error, Result};
use platform::certificates::{Reloaded, authorities, certified_key};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::codegen::BoxFuture;
use tonic::transport::Endpoint;
use tower::ServiceExt;

/// HTTP/2, in ALPN (RFC 9113, 3.2).
const H2: &[u8] = b"h2";
/// How long a client may take over a handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Connections that wait to be taken up after their handshake.
const SECURED_MAX: usize = 64;

/// Certificates of one process, as PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain and key that this process shows.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Whose certificates are believed. A listener with these asks everybody for one.
    pub authority: Option<PathBuf>,
}

impl TlsFiles {
    fn paths(&self) -> Vec<PathBuf> {
        let own = [&self.certificate, &self.key];
        own.into_iter().chain(&self.authority).cloned().collect()
    }

    fn own(&self) -> Result<Arc<SingleCertAndKey>> {
        Ok(Arc::new(SingleCertAndKey::from(certified_key(&self.certificate, &self.key)?)))
    }

    /// # Errors
    /// `Unavailable` `no_certificate`.
    pub(crate) fn server(self) -> Result<Arc<Reloaded<ServerConfig>>> {
        Reloaded::new(self.paths(), move || self.server_now())
    }

    fn server_now(&self) -> Result<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(no_versions)?;
        let config = match &self.authority {
            None => config.with_no_client_auth(),
            Some(path) => {
                let believed = Arc::new(authorities(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(believed, provider)
                    .build()
                    .map_err(|error| Error::internal("nobody is believed").because(error))?;
                config.with_client_cert_verifier(verifier)
            }
        };
        let mut config = config.with_cert_resolver(self.own()?);
        config.alpn_protocols = vec![H2.to_vec()];
        Ok(config)
    }

    /// # Errors
    /// `Unavailable` `no_certificate`; `Invalid` `invalid_configuration` without an authority.
    fn client(self) -> Result<Arc<Reloaded<ClientConfig>>> {
        Reloaded::new(self.paths(), move || self.client_now())
    }

    fn client_now(&self) -> Result<ClientConfig> {
        let believed = authorities(self.authority.as_ref().ok_or_else(incomplete)?)?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(no_versions)?
            .with_root_certificates(believed)
            .with_client_cert_resolver(self.own()?);
        config.alpn_protocols = vec![H2.to_vec()];
        Ok(config)
    }
}

fn incomplete() -> Error {
    let message = "An address with https:// needs grpc.tls_certificate, grpc.tls_key and \
                   grpc.tls_authority.";
    Error::invalid("invalid_configuration", message)
}

fn no_versions(error: rustls::Error) -> Error {
    Error::internal("TLS has no versions").because(error)
}

/// Connections from a listener whose handshakes are done, and well done. Nobody waits for the
/// handshake of somebody else.
pub(crate) fn secured(
    listener: TcpListener,
    tls: Arc<Reloaded<ServerConfig>>,
) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let (done, secured) = mpsc::channel(SECURED_MAX);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = done.closed() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(shake_hands(stream, tls.fresh(), done.clone()));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: waiting lets connections end.
                    tracing::error!(%error, "a gRPC connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
    futures_util::stream::unfold(secured, |mut secured| async move {
        let stream = secured.recv().await?;
        Some((Ok(stream), secured))
    })
}

async fn shake_hands(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    done: mpsc::Sender<TlsStream<TcpStream>>,
) {
    // Small answers are not held back to be sent together.
    let _ = stream.set_nodelay(true);
    let handshake = TlsAcceptor::from(config).accept(stream);
    match tokio::time::timeout(HANDSHAKE_MAX, handshake).await {
        Ok(Ok(stream)) => {
            let _ = done.send(stream).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a gRPC client's TLS handshake failed"),
        Err(_) => tracing::debug!("a gRPC client's TLS handshake took too long"),
    }
}

/// Makes connections by TLS.
#[derive(Clone)]
pub(crate) struct Secured {
    tcp: HttpConnector,
    tls: Arc<Reloaded<ClientConfig>>,
    uri: Uri,
    host: ServerName<'static>,
}

impl Secured {
    /// To an `https` address.
    ///
    /// # Errors
    /// `Invalid` `invalid_configuration`: no files, or an address without a host;
    /// `Unavailable` `no_certificate`.
    pub(crate) fn new(uri: &Uri, files: Option<TlsFiles>) -> Result<Self> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = ServerName::try_from(host.to_owned()).map_err(|error| {
            let message = format!("{uri} names no host.");
            Error::invalid("invalid_configuration", message).because(error)
        })?;
        let tls = files.ok_or_else(incomplete)?.client()?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Ok(Self { tcp, tls, uri: uri.clone(), host })
    }

    /// The endpoint to be connected through this. It is told that there is no TLS: it would bring
    /// its own, with certificates that never change.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        let mut parts = self.uri.clone().into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        let bare = Uri::from_parts(parts)
            .map_err(|error| Error::internal("an address without its scheme").because(error))?;
        Ok(Endpoint::from(bare).origin(self.uri.clone()))
    }

    /// A connection to the one address, whatever is asked for.
    pub(crate) fn connect(
        &self,
    ) -> BoxFuture<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>, tonic::codegen::StdError>
    {
        let Self { tcp, tls, uri, host } = self.clone();
        Box::pin(async move {
            let stream = tcp.oneshot(uri).await?.into_inner();
            let stream = TlsConnector::from(tls.fresh()).connect(host, stream).await?;
            if stream.get_ref().1.alpn_protocol() != Some(H2) {
                return Err("the other side speaks no HTTP/2".into());
            }
            Ok(TokioIo::new(stream))
        })
    }
}
