//! The way of one request, from its head to its rendered answer.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use kernel::caller::{Origin, RequestId};
use kernel::{Caller, Error, Kind, Permission, Principal, Result, Secret};
use metrics::{Counter, Histogram};
use platform::http::{Audience, ErrorShape, Failure, Freshness, Limit, NewToken, Once, render};
use platform::limits::{Decision, Limiter};
use platform::load::{Lane, Load};
use platform::trace::{self, TraceContext};
use tower::{Layer, Service};
use tracing::field::Empty;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{Parameter, ParameterIn};

use crate::edge::{
    Edge, Presented, admit, cookie, device, fresh, permitted, presented, proved, refuse_another,
    ticket,
};
use crate::idempotency;

/// What the listener knows of a request, and puts into it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// When the last of what was read came to this machine, where that is known.
    pub(crate) arrived: Option<Instant>,
}

/// What the guard knows of a route.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) path: &'static str,
    pub(crate) audience: Audience,
    pub(crate) limit: Limit,
    pub(crate) freshness: Freshness,
    pub(crate) once: Once,
    pub(crate) body_max: usize,
    pub(crate) streamed: bool,
    pub(crate) unproved: bool,
    pub(crate) one_factor: bool,
    pub(crate) step_up: bool,
    pub(crate) errors: ErrorShape,
    pub(crate) in_person: bool,
    /// The query parameters that a row which changes something takes; all others are refused.
    takes: Option<Takes>,
    live: bool,
    permission: Option<Permission>,
    essential: bool,
    bears_secrets: bool,
    within: Option<Duration>,
    lane: Option<Arc<Lane>>,
    seconds: Histogram,
    /// By the first digit of the status.
    answered: [Counter; 4],
}

impl Row {
    pub(crate) fn new(route: &platform::http::Route, load: &Load) -> Self {
        // Uploads and downloads take as long as their clients do, and passwords are hashed behind a
        // line of their own, which is fair to each client.
        let is_counted = !route.streamed
            && !route.essential
            && !matches!(route.limit, Limit::Login | Limit::Register);
        let counted = |class: &'static str| {
            metrics::counter!("http_requests_total", "route" => route.path,
                "method" => route.method.to_string(), "status" => class)
        };
        Self {
            name: route.name.clone(),
            path: route.path,
            audience: route.audience,
            limit: route.limit,
            freshness: route.freshness(),
            once: route.once,
            body_max: route.body_max,
            streamed: route.streamed,
            unproved: route.unproved,
            one_factor: route.one_factor,
            step_up: route.step_up,
            errors: route.errors,
            in_person: route.in_person,
            takes: takes(route),
            live: route.live,
            permission: route.permission,
            essential: route.essential,
            bears_secrets: route.bears_secrets,
            within: route.within,
            lane: is_counted.then(|| load.lane()),
            seconds: metrics::histogram!("http_request_seconds", "route" => route.path,
                "method" => route.method.to_string()),
            answered: [counted("2xx"), counted("3xx"), counted("4xx"), counted("5xx")],
        }
    }

    /// A misspelt parameter must not be passed over where something is changed: with `dryrun` in
    /// the place of `dryRun` it would be done for real.
    fn refuse_unknown(&self, uri: &http::Uri) -> Result<()> {
        let (Some(takes), Some(query)) = (&self.takes, uri.query()) else { return Ok(()) };
        let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
        let Some(unknown) = names.find(|name| !takes.iter().any(|known| known == name)) else {
            return Ok(());
        };
        let known = if takes.is_empty() { "none".to_owned() } else { takes.join(", ") };
        let message = format!("no query parameter of this address, which takes {known}");
        Err(Error::field(format!("/{unknown}"), "unknown", message))
    }

    /// Whether anybody may come, signed in or not.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.audience, Audience::Public | Audience::Provider | Audience::Ops)
    }

    /// The row of requests that no route answers.
    pub(crate) fn unmatched(load: &Load) -> Self {
        let route = platform::http::get(Audience::Public, "unmatched")
            .to::<_, _, ()>(async || Response::new(Body::empty()));
        // Nobody reads a body here; and no places are to be had.
        Self { streamed: true, lane: None, ..Self::new(&route, load) }
    }
}

