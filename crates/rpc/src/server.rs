//! The gRPC listener: who may call, what is limited, how long a call may take; the services of
//! [`crate::threel1`] and [`crate::streamfair`] for clients, [`crate::users`] and [`crate::routes`]
//! for the other processes of the platform, health (grpc.health.v1) and reflection.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::caller::{Origin, RequestId};
use kernel::{Caller, Error, Kind, Level, Principal, Result, Role, Secret};
use platform::trace;
use tokio::net::TcpListener;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::{Router, TcpIncoming};
use tonic::{Response, Status};
use tonic_health::server::HealthReporter;
use tonic_reflection::pb::v1::server_reflection_server;
use tower::layer::util::{Identity, Stack};

use crate::deadline;
use crate::orders::{self, Orders};
use crate::peer::{self, STRANGER};
use crate::routes::{self, Routes};
use crate::status::to_status;
use crate::streamfair::{self, Streamfair};
use crate::threel1;
use crate::tls::{TlsFiles, secured};
use crate::users::{self, Users};
use crate::wire::DESCRIPTORS;
use crate::wire::orders::order_service_server::OrderServiceServer;
use crate::wire::pb::account_service_server::AccountServiceServer;
use crate::wire::pb::identity_provider_server::IdentityProviderServer;
use crate::wire::pb::session_service_server::SessionServiceServer;
use crate::wire::pb::token_service_server::TokenServiceServer;
use crate::wire::pb::user_service_server::UserServiceServer;
use crate::wire::users::user_service_server::UserServiceServer as ThreeL1UsersServer;
use crate::wire::v1::orders_server::OrdersServer;
use crate::wire::v1::routes_server::RoutesServer;
use crate::wire::v1::users_server::UsersServer;

/// The largest message that is read, in bytes, as for JSON bodies.
const MESSAGE_MAX: usize = 256 * 1024;
/// Calls at once on one connection.
const STREAMS_MAX: u32 = 256;

/// Who may call an RPC, and against which limit it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// Anybody: a door that a guesser would try.
    Login,
    /// Anybody: makes accounts.
    Register,
    /// Whoever is signed in, also before the mail address is proved: what one needs to look after
    /// the session itself.
    Unproved,
    /// Whoever is signed in.
    Any,
    Admin,
}

impl Door {
    const fn is_public(self) -> bool {
        matches!(self, Self::Login | Self::Register)
    }

    /// Whether somebody may pass. Admins do with one factor only where `admin_second_factor` does
    /// not ask for two, and an admin who looks through somebody's eyes does only to read.
    ///
    /// # Errors
    /// `Unauthenticated` `missing_auth`; `Forbidden` `forbidden`, `impersonated`,
    /// `second_factor_required`, `email_not_verified`.
    pub fn check(
        self,
        principal: Option<&Principal>,
        reads: bool,
        admin_second_factor: bool,
    ) -> Result<()> {
        if self.is_public() {
            return Ok(());
        }
        let principal = principal.ok_or_else(|| {
            let message = "Sign in first: send authorization metadata, Bearer TOKEN.";
            Error::unauthenticated("missing_auth", message)
        })?;
        let is_admin = principal.role == Role::Admin;
        if self == Self::Admin && !is_admin {
            return Err(Error::forbidden("forbidden", "This is for accounts of the role admin."));
        }
        if principal.impersonator.is_some() && (self == Self::Admin || !reads) {
            let message = "Whoever looks through somebody's eyes cannot do this in their name.";
            return Err(Error::forbidden("impersonated", message));
        }
        if is_admin && admin_second_factor && principal.level < Level::Two {
            let message = "Admins sign in with two factors. Show another one at \
                           /v1/auth/step-up.";
            return Err(Error::forbidden("second_factor_required", message));
        }
        if self != Self::Unproved && !principal.email_verified {
            let message = "Confirm your mail address first, with the link that we sent to it.";
            return Err(Error::forbidden("email_not_verified", message));
        }
        Ok(())
    }
}

/// What the process does around every call: limits before it, and a line in the log after it.
pub trait Gate: Send + Sync {
    /// # Errors
    /// `Limited`.
    fn admit(&self, door: Door, ip: Option<IpAddr>) -> BoxFuture<'_, Result<()>>;

