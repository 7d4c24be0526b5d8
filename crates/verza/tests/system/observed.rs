//! What an operator sees of a platform: what is counted, and where time and memory go.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::house::House;
use crate::town::{Town, until};

/// The lines of a metric in Prometheus' text format.
pub fn lines<'a>(metrics: &'a str, name: &str) -> Vec<&'a str> {
    let of_it = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
    };
    metrics.lines().filter(of_it).collect()
}

/// Waits until each of these metrics has a line that says all of this.
pub async fn shows(town: &Town, ops: &str, expected: &[(&str, &str)]) {
    for (name, says) in expected {
        until(&format!("{name} {says}"), async || {
            let url = format!("{ops}/metrics");
            let metrics = town.call(Method::GET, &url, None).answer().await.text();
            let says = |line: &&str| says.split(' ').all(|word| line.contains(word));
            lines(&metrics, name).into_iter().find(says).map(drop)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_internal_listener_shows_metrics_and_profiles() {
    let mut house = House::on_sqlite();
    house.set("VERZA_LOG_LEVEL", "info");
    house.set("VERZA_LOG_FORMAT", "json");
    house.start().await;
    let town = house.town();
    let anne = town.join("Anne", "user").await;
    let me = town.get("/v1/me?a=b", &anne).header("x-request-id", "look-for-me");
    me.done().await;
    let log = until("the line of a request", async || {
        let log = house.log();
        let mut lines = log.lines().filter(|line| line.contains("look-for-me"));
        let (first, rest) = (lines.next()?.to_owned(), lines.count());
        Some((serde_json::from_str::<Json>(&first).expect("JSON"), rest))
    })
    .await;
    let (line, others) = log;
    assert_eq!(
        (&line["route"], &line["status"], &line["method"], others),
        (&json!("/v1/me"), &json!(200), &json!("GET"), 0)
    );
    assert_eq!(line["user"], anne.id, "{line}");
    assert!(!line.to_string().contains("a=b"), "the address itself is nobody's business: {line}");
    town.get("/v1/user/credentials/c_01h455vb4pex5vsknk084sn02q", &anne).answer().await;
    let ops = format!("http://127.0.0.1:{}", house.ops_port);
    let expected = [
        ("http_requests_total", r#"route="/v1/me" method="GET" status="2xx""#),
        ("http_requests_total", r#"route="/v1/user/credentials/{id}" status="4xx""#),
        ("http_request_seconds_bucket", r#"route="/v1/me" le="0.005""#),
        ("http_requests_under_way", ""),
        ("connections_open", ""),
        ("password_hashes_under_way", ""),
        ("password_hashes_waiting", ""),
        ("db_group_commit_members_bucket", r#"le="1""#),
        ("jobs_waiting", ""),
        ("jobs_dead", " 0"),
        ("jobs_done_total", r#"kind="mail.send""#),
        ("job_seconds_bucket", r#"kind="mail.send""#),
        ("runtime_lag_seconds", ""),
        ("process_resident_memory_bytes", ""),
    ];
    shows(&town, &ops, &expected).await;
    for path in ["profile?seconds=1", "heap"] {
        let url = format!("{ops}/debug/pprof/{path}");
        let answer = town.call(Method::GET, &url, None).answer().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        // pprof's profile.proto, gzipped (RFC 1952, 2.3.1).
        assert_eq!(answer.bytes.get(..2), Some(&[0x1f, 0x8b][..]), "{path}");
    }
    // None of this is shown to clients.
    for path in ["/metrics", "/debug/pprof/heap"] {
        assert_eq!(town.call(Method::GET, path, None).answer().await.status, 404, "{path}");
    }
    house.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flag_serves_https_and_leads_there() {
    let mut house = House::on_sqlite();
    house.set("VERZA_SERVER_TLS", "dev");
    house.start().await;
    let certificate = std::fs::read(house.data().join("tls/localhost.pem")).unwrap();
    let patience = Duration::from_secs(20);
    let believing = platform::outbound::client_believing(patience, Some(&certificate)).unwrap();
    let url = format!("https://127.0.0.1:{}/openapi.json", house.port);
    let answer = believing.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let hsts = answer.headers()["strict-transport-security"].to_str().unwrap();
    assert!(hsts.starts_with("max-age="), "{hsts}");
    // Who comes by plain HTTP is sent there; who believes no stranger sees that it is one.
    let plain = believing.get(url.replace("https", "http")).send().await.unwrap();
    assert_eq!(plain.status(), 308);
    let place = plain.headers()["location"].to_str().unwrap();
    assert!(place.starts_with("https://") && place.ends_with("/openapi.json"), "{place}");
    let wary = platform::outbound::client(patience).unwrap();
    assert!(wary.get(&url).send().await.is_err());
    house.finish().await;
}
