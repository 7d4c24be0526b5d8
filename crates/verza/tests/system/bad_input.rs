//! What clients send by mistake or by malice, and the clear answer that each of it gets.

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::town::{Cast, FUNDS, PRICE, pdf};
use crate::world::{Stage, on_both_stages};

/// Plays a test on the embedded store, where the engine does not matter.
pub async fn on_sqlite(play: impl AsyncFn(&Stage, &Cast)) {
    let stage = Stage::on_sqlite().await;
    let cast = Cast::on(&stage).await;
    play(&stage, &cast).await;
    stage.finish().await;
}

/// Whether a refusal names a field.
fn names(problem: &Json, pointer: &str) -> bool {
    let errors = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
    errors.iter().any(|error| error["pointer"] == pointer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_what_it_should_be_is_refused_with_its_place() {
    on_sqlite(async |_, Cast { town, anne, .. }| {
        let cases: &[(&str, &str)] = &[
            (r#"{"title":"A","type":"B","issuer":"C","owner":"u_1"}"#, "unknown field `owner`"),
            (r#"{"title":"A","type":"B","issuer":"C","Title":"D"}"#, "unknown field `Title`"),
            (r#"{"title":"A","type":"B"}"#, "missing field `issuer`"),
            (r#"{"title":"A","title":"A","type":"B","issuer":"C"}"#, "duplicate field `title`"),
            (r#"{"title":5,"type":"B","issuer":"C"}"#, "/title"),
            (r#"{"title":null,"type":"B","issuer":"C"}"#, "/title"),
            (r#"{"title":["A"],"type":"B","issuer":"C"}"#, "/title"),
            (r#"{"title":"A","type":{"a":1},"issuer":"C"}"#, "/type"),
            (r#"{"title":" ","type":"B","issuer":"C"}"#, "/title"),
            (r#"{"title":"A\nB","type":"B","issuer":"C"}"#, "/title"),
            (r#"{"title":"A","type":"B","issuer":"C","fileId":"u_1"}"#, "/fileId"),
            (r#"{"title":"A","type":"B","issuer":"C","fileId":7}"#, "/fileId"),
            (r#"{"title":"A","type":"B","issuer":"C","issueDate":"2024-02-30"}"#, "/issueDate"),
            (r#"{"title":"A","type":"B","issuer":"C","issueDate":"24-2-3"}"#, "/issueDate"),
            (r#"["A","B","C"]"#, "invalid type"),
            ("[]", "invalid type"),
            ("null", "invalid type"),
            ("\"title\"", "invalid type"),
            ("5", "invalid type"),
        ];
        for (body, says) in cases {
            let answer = town.post("/v1/user/credentials", anne).raw(*body).answer().await;
            answer.problem(422, "invalid_fields");
            assert!(answer.text().contains(says), "{body}: {}", answer.text());
        }
        assert_eq!(town.all("/v1/user/credentials", anne).await.len(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_json_is_refused() {
    on_sqlite(async |_, Cast { town, anne, .. }| {
        let deep = |open: &str, close: &str| open.repeat(50_000) + &close.repeat(50_000);
        let whole = r#"{"title":"A","type":"B","issuer":"C"}"#;
        let cases: Vec<Vec<u8>> = vec![
            b"".to_vec(),
            b"{".to_vec(),
            b"{]".to_vec(),
            b"nul".to_vec(),
            b"\xef\xbb\xbf{}".to_vec(),
            format!("{whole}{whole}").into_bytes(),
            format!("{whole} x").into_bytes(),
            br#"{'title':'A'}"#.to_vec(),
            br#"{"title":"A",}"#.to_vec(),
            br#"{"title":NaN}"#.to_vec(),
            br#"{"title":"\ud800"}"#.to_vec(),
            b"{\"title\":\"A\xff\xfe\",\"type\":\"B\",\"issuer\":\"C\"}".to_vec(),
            b"{\"title\":\"\xc0\xaf\"}".to_vec(),
            b"{\"title\":\"\xed\xa0\x80\"}".to_vec(),
            b"{\"title\":\"A\0\"}".to_vec(),
        ];
        for body in cases {
            for key in [None, Some("a-key")] {
                let mut call = town.post("/v1/user/credentials", anne).raw(body.clone());
                if let Some(key) = key {
                    call = call.key(key);
                }
                let answer = call.answer().await;
                let shown = String::from_utf8_lossy(&body).into_owned();
                assert_eq!((answer.status, &*answer.code()), (400, "invalid_json"), "{shown:?}");
                answer.is_a_problem();
            }
        }
        // Nested beyond any sense, where the shape is known and where anything goes.
        for body in [deep("[", "]"), deep("{\"a\":", "}"), deep("[{\"a\":", "}]")] {
            let short = body.len() < 250_000;
            let answers = [
                town.post("/v1/user/credentials", anne).key("deep").raw(body.clone()),
                town.patch("/v1/me", anne).raw(format!("{{\"preferences\":{{\"a\":{body}}}}}")),
                town.patch("/v1/me", anne).raw(format!("{{\"name\":{body}}}")),
                town.call(Method::POST, "/v1/verify", None).raw(body.clone()),
            ];
            for call in answers {
                let answer = call.answer().await;
                let refused = matches!(answer.status, 400 | 413 | 422);
                let judged = answer.is_done() && answer.json()["verdict"] != "valid";
                assert!(refused || judged, "{} {}", answer.status, answer.text());
                assert!(!short || answer.status != 413, "{}", answer.text());
            }
        }
        town.get("/v1/me", anne).done().await;
    })
    .await;
}

on_both_stages! {
async fn amounts_are_whole_numbers_above_zero(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, anne, ben, vera, .. } = &cast;
    let amounts = [
        "0", "-1", "-0", "1.5", "1.0", "1e2", "1E2", "1e-2", "\"100\"", "true", "null", "[100]",
        "{}", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
        "1000000000000001", "1e400", "18446744073709551616", "0x10", "01", "+1", "1_000", "",
    ];
    for (place, amount) in amounts.into_iter().enumerate() {
        let to = &ben.id;
        let calls = [
            town.post("/v1/user/wallet/transfers", anne)
                .raw(format!(r#"{{"to":"{to}","amount":{amount}}}"#)),
            town.post("/v1/user/wallet/deposit", anne)
                .raw(format!(r#"{{"amount":{amount},"currency":"USD"}}"#)),
            town.put("/v1/verifier/services", vera).raw(format!(
                r#"[{{"title":"Check","category":"Education","price":{amount},"currency":"USD"}}]"#
            )),
        ];
        for call in calls {
            let answer = call.key(&format!("amount-{place}")).answer().await;
            let (status, text) = (answer.status, answer.text());
            assert!(matches!(status, 400 | 422), "{amount}: {status} {text}");
            answer.is_a_problem();
        }
    }
    for (currency, status) in [("\"usd\"", 422), ("\"XXX\"", 422), ("5", 422), ("\"\"", 422)] {
        let body = format!(r#"{{"to":"{}","amount":5,"currency":{currency}}}"#, ben.id);
        let answer = town.post("/v1/user/wallet/transfers", anne).key("c").raw(body).answer().await;
        assert_eq!(answer.status, status, "{currency}: {}", answer.text());
    }
    let nobody = "u_01h455vb4pex5vsknk084sn02q";
    for (to, code) in [(anne.id.as_str(), 422), (nobody, 404)] {
        let body = json!({ "to": to, "amount": 100 });
        let answer = town.post("/v1/user/wallet/transfers", anne).key(to).json(&body).answer().await;
        let fits = answer.status == code || answer.status == 422;
        assert!(fits, "{to}: {}", answer.text());
    }
    assert_eq!(town.wallet(anne).await, (FUNDS, 0));
    assert_eq!(town.wallet(ben).await, (0, 0));
}

async fn an_overdraft_changes_nothing(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, anne, ben, vera, .. } = &cast;
    let body = json!({ "to": ben.id, "amount": FUNDS + 1 });
    let send = async |key: &str| {
        town.post("/v1/user/wallet/transfers", anne).key(key).json(&body).answer().await
    };
    send("a").await.problem(409, "insufficient_funds");
    // Ben has no money, and so no verification either; his credential stays as it was.
    let credential = town.credential(ben, "Diploma").await;
    let asked = json!({ "credentialId": credential, "verifierId": crate::town::verifier_id(vera) });
    let answer = town.post("/v1/user/verifications", ben).key("b").json(&asked).answer().await;
    answer.problem(409, "insufficient_funds");
    let shown = town.get(&format!("/v1/user/credentials/{credential}"), ben).done().await;
    assert_eq!(shown["status"], "draft");
    assert_eq!(town.wallet(anne).await, (FUNDS, 0));
    assert_eq!(town.wallet(ben).await, (0, 0));

    // The refusal is what the key stands for, also when there is money by now.
    town.deposit(anne, 10_000).await;
    let again = send("a").await;
    again.problem(409, "insufficient_funds");
    assert!(again.is_replayed());
    assert!(send("another").await.is_done());

    // All at once: the wallet never goes below zero, and what is left is what was not sent.
    let (available, _) = town.wallet(anne).await;
    let share = json!({ "to": ben.id, "amount": available / 3 });
    let at_once = (0..8).map(|turn| {
        town.post("/v1/user/wallet/transfers", anne).key(&format!("r{turn}")).json(&share).answer()
    });
    let answers = futures_util::future::join_all(at_once).await;
    let done = answers.iter().filter(|answer| answer.is_done()).count();
    assert_eq!(done, 3, "{answers:?}");
    for answer in answers.iter().filter(|answer| !answer.is_done()) {
        answer.problem(409, "insufficient_funds");
    }
    assert_eq!(town.wallet(anne).await.0, available % 3);
}

async fn a_double_click_acts_once(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, anne, ben, vera, .. } = &cast;
    let body = json!({ "to": ben.id, "amount": 100, "currency": "USD" });
    let call = || town.post("/v1/user/wallet/transfers", anne);
    call().json(&body).answer().await.problem(400, "idempotency_key_required");
    let first = call().key("k").json(&body).answer().await;
    let second = call().key("\"k\"").json(&body).answer().await;
    assert_eq!((first.status, second.status), (201, 201), "{}", second.text());
    assert!(!first.is_replayed() && second.is_replayed());
    assert_eq!(first.bytes, second.bytes);
    // Key order and white space are no other request; another amount, or a field more, is.
    let same = format!(" {{ \"amount\" : 100, \"currency\":\"USD\",\"to\": \"{}\" }} ", ben.id);
    assert!(call().key("k").raw(same).answer().await.is_replayed());
    for other in [json!({ "to": ben.id, "amount": 101, "currency": "USD" }),
        json!({ "to": ben.id, "amount": 100 })]
    {
        call().key("k").json(&other).answer().await.problem(422, "idempotency_key_reused");
    }
    assert_eq!(town.wallet(ben).await.0, 100);

    // The same key of somebody else, or for something else, is another key.
    let back = json!({ "to": anne.id, "amount": 100, "currency": "USD" });
    let answer = town.post("/v1/user/wallet/transfers", ben).key("k").json(&back).answer().await;
    assert!(answer.is_done() && !answer.is_replayed(), "{}", answer.text());
    let made = json!({ "title": "Diploma", "type": "Education", "issuer": "University" });
    let create = || town.post("/v1/user/credentials", anne).key("k").json(&made);
    let (one, two) = (create().answer().await, create().answer().await);
    assert!(one.is_done() && !one.is_replayed() && two.is_replayed(), "{}", one.text());
    assert_eq!(town.all("/v1/user/credentials", anne).await.len(), 1);

    // Clicks at the same moment: one acts, the others get its answer or are told to wait.
    let at_once = (0..8).map(|_| call().key("together").json(&body).answer());
    for answer in futures_util::future::join_all(at_once).await {
        if !answer.is_done() {
            answer.problem(409, "idempotency_in_progress");
            assert!(!answer.header("retry-after").is_empty());
        }
    }
    assert_eq!(town.wallet(ben).await.0, 100);

    // A whole verdict, clicked twice.
    let credential = one.json()["id"].as_str().unwrap().to_owned();
    let job = town.request(anne, &credential, vera).await;
    town.accept(vera, &job).await;
    let path = format!("/v1/verifier/jobs/{job}/complete");
    let verdict = json!({ "verdict": "verified" });
    let complete = || town.post(&path, vera).key("v").json(&verdict).answer();
    let (first, second) = (complete().await, complete().await);
    assert!(first.is_done() && second.is_replayed(), "{}", first.text());
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(town.wallet(anne).await, (FUNDS - 100 - PRICE, 0));
}

async fn an_illegal_change_of_state_is_a_conflict_that_names_the_state(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, anne, vera, .. } = &cast;
    let file = town.upload(anne, "diploma.pdf", &pdf("state")).await;
    let made = json!({ "title": "A", "type": "Education", "issuer": "U", "fileId": file });
    let made = town.post("/v1/user/credentials", anne).json(&made).done().await;
    let credential = made["id"].as_str().unwrap().to_owned();
    let own = format!("/v1/user/credentials/{credential}");
    let conflict = async |method: Method, path: &str, who, body: Json, states: &str| {
        let key = format!("{method}{path}{states}").replace(' ', "");
        let answer = town.call(method, path, Some(who)).key(&key).json(&body).answer().await;
        answer.problem(409, "wrong_state");
        let detail = answer.json()["detail"].as_str().unwrap().replace(['_', '-'], " ");
        assert!(detail.contains(states), "{detail} should say {states}");
    };
    let verdict = json!({ "verdict": "verified" });
    conflict(Method::POST, &format!("{own}/revoke"), anne, json!({}), "draft").await;
    let used = town.delete(&format!("/v1/files/{file}"), anne).answer().await;
    assert_eq!(used.status, 409, "{}", used.text());
    used.is_a_problem();

    let job = town.request(anne, &credential, vera).await;
    let (mine, theirs) =
        (format!("/v1/user/verifications/{job}"), format!("/v1/verifier/jobs/{job}"));
    let again = json!({ "credentialId": credential, "verifierId": crate::town::verifier_id(vera) });
    conflict(Method::POST, "/v1/user/verifications", anne, again.clone(), "pending").await;
    conflict(Method::PATCH, &own, anne, json!({ "title": "B" }), "pending").await;
    conflict(Method::DELETE, &own, anne, json!({}), "pending").await;
    conflict(Method::POST, &format!("{theirs}/complete"), vera, verdict.clone(), "pending").await;
    conflict(Method::POST, &format!("{theirs}/notes"), vera, json!({ "note": "x" }), "pending").await;
    conflict(Method::POST, &format!("{mine}/info"), anne, json!({ "message": "x" }), "pending").await;

    town.accept(vera, &job).await;
    conflict(Method::POST, &format!("{theirs}/accept"), vera, json!({}), "in review").await;
    conflict(Method::POST, &format!("{theirs}/decline"), vera, json!({}), "in review").await;
    conflict(Method::POST, &format!("{mine}/cancel"), anne, json!({}), "in review").await;
    conflict(Method::POST, &format!("{mine}/info"), anne, json!({ "message": "x" }), "in review").await;

    town.complete(vera, &job, "verified").await;
    let other = json!({ "verdict": "rejected" });
    conflict(Method::POST, &format!("{theirs}/complete"), vera, other, "verified").await;
    conflict(Method::POST, &format!("{theirs}/accept"), vera, json!({}), "verified").await;
    conflict(Method::POST, &format!("{mine}/cancel"), anne, json!({}), "verified").await;
    let status = json!({ "status": "in_review" });
    conflict(Method::PUT, &format!("{theirs}/status"), vera, status, "verified").await;
    let forced = format!("/v1/admin/verifications/{job}/force-cancel");
    conflict(Method::POST, &forced, &cast.admin, json!({ "reason": "x" }), "verified").await;
    conflict(Method::PATCH, &own, anne, json!({ "title": "B" }), "verified").await;
    conflict(Method::POST, "/v1/user/verifications", anne, again, "verified").await;

    town.post(&format!("{own}/revoke"), anne).json(&json!({})).done().await;
    conflict(Method::POST, &format!("{own}/revoke"), anne, json!({}), "revoked").await;
    conflict(Method::POST, &format!("{own}/share"), anne, json!({}), "revoked").await;
    assert_eq!(town.wallet(anne).await, (FUNDS - PRICE, 0));
}

async fn naughty_strings_come_back_as_they_were(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, admin, anne, vera, .. } = &cast;
    for text in naughty() {
        let shown: String = text.chars().take(40).collect();
        let line = text.trim();
        let kept = !line.is_empty()
            && line.chars().count() <= 200
            && !line.chars().any(char::is_control);
        let body = json!({ "title": text, "type": "Education", "issuer": "U" });
        let answer = town.post("/v1/user/credentials", anne).json(&body).answer().await;
        if kept {
            let id = answer.done()["id"].as_str().unwrap().to_owned();
            let path = format!("/v1/user/credentials/{id}");
            assert_eq!(town.get(&path, anne).done().await["title"], line, "{shown:?}");
            found_by_its_title(&cast, &id, line).await;
            town.delete(&path, anne).done().await;
        } else {
            assert!(names(&answer.problem(422, "invalid_fields"), "/title"), "{shown:?}");
        }

        let answer = town.put("/v1/verifier/profile", vera).json(&json!({ "bio": text })).answer();
        let answer = answer.await;
        if line.chars().count() <= 4000 && !line.contains('\0') {
            answer.done();
            let profile = town.get("/v1/verifier/profile", vera).done().await;
            assert_eq!(profile["bio"], line, "{shown:?}");
        } else {
            assert!(names(&answer.problem(422, "invalid_fields"), "/bio"), "{shown:?}");
        }

        // What a front end keeps is none of our business: any text, also as a name.
        let preferences = json!({ "text": text, "by": { text.clone(): 1 } });
        let body = json!({ "preferences": preferences });
        let answer = town.patch("/v1/me", anne).json(&body).answer().await;
        if preferences.to_string().len() <= 8192 {
            answer.done();
            let me = town.get("/v1/me", anne).done().await;
            assert_eq!(me["preferences"], preferences, "{shown:?}");
        } else {
            assert!(names(&answer.problem(422, "invalid_fields"), "/preferences"), "{shown:?}");
        }

        let name = town.patch("/v1/me", anne).json(&json!({ "name": text })).answer().await;
        if name.is_done() {
            assert_eq!(name.json()["name"], line, "{shown:?}");
        } else {
            assert!(names(&name.problem(422, "invalid_fields"), "/name"), "{shown:?}");
        }
        as_a_file_name(&cast, &text).await;
        in_queries(&cast, admin, &text).await;
    }
}
}

/// A search for the whole title finds it: no letter of it is taken for a pattern.
async fn found_by_its_title(cast: &Cast, id: &str, title: &str) {
    if title.chars().count() > 100 {
        return;
    }
    let query = form(&[("q", title)]);
    let found = cast.town.all(&format!("/v1/user/credentials?{query}"), &cast.anne).await;
    assert!(found.iter().any(|row| row["id"] == id), "{title:?} is not found");
    // And what only a pattern would match is not.
    let query = form(&[("q", "A_%")]);
    let found = cast.town.all(&format!("/v1/user/credentials?{query}"), &cast.anne).await;
    assert!(title.contains("A_%") || found.is_empty(), "{title:?} is taken for a pattern's match");
}

/// Whatever a file is called, it is stored, and its name is shown without harm.
async fn as_a_file_name(cast: &Cast, text: &str) {
    let Cast { town, anne, .. } = cast;
    let name: String = text.chars().filter(|letter| *letter != '\0').take(500).collect();
    let answer = town.upload_call(anne, &name, &pdf("name")).answer().await;
    if !answer.is_done() {
        assert!(matches!(answer.status, 400 | 422), "{name:?}: {}", answer.text());
        return answer.is_a_problem();
    }
    let file = answer.json();
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    let shown = file["name"].as_str().unwrap();
    assert!(shown.ends_with(".pdf") && !shown.contains(['/', '\\']), "{shown:?}");
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    let content = town.get(&format!("{path}/content"), anne).answer().await;
    let disposition = content.header("content-disposition");
    assert!(disposition.starts_with("attachment; filename=\""), "{name:?}: {disposition}");
    town.delete(&path, anne).done().await;
}

/// In a query it finds something or nothing, or is refused; it is never the server's trouble.
async fn in_queries(cast: &Cast, admin: &crate::town::Person, text: &str) {
    let Cast { town, anne, .. } = cast;
    let short: String = text.chars().take(90).collect();
    let paths = [
        (anne, format!("/v1/user/credentials?{}", form(&[("q", &short), ("type", text)]))),
        (anne, format!("/v1/marketplace/verifiers?{}", form(&[("search", &short)]))),
        (anne, format!("/v1/marketplace/verifiers?{}", form(&[("category", text)]))),
        (anne, format!("/v1/audit/logs?{}", form(&[("action", text), ("resource", text)]))),
        (anne, format!("/v1/user/wallet/balance?{}", form(&[("currency", text)]))),
        (anne, format!("/v1/files?{}", form(&[("cursor", &short)]))),
        (admin, format!("/v1/admin/users?{}", form(&[("q", &short)]))),
        (admin, format!("/v1/admin/credentials?{}", form(&[("q", &short)]))),
        (admin, format!("/v1/admin/audit-logs?{}", form(&[("action", text)]))),
    ];
    for (who, path) in paths {
        let answer = town.get(&path, who).answer().await;
        // On both engines: one of them cannot store U+0000, so neither is asked for it.
        let fits = match answer.status {
            200 => !path.contains("%00"),
            status => matches!(status, 400 | 414 | 422),
        };
        assert!(fits, "{path}: {} {}", answer.status, answer.text());
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    let url = reqwest::Url::parse_with_params("http://x/", pairs).unwrap();
    url.query().unwrap_or_default().to_owned()
}

/// Texts that have broken programs before.
const NAUGHTY: &[&str] = &[
    "plain",
    " padded ",
    "",
    " ",
    "\u{3000}",
    "\u{a0}\u{2003}",
    // Right to left, and marks that turn what follows.
    "مرحبا بالعالم",
    "שלום עולם",
    "abc \u{202e}fdp.exe",
    "\u{2066}x\u{2069}",
    "\u{061c}a",
    // Not seen, or seen as another.
    "zero\u{200b}width",
    "\u{feff}mark",
    "a\u{200d}b",
    "so\u{ad}ft",
    "аdmin",
    "ﬁ",
    "ẞ İ ı ſ",
    "e\u{301}",
    "é",
    "Z\u{334}\u{30e}a\u{334}lgo",
    "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "🇳🇬 🏳️\u{200d}🌈 👩🏽\u{200d}🚀",
    "𝕿𝖊𝖘𝖙",
    "\u{10ffff}",
    "\u{fffe}",
    "\u{fdd0}",
    "\u{e000}",
    "ﷺ",
    // Other people's languages.
    "' OR '1'='1",
    "'; DROP TABLE users; --",
    "\" OR \"\"=\"",
    "1; SELECT pg_sleep(9)",
    "$1",
    "?1 :a @b",
    "\\'",
    "\\",
    "\\\\",
    "%",
    "_",
    "100%_\\%",
    "A\\_%",
    "{{7*7}}",
    "${7*7}",
    "%s%n%x",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "&lt;&amp;&#39;",
    "]]>",
    "<!--",
    "javascript:alert(1)",
    "=1+1",
    "@SUM(1)",
    "| ls",
    "$(id)",
    "`id`",
    "; cat /etc/passwd",
    "../../etc/passwd",
    "..\\..\\boot.ini",
    "C:\\nul",
    "CON",
    "file:///etc/passwd",
    ".",
    "..",
    // Values of other types.
    "null",
    "undefined",
    "NaN",
    "true",
    "0",
    "-1",
    "1e309",
    "{}",
    "[]",
    "\"quoted\"",
    "0x0",
    "9999999999999999999999",
    "2024-02-30",
    "00000000-0000-0000-0000-000000000000",
    // Control characters.
    "tab\there",
    "line\nbreak",
    "carriage\r\nreturn",
    "bell\u{7}",
    "escape\u{1b}[31m",
    "\u{85}",
    "a\u{0}b",
    "\u{0}",
    "del\u{7f}",
    "\u{2028}line",
    "\u{2029}paragraph",
];

fn naughty() -> Vec<String> {
    let mut all: Vec<String> = NAUGHTY.iter().copied().map(str::to_owned).collect();
    all.extend(["x".repeat(10_000), "🦀".repeat(200), "🦀".repeat(201), "é".repeat(4000)]);
    all.push("ا".repeat(4001));
    all.push(" ".repeat(10_000));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_addresses_methods_and_media_types_are_problems_too() {
    on_sqlite(async |_, Cast { town, anne, .. }| {
        for path in ["/", "/v1", "/v2/me", "/v1/me/", "/v1//me", "/V1/ME", "/v1/me%2f", "/.env"] {
            town.get(path, anne).answer().await.problem(404, "not_found");
        }
        for (method, path, allowed) in [
            (Method::PUT, "/v1/me", "PATCH"),
            (Method::PUT, "/v1/user/credentials", "POST"),
            (Method::POST, "/readyz", "GET"),
            (Method::GET, "/v1/auth/login", "POST"),
            (Method::TRACE, "/v1/me", "GET"),
            (Method::OPTIONS, "/v1/me", "GET"),
            (Method::from_bytes(b"BREW").unwrap(), "/v1/me", "GET"),
        ] {
            let answer = town.call(method.clone(), path, Some(anne)).answer().await;
            answer.problem(405, "method_not_allowed");
            // RFC 9110 section 15.5.6: what it does take is said.
            assert!(answer.header("allow").contains(allowed), "{method} {path}: {answer:?}");
        }
        let body = r#"{"title":"A","type":"B","issuer":"C"}"#;
        let wrong =
            ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json", ""];
        for media in wrong {
            let answer = town.post("/v1/user/credentials", anne).media(media, body).answer().await;
            answer.problem(415, "unsupported_media_type");
        }
        for media in ["application/json; charset=utf-8", "Application/JSON", "application/x+json"] {
            town.post("/v1/user/credentials", anne).media(media, body).done().await;
        }
        for media in ["application/json", "multipart/form-data", "multipart/form-data; boundary="] {
            let answer = town.post("/v1/files", anne).media(media, body).answer().await;
            assert!(matches!(answer.status, 400 | 415 | 422), "{media}: {}", answer.text());
            answer.is_a_problem();
        }
    })
    .await;
}

on_both_stages! {
/// A defect of ours is told to nobody but the log.
async fn a_broken_database_is_not_shown(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, anne, .. } = &cast;
    let credential = town.credential(anne, "Diploma").await;
    let db = &stage.running.platform.db;
    for table in ["shares", "files", "notifications"] {
        let sql = format!("ALTER TABLE {table} RENAME TO gone_{table}");
        let sql = sql.as_str();
        db.run("test.break", |tx| async move { Ok(tx.execute(sql, &[]).await?) }).await.unwrap();
    }
    let own = format!("/v1/user/credentials/{credential}");
    let answers = [
        town.get(&format!("{own}/shares"), anne).answer().await,
        town.post(&format!("{own}/share"), anne).json(&json!({})).answer().await,
        town.get("/v1/share/abcdefghijklmnopqrstuvwxyz0123456789", anne).answer().await,
        town.get("/v1/files", anne).answer().await,
        town.get("/v1/notifications", anne).answer().await,
    ];
    for answer in &answers {
        if answer.status != 404 {
            answer.problem(500, "internal");
            assert!(answer.text().contains("Something went wrong on our side"), "{answer:?}");
        }
    }
    assert!(answers.iter().filter(|answer| answer.status == 500).count() >= 4, "{answers:?}");
    town.get("/v1/me", anne).done().await;
}
}
