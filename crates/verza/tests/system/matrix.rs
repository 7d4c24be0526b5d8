//! Every route against every kind of caller, as the routes' own list says; and the fact that
//! every change leaves behind.

use std::collections::BTreeSet;

use kernel::Id;
use kernel::id::kinds::User;
use platform::db::{Db, Read, Row};
use platform::fleet::Notice;
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::routes::{self, Line};
use crate::town::{Call, Cast, Person, Town, pdf, token_in, until, verifier_id};
use crate::world::{Stage, on_all_stages};

/// A kind of caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    UnapprovedVerifier,
    UnapprovedEnterprise,
    User,
    Verifier,
    Enterprise,
    Admin,
}

/// What the audience alone says to a caller.
#[derive(Debug, PartialEq, Eq)]
enum Door {
    Open,
    /// 401 with this code.
    SignIn(&'static str),
    /// 403 with this code.
    Shut(&'static str),
}

fn door(audience: &str, who: Who) -> Door {
    let role = match audience {
        "public" | "provider" => return Door::Open,
        "any" => None,
        "user" => Some(Who::User),
        "verifier" => Some(Who::Verifier),
        "enterprise" | "key" => Some(Who::Enterprise),
        "admin" => Some(Who::Admin),
        other => panic!("what is the audience {other}?"),
    };
    let (is, approved) = match who {
        Who::Nobody => return Door::SignIn("missing_auth"),
        Who::UnapprovedVerifier => (Who::Verifier, false),
        Who::UnapprovedEnterprise => (Who::Enterprise, false),
        other => (other, true),
    };
    match role {
        None => Door::Open,
        Some(role) if role != is => Door::Shut("forbidden"),
        Some(_) if approved => Door::Open,
        Some(_) => Door::Shut("pending_approval"),
    }
}

/// An id that names nothing: what is behind the door must not matter.
fn path_to_nothing(line: &Line) -> String {
    line.with(|name| match name {
        "provider" => "sandbox".into(),
        _ => "x_01h455vb4pex5vsknk084sn02q".into(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_admits_exactly_its_audience() {
    let stage = Stage::on_sqlite().await;
    let cast = Cast::on(&stage).await;
    let town = &cast.town;
    let eve = town.join("Eve", "enterprise").await;
    town.approve(&cast.admin, &eve).await;
    let callers = [
        (Who::Nobody, None),
        (Who::UnapprovedVerifier, Some(town.join("Otto", "verifier").await)),
        (Who::UnapprovedEnterprise, Some(town.join("Olga", "enterprise").await)),
        (Who::User, Some(cast.ben.clone())),
        (Who::Verifier, Some(cast.vera.clone())),
        (Who::Enterprise, Some(town.login(&eve.email).await)),
        (Who::Admin, Some(cast.admin.clone())),
    ];
    for (who, mut person) in callers {
        for line in routes::all() {
            // Who closes their account does not come back.
            if line.name.starts_with("facade::del") && who != Who::Nobody {
                continue;
            }
            knock(town, &line, who, person.as_ref()).await;
            // Some routes end the session that calls them.
            if let Some(caller) = &mut person
                && !line.is_read()
                && town.get("/v1/me", caller).answer().await.status == 401
            {
                *caller = town.login(&caller.email.clone()).await;
            }
        }
    }
    stage.finish().await;
}

async fn knock(town: &Town, line: &Line, who: Who, person: Option<&Person>) {
    let path = path_to_nothing(line);
    // No key where one is needed: nothing happens, also where the door is open.
    let answer = town.call(line.method.clone(), &path, person).answer().await;
    let what = format!("{who:?} {} {path}: {} {}", line.method, answer.status, answer.text());
    let code = answer.code();
    match door(&line.audience, who) {
        // Without a Kratos there are no hooks of it.
        Door::Open if line.path.starts_with("/v1/hooks/kratos/") => {
            answer.problem(404, "not_found");
        }
        // A provider proves itself by its signature, which is none here.
        Door::Open if line.audience == "provider" => {
            assert!(matches!(answer.status, 400 | 401), "{what}");
            assert!(matches!(&*code, "invalid_signature" | "unknown_provider"), "{what}");
        }
        Door::Open => {
            assert!(!matches!(answer.status, 401 | 403), "{what}");
            assert!(answer.status < 500, "{what}");
        }
        Door::SignIn(expected) | Door::Shut(expected) => {
            let status = if who == Who::Nobody { 401 } else { 403 };
            assert_eq!(answer.status, status, "{what}");
            if line.answers_problems() {
                answer.problem(status, expected);
            }
        }
    }
}

/// An API key with every scope there is opens the routes of keys, and no other; one that lacks the
/// scope of a route does not open it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_key_opens_exactly_the_routes_of_keys() {
    let stage = Stage::on_sqlite().await;
    let cast = Cast::on(&stage).await;
    let town = &cast.town;
    let eve = town.join("Eve", "enterprise").await;
    town.approve(&cast.admin, &eve).await;
    let eve = town.login(&eve.email).await;
    let key = async |scopes: &[&str]| {
        let body = json!({ "name": "Key", "scopes": scopes });
        let made = town.post("/v1/enterprise/api-keys", &eve).json(&body).done().await;
        let token = made["key"].as_str().unwrap().to_owned();
        (Person { token, ..eve.clone() }, made["id"].as_str().unwrap().to_owned())
    };
    let scopes =
        ["verifications:read", "verifications:write", "presentations:read", "presentations:write"];
    let (all, id) = key(&scopes).await;
    let (reader, _) = key(&["presentations:read"]).await;
    let (mut opened, mut narrowed) = (0, 0);
    for line in routes::all() {
        let ask = async |who| {
            let call = town.call(line.method.clone(), &path_to_nothing(&line), Some(who));
            call.answer().await
        };
        let answer = ask(&all).await;
        let what = format!("{} {}: {} {}", line.method, line.path, answer.status, answer.text());
        match line.audience.as_str() {
            "key" => {
                assert!(!matches!(answer.status, 401 | 403), "{what}");
                let answer = ask(&reader).await;
                narrowed += usize::from(answer.code() == "missing_permission");
                opened += 1;
            }
            // As nobody is: see the matrix of audiences.
            "public" | "provider" => assert_ne!(answer.code(), "key_not_accepted", "{what}"),
            _ => {
                assert_eq!(answer.status, 403, "{what}");
                if line.answers_problems() {
                    answer.problem(403, "key_not_accepted");
                }
            }
        }
    }
    assert!(opened >= 8 && narrowed == opened - 1, "{narrowed} of {opened}");
    town.delete(&format!("/v1/enterprise/api-keys/{id}"), &eve).done().await;
    let refused = town.get("/v1/enterprise/verifications", &all).answer().await;
    refused.problem(401, "revoked_api_key");
    let nonsense = Person { token: "vz_nonsense".to_owned(), ..eve.clone() };
    let refused = town.get("/v1/enterprise/verifications", &nonsense).answer().await;
    refused.problem(401, "invalid_api_key");
    stage.finish().await;
}

/// What must not happen twice is not even looked at without a key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_that_needs_a_key_asks_for_it() {
    let stage = Stage::on_sqlite().await;
    let cast = Cast::on(&stage).await;
    let eve = cast.town.join("Eve", "enterprise").await;
    cast.town.approve(&cast.admin, &eve).await;
    let mut asked = 0;
    for line in routes::all().iter().filter(|line| line.once == "once!") {
        let who = match line.audience.as_str() {
            "verifier" => &cast.vera,
            "enterprise" | "key" => &eve,
            "admin" => &cast.admin,
            _ => &cast.anne,
        };
        let call = cast.town.call(line.method.clone(), &path_to_nothing(line), Some(who));
        call.json(&json!({})).answer().await.problem(400, "idempotency_key_required");
        asked += 1;
    }
    assert!(asked >= 4, "{asked}");
    stage.finish().await;
}

/// A suspended account is nobody, on every route, from the moment on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_account_is_shut_out_everywhere_at_once() {
    let stage = Stage::on_sqlite().await;
    let cast = Cast::on(&stage).await;
    let Cast { town, admin, ben, .. } = &cast;
    town.get("/v1/me", ben).done().await;
    town.post(&format!("/v1/admin/users/{}/suspend", ben.id), admin).done().await;
    for line in routes::all() {
        if matches!(line.audience.as_str(), "any" | "user") {
            let answer = town.call(line.method.clone(), &path_to_nothing(&line), Some(ben));
            let answer = answer.answer().await;
            assert_eq!(answer.status, 401, "{} {}: {}", line.method, line.path, answer.text());
        }
    }
    let body = json!({ "email": ben.email, "password": crate::town::PASSWORD });
    let answer = town.call(Method::POST, "/v1/auth/login", None).json(&body).answer().await;
    answer.problem(403, "account_suspended");
    stage.finish().await;
}

/// Sends changes under request ids of their own, and looks in the journal for what each has left.
struct Witness<'a> {
    town: &'a Town,
    db: &'a Db,
    routes: Vec<Line>,
    seen: BTreeSet<String>,
}

impl Witness<'_> {
    /// The answer of a change that has to succeed, after its facts have been looked at.
    async fn change(
        &mut self,
        method: Method,
        path: &str,
        who: Option<&Person>,
        body: Json,
    ) -> Json {
        let call = self.town.call(method.clone(), path, who).json(&body);
        self.watch(method, path, call).await
    }

    async fn watch(&mut self, method: Method, path: &str, call: Call) -> Json {
        let route = self.route(&method, path);
        let request = format!("witness-{}", self.seen.len());
        let answer = call.key(&request).header("x-request-id", &request).answer().await;
        assert!(answer.is_done(), "{method} {path}: {} {}", answer.status, answer.text());
        let sql = "SELECT verb, origin FROM facts";
        let read = |row: &Row<'_>| Ok((row.take::<String>()?, row.take::<String>()?));
        let facts = self.db.all(sql, &[], read).await.unwrap();
        let marked = format!("\"requestId\":\"{request}\"");
        let left: Vec<&String> = facts
            .iter()
            .filter(|(_, origin)| origin.contains(&marked))
            .map(|(verb, _)| verb)
            .collect();
        assert!(!left.is_empty(), "{method} {path} answered {} and left no fact", answer.status);
        self.seen.insert(route);
        answer.json()
    }

    fn route(&self, method: &Method, path: &str) -> String {
        let path = path.split('?').next().unwrap();
        let fits = |line: &&Line| {
            let (ours, theirs): (Vec<_>, Vec<_>) =
                (path.split('/').collect(), line.path.split('/').collect());
            line.method == *method
                && ours.len() == theirs.len()
                && ours.iter().zip(&theirs).all(|(a, b)| a == b || b.starts_with('{'))
        };
        // `read-all` is a name and no id.
        let found = self.routes.iter().filter(fits).min_by_key(|line| line.has_parameters());
        found.unwrap_or_else(|| panic!("no route is {method} {path}")).name.clone()
    }
}

/// Changes that leave no fact, and why.
const WITHOUT_A_FACT: &[(&str, &str)] = &[
    ("session::introspect", "asks and changes nothing"),
    ("factor::enroll", "nothing has changed until its first code was right"),
    ("factor::finish_login", "starts a session as session::login does; see the factor's own tests"),
    ("passkey::start_registration", "begins what finishes with a fact"),
    ("passkey::start_login", "begins what finishes with a fact"),
    ("passkey::start_proof", "begins what finishes with a fact"),
    ("passkey::register", "needs an authenticator; see the passkey's own tests"),
    ("passkey::login", "needs an authenticator; see the passkey's own tests"),
    ("passkey::rename", "needs an authenticator; see the passkey's own tests"),
    ("passkey::remove", "needs an authenticator; see the passkey's own tests"),
    ("issuance::judge", "asks and changes nothing"),
    ("streamfair::unknown", "is never carried out"),
    ("notification::read", "what somebody has read is nobody's event"),
    ("notification::read_all", "what somebody has read is nobody's event"),
    ("session::refresh", "the session has its start and its end; see the session's own tests"),
    ("account::resend_verification", "answers the same whether or not there is an account"),
    ("ticket::issue", "opens what its owner may see anyway, and is gone after thirty seconds"),
    ("payment::webhook", "a hint; the payment's own facts follow when it was looked up"),
    ("kratos::hook", "asks Kratos, of which there is none here; see the noun's own tests"),
    ("payment::credit", "needs a payment of another amount; see the payment's own tests"),
    ("wallet::write_off", "needs a debt after a charge-back; see the charge-back's own tests"),
    ("payment::check_out", "leaves the fact of payment::deposit; see the bills' own tests"),
    ("payment::any_webhook", "a hint; the payment's own facts follow when it was looked up"),
    ("file::compat_create", "the same verb as file::create"),
    ("upload::receive", "what has come in is no file yet; completing leaves the fact"),
    ("upload::receive_form", "what has come in is no file yet; completing leaves the fact"),
    ("upload::complete", "leaves file::create's fact; see the upload's own tests"),
    ("share::open_with_code", "a view, which the share's own log has"),
    ("share::send_code", "needs a link from a mail; see the share's own tests"),
    ("facade::ext", "asks and changes nothing"),
    ("member::accept", "the same verb as member::join"),
    ("closing::reopen", "within a grace only; see the noun's own tests"),
    ("governance::execute", "after a week of votes; see the noun's own tests"),
    ("privacy::approve", "needs a second admin; see the noun's own tests"),
];

on_all_stages! {
async fn every_change_leaves_a_fact(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, admin, anne, vera, .. } = &cast;
    let db = &stage.running.platform.db;
    let mut witness = Witness { town, db, routes: routes::all(), seen: BTreeSet::new() };
    accounts_are_witnessed(&mut witness, stage, admin).await;
    people_are_witnessed(&mut witness, admin).await;
    documents_are_witnessed(&mut witness, anne, admin).await;
    verdicts_are_witnessed(&mut witness, anne, vera, admin).await;
    orders_are_witnessed(&mut witness, anne).await;
    wallets_are_witnessed(&mut witness, anne, admin).await;
    disputes_are_witnessed(&mut witness, &cast).await;
    organizations_are_witnessed(&mut witness, &cast).await;
    chat_is_witnessed(&mut witness, anne, admin).await;
    the_office_is_witnessed(&mut witness, &cast).await;

    let noun = |name: &str| name.split("::").next().unwrap_or_default().to_owned();
    let nouns: BTreeSet<String> = witness.seen.iter().map(|name| noun(name)).collect();
    let excused = |name: &str| WITHOUT_A_FACT.iter().any(|(known, _)| *known == name);
    let changes = witness.routes.iter().filter(|line| !line.is_read()).map(|line| &line.name);
    let unseen = changes.filter(|name| !witness.seen.contains(*name) && !excused(name));
    let (missing, new): (Vec<&String>, Vec<&String>) =
        unseen.partition(|name| nouns.contains(&noun(name)));
    assert_eq!(missing, Vec::<&String>::new(), "add their calls here, or why they leave no fact");
    println!("changes of nouns that nobody witnesses yet: {new:?}");
}
}

