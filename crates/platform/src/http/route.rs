//! The rows.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, on};
use http::Method;
use kernel::Permission;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    Content, ContentBuilder, ObjectBuilder, Ref, RefOr, Required, ResponseBuilder, Schema,
};
use utoipa::{IntoParams, ToSchema};

use super::{export, openapi, version};

/// Who may call. A route cannot be written down without saying so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Anybody, signed in or not.
    Public,
    /// Any signed-in account.
    Any,
    User,
    Verifier,
    Enterprise,
    /// An enterprise, by session or by API key. Which key is said by the row: see
    /// [`RouteBuilder::needs`].
    Key,
    Admin,
    /// A payment or identity provider; the handler checks the signature over the raw body.
    Provider,
    /// The internal listener only.
    Ops,
}

impl Audience {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Any => "any",
            Self::User => "user",
            Self::Verifier => "verifier",
            Self::Enterprise => "enterprise",
            Self::Key => "key",
            Self::Admin => "admin",
            Self::Provider => "provider",
            Self::Ops => "ops",
        }
    }
}

/// Which rate limit a route counts against. Quotas are configuration; the classes are few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Health checks and the like: not limited.
    Free,
    Read,
    Write,
    /// Costly: uploads, exports, searches.
    Heavy,
    /// Signing in and all other doors that a guesser would try.
    Login,
    Register,
    /// Sends a mail to an address that the caller names.
    Mail,
    Refresh,
    /// Callbacks of providers.
    Webhook,
    /// What an API key asks for, whatever the route: counted for the key and not for its address.
    Key,
}

impl Limit {
    pub const ALL: [Self; 10] = [
        Self::Free,
        Self::Read,
        Self::Write,
        Self::Heavy,
        Self::Login,
        Self::Register,
        Self::Mail,
        Self::Refresh,
        Self::Webhook,
        Self::Key,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Read => "read",
            Self::Write => "write",
            Self::Heavy => "heavy",
            Self::Login => "login",
            Self::Register => "register",
            Self::Mail => "mail",
            Self::Refresh => "refresh",
            Self::Webhook => "webhook",
            Self::Key => "key",
        }
    }
}

/// Whether a request may carry an `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Once {
    /// Safe or idempotent by itself.
    No,
    Accepted,
    /// Moves money or starts work that must not start twice.
    Required,
}

impl Once {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "-",
            Self::Accepted => "once?",
            Self::Required => "once!",
        }
    }
}

/// How sure a route must be that the session it was called with still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// It is not called with sessions.
    NoSession,
    /// A session that ended elsewhere may be accepted for up to a second.
    Second,
    /// So it is while ends are heard of within milliseconds. While they are not (no Redis, or it
    /// is away) the store is asked with each request, and without its answer it is refused.
    Strict,
}

