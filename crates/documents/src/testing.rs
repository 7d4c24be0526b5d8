//! The context as its tests use it: over HTTP, with callers that the edge would have let in.

use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use kernel::id::kinds::{Credential as CredentialKind, User, Verification};
use kernel::{Caller, Id, Role, Timestamp};
use platform::blob::{Blobs, S3Server};
use platform::crypto::MasterKey;
use platform::db::{Db, Migrations, Read};
use platform::http::Failure;
use platform::jobs::{Registry, Worker};
use platform::mail::{MailOptions, Mailer};
use platform::outbound::guarded::Guarded;
use platform::params;
use platform::testing::TestDb;
use serde_json::{Value as Json, json};
use tower::ServiceExt;
use trust::issuance::service::VerdictClaim;
use trust::{Trust, TrustOptions};

use crate::credential::{Date, Judge, Outcome};
use crate::{Documents, Options, Parts};

pub(crate) const TABLES: &[Migrations] =
    &[platform::MIGRATIONS, trust::MIGRATIONS, crate::MIGRATIONS];
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(crate) const URL: &str = "https://verza.example";

pub(crate) struct App {
    pub(crate) documents: Documents,
    pub(crate) trust: Trust,
    pub(crate) db: Db,
    pub(crate) folder: PathBuf,
    mailer: Mailer,
    router: Router,
}

/// What was answered: the error's code stands where the edge would render the error.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) error: Option<kernel::Error>,
}

impl Answer {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        let code = self.error.as_ref().map_or("", |error| error.code());
        (self.status.as_u16(), code)
    }

    /// The places that a refusal names.
    pub(crate) fn pointers(&self) -> Vec<&str> {
        let error = self.error.as_ref().expect("a refusal");
        error.fields().iter().map(|field| field.pointer.as_str()).collect()
    }

    pub(crate) fn ok(self) -> Self {
        assert!(self.status.is_success(), "{self:?}");
        self
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(1000)]);
        write!(f, "{} {:?} {:?} {body}", self.status, self.error, self.headers)
    }
}

impl App {
    pub(crate) async fn new(t: &TestDb) -> Self {
        Self::with(t, Options::at(URL)).await
    }

    pub(crate) async fn with(t: &TestDb, options: Options) -> Self {
        let blobs = Blobs::on_disk(t.directory().join("files"), t.db.world().clone()).unwrap();
        Self::over(t, options, blobs).await
    }

    /// With its files in a bucket, whose server looks at the machine's own time.
    pub(crate) async fn in_bucket(t: &TestDb, server: &S3Server) -> Self {
        let blobs = Blobs::on_s3(server.options(), platform::world::system()).unwrap();
        Self::over(t, Options::at(URL), blobs).await
    }

    pub(crate) async fn over(t: &TestDb, options: Options, blobs: Blobs) -> Self {
        Self::judging(t, options, blobs, None, (&[], "")).await
    }

    /// Which asks issuers by a client, and trusts some of them, and authorities above others (PEM).
    pub(crate) async fn judging(
        t: &TestDb,
        options: Options,
        blobs: Blobs,
        client: Option<Guarded>,
        (trusted, anchors): (&[String], &str),
    ) -> Self {
        let db = t.db.clone();
        let folder = t.directory().join("files");
        let trust = Trust::new(TrustOptions {
            db: db.clone(),
            master_key: MasterKey::new([9; 32]),
            public_url: URL.to_owned(),
            issuer_name: "Verza".to_owned(),
            validity: 365 * DAY,
            witnesses: Vec::new(),
            memory: None,
        })
        .unwrap();
        trust.start().await.unwrap();
        let judge = Judge::new(trust.judging.clone(), client, trusted, anchors).unwrap();
        let mailer = Mailer::new(db.clone(), MasterKey::new([9; 32]), MailOptions::default());
        let documents = Documents::new(Parts {
            db: db.clone(),
            blobs,
            issuance: trust.issuance.clone(),
            judge,
            mailer: mailer.clone(),
            options,
        });
        trust.pickup.ask(std::sync::Arc::new(documents.credentials.clone()));
        let router = documents
            .routes()
            .into_iter()
            .fold(Router::new(), |router, route| router.route(route.path, route.handler));
        Self { documents, trust, db, folder, mailer, router }
    }

    /// Somebody new, signed in.
    pub(crate) fn somebody(&self, role: Role) -> Caller {
        let world = self.db.world();
        Caller::of(kernel::Principal::new(world.id(), role, world.id()))
    }

    pub(crate) fn user(&self) -> Caller {
        self.somebody(Role::User)
    }

    pub(crate) async fn send(&self, caller: &Caller, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(caller.clone());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let error = parts.extensions.get::<Failure>().map(|failure| failure.0.clone());
        let body = body.collect().await.map(|body| body.to_bytes());
        Answer { status: parts.status, headers: parts.headers, body: body.unwrap(), error }
    }

    pub(crate) async fn get(&self, caller: &Caller, path: &str) -> Answer {
        self.get_with(caller, path, &[]).await
    }

