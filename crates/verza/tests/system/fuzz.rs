//! Requests made by chance from the API's own description: whatever they are, the server answers
//! for itself and stays.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Map, Value as Json, json};

use crate::dice::Dice;
use crate::routes;
use crate::town::{Answer, Cast, Person, pdf};
use crate::world::{Stage, on_both_stages};

const REQUESTS: usize = 2_000;
/// Depth at which a schema that holds itself ends.
const DEPTH_MAX: u8 = 6;

/// Texts that fit somewhere, or nowhere at all.
const TEXTS: &[&str] = &[
    "",
    " ",
    "Education",
    "Diploma",
    "USD",
    "NGN",
    "sandbox",
    "paystack",
    "verified",
    "pending",
    "2024-02-29",
    "2024-13-01",
    "2026-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "-0001-01-01T00:00:00Z",
    "anne@example.com",
    "https://example.com/x",
    "true",
    "null",
    "a\u{0}b",
    "'; DROP TABLE users; --",
    "%",
    "_",
    "\\",
    "\u{202e}abc",
    "👩🏽\u{200d}🚀",
    "u_",
    "x",
    "-1",
    "1e9",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "gibberish~!@#$%^&*()",
    "\n",
    "\u{feff}",
    "c_0",
];
const NUMBERS: &[i64] = &[
    0,
    1,
    -1,
    2,
    7,
    20,
    100,
    101,
    2_500,
    1_000_000,
    i32::MAX as i64,
    i32::MIN as i64,
    i64::MAX,
    i64::MIN,
    1_000_000_000_000_000,
    1_000_000_000_000_001,
    253_402_300_799,
];

/// Makes requests, mostly sensible ones: those get furthest.
struct Fuzzer {
    dice: Dice,
    document: Json,
    /// Ids that answers have shown.
    ids: Vec<String>,
}

/// One operation of the document.
struct Operation {
    method: Method,
    path: String,
    schema: Json,
}