impl Freshness {
    /// The rooms of money.
    const MONEY: [&'static str; 6] =
        ["wallet", "payments", "payouts", "staking", "billing", "disputes"];

    /// Strict is what cannot be taken back: what admins do, what takes an idempotency key (money
    /// and work that must not start twice), and all else that changes something about money.
    fn of(method: &Method, path: &str, audience: Audience, once: Once) -> Self {
        if matches!(audience, Audience::Provider | Audience::Ops) {
            return Self::NoSession;
        }
        let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let is_money = || path.split('/').any(|part| Self::MONEY.contains(&part));
        if audience == Audience::Admin || once != Once::No || (changes && is_money()) {
            Self::Strict
        } else {
            Self::Second
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSession => "-",
            Self::Second => "1s",
            Self::Strict => "strict",
        }
    }
}

/// How a route shows its errors.
#[derive(Debug, Clone, Copy)]
pub enum ErrorShape {
    /// RFC 9457.
    Problem,
    /// `{"error": text}`, as the file API's document has it.
    Text,
    /// The text alone, as the order API's document has it.
    Plain,
    /// Ory Kratos's: `{"error": {"code": 401, "status": .., "request": .., "reason": ..}}`.
    Kratos,
    /// As whoever wrote the row renders it; what happened inside must stay inside.
    Own(fn(&kernel::Error) -> super::Rendered),
}

/// The largest JSON body, in bytes, where a route does not say otherwise.
const JSON_BODY_MAX: usize = 256 * 1024;

/// One route of the platform.
pub struct Route<S = ()> {
    pub method: Method,
    /// With `{name}` for path parameters.
    pub path: &'static str,
    pub audience: Audience,
    pub limit: Limit,
    pub once: Once,
    pub body_max: usize,
    /// Whether the body is read as it comes rather than before the handler runs.
    pub streamed: bool,
    /// Whether it also serves whoever has not proved their mail address yet.
    pub unproved: bool,
    /// Whether it also serves an admin who has shown one factor only, where admins need two.
    pub one_factor: bool,
    /// Whether the caller must have shown who they are within the last minutes.
    pub step_up: bool,
    pub errors: ErrorShape,
    /// Whether only the person themselves may: an admin who looks at the platform as somebody
    /// else is refused. They look, and so it is with everything but a GET unless its row says
    /// otherwise.
    pub in_person: bool,
    /// Whether it is served however much else there is to do: health checks, and what ends
    /// sessions.
    pub essential: bool,
    /// How long it may take, where that is not what all routes may.
    pub within: Option<Duration>,
    /// Whether its answer stays open: see [`RouteBuilder::live`].
    pub live: bool,
    /// Whether its answers carry secrets (tokens, keys, codes): they are never compressed, since the
    /// length of a compressed answer tells of what is in it (BREACH).
    pub bears_secrets: bool,
    /// What whoever acts for an enterprise must be permitted to do. On routes of enterprises only.
    pub permission: Option<Permission>,
    /// `noun::verb`, from the handler's own name.
    pub name: String,
    pub handler: MethodRouter<S>,
    pub sayings: Sayings,
}

/// What the API reference tells of a row, and the types that it names.
#[derive(Default)]
pub struct Sketch {
    pub operation: Operation,
    pub schemas: Vec<(String, RefOr<Schema>)>,
}

/// One thing that a row says of itself. It is worked out when somebody asks for the reference: five
/// hundred rows and their types would otherwise be a fifth of the time that a start takes.
type Saying = Box<dyn Fn(&mut Sketch) + Send + Sync>;

/// All that a row says of itself, for the API reference.
#[derive(Clone)]
pub struct Sayings(Arc<[Saying]>);

/// A row for the API reference, without its handler.
#[derive(Clone)]
pub struct Described {
    pub method: Method,
    pub path: &'static str,
    pub audience: Audience,
    pub once: Once,
    pub live: bool,
    pub name: String,
    sayings: Sayings,
}

impl Described {
    pub fn sketch(&self) -> Sketch {
        let mut sketch = Sketch::default();
        sketch.operation.operation_id = Some(self.name.replace("::", "_"));
        let noun = self.name.split("::").next().unwrap_or_default();
        sketch.operation.tags = Some(vec![noun.to_owned()]);
        self.sayings.0.iter().for_each(|say| say(&mut sketch));
        sketch
    }
}

impl<S> Route<S> {
    pub fn freshness(&self) -> Freshness {
        Freshness::of(&self.method, self.path, self.audience, self.once)
    }

    pub fn described(&self) -> Described {
        Described {
            method: self.method.clone(),
            path: self.path,
            audience: self.audience,
            once: self.once,
            live: self.live,
            name: self.name.clone(),
            sayings: self.sayings.clone(),
        }
    }
}

/// A row that has no handler yet.
pub struct RouteBuilder {
    method: Method,
    path: &'static str,
    audience: Audience,
    limit: Limit,
    once: Once,
    body_max: usize,
    streamed: bool,
    unproved: bool,
    one_factor: bool,
    step_up: bool,
    errors: ErrorShape,
    description: Cow<'static, str>,
    in_person: bool,
    essential: bool,
    within: Option<Duration>,
    live: bool,
    bears_secrets: bool,
    permission: Option<Permission>,
    sayings: Vec<Saying>,
    paged: bool,
    versioned: bool,
    /// The columns of the reply that is a success, where it is a list.
    columns: Option<fn() -> Vec<String>>,
}

macro_rules! method {
    ($name:ident, $method:ident, $limit:ident) => {
        pub fn $name(audience: Audience, path: &'static str) -> RouteBuilder {
            RouteBuilder::new(Method::$method, audience, path, Limit::$limit)
        }
    };
}
method!(get, GET, Read);
method!(post, POST, Write);
method!(put, PUT, Write);
method!(patch, PATCH, Write);
method!(delete, DELETE, Write);

/// The rows of a noun over the service that answers them.
pub fn table<S: Clone + Send + Sync + 'static>(
    service: &S,
    rows: impl IntoIterator<Item = Route<S>>,
) -> Vec<Route> {
    let with_state = |row: Route<S>| Route {
        method: row.method,
        path: row.path,
        audience: row.audience,
        limit: row.limit,
        once: row.once,
        body_max: row.body_max,
        streamed: row.streamed,
        unproved: row.unproved,
        one_factor: row.one_factor,
        step_up: row.step_up,
        errors: row.errors,
        in_person: row.in_person,
        essential: row.essential,
        within: row.within,
        live: row.live,
        bears_secrets: row.bears_secrets,
        permission: row.permission,
        name: row.name,
        sayings: row.sayings,
        handler: row.handler.with_state(service.clone()),
    };
    rows.into_iter().map(with_state).collect()
}

