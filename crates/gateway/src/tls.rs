//! HTTPS in the process: certificates from files that may change under way, or one made for this
//! machine to try things out with.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::response::{IntoResponse, Redirect};
use http::Uri;
use kernel::{Error, Result, World};
use platform::certificates::{Reloaded, certified_key};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A certificate made here is valid for this long, which is what browsers accept at most.
const DEV_LIFETIME: Duration = Duration::from_secs(397 * 24 * 3600);
/// And is made anew at a start after this long.
const DEV_RENEWED_AFTER: Duration = Duration::from_secs(330 * 24 * 3600);

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The server's certificate first, then those that lead to a root.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// The server's side of TLS: 1.3 and 1.2, HTTP/2 and HTTP/1.1 by ALPN (RFC 7301).
pub struct Tls {
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

/// The certificate that is shown to clients now.
struct Shown(Arc<Reloaded<CertifiedKey>>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shown").field(&self.0.get()).finish()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.get())
    }
}

impl Tls {
    /// # Errors
    /// `Unavailable` `no_certificate`: a file that cannot be read, is no PEM, or holds another
    /// certificate's key.
    pub fn new(files: CertificateFiles) -> Result<Arc<Self>> {
        let paths = vec![files.certificate.clone(), files.key.clone()];
        let shown = Arc::new(Shown(Reloaded::new(paths, move || files.load())?));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::internal("TLS has no versions").because(error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(Self { shown, config: Arc::new(config) }))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Takes up the files if they have changed; answers whether they had. Files that are no good
    /// change nothing: connections go on with what they had.
    pub fn reload(&self) -> Result<bool> {
        self.shown.0.reload()
    }

    /// Follows the files until told to stop.
    pub async fn follow(&self, stop: CancellationToken) {
        self.shown.0.follow(stop).await;
    }
}

impl CertificateFiles {
    fn load(&self) -> Result<CertifiedKey> {
        certified_key(&self.certificate, &self.key)
    }

    /// A certificate of this machine, signed by itself, for `localhost` and `hosts`: browsers will
    /// ask whether to trust it. Kept in `folder`, and made anew when it grows old.
    pub fn for_development(folder: &Path, hosts: &[String], world: &World) -> Result<Self> {
        let files =
            Self { certificate: folder.join("localhost.pem"), key: folder.join("localhost.key") };
        if files.are_fresh(world) {
            return Ok(files);
        }
        fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
        files.make(hosts, world)?;
        Ok(files)
    }

    /// Writes a certificate that is signed by itself.
    pub(crate) fn make(&self, hosts: &[String], world: &World) -> Result<()> {
        let failed = |error: rcgen::Error| Error::internal("no certificate").because(error);
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        names
            .extend(hosts.iter().filter(|host| !names.contains(host)).cloned().collect::<Vec<_>>());
        let mut params = CertificateParams::new(names).map_err(failed)?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "Verza, for development on this machine");
        params.distinguished_name = name;
        let at = |time: kernel::Timestamp| {
            time::OffsetDateTime::from_unix_timestamp(time.seconds())
                .map_err(|error| Error::internal("no such time").because(error))
        };
        params.not_before = at(world.now() - DAY)?;
        params.not_after = at(world.now() + DEV_LIFETIME)?;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        replace(&self.key, &key.serialize_pem())?;
        replace(&self.certificate, &certificate.pem())
    }

    /// Whether there is a certificate, and its key.
    pub(crate) fn are_whole(&self) -> bool {
        self.load().is_ok()
    }

    fn are_fresh(&self, world: &World) -> bool {
        let written = fs::metadata(&self.certificate).and_then(|file| file.modified());
        let Ok(written) = written else { return false };
        let since = written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let written = kernel::Timestamp::default() + since;
        world.now().since(written) < DEV_RENEWED_AFTER && self.load().is_ok()
    }
}

/// Puts a file in the place of another, whole or not at all, for the owner's eyes only.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let new = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&new);
    file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, path))
        .map_err(|error| unwritable(path, error))
}

pub(crate) fn unwritable(path: &Path, error: std::io::Error) -> Error {
    let message = format!("{} cannot be written.", path.display());
    Error::unavailable("unwritable", message).because(error)
}