async fn accounts_are_witnessed(witness: &mut Witness<'_>, stage: &Stage, admin: &Person) {
    let (town, password) = (witness.town, crate::town::PASSWORD);
    let post = Method::POST;
    let link = stage.running.platform.setup_link().await.unwrap();
    let body = json!({
        "token": token_in(&link), "name": "Abel", "email": "abel@example.com", "password": password,
    });
    witness.change(post.clone(), "/v1/setup", None, body).await;
    let email = "dora@example.com";
    let body = json!({ "name": "Dora", "email": email, "password": password, "role": "verifier" });
    witness.change(post.clone(), "/v1/auth/register", None, body).await;
    let token = town.mailed_token(email).await;
    witness.change(post.clone(), "/v1/auth/verify-email", None, json!({ "token": token })).await;
    let body = json!({ "email": email, "password": password });
    let signed_in = witness.change(post.clone(), "/v1/auth/login", None, body).await;
    let id = signed_in["user"]["id"].as_str().unwrap().to_owned();
    for verb in ["approve", "suspend", "unsuspend", "ban", "unban"] {
        let path = format!("/v1/admin/users/{id}/{verb}");
        witness.change(post.clone(), &path, Some(admin), json!({})).await;
    }
    let dora = town.login(email).await;
    witness.change(Method::PATCH, "/v1/me", Some(&dora), json!({ "name": "Dora D" })).await;
    let profile = json!({ "name": "Dora's", "headline": "Checks" });
    until("the verifier's profile", async || {
        let answer = town.put("/v1/verifier/profile", &dora).json(&json!({})).answer().await;
        answer.is_done().then_some(())
    })
    .await;
    witness.change(Method::PUT, "/v1/verifier/profile", Some(&dora), profile).await;
    let services = json!([{ "title": "Check", "category": "Law", "price": 5, "currency": "USD" }]);
    witness.change(Method::PUT, "/v1/verifier/services", Some(&dora), services).await;

    facades_are_witnessed(witness, admin).await;

    let body = json!({ "password": password });
    witness.change(post.clone(), "/v1/auth/step-up", Some(&dora), body).await;
    let dora = town.login(email).await;
    factors_are_witnessed(witness).await;

    let other = town.login(email).await;
    let me = town.get("/v1/me", &other).done().await;
    let path = format!("/v1/me/sessions/{}", me["sessionId"].as_str().unwrap());
    witness.change(Method::DELETE, &path, Some(&dora), json!({})).await;
    for _ in 0..2 {
        town.login(email).await;
    }
    let others = town.get("/sessions", &dora).done().await;
    let path = format!("/sessions/{}", others[0]["id"].as_str().unwrap());
    witness.change(Method::DELETE, &path, Some(&dora), json!({})).await;
    witness.change(Method::DELETE, "/sessions", Some(&dora), json!({})).await;
    witness.change(post, "/v1/auth/logout", Some(&dora), json!({})).await;
    let dora = town.login(email).await;
    witness.change(Method::DELETE, "/v1/me/sessions", Some(&dora), json!({})).await;
}

