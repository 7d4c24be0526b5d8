//! Lists in which the rows of two owners lie between each other: each sees their own and nothing of
//! the other's, whoever was first. Every list that the routes know is looked at, and a new one
//! fails until its rows are made here.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::routes::{self, Line};
use crate::town::{Call, Cast, FUNDS, Person, Town, pdf, until, verifier_id};
use crate::world::{Stage, on_both_stages, on_stages};

/// Lists that have no owner, or whose rows cannot be made here, and why.
const NOT_OWNED: &[(&str, &str)] = &[
    ("accounttype::list", "a catalogue, the same for everybody"),
    ("verifier::search", "the marketplace shows everybody"),
    ("review::of", "what was said of a verifier is said in public"),
    ("webhook::event_types", "a catalogue, the same for everybody"),
    ("notification::stream", "no list: it stays open, and tells what the list tells"),
    ("passkey::list", "needs an authenticator; see the passkey's own tests"),
];

/// A user, a verifier and an enterprise who deal with each other and with nobody else.
struct Side {
    user: Person,
    verifier: Person,
    enterprise: Person,
    /// Every id that an answer has named to them.
    marks: BTreeSet<String>,
    /// What paths of lists are below, by the beginning of the path.
    rooms: BTreeMap<&'static str, Vec<String>>,
    /// What they have asked for, by which each request has a key of its own.
    calls: usize,
}

/// Whether a text is an id of ours: a short word, and 26 letters of Crockford's base 32.
fn is_id(text: &str) -> bool {
    let Some((prefix, letters)) = text.rsplit_once('_') else { return false };
    let is_letter = |c: u8| c.is_ascii_digit() || (c.is_ascii_lowercase() && !b"ilou".contains(&c));
    (1..=4).contains(&prefix.len()) && letters.len() == 26 && letters.bytes().all(is_letter)
}

fn collect_ids(value: &Json, ids: &mut BTreeSet<String>) {
    match value {
        Json::String(text) if is_id(text) => drop(ids.insert(text.clone())),
        Json::Array(items) => items.iter().for_each(|item| collect_ids(item, ids)),
        Json::Object(fields) => fields.values().for_each(|field| collect_ids(field, ids)),
        _ => {}
    }
}

fn id(made: &Json) -> String {
    made["id"].as_str().unwrap_or_else(|| panic!("no id in {made}")).to_owned()
}

const USER: &str = "/v1/user/verifications";
const JOBS: &str = "/v1/verifier/jobs";
const ENTERPRISE: &str = "/v1/enterprise/verifications";

impl Side {
    async fn join(cast: &Cast, name: &str) -> Self {
        let Cast { town, admin, .. } = cast;
        let user = town.join(&format!("User{name}"), "user").await;
        let verifier = town.join(&format!("Verifier{name}"), "verifier").await;
        town.open_shop(admin, &verifier).await;
        let enterprise = town.join(&format!("Enterprise{name}"), "enterprise").await;
        town.approve(admin, &enterprise).await;
        let enterprise = town.login(&enterprise.email).await;
        for who in [&user, &enterprise] {
            town.deposit(who, 2 * FUNDS).await;
        }
        let marks = [&user, &verifier, &enterprise].map(|person| person.id.clone());
        let mut marks = BTreeSet::from(marks);
        marks.insert(verifier_id(&verifier));
        Self { user, verifier, enterprise, marks, rooms: BTreeMap::new(), calls: 0 }
    }

    async fn made(&mut self, call: Call) -> Json {
        self.calls += 1;
        let key = format!("key-{}", self.calls);
        let made = call.key(&key).done().await;
        collect_ids(&made, &mut self.marks);
        made
    }

    fn below(&mut self, room: &'static str, id: &str) {
        self.rooms.entry(room).or_default().push(id.to_owned());
    }

    /// Something of everybody's for every list.
    async fn deal(&mut self, town: &Town, round: usize, account_type: &str) {
        self.user_has(town, round, account_type).await;
        self.cases(town, round).await;
        self.organization_has(town, round).await;
        self.everybody_logs_in(town).await;
    }