    pub(crate) async fn get_with(
        &self,
        caller: &Caller,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(caller, request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn head(&self, caller: &Caller, path: &str) -> Answer {
        self.send(caller, Request::head(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn delete(&self, caller: &Caller, path: &str) -> Answer {
        self.send(caller, Request::delete(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, caller: &Caller, path: &str, body: Json) -> Answer {
        self.write(Method::POST, caller, path, body, &[]).await
    }

    pub(crate) async fn patch(&self, caller: &Caller, path: &str, body: Json) -> Answer {
        self.write(Method::PATCH, caller, path, body, &[]).await
    }

    pub(crate) async fn write(
        &self,
        method: Method,
        caller: &Caller,
        path: &str,
        body: Json,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(caller, request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn upload(&self, caller: &Caller, name: &str, bytes: &[u8]) -> Answer {
        self.upload_body(caller, Body::from(multipart(&[("file", name, bytes)]))).await
    }

    pub(crate) async fn upload_body(&self, caller: &Caller, body: Body) -> Answer {
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let request = Request::post("/v1/files").header(header::CONTENT_TYPE, content_type);
        self.send(caller, request.body(body).unwrap()).await
    }

    /// The id of a new credential of a new file.
    pub(crate) async fn credential(&self, owner: &Caller) -> Id<CredentialKind> {
        let file = self.upload(owner, "diploma.pdf", &pdf(1000)).await.ok().json();
        let body = json!({
            "title": "University Diploma", "type": "Education", "issuer": "University X",
            "fileId": file["id"], "documentNumber": "D-4711",
            "issueDate": "2020-06-30", "expiryDate": "2030-06-30",
        });
        let made = self.post(owner, "/v1/user/credentials", body).await.ok().json();
        id(&made["id"])
    }

    /// Begins a verification and lets it end, as the marketplace does.
    pub(crate) async fn verify(&self, owner: &Caller, id: Id<CredentialKind>) -> Timestamp {
        let owner = owner.user().unwrap();
        let (documents, trust) = (&self.documents, &self.trust);
        self.db
            .run("test.verify", |tx| async move {
                let credential = documents.credentials.begin_verification(&tx, owner, id).await?;
                let claim = VerdictClaim {
                    verification: tx.world().id::<Verification>(),
                    credential: id,
                    holder: owner,
                    title: credential.title,
                    kind: credential.kind,
                    issuer_name: credential.issuer_name,
                    verifier_name: "Global Verify".to_owned(),
                    file_sha256: credential.file_sha256,
                    verified_at: tx.now(),
                    document_ends: credential.expiry_date.map(Date::end),
                };
                let issued = trust.issuance.issue(&tx, tx.world().id(), &claim).await?;
                let valid_until = issued.valid_until;
                let outcome = Outcome::Verified { issued: issued.id, valid_until };
                documents.credentials.settle_verification(&tx, id, outcome).await?;
                Ok(valid_until)
            })
            .await
            .unwrap()
    }

    pub(crate) async fn grant(&self, id: Id<CredentialKind>, to: &Caller) {
        let (credentials, to) = (&self.documents.credentials, to.user().unwrap());
        let run =
            self.db.run("test.grant", |tx| async move { credentials.grant(&tx, id, to).await });
        run.await.unwrap();
    }

    /// Runs the jobs that are due.
    pub(crate) async fn work(&self) {
        let mut registry = Registry::default();
        self.documents.jobs(&mut registry);
        self.mailer.jobs(&mut registry);
        Worker::new(self.db.clone(), registry).drain().await.unwrap();
    }

    /// The verbs of all facts but those of signing, oldest first.
    pub(crate) async fn verbs(&self) -> Vec<String> {
        let sql = "SELECT verb FROM facts
                   WHERE verb NOT IN ('key.created', 'key.certified', 'credential.issued') ORDER BY id";
        self.db.all(sql, &[], |row| row.take()).await.unwrap()
    }

    /// How often a fact of this verb concerns a user.
    pub(crate) async fn facts_about(&self, user: Id<User>, verb: &str) -> usize {
        let sql = "SELECT facts.id FROM facts JOIN fact_parties ON fact_parties.fact = facts.id
                   WHERE fact_parties.party = $1 AND facts.verb = $2";
        self.db.all(sql, params![user, verb], |_| Ok(())).await.unwrap().len()
    }

    /// Every file in the store's folder.
    pub(crate) fn stored(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.folder.clone()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }
}

pub(crate) fn id<K: kernel::id::Kind>(text: &Json) -> Id<K> {
    text.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no id: {text}"))
}

pub(crate) const BOUNDARY: &str = "----WebKitFormBoundary7MA4YWxkTrZu0gW";

/// A form of parts: field, file name, content.
pub(crate) fn multipart(parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, name, bytes) in parts {
        body.extend_from_slice(&part_head(field, name));
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

pub(crate) fn part_head(field: &str, name: &str) -> Vec<u8> {
    format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes()
}

/// Something that begins as a PDF and goes on as noise.
pub(crate) fn pdf(size: usize) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut number = 0x9e37_79b9_u32;
    bytes.extend((bytes.len()..size).map(|_| {
        number ^= number << 13;
        number ^= number >> 17;
        number ^= number << 5;
        number as u8
    }));
    bytes
}
