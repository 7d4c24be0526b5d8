//! Ids that name nothing, and things that are somebody else's: to whoever asks, they are the
//! same, and neither is there.

use kernel::id::kinds;
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::routes;
use crate::town::{Answer, Cast, FUNDS, Person, Town, pdf, until};
use crate::world::{Stage, on_all_stages};

/// What the routes with a body take, so that it is the id that is refused. A route that is not
/// here gets an empty object.
fn body_of(name: &str) -> Json {
    match name {
        "chat::send" => json!({ "body": "x" }),
        "passkey::rename" => json!({ "name": "x" }),
        "verification::complete" => json!({ "verdict": "verified" }),
        "attachment::attach"
        | "attachment::attach_of_organization"
        | "attachment::attach_to_job" => {
            json!({ "fileId": "file_01h455vb4pex5vsknk084sn02q" })
        }
        "verification::note" => json!({ "note": "x" }),
        "verification::provide_info" | "commission::provide_info" => json!({ "message": "x" }),
        "verification::set_status" => json!({ "status": "in_review" }),
        "verification::force_cancel" => json!({ "reason": "x" }),
        "impersonation::start" | "payout::reject" => json!({ "reason": "x" }),
        "payment::credit" | "refund::request" => json!({ "reason": "x" }),
        "wallet::freeze" | "wallet::thaw" | "wallet::write_off" => json!({ "reason": "x" }),
        "billing::void" | "billing::write_off" => json!({ "reason": "x" }),
        "share::open_with_code" => json!({ "code": "123456" }),
        "dispute::open" | "dispute::open_of_organization" => {
            json!({ "reason": "other", "description": "x" })
        }
        "dispute::open_own" => json!({ "description": "x" }),
        "dispute::add_evidence"
        | "dispute::appeal"
        | "dispute::add_evidence_of_organization"
        | "dispute::appeal_of_organization" => json!({ "message": "x" }),
        "member::set_role" => json!({ "role": "viewer" }),
        "dispute::resolve" => json!({ "resolution": "reject", "reason": "x" }),
        "review::write" | "review::write_of_organization" => json!({ "rating": 5 }),
        "review::answer" => json!({ "text": "x" }),
        "moderation::resolve" => json!({ "action": "dismiss" }),
        "governance::vote" => json!({ "vote": "for" }),
        "integration::connect" => json!({ "url": "https://chat.example/x", "events": ["*"] }),
        "order::set_status" => json!({ "status": "cancelled" }),
        _ => json!({}),
    }
}

/// Texts in the place of an id. None of them is one that is there.
const FORGED: &[&str] = &[
    "x",
    "0",
    "-1",
    "null",
    "undefined",
    "c_",
    "c_0",
    "u_",
    "vrf_",
    // One that could be: of each kind that routes ask for.
    "c_01h455vb4pex5vsknk084sn02q",
    "u_01h455vb4pex5vsknk084sn02q",
    "file_01h455vb4pex5vsknk084sn02q",
    "vrf_01h455vb4pex5vsknk084sn02q",
    "v_01h455vb4pex5vsknk084sn02q",
    "n_01h455vb4pex5vsknk084sn02q",
    "tx_01h455vb4pex5vsknk084sn02q",
    "s_01h455vb4pex5vsknk084sn02q",
    "sl_01h455vb4pex5vsknk084sn02q",
    "pay_01h455vb4pex5vsknk084sn02q",
    "ord_01h455vb4pex5vsknk084sn02q",
    "dsp_01h455vb4pex5vsknk084sn02q",
    "rv_01h455vb4pex5vsknk084sn02q",
    "cv_01h455vb4pex5vsknk084sn02q",
    "wh_01h455vb4pex5vsknk084sn02q",
    "dlv_01h455vb4pex5vsknk084sn02q",
    // The right length and the wrong letters; too long; too large for 128 bits; upper case.
    "c_01h455vb4pex5vsknk084sn02u",
    "c_01h455vb4pex5vsknk084sn02qq",
    "c_81h455vb4pex5vsknk084sn02q",
    "C_01H455VB4PEX5VSKNK084SN02Q",
    "c_00000000000000000000000000",
    "c_7zzzzzzzzzzzzzzzzzzzzzzzzz",
    "01890a5d-ac96-774b-bcce-b302099a8057",
    "00000000-0000-0000-0000-000000000000",
    "%00",
    "%ff",
    "%F0%9F%A6%80",
    "a%2fb",
    "..%2f..",
    "'%20OR%20'1'='1",
    "%25",
    "c_%00",
    "~",
    "*",
];

