//! The people of a test. They know of the platform what any client knows: its HTTP API.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value as Json, json};

pub const PASSWORD: &str = "seven blue kettles sing";
/// What a verification costs.
pub const PRICE: i64 = 2_500;
/// How often something that happens in the background is asked for, and how long.
const POLL_EVERY: Duration = Duration::from_millis(20);
const POLLS: u32 = 1_500;

/// Words of the database, the file system and the code: no answer names them.
const INSIDE: &[&str] = &[
    "select ",
    "insert into",
    "update set",
    "delete from",
    "sqlite",
    "postgres",
    "rusqlite",
    "constraint",
    "no such table",
    "no such column",
    "relation \\\"",
    "panicked",
    ".rs:",
    "/crates/",
    "/tmp/",
    "/home/",
    "/root/",
    "verza.db",
];

/// One platform and the way to it.
pub struct Town {
    http: reqwest::Client,
    pub url: String,
    ops_url: String,
    /// The authenticator apps of the people, by their addresses.
    apps: Mutex<HashMap<String, App>>,
}

/// An authenticator app in somebody's hand, and the recovery codes in their drawer.
#[derive(Clone)]
struct App {
    secret: String,
    /// The last half minute whose code was used.
    step: i64,
    recovery_codes: Vec<String>,
}

impl App {
    /// Something that opens now: the next code of the app that the platform takes by now, else a
    /// recovery code. Nobody waits half a minute for the next code.
    fn next(&mut self) -> Json {
        let now = platform::world::system().now().seconds() / 30;
        let step = (self.step + 1).max(now - 1);
        if step <= now + 1 {
            self.step = step;
            let at = kernel::Timestamp::from_seconds(step * 30);
            return json!({ "totp": identity::factor::totp::code(&self.secret, at).unwrap() });
        }
        json!({ "recoveryCode": self.recovery_codes.pop().expect("a recovery code is left") })
    }
}

/// Somebody with a session.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: String,
    pub email: String,
    pub token: String,
    pub refresh_token: String,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The body, or null where there is none.
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn is_replayed(&self) -> bool {
        self.header("idempotency-replayed") == "true"
    }

    /// The code of a problem, or the reason of what has gRPC's shape.
    pub fn code(&self) -> String {
        let json = self.json();
        let code = json["code"].as_str().or_else(|| json["details"][0]["reason"].as_str());
        code.unwrap_or_default().to_owned()
    }

    /// The body of a refusal that has to have this status and code, and the shape of all.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Json {
        let (text, body) = (self.text(), self.json());
        assert_eq!((self.status, self.code().as_str()), (status, code), "{text}");
        self.is_a_problem();
        body
    }

    /// RFC 9457 with our members, and nothing of what is behind it.
    #[track_caller]
    pub fn is_a_problem(&self) {
        let (text, body) = (self.text(), self.json());
        assert_eq!(self.header("content-type"), "application/problem+json", "{text}");
        assert_eq!(body["status"], self.status, "{text}");
        assert_eq!(body["type"], format!("urn:verza:problem:{}", self.code()), "{text}");
        for member in ["type", "title", "detail", "code", "requestId"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {text}");
        }
        assert_eq!(body["requestId"], self.header("x-request-id"), "{text}");
        let detail = format!("{} {:?}", body["detail"], self.headers).to_ascii_lowercase();
        for word in INSIDE {
            assert!(!detail.contains(word), "{word} is nobody's business: {text}");
        }
    }

    /// The body of a request that has to succeed.
    #[track_caller]
    pub fn done(self) -> Json {
        assert!(self.is_done(), "{} {}", self.status, self.text());
        self.json()
    }
}

/// A request on its way.
pub struct Call {
    request: reqwest::RequestBuilder,
    what: String,
}