impl RouteBuilder {
    fn new(method: Method, audience: Audience, path: &'static str, limit: Limit) -> Self {
        Self {
            in_person: starts_in_person(&method),
            essential: false,
            within: None,
            live: false,
            bears_secrets: is_about_secrets(path),
            permission: permission_of(&method, audience),
            method,
            path,
            audience,
            limit,
            once: Once::No,
            body_max: JSON_BODY_MAX,
            streamed: false,
            unproved: false,
            one_factor: false,
            step_up: false,
            errors: ErrorShape::Problem,
            description: Cow::Borrowed(""),
            sayings: vec![Box::new(move |sketch| name_parts(path, sketch))],
            paged: false,
            versioned: false,
            columns: None,
        }
    }

    fn say(mut self, saying: impl Fn(&mut Sketch) + Send + Sync + 'static) -> Self {
        self.sayings.push(Box::new(saying));
        self
    }

    /// One sentence, as a person would look for it.
    #[must_use]
    pub fn summary(self, summary: impl Into<Cow<'static, str>>) -> Self {
        let summary = summary.into();
        self.say(move |sketch| sketch.operation.summary = Some(summary.clone().into_owned()))
    }

    #[must_use]
    pub fn describe(mut self, description: impl Into<Cow<'static, str>>) -> Self {
        self.description = description.into();
        self
    }

