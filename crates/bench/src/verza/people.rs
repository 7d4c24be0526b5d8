//! People: registered, confirmed by their mail, signed in. All of it through the API, as clients
//! would do it.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::Verza;
use crate::client::{OwnedAnswer, Template};
use crate::load::Generator;
use crate::{Failure, Result};

/// Everybody's.
pub const PASSWORD: &str = "a long enough pass phrase";
/// Requests at once while people are prepared: they share commits.
const AT_ONCE: usize = 64;
/// Money in each wallet at the beginning, in cents: more than any run can spend.
pub const FUNDS: i64 = 1_000_000_000;
const CURRENCY: &str = "USD";

/// Somebody with a session. All names, addresses and ids are of the same length.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: String,
    pub email: String,
    /// The access token: it lives fifteen minutes, which is longer than a workload takes.
    pub bearer: String,
    /// The cookie header of the same session.
    pub cookie: String,
}

/// Registers `count` people and signs each of them in once.
pub fn join(verza: &Verza, count: usize) -> Result<Vec<Person>> {
    let mut api = Generator::connect(verza.address(), AT_ONCE)?;
    let emails: Vec<String> = (0..count).map(|number| format!("p{number:06}@x.example")).collect();
    let register = emails.iter().map(
        |email| json!({ "name": "Somebody", "email": email, "password": PASSWORD, "role": "user" }),
    );
    let register: Vec<Json> = register.collect();
    post_all(&mut api, "/v1/auth/register", &register, 201)?;
    let tokens = mailed_tokens(verza.ops(), &emails)?;
    let verify: Vec<Json> = tokens.iter().map(|token| json!({ "token": token })).collect();
    post_all(&mut api, "/v1/auth/verify-email", &verify, 200)?;
    sign_in(verza, &emails)
}

/// One more session for each of these addresses.
pub fn sign_in(verza: &Verza, emails: &[String]) -> Result<Vec<Person>> {
    let mut api = Generator::connect(verza.address(), AT_ONCE)?;
    let login = emails.iter().map(|email| json!({ "email": email, "password": PASSWORD }));
    let login: Vec<Json> = login.collect();
    let answers = post_all(&mut api, "/v1/auth/login?cookie=true", &login, 200)?;
    answers.iter().zip(emails).map(|(answer, email)| signed_in(answer, email)).collect()
}

fn signed_in(answer: &OwnedAnswer, email: &str) -> Result<Person> {
    let body = answer.json(200)?;
    let cookie = answer.header("set-cookie").unwrap_or_default();
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    Ok(Person {
        id: text(&body["user"], "id")?,
        email: email.to_owned(),
        bearer: text(&body, "accessToken")?,
        cookie,
    })
}

fn text(value: &Json, field: &str) -> Result<String> {
    let found = value[field].as_str().map(str::to_owned);
    found.ok_or_else(|| Failure::new(format!("no {field} in {value}")))
}

fn post_all(
    api: &mut Generator,
    path: &str,
    bodies: &[Json],
    status: u16,
) -> Result<Vec<OwnedAnswer>> {
    let template = Template::new("POST", api.address()).json();
    let request = |body: &Json| template.request(path, None, body.to_string().as_bytes());
    let requests: Vec<Bytes> = bodies.iter().map(request).collect();
    let answers = api.call_all(&requests)?;
    for answer in &answers {
        answer.json(status)?;
    }
    Ok(answers)
}

