//! The story: one diploma from upload to a verdict that anybody can check, and one that is
//! rejected. It is told over HTTP, as clients would live it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kernel::{Error, Result};
use reqwest::Method;
use serde_json::{Value as Json, json};
use verify::judge::report::{Outcome, Verdict};

use super::client::{Client, Session};
use crate::commands;

const DIPLOMA: &[u8] = include_bytes!("../../demo/diploma.pdf");
const LETTER: &[u8] = include_bytes!("../../demo/employment.pdf");
const PRICE: i64 = 2_500;
const DEPOSIT: i64 = 10_000;
/// How often something that happens in the background is asked for, and how long.
const POLL_EVERY: Duration = Duration::from_millis(50);
const POLLS: u32 = 600;

/// Where the story plays.
pub struct Stage {
    pub client: Client,
    /// The internal listener: where the mails are.
    pub ops_url: String,
    /// The one-time link for the first admin.
    pub setup_link: String,
    /// Where the exported credential is put.
    pub export_to: PathBuf,
    /// The password of everybody in the story; random, and printed at the end.
    pub password: String,
}

/// Who is in the story by its end.
#[derive(Debug)]
pub struct Cast {
    pub admin: String,
    /// The secret of the admin's authenticator app, in base32.
    pub admin_secret: String,
    pub user: String,
    pub verifier: String,
    pub share_link: String,
    pub export: PathBuf,
    pub pins: Pins,
}

/// What the issuer publishes and the export is checked against.
#[derive(Debug)]
pub struct Pins {
    /// The file that did.json was put in, beside the export.
    pub did: PathBuf,
    pub log_key: String,
}

/// A person with a session.
struct Person {
    email: String,
    id: String,
    session: Session,
}

/// Plays the story. `tell` gets each line as it happens.
pub async fn play(stage: &Stage, tell: &mut (dyn FnMut(String) + Send)) -> Result<Cast> {
    let (admin, admin_secret) = set_up_admin(stage).await?;
    tell(format!("An admin set up an account through the one-time link: {}", admin.email));
    tell("Being an admin, they enrolled an authenticator app before anything opened".into());

    let anne = join(stage, "Anne Cooper", "anne@example.com", "user").await?;
    tell("Anne registered, read the mail and confirmed her address".into());
    let vera = join(stage, "Global Verify", "vera@example.com", "verifier").await?;
    approve(stage, &admin, &vera).await?;
    tell("Global Verify registered as a verifier; the admin approved".into());
    let offer = offer_service(stage, &vera).await?;
    tell("Global Verify offers to check diplomas for $25.00".into());

    deposit(stage, &anne).await?;
    tell("Anne deposited $100.00: the sandbox's signed callback credited her wallet".into());
    let diploma = Document {
        file: ("diploma.pdf", DIPLOMA),
        title: "Bachelor of Science",
        kind: "Education",
        issuer: "University of Lagos",
    };
    let credential = create_credential(stage, &anne, &diploma).await?;
    tell(format!("Anne uploaded her diploma and made a credential of it: {credential}"));

    let job = request(stage, &anne, &credential, &offer).await?;
    let wallet = wallet(stage, &anne).await?;
    expect(wallet == (DEPOSIT - PRICE, PRICE), "the price is held", wallet)?;
    tell("She picked Global Verify in the marketplace; $25.00 are held in escrow".into());
    let verdict = judge(stage, &vera, &job, "verified").await?;
    expect(verdict["status"] == "verified", "the verdict stands", &verdict)?;
    tell(
        "Global Verify accepted, read the document and found it genuine: in one transaction the \
          escrow was captured, the fee split off, the credential signed"
            .into(),
    );

    let share_link = share(stage, &anne, &credential).await?;
    tell(format!("Anne shared it; this opens without a login: {share_link}"));
    let pins = export_and_check(stage, &anne, &credential, tell).await?;

    let letter = Document {
        file: ("employment.pdf", LETTER),
        title: "Letter of employment",
        kind: "Education",
        issuer: "Harbour Shipping Company",
    };
    let second = create_credential(stage, &anne, &letter).await?;
    let job = request(stage, &anne, &second, &offer).await?;
    judge(stage, &vera, &job, "rejected").await?;
    refused_export(stage, &anne, &second).await?;
    tell(
        "A second document was rejected: nothing portable was issued, the verifier was paid".into(),
    );

    let last = self::wallet(stage, &anne).await?;
    expect(last == (DEPOSIT - 2 * PRICE, 0), "both jobs are paid", last)?;
    show_trail(stage, &anne, tell).await?;
    Ok(Cast {
        admin: admin.email,
        admin_secret,
        user: anne.email,
        verifier: vera.email,
        share_link,
        export: stage.export_to.clone(),
        pins,
    })
}