    /// What cannot be taken back or changes how one signs in: a session alone is not enough, its
    /// owner must have shown who they are within the last minutes. See `POST /v1/auth/step-up`.
    #[must_use]
    pub fn step_up(mut self) -> Self {
        self.step_up = true;
        self
    }

    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }

    #[must_use]
    pub fn once(mut self, once: Once) -> Self {
        self.once = once;
        self
    }

    /// Serves also whoever has not proved their mail address yet: what one needs to look after the
    /// session itself, and what the older APIs promise right after a registration. Everything
    /// else is refused to them, since the address may be somebody else's.
    #[must_use]
    pub fn unproved(mut self) -> Self {
        self.unproved = true;
        self
    }

    /// Serves also an admin who has shown one factor only, where admins need two: what it takes to
    /// show another one, and to look after one's own session. Everything else is refused to them,
    /// whatever its audience: an admin is one on many routes that are not for admins alone.
    #[must_use]
    pub fn with_one_factor(mut self) -> Self {
        self.one_factor = true;
        self
    }

    #[must_use]
    pub fn errors(mut self, errors: ErrorShape) -> Self {
        self.errors = errors;
        self
    }

    /// Only the person themselves may, although it is a GET: what hands out all there is, what lets
    /// in.
    #[must_use]
    pub fn in_person(mut self) -> Self {
        self.in_person = true;
        self
    }

    /// An admin who looks at the platform as somebody else may do this too: it ends that, or asks
    /// and changes nothing.
    #[must_use]
    pub fn also_for_another(mut self) -> Self {
        self.in_person = false;
        self
    }

    /// Served however much else there is to do: what ends sessions, or says how things are.
    #[must_use]
    pub fn essential(mut self) -> Self {
        self.essential = true;
        self
    }

    /// It may take so long, from when its request is here until it is answered.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    /// Its answer stays open and tells what happens: server-sent events, or a WebSocket. Browsers
    /// cannot set headers on those, so it takes a ticket of `POST /v1/ws/ticket` as `?token=` as
    /// well. And since browsers ask no page's origin before they open a WebSocket with the user's
    /// cookies, the cookie is taken from our own pages and allowed origins only.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.live = true;
        self.say(|sketch| {
            let token = ParameterBuilder::new()
                .name("token")
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(TICKET))
                .schema(Some(text()));
            sketch.takes(token.build());
        })
    }

    /// Its answers carry secrets. So do those of routes that give access, and of those whose path
    /// names keys, tokens, secrets or codes, without being told so.
    #[must_use]
    pub fn bears_secrets(mut self) -> Self {
        self.bears_secrets = true;
        self
    }

    /// What members and keys must be permitted to do. A row of enterprises that does not say so
    /// wants `organization:read` of whoever looks and `organization:manage` of whoever changes,
    /// which no key has: a key gets to the rows that name what it may do, and to no other.
    #[must_use]
    pub fn needs(mut self, permission: Permission) -> Self {
        self.permission = Some(permission);
        self
    }

    /// The body is read as it comes, up to `max` bytes: uploads. The edge has not seen it when it
    /// takes the fingerprint of an idempotent request, so the verb of a row that takes a key adds
    /// the body to it with [`crate::db::with_body`].
    #[must_use]
    pub fn streams(mut self, max: usize) -> Self {
        (self.streamed, self.body_max) = (true, max);
        self
    }

    #[must_use]
    pub fn body_max(mut self, max: usize) -> Self {
        self.body_max = max;
        self
    }

    /// The query parameters.
    #[must_use]
    pub fn query<Q: IntoParams>(self) -> Self {
        self.say(|sketch| {
            for parameter in Q::into_params(|| Some(ParameterIn::Query)) {
                sketch.takes(parameter);
            }
        })
    }

    /// The list comes in pages: `limit`, `cursor` and `page`; or whole as a file, with `format`.
    #[must_use]
    pub fn paged(mut self) -> Self {
        self.paged = true;
        self.query::<super::extract::PagingQuery>()
    }

    /// Tells of one thing with its version as `ETag` ([`super::Versioned`]); a row that changes it
    /// takes `If-Match`, and its verb asks [`kernel::Caller::expect`].
    #[must_use]
    pub fn versioned(mut self) -> Self {
        self.versioned = true;
        self
    }

    /// The JSON body.
    #[must_use]
    pub fn takes<T: ToSchema + 'static>(self) -> Self {
        self.say(|sketch| {
            let content = sketch.content::<T>();
            let body = RequestBodyBuilder::new()
                .content("application/json", content)
                .required(Some(Required::True));
            sketch.operation.request_body = Some(body.build().into());
        })
    }

    /// A body that is not JSON: its media type and what it holds.
    #[must_use]
    pub fn takes_media(
        self,
        media_type: &'static str,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        let description = description.into();
        self.say(move |sketch| {
            let body = RequestBodyBuilder::new()
                .description(Some(&*description))
                .content(media_type, ContentBuilder::new().build())
                .required(Some(Required::True));
            sketch.operation.request_body = Some(body.build().into());
        })
    }

    /// The JSON reply of a status.
    #[must_use]
    pub fn returns<T: ToSchema + 'static>(mut self, status: u16) -> Self {
        if status == 200 {
            self.columns = Some(columns_of::<T>);
        }
        self.say(move |sketch| {
            let content = sketch.content::<T>();
            let response = ResponseBuilder::new().description(meaning(status));
            sketch.returns(status, response.content("application/json", content));
        })
    }

    /// A reply that is not JSON.
    #[must_use]
    pub fn returns_media(
        self,
        status: u16,
        media_type: &'static str,
        description: &'static str,
    ) -> Self {
        self.say(move |sketch| {
            let response = ResponseBuilder::new().description(description);
            sketch.returns(status, response.content(media_type, ContentBuilder::new().build()));
        })
    }

    /// A reply without a body.
    #[must_use]
    pub fn returns_nothing(self, status: u16) -> Self {
        self.say(move |sketch| {
            sketch.returns(status, ResponseBuilder::new().description(meaning(status)));
        })
    }

    /// What is said of the row besides its summary, from all that it is.
    fn sayings(&mut self) -> Sayings {
        let description = std::mem::take(&mut self.description);
        let step_up = self.step_up.then_some(STEP_UP);
        let scope = self.permission.filter(|_| self.audience == Audience::Key);
        let (versioned, changes) = (self.versioned, self.method != Method::GET);
        self.sayings.push(Box::new(move |sketch| {
            let scope = scope.map(|one| format!("An API key needs the scope `{one}`."));
            let parts = [Some(&*description), step_up, scope.as_deref()];
            let parts: Vec<_> =
                parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
            if !parts.is_empty() {
                sketch.operation.description = Some(parts.join(" "));
            }
            if versioned {
                openapi::versioned(&mut sketch.operation, changes);
            }
        }));
        Sayings(std::mem::take(&mut self.sayings).into())
    }

    /// The handler. The row's name comes from the handler's: `documents::credential::http::list`
    /// becomes `credential::list`.
    pub fn to<H, T, S>(mut self, handler: H) -> Route<S>
    where
        H: Handler<T, S>,
        T: 'static,
        S: Clone + Send + Sync + 'static,
    {
        let name = short_name(std::any::type_name::<H>());
        let filter = axum::routing::MethodFilter::try_from(self.method.clone())
            .unwrap_or(axum::routing::MethodFilter::GET);
        let mut handler = on(filter, handler);
        if let (true, Some(columns)) = (self.paged, self.columns) {
            let columns: export::Columns = Arc::new(LazyLock::new(columns));
            handler = handler.layer(from_fn_with_state(columns, export::exported));
        }
        if self.versioned {
            handler = handler.layer(from_fn(version::expecting));
        }
        let sayings = self.sayings();
        Route {
            method: self.method,
            path: self.path,
            audience: self.audience,
            limit: self.limit,
            once: self.once,
            body_max: self.body_max,
            streamed: self.streamed,
            unproved: self.unproved,
            one_factor: self.one_factor,
            step_up: self.step_up,
            errors: self.errors,
            in_person: self.in_person,
            essential: self.essential || self.limit == Limit::Free,
            within: self.within,
            live: self.live,
            bears_secrets: self.bears_secrets || gives_access(self.limit),
            permission: self.permission,
            name,
            handler,
            sayings,
        }
    }
}

