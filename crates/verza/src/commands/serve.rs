//! `verza serve`: the platform, until it is told to stop.

use std::process::ExitCode;

use kernel::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Config, Role};
use crate::telemetry;
use crate::wiring::{self, Running};

pub async fn serve(config: Config) -> Result<ExitCode> {
    let traces = telemetry::start(&config)?;
    // Who asks us to stop does not wait until we are there.
    let mut word = Word::listen()?;
    let running = tokio::select! {
        running = wiring::start(config) => running?,
        () = word.said() => return Ok(ExitCode::SUCCESS),
    };
    announce(&running).await?;
    word.wait().await;
    running.finish().await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// What an operator wants to know at start. On a fresh platform that is how to become admin.
async fn announce(running: &Running) -> Result<()> {
    let Running { platform, address, ops_address, .. } = running;
    let url = &platform.public_url;
    let (role, database) = (platform.config.server.role, platform.db.engine_name());
    tracing::info!(role = role.as_str(), %address, %ops_address, %url, database, "ready");
    if let Some(address) = running.grpc_address {
        tracing::info!(%address, "gRPC");
    }
    if platform.config.sandbox() {
        tracing::warn!("the payment sandbox is on: deposits cost nothing (payments.sandbox)");
    }
    // Told once, by the process that has the accounts.
    if !matches!(role, Role::All | Role::Users) {
        return Ok(());
    }
    if let Some(link) = platform.first_setup_link().await? {
        // To the terminal and not to the log: whoever has it becomes admin.
        eprintln!(
            "\n  There is no admin yet. Set one up within the hour:\n  {link}\n  A front end opens \
             this link; without one, POST the token with name, email and password to /v1/setup.\n"
        );
    }
    Ok(())
}

/// The word to stop: SIGTERM or SIGINT. It is heard from the moment at which this is made; before
/// that it ends the process as it is.
pub struct Word {
    term: Signal,
    int: Signal,
}

impl Word {
    pub fn listen() -> Result<Self> {
        let hear = |kind| {
            signal(kind).map_err(|error| {
                Error::unavailable("signals", "The system lets us hear no signals.").because(error)
            })
        };
        Ok(Self { term: hear(SignalKind::terminate())?, int: hear(SignalKind::interrupt())? })
    }

    /// Waits for the word; a second one ends the process at once.
    pub async fn wait(mut self) {
        self.said().await;
        tracing::info!("stopping: requests in flight may finish");
        tokio::spawn(async move {
            self.said().await;
            std::process::exit(130);
        });
    }

    pub(super) async fn said(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