impl Call {
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// Adds a header; one of the same name that is there stays.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.request =
            self.request.header(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    pub fn json(mut self, body: &Json) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// JSON as it is written here, right or wrong.
    pub fn raw(self, body: impl Into<Vec<u8>>) -> Self {
        self.media("application/json", body)
    }

    pub fn media(self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut call = self.header("content-type", media_type);
        call.request = call.request.body(body.into());
        call
    }

    /// Waits longer than is usual.
    pub fn within(mut self, time: Duration) -> Self {
        self.request = self.request.timeout(time);
        self
    }

    pub fn form(mut self, form: reqwest::multipart::Form) -> Self {
        self.request = self.request.multipart(form);
        self
    }

    /// The answer, or nothing when the connection ended before it was there.
    pub async fn attempt(self) -> Option<Answer> {
        let response = self.request.send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.ok()?.to_vec();
        Some(Answer { status, headers, bytes })
    }

    pub async fn answer(self) -> Answer {
        let what = self.what.clone();
        self.attempt().await.unwrap_or_else(|| panic!("{what} got no answer"))
    }

    pub async fn done(self) -> Json {
        let what = self.what.clone();
        let answer = self.answer().await;
        assert!(answer.is_done(), "{what} answered {} {}", answer.status, answer.text());
        answer.json()
    }
}

/// Asks until the answer is there: what happens in the background takes a moment.
pub async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..POLLS {
        if let Some(value) = ask().await {
            return value;
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
    panic!("{what} did not happen in time");
}

/// The token in a link.
pub fn token_in(text: &str) -> String {
    let (_, rest) = text.split_once("token=").unwrap_or_else(|| panic!("no token in {text}"));
    let end = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    rest.split(end).next().unwrap().to_owned()
}

fn text(value: &Json, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}

/// A small valid PDF that no other content equals.
pub fn pdf(nonce: &str) -> Vec<u8> {
    format!("%PDF-1.4\n% {nonce}\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< >>\n%%EOF\n")
        .into_bytes()
}

/// A client that follows nothing: what is answered is what is looked at.
pub fn http_client(timeout: Duration) -> reqwest::Client {
    // Chosen once a process, here or by a platform in it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let redirects = reqwest::redirect::Policy::none();
    reqwest::Client::builder().timeout(timeout).redirect(redirects).build().unwrap()
}

impl Town {
    pub fn new(url: impl Into<String>, ops_url: impl Into<String>) -> Self {
        let http = http_client(Duration::from_secs(30));
        let apps = Mutex::default();
        Self { http, url: url.into(), ops_url: ops_url.into(), apps }
    }

    pub fn call(&self, method: Method, path: &str, who: Option<&Person>) -> Call {
        let what = format!("{method} {path}");
        let url =
            if path.starts_with("http") { path.into() } else { format!("{}{path}", self.url) };
        let mut request = self.http.request(method, url);
        if let Some(person) = who {
            request = request.bearer_auth(&person.token);
        }
        Call { request, what }
    }

    pub fn get(&self, path: &str, who: &Person) -> Call {
        self.call(Method::GET, path, Some(who))
    }

    pub fn post(&self, path: &str, who: &Person) -> Call {
        self.call(Method::POST, path, Some(who))
    }

    pub fn patch(&self, path: &str, who: &Person) -> Call {
        self.call(Method::PATCH, path, Some(who))
    }

    pub fn delete(&self, path: &str, who: &Person) -> Call {
        self.call(Method::DELETE, path, Some(who))
    }

    pub fn put(&self, path: &str, who: &Person) -> Call {
        self.call(Method::PUT, path, Some(who))
    }

    /// All rows of a list, page by page.
    pub async fn all(&self, path: &str, who: &Person) -> Vec<Json> {
        let mut rows = Vec::new();
        let mut next = format!("{path}{}limit=100", if path.contains('?') { '&' } else { '?' });
        loop {
            let page = self.get(&next, who).answer().await;
            let link = page.header("link").to_owned();
            rows.extend(page.done().as_array().expect("a list").iter().cloned());
            let Some(rest) = link.strip_prefix('<') else { return rows };
            rest.split('>').next().unwrap().clone_into(&mut next);
        }
    }

    /// Signs in, with a code as well where the person has an authenticator app.
    pub async fn login(&self, email: &str) -> Person {
        let mut body = json!({ "email": email, "password": PASSWORD });
        if let Some(app) = self.apps.lock().unwrap().get_mut(email) {
            body.as_object_mut().unwrap().extend(app.next().as_object().unwrap().clone());
        }
        let reply = self.call(Method::POST, "/v1/auth/login", None).json(&body).done().await;
        Person {
            id: text(&reply["user"], "id"),
            email: email.to_owned(),
            token: text(&reply, "accessToken"),
            refresh_token: text(&reply, "refreshToken"),
        }
    }

    /// Enrols an authenticator app: the session has two factors from now on, and new tokens.
    pub async fn enrol(&self, who: &Person) -> Person {
        let begun = self.post("/v1/auth/mfa/enroll", who).done().await;
        let mut app = App { secret: text(&begun, "secret"), step: 0, recovery_codes: Vec::new() };
        let done = self.post("/v1/auth/mfa/verify", who).json(&app.next()).done().await;
        let codes = done["recoveryCodes"].as_array().expect("recovery codes");
        app.recovery_codes = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
        self.apps.lock().unwrap().insert(who.email.clone(), app);
        Person {
            token: text(&done, "accessToken"),
            refresh_token: text(&done, "refreshToken"),
            ..who.clone()
        }
    }

    /// The first admin, through the one-time link, with the second factor that admins need.
    pub async fn set_up(&self, link: &str) -> Person {
        let email = "admin@example.com";
        let body = json!({
            "token": token_in(link), "name": "Ada Admin", "email": email, "password": PASSWORD,
        });
        self.call(Method::POST, "/v1/setup", None).json(&body).done().await;
        let admin = self.login(email).await;
        self.enrol(&admin).await
    }

    /// Registers, reads the mail, confirms, and signs in. Nobody has approved them yet.
    pub async fn join(&self, name: &str, role: &str) -> Person {
        let email = format!("{}@example.com", name.to_ascii_lowercase());
        let body = json!({ "name": name, "email": email, "password": PASSWORD, "role": role });
        self.call(Method::POST, "/v1/auth/register", None).json(&body).done().await;
        let body = json!({ "token": self.mailed_token(&email).await });
        self.call(Method::POST, "/v1/auth/verify-email", None).json(&body).done().await;
        self.login(&email).await
    }

    /// The token in the newest mail to an address.
    pub async fn mailed_token(&self, email: &str) -> String {
        let mails = format!("{}/mail?to={email}", self.ops_url);
        let mail = until("the mail", async || {
            let mails = self.call(Method::GET, &mails, None).done().await;
            mails.get(0).cloned()
        })
        .await;
        token_in(&text(&mail, "text"))
    }

    pub async fn approve(&self, admin: &Person, who: &Person) {
        self.post(&format!("/v1/admin/users/{}/approve", who.id), admin).done().await;
    }

    /// A verifier who is approved and listed, with one service at [`PRICE`]: its id.
    pub async fn open_shop(&self, admin: &Person, who: &Person) -> String {
        self.approve(admin, who).await;
        let profile = json!({ "headline": "Diplomas, checked at the registry" });
        // The approval reaches the marketplace through the journal, a moment later.
        until("the verifier's profile", async || {
            let answer = self.put("/v1/verifier/profile", who).json(&profile).answer().await;
            answer.is_done().then_some(())
        })
        .await;
        let services = json!([{
            "title": "Diploma check", "category": "Education", "price": PRICE, "currency": "USD",
        }]);
        let made = self.put("/v1/verifier/services", who).json(&services).done().await;
        let listed = format!("/v1/marketplace/verifiers/{}", verifier_id(who));
        until("the marketplace's listing", async || {
            let answer = self.get(&listed, who).answer().await;
            answer.is_done().then_some(())
        })
        .await;
        text(&made[0], "id")
    }

    pub async fn deposit(&self, who: &Person, amount: i64) {
        let before = self.wallet(who).await.0;
        let body = json!({ "amount": amount, "currency": "USD", "provider": "sandbox" });
        let key = format!("deposit-{}-{before}", who.id);
        let started = self.post("/v1/user/wallet/deposit", who).key(&key).json(&body).done().await;
        let page = text(&started, "authorization_url");
        self.call(Method::POST, &format!("{page}/approve"), None).answer().await;
        until("the deposit", async || (self.wallet(who).await.0 == before + amount).then_some(()))
            .await;
    }

    /// What is available and what is held, in cents.
    pub async fn wallet(&self, who: &Person) -> (i64, i64) {
        let balance = self.get("/v1/user/wallet/balance?currency=USD", who).done().await;
        (balance["available"].as_i64().unwrap(), balance["held"].as_i64().unwrap())
    }

    pub fn upload_call(&self, who: &Person, name: &str, content: &[u8]) -> Call {
        let part = reqwest::multipart::Part::bytes(content.to_vec()).file_name(name.to_owned());
        let form = reqwest::multipart::Form::new().part("file", part);
        self.post("/v1/files", who).form(form)
    }

    /// A file's id.
    pub async fn upload(&self, who: &Person, name: &str, content: &[u8]) -> String {
        text(&self.upload_call(who, name, content).done().await, "id")
    }

    /// A credential's id.
    pub async fn credential(&self, who: &Person, title: &str) -> String {
        let body = json!({ "title": title, "type": "Education", "issuer": "University of Lagos" });
        text(&self.post("/v1/user/credentials", who).json(&body).done().await, "id")
    }

    /// A verification's id.
    pub async fn request(&self, who: &Person, credential: &str, verifier: &Person) -> String {
        let body = json!({ "credentialId": credential, "verifierId": verifier_id(verifier) });
        let key = format!("request-{credential}");
        let made = self.post("/v1/user/verifications", who).key(&key).json(&body).done().await;
        text(&made, "id")
    }

    pub async fn accept(&self, verifier: &Person, job: &str) -> Json {
        self.post(&format!("/v1/verifier/jobs/{job}/accept"), verifier).done().await
    }

    pub async fn complete(&self, verifier: &Person, job: &str, verdict: &str) -> Json {
        let path = format!("/v1/verifier/jobs/{job}/complete");
        let key = format!("complete-{job}");
        self.post(&path, verifier).key(&key).json(&json!({ "verdict": verdict })).done().await
    }
}

/// Who is in most tests.
pub struct Cast {
    pub town: Town,
    pub admin: Person,
    /// With [`FUNDS`] in her wallet.
    pub anne: Person,
    pub ben: Person,
    /// An approved verifier with a service for [`PRICE`].
    pub vera: Person,
}

pub const FUNDS: i64 = 100_000;

impl Cast {
    pub async fn on(stage: &crate::world::Stage) -> Self {
        let town = stage.town();
        let link = stage.running.platform.first_setup_link().await.unwrap().unwrap();
        let admin = town.set_up(&link).await;
        let anne = town.join("Anne", "user").await;
        let ben = town.join("Ben", "user").await;
        let vera = town.join("Vera", "verifier").await;
        town.open_shop(&admin, &vera).await;
        town.deposit(&anne, FUNDS).await;
        Self { town, admin, anne, ben, vera }
    }
}

/// A verifier's id carries the same UUID as its user's.
pub fn verifier_id(person: &Person) -> String {
    format!("v_{}", person.id.strip_prefix("u_").expect("a user's id"))
}