/// What answers by HTTP where the platform is reached by HTTPS: the same place there. Built from
/// the configured address and never from what the client says the host is.
pub fn redirect_router(public_url: &str) -> Router {
    let public_url = public_url.trim_end_matches('/').to_owned();
    Router::new().fallback(move |uri: Uri| {
        let rest = uri.path_and_query().map_or("/", |rest| rest.as_str());
        let place = format!("{public_url}{rest}");
        async move { Redirect::permanent(&place).into_response() }
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::server::{Https, ServerOptions, serve};

    fn world() -> World {
        platform::world::system()
    }

    /// Serves the word "here" by HTTPS.
    async fn house(files: &CertificateFiles) -> (SocketAddr, Arc<Tls>, CancellationToken) {
        let tls = Tls::new(files.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let redirect = redirect_router("https://verza.example/");
        let https = Https { tls: tls.clone(), redirect };
        let options = ServerOptions { tls: Some(https), ..ServerOptions::default() };
        let router = Router::new().route("/", get(async || "here"));
        tokio::spawn(serve(listener, router, options, stop.clone()));
        (address, tls, stop)
    }

    /// What is answered to somebody who trusts this certificate and speaks this protocol.
    async fn ask(
        address: SocketAddr,
        trusted: &Path,
        protocol: &str,
    ) -> Result<(String, Vec<u8>), std::io::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let chosen = stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec();
        let mut answer = String::new();
        if protocol == "http/1.1" {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
            stream.read_to_string(&mut answer).await?;
        }
        Ok((answer, chosen))
    }

    #[tokio::test]
    async fn both_protocols_are_spoken_over_tls() {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles::for_development(folder.path(), &[], &world()).unwrap();
        let (address, ..) = house(&files).await;
        let (answer, chosen) = ask(address, &files.certificate, "http/1.1").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        assert_eq!(chosen, b"http/1.1");
        let (_, chosen) = ask(address, &files.certificate, "h2").await.unwrap();
        assert_eq!(chosen, b"h2");
    }

    #[tokio::test]
    async fn who_speaks_plain_http_is_sent_to_the_configured_address_whatever_the_host_says() {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles::for_development(folder.path(), &[], &world()).unwrap();
        let (address, ..) = house(&files).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /a?b=c HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
        assert!(answer.contains("location: https://verza.example/a?b=c\r\n"), "{answer}");
        assert!(!answer.contains("evil"), "{answer}");
    }

    #[tokio::test]
    async fn a_changed_certificate_is_taken_up_and_a_broken_one_is_not() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = CertificateFiles::for_development(folder.path(), &[], &world()).unwrap();
        let newer = CertificateFiles::for_development(other.path(), &[], &world()).unwrap();
        let (address, tls, _stop) = house(&files).await;
        assert!(!tls.reload().unwrap(), "nothing has changed");
        let first = folder.path().join("first.pem");
        fs::copy(&files.certificate, &first).unwrap();

        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        let put = |from: &[u8], to: &Path, seconds| {
            fs::write(to, from).unwrap();
            let file = fs::File::options().write(true).open(to).unwrap();
            file.set_modified(later + Duration::from_secs(seconds)).unwrap();
        };
        put(&fs::read(&newer.certificate).unwrap(), &files.certificate, 0);
        let error = tls.reload().unwrap_err();
        assert!(error.to_string().contains("is not the key of"), "{error}");
        ask(address, &first, "http/1.1").await.expect("the old one is still shown");

        put(&fs::read(&newer.key).unwrap(), &files.key, 1);
        assert!(tls.reload().unwrap());
        ask(address, &newer.certificate, "http/1.1").await.expect("the new one is shown");
        ask(address, &first, "http/1.1").await.expect_err("the old one is gone");

        put(b"no PEM at all", &files.certificate, 2);
        assert!(tls.reload().is_err());
        ask(address, &newer.certificate, "http/1.1").await.expect("it goes on");
    }

    #[test]
    fn the_certificate_for_development_is_kept_private_and_used_again() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let hosts = ["verza.test".to_owned()];
        let make = || CertificateFiles::for_development(folder.path(), &hosts, &world()).unwrap();
        let files = make();
        let first = fs::read(&files.certificate).unwrap();
        assert_eq!(make(), files);
        assert_eq!(fs::read(&files.certificate).unwrap(), first);
        assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_missing_file_is_named() {
        let files = CertificateFiles { certificate: "/no/such.pem".into(), key: "/no.key".into() };
        let Err(error) = Tls::new(files) else { panic!("there is no such file") };
        assert_eq!(error.code(), "no_certificate");
        assert!(error.to_string().contains("/no/such.pem"), "{error}");
    }
}