    async fn everybody_logs_in(&mut self, town: &Town) {
        for person in [&self.user, &self.verifier, &self.enterprise] {
            town.login(&person.email).await;
        }
    }

    async fn user_has(&mut self, town: &Town, round: usize, account_type: &str) {
        let user = self.user.clone();
        let paper = pdf(&format!("{} {round}", user.id));
        let file = town.upload(&user, "paper.pdf", &paper).await;
        self.marks.insert(file.clone());
        let body = json!({ "title": "A", "type": "Law", "issuer": "U", "fileId": file });
        let credential = id(&self.made(town.post("/v1/user/credentials", &user).json(&body)).await);
        let own = format!("/v1/user/credentials/{credential}");
        let share = self.made(town.post(&format!("{own}/share"), &user).json(&json!({}))).await;
        self.below(
            "/v1/user/credentials/{id}/shares/{shareId}/views",
            &format!("{credential} {}", id(&share)),
        );
        self.below("/v1/user/credentials/{id}/shares", &credential);
        let url = share["shareLink"].as_str().unwrap();
        let token = url.rsplit('/').next().unwrap();
        town.call(Method::GET, &format!("/v1/share/{token}"), None).done().await;

        let body = json!({
            "targetUrl": "https://a.example/", "serviceUrl": "https://b.example/",
            "type": "likes", "quantity": 1,
        });
        self.made(town.post("/v1/orders", &user).json(&body)).await;
        let body = json!({ "type": account_type, "name": "Mine" });
        self.made(town.post("/v1/accounts", &user).json(&body)).await;
        let account = format!("01234567{round}{}", user.email.len());
        let body = json!({ "kind": "bank", "currency": "USD", "account": account, "bank": "1" });
        self.made(town.post("/v1/payout-destinations", &user).json(&body)).await;

        let with = json!({ "type": "verifier", "verifierId": verifier_id(&self.verifier) });
        for (what, partner) in
            [(with, self.verifier.clone()), (json!({ "type": "support" }), user.clone())]
        {
            let room = "/v1/chat/conversations";
            let opened = id(&self.made(town.post(room, &user).json(&what)).await);
            let path = format!("{room}/{opened}/messages");
            let text = json!({ "body": format!("Words {round}.") });
            self.made(town.post(&path, &user).json(&text)).await;
            if partner.id != user.id {
                self.made(town.post(&path, &partner).json(&text)).await;
            }
            self.below("/v1/chat/conversations/{id}/messages", &opened);
        }
    }

    /// A verification, as far as it was asked for.
    async fn request(&mut self, town: &Town, title: &str) -> String {
        let (user, verifier) = (self.user.clone(), self.verifier.clone());
        let paper = pdf(&format!("{} {}", user.id, self.marks.len()));
        let file = town.upload(&user, "paper.pdf", &paper).await;
        self.marks.insert(file.clone());
        let body = json!({ "title": title, "type": "Education", "issuer": "U", "fileId": file });
        let credential = id(&self.made(town.post("/v1/user/credentials", &user).json(&body)).await);
        let body = json!({ "credentialId": credential, "verifierId": verifier_id(&verifier) });
        let job = id(&self.made(town.post(USER, &user).json(&body)).await);
        self.below("/v1/user/verifications/{id}/events", &job);
        if title != "Waiting" {
            self.made(town.post(&format!("{JOBS}/{job}/accept"), &verifier)).await;
            // Who has looked at one's document is in one's access log.
            let path = format!("/v1/files/{file}/content");
            assert_eq!(town.get(&path, &verifier).answer().await.status, 200);
        }
        job
    }

