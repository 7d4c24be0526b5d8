//! A canary for secrets: each is presented in every place where one can be, and none of them may
//! be in the log, however much is written to it.

use reqwest::Method;
use serde_json::json;

use crate::house::House;
use crate::town::PASSWORD;

/// A secret that nothing else looks like, in the form that passwords and keys may have.
fn canary(place: &str) -> String {
    format!("canary-{place}-Zq7")
}

/// Starts whose forms are known, so that also a library's debug line may not show them.
const TOKENS: [&str; 4] = [
    "eyJhbGciOiJFZERTQSJ9.Y2FuYXJ5LWp3dA.Zq7canaryjwt",
    "v4.local.canarypasetoZq7",
    "ory_st_canaryZq7canaryZq7canary",
    "0aCanaryZq7_0aCanaryZq7_0aCanaryZq7_0aCanary",
];

async fn present_everywhere(house: &House) -> Vec<String> {
    let http = crate::town::http_client(std::time::Duration::from_secs(30));
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", house.port);
    let mut shown = Vec::new();
    let mut place = |name: &str| {
        shown.push(canary(name));
        canary(name)
    };
    let send = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.unwrap();
        assert!(answer.status().as_u16() < 500, "{answer:?}");
    };
    // In bodies: right and wrong ones, and some that cannot be read.
    let (wrong, new) = (place("login"), place("register"));
    send(
        http.post(url("/v1/auth/login"))
            .json(&json!({"email": "a@example.com", "password": wrong})),
    )
    .await;
    let body = json!({"name": "A", "email": "b@example.com", "password": new, "role": "user"});
    send(http.post(url("/v1/auth/register")).json(&body)).await;
    let broken = format!("{{\"email\":\"a@example.com\",\"password\":\"{}\",", place("broken"));
    let typed = http.post(url("/v1/auth/login")).header("content-type", "application/json");
    send(typed.body(broken)).await;
    let unknown = json!({"email": "a", "password": "x", "passwort": place("unknown")});
    send(http.post(url("/v1/auth/login")).json(&unknown)).await;
    send(http.post(url("/v1/auth/refresh")).json(&json!({"refreshToken": place("refresh")}))).await;
    send(http.post(url("/v1/auth/verify-email")).json(&json!({"token": place("mail")}))).await;
    // In headers.
    let me = || http.get(url("/v1/me"));
    send(me().bearer_auth(place("bearer"))).await;
    send(me().basic_auth("a", Some(place("basic")))).await;
    send(me().header("authorization", place("bare"))).await;
    send(me().header("x-session-token", place("session"))).await;
    send(me().header("x-api-key", place("apikey"))).await;
    let cookies = format!("verza_session={}; session_key={}", place("cookie"), place("key"));
    send(me().header("cookie", cookies)).await;
    send(me().header("cookie", format!("ory_kratos_session={}", place("kratos")))).await;
    send(me().header("idempotency-key", place("idempotency"))).await;
    send(me().header("referer", format!("http://x/?token={}", place("referer")))).await;
    // In addresses, of routes that are and of some that are not.
    for path in ["/v1/me", "/nowhere", "/v1/verify"] {
        let query = place(&format!("query{}", path.len()));
        send(http.get(url(&format!("{path}?access_token={query}&password={query}")))).await;
    }
    send(http.get(url(&format!("/v1/share/{}", place("share"))))).await;
    send(http.get(url(&format!("/nowhere/{}", place("path"))))).await;
    send(http.request(Method::OPTIONS, url(&format!("/{}", place("options"))))).await;
    for token in TOKENS {
        shown.push(token.to_owned());
        send(me().bearer_auth(token)).await;
        send(me().header("cookie", format!("verza_session={token}"))).await;
        send(http.get(url(&format!("/v1/share/{token}")))).await;
    }
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_that_is_shown_to_it_stands_in_the_log() {
    for format in ["text", "json"] {
        let mut house = House::on_sqlite();
        house.set("VERZA_LOG_LEVEL", "trace");
        house.set("VERZA_LOG_FORMAT", format);
        house.start().await;
        let mut secrets = present_everywhere(&house).await;
        // And those that are good: of somebody who signs in, and has a session.
        let anne = house.town().join("Anne", "user").await;
        house.town().get("/v1/me", &anne).done().await;
        secrets.extend([PASSWORD.to_owned(), anne.token.clone()]);
        house.stop().await;
        let log = house.log();
        assert!(log.contains("/v1/auth/login"), "requests are in it: {log}");
        for secret in secrets {
            let line = log.lines().find(|line| line.contains(&secret));
            assert_eq!(line, None, "{secret}");
            let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &secret);
            let line = log.lines().find(|line| line.contains(encoded.trim_end_matches('=')));
            assert_eq!(line, None, "{secret} in base64");
        }
        let key = std::fs::read_to_string(house.data().join("master.key")).unwrap();
        assert!(!log.contains(key.trim()), "the master key");
    }
}
