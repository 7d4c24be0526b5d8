//! Kratos's API, as far as it is called.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use kernel::{Error, Kind, Result, Secret};
use platform::breaker::{Breaker, Policy};
use platform::db::Db;
use platform::outbound::{Answer, Peer};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use uuid::Uuid;

use super::model::{Credential, Identity, IdentityWire, Options, Session, SessionWire};
use rpc::users::KRATOS_COOKIE;

/// Bytes taken of one answer. An identity may carry much of its own; a list of sessions repeats it.
const ANSWER_MAX: usize = 1 << 20;
/// Sessions of one identity that are looked at.
const SESSIONS_MAX: usize = 250;

/// Kratos is asked while people wait, and others stand in for it at once when it is left alone: so
/// it is tried again soon, by one of them.
const BREAKER: Policy = Policy {
    failures_max: 4,
    interval: Duration::from_secs(60),
    rest: Duration::from_secs(10),
    trials: 1,
};

/// What Kratos says of a credential.
#[derive(Debug)]
pub(super) enum Whoami {
    Session(Session, Option<Identity>),
    /// Not a session, or none any more.
    Nobody,
    /// A session that waits for its second factor.
    SecondFactorDue,
}

/// One of Kratos's two APIs.
struct Api {
    peer: Peer,
    breaker: Breaker,
    headers: HeaderMap,
    name: &'static str,
}

/// Asks Kratos. Every method fails with `Unavailable` `kratos_unavailable` where there is no
/// usable answer, and says when to try again.
pub(super) struct Client {
    public: Api,
    admin: Api,
    db: Db,
}