impl Fuzzer {
    fn operations(&self) -> Vec<Operation> {
        let mut all = Vec::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, schema) in item.as_object().unwrap() {
                let Ok(method) = method.to_ascii_uppercase().parse::<Method>() else { continue };
                all.push(Operation { method, path: path.clone(), schema: schema.clone() });
            }
        }
        all
    }

    fn resolve(&self, schema: &Json) -> Json {
        match schema["$ref"].as_str() {
            Some(name) => {
                let name = name.rsplit('/').next().unwrap_or_default();
                self.document["components"]["schemas"][name].clone()
            }
            None => schema.clone(),
        }
    }

    fn text(&mut self) -> String {
        match self.dice.below(12) {
            0 if !self.ids.is_empty() => self.dice.pick(&self.ids).clone(),
            1 => "long ".repeat(1 + usize::try_from(self.dice.below(600)).unwrap()),
            2 => {
                let random = |dice: &mut Dice| {
                    char::from_u32(u32::try_from(dice.below(0x11_0000)).unwrap())
                        .unwrap_or('\u{fffd}')
                };
                (0..self.dice.below(40)).map(|_| random(&mut self.dice)).collect()
            }
            _ => (*self.dice.pick(TEXTS)).to_owned(),
        }
    }

    /// An id that is there, or could be, or never was.
    fn id(&mut self, prefix: Option<&str>) -> String {
        let fitting: Vec<&String> = self
            .ids
            .iter()
            .filter(|id| prefix.is_none_or(|prefix| id.starts_with(&format!("{prefix}_"))))
            .collect();
        match self.dice.below(8) {
            0 => self.text(),
            1 => format!("{}_01h455vb4pex5vsknk084sn02q", prefix.unwrap_or("c")),
            _ if fitting.is_empty() => self.text(),
            _ => (*self.dice.pick(&fitting)).clone(),
        }
    }

    /// Anything at all.
    fn junk(&mut self) -> Json {
        match self.dice.below(9) {
            0 => Json::Null,
            1 => self.dice.one_in(2).into(),
            2 => (*self.dice.pick(NUMBERS)).into(),
            3 => json!(1.5e300),
            4 => json!([]),
            5 => json!({}),
            6 => json!([[[["deep"]]]]),
            7 => json!({ "a": { "b": [1, "x", null] } }),
            _ => self.text().into(),
        }
    }

    /// A value of a schema; now and then one that is none.
    fn value(&mut self, schema: &Json, depth: u8) -> Json {
        if depth > DEPTH_MAX || self.dice.one_in(25) {
            return self.junk();
        }
        let schema = self.resolve(schema);
        for choice in ["oneOf", "anyOf"] {
            if let Some(all) = schema[choice].as_array().filter(|all| !all.is_empty()) {
                let one = self.dice.pick(all).clone();
                return self.value(&one, depth + 1);
            }
        }
        if let Some(words) = schema["enum"].as_array().filter(|words| !words.is_empty()) {
            return self.dice.pick(words).clone();
        }
        let types = match &schema["type"] {
            Json::Array(types) => types.clone(),
            one => vec![one.clone()],
        };
        let kind = self.dice.pick(&types).as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "object" => self.object(&schema, depth),
            "array" => {
                let count = self.dice.below(4);
                (0..count).map(|_| self.value(&schema["items"], depth + 1)).collect()
            }
            "string" => match schema["pattern"].as_str().and_then(|p| p.strip_prefix('^')) {
                Some(pattern) => {
                    let prefix = pattern.split('_').next().map(str::to_owned);
                    self.id(prefix.as_deref()).into()
                }
                None => self.text().into(),
            },
            "integer" => (*self.dice.pick(NUMBERS)).into(),
            "number" => json!(*self.dice.pick(&[0.0, 4.5, -1.0, 1e308, 0.1])),
            "boolean" => self.dice.one_in(2).into(),
            "null" => Json::Null,
            _ => self.junk(),
        }
    }

    fn object(&mut self, schema: &Json, depth: u8) -> Json {
        let empty = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&empty);
        let required: BTreeSet<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let mut made = Map::new();
        for (name, property) in properties {
            let there = if required.contains(name.as_str()) {
                !self.dice.one_in(30)
            } else {
                self.dice.one_in(2)
            };
            if there {
                made.insert(name.clone(), self.value(property, depth + 1));
            }
        }
        if self.dice.one_in(30) {
            made.insert(self.text(), self.junk());
        }
        made.into()
    }

    fn path(&mut self, operation: &Operation) -> String {
        let mut path = operation.path.clone();
        let mut query = Vec::new();
        for parameter in operation.schema["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap().to_owned();
            match parameter["in"].as_str().unwrap_or_default() {
                "path" => {
                    let value = match (name.as_str(), self.dice.below(3)) {
                        ("provider", 0 | 1) => "sandbox".to_owned(),
                        _ => self.id(kind_of(&operation.path, &name)),
                    };
                    path = path.replace(&format!("{{{name}}}"), &encode(&value));
                }
                "query" if self.dice.one_in(2) => {
                    let value = match self.value(&parameter["schema"], 0) {
                        Json::String(text) => text,
                        other => other.to_string(),
                    };
                    query.push(format!("{}={}", encode(&name), encode(&value)));
                }
                _ => {}
            }
        }
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    }

    /// Remembers whatever looks like an id.
    fn learn(&mut self, value: &Json) {
        match value {
            Json::String(text) if is_id(text) && !self.ids.contains(text) => {
                self.ids.push(text.clone());
            }
            Json::Array(values) => values.iter().for_each(|value| self.learn(value)),
            Json::Object(members) => members.values().for_each(|value| self.learn(value)),
            _ => {}
        }
    }
}