/// Names of query parameters, looked up when the first request has a query.
type Takes = LazyLock<Vec<String>, Box<dyn FnOnce() -> Vec<String> + Send>>;

/// What the query of a row may name, where it changes something. Rows in the shapes of other APIs,
/// and those that providers call, have rules of their own.
fn takes(route: &platform::http::Route) -> Option<Takes> {
    let is_ours = matches!(route.errors, ErrorShape::Problem);
    if route.method == Method::GET || !is_ours || route.audience == Audience::Provider {
        return None;
    }
    let described = route.described();
    Some(LazyLock::new(Box::new(move || {
        let parameters = described.sketch().operation.parameters;
        let named = |parameter| match parameter {
            RefOr::T(Parameter { name, parameter_in: ParameterIn::Query, .. }) => Some(name),
            RefOr::T(_) | RefOr::Ref(_) => None,
        };
        parameters.into_iter().flatten().filter_map(named).collect()
    })))
}

/// Puts the guard in front of a route.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) edge: Arc<Edge>,
    pub(crate) row: Arc<Row>,
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, guard: self.clone() }
    }
}

/// A route behind its guard.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The clone takes over the readiness of the one that was polled.
        let fresh = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, fresh);
        let guard = self.guard.clone();
        Box::pin(async move { Ok(guard.pass(request, inner).await) })
    }
}

/// How much of a refused request's body is read, and for how long.
const SWALLOWED_MAX: usize = 1 << 20;
const SWALLOWED_WITHIN: Duration = Duration::from_secs(2);

/// Headers that every answer gets, at most.
const HEADERS_SET: usize = 10;

/// The request's id as a header, without a text in between.
fn request_id_header(id: &RequestId) -> Option<HeaderValue> {
    match id {
        RequestId::None => None,
        RequestId::Ours(uuid) => {
            let mut buffer = [0; uuid::fmt::Simple::LENGTH];
            HeaderValue::from_str(uuid.simple().encode_lower(&mut buffer)).ok()
        }
        RequestId::Theirs(text) => HeaderValue::from_str(text).ok(),
    }
}

/// What is known of a request when it is answered.
struct Passage {
    started: Instant,
    method: Method,
    request_id: RequestId,
    origin: Option<HeaderValue>,
    caller: Option<Caller>,
    /// Of the limit that it counts against.
    decision: Option<(Limit, Decision)>,
    /// The access token that was issued in the place of one that is over.
    new_token: Option<Secret<String>>,
}

impl Passage {
    /// Notes what a limit says, and refuses where that is no.
    fn count(&mut self, class: Limit, decision: Option<Decision>) -> Result<()> {
        let Some(decision) = decision else { return Ok(()) };
        self.decision = Some((class, decision));
        decision.check().map(drop)
    }
}

impl Guard {
    async fn pass<S>(&self, request: Request, inner: S) -> Response
    where
        S: Service<Request, Response = Response, Error = Infallible> + Send,
        S::Future: Send,
    {
        // No route takes OPTIONS, so a preflight comes here by way of the unmatched row.
        if *request.method() == Method::OPTIONS
            && let Some(answer) = self.edge.options.origins.preflight(&request)
        {
            return answer;
        }
        let mut passage = Passage {
            started: Instant::now(),
            method: request.method().clone(),
            request_id: self.edge.request_id(request.headers()),
            origin: request.headers().get(header::ORIGIN).cloned(),
            caller: None,
            decision: None,
            new_token: None,
        };
        let (mut parts, body) = request.into_parts();
        let mut body = Some(body);
        // What is logged and asked on the way bears the request's id, and the trace's.
        let id = passage.request_id.clone();
        let span = tracing::info_span!("request", %id, route = self.row.path,
            method = %passage.method, trace_id = Empty);
        let parent = TraceContext::of(&parts.headers);
        let work = async {
            match self.admit(&mut parts, &mut body, &mut passage).await {
                Ok(()) => {
                    let request = Request::from_parts(parts, body.unwrap_or_default());
                    self.handle(request, inner).await
                }
                Err(error) => {
                    swallow(body).await;
                    platform::http::Problem(error).into_response()
                }
            }
        };
        let response = trace::within(span, id, parent, work).await;
        self.finish(response, &passage)
    }