    /// A call was answered. A failure is logged here and nowhere else.
    fn answered(&self, answered: Answered<'_>);
}

/// A call that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    pub rpc: &'static str,
    /// The id of the client's request that it is a part of, or empty.
    pub request: &'a str,
    /// How long it took till its answer, or the beginning of one that comes in pieces, was there.
    pub took: Duration,
    pub failure: Option<&'a Error>,
}

/// What every service asks before it does anything.
pub(crate) struct Front {
    pub(crate) users: Arc<dyn Users>,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) admin_second_factor: bool,
}

impl Front {
    /// Who calls, when they may; `reads` says that nothing changes by it, and `shown` is the token
    /// that the message itself carries, if any.
    pub(crate) async fn admit<T>(
        &self,
        (door, reads): (Door, bool),
        request: &tonic::Request<T>,
        shown: Option<&str>,
    ) -> Result<Caller> {
        let origin = origin(request);
        self.gate.admit(door, origin.ip).await?;
        let token = bearer(request.metadata()).or(shown.filter(|token| !token.is_empty()));
        let principal = match token {
            None => None,
            // What admins do is not for somebody whose session has ended elsewhere.
            Some(token) if door == Door::Admin && !self.users.is_prompt() => {
                Some(self.users.confirm(token).await?)
            }
            Some(token) => match self.users.authenticate(token).await {
                Ok(principal) => Some(principal),
                // On a public door a session that is over counts as none.
                Err(error) if door.is_public() && error.kind() == Kind::Unauthenticated => None,
                Err(error) => return Err(error),
            },
        };
        // Where anybody may come, an admin who is not sure enough to be one is anybody.
        let is_half = |principal: &Principal| {
            let needs_two = self.admin_second_factor && principal.role == Role::Admin;
            needs_two && principal.level < Level::Two
        };
        let principal = principal.filter(|principal| !(door.is_public() && is_half(principal)));
        door.check(principal.as_deref(), reads, self.admin_second_factor)?;
        Ok(Caller { principal, origin, idempotency: None, expected: None })
    }

    /// Runs a call and turns its error into a status. A panic is an internal error.
    pub(crate) async fn answer<T>(
        &self,
        rpc: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<Response<T>, Status> {
        answer(&*self.gate, (rpc, ""), call).await
    }
}

/// Before everything that only the platform's own processes may ask: who does not show its secret
/// is told nothing.
pub(crate) struct Inside {
    secret: Secret<String>,
    gate: Arc<dyn Gate>,
}

impl Inside {
    /// As [`Front::answer`], for who shows the secret.
    pub(crate) async fn answer<T>(
        &self,
        rpc: &'static str,
        metadata: &MetadataMap,
        call: impl Future<Output = Result<T>>,
    ) -> Result<Response<T>, Status> {
        let shown = bearer(metadata).map(|shown| Secret::new(shown.to_owned()));
        let call = async {
            if shown.is_none_or(|shown| shown != self.secret) {
                let message = "This is for the platform's own processes.";
                return Err(Error::unauthenticated(STRANGER, message));
            }
            call.await
        };
        let text = |name| metadata.get(name).and_then(|value| value.to_str().ok());
        let request = text("x-request-id").unwrap_or_default();
        let parent = text("traceparent").and_then(|text| text.parse().ok());
        let id = request_id(request);
        let span = tracing::info_span!("call", rpc, %id, trace_id = tracing::field::Empty);
        trace::within(span, id, parent, answer(&*self.gate, (rpc, request), call)).await
    }
}

/// Runs a call and turns its error into a status. A panic is an internal error.
async fn answer<T>(
    gate: &dyn Gate,
    (rpc, request): (&'static str, &str),
    call: impl Future<Output = Result<T>>,
) -> Result<Response<T>, Status> {
    let begun = Instant::now();
    let outcome = match AssertUnwindSafe(call).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::internal(format!("{rpc} panicked"))),
    };
    let (took, failure) = (begun.elapsed(), outcome.as_ref().err());
    gate.answered(Answered { rpc, request, took, failure });
    outcome.map(Response::new).map_err(|error| to_status(&error))
}

