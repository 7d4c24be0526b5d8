//! Issuers who are asked over HTTPS for their `did:web` document or metadata, and everything that
//! can come of it; and those whom an authority vouches for.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use platform::blob::Blobs;
use platform::outbound::guarded::{self, Guarded, Names};
use platform::testing::TestDb;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value as Json, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use verify::credential::proof::{self, Statement};
use verify::jose::es256::SecretKey;
use verify::jose::sdjwt;
use verify::key::SigningKey;
use verify::key::multikey::PublicKey;

use super::judge_tests::{bring, check, verdict};
use crate::Options;
use crate::testing::{App, TABLES};

const HOST: &str = "college.example";
/// Its name leads into a private network.
const INSIDE: &str = "inside.example";

/// A name service of our own.
struct Hosts;

impl Names for Hosts {
    fn addresses(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let found = match name {
            HOST => Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]),
            INSIDE => Ok(vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7))]),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        async move { found }.boxed()
    }
}

/// A college with a certificate that the client believes.
struct College {
    port: u16,
    /// PEM.
    authority: String,
    /// How often a server was asked to which one of the pages redirects.
    asked_inside: Arc<AtomicUsize>,
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[31; 32])
}

impl College {
    async fn open() -> Self {
        let (port, asked_inside) = (TcpListener::bind("127.0.0.1:0").await, Arc::default());
        let listener = port.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inside = Self::open_inside(Arc::clone(&asked_inside)).await;
        let router = Router::new()
            .route("/{page}/did.json", get(move |page| did_page(page, port, inside.clone())))
            .route("/.well-known/jwt-vc-issuer/{page}", get(move |page| metadata(page, port)));
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let authority = params.self_signed(&ca_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, ca_key);
        let own_key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        let chain = vec![own.signed_by(&own_key, &issuer).unwrap().der().clone()];
        let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .unwrap();
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, router) = (tls.clone(), router.clone());
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(socket).await else { return };
                    let service = TowerToHyperService::new(router);
                    let http = Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { port, authority, asked_inside }
    }

    /// A server that nobody outside should be able to have asked.
    async fn open_inside(asked: Arc<AtomicUsize>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().fallback(move || {
            asked.fetch_add(1, Ordering::Relaxed);
            async { "a secret" }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn did(&self, page: &str) -> String {
        format!("did:web:{HOST}%3A{}:{page}", self.port)
    }

    fn url(&self, page: &str) -> String {
        format!("https://{HOST}:{}/{page}", self.port)
    }
}

fn did_document(did: &str, key: &SigningKey) -> Json {
    let method = format!("{did}#key-1");
    json!({
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": did,
        "verificationMethod": [{
            "id": method, "type": "Multikey", "controller": did,
            "publicKeyMultibase": PublicKey::of(key).multikey(),
        }],
        "assertionMethod": [method],
    })
}

/// A page of the college: what it serves as the document of the DID that ends with its name.
async fn did_page(Path(page): Path<String>, port: u16, inside: String) -> Response {
    let did = format!("did:web:{HOST}%3A{port}:{page}");
    let mut document = did_document(&did, &key());
    match page.as_str() {
        "silent" => return std::future::pending().await,
        "dripping" => {
            let drops = stream::repeat(()).then(|()| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, io::Error>(" ")
            });
            return axum::body::Body::from_stream(drops).into_response();
        }
        "broken" => {
            let half = stream::iter([
                Ok("{\"id\":"),
                Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            ]);
            return axum::body::Body::from_stream(half).into_response();
        }
        "huge" => return " ".repeat(2 << 20).into_response(),
        "redirecting" => return Redirect::temporary(&inside).into_response(),
        "page" => return axum::response::Html("<html>Welcome</html>").into_response(),
        "list" => return "[]".into_response(),
        "picture" => return vec![0xff_u8, 0xd8, 0xff].into_response(),
        "failing" => return http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "gone" => return http::StatusCode::NOT_FOUND.into_response(),
        "other" => document["id"] = format!("did:web:{HOST}").into(),
        "keyless" => document["verificationMethod"] = json!([]),
        "unlisted" => document["assertionMethod"] = json!([format!("{did}#key-2")]),
        "changed" => document = did_document(&did, &SigningKey::from_bytes(&[32; 32])),
        "stolen" => document["verificationMethod"][0]["revoked"] = "2020-01-01T00:00:00Z".into(),
        _ => {}
    }
    document.to_string().into_response()
}

async fn metadata(Path(page): Path<String>, port: u16) -> Response {
    let issuer = format!("https://{HOST}:{port}/{page}");
    let set = match page.as_str() {
        "inward" => json!({ "jwks_uri": format!("https://{INSIDE}/jwks") }),
        "plain" => json!({ "jwks_uri": format!("http://{HOST}:{port}/jwks") }),
        "keyless" => json!({ "jwks": { "keys": [] } }),
        _ => return http::StatusCode::NOT_FOUND.into_response(),
    };
    let mut metadata = json!({ "issuer": issuer });
    metadata.as_object_mut().unwrap().extend(set.as_object().unwrap().clone());
    metadata.to_string().into_response()
}

/// A degree that is signed by the key of a DID.
fn degree(did: &str) -> Vec<u8> {
    let credential = json!({
        "@context": ["https://www.w3.org/ns/credentials/v2"],
        "type": ["VerifiableCredential"],
        "issuer": did,
        "validFrom": "2025-01-01T00:00:00Z",
        "credentialSubject": { "degree": "Bachelor of Noted Things" },
    });
    let method = format!("{did}#key-1");
    let says = Statement { verification_method: &method, created: 1_750_000_000 };
    proof::seal(credential, &key(), says).unwrap().to_string().into_bytes()
}

async fn app(t: &TestDb, college: &College, trusted: &[String], anchors: &str) -> App {
    let client = Guarded::new(guarded::Options {
        networks: vec!["127.0.0.0/8".parse().unwrap()],
        timeout: Duration::from_millis(700),
        answer_max: 1 << 20,
        names: Arc::new(Hosts),
        authority: Some(college.authority.clone().into_bytes()),
        ..guarded::Options::default()
    });
    let blobs = Blobs::on_disk(t.directory().join("files"), t.db.world().clone()).unwrap();
    let options = Options::at(crate::testing::URL);
    App::judging(t, options, blobs, Some(client.unwrap()), (trusted, anchors)).await
}

/// A key in the hands of the certificate library.
struct Certified<'a>(&'a SecretKey, [u8; 65]);

