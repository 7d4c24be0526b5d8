//! What the tests of all nouns share: a user service with cheap hashes, and people in it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::{Extension, Router};
use http::{HeaderMap, Request, StatusCode, header};
use kernel::caller::Origin;
use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Level, Principal, Role};
use platform::crypto::MasterKey;
use platform::db::{Db, Migrations, Read};
use platform::http::Failure;
use platform::jobs::{Registry, Worker};
use platform::limits::{Limiter, Quotas};
use platform::mail::{MailOptions, Mailer, sink};
use platform::params;
use platform::testing::TestDb;
use serde_json::Value as Json;
use tower::ServiceExt;

use crate::account::{Account, Email, Registration};
use crate::password::{Hashing, Password};
use crate::session::{Login, SignedIn};
use crate::token::Format;
use crate::{Identity, IdentityOptions, PublicUrl};

pub(crate) const TABLES: &[Migrations] = &[platform::MIGRATIONS, crate::MIGRATIONS];
pub(crate) const PASSWORD: &str = "a horse of no battery";

pub(crate) fn master() -> MasterKey {
    MasterKey::new([3; 32])
}

pub(crate) fn options(t: &TestDb) -> IdentityOptions {
    options_over(t.db.clone())
}

/// The same over another connection to the store.
pub(crate) fn options_over(db: Db) -> IdentityOptions {
    let mailer = Mailer::new(db.clone(), master(), MailOptions::default());
    let limiter = Arc::new(Limiter::new(Quotas::default()));
    let url = PublicUrl::parse("https://verza.example/").unwrap();
    let options = IdentityOptions::new(db, master(), mailer, limiter, url);
    IdentityOptions { hashing: Hashing::for_tests(), ..options }
}

/// A user service and its mail.
pub(crate) struct House<'a> {
    pub(crate) t: &'a TestDb,
    pub(crate) identity: Arc<Identity>,
    pub(crate) worker: Worker,
}

pub(crate) fn house(t: &TestDb) -> House<'_> {
    house_of(t, options(t))
}

pub(crate) fn house_of(t: &TestDb, options: IdentityOptions) -> House<'_> {
    let mut registry = Registry::default();
    options.mailer.jobs(&mut registry);
    let db = options.db.clone();
    let identity = Identity::new(options).unwrap();
    crate::jobs(&identity, &mut registry);
    House { t, identity, worker: Worker::new(db, registry) }
}

pub(crate) fn registration(email: &str, role: Role) -> Registration {
    Registration::parse("Anne Cooper", email, PASSWORD.to_owned().into(), role).unwrap()
}

pub(crate) fn password(text: &str) -> Password {
    Password::presented("/password", text.to_owned().into()).unwrap()
}

pub(crate) fn from(ip: &str) -> Caller {
    let ip: IpAddr = ip.parse().unwrap();
    let user_agent = Some("Firefox on Linux".into());
    Caller { origin: Origin { ip: Some(ip), user_agent, ..Origin::default() }, ..Caller::nobody() }
}

/// A letter in both forms, for a snapshot.
pub(crate) fn whole(letter: &platform::mail::Letter) -> String {
    let platform::mail::Rendered { text, html } = letter.render("Verza").unwrap();
    format!("{}\n\n{text}\n{html}", letter.subject)
}

