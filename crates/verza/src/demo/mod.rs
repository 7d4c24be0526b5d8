//! `verza demo`: the whole platform in one process, its story told, and then a world to try.

pub mod client;
pub mod story;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use kernel::Result;

use self::client::Client;
use self::story::{Cast, Stage};
use crate::cli::{DemoArgs, ServeArgs};
use crate::commands;
use crate::config::{Config, TlsMode};
use crate::telemetry;
use crate::wiring::{self, Running};

/// What the demo sets where nobody sets anything else.
pub fn defaults(args: &ServeArgs) -> Vec<(String, String)> {
    let mut flags = vec![
        ("storage.data_dir".to_owned(), "data/demo".to_owned()),
        ("log.level".to_owned(), "error".to_owned()),
    ];
    flags.extend(args.flags());
    flags
}

/// Each step prints one line; on a terminal a spinner turns while the next one is under way.
struct Narrator {
    spinner: Option<ProgressBar>,
}

impl Narrator {
    fn new() -> Self {
        let spinner = std::io::stdout().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        Self { spinner }
    }

    fn tell(&self, line: &str) {
        match &self.spinner {
            Some(spinner) => spinner.println(format!("  {line}")),
            None => println!("  {line}"),
        }
    }

    fn finish(self) {
        if let Some(spinner) = self.spinner {
            spinner.finish_and_clear();
        }
    }
}

pub async fn run(config: Config, args: &DemoArgs) -> Result<ExitCode> {
    telemetry::start(&config)?;
    let running = wiring::start(config).await?;
    let narrator = Narrator::new();
    let folder = running.platform.config.storage.data_dir.display();
    narrator.tell(&format!("Verza runs on {}, its data in {folder}", running.local_url()));
    let outcome = tell_story(&running, &narrator).await;
    narrator.finish();
    match outcome {
        Ok(Some(told)) => print_what_to_try(&running, &told),
        Ok(None) => println!(
            "\n  The story has been told in this folder before; it is all still there. Sign in \
             with the accounts printed then,\n  or start afresh with --data-dir."
        ),
        Err(error) => {
            running.finish().await;
            return Err(error);
        }
    }
    if !args.once {
        commands::Word::listen()?.wait().await;
    }
    running.finish().await;
    Ok(ExitCode::SUCCESS)
}

/// What the reader needs to go on.
struct Told {
    cast: Cast,
    password: String,
}

async fn tell_story(running: &Running, narrator: &Narrator) -> Result<Option<Told>> {
    let Some(setup_link) = running.platform.first_setup_link().await? else {
        return Ok(None);
    };
    let password = hex::encode(running.platform.db.world().random::<9>());
    let config = &running.platform.config;
    let client = if config.server.tls == TlsMode::Dev {
        let own = wiring::development_certificate(config)?;
        Client::believing(running.local_url(), &own.certificate)?
    } else {
        Client::new(running.local_url())?
    };
    let stage = Stage {
        client,
        ops_url: format!("http://{}", running.ops_address),
        setup_link,
        export_to: config.storage.data_dir.join("diploma.verza.json"),
        password,
    };
    let mut tell = |line: String| narrator.tell(&line);
    let cast = story::play(&stage, &mut tell).await?;
    let report = money::ledger::check(&running.platform.db).await?;
    let broken = report.checks.iter().filter(|check| !check.violations.is_empty()).count();
    narrator.tell(&format!(
        "The ledger was recomputed: {} checks, {broken} broken",
        report.checks.len()
    ));
    let log = running.platform.trust.log.check().await?;
    narrator.tell(&format!(
        "The log was recomputed: {} leaves, {} failures",
        log.size,
        log.failures.len()
    ));
    Ok(Some(Told { cast, password: stage.password }))
}

fn print_what_to_try(running: &Running, told: &Told) {
    let Told { cast, password } = told;
    let url = running.local_url();
    let (export, did) = (cast.export.display(), cast.pins.did.display());
    let program = std::env::args().next().unwrap_or_else(|| "verza".to_owned());
    let mails = if running.platform.config.mail_viewer() {
        format!("{url}/dev/mail")
    } else {
        format!("http://{}/mail", running.ops_address)
    };
    println!(
        "\n  Verza stays up. Stop it with Ctrl-C.\n\n  \
         API reference   {url}/docs\n  \
         Shared link     {}\n  \
         Mails           {mails}\n  \
         Metrics         http://{ops}/metrics\n\n  \
         Accounts        {}, {}, {}\n  \
         Their password  {password}\n  \
         The admin's app {} (a TOTP secret, for an authenticator app or oathtool)\n\n  \
         Try             {program} verify {export} \\\n  \
         {:16}  --did {did} --log-key '{}'\n  \
         Or              curl -s {url}/v1/auth/login -H 'content-type: application/json' \\\n  \
         {:16}  -d '{{\"email\":\"{}\",\"password\":\"{password}\"}}'\n",
        cast.share_link,
        cast.user,
        cast.verifier,
        cast.admin,
        cast.admin_secret,
        "",
        cast.pins.log_key,
        "",
        cast.user,
        ops = running.ops_address,
    );
}