impl<'a> Certified<'a> {
    fn of(key: &'a SecretKey) -> Self {
        Self(key, key.public().to_sec1())
    }
}

impl rcgen::PublicKeyData for Certified<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.1
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Certified<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign_der(message))
    }
}

/// An authority over colleges: its certificate in PEM, and what it certifies.
struct Authority {
    key: SecretKey,
    params: rcgen::CertificateParams,
    now: i64,
}

impl Authority {
    fn new(seed: u8, now: i64) -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("Authority {seed}"));
        Self { key: SecretKey::from_bytes(&[seed; 32]).unwrap(), params, now }
    }

    fn pem(&self) -> String {
        self.params.clone().self_signed(&Certified::of(&self.key)).unwrap().pem()
    }

    /// A token of an issuer, with the certificate of its key, which is good until some time.
    fn token(&self, issuer: &str, host: &str, until: i64) -> String {
        let key = SecretKey::from_bytes(&[41; 32]).unwrap();
        let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
        let time = |at: i64| OffsetDateTime::from_unix_timestamp(at).unwrap();
        (params.not_before, params.not_after) = (time(self.now - 9000), time(until));
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        let own = Certified::of(&self.key);
        let signer = rcgen::Issuer::from_params(&self.params, own);
        let leaf = params.signed_by(&Certified::of(&key), &signer).unwrap();
        let header = json!({ "typ": sdjwt::TYPE, "x5c": [STANDARD.encode(leaf.der())] });
        let claims = json!({ "iss": issuer, "vct": "https://college.example/degree" });
        sdjwt::issue(header, claims.as_object().unwrap().clone(), &[], &[], &key)
    }
}