/// The token of the one mail that each address got. Mails are written in the background: those
/// that are not there yet are asked for again.
fn mailed_tokens(ops: SocketAddr, emails: &[String]) -> Result<Vec<String>> {
    const PATIENCE: Duration = Duration::from_secs(120);
    let mut sink = Generator::connect(ops, 8)?;
    let template = Template::new("GET", ops);
    let mut tokens = vec![None; emails.len()];
    let begun = Instant::now();
    loop {
        let missing: Vec<usize> = (0..emails.len()).filter(|at| tokens[*at].is_none()).collect();
        if missing.is_empty() {
            return Ok(tokens.into_iter().flatten().collect());
        }
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new(format!("{} mails were never written", missing.len())));
        }
        // They are written in the order of the registrations: who looks too far looks in vain.
        let missing = &missing[..missing.len().min(256)];
        let ask = |at: &usize| template.request(&format!("/mail?to={}", emails[*at]), None, b"");
        let requests: Vec<Bytes> = missing.iter().map(ask).collect();
        let answers = sink.call_all(&requests)?;
        let before = tokens.iter().flatten().count();
        for (at, answer) in missing.iter().zip(&answers) {
            tokens[*at] = token_in(&answer.json(200)?);
        }
        if tokens.iter().flatten().count() == before {
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn token_in(mails: &Json) -> Option<String> {
    let (_, rest) = mails[0]["text"].as_str()?.split_once("token=")?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// Puts [`FUNDS`] into every wallet: the first person deposits through the sandbox provider, and
/// sends everybody else their part.
pub fn fund(verza: &Verza, people: &[Person]) -> Result<()> {
    let Some((rich, others)) = people.split_first() else { return Ok(()) };
    let mut api = Generator::connect(verza.address(), AT_ONCE)?;
    let bank = Template::new("POST", api.address()).bearer(&rich.bearer).json();
    let total = FUNDS * people.len() as i64;
    let deposit = json!({ "amount": total, "currency": CURRENCY, "provider": "sandbox" });
    let deposit = bank.request("/v1/user/wallet/deposit", Some(1), deposit.to_string().as_bytes());
    let started = api.call(&deposit)?.json(201)?;
    let approve = format!("/sandbox/checkout/{}/approve", text(&started, "reference")?);
    let form = Template::new("POST", api.address())
        .header("content-type", "application/x-www-form-urlencoded");
    api.call(&form.request(&approve, None, b""))?;
    await_balance(&mut api, rich, total)?;
    let send = |(number, person): (usize, &Person)| {
        let body = transfer(&person.id, FUNDS);
        bank.request("/v1/user/wallet/transfers", Some(number as u128 + 2), body.as_bytes())
    };
    let sends: Vec<Bytes> = others.iter().enumerate().map(send).collect();
    for answer in api.call_all(&sends)? {
        answer.json(201)?;
    }
    Ok(())
}

/// The body of a transfer.
pub fn transfer(to: &str, amount: i64) -> String {
    format!("{{\"to\":\"{to}\",\"amount\":{amount},\"currency\":\"{CURRENCY}\"}}")
}

fn await_balance(api: &mut Generator, person: &Person, wanted: i64) -> Result<()> {
    const TRIES: u32 = 200;
    for _ in 0..TRIES {
        if balances(api, std::slice::from_ref(person))? == [wanted] {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(Failure::new("the deposit never arrived"))
}

/// What each of these people can spend, in cents.
pub fn balances(api: &mut Generator, people: &[Person]) -> Result<Vec<i64>> {
    let path = format!("/v1/user/wallet/balance?currency={CURRENCY}");
    let address = api.address();
    let ask = |person: &Person| {
        Template::new("GET", address).header("cookie", &person.cookie).request(&path, None, b"")
    };
    let requests: Vec<Bytes> = people.iter().map(ask).collect();
    let answers = api.call_all(&requests)?;
    let amount = |answer: &OwnedAnswer| {
        let body = answer.json(200)?;
        body["available"].as_i64().ok_or_else(|| Failure::new(format!("no balance in {body}")))
    };
    answers.iter().map(amount).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_what_follows_its_name_in_the_mail() {
        let mails = json!([{ "text": "Open:\nhttp://x/verify-email#token=aB-_9\n\nBye" }]);
        assert_eq!(token_in(&mails).as_deref(), Some("aB-_9"));
        assert_eq!(token_in(&json!([])), None);
    }
}