async fn chat_is_witnessed(witness: &mut Witness<'_>, anne: &Person, admin: &Person) {
    const ROOM: &str = "/v1/chat/conversations";
    let (post, support) = (Method::POST, json!({ "type": "support" }));
    let opened = witness.change(post.clone(), ROOM, Some(anne), support.clone()).await;
    let id = opened["id"].as_str().unwrap();
    let text = json!({ "body": "How can we help?" });
    witness.change(post.clone(), &format!("{ROOM}/{id}/messages"), Some(admin), text).await;
    witness.change(Method::PUT, &format!("{ROOM}/{id}/read"), Some(anne), json!({})).await;
    let assign = format!("/v1/admin/support/conversations/{id}/assign");
    witness.change(post.clone(), &assign, Some(admin), json!({})).await;
    witness.change(post.clone(), &format!("{ROOM}/{id}/close"), Some(anne), json!({})).await;
    let opened = witness.change(post.clone(), ROOM, Some(anne), support).await;
    let id = opened["id"].as_str().unwrap();
    let close = format!("/v1/admin/support/conversations/{id}/close");
    witness.change(post, &close, Some(admin), json!({})).await;
}

async fn facades_are_witnessed(witness: &mut Witness<'_>, admin: &Person) {
    let (town, post) = (witness.town, Method::POST);
    let password = crate::town::PASSWORD;
    let user = json!({ "email": "files@example.com", "password": password });
    let made = witness.change(post.clone(), "/api/users/register", None, user.clone()).await;
    witness.change(post.clone(), "/api/users/login", None, user).await;
    let path = format!("/api/users/del/{}", made["user"]["id"].as_str().unwrap());
    witness.change(Method::DELETE, &path, Some(admin), json!({})).await;

    let mut user = json!({ "name": "Olaf", "email": "orders@example.com", "password": password });
    user["role"] = "guest".into();
    witness.change(post.clone(), "/api/users/reg", None, user.clone()).await;
    user.as_object_mut().unwrap().remove("role");
    witness.change(post, "/api/users/log", None, user).await;
    let token = town.mailed_token("orders@example.com").await;
    let body = json!({ "token": token });
    town.call(Method::POST, "/v1/auth/verify-email", None).json(&body).done().await;
    let olaf = town.login("orders@example.com").await;
    witness.change(Method::DELETE, "/api/users/del", Some(&olaf), json!({})).await;
}

