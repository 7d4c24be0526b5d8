//! Certificates and keys in PEM files that may change while the platform runs.
//!
//! Whatever shows or believes certificates holds a [`Reloaded`], and takes what it holds now for
//! each new connection. Connections that are open go on with what they were made with.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kernel::{Error, Result};
use parking_lot::{Mutex, RwLock};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at: a certificate that is renewed in time has weeks left.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// When each file was last written, as far as the file system says.
type Stamp = Vec<Option<SystemTime>>;

/// What is made of some files, and made anew when they change.
pub struct Reloaded<T> {
    files: Vec<PathBuf>,
    load: Box<dyn Fn() -> Result<T> + Send + Sync>,
    stamp: Mutex<Stamp>,
    value: RwLock<Arc<T>>,
}

impl<T> Reloaded<T> {
    /// # Errors
    /// Those of `load`, which reads the files.
    pub fn new(
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Result<Arc<Self>> {
        // Before they are read: what is written meanwhile is read again.
        let stamp = Mutex::new(stamp(&files));
        let value = RwLock::new(Arc::new(load()?));
        Ok(Arc::new(Self { files, load: Box::new(load), stamp, value }))
    }

    /// What they were when they were last good.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.value.read())
    }

    /// What they are now: for what is made so rarely that looking at them each time costs nothing.
    pub fn fresh(&self) -> Arc<T> {
        self.look();
        self.get()
    }

    /// Takes up the files if they have changed; answers whether they had. Files that are no good
    /// change nothing: it goes on with what there was.
    ///
    /// # Errors
    /// Those of reading them, once for each change.
    pub fn reload(&self) -> Result<bool> {
        {
            let (mut known, now) = (self.stamp.lock(), stamp(&self.files));
            if *known == now {
                return Ok(false);
            }
            *known = now;
        }
        *self.value.write() = Arc::new((self.load)()?);
        Ok(true)
    }

    /// Follows the files until told to stop.
    pub async fn follow(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => self.look(),
                () = stop.cancelled() => return,
            }
        }
    }

    fn look(&self) {
        let first = self.files.first().map(|path| path.display().to_string());
        let certificate = first.unwrap_or_default();
        match self.reload() {
            Ok(false) => {}
            Ok(true) => tracing::info!(certificate, "the new certificate is in use"),
            Err(error) => {
                tracing::error!(%error, "the new certificate is no good; the old one stays");
            }
        }
    }
}

fn stamp(files: &[PathBuf]) -> Stamp {
    files.iter().map(|path| fs::metadata(path).ok()?.modified().ok()).collect()
}

/// A chain of certificates, the own one first, and its key.
///
/// # Errors
/// `Unavailable` `no_certificate`: a file that cannot be read, is no PEM, or holds another
/// certificate's key.
pub fn certified_key(certificate: &Path, key: &Path) -> Result<CertifiedKey> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|error| {
        let (key, certificate) = (key.display(), certificate.display());
        let message = format!("{key} is not the key of the certificate in {certificate}.");
        no_certificate(message).because(error)
    })
}

/// Authorities: whoever shows a certificate of one of them is believed.
///
/// # Errors
/// `Unavailable` `no_certificate`: a file that cannot be read, is no PEM, or holds what is no
/// certificate of an authority.
pub fn authorities(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| {
            let message = format!("{} holds a certificate that is none.", path.display());
            no_certificate(message).because(error)
        })?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(path, error))?;
    if chain.is_empty() {
        return Err(no_certificate(format!("There is no certificate in {}.", path.display())));
    }
    Ok(chain)
}

fn unreadable(path: &Path, error: pem::Error) -> Error {
    no_certificate(format!("{} is no PEM file that can be read.", path.display())).because(error)
}

fn no_certificate(message: String) -> Error {
    Error::unavailable("no_certificate", message)
}