impl House<'_> {
    /// The token of the newest mail to an address.
    pub(crate) async fn mail_token(&self, to: &str) -> String {
        self.worker.drain().await.unwrap();
        let mails = sink::list(&self.t.db, Some(to), 1).await.unwrap();
        let text = &mails.first().expect("a mail").text;
        let (_, token) = text.split_once("#token=").expect("a link");
        token.split_whitespace().next().unwrap().to_owned()
    }

    /// Somebody who can sign in.
    pub(crate) async fn member(&self, email: &str, role: Role) -> Id<User> {
        let caller = Caller::nobody();
        if role == Role::Admin {
            let link = self.identity.setup.create_link(&caller).await.unwrap();
            let (_, token) = link.url.expose().split_once("#token=").unwrap();
            let registration = registration(email, role);
            return self.identity.setup.complete(&caller, token, &registration).await.unwrap();
        }
        self.identity.accounts.register(&caller, &registration(email, role)).await.unwrap();
        let token = self.mail_token(email).await;
        self.identity.accounts.verify_email(&caller, &token, None).await.unwrap();
        self.id_of(email).await
    }

    pub(crate) async fn id_of(&self, email: &str) -> Id<User> {
        let sql = "SELECT id FROM users WHERE email = $1";
        self.t.db.one(sql, params![email], |row| row.take()).await.unwrap()
    }

    pub(crate) async fn login_with(&self, email: &str, text: &str) -> Result<SignedIn, Error> {
        let email = Email::parse(email).unwrap();
        let login = Login { cookie: true, ..Login::new(email, password(text)) };
        self.identity.sessions.login(&from("192.0.2.1"), &login).await
    }

    pub(crate) async fn login(&self, email: &str) -> SignedIn {
        self.login_with(email, PASSWORD).await.unwrap()
    }

    /// A member who has signed in.
    pub(crate) async fn signed_in(&self, email: &str, role: Role) -> SignedIn {
        self.member(email, role).await;
        self.login(email).await
    }

    pub(crate) async fn authenticate(&self, presented: &str) -> Result<Arc<Principal>, Error> {
        use rpc::users::Users;
        self.identity.authenticate(presented).await
    }

    pub(crate) async fn caller(&self, signed_in: &SignedIn) -> Caller {
        let principal = self.authenticate(signed_in.tokens.access.expose()).await.unwrap();
        Caller { principal: Some(principal), ..from("192.0.2.1") }
    }

    /// An admin who has signed in with two factors.
    pub(crate) async fn root(&self) -> Caller {
        let signed_in = self.signed_in("root@example.org", Role::Admin).await;
        let mut caller = self.caller(&signed_in).await;
        let mut principal = Principal::clone(caller.principal().unwrap());
        principal.level = Level::Two;
        caller.principal = Some(Arc::new(principal));
        caller
    }

    /// The same caller, as the cookie shows them.
    pub(crate) async fn caller_by_cookie(&self, signed_in: &SignedIn) -> Caller {
        let (cookie, _) = signed_in.cookie.as_ref().unwrap();
        let principal = self.authenticate(cookie.expose()).await.unwrap();
        Caller { principal: Some(principal), ..from("192.0.2.1") }
    }

    /// A new access token in a form, for a session in its first epoch.
    pub(crate) async fn access_in(&self, signed_in: &SignedIn, format: Format) -> String {
        let Account { id, role, .. } = signed_in.account;
        let tokens = &self.identity.tokens;
        let until = self.t.db.world().now() + Duration::from_secs(365 * 24 * 3600);
        let claims = tokens.claims((id, role), (signed_in.session, 0), None, until);
        tokens.sign(claims, format).await.unwrap().expose().clone()
    }

    /// The verbs in the journal, oldest first.
    pub(crate) async fn facts(&self) -> Vec<String> {
        let sql = "SELECT verb FROM facts ORDER BY id";
        self.t.db.all(sql, &[], |row| row.take()).await.unwrap()
    }

    /// How many accounts there are.
    pub(crate) async fn users(&self) -> i64 {
        self.count("SELECT CAST(COUNT(*) AS BIGINT) FROM users").await
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.t.db.one(sql, &[], |row| row.take()).await.unwrap()
    }

    /// A request as the gateway would pass it on.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        caller: &Caller,
        body: Option<Json>,
    ) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = match body {
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.pass_on(caller, request.unwrap()).await
    }

    /// A form, as the gateway would pass it on.
    pub(crate) async fn send_form(&self, path: &str, caller: &Caller, form: String) -> Answer {
        let media = "application/x-www-form-urlencoded";
        let request = Request::builder().method("POST").uri(path);
        let request = request.header(header::CONTENT_TYPE, media).body(Body::from(form));
        self.pass_on(caller, request.unwrap()).await
    }

    async fn pass_on(&self, caller: &Caller, request: Request<Body>) -> Answer {
        let router = crate::routes(&self.identity)
            .into_iter()
            .fold(Router::new(), |router, route| router.route(route.path, route.handler))
            .layer(Extension(caller.clone()));
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let headers = response.headers().clone();
        let error = response.extensions().get::<Failure>().map(|failure| failure.0.clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, headers, error, json: serde_json::from_slice(&bytes).unwrap_or_default() }
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) error: Option<Error>,
    pub(crate) json: Json,
}