impl Sketch {
    fn takes(&mut self, parameter: Parameter) {
        self.operation.parameters.get_or_insert_default().push(parameter.into());
    }

    fn returns(&mut self, status: u16, response: ResponseBuilder) {
        self.operation.responses.responses.insert(status.to_string(), response.build().into());
    }

    fn content<T: ToSchema + 'static>(&mut self) -> Content {
        T::schemas(&mut self.schemas);
        let inline = T::schema();
        let name = T::name();
        // Lists and maps have no name of their own: they stand where they are used.
        let schema = match inline {
            RefOr::T(Schema::Object(_) | Schema::AllOf(_) | Schema::OneOf(_)) if !is_std::<T>() => {
                self.schemas.push((name.to_string(), inline));
                RefOr::Ref(Ref::from_schema_name(name))
            }
            other => other,
        };
        ContentBuilder::new().schema(Some(schema)).build()
    }
}

/// The parameters that stand in the path.
fn name_parts(path: &str, sketch: &mut Sketch) {
    for part in path.split('/') {
        let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            continue;
        };
        let parameter = ParameterBuilder::new()
            .name(name.trim_start_matches('*'))
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(text()));
        sketch.takes(parameter.build());
    }
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(utoipa::openapi::Type::String)
}

/// The columns of a list as a file.
fn columns_of<T: ToSchema + 'static>() -> Vec<String> {
    let mut sketch = Sketch::default();
    let list = sketch.content::<T>().schema;
    list.map_or_else(Vec::new, |list| export::columns(&list, &sketch.schemas))
}

/// What is said of routes that want a fresh proof.
const STEP_UP: &str = "Needs a proof of who you are from the last minutes: a login, or \
    `POST /v1/auth/step-up`. Without one the answer is 403 `step_up_required`, with the methods \
    that you have.";

/// What is said of the tickets of live routes.
const TICKET: &str = "A ticket of POST /v1/ws/ticket, where neither a header can be set nor the \
    cookie is there. Nothing else is taken here: not an access token.";

/// Who looks at the platform as somebody else changes nothing in their name, also where a row
/// forgets to say so.
fn starts_in_person(method: &Method) -> bool {
    method != Method::GET
}

/// What a row of enterprises wants where it does not say so.
fn permission_of(method: &Method, audience: Audience) -> Option<Permission> {
    let is_for_enterprises = matches!(audience, Audience::Enterprise | Audience::Key);
    let permission = if *method == Method::GET {
        Permission::OrganizationRead
    } else {
        Permission::OrganizationManage
    };
    is_for_enterprises.then_some(permission)
}

/// Whether what a limit guards gives access to an account.
const fn gives_access(limit: Limit) -> bool {
    matches!(limit, Limit::Login | Limit::Register | Limit::Refresh | Limit::Mail)
}

