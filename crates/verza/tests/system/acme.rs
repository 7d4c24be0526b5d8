//! A certificate from an authority that speaks ACME: Pebble, which Let's Encrypt makes for tests
//! like this one. It loses nonces on purpose, and looks for us by a name server of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use gateway::CertificateFiles;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::process::{Child, Command};

use crate::house::{House, free_port};
use crate::town::until;

const HOST: &str = "verza.example";

struct Pebble {
    port: u16,
    management_port: u16,
    /// What its own server shows.
    certificate: PathBuf,
    _running: [Child; 2],
}

/// Where the tests' runner has found it; else where Debian puts it.
fn program(name: &str) -> PathBuf {
    let pebble = std::env::var_os("VERZA_TEST_PEBBLE").unwrap_or_else(|| "/usr/bin/pebble".into());
    Path::new(&pebble).with_file_name(name)
}

fn start(program: PathBuf, arguments: &[String], log: &Path) -> Child {
    let log = std::fs::File::create(log).unwrap();
    Command::new(&program)
        .args(arguments)
        .env("PEBBLE_VA_NOSLEEP", "1")
        .env("PEBBLE_WFE_NONCEREJECT", "20")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}: apt-get install pebble", program.display()))
}

impl Pebble {
    /// One that looks for everybody on this machine, at `http_port`.
    fn start(folder: &Path, http_port: u16) -> Self {
        let (port, management_port, dns) = (free_port(), free_port(), free_port());
        let own = folder.join("pebble");
        let own = CertificateFiles::for_development(&own, &[], &platform::world::system()).unwrap();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management_port}"),
            "certificate": own.certificate,
            "privateKey": own.key,
            "httpPort": http_port,
            "tlsPort": 1,
        }});
        let config_path = folder.join("pebble.json");
        std::fs::write(&config_path, config.to_string()).unwrap();
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let names = words(&[
            "-dns01",
            &format!("127.0.0.1:{dns}"),
            "-management",
            &format!("127.0.0.1:{}", free_port()),
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
        ]);
        let names = start(program("pebble-challtestsrv"), &names, &folder.join("names.log"));
        let config = config_path.display().to_string();
        let pebble = words(&["-config", &config, "-dnsserver", &format!("127.0.0.1:{dns}")]);
        let pebble = start(program("pebble"), &pebble, &folder.join("pebble.log"));
        Self { port, management_port, certificate: own.certificate, _running: [names, pebble] }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// Whose certificates it issues; anew at each start.
    async fn root(&self) -> String {
        let believed = std::fs::read(&self.certificate).unwrap();
        let client = platform::outbound::client_believing(Duration::from_secs(5), Some(&believed));
        let client = client.unwrap();
        let url = format!("https://localhost:{}/roots/0", self.management_port);
        until("pebble", async || client.get(&url).send().await.ok()?.text().await.ok()).await
    }
}

/// A client that believes this authority, and finds the host on this machine.
fn client(root: &str, port: u16) -> reqwest::Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .resolve(HOST, ([127, 0, 0, 1], port).into())
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_asked_for_shown_and_kept() {
    let mut house = House::on_sqlite();
    let plain_port = free_port();
    let pebble = Pebble::start(house.folder(), plain_port);
    let root = pebble.root().await;
    house.set("VERZA_SERVER_TLS", "acme");
    house.set("VERZA_SERVER_PUBLIC_URL", &format!("https://{HOST}"));
    house.set("VERZA_SERVER_REDIRECT_LISTEN", &format!("127.0.0.1:{plain_port}"));
    house.set("VERZA_ACME_DIRECTORY", &pebble.url("/dir"));
    house.set("VERZA_ACME_CONTACT", "ops@verza.example");
    house.set("VERZA_ACME_AUTHORITY", &pebble.certificate.display().to_string());
    house.start().await;
    // At first one that nobody believes is shown; a connection each time sees the change.
    let url = format!("https://{HOST}:{}/livez", house.port);
    let ask = async || client(&root, house.port).get(&url).send().await.ok();
    let answer = until("a certificate of the authority", ask).await;
    assert!(answer.status().is_success());
    // What is no challenge is sent on as ever, and a challenge that is over is nobody's.
    let http = crate::town::http_client(Duration::from_secs(5));
    let plain = async |path: &str| {
        http.get(format!("http://127.0.0.1:{plain_port}{path}")).send().await.unwrap().status()
    };
    assert_eq!(plain("/v1/me").await, 308);
    assert_eq!(plain("/.well-known/acme-challenge/x").await, 404);
    // Kept over a restart: the authority, which has forgotten everybody by then, is not asked.
    let certificate = house.data().join("acme/certificate.pem");
    let kept = std::fs::read(&certificate).unwrap();
    drop(pebble);
    house.stop().await;
    house.start().await;
    assert!(client(&root, house.port).get(&url).send().await.unwrap().status().is_success());
    assert_eq!(std::fs::read(&certificate).unwrap(), kept);
    house.finish().await;
}

#[tokio::test]
async fn what_acme_needs_is_said_before_anything_starts() {
    for (settings, word) in [
        (&[("VERZA_SERVER_PUBLIC_URL", "https://verza.example")][..], "redirect_listen"),
        (&[("VERZA_SERVER_REDIRECT_LISTEN", "127.0.0.1:0")][..], "public_url"),
    ] {
        let mut house = House::on_sqlite();
        house.set("VERZA_SERVER_TLS", "acme");
        for (name, value) in settings {
            house.set(name, value);
        }
        let output = house.run(&["config", "check"]).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(word), "{told}");
        house.finish().await;
    }
}