    /// Everything that is decided before a handler sees the request.
    async fn admit(
        &self,
        parts: &mut Parts,
        body: &mut Option<Body>,
        passage: &mut Passage,
    ) -> Result<()> {
        let (edge, row) = (&self.edge, &self.row);
        let peer = parts.extensions.get::<Peer>().copied();
        if !row.essential {
            edge.options.load.admit(passage.started, peer.and_then(|peer| peer.arrived))?;
        }
        let ip = edge.client(peer.map(|peer| peer.address.ip()), &parts.headers);
        let ticket = if row.live { ticket(&parts.uri) } else { None };
        // Who shows a ticket is whose it is, whatever cookies the browser has sent along.
        let shown = if ticket.is_some() { None } else { presented(&parts.headers) };
        // A program asks as often as its key may, and many programs may share an address.
        let by_key = row.audience == Audience::Key && shown.is_some_and(|shown| shown.is_key());
        if row.limit != Limit::Free && !by_key {
            let decision = if Limiter::is_exact(row.limit) {
                // May ask Redis. Boxed: the future of a plain read stays small.
                Box::pin(edge.limit_exactly(row.limit, ip)).await?
            } else {
                edge.limit(row.limit, ip)
            };
            passage.count(row.limit, decision)?;
        }

        let changes = !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let asked = match ticket {
            Some(ticket) => edge.redeem(ticket, ip).await.map(Some),
            None => edge.authenticate(shown.as_ref(), row, ip).await,
        };
        let principal = match asked {
            Ok(principal) => principal,
            Err(refusal) if refusal.code() == "expired_token" => {
                let (principal, token) =
                    self.reissue(&parts.headers, shown.as_ref(), changes, refusal).await?;
                parts.extensions.insert(NewToken(token.clone()));
                passage.new_token = Some(token);
                Some(principal)
            }
            Err(refusal) => return Err(refusal),
        };
        if by_key {
            passage.count(Limit::Key, edge.limit_key(principal.as_deref()))?;
        }
        let principal = match principal {
            // Where anybody may come, an admin who is not sure enough to be one is anybody.
            Some(principal) if row.is_open() && edge.is_half_an_admin(&principal) => None,
            Some(principal) => Some(edge.standing(principal, row).await?),
            None => None,
        };
        let by_cookie = principal.is_some() && shown.is_some_and(|shown| shown.by_cookie);
        // A WebSocket is opened by a GET, and by any page: it is no less than a change.
        if by_cookie
            && (changes || row.live)
            && !edge.options.origins.may_use_cookie(&parts.headers)
        {
            let message = "A page of another origin may not use your session.";
            return Err(Error::forbidden("foreign_origin", message));
        }
        let user_agent = if changes { user_agent(&parts.headers) } else { None };
        let device = if row.limit == Limit::Login { device(&parts.headers) } else { None };
        let request_id = passage.request_id.clone();
        let origin = Origin { request_id, ip: Some(ip), user_agent, device };
        let mut caller = Caller { principal, origin, ..Caller::nobody() };
        passage.caller = Some(caller.clone());
        self.may_pass(caller.principal.as_deref()).await?;
        row.refuse_unknown(&parts.uri)?;

        let length = parts.headers.get(header::CONTENT_LENGTH);
        let length =
            length.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        if length.is_some_and(|length: u64| length > row.body_max as u64) {
            return Err(too_large(row.body_max));
        }
        if changes {
            *body = body.take().map(|body| Body::new(Limited::new(body, row.body_max)));
        }
        let key = if row.once == Once::No { None } else { idempotency::key(&parts.headers)? };
        if key.is_none() && row.once == Once::Required {
            let message = "Send an Idempotency-Key header, such as a new UUID: should the answer \
                           get lost, send the same request with the same key.";
            return Err(Error::invalid("idempotency_key_required", message));
        }
        let bytes = if changes && !row.streamed { self.gather(body).await? } else { Bytes::new() };
        if let Some(key) = key {
            caller.idempotency = Some(Arc::new(idempotency::of(
                caller.principal.as_deref(),
                &parts.method,
                row.path,
                &parts.uri,
                key,
                &bytes,
            )));
        }
        if !bytes.is_empty() {
            *body = Some(Body::from(bytes));
        }
        if caller.idempotency.is_some() {
            passage.caller = Some(caller.clone());
        }
        parts.extensions.insert(caller);
        Ok(())
    }