fn bearer(metadata: &MetadataMap) -> Option<&str> {
    let (scheme, token) = metadata.get("authorization")?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn origin<T>(request: &tonic::Request<T>) -> Origin {
    let text = |name: &str, max: usize| {
        let text = request.metadata().get(name)?.to_str().ok()?;
        let end = text.char_indices().nth(max).map_or(text.len(), |(index, _)| index);
        Some(text[..end].into())
    };
    Origin {
        request_id: text("x-request-id", 64).map_or(RequestId::None, RequestId::Theirs),
        ip: request.remote_addr().map(|peer| peer.ip().to_canonical()),
        user_agent: text("user-agent", 256),
        ..Origin::default()
    }
}

/// The id of a request as another process of the platform has written it.
pub(crate) fn request_id(text: &str) -> RequestId {
    match uuid::Uuid::try_parse(text) {
        _ if text.is_empty() => RequestId::None,
        Ok(uuid) if uuid.simple().to_string() == text => RequestId::Ours(uuid),
        _ => RequestId::Theirs(text.into()),
    }
}

/// What is served.
pub struct Services {
    pub gate: Arc<dyn Gate>,
    /// To clients: the services in the shapes of the older systems.
    pub older: Option<Older>,
    /// To the other processes of the platform.
    pub inner: Option<Inner>,
    /// TLS; with an authority, whoever connects must show a certificate of it.
    pub tls: Option<TlsFiles>,
    /// How long a call may take, also of a caller who would wait longer.
    pub call_max: Duration,
}

/// The services in the shapes of the older systems: those that run in this process.
pub struct Older {
    /// Who presents a token.
    pub users: Arc<dyn Users>,
    /// Whether admins pass with two factors only.
    pub admin_second_factor: bool,
    pub threel1: Option<Arc<dyn threel1::Users>>,
    pub orders: Option<Arc<dyn Orders>>,
    pub streamfair: Option<Streamfair>,
}

/// What the processes of a platform ask each other.
pub struct Inner {
    /// What they all know and nobody else does.
    pub secret: Secret<String>,
    /// The user service and its routes, where it runs in this process.
    pub users: Option<(Arc<dyn Users>, Arc<dyn Routes>)>,
    /// The order service, where it runs in this process.
    pub orders: Option<Arc<dyn Orders>>,
}

/// The listener could not go on.
#[derive(Debug)]
pub struct ServeError(tonic::transport::Error);

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the gRPC listener ended: {}", self.0)
    }
}

impl std::error::Error for ServeError {}

/// Serves on a listener until told to stop; calls in flight finish.
///
/// # Errors
/// When the listener fails, or when the descriptions that reflection tells are broken;
/// `Unavailable` `no_certificate`: certificates that cannot be read at the start.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    stop: impl Future<Output = ()> + Send,
) -> Result<()> {
    let Services { gate, older, inner, tls, call_max } = services;
    let broken = |error| Error::internal("the descriptions are broken").because(error);
    let (health, health_service) = tonic_health::server::health_reporter();
    let mut server = Server::builder()
        .layer(deadline::Within(call_max))
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(20)));
    let served = vec![name_of(&health_service), server_reflection_server::SERVICE_NAME];
    let mut board = Board { health, served };
    let mut router = server.add_service(health_service);
    if let Some(older) = older {
        router = add_older(router, older, &gate, &mut board).await;
    }
    if let Some(inner) = inner {
        router = add_inner(router, inner, gate, &mut board).await;
    }
    let described = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    // What runs elsewhere is not listed here.
    let reflection =
        board.served.into_iter().fold(described, |all, name| all.with_service_name(name));
    let router = router.add_service(reflection.build_v1().map_err(broken)?);
    let served = match tls {
        Some(files) => {
            let incoming = secured(listener, files.server()?);
            router.serve_with_incoming_shutdown(incoming, stop).await
        }
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            router.serve_with_incoming_shutdown(incoming, stop).await
        }
    };
    served.map_err(|error| {
        Error::unavailable("grpc", "gRPC is not served.").because(ServeError(error))
    })
}

/// Services whose calls end in time.
type Timely = Router<Stack<deadline::Within, Identity>>;

/// What is said of the services that are served: by health that they do, by reflection what they
/// are.
struct Board {
    health: HealthReporter,
    served: Vec<&'static str>,
}

impl Board {
    async fn add<S: NamedService>(&mut self, server: &S) {
        self.health.set_serving::<S>().await;
        self.served.push(name_of(server));
    }
}