/// Who passes a route's audience.
fn for_audience<'a>(cast: &'a Cast, enterprise: &'a Person, audience: &str) -> Option<&'a Person> {
    match audience {
        "public" | "provider" => None,
        "user" | "any" => Some(&cast.anne),
        "verifier" => Some(&cast.vera),
        "enterprise" | "key" => Some(enterprise),
        "admin" => Some(&cast.admin),
        other => panic!("nobody plays the audience {other} yet"),
    }
}

/// A 404 in the shape of the route's document.
fn says_that_nothing_is_there(line: &routes::Line, answer: &Answer) -> bool {
    if line.answers_problems() {
        answer.is_a_problem();
        // Wallets pick up what was signed, of which nothing is known but that.
        let code = if line.name == "pickup::offer" { "not_issued" } else { "not_found" };
        return answer.status == 404 && [code, "not_found"].contains(&&*answer.code());
    }
    // gRPC's mapping takes numbers in its paths, and says so of what is none; OAuth answers 400 to
    // whatever names nothing.
    let by_standard = ["/streamfair/", "/v1/oid4v"].iter().any(|of| line.path.starts_with(of));
    answer.status == 404 || (by_standard && answer.status == 400)
}

on_all_stages! {
async fn an_id_that_names_nothing_is_not_found_on_any_route(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let enterprise = cast.town.join("Eve", "enterprise").await;
    cast.town.approve(&cast.admin, &enterprise).await;
    let long = "c_".to_owned() + &"0".repeat(5000);
    let (mut asked, mut wrong) = (0, Vec::new());
    for line in routes::all().iter().filter(|line| line.has_parameters()) {
        let who = for_audience(&cast, &enterprise, &line.audience);
        for forged in FORGED.iter().copied().chain([long.as_str()]) {
            let path = line.with(|_| forged.to_owned());
            let key = format!("{asked}");
            let call = cast.town.call(line.method.clone(), &path, who).key(&key);
            let call = if line.is_read() { call } else { call.json(&body_of(&line.name)) };
            let answer = call.answer().await;
            if !says_that_nothing_is_there(line, &answer) {
                wrong.push(format!("{} {path}: {} {}", line.method, answer.status, answer.text()));
            }
            asked += 1;
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert!(asked > 1000, "{asked}");
    assert_eq!(cast.town.wallet(&cast.anne).await, (FUNDS, 0));
}

async fn what_belongs_to_somebody_else_is_not_there(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, anne, ben, vera, admin } = &cast;
    let otto = &town.join("Otto", "verifier").await;
    town.open_shop(admin, otto).await;
    let eve = &town.join("Eve", "enterprise").await;
    town.approve(admin, eve).await;
    let owned = things_of(&cast).await;
    let before = state_of(&cast, &owned).await;

    let mut asked = 0;
    for line in routes::all() {
        let Some(ids) = owned.ids(&line.path) else { continue };
        let strangers: &[&Person] = match line.audience.as_str() {
            "user" => &[ben],
            "verifier" => &[otto],
            // The door is an admin's as well.
            "any" if line.path.starts_with("/v1/users/") => &[ben, otto, eve],
            "any" if line.path.contains("/orders/") => &[ben, otto, eve],
            // An admin who uses a person's own door is a stranger there as well.
            "any" => &[ben, otto, eve, admin],
            _ => continue,
        };
        for stranger in strangers {
            let mut ids = ids.iter();
            let path = line.with(|_| ids.next().cloned().unwrap_or_default());
            let key = format!("stranger-{asked}");
            let call = town.call(line.method.clone(), &path, Some(stranger)).key(&key);
            let call = if line.is_read() { call } else { call.json(&body_of(&line.name)) };
            let answer = call.answer().await;
            let who = &stranger.email;
            assert_eq!(answer.status, 404, "{who} {} {path}: {}", line.method, answer.text());
            asked += 1;
        }
    }
    assert!(asked >= 30, "only {asked} attempts");
    assert_eq!(state_of(&cast, &owned).await, before, "a stranger has changed something");

    // In a body as well: a foreign credential, a foreign file.
    let body = json!({ "credentialId": owned.draft, "verifierId": crate::town::verifier_id(vera) });
    let answer = town.post("/v1/user/verifications", ben).key("b").json(&body).answer().await;
    answer.problem(404, "not_found");
    let body = json!({ "title": "Mine", "type": "Education", "issuer": "U", "fileId": owned.file });
    let answer = town.post("/v1/user/credentials", ben).json(&body).answer().await;
    assert!(matches!(answer.status, 404 | 422), "{}", answer.text());
    for who in [ben, otto] {
        let path = format!("/v1/audit/proof/inclusion?event={}", owned.event);
        town.get(&path, who).answer().await.problem(404, "not_found");
    }

    // No list shows what is somebody else's, whatever it is filtered by.
    for (path, who) in [
        ("/v1/user/credentials", ben), ("/v1/user/verifications", ben), ("/v1/files", ben),
        ("/v1/notifications", ben), ("/v1/user/wallet/transactions", ben), ("/v1/orders", ben),
        ("/v1/verifier/jobs/available", otto), ("/v1/verifier/jobs/active", otto),
    ] {
        assert_eq!(town.all(path, who).await, Vec::<Json>::new(), "{path}");
    }
    for (path, who) in [("/v1/audit/logs", ben), ("/v1/me/activity", otto)] {
        let shown = Json::from(town.all(path, who).await).to_string();
        assert!(!shown.contains(&owned.job) && !shown.contains(&anne.id), "{path}: {shown}");
    }
}
}

/// Anne's things, and the job that Vera has of her.
struct Owned {
    owner: String,
    file: String,
    draft: String,
    share: String,
    job: String,
    session: String,
    notification: String,
    transaction: String,
    reference: String,
    event: String,
    order: String,
}

impl Owned {
    /// The ids for a path's parameters; none where nobody owns what it names.
    fn ids(&self, path: &str) -> Option<Vec<String>> {
        let bare = |id: &String| vec![id.clone()];
        let known = [
            ("/v1/files/{id}", bare(&self.file)),
            ("/api/files/{id}", vec![uuid_of::<kinds::File>(&self.file)]),
            ("/v1/user/credentials/{id}", vec![self.draft.clone(), self.share.clone()]),
            ("/v1/user/verifications/{id}", vec![self.job.clone(), self.file.clone()]),
            ("/v1/verifier/jobs/{id}", vec![self.job.clone(), self.file.clone()]),
            ("/v1/me/sessions/{id}", bare(&self.session)),
            ("/v1/users/{id}", bare(&self.owner)),
            ("/sessions/{id}", vec![uuid_of::<kinds::Session>(&self.session)]),
            ("/v1/notifications/{id}", bare(&self.notification)),
            ("/v1/user/wallet/transactions/{id}", bare(&self.transaction)),
            ("/v1/user/wallet/verify/{reference}", bare(&self.reference)),
            ("/v1/orders/{id}", bare(&self.order)),
            ("/api/orders/{id}", vec![uuid_of::<kinds::Order>(&self.order)]),
            ("/api/orders/del/{id}", vec![uuid_of::<kinds::Order>(&self.order)]),
        ];
        known.into_iter().find(|(prefix, _)| path.starts_with(prefix)).map(|(_, ids)| ids)
    }
}

fn uuid_of<K: kernel::id::Kind>(id: &str) -> String {
    id.parse::<kernel::Id<K>>().unwrap().uuid().to_string()
}

fn id_in(value: &Json) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("no id in {value}")).to_owned()
}