    /// Verifications in every room that has a list of them.
    async fn cases(&mut self, town: &Town, round: usize) {
        let (user, verifier) = (self.user.clone(), self.verifier.clone());
        self.request(town, "Waiting").await;
        let active = self.request(town, "Active").await;
        for (who, room) in [(&user, USER), (&verifier, JOBS)] {
            let paper = pdf(&format!("{} shows {round}", who.id));
            let body = json!({ "fileId": town.upload(who, "shown.pdf", &paper).await });
            self.made(town.post(&format!("{room}/{active}/attachments"), who).json(&body)).await;
        }
        self.below("/v1/user/verifications/{id}/attachments", &active);
        self.below("/v1/verifier/jobs/{id}/attachments", &active);
        for (title, verb, body) in [
            ("Reviewed", "review", json!({ "rating": 4, "text": "Good." })),
            ("Disputed", "dispute", json!({ "reason": "other", "description": "Not so." })),
        ] {
            let job = self.request(town, title).await;
            let verdict = json!({ "verdict": "verified" });
            let path = format!("{JOBS}/{job}/complete");
            let done = self.made(town.post(&path, &verifier).json(&verdict)).await;
            let credential = done["credentialId"].as_str().unwrap().to_owned();
            self.below("/v1/user/credentials/{id}/verdicts", &credential);
            self.made(town.post(&format!("{USER}/{job}/{verb}"), &user).json(&body)).await;
        }
    }

    async fn organization_has(&mut self, town: &Town, round: usize) {
        let owner = self.enterprise.clone();
        let post = |path: &str, body: &Json| town.post(path, &owner).json(body);
        let plan = ["team", "business"][round];
        self.made(post("/v1/enterprise/billing/plan", &json!({ "plan": plan }))).await;
        let key = json!({ "name": "Import", "scopes": ["verifications:read"] });
        self.made(post("/v1/enterprise/api-keys", &key)).await;
        let member = town.join(&format!("Member{round}of{}", &owner.id[20..]), "user").await;
        let invite = "/v1/enterprise/team/invite";
        let before = town.mailed_token(&member.email).await;
        self.made(post(invite, &json!({ "email": member.email, "role": "member" }))).await;
        let token = until("the invitation", async || {
            let token = town.mailed_token(&member.email).await;
            (token != before).then_some(token)
        })
        .await;
        let join = town.post("/v1/enterprise/team/join", &member).json(&json!({ "token": token }));
        self.made(join).await;
        let stranger = format!("nobody{round}of{}@example.com", &owner.id[20..]);
        self.made(post(invite, &json!({ "email": stranger, "role": "viewer" }))).await;

        let events = json!(["member.role_changed"]);
        let hook = json!({ "url": "https://hooks.example/verza", "events": events });
        let hook = id(&self.made(post("/v1/enterprise/webhooks", &hook)).await);
        self.made(post(&format!("/v1/enterprise/webhooks/{hook}/test"), &json!({}))).await;
        let deliveries = format!("/v1/enterprise/webhooks/{hook}/deliveries");
        until("the delivery", async || {
            let all = town.get(&deliveries, &owner).done().await;
            all.get(0).map(drop)
        })
        .await;
        self.below("/v1/enterprise/webhooks/{id}/deliveries", &hook);
        let slack = json!({ "url": "https://hooks.slack.com/services/x", "events": events });
        self.made(post("/v1/enterprise/integrations/slack/connect", &slack)).await;

        let document = json!({ "title": "B", "type": "Education", "issuer": "U" });
        let verifier = verifier_id(&self.verifier);
        let body = json!({ "document": document, "verifierId": verifier });
        let asked = id(&self.made(post(ENTERPRISE, &body)).await);
        let part = reqwest::multipart::Part::bytes(pdf(&asked)).file_name("c.pdf");
        let form = reqwest::multipart::Form::new().part("file", part);
        let file = id(&self.made(town.post("/v1/enterprise/files", &owner).form(form)).await);
        let attach = format!("{ENTERPRISE}/{asked}/attachments");
        self.made(post(&attach, &json!({ "fileId": file }))).await;
        self.below("/v1/enterprise/verifications/{id}/attachments", &asked);
        self.below("/v1/enterprise/verifications/{id}/events", &asked);
        let judge = self.verifier.clone();
        let judged = id(&self.made(post(ENTERPRISE, &body)).await);
        self.made(town.post(&format!("{JOBS}/{judged}/accept"), &judge)).await;
        let verdict = json!({ "verdict": "rejected" });
        self.made(town.post(&format!("{JOBS}/{judged}/complete"), &judge).json(&verdict)).await;
        let contest = json!({ "reason": "other", "description": "Not so." });
        self.made(post(&format!("{ENTERPRISE}/{judged}/dispute"), &contest)).await;
        let table = "reference,subject,title,type,issuer\nR-1,Anne,Bachelor,Education,X\n\
                     R-2,Ben,Bachelor,Education,X\n";
        let path = format!("{ENTERPRISE}/batch?verifierId={verifier}");
        let batch = town.post(&path, &owner).media("text/csv", table);
        let batch = id(&self.made(batch).await["batch"]);
        self.below("/v1/enterprise/verifications/batch/{id}/rows", &batch);
    }

