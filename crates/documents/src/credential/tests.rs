use http::{Method, StatusCode};
use kernel::id::kinds::Credential as CredentialKind;
use kernel::{Caller, Id, Role};
use platform::db::Read;
use serde_json::{Value as Json, json};

use super::model::{Date, Outcome, Status};
use super::rules::{Act, allows};
use crate::testing::{App, DAY, TABLES, id, pdf};

const PATH: &str = "/v1/user/credentials";

fn at(id: Id<CredentialKind>) -> String {
    format!("{PATH}/{id}")
}

async fn status(app: &App, owner: &Caller, id: Id<CredentialKind>) -> String {
    let shown = app.get(owner, &at(id)).await.ok().json();
    shown["status"].as_str().unwrap().to_owned()
}

/// A credential without a file.
async fn draft(app: &App, owner: &Caller, title: &str) -> Id<CredentialKind> {
    let body = json!({ "title": title, "type": "Education", "issuer": "University X" });
    id(&app.post(owner, PATH, body).await.ok().json()["id"])
}

/// Begins a verification, and ends it when an outcome is given.
async fn verification(
    app: &App,
    owner: &Caller,
    id: Id<CredentialKind>,
    outcome: Option<Outcome>,
) -> kernel::Result<()> {
    let (credentials, owner) = (&app.documents.credentials, owner.user()?);
    app.db
        .run("test", |tx| async move {
            let pending = credentials.begin_verification(&tx, owner, id).await?;
            assert_eq!(pending.status, Status::Pending);
            match outcome {
                Some(outcome) => credentials.settle_verification(&tx, id, outcome).await,
                None => Ok(()),
            }
        })
        .await
}

async fn settle(app: &App, id: Id<CredentialKind>, outcome: Outcome) -> kernel::Result<()> {
    let credentials = &app.documents.credentials;
    let settle = app
        .db
        .run("test", |tx| async move { credentials.settle_verification(&tx, id, outcome).await });
    settle.await
}

/// How many signed verdicts of a credential stand.
async fn standing(app: &App, owner: &Caller, id: Id<CredentialKind>) -> usize {
    let all = app.trust.issuance.all_of(&app.db, id, owner.user().unwrap()).await.unwrap();
    all.iter().filter(|issued| issued.revoked_at.is_none()).count()
}

/// What becomes of each way to a new copy of what was signed.
async fn copies(app: &App, owner: &Caller, id: Id<CredentialKind>) -> [(u16, String); 3] {
    let offered = match app.trust.pickup.offer(owner, id).await {
        Ok(_) => (200, String::new()),
        Err(error) => (404, error.code().to_owned()),
    };
    let mut tokens = Vec::new();
    for format in ["jwt", "sd-jwt"] {
        let answer = app.get(owner, &format!("{}/signed?format={format}", at(id))).await;
        let (status, code) = answer.refusal();
        tokens.push((status, code.to_owned()));
    }
    let [jwt, sd_jwt] = tokens.try_into().unwrap();
    [offered, jwt, sd_jwt]
}

fn all() -> [(u16, String); 3] {
    std::array::from_fn(|_| (200, String::new()))
}

fn none(code: &str) -> [(u16, String); 3] {
    std::array::from_fn(|_| (404, code.to_owned()))
}

async fn titles(app: &App, owner: &Caller, query: &str) -> Vec<String> {
    let rows = app.get(owner, &format!("{PATH}?{query}")).await.ok().json();
    let title = |row: &Json| row["title"].as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(title).collect()
}

