use http::StatusCode;
use kernel::Caller;
use platform::db::Read;
use platform::mail::sink;
use serde_json::{Value as Json, json};

use super::model::{code_hash, email};
use crate::testing::{App, DAY, TABLES, URL, id};

/// Makes a share; answers its id, and the path and the token of its link.
async fn share(
    app: &App,
    owner: &Caller,
    credential: &str,
    body: Json,
) -> (String, String, String) {
    let path = format!("/v1/user/credentials/{credential}/share");
    let made = app.post(owner, &path, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.header("cache-control"), "no-store");
    let made = made.json();
    let path = made["shareLink"].as_str().unwrap().strip_prefix(URL).unwrap().to_owned();
    let token = path.strip_prefix("/v1/share/").unwrap().to_owned();
    (made["id"].as_str().unwrap().to_owned(), path, token)
}

fn nobody() -> Caller {
    Caller::nobody()
}

platform::on_both_engines! { TABLES;

async fn a_link_shows_the_credential_until_it_is_taken_back(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let credential = app.credential(&owner).await;
    let (share, path, _) = share(&app, &owner, &credential.to_string(), json!({})).await;
    let seen = app.get(&nobody(), &path).await.ok();
    assert_eq!(seen.header("cache-control"), "no-store");
    assert_eq!(seen.header("referrer-policy"), "no-referrer");
    assert_eq!(seen.header("x-robots-tag"), "noindex, nofollow");
    let seen = seen.json();
    assert_eq!(seen["status"], "unverified");
    assert_eq!(seen["title"], "University Diploma");
    assert_eq!(seen.get("signedCredential"), None);

    app.verify(&owner, credential).await;
    let seen = app.get(&nobody(), &path).await.ok().json();
    assert_eq!(seen["status"], "valid");
    assert_eq!(seen["verifiedAt"], "2026-01-01T00:00:00Z");
    assert!(seen["verifiedBy"].as_str().unwrap().contains("Checked by Global Verify on 2026-"));
    assert_eq!(seen["signedCredential"]["type"][0], "VerifiableCredential");
    assert_eq!(seen["bundle"]["credential"], seen["signedCredential"]);
    assert_eq!(seen["bundle"].get("documentSalt"), None, "comparing the document is the owner's");
    app.head(&nobody(), &path).await.ok();

    let list = format!("/v1/user/credentials/{credential}/shares");
    let listed = app.get(&owner, &list).await.ok().json();
    assert_eq!((&listed[0]["id"], &listed[0]["views"]), (&json!(share), &json!(2)));
    assert!(listed[0]["lastViewedAt"].is_string());

    let other = app.credential(&owner).await;
    let wrong = format!("/v1/user/credentials/{other}/shares/{share}");
    assert_eq!(app.delete(&owner, &wrong).await.refusal(), (404, "not_found"));
    let right = format!("{list}/{share}");
    assert_eq!(app.delete(&app.user(), &right).await.refusal(), (404, "not_found"));
    app.delete(&owner, &right).await.ok();
    assert_eq!(app.get(&nobody(), &path).await.refusal(), (410, "share_revoked"));
    assert_eq!(app.delete(&owner, &right).await.refusal(), (404, "not_found"));
    let verbs = app.verbs().await;
    assert_eq!(verbs.iter().filter(|verb| *verb == "credential.shared").count(), 1);
    assert_eq!(verbs.last().unwrap(), "share.revoked");
}

async fn a_link_ends_in_time_and_an_unknown_one_is_not_there(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let credential = app.credential(&owner).await.to_string();
    let (_, path, token) = share(&app, &owner, &credential, json!({ "expiresInDays": 2 })).await;
    t.clock.advance(DAY * 2 - std::time::Duration::from_secs(1));
    app.get(&nobody(), &path).await.ok();
    t.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(app.get(&nobody(), &path).await.refusal(), (410, "share_expired"));
    for token in [&token[1..], &token.to_uppercase(), "x", "%00", "a%2Fb"] {
        let answer = app.get(&nobody(), &format!("/v1/share/{token}")).await;
        assert_eq!(answer.refusal(), (404, "not_found"), "{token}");
    }
    for days in [0, 366] {
        let path = format!("/v1/user/credentials/{credential}/share");
        let refused = app.post(&owner, &path, json!({ "expiresInDays": days })).await;
        assert_eq!((refused.refusal().0, refused.pointers()), (422, vec!["/expiresInDays"]));
    }
}

async fn the_token_is_nowhere_in_the_database(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let credential = app.credential(&owner).await.to_string();
    let body = json!({ "recipientEmail": "zoe@example.com" });
    let (_, path, token) = share(&app, &owner, &credential, body).await;
    app.get(&nobody(), &path).await.ok();
    let mut dump = String::new();
    for (table, columns) in [
        ("shares", "recipient_email, fields"),
        ("facts", "subject, data, origin"),
        ("jobs", "payload"),
        ("idempotency", "reply"),
    ] {
        let sql = format!("SELECT {columns} FROM {table}");
        let count = columns.split(',').count();
        let read = |row: &platform::db::Row<'_>| {
            let column = |_| row.take::<Option<String>>().map(Option::unwrap_or_default);
            (0..count).map(column).collect()
        };
        let rows: Vec<Vec<String>> = app.db.all(&sql, &[], read).await.unwrap();
        dump.push_str(&format!("{rows:?}"));
    }
    assert!(dump.contains("zoe@example.com"), "the dump is one: {dump}");
    assert!(!dump.contains(&token));
    let hashes: Vec<Vec<u8>> = app
        .db
        .all("SELECT token_hash FROM shares", &[], |row| row.take())
        .await
        .unwrap();
    assert_eq!(hashes, [platform::crypto::sha256(&token)]);
}

