//! Mails out of the whole system, and people brought into it.

use std::fmt::Write;
use std::time::Duration;

use platform::testing::TestSmtp;
use serde_json::{Value as Json, json};

use crate::house::House;
use crate::town::{PASSWORD, http_client, until};

#[tokio::test]
async fn links_lead_to_the_configured_address_and_sent_mails_are_shown_nowhere() {
    let server = TestSmtp::find();
    let mut house = House::on_sqlite();
    let (api, ops) = (house.port, house.ops_port);
    let http = http_client(Duration::from_secs(10));
    let pages =
        [format!("http://localhost:{api}/dev/mail"), format!("http://127.0.0.1:{ops}/mail")];
    house.start().await;
    for page in &pages {
        assert_eq!(http.get(page).send().await.unwrap().status(), 200, "{page}");
        let elsewhere = http.get(page).header("host", "evil.example").send().await.unwrap();
        assert_eq!(elsewhere.status(), 403, "{page}");
    }
    house.stop().await;

    house.set("VERZA_SERVER_PUBLIC_URL", "https://verza.example");
    house.set("VERZA_MAIL_SMTP_HOST", "localhost");
    house.set("VERZA_MAIL_SMTP_PORT", &server.starttls_port.to_string());
    house.set("VERZA_MAIL_SMTP_CA_FILE", &server.certificate().display().to_string());
    house.set("VERZA_MAIL_SMTP_USER", &server.user);
    house.set("VERZA_MAIL_SMTP_PASSWORD", &server.password);
    house.set("VERZA_MAIL_FROM", "Verza <no-reply@verza.example>");
    house.start().await;
    let to = format!("anne.{api}@example.org");
    for (path, body) in [
        ("register", json!({ "name": "Anne", "email": to, "password": PASSWORD })),
        ("resend-verification", json!({ "email": to })),
        ("forgot-password", json!({ "email": to })),
    ] {
        let answer = http
            .post(format!("http://127.0.0.1:{api}/v1/auth/{path}"))
            .header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("forwarded", "host=evil.example")
            .json(&body)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }
    let mails = until("three mails", async || {
        let mails = server.mails(&to);
        (mails.len() == 3).then_some(mails)
    })
    .await;
    for mail in mails {
        let mail = mail.replace("=\r\n", "").replace("=3D", "=");
        assert!(mail.contains("https://verza.example/"), "{mail}");
        assert!(!mail.contains("evil.example"), "{mail}");
    }
    for page in &pages {
        assert_eq!(http.get(page).send().await.unwrap().status(), 404, "{page}");
    }
    house.finish().await;
}

async fn import(house: &House, arguments: &[&str]) -> (i32, Json) {
    let arguments = [&["import", "users"], arguments, &["--json"]].concat();
    let output = house.run(&arguments).await;
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), report)
}

#[tokio::test]
async fn an_import_that_was_killed_goes_on_where_it_stopped() {
    const ROWS: usize = 20_000;
    let house = House::on_sqlite();
    let hash = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let mut text = "id,email,passwordHash,emailVerified\n".to_owned();
    for n in 0..ROWS {
        let _ = writeln!(text, "{n},person{n}@example.org,{hash},true");
    }
    text.push_str("x,nobody,,\n");
    let file = house.folder().join("people.csv");
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();

    // What making the tables writes must not be taken for the first rows.
    assert!(house.run(&["migrate", "up"]).await.status.success());
    let mut child = house.command(&["import", "users", file]).spawn().unwrap();
    let log = house.data().join("verza.db-wal");
    until("the first rows", async || {
        std::fs::metadata(&log).ok().filter(|log| log.len() > 1_000_000)
    })
    .await;
    child.start_kill().unwrap();
    assert!(!child.wait().await.unwrap().success(), "it was killed on the way");

    let errors = house.folder().join("wrong.jsonl");
    let (code, report) = import(&house, &[file, "--errors", errors.to_str().unwrap()]).await;
    let [imported, unchanged] =
        ["imported", "unchanged"].map(|name| report[name].as_u64().unwrap());
    assert_eq!((code, imported + unchanged), (1, ROWS as u64));
    assert!(imported > 0 && unchanged > 0, "{report}");
    let errors = std::fs::read_to_string(errors).unwrap();
    assert_eq!(errors.lines().count(), 1);
    assert!(errors.starts_with(&format!("{{\"line\":{}", ROWS + 2)), "{errors}");

    let (code, report) = import(&house, &[file, "--dry-run"]).await;
    assert_eq!((code, &report["unchanged"], &report["failed"]), (1, &json!(ROWS), &json!(1)));
}
