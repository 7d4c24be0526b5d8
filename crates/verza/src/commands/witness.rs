//! `verza witness`: signs what logs of others have grown to, and refuses what was rewritten.

use std::process::ExitCode;

use kernel::{Error, Result};
use tracing_subscriber::EnvFilter;
use trust::witness::Witness;

use super::Word;
use crate::cli::WitnessArgs;

pub async fn witness(args: &WitnessArgs) -> Result<ExitCode> {
    // No configuration is asked for: a witness has nothing to do with the platform it watches.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info"))
        .with_writer(std::io::stderr)
        .try_init();
    let mut word = Word::listen()?;
    let world = platform::world::system();
    let witness = Witness::open(&args.folder, &args.name, &args.log, world)?;
    let busy = |error: std::io::Error| {
        let message = format!("Nothing can be served at {}: {error}", args.listen);
        Error::unavailable("cannot_listen", message)
    };
    let listener = tokio::net::TcpListener::bind(args.listen).await.map_err(busy)?;
    let address = listener.local_addr().map_err(busy)?;
    say!("{}", witness.vkey()?);
    tracing::info!(%address, logs = args.log.len(), "witness ready");
    if args.log.is_empty() {
        tracing::warn!("no log is watched: name some with --log");
    }
    let served = axum::serve(listener, witness.router());
    served.with_graceful_shutdown(async move { word.said().await }).await.map_err(busy)?;
    Ok(ExitCode::SUCCESS)
}