platform::on_both_engines! { TABLES;

async fn a_credential_lives_from_draft_to_its_signed_form(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let id = app.credential(&owner).await;
    let shown = app.get(&owner, &at(id)).await.ok();
    assert_eq!(shown.header("etag"), "\"1\"");
    let shown = shown.json();
    for (field, value) in [
        ("title", "University Diploma"),
        ("type", "Education"),
        ("issuer", "University X"),
        ("documentNumber", "D-4711"),
        ("issueDate", "2020-06-30"),
        ("expiryDate", "2030-06-30"),
        ("status", "draft"),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!(app.get(&owner, &format!("{}/signed", at(id))).await.refusal(), (404, "not_issued"));

    app.verify(&owner, id).await;
    assert_eq!(status(&app, &owner, id).await, "verified");
    let signed = app.get(&owner, &format!("{}/signed", at(id))).await.ok();
    assert_eq!(signed.header("content-type"), "application/vc");
    assert_eq!(signed.json()["type"], json!(["VerifiableCredential", "OpenBadgeCredential"]));
    let badge = app.get(&owner, &format!("{}/signed?format=openbadge", at(id))).await.ok();
    assert_eq!(badge.body, signed.body);
    let odd = app.get(&owner, &format!("{}/signed?format=pdf", at(id))).await;
    assert_eq!((odd.refusal().0, odd.pointers()), (422, vec!["/format"]));
    let runner = platform::journal::Runner::new(app.db.clone(), app.trust.readers());
    runner.drain().await;
    let bundle = app.get(&owner, &format!("{}/signed?format=bundle", at(id))).await.ok();
    assert_eq!(bundle.header("content-type"), "application/json");
    assert!(bundle.json().to_string().contains(signed.json()["id"].as_str().unwrap()));
    assert_eq!(app.verbs().await, ["file.uploaded", "credential.created"]);
}

async fn the_file_may_be_named_by_its_address(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let file = app.upload(&owner, "a.pdf", &pdf(100)).await.ok().json();
    let body = json!({
        "title": "University Diploma", "type": "Education", "issuer": "University X",
        "fileUrl": file["url"],
    });
    let made = app.post(&owner, PATH, body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.json();
    assert_eq!((&made["fileId"], &made["fileUrl"]), (&file["id"], &file["url"]));
}

async fn whatever_is_wrong_with_a_credential_is_named(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let good = json!({ "title": "T", "type": "Education", "issuer": "X" });
    let with = |more: Json| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let unknown: Id<kernel::id::kinds::File> = app.db.world().id();
    let another: Id<kernel::id::kinds::File> = app.db.world().id();
    for (more, pointers) in [
        (json!({ "title": " ", "type": "", "issuer": "\n" }), vec!["/title", "/type", "/issuer"]),
        (json!({ "title": "x".repeat(201) }), vec!["/title"]),
        (json!({ "title": "a\u{0}b" }), vec!["/title"]),
        (json!({ "documentNumber": "" }), vec!["/documentNumber"]),
        (json!({ "issueDate": "2021-01-02", "expiryDate": "2021-01-01" }), vec!["/expiryDate"]),
        (json!({ "issueDate": "2021-02-30" }), vec!["/issueDate"]),
        (json!({ "fileUrl": "https://evil.example/file.pdf" }), vec!["/fileUrl"]),
        (json!({ "fileUrl": format!("/v1/files/{unknown}"), "fileId": another }), vec!["/fileUrl"]),
        (json!({ "fileId": unknown }), vec!["/fileId"]),
        (json!({ "fileId": "c_nonsense" }), vec!["/fileId"]),
        (json!({ "status": "verified" }), vec!["/status"]),
    ] {
        let refused = app.post(&owner, PATH, with(more.clone())).await;
        assert_eq!((refused.refusal().0, refused.pointers()), (422, pointers), "{more}");
    }
    assert_eq!(app.get(&owner, PATH).await.json(), json!([]));
}

async fn a_draft_is_edited_and_a_judged_credential_is_not(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let id = app.credential(&owner).await;
    let edit = json!({ "title": "Diploma", "issuer": "ETH", "expiryDate": null });
    let edited = app.patch(&owner, &at(id), edit).await.ok();
    assert_eq!(edited.header("etag"), "\"2\"");
    let edited = edited.json();
    assert_eq!((&edited["title"], &edited["issuer"]), (&json!("Diploma"), &json!("ETH")));
    assert_eq!((edited.get("expiryDate"), &edited["issueDate"]), (None, &json!("2020-06-30")));
    assert_eq!(titles(&app, &owner, "q=eth").await, ["Diploma"], "the search knows the new words");

    let refused = app.patch(&owner, &at(id), json!({ "type": "Licence" })).await;
    assert_eq!((refused.refusal().0, refused.pointers()), (422, vec!["/type"]));
    let refused = app.patch(&owner, &at(id), json!({ "expiryDate": "2001-01-01" })).await;
    assert_eq!((refused.refusal().0, refused.pointers()), (422, vec!["/expiryDate"]));

    verification(&app, &owner, id, Some(Outcome::Rejected)).await.unwrap();
    app.patch(&owner, &at(id), json!({ "title": "Better" })).await.ok();
    verification(&app, &owner, id, None).await.unwrap();
    let refused = app.patch(&owner, &at(id), json!({ "title": "Late" })).await;
    assert_eq!(refused.refusal(), (409, "wrong_state"));
    settle(&app, id, Outcome::Withdrawn).await.unwrap();
    app.verify(&owner, id).await;
    let refused = app.patch(&owner, &at(id), json!({ "title": "Late" })).await;
    assert_eq!(refused.refusal(), (409, "wrong_state"));
}

async fn an_edit_of_an_old_version_is_refused(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let id = draft(&app, &owner, "Diploma").await;
    let send = async |title: &str, tag: &str| {
        let body = json!({ "title": title });
        app.write(Method::PATCH, &owner, &at(id), body, &[("if-match", tag)]).await
    };
    send("One", "\"1\"").await.ok();
    assert_eq!(send("Two", "\"1\"").await.refusal(), (412, "precondition_failed"));
    assert_eq!(send("Two", "\"x\"").await.refusal(), (412, "precondition_failed"));
    send("Two", "*").await.ok();
    let stale = app.patch(&owner, &at(id), json!({ "title": "Three", "version": 2 })).await;
    assert_eq!(stale.refusal(), (409, "version_conflict"));
    app.patch(&owner, &at(id), json!({ "title": "Three", "version": 3 })).await.ok();
}

async fn another_user_s_credential_does_not_exist(t: &TestDb) {
    let app = App::new(t).await;
    let (owner, other) = (app.user(), app.user());
    let id = app.credential(&owner).await;
    app.verify(&owner, id).await;
    let (path, none) = (at(id), json!({}));
    for answer in [
        app.get(&other, &path).await,
        app.patch(&other, &path, json!({ "title": "x" })).await,
        app.delete(&other, &path).await,
        app.post(&other, &format!("{path}/revoke"), none.clone()).await,
        app.post(&other, &format!("{path}/share"), none).await,
        app.get(&other, &format!("{path}/shares")).await,
        app.get(&other, &format!("{path}/signed")).await,
    ] {
        assert_eq!(answer.refusal(), (404, "not_found"));
    }
    assert_eq!(app.get(&other, PATH).await.json(), json!([]));
    assert_eq!(status(&app, &owner, id).await, "verified");
    let stolen = verification(&app, &other, id, None).await.unwrap_err();
    assert_eq!(stolen.code(), "not_found");
}

async fn a_grant_lets_its_holder_read_until_it_is_withdrawn(t: &TestDb) {
    let app = App::new(t).await;
    let (owner, verifier) = (app.user(), app.somebody(Role::Verifier));
    let id = app.credential(&owner).await;
    let (credentials, reader) = (&app.documents.credentials, verifier.user().unwrap());
    assert!(credentials.get(&app.db, reader, id).await.is_err());
    app.grant(id, &verifier).await;
    app.grant(id, &verifier).await;
    let credential = credentials.get(&app.db, reader, id).await.unwrap();
    assert_eq!(credential.file_sha256, Some(platform::crypto::sha256(pdf(1000))));
    let withdraw =
        app.db.run("test", |tx| async move { credentials.withdraw_grant(&tx, id, reader).await });
    withdraw.await.unwrap();
    assert!(credentials.get(&app.db, reader, id).await.is_err());
}

async fn a_verification_begins_and_ends_once(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let id = draft(&app, &owner, "Diploma").await;
    verification(&app, &owner, id, None).await.unwrap();
    assert_eq!(verification(&app, &owner, id, None).await.unwrap_err().code(), "wrong_state");
    assert_eq!(app.delete(&owner, &at(id)).await.refusal(), (409, "wrong_state"));
    settle(&app, id, Outcome::Withdrawn).await.unwrap();
    assert_eq!(status(&app, &owner, id).await, "draft");
    assert_eq!(settle(&app, id, Outcome::Rejected).await.unwrap_err().code(), "wrong_state");
    verification(&app, &owner, id, Some(Outcome::Rejected)).await.unwrap();
    assert_eq!(status(&app, &owner, id).await, "rejected");
    app.verify(&owner, id).await;
    assert_eq!(verification(&app, &owner, id, None).await.unwrap_err().code(), "wrong_state");
}

async fn what_comes_back_without_a_verdict_is_where_it_was(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let id = draft(&app, &owner, "Diploma").await;
    verification(&app, &owner, id, Some(Outcome::Rejected)).await.unwrap();
    for _ in 0..2 {
        verification(&app, &owner, id, Some(Outcome::Withdrawn)).await.unwrap();
        assert_eq!(status(&app, &owner, id).await, "rejected");
    }
    // The rejection falls while somebody else looks at it, and when nobody does.
    let overturn = async || {
        let credentials = &app.documents.credentials;
        let overturn =
            |tx| async move { credentials.overturn_rejection(&tx, id).await };
        app.db.run("test", overturn).await.unwrap();
    };
    verification(&app, &owner, id, None).await.unwrap();
    overturn().await;
    assert_eq!(status(&app, &owner, id).await, "pending");
    settle(&app, id, Outcome::Withdrawn).await.unwrap();
    assert_eq!(status(&app, &owner, id).await, "draft");
    verification(&app, &owner, id, Some(Outcome::Rejected)).await.unwrap();
    overturn().await;
    assert_eq!(status(&app, &owner, id).await, "draft");
    app.verify(&owner, id).await;
    overturn().await;
    assert_eq!(status(&app, &owner, id).await, "verified", "nothing else is touched");
}

async fn of_many_verifications_at_once_one_begins(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let id = draft(&app, &owner, "Diploma").await;
    let tries = (0..8).map(|_| verification(&app, &owner, id, None));
    let outcomes = futures_util::future::join_all(tries).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    let conflict = |error: &kernel::Error| error.kind() == kernel::Kind::Conflict;
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().err().is_none_or(conflict)));
}

async fn a_renewed_verdict_names_the_one_whose_place_it_takes(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let id = app.credential(&owner).await;
    let path = format!("/v1/user/credentials/{id}/verdicts");
    assert_eq!(app.get(&owner, &path).await.ok().json(), json!([]));
    app.verify(&owner, id).await;
    t.clock.advance(366 * DAY);
    app.verify(&owner, id).await;
    let verdicts = app.get(&owner, &path).await.ok().json();
    assert_eq!(verdicts.as_array().unwrap().len(), 2, "{verdicts}");
    let (new, old) = (&verdicts[0], &verdicts[1]);
    assert_eq!((&new["status"], &old["status"]), (&json!("valid"), &json!("superseded")));
    assert_eq!((&new["supersedes"], &old["supersededBy"]), (&old["issuedId"], &new["issuedId"]));
    assert!(old["revokedAt"].is_string() && new["revokedAt"].is_null(), "{verdicts}");
    assert_eq!(app.get(&app.user(), &path).await.refusal().0, 404);
}

async fn a_verdict_expires_and_may_be_renewed(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let id = draft(&app, &owner, "Diploma").await;
    app.verify(&owner, id).await;
    t.clock.advance(DAY * 366);
    assert_eq!(status(&app, &owner, id).await, "expired");
    assert_eq!(titles(&app, &owner, "status=expired").await, ["Diploma"]);
    assert_eq!(titles(&app, &owner, "status=verified").await, Vec::<String>::new());
    // A renewal that comes to nothing leaves it as it was.
    verification(&app, &owner, id, Some(Outcome::Withdrawn)).await.unwrap();
    assert_eq!(status(&app, &owner, id).await, "expired");
    app.verify(&owner, id).await;
    assert_eq!(status(&app, &owner, id).await, "verified");
    assert_eq!(titles(&app, &owner, "status=verified").await, ["Diploma"]);
}

async fn a_document_that_ends_takes_its_verdict_along(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let body = json!({
        "title": "Licence", "type": "Licence", "issuer": "X", "expiryDate": "2026-01-10",
    });
    let id = id(&app.post(&owner, PATH, body).await.ok().json()["id"]);
    app.verify(&owner, id).await;
    t.clock.advance(DAY * 9);
    assert_eq!(status(&app, &owner, id).await, "verified", "the last day counts");
    t.clock.advance(DAY);
    assert_eq!(status(&app, &owner, id).await, "expired");
    assert_eq!(titles(&app, &owner, "status=expired").await, ["Licence"]);
}

async fn revoking_takes_the_signed_form_back_too(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let id = app.credential(&owner).await;
    let path = format!("{}/revoke", at(id));
    let reason = json!({ "reason": "sent to the wrong one" });
    assert_eq!(app.post(&owner, &path, reason.clone()).await.refusal(), (409, "wrong_state"));
    app.verify(&owner, id).await;
    let revoked = app.post(&owner, &path, reason.clone()).await.ok().json();
    assert_eq!(revoked["status"], "revoked");
    let issued = crate::testing::id(&revoked["issuedId"]);
    let issued = app.trust.issuance.get(&app.db, issued).await.unwrap();
    assert_eq!(issued.revocation_reason.as_deref(), Some("sent to the wrong one"));
    assert_eq!(app.post(&owner, &path, reason).await.refusal(), (409, "wrong_state"));
    let again = verification(&app, &owner, id, None).await.unwrap_err();
    assert_eq!(again.code(), "wrong_state", "for good");
    let refused = app.post(&owner, &path, json!({ "reason": "a\nb" })).await;
    assert_eq!(refused.pointers(), ["/reason"]);
}

async fn a_standing_verdict_can_be_revoked_while_it_is_checked_anew(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let id = app.credential(&owner).await;
    app.verify(&owner, id).await;
    t.clock.advance(DAY * 366);
    verification(&app, &owner, id, None).await.unwrap();
    let revoked = app.post(&owner, &format!("{}/revoke", at(id)), json!({})).await.ok().json();
    assert_eq!(revoked["status"], "pending", "the verification goes on");
    assert_eq!(standing(&app, &owner, id).await, 0);
    assert_eq!(copies(&app, &owner, id).await, none("not_issued"));
    settle(&app, id, Outcome::Withdrawn).await.unwrap();
    assert_eq!(status(&app, &owner, id).await, "revoked", "for good");
}

async fn a_rejection_takes_the_earlier_verdict_back(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let id = app.credential(&owner).await;
    app.verify(&owner, id).await;
    t.clock.advance(DAY * 366);
    assert_eq!(copies(&app, &owner, id).await, all());
    verification(&app, &owner, id, Some(Outcome::Rejected)).await.unwrap();
    assert_eq!(standing(&app, &owner, id).await, 0);
    assert_eq!(copies(&app, &owner, id).await, none("not_issued"));
    let path = format!("{}/revoke", at(id));
    assert_eq!(app.post(&owner, &path, json!({})).await.refusal(), (409, "wrong_state"));
    let verbs = app.verbs().await;
    assert!(verbs.contains(&"credential.superseded".to_owned()), "{verbs:?}");
}

async fn a_verdict_is_revoked_behind_a_deletion_by_admins_alone(t: &TestDb) {
    let app = App::new(t).await;
    let (owner, admin) = (app.user(), app.somebody(Role::Admin));
    let id = app.credential(&owner).await;
    app.verify(&owner, id).await;
    assert_eq!(copies(&app, &owner, id).await, all());
    app.delete(&owner, &at(id)).await.ok();
    assert_eq!(standing(&app, &owner, id).await, 1, "deleting takes nothing back");
    assert_eq!(copies(&app, &owner, id).await, none("not_found"));
    let refused = app.post(&owner, &format!("{}/revoke", at(id)), json!({})).await;
    assert_eq!(refused.refusal(), (404, "not_found"));
    let path = format!("/v1/admin/credentials/{id}");
    let revoked = app.post(&admin, &format!("{path}/revoke"), json!({})).await.ok().json();
    assert_eq!(revoked["status"], "revoked");
    assert_eq!(standing(&app, &owner, id).await, 0);
    let again = app.post(&admin, &format!("{path}/revoke"), json!({})).await;
    assert_eq!(again.refusal(), (404, "not_found"));
    app.post(&admin, &format!("{path}/restore"), json!({})).await.ok();
    assert_eq!(status(&app, &owner, id).await, "revoked");
}

async fn a_list_is_narrowed_by_status_type_and_words(t: &TestDb) {
    let app = App::new(t).await;
    let (owner, other) = (app.user(), app.user());
    draft(&app, &other, "Diploma of another").await;
    for (title, kind, issuer) in [
        ("Diplôme", "Education", "École X"),
        ("100% attendance", "Education", "School_1"),
        ("Driving licence", "Licence", "School 1"),
    ] {
        let body = json!({ "title": title, "type": kind, "issuer": issuer });
        app.post(&owner, PATH, body).await.ok();
    }
    let all = ["Driving licence", "100% attendance", "Diplôme"];
    for (query, found) in [
        ("", &all[..]),
        ("q=", &all),
        ("status=draft", &all),
        ("status=pending", &[]),
        ("type=Education", &all[1..]),
        ("type=education", &[]),
        ("q=%C3%89COLE", &all[2..]),
        ("q=%25", &all[1..2]),
        ("q=school_", &all[1..2]),
        ("q=school&type=Licence", &all[..1]),
        ("q=%5C", &[]),
        ("q=%27%20OR%201=1", &[]),
    ] {
        assert_eq!(titles(&app, &owner, query).await, found, "{query}");
    }
    let refused = app.get(&owner, &format!("{PATH}?status=good")).await;
    assert_eq!((refused.refusal().0, refused.pointers()), (422, vec!["/status"]));
    assert_eq!(titles(&app, &owner, "limit=1&page=2").await, all[1..2]);
}

async fn pages_stay_as_they_are_while_more_come_in(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    for number in 0..5 {
        draft(&app, &owner, &number.to_string()).await;
    }
    let mut page = app.get(&owner, &format!("{PATH}?limit=2")).await.ok();
    let mut seen = Vec::new();
    loop {
        draft(&app, &owner, "new").await;
        let rows = page.json();
        seen.extend(rows.as_array().unwrap().iter().map(|row| row["title"].clone()));
        let link = page.header("link").to_owned();
        let Some((next, _)) = link.strip_prefix('<').and_then(|link| link.split_once('>')) else {
            break;
        };
        page = app.get(&owner, next).await.ok();
    }
    assert_eq!(seen, ["4", "3", "2", "1", "0"]);
}

async fn a_deleted_credential_comes_back_by_an_admin_only(t: &TestDb) {
    let app = App::new(t).await;
    let (owner, admin) = (app.user(), app.somebody(Role::Admin));
    let id = app.credential(&owner).await;
    app.delete(&owner, &at(id)).await.ok();
    assert_eq!(app.get(&owner, &at(id)).await.refusal(), (404, "not_found"));
    assert_eq!(app.delete(&owner, &at(id)).await.refusal(), (404, "not_found"));
    assert_eq!(titles(&app, &owner, "").await, Vec::<String>::new());

    let path = format!("/v1/admin/credentials/{id}");
    let shown = app.get(&admin, &path).await.ok().json();
    assert_eq!(shown["owner"], owner.user().unwrap().to_string());
    assert!(shown["deletedAt"].is_string());
    assert_eq!(app.get(&admin, "/v1/admin/credentials").await.json()[0]["id"], id.to_string());
    app.post(&admin, &format!("{path}/restore"), json!({})).await.ok();
    let twice = app.post(&admin, &format!("{path}/restore"), json!({})).await;
    assert_eq!(twice.refusal(), (409, "wrong_state"));
    assert_eq!(status(&app, &owner, id).await, "draft");
    app.verify(&owner, id).await;
    app.post(&admin, &format!("{path}/revoke"), json!({ "reason": "forged" })).await.ok();
    assert_eq!(status(&app, &owner, id).await, "revoked");
    let about = owner.user().unwrap();
    assert_eq!(app.facts_about(about, "credential.restored").await, 1);
}

async fn a_repeated_request_makes_one_credential(t: &TestDb) {
    let app = App::new(t).await;
    let mut owner = app.user();
    let key = kernel::caller::Idempotency::new([1; 32], [2; 32]);
    owner.idempotency = Some(std::sync::Arc::new(key));
    let file = app.upload(&owner, "a.pdf", &pdf(100)).await.ok().json();
    let body = json!({
        "title": "Diploma", "type": "Education", "issuer": "X", "fileId": file["id"],
    });
    let first = app.post(&owner, PATH, body.clone()).await.ok().json();
    let second = app.post(&owner, PATH, body).await.ok().json();
    assert_eq!(first, second);
    assert_eq!(titles(&app, &owner, "").await, ["Diploma"]);
}

}