    /// Whose list it is, by the route's audience. What is below something is the user's.
    fn who(&self, line: &Line) -> Vec<&Person> {
        match line.audience.as_str() {
            "user" => vec![&self.user],
            "verifier" => vec![&self.verifier],
            "enterprise" | "key" => vec![&self.enterprise],
            "any" if line.has_parameters() => vec![&self.user],
            "any" => vec![&self.user, &self.verifier, &self.enterprise],
            other => panic!("nobody plays the audience {other}"),
        }
    }

    /// The paths of a route's lists that are this side's.
    fn paths(&self, line: &Line) -> Vec<String> {
        if !line.has_parameters() {
            return vec![line.path.clone()];
        }
        let below = self.rooms.get(line.path.as_str());
        let ids = below.unwrap_or_else(|| panic!("nothing was made for {}", line.path));
        let path = |ids: &String| {
            let mut ids = ids.split(' ');
            line.with(|_| ids.next().unwrap().to_owned())
        };
        ids.iter().map(path).collect()
    }
}

/// Reads that answer a list: in pages, or whole.
fn lists() -> Vec<(Line, bool)> {
    let document = verza::commands::openapi_document().unwrap();
    let document: Json = serde_json::from_str(&document).unwrap();
    let reads = routes::all().into_iter().filter(Line::is_read);
    reads
        .filter_map(|line| {
            let shown = &document["paths"][line.path.replace("{*", "{")]["get"];
            let parameters = shown["parameters"].as_array();
            let is_paged =
                parameters.is_some_and(|all| all.iter().any(|it| it["name"] == "cursor"));
            let reply = &shown["responses"]["200"]["content"]["application/json"]["schema"];
            (is_paged || reply["type"] == "array").then_some((line, is_paged))
        })
        .collect()
}

/// Whether a list's rows belong to whoever asks, and are made here.
fn is_owned(line: &Line) -> bool {
    let is_somebody_s = !matches!(line.audience.as_str(), "public" | "admin" | "ops" | "provider");
    is_somebody_s && !NOT_OWNED.iter().any(|(name, _)| *name == line.name)
}

/// All rows, page by page.
async fn rows(town: &Town, path: &str, who: &Person, limit: usize) -> Vec<Json> {
    let mut rows = Vec::new();
    let mut next = Some(format!("{path}?limit={limit}"));
    while let Some(path) = next {
        let answer = town.get(&path, who).answer().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let page = answer.json();
        let page = page.as_array().expect("a list");
        rows.extend(page.iter().cloned());
        let rest = answer.header("link").strip_prefix('<');
        // A list that is followed for ever always has a next page: the first empty one ends it.
        let rest = rest.filter(|_| !page.is_empty());
        next = rest.map(|rest| rest.split('>').next().unwrap().to_owned());
    }
    rows
}

/// Looks at one list with the eyes of both sides; answers what each has seen.
async fn look(town: &Town, line: &Line, is_paged: bool, sides: &[Side; 2]) -> [usize; 2] {
    let mut seen = [0; 2];
    for (mine, theirs) in [(0, 1), (1, 0)] {
        let (side, other) = (&sides[mine], &sides[theirs]);
        let foreign: Vec<&String> = other.marks.difference(&side.marks).collect();
        for who in side.who(line) {
            for path in side.paths(line) {
                let limits: &[usize] = if is_paged { &[3, 100] } else { &[100] };
                for limit in limits {
                    let rows = rows(town, &path, who, *limit).await;
                    for row in &rows {
                        let text = row.to_string();
                        let leak = foreign.iter().find(|mark| text.contains(mark.as_str()));
                        assert!(leak.is_none(), "{} sees {leak:?} in {path}: {text}", who.email);
                    }
                    seen[mine] += rows.len();
                }
            }
            if line.has_parameters() {
                for path in other.paths(line) {
                    let answer = town.get(&path, who).answer().await;
                    assert_eq!(answer.status, 404, "{} {path}: {}", who.email, answer.text());
                }
            }
        }
    }
    seen
}