/// Whether a path is one whose answers carry secrets, also where a row forgets to say so.
fn is_about_secrets(path: &str) -> bool {
    const WORDS: [&str; 10] = [
        "auth", "key", "token", "secret", "code", "password", "webhook", "setup", "session",
        "login",
    ];
    let published = path.starts_with("/.well-known/") || path.starts_with("/v1/audit/");
    let names = |part: &str| WORDS.iter().any(|word| part.to_ascii_lowercase().contains(word));
    !published && path.split('/').any(names)
}

/// Types of the standard library describe themselves in place.
fn is_std<T: 'static>() -> bool {
    let name = std::any::type_name::<T>();
    name.starts_with("alloc::") || name.starts_with("std::") || name.starts_with("serde_json::")
}

fn short_name(full: &str) -> String {
    let parts: Vec<&str> = full.split("::").filter(|part| *part != "http").collect();
    parts[parts.len().saturating_sub(2)..].join("::")
}

const fn meaning(status: u16) -> &'static str {
    match status {
        200 => "Done.",
        201 => "Created.",
        202 => "Accepted; the work goes on.",
        204 => "Done; there is nothing to say.",
        206 => "Part of the content.",
        304 => "Not changed.",
        _ => "See the status code.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admins_money_and_what_must_not_start_twice_are_strict() {
        use Audience::{Admin, Any, Provider};
        for (method, path, audience, once, expected) in [
            (Method::GET, "/v1/me", Any, Once::No, "1s"),
            (Method::DELETE, "/v1/me/sessions", Any, Once::No, "1s"),
            (Method::GET, "/v1/admin/users", Admin, Once::No, "strict"),
            (Method::GET, "/v1/user/wallet", Any, Once::No, "1s"),
            (Method::PUT, "/v1/user/wallet/limits", Any, Once::No, "strict"),
            (Method::POST, "/v1/user/verifications", Any, Once::Required, "strict"),
            (Method::POST, "/v1/user/credentials", Any, Once::Accepted, "strict"),
            (Method::POST, "/v1/payments/webhook", Provider, Once::No, "-"),
        ] {
            let freshness = Freshness::of(&method, path, audience, once);
            assert_eq!(freshness.as_str(), expected, "{method} {path}");
        }
    }

    #[test]
    fn all_but_a_get_is_done_in_person_unless_the_row_says_otherwise() {
        let in_person = |row: RouteBuilder| row.to::<_, _, ()>(async || ()).in_person;
        for row in [post, put, patch, delete] {
            assert!(in_person(row(Audience::User, "/v1/x")));
            assert!(!in_person(row(Audience::User, "/v1/x").also_for_another()));
        }
        assert!(!in_person(get(Audience::User, "/v1/x")));
        assert!(in_person(get(Audience::User, "/v1/x").in_person()));
    }

    #[test]
    fn what_gives_access_or_is_about_keys_bears_secrets() {
        let bears = |row: RouteBuilder| row.to::<_, _, ()>(async || ()).bears_secrets;
        let public = |path| post(Audience::Public, path);
        for path in ["/v1/auth/refresh", "/v1/enterprise/api-keys", "/v1/me/sessions"] {
            assert!(bears(public(path)), "{path}");
        }
        assert!(bears(public("/api/users").limit(Limit::Register)));
        assert!(!bears(public("/v1/user/credentials")));
        assert!(!bears(public("/.well-known/jwks.json")));
    }

    #[test]
    fn a_row_of_enterprises_that_names_no_permission_wants_one_that_no_key_has() {
        let needs = |row: RouteBuilder| row.to::<_, _, ()>(async || ()).permission;
        for audience in [Audience::Enterprise, Audience::Key] {
            assert_eq!(needs(get(audience, "/v1/x")), Some(Permission::OrganizationRead));
            for row in [post, put, patch, delete] {
                let permission = needs(row(audience, "/v1/x"));
                assert_eq!(permission, Some(Permission::OrganizationManage));
                assert!(permission.is_some_and(|one| !one.is_for_keys()));
            }
        }
        let row = get(Audience::Key, "/v1/x").needs(Permission::VerificationsRead);
        assert_eq!(needs(row), Some(Permission::VerificationsRead));
        assert_eq!(needs(get(Audience::User, "/v1/x")), None);
    }

    #[test]
    fn a_row_is_named_after_its_handler() {
        assert_eq!(short_name("documents::credential::http::list"), "credential::list");
        assert_eq!(short_name("gateway::health::live"), "health::live");
    }
}