async fn factors_are_witnessed(witness: &mut Witness<'_>) {
    let town = witness.town;
    let mut olaf = town.join("Otis", "user").await;
    let begun = town.post("/v1/auth/mfa/enroll", &olaf).done().await;
    let now = platform::world::system().now();
    let code = identity::factor::totp::code(begun["secret"].as_str().unwrap(), now).unwrap();
    let body = json!({ "totp": code });
    let done = witness.change(Method::POST, "/v1/auth/mfa/verify", Some(&olaf), body).await;
    done["accessToken"].as_str().unwrap().clone_into(&mut olaf.token);
    for path in ["/v1/auth/mfa/recovery-codes", "/v1/auth/mfa/disable"] {
        witness.change(Method::POST, path, Some(&olaf), json!({})).await;
    }
}

async fn people_are_witnessed(witness: &mut Witness<'_>, admin: &Person) {
    let (town, password) = (witness.town, crate::town::PASSWORD);
    let (post, delete) = (Method::POST, Method::DELETE);
    let email = "fritz@example.com";
    let body = json!({ "name": "Fritz", "email": email });
    let made = witness.change(post.clone(), "/v1/users", Some(admin), body).await;
    let id = made["id"].as_str().unwrap().to_owned();
    let user = format!("/v1/users/{id}");
    let room = format!("/v1/admin/users/{id}");
    witness.change(post.clone(), &format!("{room}/invite"), Some(admin), json!({})).await;
    let body = until("the second link", async || {
        let body = json!({ "token": town.mailed_token(email).await, "password": password });
        let call = town.call(Method::POST, "/v1/auth/set-password", None);
        // The first mail's link no longer works; a body without a password uses none up.
        let weak = json!({ "token": body["token"], "password": "x" });
        (call.json(&weak).answer().await.status == 422).then_some(body)
    })
    .await;
    witness.change(post.clone(), "/v1/auth/set-password", None, body).await;
    witness.change(Method::PATCH, &user, Some(admin), json!({ "name": "Fritz F" })).await;
    for path in [format!("{user}/sessions"), format!("{room}/sessions")] {
        town.login(email).await;
        witness.change(delete.clone(), &path, Some(admin), json!({})).await;
    }
    let fritz = town.login(email).await;
    let me = town.get("/v1/me", &fritz).done().await;
    let path = format!("{room}/sessions/{}", me["sessionId"].as_str().unwrap());
    witness.change(delete.clone(), &path, Some(admin), json!({})).await;
    witness.change(post.clone(), "/v1/admin/admins/links", Some(admin), json!({})).await;
    let path = format!("{room}/impersonate");
    witness.change(post.clone(), &path, Some(admin), json!({ "reason": "x" })).await;
    let path = "/v1/admin/impersonation/end";
    witness.change(post.clone(), path, Some(admin), json!({})).await;
    let body = json!({ "userId": id });
    witness.change(post, "/v1/admin/admins", Some(admin), body).await;
    let path = format!("/v1/admin/admins/{id}");
    witness.change(delete.clone(), &path, Some(admin), json!({})).await;
    witness.change(delete.clone(), &user, Some(admin), json!({})).await;
    let gerd = town.join("Gerd", "user").await;
    let elsewhere = "gerd@elsewhere.example";
    let body = json!({ "email": elsewhere });
    witness.change(Method::POST, "/v1/me/email", Some(&gerd), body).await;
    let body = json!({ "token": town.mailed_token(elsewhere).await });
    witness.change(Method::POST, "/v1/auth/confirm-email-change", None, body).await;
    witness.change(delete, "/v1/me", Some(&gerd), json!({})).await;
}