async fn things_of(cast: &Cast) -> Owned {
    let Cast { town, anne, vera, .. } = cast;
    let file = town.upload(anne, "diploma.pdf", &pdf("hers")).await;
    let draft = town.credential(anne, "Hers").await;
    let path = format!("/v1/user/credentials/{draft}/share");
    let share = id_in(&town.post(&path, anne).json(&json!({})).done().await);
    let judged = town.credential(anne, "Hers as well").await;
    let job = town.request(anne, &judged, vera).await;
    town.accept(vera, &job).await;
    let notification = until("a notification", async || {
        town.all("/v1/notifications", anne).await.first().map(id_in)
    })
    .await;
    let body = json!({ "amount": 1000, "provider": "sandbox" });
    let started = town.post("/v1/user/wallet/deposit", anne).key("d").json(&body).done().await;
    let me = town.get("/v1/me", anne).done().await;
    let body = json!({
        "targetUrl": "https://a.example/", "serviceUrl": "https://b.example/", "type": "likes",
        "quantity": 1,
    });
    let order = id_in(&town.post("/v1/orders", anne).key("o").json(&body).done().await);
    Owned {
        order,
        owner: anne.id.clone(),
        file,
        draft,
        share,
        job,
        session: me["sessionId"].as_str().unwrap().to_owned(),
        notification,
        transaction: id_in(&town.all("/v1/user/wallet/transactions", anne).await[0]),
        reference: started["reference"].as_str().unwrap().to_owned(),
        event: id_in(&town.all("/v1/audit/logs", anne).await[0]),
    }
}

