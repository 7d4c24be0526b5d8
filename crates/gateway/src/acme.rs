//! A certificate from an authority that speaks ACME (RFC 8555), asked for and renewed by itself.
//!
//! The authority makes sure that we are who we say by fetching a word over plain HTTP (the
//! challenge `http-01`, section 8.3), so that port 80 of the name has to lead to the listener that
//! sends plain HTTP on. Account, key and certificate stand in one folder. Until the first
//! certificate is there a self-signed one is shown.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path as UrlPath;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http_body_util::BodyExt;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, Authorizations, BodyWrapper, BytesResponse,
    ChallengeType, HttpClient, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use kernel::{Error, Result, Timestamp, World};
use parking_lot::Mutex;
use platform::outbound;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_util::sync::CancellationToken;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::tls::{self, CertificateFiles};

/// Of one request to the authority.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the authority may take to look at us, and to sign.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a certificate that is still good is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// The wait after a failure, and what it doubles up to: authorities count failures an hour.
const WAIT: Duration = Duration::from_secs(60);
const WAIT_MAX: Duration = Duration::from_secs(6 * 3600);

/// Whom to ask, for what.
#[derive(Debug, Clone)]
pub struct AcmeOptions {
    /// The authority's directory (RFC 8555 section 7.1.1).
    pub directory: String,
    /// Whom it writes to before a certificate ends.
    pub contact: Option<String>,
    /// The names that the certificate is for.
    pub hosts: Vec<String>,
    /// Whose certificate the authority's own server shows, where the system does not know it: PEM.
    pub authority: Option<PathBuf>,
    /// Where account, key and certificate are kept.
    pub folder: PathBuf,
}

/// One certificate and its authority.
pub struct Acme {
    options: AcmeOptions,
    files: CertificateFiles,
    client: Http,
    words: Words,
    world: World,
}

/// What the authority is to find, by the token that it asks with.
type Words = Arc<Mutex<HashMap<String, String>>>;

impl Acme {
    /// Nobody is asked yet; a certificate to begin with is there.
    ///
    /// # Errors
    /// `Unavailable` `unwritable`; `Invalid` `invalid_configuration` where the authority's
    /// certificate cannot be read.
    pub fn new(options: AcmeOptions, world: World) -> Result<Arc<Self>> {
        fs::create_dir_all(&options.folder)
            .map_err(|error| tls::unwritable(&options.folder, error))?;
        let files = CertificateFiles {
            certificate: options.folder.join("certificate.pem"),
            key: options.folder.join("certificate.key"),
        };
        if !files.are_whole() {
            files.make(&options.hosts, &world)?;
        }
        let authority = options.authority.as_deref().map(read_authority).transpose()?;
        let client = Http(outbound::client_believing(TIMEOUT, authority.as_deref())?);
        Ok(Arc::new(Self { options, files, client, words: Words::default(), world }))
    }

    /// What HTTPS shows; it changes under way.
    pub fn files(&self) -> CertificateFiles {
        self.files.clone()
    }

    /// Answers the authority, and leaves everything else to `otherwise`.
    pub fn router(&self, otherwise: Router) -> Router {
        let words = Arc::clone(&self.words);
        let answer = async move |UrlPath(token): UrlPath<String>| -> Response {
            let word = words.lock().get(&token).cloned();
            word.map_or_else(|| StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response)
        };
        otherwise.route("/.well-known/acme-challenge/{token}", get(answer))
    }