const fn name_of<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}

async fn add_older(
    mut router: Timely,
    older: Older,
    gate: &Arc<dyn Gate>,
    board: &mut Board,
) -> Timely {
    let Older { users, admin_second_factor, threel1, orders, streamfair } = older;
    let front = Arc::new(Front { users, gate: Arc::clone(gate), admin_second_factor });
    macro_rules! add {
        ($served:ident: $($server:ident),*) => {{
            let served = Arc::new($served);
            $(
                let server = $server::from_arc(Arc::clone(&served));
                board.add(&server).await;
                router = router.add_service(server.max_decoding_message_size(MESSAGE_MAX));
            )*
        }};
    }
    if let Some(threel1) = threel1 {
        let served = threel1::Served::new(Arc::clone(&front), threel1);
        add!(served: ThreeL1UsersServer);
    }
    if let Some(orders) = orders {
        let served = threel1::ServedOrders::new(Arc::clone(&front), orders);
        add!(served: OrderServiceServer);
    }
    if let Some(streamfair) = streamfair {
        let served = streamfair::Served::new(front, streamfair);
        add!(
            served: UserServiceServer,
            AccountServiceServer,
            SessionServiceServer,
            TokenServiceServer,
            IdentityProviderServer
        );
    }
    router
}

async fn add_inner(
    mut router: Timely,
    inner: Inner,
    gate: Arc<dyn Gate>,
    board: &mut Board,
) -> Timely {
    let Inner { secret, users, orders } = inner;
    let inside = Arc::new(Inside { secret, gate });
    macro_rules! add {
        ($server:ident, $served:expr) => {{
            let server = $server::new($served);
            board.add(&server).await;
            router = router.add_service(server.max_decoding_message_size(peer::MESSAGE_MAX));
        }};
    }
    if let Some((users, routes)) = users {
        add!(UsersServer, users::Served::new(Arc::clone(&inside), users));
        add!(RoutesServer, routes::Served::new(Arc::clone(&inside), routes));
    }
    if let Some(orders) = orders {
        add!(OrdersServer, orders::Served::new(inside, orders));
    }
    router
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::Id;
    use kernel::id::kinds::User;

    fn principal(role: Role, level: Level) -> Principal {
        let nil = Id::<User>::from_uuid(Default::default());
        Principal { level, ..Principal::new(nil, role, nil.same_as()) }
    }

    fn code(door: Door, principal: Option<&Principal>, reads: bool) -> Option<String> {
        door.check(principal, reads, true).err().map(|error| error.code().to_owned())
    }

    #[test]
    fn each_door_opens_to_whom_it_says() {
        let user = principal(Role::User, Level::One);
        let unproved = Principal { email_verified: false, ..user.clone() };
        let (weak, admin) =
            (principal(Role::Admin, Level::One), principal(Role::Admin, Level::Two));
        let watched = Principal { impersonator: Some(admin.user), ..user.clone() };
        let two = "second_factor_required";
        let table: [(Door, [Option<&str>; 7]); 5] = [
            (Door::Login, [None; 7]),
            (Door::Register, [None; 7]),
            (
                Door::Unproved,
                [Some("missing_auth"), None, None, Some(two), None, None, Some("impersonated")],
            ),
            (
                Door::Any,
                [
                    Some("missing_auth"),
                    None,
                    Some("email_not_verified"),
                    Some(two),
                    None,
                    None,
                    Some("impersonated"),
                ],
            ),
            (
                Door::Admin,
                [
                    Some("missing_auth"),
                    Some("forbidden"),
                    Some("forbidden"),
                    Some(two),
                    None,
                    Some("forbidden"),
                    Some("forbidden"),
                ],
            ),
        ];
        for (door, expected) in table {
            let said = [
                code(door, None, true),
                code(door, Some(&user), false),
                code(door, Some(&unproved), false),
                code(door, Some(&weak), true),
                code(door, Some(&admin), false),
                code(door, Some(&watched), true),
                code(door, Some(&watched), false),
            ];
            assert_eq!(said.each_ref().map(Option::as_deref), expected, "{door:?}");
        }
        assert!(Door::Admin.check(Some(&weak), false, false).is_ok());
    }
}