fn expect(holds: bool, what: &str, seen: impl std::fmt::Debug) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::internal(format!("not so: {what}; seen {seen:?}"))) }
}

fn text(value: &Json, field: &str) -> Result<String> {
    value[field]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::internal(format!("no {field} in {value}")))
}

/// Asks until the answer is there: what happens in the background takes a moment.
async fn until<T>(what: &str, ask: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    for _ in 0..POLLS {
        if let Some(value) = ask().await? {
            return Ok(value);
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
    Err(Error::unavailable("too_slow", format!("{what} did not happen in time.")))
}

async fn login(stage: &Stage, email: &str) -> Result<Person> {
    let body = json!({ "email": email, "password": stage.password });
    let reply = stage.client.post("/v1/auth/login", None, body).await?;
    Ok(Person {
        email: email.to_owned(),
        id: text(&reply["user"], "id")?,
        session: Session::new(text(&reply, "accessToken")?),
    })
}

/// The first admin, and the secret of their authenticator app.
async fn set_up_admin(stage: &Stage) -> Result<(Person, String)> {
    let token = after(&stage.setup_link, "token=")?;
    let email = "admin@example.com";
    let body = json!({
        "token": token, "name": "Ada Admin", "email": email, "password": stage.password,
    });
    stage.client.post("/v1/setup", None, body).await?;
    let mut admin = login(stage, email).await?;
    let secret = enrol(stage, &mut admin).await?;
    Ok((admin, secret))
}

/// Enrols an authenticator app and confirms it with the code that it shows.
async fn enrol(stage: &Stage, person: &mut Person) -> Result<String> {
    let session = Some(&person.session);
    let begun = stage.client.post("/v1/auth/mfa/enroll", session, json!({})).await?;
    let secret = text(&begun, "secret")?;
    let code = identity::factor::totp::code(&secret, platform::world::system().now())?;
    let body = json!({ "totp": code });
    let done = stage.client.post("/v1/auth/mfa/verify", session, body).await?;
    expect(done["level"] == "aal2", "the session has two factors", &done["level"])?;
    // The session was renewed by that: its old token is dead.
    person.session = Session::new(text(&done, "accessToken")?);
    Ok(secret)
}

fn after(text: &str, mark: &str) -> Result<String> {
    let rest = text.split_once(mark).map(|(_, rest)| rest);
    let end = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    rest.and_then(|rest| rest.split(end).next())
        .map(str::to_owned)
        .ok_or_else(|| Error::internal(format!("no {mark} in {text}")))
}

/// Registers, reads the verification mail from the sink, confirms, and signs in.
async fn join(stage: &Stage, name: &str, email: &str, role: &str) -> Result<Person> {
    let body = json!({ "name": name, "email": email, "password": stage.password, "role": role });
    stage.client.post("/v1/auth/register", None, body).await?;
    let url = format!("{}/mail?to={email}", stage.ops_url);
    let mail = until("the mail", async || {
        let mails = stage.client.get(&url, None).await?;
        Ok(mails.get(0).cloned())
    })
    .await?;
    let token = after(&text(&mail, "text")?, "token=")?;
    stage.client.post("/v1/auth/verify-email", None, json!({ "token": token })).await?;
    login(stage, email).await
}

async fn approve(stage: &Stage, admin: &Person, person: &Person) -> Result<()> {
    let path = format!("/v1/admin/users/{}/approve", person.id);
    stage.client.post(&path, Some(&admin.session), json!({})).await?;
    Ok(())
}

/// What a verifier offers, as the marketplace lists it.
struct Offer {
    verifier: String,
    service: String,
}

async fn offer_service(stage: &Stage, vera: &Person) -> Result<Offer> {
    let session = Some(&vera.session);
    let profile = json!({
        "name": "Global Verify",
        "headline": "Diplomas, checked at the registry",
        "bio": "We ask the university.",
        "jurisdiction": "NG",
    });
    until("the verifier's profile", async || {
        match stage.client.put("/v1/verifier/profile", session, profile.clone()).await {
            Ok(_) => Ok(Some(())),
            // The approval reaches the marketplace through the journal, a moment later.
            Err(error) if error.message().contains("404") => Ok(None),
            Err(error) => Err(error),
        }
    })
    .await?;
    let services = json!([{
        "title": "Diploma check", "category": "Education", "price": PRICE, "currency": "USD",
        "slaHours": 48,
    }]);
    stage.client.put("/v1/verifier/services", session, services).await?;
    until("the marketplace's listing", async || {
        let path = "/v1/marketplace/verifiers?category=Education";
        let listed = stage.client.get(path, session).await?;
        let Some(first) = listed.get(0) else { return Ok(None) };
        let verifier = text(first, "id")?;
        let path = format!("/v1/marketplace/verifiers/{verifier}");
        let shown = stage.client.get(&path, session).await?;
        let service = shown["offers"][0]["id"].as_str().unwrap_or_default().to_owned();
        Ok(Some(Offer { verifier, service }))
    })
    .await
}

async fn deposit(stage: &Stage, anne: &Person) -> Result<()> {
    let session = Some(&anne.session);
    let body = json!({ "amount": DEPOSIT, "currency": "USD", "provider": "sandbox" });
    let started = stage.client.post("/v1/user/wallet/deposit", session, body).await?;
    let page = text(&started, "authorization_url")?;
    // What a person does by clicking "approve" on the provider's page.
    let request = stage.client.request(Method::POST, &format!("{page}/approve"), None);
    let clicked = request.send().await;
    clicked.map_err(|error| Error::internal("the checkout page failed").because(error))?;
    until("the deposit", async || Ok((wallet(stage, anne).await?.0 == DEPOSIT).then_some(()))).await
}

/// What is available and what is held, in cents.
async fn wallet(stage: &Stage, person: &Person) -> Result<(i64, i64)> {
    let wallets = stage.client.get("/v1/user/wallet", Some(&person.session)).await?;
    let dollars = wallets["currencies"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["currency"] == "USD"));
    let amount = |name: &str| dollars.map_or(0, |one| one[name].as_i64().unwrap_or_default());
    Ok((amount("available"), amount("held")))
}

/// A document of the story.
struct Document {
    file: (&'static str, &'static [u8]),
    title: &'static str,
    kind: &'static str,
    issuer: &'static str,
}

async fn create_credential(stage: &Stage, anne: &Person, document: &Document) -> Result<String> {
    let (name, content) = document.file;
    let file = stage.client.upload(&anne.session, name, content).await?;
    let body = json!({
        "title": document.title, "type": document.kind, "issuer": document.issuer,
        "fileId": text(&file, "id")?,
    });
    let made = stage.client.post("/v1/user/credentials", Some(&anne.session), body).await?;
    text(&made, "id")
}

async fn request(stage: &Stage, anne: &Person, credential: &str, offer: &Offer) -> Result<String> {
    let mut body = json!({
        "credentialId": credential, "verifierId": offer.verifier, "notes": "Please verify",
    });
    if !offer.service.is_empty() {
        body["serviceId"] = offer.service.as_str().into();
    }
    let made = stage.client.post("/v1/user/verifications", Some(&anne.session), body).await?;
    text(&made, "id")
}

/// The verifier's side: accept, look, decide.
async fn judge(stage: &Stage, vera: &Person, job: &str, verdict: &str) -> Result<Json> {
    let session = Some(&vera.session);
    let client = &stage.client;
    let waiting = client.get("/v1/verifier/jobs/available", session).await?;
    expect(waiting.to_string().contains(job), "the job waits", &waiting)?;
    client.post(&format!("/v1/verifier/jobs/{job}/accept"), session, json!({})).await?;
    let detail = client.get(&format!("/v1/verifier/jobs/{job}"), session).await?;
    let file = find_file(&detail)
        .ok_or_else(|| Error::internal(format!("the job shows no document: {detail}")))?;
    let content = client.get_bytes(&format!("/v1/files/{file}/content"), session).await?;
    expect(content.starts_with(b"%PDF"), "the document is the PDF", content.len())?;
    let body = json!({ "verdict": verdict, "comments": "Asked the registry." });
    client.post(&format!("/v1/verifier/jobs/{job}/complete"), session, body).await
}

/// The first file id anywhere in an answer.
fn find_file(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => {
            let id = text.find("file_").map(|at| &text[at..])?;
            Some(id.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
        }
        Json::Array(values) => values.iter().find_map(find_file),
        Json::Object(members) => members.values().find_map(find_file),
        _ => None,
    }
}

async fn share(stage: &Stage, anne: &Person, credential: &str) -> Result<String> {
    let path = format!("/v1/user/credentials/{credential}/share");
    let made = stage.client.post(&path, Some(&anne.session), json!({})).await?;
    let link = text(&made, "shareLink")?;
    let path = link.find("/v1/share/").map_or(link.as_str(), |at| &link[at..]);
    let view = stage.client.get(path, None).await?;
    expect(view["title"] == "Bachelor of Science", "strangers see the credential", &view)?;
    Ok(link)
}

/// Exports, and checks the file with nothing but the issuer's published keys.
async fn export_and_check(
    stage: &Stage,
    anne: &Person,
    credential: &str,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<Pins> {
    let path = format!("/v1/user/credentials/{credential}/signed?format=bundle");
    // The transparency log takes events in batches; the bundle is complete a moment later.
    let bundle = until("the log's proof", async || {
        let bundle = stage.client.get_bytes(&path, Some(&anne.session)).await?;
        let logged = String::from_utf8_lossy(&bundle).contains("\"logProof\"");
        Ok(logged.then_some(bundle))
    })
    .await?;
    write(&stage.export_to, &bundle)?;
    let did = stage.client.get_bytes("/.well-known/did.json", None).await?;
    let log_key = stage.client.get_bytes("/v1/audit/key", None).await?;
    let pins = [did, log_key].map(|key| String::from_utf8_lossy(&key).trim().to_owned());
    let report = commands::judge_file(&bundle, &pins, Some(DIPLOMA), 168)?;
    expect(report.verdict == Verdict::Valid, "the exported file is valid", report.to_string())?;
    let proved = report.checks.iter().filter(|check| check.outcome == Outcome::Proved).count();
    tell(format!("She exported it: {}", stage.export_to.display()));
    tell(format!(
        "verza verify, offline: valid, {proved} of {} checks proved",
        report.checks.len()
    ));
    for check in report.checks.iter().filter(|check| check.outcome != Outcome::Proved) {
        tell(format!("  not checked: {} ({})", check.name.as_str(), check.detail));
    }

    let mut flipped = bundle;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let report = commands::judge_file(&flipped, &pins, None, 168)?;
    expect(report.verdict != Verdict::Valid, "a flipped byte is caught", report.to_string())?;
    tell(format!("One bit of byte {middle} flipped: caught"));
    let [did, log_key] = pins;
    let file = stage.export_to.with_file_name("did.json");
    write(&file, did.as_bytes())?;
    Ok(Pins { did: file, log_key })
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(file, bytes).map_err(|error| {
        let message = format!("Cannot write {}.", file.display());
        Error::unavailable("unwritable_file", message).because(error)
    })
}

/// A rejected document has nothing to export.
async fn refused_export(stage: &Stage, anne: &Person, credential: &str) -> Result<()> {
    let path = format!("/v1/user/credentials/{credential}/signed?format=bundle");
    let export = stage.client.get_bytes(&path, Some(&anne.session)).await;
    expect(export.is_err(), "a rejected document has no credential", credential)
}

/// Anne's own trail, and the proof that its newest event is in the signed log.
async fn show_trail(
    stage: &Stage,
    anne: &Person,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<()> {
    let session = Some(&anne.session);
    let trail = stage.client.get("/v1/audit/logs?limit=100", session).await?;
    let events = trail.as_array().map_or(0, Vec::len);
    let newest = trail.get(0).ok_or_else(|| Error::internal("the trail is empty"))?;
    let (event, action) = (text(newest, "id")?, text(newest, "action")?);
    let path = format!("/v1/audit/proof/inclusion?event={event}");
    let proof = until("the event's proof", async || match stage.client.get(&path, session).await {
        Ok(proof) => Ok(Some(proof)),
        Err(error) if error.message().contains("not_logged_yet") => Ok(None),
        Err(error) => Err(error),
    })
    .await?;
    tell(format!("Anne's audit trail has {events} events; the newest is {action}"));
    let (index, size) = (&proof["index"], &proof["size"]);
    tell(format!("It is leaf {index} of the log's {size}; the proof leads to this checkpoint:"));
    let checkpoint = stage.client.get_bytes("/v1/audit/checkpoint", None).await?;
    for line in String::from_utf8_lossy(&checkpoint).lines() {
        tell(format!("  {line}"));
    }
    Ok(())
}