async fn a_recipient_is_sent_the_link_and_nothing_the_owner_wrote(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let credential = app.credential(&owner).await.to_string();
    let body = json!({ "recipientEmail": " zoe@example.com " });
    let (_, path, _) = share(&app, &owner, &credential, body).await;
    app.work().await;
    let letters = sink::list(&app.db, Some("zoe@example.com"), 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].text.contains(&format!("{URL}{path}")), "{}", letters[0].text);
    assert!(!letters[0].text.contains("University Diploma"));

    for odd in ["zoe", "@example.com", "zoe@", "a b@example.com", "a@b\r\nBcc: c@d", "a@b@c", ""] {
        let path = format!("/v1/user/credentials/{credential}/share");
        let refused = app.post(&owner, &path, json!({ "recipientEmail": odd })).await;
        assert_eq!((refused.refusal().0, refused.pointers()), (422, vec!["/recipientEmail"]));
    }
}

async fn a_link_shows_what_its_owner_chose_and_no_more(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let credential = app.credential(&owner).await;
    app.verify(&owner, credential).await;
    let credential = credential.to_string();
    let keys = async |body: Json| {
        let (_, path, _) = share(&app, &owner, &credential, body).await;
        let seen = app.get(&nobody(), &path).await.ok().json();
        let text = seen.to_string();
        for private in [owner.user().unwrap().to_string(), credential.clone(), "file_".to_owned()] {
            assert!(!text.contains(&private), "{private} in {text}");
        }
        let mut keys: Vec<String> = seen.as_object().unwrap().keys().cloned().collect();
        let always = ["title", "type", "issuer", "status", "verifiedAt", "validUntil",
            "verifiedBy", "sharedUntil", "howToCheck"];
        keys.retain(|key| !always.contains(&key.as_str()));
        keys.sort_unstable();
        keys
    };
    let all = ["bundle", "expiryDate", "issueDate", "signedCredential"];
    assert_eq!(keys(json!({})).await, all);
    assert_eq!(keys(json!({ "fields": [] })).await, Vec::<String>::new());
    assert_eq!(keys(json!({ "fields": ["documentNumber"] })).await, ["documentNumber"]);
    let path = format!("/v1/user/credentials/{credential}/share");
    let refused = app.post(&owner, &path, json!({ "fields": ["owner"] })).await;
    assert_eq!((refused.refusal().0, refused.pointers()), (422, vec!["/fields/0"]));
}

async fn a_link_tells_when_the_verdict_no_longer_holds(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let credential = app.credential(&owner).await;
    app.verify(&owner, credential).await;
    let body = json!({ "expiresInDays": 365 });
    let (_, path, _) = share(&app, &owner, &credential.to_string(), body).await;
    let status = async || app.get(&nobody(), &path).await.ok().json()["status"].clone();
    t.clock.advance(DAY * 364);
    assert_eq!(status().await, "valid");

    // Taken back where it was signed: the link knows at once.
    let shown = app.get(&owner, &format!("/v1/user/credentials/{credential}")).await.json();
    let (issued, issuance) = (id(&shown["issuedId"]), &app.trust.issuance);
    let revoke = app.db.run("test", |tx| async move {
        issuance.revoke(&tx, issued, &Caller::nobody(), "found forged").await
    });
    revoke.await.unwrap();
    assert_eq!(status().await, "revoked");
    app.post(&owner, &format!("/v1/user/credentials/{credential}/revoke"), json!({})).await.ok();
    assert_eq!(status().await, "revoked");
    let again = format!("/v1/user/credentials/{credential}/share");
    assert_eq!(app.post(&owner, &again, json!({})).await.refusal(), (409, "wrong_state"));
}