fn is_id(text: &str) -> bool {
    text.rsplit_once('_').is_some_and(|(kind, rest)| {
        (1..=4).contains(&kind.len())
            && rest.len() == 26
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// What a path's parameter names, where that is known.
fn kind_of(path: &str, name: &str) -> Option<&'static str> {
    let nouns = [
        ("/credentials/", "c"),
        ("/files/", "file"),
        ("/verifications/", "vrf"),
        ("/jobs/", "vrf"),
        ("/users/", "u"),
        ("/verifiers/", "v"),
        ("/sessions/", "s"),
        ("/notifications/", "n"),
        ("/transactions/", "tx"),
        ("/status-lists/", "sl"),
    ];
    if name == "shareId" {
        return Some("sh");
    }
    if name == "file" {
        return Some("file");
    }
    nouns.into_iter().find(|(part, _)| path.contains(part)).map(|(_, kind)| kind)
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let mut out = String::new();
    for byte in text.bytes() {
        if plain(byte) { out.push(byte.into()) } else { out.push_str(&format!("%{byte:02X}")) }
    }
    // An empty part of a path is another path.
    if out.is_empty() { "%20".into() } else { out }
}

/// Does not take part: it would lock a caller out, and what follows would test nothing but 401.
fn locks_out(Operation { method, path, .. }: &Operation) -> bool {
    let closes = *method == Method::DELETE && ["/v1/me", "/v1/users/{id}"].contains(&path.as_str());
    closes
        || ["/suspend", "/ban", "/sessions", "/auth/logout", "/admin/admins", "/users/del"]
            .iter()
            .any(|part| path.contains(part))
}

async fn answer(
    cast: &Cast,
    fuzzer: &mut Fuzzer,
    operation: &Operation,
    who: Option<&Person>,
) -> (String, Answer) {
    let path = fuzzer.path(operation);
    let mut call = cast.town.call(operation.method.clone(), &path, who);
    let mut what = format!("{} {path}", operation.method);
    if !fuzzer.dice.one_in(10) {
        // Keys come again now and then, with another body or another path.
        call = call.key(&format!("k{}", fuzzer.dice.below(500)));
    }
    let content = operation.schema["requestBody"]["content"].as_object();
    if let Some((media, content)) = content.and_then(|content| content.iter().next()) {
        if media.starts_with("multipart") {
            let name = fuzzer.text();
            let bytes = if fuzzer.dice.one_in(2) { pdf(&name) } else { name.clone().into_bytes() };
            let part = reqwest::multipart::Part::bytes(bytes).file_name(name);
            let field = if fuzzer.dice.one_in(10) { fuzzer.text() } else { "file".into() };
            call = call.form(reqwest::multipart::Form::new().part(field, part));
        } else {
            let body = fuzzer.value(&content["schema"], 0).to_string();
            let cut = usize::try_from(fuzzer.dice.below(body.len() as u64 + 1)).unwrap();
            let whole = !fuzzer.dice.one_in(30);
            let bytes = if whole { body.as_bytes() } else { &body.as_bytes()[..cut] };
            what.push_str(&format!(" {}", String::from_utf8_lossy(bytes)));
            let media = if fuzzer.dice.one_in(50) { "text/plain" } else { media };
            call = call.media(media, bytes);
        }
    }
    (what, call.answer().await)
}

async fn nothing_by_chance_breaks_it(stage: &Stage, seed: u64) {
    let cast = Cast::on(stage).await;
    let document = serde_json::from_str(&verza::commands::openapi_document().unwrap()).unwrap();
    let mut fuzzer = Fuzzer { dice: Dice::new(seed), document, ids: Vec::new() };
    let credential = cast.town.credential(&cast.anne, "Diploma").await;
    let job = cast.town.request(&cast.anne, &credential, &cast.vera).await;
    cast.town.accept(&cast.vera, &job).await;
    cast.town.upload(&cast.anne, "a.pdf", &pdf("fuzz")).await;
    fuzzer.ids.extend([credential, job, cast.anne.id.clone(), cast.ben.id.clone()]);

    let operations: Vec<Operation> =
        fuzzer.operations().into_iter().filter(|operation| !locks_out(operation)).collect();
    let eve = cast.town.join("Eve", "enterprise").await;
    cast.town.approve(&cast.admin, &eve).await;
    let people = [&cast.anne, &cast.ben, &cast.vera, &eve, &cast.admin];
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for turn in 0..REQUESTS {
        let operation = &operations[turn % operations.len()];
        let fitting = match operation.path.split('/').nth(2) {
            Some("admin") => Some(&cast.admin),
            Some("verifier") => Some(&cast.vera),
            Some("enterprise") => Some(&eve),
            Some("user") => Some(&cast.anne),
            _ => Some(*fuzzer.dice.pick(&people)),
        };
        let who = match fuzzer.dice.below(20) {
            0 => None,
            1 => Some(*fuzzer.dice.pick(&people)),
            _ => fitting,
        };
        let (what, answer) = answer(&cast, &mut fuzzer, operation, who).await;
        *statuses.entry(answer.status).or_default() += 1;
        let text = answer.text();
        assert!(answer.status < 500, "seed {seed}, turn {turn}: {what}\n{} {text}", answer.status);
        if answer.status >= 400 && routes::answers_problems(&operation.path) {
            assert_eq!(answer.header("content-type"), "application/problem+json", "{what}\n{text}");
            assert_eq!(answer.json()["requestId"], answer.header("x-request-id"), "{what}");
        }
        fuzzer.learn(&answer.json());
    }
    println!("seed {seed}: {statuses:?}, {} ids", fuzzer.ids.len());
    let done: usize = statuses.iter().filter(|(status, _)| **status < 400).map(|(_, n)| n).sum();
    // Many routes ask for a state that chance does not bring about.
    assert!(done * 6 > REQUESTS, "too few requests make sense: {statuses:?}");
    let ready = cast.town.call(Method::GET, "/readyz", None).answer().await;
    assert_eq!(ready.status, 200);
    let ledger = money::ledger::check(&stage.running.platform.db).await.unwrap();
    assert!(ledger.is_sound(), "{ledger:#?}");
    let log = stage.running.platform.trust.log.check().await.unwrap();
    assert!(log.failures.is_empty(), "{log:#?}");
}

on_both_stages! {
async fn no_request_made_by_chance_breaks_the_server(stage: &Stage) {
    nothing_by_chance_breaks_it(stage, 20_260_101).await;
}
}