async fn documents_are_witnessed(witness: &mut Witness<'_>, anne: &Person, admin: &Person) {
    let town = witness.town;
    let body = json!({ "name": "a.pdf", "contentType": "application/pdf", "size": 1000 });
    let begun = witness.change(Method::POST, "/v1/user/uploads", Some(anne), body).await;
    let path = format!("/v1/user/uploads/{}", begun["id"].as_str().unwrap());
    witness.change(Method::DELETE, &path, Some(anne), json!({})).await;
    let mut files = Vec::new();
    for path in ["/v1/files", "/v1/upload"] {
        let part = reqwest::multipart::Part::bytes(pdf(path)).file_name("a.pdf");
        let form = reqwest::multipart::Form::new().part("file", part);
        let made = witness.watch(Method::POST, path, town.post(path, anne).form(form)).await;
        files.push(made["id"].as_str().unwrap().to_owned());
    }
    let path = format!("/v1/files/{}", files[0]);
    witness.change(Method::DELETE, &path, Some(anne), json!({})).await;
    let body = json!({ "title": "A", "type": "Education", "issuer": "U", "fileId": files[1] });
    let made = witness.change(Method::POST, "/v1/user/credentials", Some(anne), body).await;
    let own = format!("/v1/user/credentials/{}", made["id"].as_str().unwrap());
    witness.change(Method::PATCH, &own, Some(anne), json!({ "title": "B" })).await;
    let share = format!("{own}/share");
    let made_share = witness.change(Method::POST, &share, Some(anne), json!({})).await;
    let path = format!("{own}/shares/{}", made_share["id"].as_str().unwrap());
    witness.change(Method::DELETE, &path, Some(anne), json!({})).await;
    witness.change(Method::DELETE, &own, Some(anne), json!({})).await;
    let path = format!("/v1/admin/credentials/{}/restore", made["id"].as_str().unwrap());
    witness.change(Method::POST, &path, Some(admin), json!({})).await;
}

async fn verdicts_are_witnessed(
    witness: &mut Witness<'_>,
    anne: &Person,
    vera: &Person,
    admin: &Person,
) {
    let town = witness.town;
    let post = Method::POST;
    let body = json!({ "amount": 500, "provider": "sandbox" });
    witness.change(post.clone(), "/v1/user/wallet/deposit", Some(anne), body).await;
    let body = json!({ "to": vera.id, "amount": 500 });
    witness.change(post.clone(), "/v1/user/wallet/transfers", Some(anne), body).await;
    let request = async |witness: &mut Witness<'_>, title: &str| {
        let credential = town.credential(anne, title).await;
        let body = json!({ "credentialId": credential, "verifierId": verifier_id(vera) });
        let made = witness.change(Method::POST, "/v1/user/verifications", Some(anne), body).await;
        (credential, made["id"].as_str().unwrap().to_owned())
    };
    let (_, cancelled) = request(witness, "Cancelled").await;
    let path = format!("/v1/user/verifications/{cancelled}/cancel");
    witness.change(post.clone(), &path, Some(anne), json!({})).await;
    let (_, declined) = request(witness, "Declined").await;
    let path = format!("/v1/verifier/jobs/{declined}/decline");
    witness.change(post.clone(), &path, Some(vera), json!({})).await;
    let (_, forced) = request(witness, "Forced").await;
    let path = format!("/v1/admin/verifications/{forced}/force-cancel");
    witness.change(post.clone(), &path, Some(admin), json!({ "reason": "Fraud" })).await;

    let body = json!({ "languages": ["en"] });
    witness.change(Method::PUT, "/v1/verifier/availability", Some(vera), body).await;
    let posted = town.credential(anne, "Posted").await;
    let body = json!({ "credentialId": posted, "price": 500, "currency": "USD" });
    let made = town.post("/v1/user/verifications", anne).key("board").json(&body).done().await;
    let job = format!("/v1/verifier/jobs/{}", made["id"].as_str().unwrap());
    town.post(&format!("{job}/accept"), vera).json(&json!({})).done().await;
    witness.change(post.clone(), &format!("{job}/release"), Some(vera), json!({})).await;
    let path = format!("/v1/user/verifications/{}/cancel", made["id"].as_str().unwrap());
    town.post(&path, anne).json(&json!({})).done().await;

    for (title, by) in [("Mine", anne), ("Theirs", admin)] {
        let (credential, job) = request(witness, title).await;
        let path = |verb: &str| format!("/v1/verifier/jobs/{job}/{verb}");
        witness.change(post.clone(), &path("accept"), Some(vera), json!({})).await;
        witness.change(post.clone(), &path("notes"), Some(vera), json!({ "note": "x" })).await;
        let body = json!({ "status": "needs_info", "message": "Which year?" });
        witness.change(Method::PUT, &path("status"), Some(vera), body).await;
        for (room, who) in [("user/verifications", anne), ("verifier/jobs", vera)] {
            let name = format!("{title}-{}.pdf", who.id);
            let file = town.upload(who, &name, &pdf(&name)).await;
            let path = format!("/v1/{room}/{job}/attachments");
            witness.change(post.clone(), &path, Some(who), json!({ "fileId": file })).await;
        }
        let info = format!("/v1/user/verifications/{job}/info");
        witness.change(post.clone(), &info, Some(anne), json!({ "message": "1999" })).await;
        let body = json!({ "verdict": "verified" });
        witness.change(post.clone(), &path("complete"), Some(vera), body).await;
        let room = if by.id == anne.id { "user" } else { "admin" };
        let path = format!("/v1/{room}/credentials/{credential}/revoke");
        witness.change(post.clone(), &path, Some(by), json!({ "reason": "Lost" })).await;
    }
}