    /// Takes the whole body from its client. It is waited for here, where nothing is held, so that
    /// who sends slowly keeps nobody else from being served.
    async fn gather(&self, body: &mut Option<Body>) -> Result<Bytes> {
        let Some(whole) = body.take_if(|body| !body.is_end_stream()) else {
            return Ok(Bytes::new());
        };
        collect(whole, self.row.body_max, self.edge.options.request_timeout).await
    }

    /// Replaces an access token that is over, where the cookie of the same session stands beside
    /// it. The cookie is what shows the session then, so its rules hold: a foreign page that sends
    /// it along is told what it would be told without.
    async fn reissue(
        &self,
        headers: &HeaderMap,
        shown: Option<&Presented<'_>>,
        changes: bool,
        refusal: Error,
    ) -> Result<(Arc<Principal>, Secret<String>)> {
        let expired = shown.filter(|shown| !shown.by_cookie);
        let (Some(expired), Some(cookie)) = (expired, cookie(headers)) else {
            return Err(refusal);
        };
        if changes && !self.edge.options.origins.may_use_cookie(headers) {
            return Err(refusal);
        }
        let users = &self.edge.options.users;
        if self.edge.must_confirm(&self.row) {
            users.confirm(cookie).await?;
        }
        let reissued = users.reissue(expired.token, cookie).await?;
        Ok((reissued.principal, reissued.token))
    }

    /// Whether the caller is of the route's audience, and sure enough who they are. Where more
    /// proof would help, the refusal says which there could be.
    async fn may_pass(&self, principal: Option<&Principal>) -> Result<()> {
        let (edge, row) = (&self.edge, &self.row);
        let passed = admit(row.audience, principal)
            .and_then(|()| edge.whole_admin(row, principal))
            .and_then(|()| permitted(row.permission, principal))
            .and_then(|()| if row.in_person { refuse_another(principal) } else { Ok(()) })
            .and_then(|()| proved(row.audience, row.unproved, principal))
            .and_then(|()| {
                let within = edge.options.step_up_within;
                if row.step_up { fresh(principal, within, edge.now()) } else { Ok(()) }
            });
        match (passed, principal) {
            (Err(error), Some(principal))
                if matches!(error.code(), "second_factor_required" | "step_up_required") =>
            {
                let mut methods = edge.options.users.ways_to_prove(principal.person()).await?;
                // One factor more is asked for, and a password is never a second one.
                methods.retain(|way| error.code() == "step_up_required" || way != "password");
                Err(error.with_member("methods", methods))
            }
            (passed, _) => passed,
        }
    }

    /// Runs the handler: a panic is an internal error, and time is limited.
    async fn handle<S>(&self, request: Request, mut inner: S) -> Response
    where
        S: Service<Request, Response = Response, Error = Infallible> + Send,
        S::Future: Send,
    {
        let under_way = match self.row.lane.as_deref().map(Lane::begin).transpose() {
            Ok(under_way) => under_way,
            Err(error) => return platform::http::Problem(error).into_response(),
        };
        let mut work = pin!(AssertUnwindSafe(inner.call(request)).catch_unwind());
        // What is done at once needs no timer.
        let first = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        let outcome = match first {
            Poll::Ready(outcome) => Ok(outcome),
            Poll::Pending => tokio::time::timeout(self.time_allowed(), work).await,
        };
        match outcome {
            Ok(Ok(Ok(response))) => {
                if let Some(under_way) = under_way
                    && response.status().as_u16() < 400
                {
                    under_way.done();
                }
                response
            }
            Ok(Err(panic)) => {
                let what = panic_text(panic.as_ref());
                let error = Error::internal(format!("{} panicked: {what}", self.row.name));
                platform::http::Problem(error).into_response()
            }
            Err(_) => {
                if let Some(under_way) = under_way {
                    under_way.timed_out();
                }
                platform::http::Problem(self.too_late()).into_response()
            }
        }
    }