async fn deleting_a_credential_ends_its_links(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let credential = app.credential(&owner).await.to_string();
    let (_, path, _) = share(&app, &owner, &credential, json!({})).await;
    app.delete(&owner, &format!("/v1/user/credentials/{credential}")).await.ok();
    assert_eq!(app.get(&nobody(), &path).await.refusal(), (410, "share_revoked"));
}

async fn a_browser_sees_a_page_in_which_nothing_runs(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let body = json!({
        "title": "<script>alert(1)</script>", "type": "\" onload=\"x", "issuer": "A & B's </dd>",
    });
    let made = app.post(&owner, "/v1/user/credentials", body).await.ok().json();
    let made = made["id"].as_str().unwrap();
    app.verify(&owner, made.parse().unwrap()).await;
    let (share, path, _) = share(&app, &owner, made, json!({})).await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let seen = app.get_with(&nobody(), &path, &[("accept", browser)]).await.ok();
    assert_eq!(seen.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(seen.header("vary"), "Accept");
    let policy = seen.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let page = String::from_utf8(seen.body.to_vec()).unwrap();
    assert!(page.contains("https://verza.example/.well-known/did.json"), "{page}");
    for bad in ["<script", "onload=\"x", "B's </dd>", "unsafe-inline", "http-equiv", "src="] {
        assert!(!page.contains(bad), "{bad} in {page}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    assert!(page.contains("<span class=\"status valid\">valid</span>"), "{page}");
    assert!(page.contains("<svg") && page.contains("verza verify bundle.json --did did.json"), "{page}");

    for (accept, html) in [
        ("application/json", false),
        ("*/*", false),
        ("application/json, text/html;q=0.9", false),
        ("text/html;q=0", false),
        ("application/json;q=0.5, text/html", true),
    ] {
        let seen = app.get_with(&nobody(), &path, &[("accept", accept)]).await;
        assert_eq!(seen.header("content-type").starts_with("text/html"), html, "{accept}");
    }
    app.delete(&owner, &format!("/v1/user/credentials/{made}/shares/{share}")).await.ok();
    let over = app.get_with(&nobody(), &path, &[("accept", browser)]).await;
    assert_eq!(over.status, StatusCode::GONE);
    assert_eq!(over.header("content-type"), "text/html; charset=utf-8");
    assert!(String::from_utf8_lossy(&over.body).contains("taken this link back"));
    let never = app.get_with(&nobody(), "/v1/share/x", &[("accept", browser)]).await;
    assert_eq!(never.status, StatusCode::NOT_FOUND);
}

async fn a_link_with_a_code_opens_for_its_recipient_alone_and_once(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let credential = app.credential(&owner).await.to_string();
    let make = format!("/v1/user/credentials/{credential}/share");
    let refused = app.post(&owner, &make, json!({ "requireCode": true })).await;
    assert_eq!(refused.pointers(), ["/recipientEmail"]);
    let body = json!({ "recipientEmail": "zoe@example.com", "requireCode": true });
    let (_, path, token) = share(&app, &owner, &credential, body).await;
    assert_eq!(app.get(&nobody(), &path).await.refusal(), (403, "code_required"));
    let refused = app.post(&nobody(), &path, json!({ "code": "" })).await;
    assert_eq!(refused.refusal(), (403, "wrong_code"), "none was sent");

    let send = format!("{path}/code");
    let letters = async || {
        app.work().await;
        let mut letters = sink::list(&app.db, Some("zoe@example.com"), 10).await.unwrap();
        letters.retain(|letter| letter.text.contains("The code is"));
        letters
    };
    let code = async || {
        let text = letters().await.into_iter().next().unwrap().text;
        let from = text.find("The code is ").unwrap() + "The code is ".len();
        text[from..from + 6].to_owned()
    };
    app.post(&nobody(), &send, json!({})).await.ok();
    let right = code().await;
    assert_eq!(app.post(&nobody(), &send, json!({})).await.status, 429, "one a minute");
    let wrong = if right == "000000" { "000001" } else { "000000" };
    for _ in 0..4 {
        let refused = app.post(&nobody(), &path, json!({ "code": wrong })).await;
        assert_eq!(refused.refusal(), (403, "wrong_code"));
    }
    let seen = app.post(&nobody(), &path, json!({ "code": right })).await.ok();
    assert_eq!(seen.json()["title"], "University Diploma");
    assert_eq!(seen.header("cache-control"), "no-store");
    let again = app.post(&nobody(), &path, json!({ "code": right })).await;
    assert_eq!(again.refusal(), (403, "wrong_code"), "once");

    t.clock.advance(DAY / 24);
    app.post(&nobody(), &send, json!({})).await.ok();
    let right = code().await;
    for _ in 0..5 {
        app.post(&nobody(), &path, json!({ "code": wrong })).await;
    }
    let late = app.post(&nobody(), &path, json!({ "code": right })).await;
    assert_eq!(late.refusal(), (403, "wrong_code"), "five tries");

    t.clock.advance(DAY / 24);
    app.post(&nobody(), &send, json!({})).await.ok();
    let right = code().await;
    t.clock.advance(DAY / 144);
    let late = app.post(&nobody(), &path, json!({ "code": right })).await;
    assert_eq!(late.refusal(), (403, "wrong_code"), "ten minutes");
    let hashes: Vec<Option<Vec<u8>>> =
        app.db.all("SELECT code_hash FROM shares", &[], |row| row.take()).await.unwrap();
    let kept = code_hash(&token, &right).to_vec();
    assert_eq!(hashes, [Some(kept)], "the code itself is nowhere");

    let browser = [("accept", "text/html")];
    let page = app.get_with(&nobody(), &path, &browser).await.ok();
    assert!(page.header("content-security-policy").contains("form-action 'self'"));
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(page.contains("Send me a code") && !page.contains("University Diploma"), "{page}");
    t.clock.advance(DAY / 24);
    app.post(&nobody(), &send, json!({})).await.ok();
    let form = http::Request::post(&path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "text/html")
        .body(format!("code={}", code().await).into())
        .unwrap();
    let page = app.send(&nobody(), form).await.ok();
    assert!(String::from_utf8_lossy(&page.body).contains("University Diploma"));
    let (_, open, _) = share(&app, &owner, &credential, json!({})).await;
    let refused = app.post(&nobody(), &format!("{open}/code"), json!({})).await;
    assert_eq!(refused.refusal(), (409, "no_code"));
}

async fn the_owner_sees_when_a_link_was_opened_and_from_which_network(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let credential = app.credential(&owner).await.to_string();
    let (id, path, _) = share(&app, &owner, &credential, json!({})).await;
    let mut from = nobody();
    from.origin.ip = Some("192.0.2.77".parse().unwrap());
    app.get(&from, &path).await.ok();
    t.clock.advance(DAY);
    from.origin.ip = Some("2001:db8:1:2:3:4:5:6".parse().unwrap());
    app.get_with(&from, &path, &[("accept", "text/html")]).await.ok();
    app.head(&from, &path).await.ok();
    let views = format!("/v1/user/credentials/{credential}/shares/{id}/views");
    let seen = app.get(&owner, &views).await.ok().json();
    assert_eq!(seen, json!([
        { "number": 2, "form": "page", "network": "2001:db8:1::/48",
          "viewedAt": "2026-01-02T00:00:00Z" },
        { "number": 1, "form": "json", "network": "192.0.2.0/24",
          "viewedAt": "2026-01-01T00:00:00Z" },
    ]));
    assert_eq!(app.get(&app.user(), &views).await.refusal(), (404, "not_found"));
    for _ in 0..250 {
        app.get(&nobody(), &path).await.ok();
    }
    let seen = app.get(&owner, &views).await.ok().json();
    let seen = seen.as_array().unwrap();
    assert_eq!((seen.len(), &seen[0]["number"]), (200, &json!(252)), "no link fills the disk");
}

}

#[test]
fn addresses_are_told_from_what_is_none() {
    for text in ["a@b", "first.last+tag@sub.example.com", "zoë@exämple.de"] {
        assert!(email(text).is_ok(), "{text}");
    }
    for text in
        ["a", "a@", "@b", "a@.b", "a,b@c", "<a@b>", "a@b\n", &format!("{}@b", "a".repeat(254))]
    {
        assert!(email(text).is_err() || text.ends_with('\n'), "{text}");
    }
}