/// Two sides with rows of everything, in both orders.
async fn dealt(stage: &Stage) -> (Cast, [Side; 2]) {
    let cast = Cast::on(stage).await;
    let Cast { town, admin, .. } = &cast;
    let mut sides = [Side::join(&cast, "A").await, Side::join(&cast, "B").await];
    for (round, order) in [[0, 1], [1, 0]].into_iter().enumerate() {
        let body = json!({ "number": 100 + round, "name": format!("Type {round}") });
        let account_type = id(&town.post("/v1/account-types", admin).json(&body).done().await);
        for place in order {
            sides[place].deal(town, round, &account_type).await;
        }
    }
    // What is told of all that comes a moment later.
    for side in &sides {
        until("the notifications", async || {
            let told = rows(town, "/v1/notifications", &side.user, 100).await.len();
            (told >= 8).then_some(())
        })
        .await;
    }
    (cast, sides)
}

/// What a page of a list costs the store besides its rows: rows visited without an index, and
/// answers sorted. The least of several, since others use the store meanwhile.
async fn beside(stage: &Stage, town: &Town, path: &str, who: &Person) -> (u64, u64) {
    let db = &stage.running.platform.db;
    let mut least = (u64::MAX, u64::MAX);
    for _ in 0..20 {
        let before = db.counts();
        town.get(&format!("{path}?limit=3"), who).done().await;
        let after = db.counts();
        let (scanned, sorts) = (after.scanned - before.scanned, after.sorts - before.sorts);
        least = (least.0.min(scanned), least.1.min(sorts));
        if least == (0, 0) {
            break;
        }
    }
    least
}

on_both_stages! {
async fn no_list_shows_what_is_somebody_else_s_whoever_was_first(stage: &Stage) {
    let (cast, sides) = dealt(stage).await;
    let town = &cast.town;
    let (mut looked_at, mut empty) = (0, Vec::new());
    for (line, is_paged) in lists() {
        if !is_owned(&line) {
            continue;
        }
        let seen = look(town, &line, is_paged, &sides).await;
        let least = if is_paged { 4 } else { 1 };
        if seen.iter().any(|rows| *rows < least) {
            empty.push(format!("{} {seen:?}", line.path));
        }
        looked_at += 1;
    }
    assert_eq!(empty, [""; 0], "make rows of these, or say in NOT_OWNED why there are none");
    assert!(looked_at >= 35, "{looked_at}");
}
}

on_stages! {
[on_sqlite]
async fn no_page_of_a_list_is_sorted_or_looked_for_row_by_row(stage: &Stage) {
    let (cast, sides) = dealt(stage).await;
    let (mut asked, mut costly) = (0, Vec::new());
    for (line, _) in lists().into_iter().filter(|(_, is_paged)| *is_paged) {
        let is_admin = line.audience == "admin";
        let is_known = is_owned(&line) || (is_admin && !line.has_parameters());
        if !is_known && line.name != "verifier::search" {
            continue;
        }
        let who = if is_admin { vec![&cast.admin] } else { sides[0].who(&line) };
        let paths = if is_admin { vec![line.path.clone()] } else { sides[0].paths(&line) };
        for (who, path) in who.iter().flat_map(|who| paths.iter().map(move |path| (who, path))) {
            asked += 1;
            let cost = beside(stage, &cast.town, path, who).await;
            if cost != (0, 0) {
                costly.push(format!("{path} {cost:?}"));
            }
        }
    }
    assert_eq!(costly, [""; 0], "rows visited without an index, and sorts");
    assert!(asked >= 40, "{asked}");
}
}

#[test]
fn every_list_without_an_owner_is_one() {
    let names: BTreeSet<String> = lists().into_iter().map(|(line, _)| line.name).collect();
    for (name, _) in NOT_OWNED {
        assert!(names.contains(*name), "{name} is no list");
    }
}
