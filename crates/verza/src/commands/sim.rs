//! `verza sim`: the payment providers, simulated.

use std::process::ExitCode;
use std::time::Duration;

use kernel::{Error, Result};
use money::sim::{Options, Sim};

use crate::cli::SimArgs;

/// How long a webhook waits at most before it is sent.
const DELIVER_EVERY: Duration = Duration::from_millis(200);

pub async fn sim(args: &SimArgs) -> Result<ExitCode> {
    let public_url = args.public_url.clone().unwrap_or(format!("http://{}", args.listen));
    let options = Options::at(&public_url, &args.platform);
    let sim = Sim::new(options.clone(), platform::world::system())?;
    let busy = |error: std::io::Error| {
        let message = format!("Nothing can be served at {}: {error}", args.listen);
        Error::unavailable("cannot_listen", message)
    };
    let listener = tokio::net::TcpListener::bind(args.listen).await.map_err(busy)?;
    say!("Simulated providers at {public_url}, webhooks to {}.", options.webhook_url);
    say!("Start the platform with:");
    for setting in settings(&options) {
        say!("  --set payments.{setting}");
    }
    say!("What shall go wrong: POST {public_url}/_sim/faults and /_sim/mishaps");
    let delivering = sim.clone();
    let deliver = async move {
        loop {
            delivering.deliver().await;
            tokio::time::sleep(DELIVER_EVERY).await;
        }
    };
    tokio::select! {
        () = deliver => {}
        served = axum::serve(listener, sim.router()) => served.map_err(busy)?,
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// How the platform is told to use the simulator.
fn settings(options: &Options) -> Vec<String> {
    let (paystack, stripe) = (options.paystack(), options.stripe());
    let (paypal, crypto) = (options.paypal(), options.crypto());
    vec![
        format!("paystack_url={}", paystack.base_url),
        format!("paystack_secret_key={}", options.paystack_key),
        format!("stripe_url={}", stripe.base_url),
        format!("stripe_secret_key={}", options.stripe_key),
        format!("stripe_webhook_secret={}", options.stripe_webhook_secret),
        format!("paypal_url={}", paypal.base_url),
        format!("paypal_client_id={}", paypal.client_id),
        format!("paypal_client_secret={}", options.paypal_client_secret),
        format!("paypal_webhook_id={}", paypal.webhook_id),
        format!("paypal_certificate_root={}", paypal.certificate_root.unwrap_or_default()),
        format!("crypto_url={}", crypto.base_url),
        format!("crypto_key={}", options.crypto_key),
        format!("crypto_webhook_secret={}", options.crypto_webhook_secret),
        format!("crypto_chain={}", crypto.chain),
    ]
}