impl Client {
    /// # Errors
    /// `Invalid` `invalid_address`.
    pub(super) fn new(options: &Options, db: Db) -> Result<Self> {
        let api = |name, breaker, url: &str, token: Option<&Secret<String>>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
            if let Some(token) = token {
                headers
                    .insert(header::AUTHORIZATION, secret(&format!("Bearer {}", token.expose()))?);
            }
            let peer = Peer::new(url, options.timeout, ANSWER_MAX)?;
            let breaker = Breaker::new(breaker, BREAKER);
            Ok::<_, Error>(Api { peer, breaker, headers, name })
        };
        Ok(Self {
            public: api("public", "kratos-public", &options.public_url, None)?,
            admin: api("admin", "kratos-admin", &options.admin_url, options.admin_token.as_ref())?,
            db,
        })
    }

    /// `GET /sessions/whoami`: whose session a credential shows.
    pub(super) async fn whoami(&self, credential: &Credential) -> Result<Whoami> {
        let (name, value) = match credential {
            Credential::Token(token) => {
                (HeaderName::from_static("x-session-token"), secret(token.expose())?)
            }
            Credential::Cookie(value) => {
                (header::COOKIE, secret(&format!("{KRATOS_COOKIE}={}", value.expose()))?)
            }
        };
        let headers = HeaderMap::from_iter([(name, value)]);
        self.call(&self.public, Method::GET, "/sessions/whoami", headers, |answer| {
            Ok(match answer.status {
                StatusCode::OK => {
                    let (session, identity) = json::<SessionWire>(answer)?.parse()?;
                    Whoami::Session(session, identity)
                }
                StatusCode::UNAUTHORIZED if is_its_own(answer) => Whoami::Nobody,
                StatusCode::FORBIDDEN if error_id(answer) == "session_aal2_required" => {
                    Whoami::SecondFactorDue
                }
                _ => return Err(unexpected(answer)),
            })
        })
        .await
    }

    /// `GET /admin/identities/{id}`; `None` when there is no such identity.
    pub(super) async fn identity(&self, id: Uuid) -> Result<Option<Identity>> {
        let path = format!("/admin/identities/{id}");
        self.call(&self.admin, Method::GET, &path, HeaderMap::new(), |answer| {
            Ok(match answer.status {
                StatusCode::OK => Some(json::<IdentityWire>(answer)?.parse()),
                StatusCode::NOT_FOUND if is_its_own(answer) => None,
                _ => return Err(unexpected(answer)),
            })
        })
        .await
    }

    /// `GET /admin/identities/{id}/sessions?active=true`: the sessions that live, and whether that
    /// is all of them.
    pub(super) async fn sessions(&self, identity: Uuid) -> Result<(Vec<Session>, bool)> {
        let path = format!(
            "/admin/identities/{identity}/sessions?active=true&page_size={SESSIONS_MAX}\
             &per_page={SESSIONS_MAX}"
        );
        self.call(&self.admin, Method::GET, &path, HeaderMap::new(), |answer| {
            let wires = match answer.status {
                // Kratos before 1.1 answers null where there are none.
                StatusCode::OK => json::<Option<Vec<SessionWire>>>(answer)?.unwrap_or_default(),
                StatusCode::NOT_FOUND if is_its_own(answer) => Vec::new(),
                _ => return Err(unexpected(answer)),
            };
            let all = wires.len() < SESSIONS_MAX;
            let parsed = wires.into_iter().map(|wire| wire.parse().map(|(session, _)| session));
            Ok((parsed.collect::<Result<_>>()?, all))
        })
        .await
    }

    /// `DELETE /admin/sessions/{id}`; a session that is not there is as good as ended.
    pub(super) async fn revoke(&self, session: Uuid) -> Result<()> {
        let path = format!("/admin/sessions/{session}");
        self.call(&self.admin, Method::DELETE, &path, HeaderMap::new(), |answer| {
            match answer.status {
                StatusCode::NO_CONTENT | StatusCode::OK => Ok(()),
                StatusCode::NOT_FOUND | StatusCode::GONE if is_its_own(answer) => Ok(()),
                _ => Err(unexpected(answer)),
            }
        })
        .await
    }

    async fn call<T>(
        &self,
        api: &Api,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        read: impl Fn(&Answer) -> Result<T>,
    ) -> Result<T> {
        let permit = api.breaker.enter(self.now()).map_err(unavailable)?;
        headers.extend(api.headers.clone());
        let outcome = match api.peer.send(method, path, headers).await {
            Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => {
                permit.succeeded(self.now());
                Err(unavailable(retry_after(&answer)))
            }
            Ok(answer) => match read(&answer) {
                Ok(value) => {
                    permit.succeeded(self.now());
                    Ok(value)
                }
                Err(error) => {
                    permit.failed(self.now());
                    Err(unavailable(Duration::from_secs(1)).because(error))
                }
            },
            Err(failure) => {
                permit.failed(self.now());
                Err(unavailable(Duration::from_secs(1)).because(failure))
            }
        };
        let name = if outcome.is_ok() { "ok" } else { "failed" };
        metrics::counter!("kratos_calls_total", "api" => api.name, "outcome" => name).increment(1);
        outcome
    }

    fn now(&self) -> kernel::Timestamp {
        self.db.world().now()
    }
}

fn secret(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|error| Error::internal("a credential fits no header").because(error))?;
    value.set_sensitive(true);
    Ok(value)
}

fn json<T: DeserializeOwned>(answer: &Answer) -> Result<T> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| Error::internal("Kratos's answer cannot be read").because(error))
}

/// Whether a refusal is Kratos's and not that of something between it and us: sessions end by it.
fn is_its_own(answer: &Answer) -> bool {
    let body: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["error"]["code"] == answer.status.as_u16()
}

/// The `error.id` of an answer.
fn error_id(answer: &Answer) -> String {
    let body: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["error"]["id"].as_str().unwrap_or_default().to_owned()
}

fn unexpected(answer: &Answer) -> Error {
    Error::internal(format!("Kratos answered {}", answer.status))
}

fn retry_after(answer: &Answer) -> Duration {
    let header = answer.headers.get(header::RETRY_AFTER);
    let seconds = header.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1).clamp(1, 60))
}

/// Nobody can be judged by Kratos right now.
pub(super) fn unavailable(rest: Duration) -> Error {
    let message = "The identity provider cannot be asked right now. Try again in a moment.";
    let seconds = u32::try_from(rest.as_millis().div_ceil(1000).max(1)).unwrap_or(u32::MAX);
    Error::new(Kind::Unavailable, "kratos_unavailable", message).retry_after(seconds)
}
