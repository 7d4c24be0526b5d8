//! The command line: what it says, and the exit codes that scripts go by.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::{House, bare_command};
use crate::town::{PASSWORD, pdf, until};

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("it was killed: {output:?}"))
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn verza(arguments: &[&str]) -> Output {
    bare_command().args(arguments).output().await.unwrap()
}

/// One sentence on standard error, as every refusal is: no backtrace, no debug text.
#[track_caller]
fn refused(output: &Output, exit: i32, says: &[&str]) {
    let text = err(output);
    assert_eq!(code(output), exit, "{text}");
    assert!(text.starts_with("verza: "), "{text}");
    assert!(!text.contains("panicked") && !text.contains("Error {"), "{text}");
    for part in says {
        assert!(text.contains(part), "{text} should say {part}");
    }
}

#[tokio::test]
async fn help_names_every_command_and_every_exit_code() {
    let help = verza(&["--help"]).await;
    assert_eq!(code(&help), 0);
    let text = out(&help);
    let commands = [
        "demo",
        "serve",
        "verify",
        "witness",
        "migrate",
        "ledger",
        "analytics",
        "backup",
        "restore",
        "migrate-data",
        "admin",
        "import",
        "keys",
        "config",
        "doctor",
        "healthcheck",
        "api",
        "completion",
    ];
    for command in commands {
        assert!(text.lines().any(|line| line.trim_start().starts_with(command)), "{text}");
        let help = verza(&[command, "--help"]).await;
        assert_eq!(code(&help), 0, "{command}");
        assert!(out(&help).contains("Usage: verza"), "{command}: {}", out(&help));
    }
    for exit in ["0 done", "1 the answer is no", "2 the command line", "3 the configuration", "4 "]
    {
        assert!(text.contains(exit), "{text}");
    }
    assert_eq!(out(&verza(&["--version"]).await), format!("verza {}\n", verza::VERSION));
    for wrong in
        [&[][..], &["sevre"], &["serve", "--listen", "8080"], &["verify"], &["serve", "-x"]]
    {
        let answer = verza(wrong).await;
        assert_eq!(code(&answer), 2, "{wrong:?}: {}", err(&answer));
    }
    assert!(err(&verza(&["sevre"]).await).contains("serve"));
}