/// All of Anne's that a stranger could have changed, as she sees it.
async fn state_of(cast: &Cast, owned: &Owned) -> Json {
    let Cast { town, anne, .. } = cast;
    let (available, held) = town.wallet(anne).await;
    let mut state = vec![Json::from(available), held.into()];
    // What a job finds out about files comes meanwhile.
    let steady = |mut row: Json| {
        row.as_object_mut().map(|row| row.remove("signatures"));
        row
    };
    for path in [
        "/v1/user/credentials",
        "/v1/user/verifications",
        "/v1/files",
        "/v1/user/wallet/transactions",
        "/v1/orders",
    ] {
        state.push(town.all(path, anne).await.into_iter().map(steady).collect());
    }
    let sessions = town.all("/v1/me/sessions", anne).await;
    state.push(sessions.iter().map(id_in).collect());
    // Others may still arrive; this one has been there.
    let notifications = town.all("/v1/notifications", anne).await;
    state.extend(notifications.into_iter().filter(|one| id_in(one) == owned.notification));
    state.into()
}

/// A door without a name for its owner: whose session it is decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_nobody_else_s_door_and_none_when_its_session_is_over() {
    let stage = Stage::on_sqlite().await;
    let cast = Cast::on(&stage).await;
    let Cast { town, anne, ben, .. } = &cast;
    let second = town.login(&anne.email).await;
    town.call(Method::POST, "/v1/auth/logout", Some(&second)).json(&json!({})).done().await;
    let answer = town.get("/v1/me", &second).answer().await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    let body = json!({ "refreshToken": second.refresh_token });
    let answer = town.call(Method::POST, "/v1/auth/refresh", None).json(&body).answer().await;
    assert_eq!(answer.status, 401, "{}", answer.text());

    let tampered = |token: &str| -> Vec<String> {
        let parts: Vec<&str> = token.split('.').collect();
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        let [head, claims, signature] = parts[..] else { panic!("no JWT: {token}") };
        let other = ben.token.split('.').nth(1).unwrap();
        vec![
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{signature}"),
            format!("{head}.{claims}."),
            format!("{head}.{claims}"),
            format!("{head}.{other}.{signature}"),
            format!("{head}.{claims}.{}A", &signature[..signature.len() - 1]),
            format!("{token}.x"),
            token.to_ascii_uppercase(),
        ]
    };
    for token in tampered(&anne.token) {
        if token == anne.token {
            continue;
        }
        let forged = Person { token: token.clone(), ..anne.clone() };
        let answer = town.get("/v1/me", &forged).answer().await;
        assert_eq!(answer.status, 401, "{token}: {}", answer.text());
        answer.is_a_problem();
    }
    assert_eq!(me(town, anne).await, anne.id);
    stage.finish().await;
}

async fn me(town: &Town, who: &Person) -> String {
    id_in(&town.get("/v1/me", who).done().await)
}
