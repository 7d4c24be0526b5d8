//! `verza serve`: the platform, until it is told to stop.

use std::process::ExitCode;

use kernel::Result;

use crate::config::Config;
use crate::telemetry;
use crate::wiring::{self, Running};

pub async fn serve(config: Config) -> Result<ExitCode> {
    telemetry::start_log(&config.log)?;
    let running = wiring::start(config).await?;
    announce(&running).await?;
    wait_for_the_word().await;
    running.finish().await;
    Ok(ExitCode::SUCCESS)
}

/// What an operator wants to know at start. On a fresh platform that is how to become admin.
async fn announce(running: &Running) -> Result<()> {
    let Running { platform, address, ops_address, .. } = running;
    let url = &platform.public_url;
    tracing::info!(%address, %ops_address, %url, database = platform.db.engine_name(), "ready");
    if platform.config.sandbox() {
        tracing::warn!("the payment sandbox is on: deposits cost nothing (payments.sandbox)");
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

/// Waits for SIGTERM or SIGINT; a second one ends the process at once.
pub async fn wait_for_the_word() {
    signal().await;
    tracing::info!("stopping: requests in flight may finish");
    tokio::spawn(async {
        signal().await;
        std::process::exit(130);
    });
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