#[tokio::test]
async fn shells_can_complete_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = verza(&["completion", shell]).await;
        assert_eq!(code(&script), 0);
        assert!(out(&script).contains("healthcheck"), "{shell}");
    }
    assert_eq!(code(&verza(&["completion", "cmd"]).await), 2);
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_what_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("verza.toml");
    let with_file = async |text: &str| {
        std::fs::write(&file, text).unwrap();
        verza(&["config", "check", "--config", file.to_str().unwrap()]).await
    };
    let fine = with_file("[server]\npublic_url = \"https://verza.example\"\n").await;
    assert_eq!((code(&fine), &*out(&fine)), (0, "The configuration is right.\n"));
    refused(
        &with_file("[server]\npublik_url = \"x\"\n").await,
        3,
        &["verza.toml", "server.publik_url", "Did you mean server.public_url?"],
    );
    refused(&with_file("[sever]\nlisten = \"x\"\n").await, 3, &["sever.listen", "server.listen?"]);
    refused(&with_file("listen = 1\n").await, 3, &["outside of any [section]"]);
    refused(&with_file("[server\n").await, 3, &["no TOML"]);
    refused(&with_file("[server]\nthreads = \"many\"\n").await, 3, &["threads"]);
    refused(&with_file("[server]\nlisten = \"8080\"\n").await, 3, &["listen"]);
    let missing = verza(&["config", "check", "--config", "/nowhere/verza.toml"]).await;
    refused(&missing, 3, &["/nowhere/verza.toml", "cannot be read"]);

    let with = async |name: &str, value: &str| {
        bare_command().args(["config", "check"]).env(name, value).output().await.unwrap()
    };
    let answer = with("VERZA_SERVER_LISTNE", "x").await;
    refused(&answer, 3, &["VERZA_SERVER_LISTNE", "Did you mean VERZA_SERVER_LISTEN?"]);
    refused(&with("VERZA_SERVER_THREADS", "many").await, 3, &["server.threads", "whole number"]);
    refused(&with("VERZA_SERVER_PUBLIC_URL", "nonsense").await, 3, &["server.public_url"]);
    refused(&with("VERZA_SERVER_TRUSTED_PROXIES", "10/99").await, 3, &["server.trusted_proxies"]);
    refused(&with("VERZA_PAYMENTS_DEFAULT_CURRENCY", "XYZ").await, 3, &["one of", "NGN"]);
    refused(&with("VERZA_MARKETPLACE_FEE_BASIS_POINTS", "1001").await, 3, &["1000"]);
    refused(&with("VERZA_SECRETS_MASTER_KEY", "abc").await, 3, &["64 hexadecimal digits"]);
    refused(&with("VERZA_SECRETS_MASTER_KEY", &"00".repeat(32)).await, 3, &["one byte repeated"]);
    refused(&with("VERZA_DATABASE_URL", "postgres://x/y").await, 3, &["secrets.master_key"]);
    refused(&with("VERZA_DATABASE_URL_FILE", "/nowhere").await, 3, &["/nowhere"]);
    for level in ["warning", "infoo", "", "info,platfrom", "info,platform=loud"] {
        refused(&with("VERZA_LOG_LEVEL", level).await, 3, &["log.level", "debug or trace"]);
    }
    for level in ["off", "WARN", "info,platform=debug", "platform=debug"] {
        assert_eq!(code(&with("VERZA_LOG_LEVEL", level).await), 0, "{level}");
    }
    // What would not start, or start and not work.
    for (name, value, says) in [
        ("VERZA_SERVER_TLS", "files", "server.tls_certificate"),
        ("VERZA_SERVER_TLS_KEY", "/key.pem", "server.tls_certificate"),
        ("VERZA_PAYMENTS_STRIPE_SECRET_KEY", "sk", "payments.stripe_webhook_secret"),
        ("VERZA_PAYMENTS_PAYPAL_CLIENT_ID", "id", "payments.paypal_client_secret"),
        ("VERZA_PAYMENTS_CRYPTO_KEY", "key", "payments.crypto_url"),
        ("VERZA_ACCOUNTS_ARGON2_MEMORY_KIB", "1", "accounts"),
        ("VERZA_ACCOUNTS_ARGON2_PASSES", "0", "accounts"),
        ("VERZA_SERVER_REQUEST_TIMEOUT_SECONDS", "0", "at least 1"),
        ("VERZA_DATABASE_STATEMENT_TIMEOUT_SECONDS", "0", "at least 1"),
        ("VERZA_SERVER_CORS_ORIGINS", "*", "server.cors_origins"),
        ("VERZA_SERVER_CORS_ORIGINS", "https://a.example,app.example", "app.example"),
    ] {
        refused(&with(name, value).await, 3, &[says]);
        let house = House::on_sqlite();
        let served = house.command(&["serve"]).env(name, value).output().await.unwrap();
        refused(&served, 3, &[says]);
    }
    refused(
        &verza(&["config", "check", "--set", "server.threds=2"]).await,
        3,
        &["server.threads?"],
    );
    refused(&verza(&["config", "check", "--set", "server"]).await, 3, &["section.key=value"]);
}

