//! The gRPC listener of this process.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::{Error, Kind, Result, World};
use platform::http::Limit;
use platform::limits::{Limiter, Subject};
use rpc::server::{Answered, Door, Gate, Inner, Older, Services};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Role};
use crate::roles;
use crate::wiring::Platform;

/// The limits and the log of gRPC calls: those of HTTP, by the same limiter.
struct Watch {
    limiter: Arc<Limiter>,
    world: World,
}

impl Gate for Watch {
    fn admit(&self, door: Door, ip: Option<IpAddr>) -> BoxFuture<'_, Result<()>> {
        let subject = Subject::address(ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let now = self.world.now();
        async move {
            let decision = match door {
                Door::Login => self.limiter.admit(Limit::Login, subject, now).await?,
                Door::Register => self.limiter.admit(Limit::Register, subject, now).await?,
                Door::Unproved | Door::Any | Door::Admin => {
                    self.limiter.check(Limit::Write, subject, now)
                }
            };
            decision.map_or(Ok(()), |decision| decision.check().map(drop))
        }
        .boxed()
    }

    fn answered(&self, answered: Answered<'_>) {
        let Answered { rpc, request, took, failure } = answered;
        let outcome = match failure.map(Error::kind) {
            None => "ok",
            Some(Kind::Internal | Kind::Unavailable) => "failed",
            Some(_) => "refused",
        };
        metrics::counter!("grpc_requests_total", "rpc" => rpc, "outcome" => outcome).increment(1);
        metrics::histogram!("grpc_request_seconds", "rpc" => rpc).record(took);
        let request_id = Some(request).filter(|id| !id.is_empty());
        match failure {
            Some(error) if error.kind() == Kind::Internal => {
                tracing::error!(rpc, request_id, %error);
            }
            Some(error) if error.kind() == Kind::Unavailable => {
                tracing::warn!(rpc, request_id, %error);
            }
            Some(error) => tracing::info!(rpc, request_id, code = error.code()),
            None => tracing::info!(rpc, request_id),
        }
    }
}

/// Listens where the configuration says, if it does.
pub(crate) async fn listen(config: &Config) -> Result<Option<TcpListener>> {
    match config.grpc.listen.filter(|_| config.server.role.serves_grpc()) {
        Some(address) => gateway::listen(address, "grpc.listen").await.map(Some),
        None => Ok(None),
    }
}

/// Serves until told to stop, then lets calls in flight finish within the grace.
pub(crate) async fn serve(
    listener: TcpListener,
    services: Services,
    stop: CancellationToken,
    grace: Duration,
) {
    let work = rpc::server::serve(listener, services, stop.clone().cancelled_owned());
    let over = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        ended = work => {
            if let Err(error) = ended {
                tracing::error!(%error, "gRPC is not served any more");
            }
        }
        () = over => tracing::warn!("gRPC connections were cut off when the grace was over"),
    }
}

impl Platform {
    /// What is served by gRPC.
    pub(crate) fn grpc_services(&self) -> Result<Services> {
        let watch = Watch { limiter: self.limiter.clone(), world: self.db.world().clone() };
        let role = self.config.server.role;
        let serves_users = role != Role::Orders;
        let older = Older {
            users: self.users.clone(),
            admin_second_factor: self.config.accounts.admin_second_factor,
            threel1: serves_users.then(|| self.identity.facade.clone() as _),
            orders: Some(self.orders.clone()),
            streamfair: serves_users.then(|| self.identity.streamfair.ports()),
        };
        let inner = role.is_asked().then(|| Inner {
            secret: self.secret.clone(),
            users: (role == Role::Users).then(|| {
                let rows = gateway::remote::Rows::new(self.users_rows());
                (self.identity.clone() as _, Arc::new(rows) as _)
            }),
            orders: (role == Role::Orders).then(|| self.orders.clone()),
        });
        let tls = roles::tls_files(&self.config)?;
        let call_max = roles::question_max(&self.config).max(roles::request_max(&self.config));
        Ok(Services { gate: Arc::new(watch), older: Some(older), inner, tls, call_max })
    }
}