#[tokio::test]
async fn a_page_visits_no_more_rows_than_it_shows() {
    let t = platform::testing::TestDb::sqlite(TABLES).await;
    let sql = "EXPLAIN QUERY PLAN SELECT id FROM credentials WHERE id < $1 AND owner = $2
               AND deleted_at IS NULL ORDER BY id DESC LIMIT 21";
    let id = uuid::Uuid::max();
    let read = |row: &platform::db::Row<'_>| row.get::<String>(3);
    let plan = t.db.all(sql, platform::params![id, id], read).await.unwrap().join("\n");
    assert!(plan.contains("SEARCH credentials USING INDEX credentials_owner"), "{plan}");
    assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    t.finish().await;
}

/// The state machine at one glance.
#[test]
fn what_may_be_done_in_which_state() {
    let mut grid = String::new();
    for status in Status::ALL {
        let allowed = Act::ALL.into_iter().filter(|act| allows(status, *act));
        let allowed: Vec<String> = allowed.map(|act| format!("{act:?}")).collect();
        grid.push_str(&format!("{status}: {}\n", allowed.join(" ")));
    }
    insta::assert_snapshot!(grid, @r"
    draft: Edit Delete Verify Share
    pending: Share
    verified: Delete Revoke Share
    rejected: Edit Delete Verify Share
    revoked: Delete
    expired: Delete Verify Revoke Share
    ");
}

#[test]
fn a_date_is_a_day_of_the_calendar() {
    for text in ["2024-02-29", "0001-01-01", "9999-12-31"] {
        assert_eq!(text.parse::<Date>().unwrap().to_string(), text);
    }
    for text in [
        "2023-02-29",
        "2024-13-01",
        "2024-00-10",
        "24-01-01",
        "2024-1-1",
        "2024-01-01T",
        "+024-01-01",
        "2024/01/01",
        "",
        "２０２４-01-01",
    ] {
        assert!(text.parse::<Date>().is_err(), "{text}");
    }
}