    /// Renews in time, until told to stop.
    pub async fn tend(&self, stop: CancellationToken) {
        let mut wait = WAIT;
        while !stop.is_cancelled() {
            let pause = if self.is_due() {
                match self.order().await {
                    Ok(()) => {
                        tracing::info!(hosts = ?self.options.hosts, "a new certificate is here");
                        wait = WAIT;
                        LOOK_EVERY
                    }
                    Err(error) => {
                        let seconds = wait.as_secs();
                        tracing::error!(%error, seconds, "no certificate; asked again later");
                        let pause = wait;
                        wait = (wait * 2).min(WAIT_MAX);
                        pause
                    }
                }
            } else {
                LOOK_EVERY
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Whether a certificate is to be asked for: there is none but our own, or two thirds of its
    /// time are over.
    pub fn is_due(&self) -> bool {
        let Some(certificate) = read_certificate(&self.files.certificate) else { return true };
        let tbs = certificate.tbs_certificate();
        let at = |time: x509_cert::time::Time| {
            Timestamp::from_micros(
                i64::try_from(time.to_unix_duration().as_micros()).unwrap_or(i64::MAX),
            )
        };
        let (from, to) = (at(tbs.validity().not_before), at(tbs.validity().not_after));
        let is_own = tbs.issuer() == tbs.subject();
        is_own || self.world.now() >= from + to.since(from) * 2 / 3
    }

    /// Asks for a certificate, and puts it where HTTPS finds it.
    ///
    /// # Errors
    /// `Unavailable` `no_certificate`, with what the authority has said as the cause.
    pub async fn order(&self) -> Result<()> {
        let ordered = self.ordered().await;
        self.words.lock().clear();
        let (chain, key) = ordered.map_err(|error| {
            let message = "The authority has issued no certificate.";
            Error::unavailable("no_certificate", message).because(error)
        })?;
        // The new pair counts once both stand there: neither fits the other's old one.
        tls::replace(&self.files.key, &key)?;
        tls::replace(&self.files.certificate, &chain)
    }

    /// The chain and its key, both PEM.
    async fn ordered(&self) -> Result<(String, String), instant_acme::Error> {
        let account = self.account().await?;
        let names: Vec<_> = self.options.hosts.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&names)).await?;
        self.prove(order.authorizations()).await?;
        let policy = RetryPolicy::new().timeout(PATIENCE);
        match order.poll_ready(&policy).await? {
            OrderStatus::Ready => {}
            _ => return Err(refused(&mut order).await),
        }
        let key = order.finalize().await?;
        Ok((order.poll_certificate(&policy).await?, key))
    }

    /// Lays out the words that the authority will look for.
    async fn prove(
        &self,
        mut authorizations: Authorizations<'_>,
    ) -> Result<(), instant_acme::Error> {
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let challenge = authorization.challenge(ChallengeType::Http01);
            let mut challenge = challenge.ok_or(instant_acme::Error::Unsupported("http-01"))?;
            let word = challenge.key_authorization().as_str().to_owned();
            self.words.lock().insert(challenge.token.clone(), word);
            challenge.set_ready().await?;
        }
        Ok(())
    }

    /// Our account there, made at the first time.
    async fn account(&self) -> Result<Account, instant_acme::Error> {
        let other =
            |error: Box<dyn std::error::Error + Send + Sync>| instant_acme::Error::Other(error);
        let AcmeOptions { directory, contact, folder, .. } = &self.options;
        let file = folder.join("account.json");
        let builder = Account::builder_with_http(Box::new(self.client.clone()));
        // An account is of one authority; with another one we begin anew.
        let kept = fs::read_to_string(&file).ok().and_then(|text| Kept::read(&text, directory));
        if let Some(credentials) = kept {
            return builder.from_credentials(credentials).await;
        }
        let contact = contact.as_ref().map(|address| format!("mailto:{address}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) = builder.create(&new, directory.clone(), None).await?;
        let text = serde_json::to_string(&serde_json::json!({
            "directory": directory, "credentials": credentials,
        }))?;
        tls::replace(&file, &text).map_err(|error| other(Box::new(error)))?;
        Ok(account)
    }
}

/// What the authority has found wrong, in its own words.
async fn refused(order: &mut instant_acme::Order) -> instant_acme::Error {
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let errors = authorization.challenges.iter().filter_map(|one| one.error.as_ref());
        if let Some(problem) = errors.into_iter().next() {
            return instant_acme::Error::Other(format!("{problem}").into());
        }
    }
    instant_acme::Error::Str("the order is not ready, and nobody says why")
}

/// The account's file.
#[derive(serde::Deserialize)]
struct Kept {
    directory: String,
    credentials: AccountCredentials,
}

impl Kept {
    fn read(text: &str, directory: &str) -> Option<AccountCredentials> {
        let kept: Self = serde_json::from_str(text).ok()?;
        (kept.directory == directory).then_some(kept.credentials)
    }
}

fn read_authority(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        let message = format!("acme.authority: {} cannot be read.", path.display());
        Error::invalid("invalid_configuration", message).because(error)
    })
}

/// The first certificate of a file.
fn read_certificate(path: &Path) -> Option<Certificate> {
    let der = CertificateDer::from_pem_file(path).ok()?;
    Certificate::from_der(&der).ok()
}

/// How the authority is spoken to.
#[derive(Clone)]
struct Http(outbound::Client);

impl HttpClient for Http {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let failed = |error: outbound::Failure| instant_acme::Error::Other(Box::new(error));
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| instant_acme::Error::Str("no body"))?;
            let sending = client
                .request(parts.method, parts.uri.to_string())
                .headers(parts.headers)
                .body(body.to_bytes())
                .send();
            let answer = sending.await.map_err(|error| failed(error.into()))?;
            let mut response = http::Response::new(());
            (*response.status_mut(), *response.headers_mut()) =
                (answer.status(), answer.headers().clone());
            let body = answer.bytes().await.map_err(|error| failed(error.into()))?;
            let (parts, ()) = response.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}