#[tokio::test]
async fn what_is_configured_is_shown_without_its_secrets() {
    let secret = "ab".repeat(16) + &"cd".repeat(16);
    for arguments in [&["config", "show"][..], &["config", "show", "--json"]] {
        let mut command = bare_command();
        command.args(arguments).env("VERZA_SECRETS_MASTER_KEY", &secret);
        let url = "postgres://verza:hunter2@db.example/verza";
        let shown = command.env("VERZA_DATABASE_URL", url).output().await.unwrap();
        assert_eq!(code(&shown), 0, "{}", err(&shown));
        let text = out(&shown) + &err(&shown);
        assert!(text.contains("request_timeout_seconds"), "{text}");
        assert!(text.contains("[secret]"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains(&secret), "{text}");
    }
    let init = verza(&["config", "init"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("verza.toml");
    std::fs::write(&file, &init.stdout).unwrap();
    let check = verza(&["config", "check", "--config", file.to_str().unwrap()]).await;
    assert_eq!(code(&check), 0, "{}", err(&check));
    let schema = verza(&["config", "schema"]).await;
    let schema: Json = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(schema["properties"]["server"]["properties"]["listen"].is_object(), "{schema}");
    let routes = verza(&["api", "routes"]).await;
    assert!(out(&routes).contains("/v1/auth/login"));
    let document = verza(&["api", "openapi"]).await;
    let document: Json = serde_json::from_slice(&document.stdout).unwrap();
    assert_eq!(document["openapi"].as_str().map(|text| &text[..3]), Some("3.1"));
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let mut house = House::on_sqlite();
    // A folder that cannot be made: something else stands where it should be.
    let blocked = house.folder().join("file");
    std::fs::write(&blocked, "no folder").unwrap();
    let blocked = blocked.join("data").display().to_string();
    let answer = house.run(&["serve", "--data-dir", &blocked]).await;
    refused(&answer, 4, &[&blocked, "--data-dir"]);
    let answer = house.run(&["migrate", "status"]).await;
    refused(&answer, 4, &["There is no database at", "--data-dir"]);
    refused(&house.run(&["ledger", "check"]).await, 4, &["There is no database at"]);
    for command in [&["keys", "list"][..], &["keys", "rotate", "log"], &["admin", "setup-link"]] {
        refused(&house.run(command).await, 4, &["There is no database at", "--data-dir"]);
        assert!(!house.data().exists(), "{command:?} makes nothing");
    }
    refused(&house.run(&["verify", "/nowhere.json"]).await, 4, &["Cannot read /nowhere.json"]);

    // A port that is taken, by us.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = taken.local_addr().unwrap().port().to_string();
    let answer = house.run(&["serve", "--listen", &address]).await;
    refused(&answer, 4, &[&port, "taken", "--listen"]);
    let answer = house.run(&["serve", "--ops-listen", &address]).await;
    refused(&answer, 4, &[&port, "taken", "--ops-listen"]);
    let answer = house.run(&["serve", "--listen", "203.0.113.1:80"]).await;
    refused(&answer, 4, &["203.0.113.1:80"]);

    // A database that nobody serves.
    let mut command = house.command(&["serve"]);
    command.env("VERZA_DATABASE_URL", "postgres://u:hunter2@127.0.0.1:1/x?sslmode=disable");
    command.env("VERZA_SECRETS_MASTER_KEY", "ab".repeat(16) + &"cd".repeat(16));
    let answer = command.output().await.unwrap();
    assert_eq!(code(&answer), 4, "{}", err(&answer));
    assert!(!err(&answer).contains("hunter2"), "{}", err(&answer));

    // One folder, one server.
    house.start().await;
    let (port, ops) = (crate::house::free_port(), crate::house::free_port());
    let (listen, ops) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{ops}"));
    let second = house.run(&["serve", "--listen", &listen, "--ops-listen", &ops]).await;
    refused(&second, 4, &["is used by another Verza", "--data-dir"]);
    refused(&house.run(&["migrate", "up"]).await, 4, &["is used by another Verza"]);
    house.finish().await;
}

#[tokio::test]
async fn a_lost_master_key_is_asked_for_and_not_replaced() {
    let mut house = House::on_sqlite();
    house.start().await;
    house.stop().await;
    let (key, away) = (house.data().join("master.key"), house.folder().join("master.key"));
    std::fs::rename(&key, &away).unwrap();
    let names = || {
        let entries = std::fs::read_dir(house.data()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        // What SQLite has beside the database while it is looked at is nothing of ours.
        let ours = |name: &String| !name.ends_with("-wal") && !name.ends_with("-shm");
        let mut names: Vec<String> = names.filter(ours).collect();
        names.sort();
        names
    };
    let before = names();
    let database = std::fs::read(house.data().join("verza.db")).unwrap();
    for command in [&["serve"][..], &["keys", "list"], &["migrate", "up"]] {
        refused(&house.run(command).await, 4, &["bring back master.key from its backup"]);
    }
    assert_eq!(names(), before);
    assert!(std::fs::read(house.data().join("verza.db")).unwrap() == database);
    std::fs::rename(&away, &key).unwrap();
    house.start().await;
    house.finish().await;
}

#[tokio::test]
async fn migrations_are_listed_before_and_after_they_are_applied() {
    let mut house = House::on_sqlite();
    house.set("VERZA_DATABASE_MIGRATE_AT_START", "false");
    refused(&house.run(&["serve"]).await, 4, &["migrations are missing", "verza migrate up"]);
    let before = house.run(&["migrate", "status"]).await;
    assert_eq!(code(&before), 1, "{}", err(&before));
    assert!(out(&before).contains("missing  identity/0001"), "{}", out(&before));
    assert!(!out(&before).contains("applied  "), "{}", out(&before));
    let up = house.run(&["migrate", "up"]).await;
    assert_eq!(code(&up), 0, "{}", err(&up));
    assert!(out(&up).contains("The schema is up to date"), "{}", out(&up));
    let after = house.run(&["migrate", "status", "--json"]).await;
    assert_eq!(code(&after), 0);
    let steps: Vec<Json> = serde_json::from_slice(&after.stdout).unwrap();
    assert!(steps.len() >= 9 && steps.iter().all(|step| step["applied"] == true), "{steps:?}");
    let again = house.run(&["migrate", "up"]).await;
    assert!(out(&again).contains("(0 applied now)"), "{}", out(&again));
    house.start().await;
    house.finish().await;
}

#[tokio::test]
async fn a_health_check_says_whether_the_server_is_ready() {
    let mut house = House::on_sqlite();
    let stopped = house.run(&["healthcheck"]).await;
    assert_eq!(code(&stopped), 1);
    assert!(out(&stopped).contains("does not answer"), "{}", out(&stopped));
    let doctor = house.run(&["doctor"]).await;
    assert_eq!(code(&doctor), 0, "{}", out(&doctor));
    house.start().await;
    let running = house.run(&["healthcheck"]).await;
    assert_eq!(code(&running), 0, "{}", out(&running));
    assert!(out(&running).contains("/readyz answers 200"), "{}", out(&running));
    let elsewhere = house.run(&["healthcheck", "--url", "http://127.0.0.1:1/readyz"]).await;
    assert_eq!(code(&elsewhere), 1);
    let wrong = format!("http://127.0.0.1:{}/nothing", house.port);
    assert_eq!(code(&house.run(&["healthcheck", "--url", &wrong]).await), 1);
    assert_eq!(code(&house.run(&["doctor"]).await), 0);
    assert_eq!(code(&house.run(&["ledger", "check"]).await), 0);
    let rebuilt = house.run(&["analytics", "rebuild", "--json"]).await;
    assert_eq!(code(&rebuilt), 0, "{}", err(&rebuilt));
    let rebuilt: Json = serde_json::from_slice(&rebuilt.stdout).unwrap();
    assert_eq!((&rebuilt["parties"], &rebuilt["mended"]), (&json!(0), &json!(0)));
    house.stop().await;
    assert_eq!(code(&house.run(&["healthcheck"]).await), 1);
    house.finish().await;
}

#[tokio::test]
async fn an_admin_is_made_from_the_command_line_also_beside_a_server() {
    let mut house = House::on_sqlite();
    house.start().await;
    let town = house.town();
    let mut command = house.command(&["admin", "create", "--email", "ada@example.com"]);
    command.args(["--name", "Ada"]).stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(format!("{PASSWORD}\n").as_bytes()).await.unwrap();
    drop(input);
    let made = child.wait_with_output().await.unwrap();
    assert_eq!(code(&made), 0, "{}", err(&made));
    assert!(out(&made).starts_with("u_"), "{}", out(&made));
    let ada = town.login("ada@example.com").await;
    town.get("/v1/admin/users", &ada).answer().await.problem(403, "second_factor_required");
    let ada = town.enrol(&ada).await;
    town.get("/v1/admin/users", &ada).done().await;
    // Without a password there is none.
    let none = house.run(&["admin", "create", "--email", "b@example.com", "--name", "B"]).await;
    assert_ne!(code(&none), 0);
    let link = house.run(&["admin", "setup-link"]).await;
    assert!(out(&link).contains("token="), "{}", out(&link));
    let keys = house.run(&["keys", "list", "--json"]).await;
    let keys: Vec<Json> = serde_json::from_slice(&keys.stdout).unwrap();
    let purposes: Vec<_> = keys.iter().map(|key| key["purpose"].as_str().unwrap()).collect();
    for form in ["jwt", "paseto_public", "paseto_local"] {
        assert!(purposes.contains(&form), "{keys:?}");
    }
    let secret = |key: &Json| key["purpose"] == "paseto_local";
    assert!(keys.iter().all(|key| key["publicKey"].is_string() != secret(key)), "{keys:?}");
    assert_eq!(code(&house.run(&["keys", "rotate", "issuer"]).await), 0);
    let said = ["tokens, issuer, certified or log"];
    refused(&house.run(&["keys", "rotate", "doors"]).await, 1, &said);
    let issuer = keys.iter().find(|key| key["purpose"] == "credential").unwrap();
    let lost = |since: &'static str| {
        let key = issuer["id"].as_str().unwrap();
        ["keys", "compromise", key, "--since", since, "--reason", "a stolen laptop", "--json"]
    };
    refused(&house.run(&lost("yesterday")).await, 1, &["write it as"]);
    let done = house.run(&lost("2026-01-01T00:00:00Z")).await;
    let done: Json = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&done["key"], done["revoked"].as_i64()), (&issuer["id"], Some(0)));
    assert_eq!(code(&house.run(&lost("2026-01-01T00:00:00Z")).await), 0, "it can be said again");
    let keys = house.run(&["keys", "list", "--json"]).await;
    let keys: Vec<Json> = serde_json::from_slice(&keys.stdout).unwrap();
    let listed = keys.iter().find(|key| key["id"] == issuer["id"]).unwrap();
    assert_eq!(listed["compromisedSince"], "2026-01-01T00:00:00Z");
    house.finish().await;
}

#[tokio::test]
async fn an_exported_credential_is_judged_without_a_server() {
    let mut house = House::on_sqlite();
    house.start().await;
    let town = house.town();
    let admin = town.set_up(&house.setup_link().await).await;
    let (anne, vera) = (town.join("Anne", "user").await, town.join("Vera", "verifier").await);
    town.open_shop(&admin, &vera).await;
    town.deposit(&anne, 10_000).await;
    let document = house.folder().join("diploma.pdf");
    std::fs::write(&document, pdf("the document")).unwrap();
    let file = town.upload(&anne, "diploma.pdf", &pdf("the document")).await;
    let body = json!({ "title": "D", "type": "Education", "issuer": "U", "fileId": file });
    let made = town.post("/v1/user/credentials", &anne).json(&body).done().await;
    let credential = made["id"].as_str().unwrap();
    let job = town.request(&anne, credential, &vera).await;
    town.accept(&vera, &job).await;
    town.complete(&vera, &job, "verified").await;
    let path = format!("/v1/user/credentials/{credential}/signed?format=bundle");
    let bundle = until("the log's proof", async || {
        let answer = town.get(&path, &anne).answer().await;
        answer.text().contains("\"logProof\"").then_some(answer.bytes)
    })
    .await;
    let did = town.call(Method::GET, "/.well-known/did.json", None).answer().await.bytes;
    let log_key = town.call(Method::GET, "/v1/audit/key", None).answer().await.text();
    let shared = town.post(&format!("/v1/user/credentials/{credential}/share"), &anne);
    let link = shared.json(&json!({})).done().await["shareLink"].as_str().unwrap().to_owned();
    let path = format!("/v1/share/{}", link.rsplit('/').next().unwrap());
    let page = town.call(Method::GET, &path, None).header("accept", "text/html");
    let page = page.answer().await.text();
    let shown = town.call(Method::GET, &path, None).done().await["bundle"].to_string();
    house.stop().await;

    let write = |name: &str, bytes: &[u8]| {
        let path = house.folder().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let (good, did) = (write("good.json", &bundle), write("did.json", &did));
    // What the shared page says to do.
    assert!(page.contains("<code>verza verify bundle.json --did did.json</code>"), "{page}");
    let answer = verza(&["verify", &write("bundle.json", shown.as_bytes()), "--did", &did]).await;
    assert_eq!(code(&answer), 0, "{}{}", out(&answer), err(&answer));

    let document = document.display().to_string();
    let pins = ["--did", &did, "--log-key", log_key.trim(), "--document", &document];
    let verify = async |file: &str, more: &[&str]| {
        let mut arguments = vec!["verify", file];
        arguments.extend(pins);
        arguments.extend(more);
        verza(&arguments).await
    };
    let answer = verify(&good, &[]).await;
    assert_eq!(code(&answer), 0, "{}{}", out(&answer), err(&answer));
    let report: Json = serde_json::from_slice(&verify(&good, &["--json"]).await.stdout).unwrap();
    assert_eq!(report["verdict"], "valid");
    every_flip_is_caught(&bundle, &house.folder().join("flipped.json"), &verify).await;

    let other = write("other.pdf", &pdf("another document"));
    let answer = verza(&["verify", &good, "--did", &did, "--document", &other]).await;
    assert_eq!(code(&answer), 1, "{}", out(&answer));
    assert_eq!(code(&verza(&["verify", &write("empty.json", b"")]).await), 1);
    assert_eq!(code(&verza(&["verify", &write("noise.json", b"\xff\x00{")]).await), 1);
    house.finish().await;
}

/// One bit of every so many bytes: none of them leaves a valid credential.
async fn every_flip_is_caught(
    bundle: &[u8],
    path: &Path,
    verify: &impl AsyncFn(&str, &[&str]) -> Output,
) {
    // White space and the like is nothing that a signature is about; in a canonical file there
    // is none, so every byte says something.
    for place in (0..bundle.len()).step_by(bundle.len() / 12) {
        let mut flipped = bundle.to_vec();
        flipped[place] ^= 1;
        std::fs::write(path, &flipped).unwrap();
        let answer = verify(path.to_str().unwrap(), &[]).await;
        let around = String::from_utf8_lossy(&flipped[place.saturating_sub(30)..place + 1]);
        assert_eq!(code(&answer), 1, "byte {place}, after {around}: {}", out(&answer));
    }
}

#[tokio::test]
async fn a_request_under_way_is_finished_when_the_server_is_told_to_stop() {
    let mut house = House::on_sqlite();
    house.start().await;
    let town = house.town();
    let anne = town.join("Anne", "user").await;
    let body = r#"{"title":"Slow","type":"Education","issuer":"University"}"#;
    let (first, rest) = body.split_at(20);
    let head = format!(
        "POST /v1/user/credentials HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
        anne.token,
        body.len()
    );
    let address = ("127.0.0.1", house.port);
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(head.as_bytes()).await.unwrap();
    // The server answers this one after it has seen the head of the slow one.
    town.get("/v1/me", &anne).done().await;
    house.tell_to_stop().await;
    until("the refusal of new connections", async || {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;

    slow.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), slow.read_to_end(&mut answer)).await;
    read.expect("it is answered").unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(house.ended().await.code(), Some(0), "{}", house.log());
    // Who has asked for nothing is not waited for.
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);

    house.start().await;
    let anne = house.town().login(&anne.email).await;
    let kept = house.town().all("/v1/user/credentials", &anne).await;
    assert_eq!(kept.len(), 1, "what was answered has happened: {kept:?}");
    house.finish().await;
}

#[tokio::test]
async fn the_word_to_stop_is_heard_from_the_first_moment() {
    let mut house = House::on_sqlite();
    for _ in 0..5 {
        house.start().await;
        house.stop().await;
    }
    house.finish().await;
}
