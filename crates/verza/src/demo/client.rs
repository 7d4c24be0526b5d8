//! The demo's own client: it knows of the platform what any client knows, its HTTP API.

use std::path::Path;
use std::time::Duration;

use kernel::{Error, Result};
use reqwest::{Method, StatusCode};
use serde_json::Value as Json;

/// A client of one platform.
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// Who sends a request.
#[derive(Clone, Debug)]
pub struct Session {
    token: String,
}

impl Session {
    pub fn new(token: impl Into<String>) -> Self {
        Self { token: token.into() }
    }
}

/// An answer as it came.
pub struct Answer {
    pub status: StatusCode,
    pub bytes: Vec<u8>,
}

impl Client {
    pub fn new(base: impl Into<String>) -> Result<Self> {
        Self::build(base.into(), reqwest::Client::builder())
    }

    /// One that believes this certificate alone: that of a platform on this machine, which no
    /// authority has signed.
    pub fn believing(base: impl Into<String>, certificate: &Path) -> Result<Self> {
        let unreadable = |error: String| {
            let message = format!("Cannot read the certificate {}.", certificate.display());
            Error::unavailable("no_certificate", message).because(std::io::Error::other(error))
        };
        let pem = std::fs::read(certificate).map_err(|error| unreadable(error.to_string()))?;
        let own =
            reqwest::Certificate::from_pem(&pem).map_err(|error| unreadable(error.to_string()))?;
        Self::build(base.into(), reqwest::Client::builder().tls_certs_only([own]))
    }

    fn build(base: String, http: reqwest::ClientBuilder) -> Result<Self> {
        let http = http
            .timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::internal("no HTTP client").because(error))?;
        Ok(Self { http, base })
    }

    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) }
    }

    /// Sends a request; an answer other than 2xx is an error that says what was answered.
    pub async fn send(&self, request: reqwest::RequestBuilder, what: &str) -> Result<Answer> {
        let failed = |error: reqwest::Error| {
            Error::unavailable("no_answer", format!("{what} got no answer")).because(error)
        };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(failed)?.to_vec();
        if status.is_success() {
            return Ok(Answer { status, bytes });
        }
        let text = String::from_utf8_lossy(&bytes);
        Err(Error::internal(format!("{what} answered {status}: {text}")))
    }

    pub fn request(
        &self,
        method: Method,
        path: &str,
        session: Option<&Session>,
    ) -> reqwest::RequestBuilder {
        let request = self.http.request(method, self.url(path));
        match session {
            Some(session) => request.bearer_auth(&session.token),
            None => request,
        }
    }

    pub async fn get(&self, path: &str, session: Option<&Session>) -> Result<Json> {
        let answer = self.get_bytes(path, session).await?;
        parse(path, &answer)
    }

    pub async fn get_bytes(&self, path: &str, session: Option<&Session>) -> Result<Vec<u8>> {
        let request = self.request(Method::GET, path, session);
        Ok(self.send(request, &format!("GET {path}")).await?.bytes)
    }

    pub async fn post(&self, path: &str, session: Option<&Session>, body: Json) -> Result<Json> {
        self.write(Method::POST, path, session, body).await
    }

    pub async fn put(&self, path: &str, session: Option<&Session>, body: Json) -> Result<Json> {
        self.write(Method::PUT, path, session, body).await
    }

    /// Every write carries a key of its own: should the answer get lost, it could be repeated.
    async fn write(
        &self,
        method: Method,
        path: &str,
        session: Option<&Session>,
        body: Json,
    ) -> Result<Json> {
        let key: [u8; 16] = platform::world::system().random();
        let what = format!("{method} {path}");
        let request = self
            .request(method, path, session)
            .header("idempotency-key", hex::encode(key))
            .json(&body);
        let answer = self.send(request, &what).await?;
        parse(&what, &answer.bytes)
    }

    /// Uploads a file as a browser's form does.
    pub async fn upload(&self, session: &Session, name: &str, content: &[u8]) -> Result<Json> {
        let part = reqwest::multipart::Part::bytes(content.to_vec())
            .file_name(name.to_owned())
            .mime_str("application/pdf")
            .map_err(|error| Error::internal("a media type is wrong").because(error))?;
        let form = reqwest::multipart::Form::new().part("file", part);
        let request = self.request(Method::POST, "/v1/files", Some(session)).multipart(form);
        let answer = self.send(request, "POST /v1/files").await?;
        parse("POST /v1/files", &answer.bytes)
    }
}

fn parse(what: &str, bytes: &[u8]) -> Result<Json> {
    if bytes.is_empty() {
        return Ok(Json::Null);
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Error::internal(format!("{what} answered no JSON")).because(error))
}