async fn disputes_are_witnessed(witness: &mut Witness<'_>, cast: &Cast) {
    let (post, Cast { town, admin, anne, vera, .. }) = (Method::POST, cast);
    let credential = town.credential(anne, "Contested").await;
    let job = town.request(anne, &credential, vera).await;
    town.accept(vera, &job).await;
    town.complete(vera, &job, "verified").await;
    let review = json!({ "rating": 2, "text": "Hm." });
    let path = format!("/v1/user/verifications/{job}/review");
    let made = witness.change(post.clone(), &path, Some(anne), review).await;
    let path = format!("/v1/verifier/reviews/{}/answer", made["id"].as_str().unwrap());
    witness.change(post.clone(), &path, Some(vera), json!({ "text": "Oh." })).await;

    let body = json!({ "reason": "wrong_verdict", "description": "Not mine." });
    let path = format!("/v1/user/verifications/{job}/dispute");
    let made = witness.change(post.clone(), &path, Some(anne), body).await;
    let id = made["id"].as_str().unwrap();
    let message = json!({ "message": "But yes." });
    let path = format!("/v1/disputes/{id}/evidence");
    witness.change(post.clone(), &path, Some(vera), message.clone()).await;
    let room = format!("/v1/admin/disputes/{id}");
    witness.change(post.clone(), &format!("{room}/assign"), Some(admin), json!({})).await;
    let ruling = json!({ "resolution": "refund_user", "reason": "x" });
    let resolve = format!("{room}/resolve");
    witness.change(post.clone(), &resolve, Some(admin), ruling.clone()).await;
    let path = format!("/v1/disputes/{id}/appeal");
    witness.change(post.clone(), &path, Some(vera), message).await;
    let before = town.wallet(anne).await.0;
    let closed = witness.change(post, &resolve, Some(admin), ruling).await;
    assert_eq!(closed["status"], "closed");
    assert_eq!(town.wallet(anne).await.0, before + crate::town::PRICE);
    its_own_verdict_is_contested(witness, cast).await;
}

async fn its_own_verdict_is_contested(witness: &mut Witness<'_>, cast: &Cast) {
    let Cast { town, anne, vera, .. } = cast;
    let credential = town.credential(anne, "Mistaken").await;
    let job = town.request(anne, &credential, vera).await;
    town.accept(vera, &job).await;
    town.complete(vera, &job, "verified").await;
    let path = format!("/v1/verifier/jobs/{job}/dispute");
    let body = json!({ "description": "The seal is forged." });
    witness.change(Method::POST, &path, Some(vera), body).await;
}

async fn the_office_is_witnessed(witness: &mut Witness<'_>, cast: &Cast) {
    let Cast { town, admin, vera, anne, .. } = cast;
    let post = Method::POST;
    let path = "/v1/admin/settings";
    let version = town.get(path, admin).answer().await.json()["version"].to_string();
    let values = json!({ "values": { "platform.notice": "Soon." } });
    let change = town.call(Method::PATCH, path, Some(admin)).json(&values);
    witness.watch(Method::PATCH, path, change.header("if-match", &version)).await;

    let flag = json!({ "subject": verifier_id(vera), "reason": "spam" });
    let made = witness.change(post.clone(), "/v1/flags", Some(anne), flag).await;
    let path = format!("/v1/admin/moderation/{}/resolve", made["id"].as_str().unwrap());
    witness.change(post.clone(), &path, Some(admin), json!({ "action": "dismiss" })).await;

    let proposals = "/v1/admin/governance/proposals";
    let body = json!({ "title": "No notice", "values": { "platform.notice": null } });
    let made = witness.change(post.clone(), proposals, Some(admin), body).await;
    let path = format!("{proposals}/{}/vote", made["id"].as_str().unwrap());
    witness.change(post.clone(), &path, Some(admin), json!({ "vote": "for" })).await;

    let requests = "/v1/admin/privacy/requests";
    let body = json!({ "userId": anne.id, "kind": "export", "reason": "By letter." });
    let made = witness.change(post.clone(), requests, Some(admin), body).await;
    let path = format!("{requests}/{}/reject", made["id"].as_str().unwrap());
    witness.change(post, &path, Some(admin), json!({})).await;
}

