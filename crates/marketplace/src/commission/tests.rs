//! Commissions over HTTP, with the real money, documents and trust beneath them.

use kernel::caller::{Acting, Actor};
use kernel::id::kinds;
use kernel::{Caller, Id, Permissions, Principal, Role};
use platform::db::Read;
use serde_json::{Value as Json, json};

use crate::testing::{Client, id_of, with_key};
use crate::verification::tests::{FEE, FUNDS, MIGRATIONS, PRICE, Stage, stage};

const VERIFICATIONS: &str = "/v1/enterprise/verifications";

/// An enterprise with money, beside the people of a stage.
async fn enterprise(stage: &Stage<'_>, name: &str) -> Caller {
    let caller = stage.people.add(stage.t, name, Role::Enterprise);
    stage.fund(&caller, FUNDS).await;
    caller
}

/// A request for a diploma that has yet to be made a credential.
fn diploma(stage: &Stage<'_>, reference: &str) -> Json {
    let verifier: Id<kinds::Verifier> = id_of(&stage.verifier).same_as();
    json!({
        "document": { "title": "Bachelor", "type": "Education", "issuer": "University X" },
        "verifierId": verifier, "subject": "Anne Cooper", "reference": reference,
    })
}

async fn wallet(stage: &Stage<'_>, of: &Caller) -> (i64, i64) {
    use money::ledger::{self, Account, Code};
    let balance = async |code| {
        let account = Account::of(id_of(of), code);
        ledger::balance(&stage.t.db, account, kernel::Asset::USD).await.unwrap().minor
    };
    (balance(Code::WALLET).await, balance(Code::HELD).await)
}

