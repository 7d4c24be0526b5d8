//! Whose certificates are believed: the authorities of the system, read when they are first needed.
//!
//! Reading them opens some hundred and fifty files and takes about ten milliseconds, and most
//! processes never speak TLS to anybody: a client is made without them.

use std::sync::{Arc, LazyLock, OnceLock};

use kernel::{Error, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

static SYSTEM: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        tracing::warn!("no root certificates on this system: nobody is believed over TLS");
    }
    roots
});

/// The authorities of the system. The first call reads them.
pub fn authorities() -> &'static RootCertStore {
    &SYSTEM
}

/// TLS towards servers that the system's authorities vouch for, or the one given: PEM.
///
/// # Errors
/// Internal, when there is no TLS to be had; `Invalid` `invalid_configuration` where that is no
/// certificate.
pub(crate) fn tls(authority: Option<&[u8]>) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let added = authority.map(certificate).transpose()?;
    let verifier = Lazily { provider: Arc::clone(&provider), added, verifier: OnceLock::new() };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("no usable TLS versions").because(error))?
        // What decides is the library's own verifier all the same: only when it is made is ours.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

fn certificate(pem: &[u8]) -> Result<CertificateDer<'static>> {
    let wrong = || Error::invalid("invalid_configuration", "That is no certificate in PEM.");
    let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| wrong())?;
    RootCertStore::empty().add(certificate.clone()).map_err(|_| wrong())?;
    Ok(certificate)
}

/// The library's verifier, made for the first server that is met.
#[derive(Debug)]
struct Lazily {
    provider: Arc<CryptoProvider>,
    added: Option<CertificateDer<'static>>,
    verifier: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl Lazily {
    fn verifier(&self) -> Result<&WebPkiServerVerifier, rustls::Error> {
        let nobody = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        self.verifier.get_or_init(|| self.make()).as_deref().ok_or(nobody)
    }

    /// Nothing where there is no authority at all.
    fn make(&self) -> Option<Arc<WebPkiServerVerifier>> {
        let mut roots = authorities().clone();
        roots.add_parsable_certificates(self.added.clone());
        let provider = Arc::clone(&self.provider);
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()
    }
}

impl ServerCertVerifier for Lazily {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verifier = self.verifier()?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