async fn organizations_are_witnessed(witness: &mut Witness<'_>, cast: &Cast) {
    let Cast { town, admin, vera, anne, ben } = cast;
    let (post, patch, delete) = (Method::POST, Method::PATCH, Method::DELETE);
    let eve = town.join("Evita", "enterprise").await;
    town.approve(admin, &eve).await;
    let eve = &town.login(&eve.email).await;
    town.deposit(eve, crate::town::FUNDS).await;
    let change = json!({ "name": "Evita Inc." });
    witness.change(patch.clone(), "/v1/enterprise/me", Some(eve), change).await;
    let invite = "/v1/enterprise/team/invite";
    let body = json!({ "email": anne.email, "role": "member" });
    let made = witness.change(post.clone(), invite, Some(eve), body).await;
    let path = format!("/v1/enterprise/team/invitations/{}", made["id"].as_str().unwrap());
    witness.change(delete.clone(), &path, Some(eve), json!({})).await;
    let body = json!({ "email": ben.email, "role": "member" });
    let before = town.mailed_token(&ben.email).await;
    witness.change(post.clone(), invite, Some(eve), body).await;
    let token = until("the invitation", async || {
        let token = town.mailed_token(&ben.email).await;
        (token != before).then_some(token)
    })
    .await;
    let body = json!({ "token": token });
    witness.change(post.clone(), "/v1/enterprise/team/join", Some(ben), body).await;
    let path = format!("/v1/enterprise/team/{}", ben.id);
    let body = json!({ "role": "viewer" });
    witness.change(patch, &path, Some(eve), body).await;
    witness.change(delete.clone(), &path, Some(eve), json!({})).await;
    let body = json!({ "name": "Import", "scopes": ["verifications:read"] });
    let made = witness.change(post.clone(), "/v1/enterprise/api-keys", Some(eve), body).await;
    let path = format!("/v1/enterprise/api-keys/{}", made["id"].as_str().unwrap());
    witness.change(delete, &path, Some(eve), json!({})).await;

    let part = reqwest::multipart::Part::bytes(pdf("Evita's")).file_name("a.pdf");
    let form = reqwest::multipart::Form::new().part("file", part);
    let path = "/v1/enterprise/files";
    let file = witness.watch(post.clone(), path, town.post(path, eve).form(form)).await;
    let document = json!({
        "title": "A", "type": "Education", "issuer": "U", "fileId": file["id"],
    });
    let body = json!({ "document": document, "verifierId": verifier_id(vera) });
    let path = "/v1/enterprise/verifications";
    let made = witness.change(post.clone(), path, Some(eve), body.clone()).await;
    let path = format!("{path}/{}/cancel", made["id"].as_str().unwrap());
    witness.change(post.clone(), &path, Some(eve), json!({})).await;
    let body = json!({ "document": { "title": "B", "type": "Education", "issuer": "U" },
        "verifierId": verifier_id(vera) });
    let path = "/v1/enterprise/verifications";
    let made = witness.change(post.clone(), path, Some(eve), body).await;
    let job = made["id"].as_str().unwrap();
    town.accept(vera, job).await;
    let ask = json!({ "status": "needs_info", "message": "Which year?" });
    town.put(&format!("/v1/verifier/jobs/{job}/status"), vera).json(&ask).done().await;
    let attach = format!("{path}/{job}/attachments");
    let part = reqwest::multipart::Part::bytes(pdf("transcript")).file_name("b.pdf");
    let form = reqwest::multipart::Form::new().part("file", part);
    let paper = town.post("/v1/enterprise/files", eve).form(form).done().await;
    let body = json!({ "fileId": paper["id"] });
    witness.change(post.clone(), &attach, Some(eve), body).await;
    let info = format!("{path}/{job}/info");
    witness.change(post, &info, Some(eve), json!({ "message": "1999" })).await;
    town.complete(vera, job, "rejected").await;
    its_verdicts_are_witnessed(witness, cast, eve, job).await;
    webhooks_are_witnessed(witness, eve).await;
}

async fn its_verdicts_are_witnessed(
    witness: &mut Witness<'_>,
    cast: &Cast,
    eve: &Person,
    job: &str,
) {
    let (post, Cast { town, admin, .. }) = (Method::POST, cast);
    let own = format!("/v1/enterprise/verifications/{job}");
    let review = json!({ "rating": 2 });
    witness.change(post.clone(), &format!("{own}/review"), Some(eve), review).await;
    let body = json!({ "reason": "wrong_verdict", "description": "It is genuine." });
    let made = witness.change(post.clone(), &format!("{own}/dispute"), Some(eve), body).await;
    let dispute = made["id"].as_str().unwrap();
    let room = format!("/v1/enterprise/disputes/{dispute}");
    let words = json!({ "message": "See." });
    witness.change(post.clone(), &format!("{room}/evidence"), Some(eve), words.clone()).await;
    let ruling = json!({ "resolution": "reject", "reason": "x" });
    let resolve = format!("/v1/admin/disputes/{dispute}/resolve");
    town.post(&resolve, admin).key("first-ruling").json(&ruling).done().await;
    witness.change(post, &format!("{room}/appeal"), Some(eve), words).await;
}