platform::on_both_engines! { TABLES;

async fn a_did_webs_document_is_fetched_and_judged_whatever_comes(t: &TestDb) {
    let college = College::open().await;
    let pages = ["good", "silent", "dripping", "broken", "huge", "redirecting", "page", "list",
        "picture", "failing", "gone", "other", "keyless", "unlisted", "changed", "stolen"];
    let trusted: Vec<String> = pages.iter().map(|page| college.did(page)).collect();
    let app = app(t, &college, &trusted, "").await;
    let owner = app.user();
    for (page, expected, reason) in [
        ("good", "valid", "listed in the issuer's DID document at https://college.example:"),
        ("silent", "undetermined", "no answer in time"),
        ("dripping", "undetermined", "no answer in time"),
        ("broken", "undetermined", "did not answer"),
        ("huge", "undetermined", "the answer is too large"),
        ("redirecting", "undetermined", "it answered 307"),
        ("page", "undetermined", "no usable JSON"),
        ("list", "undetermined", "no JSON object"),
        ("picture", "undetermined", "no text"),
        ("failing", "undetermined", "it answered 500"),
        ("gone", "undetermined", "it answered 404"),
        ("other", "invalid", "describes another identifier"),
        ("keyless", "invalid", "does not list this key once"),
        ("unlisted", "invalid", "does not list this key for assertions"),
        ("stolen", "invalid", "has revoked its key as of 2020-01-01T00:00:00Z"),
    ] {
        let shown = bring(&app, &owner, "degree.json", &degree(&college.did(page))).await;
        assert_eq!(verdict(&shown), expected, "{page} {shown}");
        let said = check(&shown, "issuer-key").1;
        assert!(said.contains(reason), "{page}: {said}");
    }
    assert_eq!(college.asked_inside.load(Ordering::Relaxed), 0, "no redirect is followed");
    let shown = bring(&app, &owner, "degree.json", &degree(&college.did("changed"))).await;
    assert_eq!(verdict(&shown), "invalid");
    assert!(check(&shown, "jcs-signature").1.contains("does not fit"), "{shown}");
}

async fn names_that_lead_inside_or_nowhere_are_not_asked(t: &TestDb) {
    let college = College::open().await;
    let app = app(t, &college, &[], "").await;
    let owner = app.user();
    for (did, reason) in [
        (format!("did:web:{INSIDE}"), "inside.example"),
        ("did:web:nowhere.example".to_owned(), "nowhere.example"),
        ("did:web:10.0.0.7".to_owned(), "not an address on the public internet"),
        ("did:web:169.254.169.254".to_owned(), "not an address on the public internet"),
        // The certificate is of another name.
        (format!("did:web:127.0.0.1%3A{}", college.port), "127.0.0.1"),
    ] {
        let shown = bring(&app, &owner, "degree.json", &degree(&did)).await;
        assert_eq!(verdict(&shown), "undetermined", "{did} {shown}");
        let (outcome, said) = check(&shown, "issuer-key");
        assert_eq!(outcome, "not-checked", "{did}");
        assert!(said.contains(reason) && said.contains("did not answer"), "{did}: {said}");
    }
}

async fn an_issuers_metadata_makes_nobody_ask_inside_or_without_tls(t: &TestDb) {
    let college = College::open().await;
    let app = app(t, &college, &[], "").await;
    let owner = app.user();
    let now = t.db.world().now().seconds();
    let key = SecretKey::from_bytes(&[41; 32]).unwrap();
    for (page, expected, reason) in [
        ("inward", "undetermined", "https://inside.example/jwks did not answer"),
        ("plain", "undetermined", "not an https address"),
        ("keyless", "invalid", "does not publish this key"),
        ("nothing", "undetermined", "it answered 404"),
    ] {
        let claims = json!({ "iss": college.url(page), "vct": "https://a.example/b", "nbf": now });
        let header = json!({ "typ": sdjwt::TYPE, "kid": "key-1" });
        let claims = claims.as_object().unwrap().clone();
        let token = sdjwt::issue(header, claims, &[], &[], &key);
        let shown = bring(&app, &owner, "degree.sd-jwt", token.as_bytes()).await;
        assert_eq!(verdict(&shown), expected, "{page} {shown}");
        let said = check(&shown, "issuer-key").1;
        assert!(said.contains(reason), "{page}: {said}");
    }
}

async fn a_configured_authority_vouches_for_whom_it_has_certified_and_nobody_else(t: &TestDb) {
    let college = College::open().await;
    let now = t.db.world().now().seconds();
    let (known, unknown) = (Authority::new(51, now), Authority::new(52, now));
    let app = app(t, &college, &[], &known.pem()).await;
    let owner = app.user();
    let issuer = college.url("registry");
    for (token, expected, name, reason) in [
        (known.token(&issuer, HOST, now + 9000), "valid", "issuer-key", "authority vouches for"),
        (unknown.token(&issuer, HOST, now + 9000), "undetermined", "issuer-key", "nobody known here"),
        (known.token(&issuer, "other.example", now + 9000), "invalid", "issuer-key", "does not stand for"),
        (known.token(&issuer, HOST, now - 1), "invalid", "issuer-key", "not valid at this time"),
        (known.token("https://other.example", HOST, now + 9000), "invalid", "issuer-key",
            "does not stand for https://other.example"),
    ] {
        let shown = bring(&app, &owner, "degree.sd-jwt", token.as_bytes()).await;
        assert_eq!(verdict(&shown), expected, "{reason} {shown}");
        let said = check(&shown, name).1;
        assert!(said.contains(reason), "{reason}: {said}");
    }
}

}