    /// How long the handler may take.
    fn time_allowed(&self) -> Duration {
        let Row { within, streamed, limit, .. } = *self.row;
        let options = &self.edge.options;
        let takes_long = streamed || limit == Limit::Heavy;
        let usual = if takes_long { options.transfer_timeout } else { options.request_timeout };
        within.unwrap_or(usual)
    }

    fn too_late(&self) -> Error {
        if self.row.streamed {
            let message = "The request did not arrive or was not done in time.";
            return Error::new(Kind::Unavailable, "request_timeout", message);
        }
        let message = "It took too long, and may still have been done: look before you try again.";
        Error::new(Kind::Unavailable, "deadline_exceeded", message)
    }

    /// Renders an error, sets the headers that every answer has, counts and logs.
    fn finish(&self, mut response: Response, passage: &Passage) -> Response {
        let failure = response.extensions_mut().remove::<Failure>().map(|failure| failure.0);
        let failure = failure.or_else(|| foreign_failure(&response));
        if let Some(error) = &failure {
            let beside = std::mem::take(response.headers_mut());
            response = self.rendered(error, &passage.request_id, beside);
        }
        let headers = response.headers_mut();
        // Room for all that is set here, made once.
        headers.reserve(HEADERS_SET);
        if let Some(value) = request_id_header(&passage.request_id) {
            headers.insert("x-request-id", value);
        }
        if let Some((class, decision)) = &passage.decision {
            limit_headers(headers, *class, decision);
        }
        let caller = passage.caller.as_ref();
        if caller.and_then(|caller| caller.idempotency.as_ref()).is_some_and(|i| i.is_replayed()) {
            headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        self.edge.options.origins.mark(passage.origin.as_ref(), headers);
        security_headers(headers, self.edge.options.https);
        if let Some(token) = &passage.new_token {
            new_token_headers(headers, token);
        }
        if self.edge.options.server_timing {
            server_timing(headers, passage.started.elapsed());
        }
        if self.row.bears_secrets {
            response.extensions_mut().insert(BearsSecrets);
        }
        self.record(response.status(), failure.as_ref(), passage);
        response
    }

    /// An error in the route's shape. What was said beside it stays, such as how long a file is of
    /// which there is no such part (RFC 9110 section 15.5.17).
    fn rendered(&self, error: &Error, request_id: &RequestId, beside: HeaderMap) -> Response {
        let shown = render(error, &request_id.to_string(), self.row.errors);
        let mut response = Response::new(Body::from(shown.body));
        *response.status_mut() = shown.status;
        *response.headers_mut() = beside;
        let headers = response.headers_mut();
        // Of a body that is replaced.
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(shown.content_type));
        if let Some(seconds) = shown.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if shown.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer realm=\"verza\"");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }

    /// One line a request, and the one place where a failure is logged.
    fn record(&self, status: StatusCode, failure: Option<&Error>, passage: &Passage) {
        let request_id = &passage.request_id;
        let elapsed = passage.started.elapsed();
        self.row.seconds.record(elapsed.as_secs_f64());
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        self.row.answered[class].increment(1);
        let micros = elapsed.as_micros();
        let (method, route, status) = (&passage.method, self.row.path, status.as_u16());
        let user = || {
            let caller = passage.caller.as_ref()?;
            caller.principal.as_ref().map(|principal| principal.person().to_string())
        };
        match failure {
            Some(error) if error.kind() == Kind::Internal => {
                tracing::error!(%method, route, status, micros, %request_id, user = user(), %error);
            }
            Some(error) if error.kind() == Kind::Unavailable => {
                tracing::warn!(%method, route, status, micros, %request_id, user = user(), %error);
            }
            Some(error) => {
                let code = error.code();
                tracing::info!(%method, route, status, micros, %request_id, user = user(), code);
            }
            None => {
                tracing::info!(%method, route, status, micros, %request_id, user = user());
            }
        }
    }
}

/// Marks an answer that carries secrets, for whoever might compress it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BearsSecrets;

