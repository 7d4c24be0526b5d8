//! The gRPC listener of this process.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::{Error, Kind, Result, World};
use platform::http::Limit;
use platform::limits::{Limiter, Subject};
use rpc::server::{Door, Gate, Services};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
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

    fn answered(&self, rpc: &'static str, failure: Option<&Error>) {
        let outcome = match failure.map(Error::kind) {
            None => "ok",
            Some(Kind::Internal | Kind::Unavailable) => "failed",
            Some(_) => "refused",
        };
        metrics::counter!("grpc_requests_total", "rpc" => rpc, "outcome" => outcome).increment(1);
        match failure {
            Some(error) if error.kind() == Kind::Internal => tracing::error!(rpc, %error),
            Some(error) if error.kind() == Kind::Unavailable => tracing::warn!(rpc, %error),
            Some(error) => tracing::info!(rpc, code = error.code()),
            None => tracing::info!(rpc),
        }
    }
}

/// Listens where the configuration says, if it does.
pub(crate) async fn listen(config: &Config) -> Result<Option<TcpListener>> {
    match config.grpc.listen {
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
    pub(crate) fn grpc_services(&self) -> Services {
        let watch = Watch { limiter: self.limiter.clone(), world: self.db.world().clone() };
        Services {
            users: self.identity.clone(),
            gate: Arc::new(watch),
            admin_second_factor: self.config.accounts.admin_second_factor,
            threel1: self.identity.facade.clone(),
            orders: self.orders.clone(),
            streamfair: self.identity.streamfair.ports(),
        }
    }
}