platform::on_both_engines! { MIGRATIONS;

async fn an_organization_has_a_document_about_somebody_verified_and_pays(t: &TestDb) {
    let stage = stage(t).await;
    let eve = enterprise(&stage, "Eve").await;
    let client = Client::over(stage.market.routes());
    let post = format!("POST {VERIFICATIONS}");
    let made = client.ok(&eve, &post, diploma(&stage, "HR-1")).await;
    assert_eq!((&made["status"], &made["price"]), (&json!("pending"), &json!(PRICE)));
    assert_eq!((&made["subject"], &made["reference"]), (&json!("Anne Cooper"), &json!("HR-1")));
    assert_eq!(wallet(&stage, &eve).await, (FUNDS - PRICE, PRICE));

    let id = made["id"].as_str().unwrap();
    let job = format!("/v1/verifier/jobs/{id}");
    client.ok(&stage.verifier, &format!("POST {job}/accept"), Json::Null).await;
    let ask = json!({ "status": "needs_info", "message": "Which year?" });
    client.ok(&stage.verifier, &format!("PUT {job}/status"), ask).await;
    let info = format!("{post}/{id}/info");
    client.ok(&eve, &info, json!({ "message": "1999" })).await;
    let verdict = json!({ "verdict": "verified" });
    client.ok(&stage.verifier, &format!("POST {job}/complete"), verdict).await;
    let seen = client.get(&eve, &format!("{VERIFICATIONS}/{id}")).await;
    assert_eq!((&seen["status"], &seen["reference"]), (&json!("verified"), &json!("HR-1")));
    assert!(seen["issuedId"].is_string());
    assert_eq!(wallet(&stage, &eve).await, (FUNDS - PRICE, 0));
    stage.has(FUNDS, 0, PRICE - FEE, FEE).await;
    // Neither the name nor the word is for good.
    let facts: Vec<String> =
        t.db.all("SELECT data FROM facts", &[], |row| row.take()).await.unwrap();
    assert!(facts.iter().all(|data| !data.contains("Cooper") && !data.contains("HR-1")));
}

async fn each_organization_sees_its_own_and_finds_it_by_its_word(t: &TestDb) {
    let stage = stage(t).await;
    let (eve, olga) = (enterprise(&stage, "Eve").await, enterprise(&stage, "Olga").await);
    let client = Client::over(stage.market.routes());
    let post = format!("POST {VERIFICATIONS}");
    let mut ids = Vec::new();
    for (who, reference) in [(&eve, "A"), (&olga, "A"), (&eve, "B"), (&olga, "C"), (&eve, "")] {
        ids.push(client.ok(who, &post, diploma(&stage, reference)).await["id"].clone());
    }
    let list = async |who: &Caller, query: &str| {
        let rows = client.get(who, &format!("{VERIFICATIONS}{query}")).await;
        rows.as_array().unwrap().iter().map(|one| one["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(list(&eve, "").await, [&ids[4], &ids[2], &ids[0]].map(Json::clone));
    assert_eq!(list(&olga, "").await, [&ids[3], &ids[1]].map(Json::clone));
    assert_eq!(list(&eve, "?reference=A").await, [ids[0].clone()]);
    assert_eq!(list(&eve, "?reference=C").await, Vec::<Json>::new());
    assert_eq!(list(&eve, "?status=rejected").await, Vec::<Json>::new());
    assert_eq!(list(&olga, "?status=pending&reference=A").await, [ids[1].clone()]);
    let page = client.send(&eve, &format!("GET {VERIFICATIONS}?limit=2"), Json::Null).await;
    let rest = client.get(&eve, &page.2.unwrap()).await;
    assert_eq!((rest.as_array().unwrap().len(), &rest[0]["id"]), (1, &ids[0]));
    let one = ids[0].as_str().unwrap();
    for request in [
        format!("GET {VERIFICATIONS}/{one}"), format!("POST {VERIFICATIONS}/{one}/cancel"),
    ] {
        assert_eq!(client.send(&olga, &request, Json::Null).await.0, 404, "{request}");
    }
    let info = format!("POST {VERIFICATIONS}/{one}/info");
    assert_eq!(client.send(&olga, &info, json!({ "message": "x" })).await.0, 404);
    client.ok(&eve, &format!("POST {VERIFICATIONS}/{one}/cancel"), Json::Null).await;
    assert_eq!(wallet(&stage, &eve).await, (FUNDS - 2 * PRICE, 2 * PRICE));
}

async fn an_organization_s_request_may_stand_on_the_board_and_shows_its_files(t: &TestDb) {
    let stage = stage(t).await;
    let (eve, olga) = (enterprise(&stage, "Eve").await, enterprise(&stage, "Olga").await);
    let client = Client::over(stage.market.routes());
    let post = format!("POST {VERIFICATIONS}");
    let mut body = diploma(&stage, "HR-1");
    let words = body.as_object_mut().unwrap();
    words.remove("verifierId");
    let (status, refused, _) = client.send(&eve, &post, Json::Object(words.clone())).await;
    assert_eq!((status, &refused["fields"]), (422, &json!(["/verifierId"])));
    words.insert("price".into(), json!(PRICE));
    let (status, refused, _) = client.send(&eve, &post, Json::Object(words.clone())).await;
    assert_eq!((status, &refused["fields"]), (422, &json!(["/currency"])));
    words.insert("currency".into(), json!("USD"));
    for (more, field) in [
        (json!({ "verifierId": "v_01h455vb4pex5vsknk084sn02q" }), "/verifierId"),
        (json!({ "expedited": true }), "/serviceId"),
        (json!({ "language": "xx-much-too-long-to-be-one" }), "/language"),
        (json!({ "price": 0 }), "/price"),
    ] {
        let mut wrong = words.clone();
        wrong.extend(more.as_object().unwrap().clone());
        let (status, refused, _) = client.send(&eve, &post, Json::Object(wrong)).await;
        assert_eq!((status, &refused["fields"]), (422, &json!([field])), "{refused}");
    }
    let made = client.ok(&eve, &post, body).await;
    assert_eq!((&made["status"], &made["reference"]), (&json!("open"), &json!("HR-1")));
    assert_eq!(wallet(&stage, &eve).await, (FUNDS - PRICE, PRICE));
    let id = made["id"].as_str().unwrap();
    let offered = client.get(&stage.verifier, "/v1/verifier/jobs/available").await;
    assert_eq!(offered[0]["id"], made["id"]);
    client.ok(&stage.verifier, &format!("POST /v1/verifier/jobs/{id}/accept"), Json::Null).await;

    let attachments = format!("{VERIFICATIONS}/{id}/attachments");
    let file = stage.upload(&eve, "transcript").await;
    let attach = format!("POST {attachments}");
    client.ok(&eve, &attach, json!({ "fileId": file })).await;
    let seen = client.get(&stage.verifier, &format!("/v1/verifier/jobs/{id}/attachments")).await;
    assert_eq!((seen.as_array().unwrap().len(), &seen[0]["fileId"]), (1, &json!(file)));
    let content = format!("{attachments}/{file}/content");
    assert_eq!(client.send(&eve, &format!("GET {content}"), Json::Null).await.0, 200);
    for (request, body) in [
        (format!("GET {attachments}"), Json::Null),
        (format!("GET {content}"), Json::Null),
        (attach, json!({ "fileId": file })),
    ] {
        assert_eq!(client.send(&olga, &request, body).await.0, 404, "{request}");
    }
    let verdict = json!({ "verdict": "verified" });
    let complete = format!("POST /v1/verifier/jobs/{id}/complete");
    client.ok(&stage.verifier, &complete, verdict).await;
    assert_eq!(wallet(&stage, &eve).await, (FUNDS - PRICE, 0));
}

async fn sooner_costs_what_the_service_says_for_it(t: &TestDb) {
    let stage = stage(t).await;
    let eve = enterprise(&stage, "Eve").await;
    let client = Client::over(stage.market.routes());
    let post = format!("POST {VERIFICATIONS}");
    let mut body = diploma(&stage, "HR-1");
    body["expedited"] = json!(true);
    let (status, refused, _) = client.send(&eve, &post, body.clone()).await;
    assert_eq!((status, &refused["fields"]), (422, &json!(["/expedited"])));
    let services = json!([{ "title": "Diplomas", "category": "Education", "price": PRICE,
        "currency": "USD", "slaHours": 48, "expeditedPrice": 2 * PRICE, "expeditedHours": 6 }]);
    client.ok(&stage.verifier, "PUT /v1/verifier/services", services).await;
    (body["price"], body["currency"]) = (json!(PRICE), json!("USD"));
    let (status, refused, _) = client.send(&eve, &post, body.clone()).await;
    assert_eq!((status, &refused["code"]), (409, &json!("price_changed")));
    assert_eq!(refused["members"], json!({ "price": 2 * PRICE, "currency": "USD" }));
    assert_eq!((wallet(&stage, &eve).await, stage.count("credentials").await), ((FUNDS, 0), 0));
    body["price"] = json!(2 * PRICE);
    let made = client.ok(&eve, &post, body).await;
    assert_eq!(made["price"], 2 * PRICE);
    assert_eq!(wallet(&stage, &eve).await, (FUNDS - 2 * PRICE, 2 * PRICE));
    let id: Id<kinds::Verification> = made["id"].as_str().unwrap().parse().unwrap();
    let accepted = stage.market.verifications.accept(&stage.verifier, id).await.unwrap();
    assert_eq!(accepted.due_at, t.db.world().now() + crate::verification::tests::DAY / 4);
    let plain = client.ok(&eve, &post, diploma(&stage, "HR-2")).await;
    assert_eq!(plain["price"], PRICE);
}

async fn what_cannot_be_paid_or_makes_no_sense_leaves_nothing(t: &TestDb) {
    let stage = stage(t).await;
    let poor = stage.people.add(t, "Poor", Role::Enterprise);
    let client = Client::over(stage.market.routes());
    let post = format!("POST {VERIFICATIONS}");
    let refused = client.send(&poor, &post, diploma(&stage, "")).await;
    assert_eq!((refused.0, &refused.1["code"]), (409, &json!("insufficient_funds")));
    for (change, fields) in [
        (json!({ "credentialId": "c_01h455vb4pex5vsknk084sn02q" }), json!(["/credentialId"])),
        (json!({ "document": null }), json!(["/document"])),
        (json!({ "subject": "a\nb" }), json!(["/subject"])),
        (json!({ "reference": "x".repeat(101) }), json!(["/reference"])),
        (json!({ "document": { "title": "", "type": "Education", "issuer": "" } }),
            json!(["/document/title", "/document/issuer"])),
        (json!({ "document": { "title": "B", "type": "Education", "issuer": "U",
            "fileId": "file_01h455vb4pex5vsknk084sn02q" } }), json!(["/fileId"])),
        (json!({ "verifierId": "v_01h455vb4pex5vsknk084sn02q" }), json!(["/verifierId"])),
    ] {
        let mut body = diploma(&stage, "");
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, answer, _) = client.send(&poor, &post, body).await;
        assert_eq!((status, &answer["fields"]), (422, &fields), "{change}: {answer}");
    }
    for table in ["verifications", "commissions", "credentials"] {
        assert_eq!(stage.count(table).await, 0, "{table}");
    }
}

async fn a_request_that_is_sent_twice_acts_once_and_names_who_acted(t: &TestDb) {
    let stage = stage(t).await;
    let eve = enterprise(&stage, "Eve").await;
    let key: Id<kinds::ApiKey> = t.db.world().id();
    let acting = Some(Acting { by: Actor::Key(key), may: Permissions::NONE });
    let principal = Principal { acting, ..eve.principal().unwrap().clone() };
    let by_key = with_key(&Caller::of(principal), 7);
    let client = Client::over(stage.market.routes());
    let post = format!("POST {VERIFICATIONS}");
    let first = client.ok(&by_key, &post, diploma(&stage, "HR-1")).await;
    let again = client.ok(&by_key, &post, diploma(&stage, "HR-1")).await;
    assert_eq!((&first, stage.count("commissions").await), (&again, 1));
    assert_eq!(wallet(&stage, &eve).await, (FUNDS - PRICE, PRICE));
    let sql = "SELECT data FROM facts WHERE verb = 'verification.requested'";
    let data: String = t.db.one(sql, &[], |row| row.take()).await.unwrap();
    assert!(data.contains(&format!("\"apiKey\":\"{key}\"")), "{data}");
}

async fn what_is_commissioned_counts_for_the_plan_and_a_suspended_one_stops(t: &TestDb) {
    let stage = stage(t).await;
    let eve = enterprise(&stage, "Eve").await;
    let (client, billing) = (Client::over(stage.market.routes()), &stage.money.billing);
    let bills = Client::over(stage.money.routes());
    let post = format!("POST {VERIFICATIONS}");
    client.ok(&eve, &post, diploma(&stage, "before")).await;
    billing.choose(&with_key(&eve, 7), "team").await.unwrap();
    for _ in 0..2 {
        // The second one is the first one's reply.
        client.ok(&with_key(&eve, 8), &post, diploma(&stage, "HR-1")).await;
    }
    let page = bills.get(&eve, "/v1/enterprise/billing/subscription").await;
    assert_eq!(page["subscription"]["used"], 1, "{page}");
    for _ in 0..12 {
        billing.collect_due().await.unwrap();
        t.clock.advance(crate::verification::tests::DAY);
    }
    let before = stage.count("verifications").await;
    let (status, refused, _) = client.send(&eve, &post, diploma(&stage, "HR-2")).await;
    assert_eq!((status, &refused["code"]), (403, &json!("plan_suspended")));
    assert_eq!(stage.count("verifications").await, before);
}

async fn an_organization_follows_contests_and_reviews_what_it_has_paid_for(t: &TestDb) {
    let stage = stage(t).await;
    let (eve, olga) = (enterprise(&stage, "Eve").await, enterprise(&stage, "Olga").await);
    // Somebody acts for it, by a key.
    let key: Id<kinds::ApiKey> = t.db.world().id();
    let acting = Some(Acting { by: Actor::Key(key), may: Permissions::NONE });
    let eve = &Caller::of(Principal { acting, ..eve.principal().unwrap().clone() });
    let client = Client::over(stage.market.routes());
    let made = client.ok(eve, &format!("POST {VERIFICATIONS}"), diploma(&stage, "HR-1")).await;
    let id = made["id"].as_str().unwrap();
    let (mine, job) = (format!("{VERIFICATIONS}/{id}"), format!("/v1/verifier/jobs/{id}"));
    client.ok(&stage.verifier, &format!("POST {job}/accept"), Json::Null).await;
    let verdict = json!({ "verdict": "rejected" });
    client.ok(&stage.verifier, &format!("POST {job}/complete"), verdict).await;
    let events = client.get(eve, &format!("{mine}/events")).await;
    assert_eq!(events[2]["type"], "verification.rejected");
    let case = client.send(eve, &format!("GET {mine}/case-file"), Json::Null).await;
    assert_eq!((case.0, &case.1["code"]), (503, &json!("log_behind")), "there is no log here");
    client.ok(eve, &format!("POST {mine}/review"), json!({ "rating": 2 })).await;

    let contest = json!({ "reason": "wrong_verdict", "description": "It is genuine." });
    let file = stage.upload(eve, "letter").await;
    let words = json!({ "message": "See.", "fileId": file });
    let opened = client.ok(eve, &format!("POST {mine}/dispute"), contest.clone()).await;
    let dispute = opened["id"].as_str().unwrap();
    let room = format!("/v1/enterprise/disputes/{dispute}");
    client.ok(eve, &format!("POST {room}/evidence"), words.clone()).await;
    let theirs = format!("GET /v1/disputes/{dispute}/evidence/{file}/content");
    assert_eq!(client.media(&stage.verifier, &theirs, ("", "")).await.0, 200);
    let content = format!("GET {room}/evidence/{file}/content");
    assert_eq!(client.media(eve, &content, ("", "")).await.0, 200);
    let resolve = format!("POST /v1/admin/disputes/{dispute}/resolve");
    let ruling = |resolution: &str| json!({ "resolution": resolution, "reason": "x" });
    client.ok(&stage.admin, &resolve, ruling("reject")).await;
    client.ok(eve, &format!("POST {room}/appeal"), words.clone()).await;
    client.ok(&stage.admin, &resolve, ruling("refund_user")).await;
    assert_eq!(client.get(eve, &room).await["status"], "closed");
    assert_eq!(client.get(eve, "/v1/enterprise/disputes").await[0]["id"], dispute);
    assert_eq!(wallet(&stage, eve).await, (FUNDS, 0));

    assert_eq!(client.get(&olga, "/v1/enterprise/disputes").await, json!([]));
    for (request, body) in [
        (format!("GET {mine}/events"), Json::Null),
        (format!("GET {mine}/case-file"), Json::Null),
        (format!("POST {mine}/review"), json!({ "rating": 1 })),
        (format!("POST {mine}/dispute"), contest),
        (format!("GET {room}"), Json::Null),
        (content, Json::Null),
        (format!("POST {room}/evidence"), json!({ "message": "x" })),
        (format!("POST {room}/appeal"), json!({ "message": "x" })),
    ] {
        assert_eq!(client.send(&olga, &request, body).await.0, 404, "{request}");
    }
}

}