async fn webhooks_are_witnessed(witness: &mut Witness<'_>, eve: &Person) {
    let (post, patch, delete) = (Method::POST, Method::PATCH, Method::DELETE);
    let hooks = "/v1/enterprise/webhooks";
    // No event is asked for that happens here: nobody is called.
    let events = json!(["member.role_changed"]);
    let body = json!({ "url": "https://hooks.example/verza", "events": events });
    let made = witness.change(post.clone(), hooks, Some(eve), body).await;
    let hook = format!("{hooks}/{}", made["id"].as_str().unwrap());
    witness.change(patch, &hook, Some(eve), json!({ "description": "Ours" })).await;
    let path = format!("{hook}/rotate-secret");
    witness.change(post.clone(), &path, Some(eve), json!({})).await;
    witness.change(post.clone(), &format!("{hook}/recover"), Some(eve), json!({})).await;
    witness.change(post.clone(), &format!("{hook}/test"), Some(eve), json!({})).await;
    let path = format!("{hook}/deliveries");
    let trial = until("the trial", async || {
        let all = witness.town.get(&path, eve).done().await;
        all[0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let path = format!("{path}/{trial}/retry");
    witness.change(post.clone(), &path, Some(eve), json!({})).await;
    witness.change(delete, &hook, Some(eve), json!({})).await;
    let path = "/v1/enterprise/integrations/slack";
    let body = json!({ "url": "https://hooks.slack.com/services/x", "events": events });
    witness.change(post.clone(), &format!("{path}/connect"), Some(eve), body).await;
    witness.change(post, &format!("{path}/disconnect"), Some(eve), json!({})).await;
}

async fn orders_are_witnessed(witness: &mut Witness<'_>, anne: &Person) {
    let (post, delete) = (Method::POST, Method::DELETE);
    let (target, service) = ("https://a.example/", "https://b.example/");
    let body = json!({
        "targetUrl": target, "serviceUrl": service, "type": "likes", "quantity": 1,
    });
    let made = witness.change(post.clone(), "/v1/orders", Some(anne), body).await;
    let path = format!("/v1/orders/{}", made["id"].as_str().unwrap());
    let body = json!({ "status": "cancelled" });
    witness.change(Method::PUT, &format!("{path}/status"), Some(anne), body).await;
    witness.change(delete.clone(), &path, Some(anne), json!({})).await;
    let body = json!({
        "target_url": target, "service_url": service, "order_type": "views", "quantity": 1,
    });
    for (add, del) in [("add", "del?id="), ("", "del/")] {
        let path = format!("/api/orders/{add}");
        let made = witness.change(post.clone(), &path, Some(anne), body.clone()).await;
        let path = format!("/api/orders/{del}{}", made["id"].as_str().unwrap());
        witness.change(delete.clone(), &path, Some(anne), json!({})).await;
    }
}

async fn wallets_are_witnessed(witness: &mut Witness<'_>, anne: &Person, admin: &Person) {
    let wallet = format!("/v1/admin/wallets/{}", anne.id);
    for verb in ["freeze", "thaw"] {
        let path = format!("{wallet}/{verb}");
        witness.change(Method::POST, &path, Some(admin), json!({ "reason": "looked into" })).await;
    }
    witness.change(Method::POST, "/v1/admin/solvency", Some(admin), json!({})).await;
    let body = json!({
        "provider": "sandbox", "reference": "po_1", "amount": 100, "currency": "USD",
    });
    let path = "/v1/admin/reconciliation/payouts";
    witness.change(Method::POST, path, Some(admin), body).await;
}

/// What an admin reaches with one factor: another one, and what is their own session's.
const WITH_ONE_FACTOR: [&str; 17] = [
    "account::me",
    "factor::enroll",
    "factor::standing",
    "factor::step_up",
    "factor::verify",
    "kratos::end",
    "kratos::end_others",
    "kratos::list",
    "kratos::whoami",
    "passkey::list",
    "passkey::register",
    "passkey::start_proof",
    "passkey::start_registration",
    "session::end",
    "session::end_all",
    "session::list",
    "session::logout",
];

/// What admins reach before they have a second factor, and after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_without_a_second_factor_reaches_what_it_takes_to_enrol_one() {
    let stage = Stage::on_sqlite().await;
    let town = stage.town();
    let link = stage.running.platform.first_setup_link().await.unwrap().unwrap();
    let email = "root@example.com";
    let body = json!({
        "token": token_in(&link), "name": "Root", "email": email,
        "password": crate::town::PASSWORD,
    });
    town.call(Method::POST, "/v1/setup", None).json(&body).done().await;
    let root = town.login(email).await;
    for line in routes::all() {
        let is_open = WITH_ONE_FACTOR.contains(&line.name.as_str());
        // An admin is one on routes that are for anybody signed in, too.
        if !matches!(line.audience.as_str(), "admin" | "any") || (is_open && !line.is_read()) {
            continue;
        }
        let answer = town.call(line.method.clone(), &path_to_nothing(&line), Some(&root));
        let answer = answer.answer().await;
        if is_open {
            assert_eq!(answer.status, 200, "{}: {}", line.path, answer.text());
            continue;
        }
        if !line.answers_problems() {
            assert_eq!(answer.status, 403, "{}: {}", line.path, answer.text());
            continue;
        }
        let problem = answer.problem(403, "second_factor_required");
        // A password is none, and there is nothing else yet.
        assert_eq!(problem["methods"], json!([]), "{problem}");
    }
    let standing = town.get("/v1/auth/mfa", &root).done().await;
    assert_eq!((&standing["required"], &standing["level"]), (&json!(true), &json!("aal1")));
    let root = town.enrol(&root).await;
    town.get("/v1/admin/users", &root).done().await;
    // A new session has to show it again; an older password is half of a login.
    let body = json!({ "email": email, "password": crate::town::PASSWORD });
    let half = town.call(Method::POST, "/v1/auth/login", None).json(&body).answer().await;
    let problem = half.problem(401, "mfa_required");
    assert_eq!(problem["methods"], json!(["totp", "recovery_code"]));
    assert_eq!(problem["challenge"].as_str().map(str::len), Some(43));
    let root = town.login(email).await;
    town.get("/v1/admin/users", &root).done().await;
    stage.finish().await;
}

/// Every route that wants a fresh proof asks for it once the last one is old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hard_to_take_back_wants_a_fresh_proof() {
    let stage = Stage::on_postgres().await;
    let cast = Cast::on(&stage).await;
    let (town, db) = (&cast.town, &stage.running.platform.db);
    let age = "UPDATE sessions SET proven_at = proven_at - 600000000";
    let eve = town.join("Eve", "enterprise").await;
    town.approve(&cast.admin, &eve).await;
    let eve = town.login(&eve.email).await;
    let people = [&cast.admin, &cast.anne, &cast.vera, &eve]
        .map(|person| person.id.parse::<Id<User>>().unwrap());
    db.run("test", |tx| async move {
        people.iter().for_each(|id| tx.tell(Notice::all_of(id.uuid())));
        tx.execute(age, &[]).await.map_err(Into::into)
    })
    .await
    .unwrap();
    let mut asked = 0;
    for line in routes::all() {
        let who = match line.audience.as_str() {
            "admin" => &cast.admin,
            "enterprise" | "key" => &eve,
            "verifier" => &cast.vera,
            _ => &cast.anne,
        };
        let call = || town.call(line.method.clone(), &path_to_nothing(&line), Some(who));
        if !line.step_up {
            continue;
        }
        // What is remembered of a session is a second old at most.
        let problem = until("the refusal", async || {
            let answer = call().answer().await;
            (answer.code() == "step_up_required").then(|| answer.problem(403, "step_up_required"))
        })
        .await;
        let ways = if line.audience == "admin" {
            json!(["totp", "recovery_code"])
        } else {
            json!(["password"])
        };
        assert_eq!(problem["methods"], ways, "{problem}");
        asked += 1;
    }
    assert!(asked >= 8, "{asked}");
    let body = json!({ "password": crate::town::PASSWORD });
    let done = town.post("/v1/auth/step-up", &cast.anne).json(&body).done().await;
    let token = done["accessToken"].as_str().unwrap().to_owned();
    let anne = Person { token, ..cast.anne.clone() };
    town.post("/v1/auth/mfa/enroll", &anne).done().await;
    stage.finish().await;
}
