//! The gRPC listener: who may call, what is limited, how long a call may take; the services of
//! [`crate::threel1`] and [`crate::streamfair`], health (grpc.health.v1) and reflection.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::caller::{Origin, RequestId};
use kernel::{Caller, Error, Kind, Level, Principal, Result, Role};
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::transport::server::{TcpConnectInfo, TcpIncoming};
use tonic::{Response, Status};

use crate::orders::Orders;
use crate::status::to_status;
use crate::streamfair::{self, Streamfair};
use crate::threel1;
use crate::users::Users;
use crate::wire::DESCRIPTORS;
use crate::wire::orders::order_service_server::OrderServiceServer;
use crate::wire::pb::account_service_server::AccountServiceServer;
use crate::wire::pb::identity_provider_server::IdentityProviderServer;
use crate::wire::pb::session_service_server::SessionServiceServer;
use crate::wire::pb::token_service_server::TokenServiceServer;
use crate::wire::pb::user_service_server::UserServiceServer;
use crate::wire::users::user_service_server::UserServiceServer as ThreeL1UsersServer;

/// The largest message that is read, in bytes, as for JSON bodies.
const MESSAGE_MAX: usize = 256 * 1024;
/// How long a call may take.
const CALL_MAX: Duration = Duration::from_secs(30);
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
    fn answered(&self, rpc: &'static str, failure: Option<&Error>);
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
        door.check(principal.as_deref(), reads, self.admin_second_factor)?;
        Ok(Caller { principal, origin, idempotency: None })
    }

    /// Runs a call and turns its error into a status. A panic is an internal error.
    pub(crate) async fn answer<T>(
        &self,
        rpc: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<Response<T>, Status> {
        let outcome = match AssertUnwindSafe(call).catch_unwind().await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::internal(format!("{rpc} panicked"))),
        };
        self.gate.answered(rpc, outcome.as_ref().err());
        outcome.map(Response::new).map_err(|error| to_status(&error))
    }
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
    let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    Origin {
        request_id: text("x-request-id", 64).map_or(RequestId::None, RequestId::Theirs),
        ip: peer.map(|peer| peer.ip().to_canonical()),
        user_agent: text("user-agent", 256),
        ..Origin::default()
    }
}

/// What is served.
pub struct Services {
    /// Who presents a token.
    pub users: Arc<dyn Users>,
    pub gate: Arc<dyn Gate>,
    /// Whether admins pass with two factors only.
    pub admin_second_factor: bool,
    pub threel1: Arc<dyn threel1::Users>,
    pub orders: Arc<dyn Orders>,
    pub streamfair: Streamfair,
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

/// Serves on a listener (tokio's `TcpListener`) until told to stop; calls in flight finish.
///
/// # Errors
/// When the listener fails, or when the descriptions that reflection tells are broken.
pub async fn serve(
    listener: impl Into<TcpIncoming>,
    services: Services,
    stop: impl Future<Output = ()> + Send,
) -> Result<()> {
    let Services { users, gate, admin_second_factor, threel1, orders, streamfair } = services;
    let front = Arc::new(Front { users, gate, admin_second_factor });
    let threel1 = Arc::new(threel1::Served::new(front.clone(), threel1));
    let orders = Arc::new(threel1::ServedOrders::new(front.clone(), orders));
    let pb = Arc::new(streamfair::Served::new(front, streamfair));
    let broken = |error| Error::internal("the descriptions are broken").because(error);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .build_v1()
        .map_err(broken)?;
    let (health, health_service) = tonic_health::server::health_reporter();

    health.set_serving::<ThreeL1UsersServer<threel1::Served>>().await;
    health.set_serving::<OrderServiceServer<threel1::ServedOrders>>().await;
    health.set_serving::<UserServiceServer<streamfair::Served>>().await;
    health.set_serving::<AccountServiceServer<streamfair::Served>>().await;
    health.set_serving::<SessionServiceServer<streamfair::Served>>().await;
    health.set_serving::<TokenServiceServer<streamfair::Served>>().await;
    health.set_serving::<IdentityProviderServer<streamfair::Served>>().await;
    macro_rules! bounded {
        ($server:ident, $served:expr) => {
            $server::from_arc(Arc::clone(&$served)).max_decoding_message_size(MESSAGE_MAX)
        };
    }
    let router = Server::builder()
        .timeout(CALL_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .add_service(health_service)
        .add_service(reflection)
        .add_service(bounded!(ThreeL1UsersServer, threel1))
        .add_service(bounded!(OrderServiceServer, orders))
        .add_service(bounded!(UserServiceServer, pb))
        .add_service(bounded!(AccountServiceServer, pb))
        .add_service(bounded!(SessionServiceServer, pb))
        .add_service(bounded!(TokenServiceServer, pb))
        .add_service(bounded!(IdentityProviderServer, pb));
    router.serve_with_incoming_shutdown(listener.into(), stop).await.map_err(|error| {
        Error::unavailable("grpc", "gRPC is not served.").because(ServeError(error))
    })
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