/// `Server-Timing` (W3C), for the network tab of a developer's browser.
fn server_timing(headers: &mut HeaderMap, took: Duration) {
    let text = format!("total;dur={:.3}", took.as_secs_f64() * 1000.0);
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert("server-timing", value);
    }
}

/// Errors that were made below us, by the router or an extractor of the framework: 404, 405 and
/// their kind become problems like all others.
fn foreign_failure(response: &Response) -> Option<Error> {
    let status = response.status();
    let ours = response.headers().contains_key(header::CONTENT_TYPE)
        || status.is_success()
        || status.is_redirection()
        || status.is_informational();
    if ours {
        return None;
    }
    Some(match status {
        StatusCode::NOT_FOUND => Error::not_found("page"),
        StatusCode::METHOD_NOT_ALLOWED => {
            Error::invalid("method_not_allowed", "This address does not take this method.")
        }
        _ => Error::internal(format!("an answer without a body and with status {status}")),
    })
}

/// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10). Every counted answer
/// has them, so they are written without a text in between.
fn limit_headers(headers: &mut HeaderMap, class: Limit, decision: &Decision) {
    let Decision { limit, remaining, .. } = decision;
    // Whole seconds, rounded up: whoever waits as told is not a moment early.
    let seconds = |duration: Duration| duration.as_millis().div_ceil(1000);
    let (reset, window) = (seconds(decision.reset), seconds(decision.window));
    let class = class.as_str();
    set_line(headers, RATE_LIMIT, format_args!("\"{class}\";r={remaining};t={reset}"));
    set_line(headers, RATE_LIMIT_POLICY, format_args!("\"{class}\";q={limit};w={window}"));
}

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Sets a short header. One that does not fit is left out.
fn set_line(headers: &mut HeaderMap, name: HeaderName, text: std::fmt::Arguments<'_>) {
    let mut line = [0; 96];
    let mut rest = &mut line[..];
    if rest.write_fmt(text).is_err() {
        return;
    }
    let free = rest.len();
    if let Ok(value) = HeaderValue::from_bytes(&line[..line.len() - free]) {
        headers.insert(name, value);
    }
}

/// The new token as the client sends it from now on. Nobody on the way keeps the answer, also where
/// the same answer without a token might be kept.
fn new_token_headers(headers: &mut HeaderMap, token: &Secret<String>) {
    let text = Secret::new(format!("Bearer {}", token.expose()));
    let Ok(mut value) = HeaderValue::from_str(text.expose()) else { return };
    value.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, value);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn too_large(max: usize) -> Error {
    let message = format!("The body is larger than the {max} bytes that are allowed here.");
    Error::invalid("payload_too_large", message)
}

/// Reads what a refused client is still sending, within bounds: who is busy sending does not read,
/// and an answer that is followed by a closed connection can get lost.
async fn swallow(body: Option<Body>) {
    let Some(body) = body else { return };
    let all = Limited::new(body, SWALLOWED_MAX).collect();
    // Whether it was the end or the bound makes no difference.
    let _ = tokio::time::timeout(SWALLOWED_WITHIN, all).await;
}

async fn collect(body: Body, max: usize, limit: Duration) -> Result<Bytes> {
    match tokio::time::timeout(limit, body.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) => {
            let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            while let Some(error) = cause {
                if error.is::<http_body_util::LengthLimitError>() {
                    return Err(too_large(max));
                }
                cause = error.source();
            }
            Err(Error::invalid("broken_body", "The body did not arrive whole."))
        }
        Err(_) => {
            let message = "The body did not arrive in time.";
            Err(Error::new(Kind::Unavailable, "request_timeout", message))
        }
    }
}

fn user_agent(headers: &HeaderMap) -> Option<Arc<str>> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    let end = text.char_indices().nth(256).map_or(text.len(), |(index, _)| index);
    Some(text[..end].into())
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// What every answer says to browsers, where the handler has not said something of its own.
fn security_headers(headers: &mut HeaderMap, https: bool) {
    const POLICY: HeaderValue =
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
    const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000; includeSubDomains");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(POLICY);
    headers.entry(header::CACHE_CONTROL).or_insert(NO_STORE);
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
}
