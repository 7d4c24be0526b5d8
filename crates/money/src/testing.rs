//! What the tests of this context share: users, callers, a context that serves its own sandbox,
//! and random histories that can be played on any engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use kernel::caller::Idempotency;
use kernel::id::kinds::{Hold, Session, Transaction, User};
use kernel::{Asset, Caller, Id, Money, Principal, Result, Role, Secret};
use platform::crypto::sha256;
use platform::db::{Db, Migrations, Read};
use platform::http::{Failure, problem_status};
use platform::jobs::{Registry, Worker};
use platform::testing::Serving;
use serde_json::{Value as Json, json};

use crate::ledger::{self, Account, Code, NewTransaction};
use crate::sim::Sim;
use crate::wallet::NewTransfer;
use crate::{Context, Options, sandbox, sim};

pub(crate) const MIGRATIONS: &[Migrations] = &[platform::MIGRATIONS, crate::MIGRATIONS];

pub(crate) fn ngn(minor: i64) -> Money {
    Money::new(minor, Asset::NGN)
}

pub(crate) fn user(number: u128) -> Id<User> {
    Id::from_uuid(uuid::Uuid::from_u128(number + 1))
}

pub(crate) fn caller(user: Id<User>) -> Caller {
    Caller::of(Principal::new(user, Role::User, user.same_as::<Session>()))
}

/// The caller with an idempotency key, as the edge hands it in for a request of this content.
pub(crate) fn keyed(user: Id<User>, key: &str, content: &str) -> Caller {
    let scope = sha256(format!("{user} {key}"));
    let idempotency = Some(Arc::new(Idempotency::new(scope, sha256(content))));
    Caller { idempotency, ..caller(user) }
}

/// A context without a sandbox, for whom nobody but wallet owners can be paid.
pub(crate) fn context(db: &Db) -> Context {
    let options = Options { transfer_minimum: 1, ..Options::new(db.clone()) };
    Context::new(options).unwrap()
}

/// Puts money into a wallet, as if it had been paid in.
pub(crate) async fn give(db: &Db, to: Id<User>, amount: Money) -> Id<Transaction> {
    let key = format!("gift:{}", db.world().id::<Transaction>());
    let (clearing, wallet) =
        (Account::platform(Code::CLEARING_SANDBOX), Account::of(to, Code::WALLET));
    db.run("gift", |tx| {
        let gift = NewTransaction::new("gift", key.clone(), to).post(clearing, wallet, amount);
        async move { Ok(ledger::post(&tx, gift).await?.id) }
    })
    .await
    .unwrap()
}

pub(crate) async fn balance(db: &Db, owner: Id<User>, code: Code) -> i64 {
    ledger::balance(db, Account::of(owner, code), Asset::NGN).await.unwrap().minor
}

/// Fails unless every invariant of the books holds.
pub(crate) async fn assert_sound(db: &Db) {
    let report = ledger::check(db).await.unwrap();
    assert!(report.is_sound(), "{report:#?}");
}

/// How many rows each table has, and what the balances come to: equal before and after what had
/// no effect.
pub(crate) async fn footprint(db: &Db) -> BTreeMap<&'static str, i64> {
    let mut print = BTreeMap::new();
    for table in [
        "facts",
        "fact_parties",
        "jobs",
        "ledger_account",
        "ledger_balance",
        "ledger_tx",
        "ledger_posting",
        "ledger_entry",
        "ledger_hold",
        "payments",
        "payout_destinations",
        "withdrawals",
        "refunds",
        "provider_events",
    ] {
        let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
        print.insert(table, db.one(&sql, &[], |row| row.take()).await.unwrap());
    }
    for (name, sum) in [
        (
            "balances",
            "SELECT CAST(COALESCE(SUM(debits * 7 + credits + version), 0) AS BIGINT)
                      FROM ledger_balance",
        ),
        (
            "holds",
            "SELECT CAST(COALESCE(SUM(captured * 7 + released + COALESCE(closed_at, 0)), 0)
                   AS BIGINT) FROM ledger_hold",
        ),
        ("versions", "SELECT CAST(COALESCE(SUM(version), 0) AS BIGINT) FROM payments"),
    ] {
        print.insert(name, db.one(sum, &[], |row| row.take()).await.unwrap());
    }
    print
}

/// How many facts of a verb there are.
pub(crate) async fn facts(db: &Db, verb: &str) -> i64 {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM facts WHERE verb = $1";
    db.one(sql, platform::params![verb], |row| row.take()).await.unwrap()
}

/// Something that happens to wallets. Users, holds and transactions are picked by number.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Give { to: usize, minor: i64 },
    Send { from: usize, to: usize, minor: i64 },
    Hold { of: usize, minor: i64 },
    Capture { hold: usize, payee: usize, bps: u16 },
    Release { hold: usize },
    Reverse { gift: usize },
}

/// A run of operations on one store.
pub(crate) struct Play {
    pub db: Db,
    pub context: Context,
    pub users: Vec<Id<User>>,
    pub holds: Vec<Id<Hold>>,
    pub gifts: Vec<Id<Transaction>>,
    subjects: u128,
}

impl Play {
    pub(crate) fn new(db: &Db, users: Vec<Id<User>>) -> Self {
        let (holds, gifts) = (Vec::new(), Vec::new());
        Self { db: db.clone(), context: context(db), users, holds, gifts, subjects: 0 }
    }

    /// Does it; a refusal is an outcome like any other.
    pub(crate) async fn step(&mut self, op: &Op) -> Result<()> {
        let wallet = &self.context.wallet;
        match *op {
            Op::Give { to, minor } => {
                self.gifts.push(give(&self.db, self.users[to], ngn(minor)).await);
                Ok(())
            }
            Op::Send { from, to, minor } => {
                let transfer = NewTransfer { to: self.users[to], amount: ngn(minor) };
                wallet.transfer(&caller(self.users[from]), transfer).await.map(|_| ())
            }
            Op::Hold { of, minor } => {
                self.subjects += 1;
                let subject = &format!("{}/{}", self.users[0], self.subjects);
                let owner = self.users[of];
                let hold = self
                    .db
                    .run("hold", |tx| async move {
                        wallet.hold(&tx, owner, ngn(minor), "job", subject).await
                    })
                    .await?;
                self.holds.push(hold);
                Ok(())
            }
            Op::Capture { hold, payee, bps } => {
                let Some(&hold) = self.holds.get(hold) else { return Ok(()) };
                let payee = self.users[payee];
                let amount = held(&self.db, hold).await;
                self.db
                    .run("capture", |tx| async move {
                        wallet.capture(&tx, hold, payee, amount.share(bps)).await
                    })
                    .await
                    .map(|_| ())
            }
            Op::Release { hold } => {
                let Some(&hold) = self.holds.get(hold) else { return Ok(()) };
                let release = |tx| async move { wallet.release(&tx, hold).await };
                self.db.run("release", release).await.map(|_| ())
            }
            Op::Reverse { gift } => {
                let Some(&gift) = self.gifts.get(gift) else { return Ok(()) };
                let nobody = &Caller::nobody();
                let reverse =
                    |tx| async move { ledger::reverse(&tx, nobody, gift, "a mistake").await };
                self.db.run("reverse", reverse).await.map(|_| ())
            }
        }
    }
}

async fn held(db: &Db, hold: Id<Hold>) -> Money {
    let sql = "SELECT amount, asset FROM ledger_hold WHERE id = $1";
    let read = |row: &platform::db::Row<'_>| Ok(Money::new(row.take()?, row.take()?));
    db.one(sql, platform::params![hold], read).await.unwrap()
}

/// The platform's routes, the sandbox and a simulator of all other providers on a port of their own, with the jobs run by hand.
pub(crate) struct Site {
    pub db: Db,
    pub base: String,
    pub context: Context,
    pub worker: Worker,
    pub sim: Sim,
    client: reqwest::Client,
    serving: Serving,
}

pub(crate) const WEBHOOK_SECRET: &str = "whsec_of_the_tests";

impl Site {
    pub(crate) async fn open(db: &Db) -> Self {
        Self::opened(db, |options| options).await
    }

    /// With other settings than the usual ones.
    pub(crate) async fn opened(db: &Db, change: impl FnOnce(Options) -> Options) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let secret = Secret::new("sk_of_the_tests".to_owned());
        let webhook_secret = Secret::new(WEBHOOK_SECRET.to_owned());
        let sandbox = sandbox::Options::at(&base, secret, webhook_secret);
        let told = sim::Options::at(&base, &base);
        let options = Options {
            sandbox: Some(sandbox),
            transfer_minimum: 1,
            paystack: Some(told.paystack()),
            stripe: Some(told.stripe()),
            paypal: Some(told.paypal()),
            crypto: Some(told.crypto()),
            ..Options::new(db.clone())
        };
        Self::with(db, listener, base, change(options))
    }

    fn with(db: &Db, listener: tokio::net::TcpListener, base: String, options: Options) -> Self {
        let sim = Sim::new(sim::Options::at(&base, &base), db.world().clone()).unwrap();
        let context = Context::new(options).unwrap();
        let mut registry = Registry::default();
        context.jobs(&mut registry);
        let worker = Worker::new(db.clone(), registry);
        let mut router = sim.router();
        if let Some(sandbox) = &context.sandbox {
            router = router.merge(sandbox.router());
        }
        for route in context.routes() {
            router = router.route(route.path, route.handler);
        }
        let router = router.layer(axum::middleware::from_fn(edge));
        let serving = Serving::start(listener, router);
        let client = crate::provider::client().unwrap();
        Self { db: db.clone(), base, context, worker, sim, client, serving }
    }

    /// Nothing answers any more.
    pub(crate) async fn shut(&mut self) {
        self.serving.stop().await;
    }

    pub(crate) async fn get(&self, user: Id<User>, path: &str) -> (StatusCode, Json) {
        let request = self.client.get(format!("{}{path}", self.base));
        self.send(request.header("x-user", user.to_string())).await
    }

    pub(crate) async fn post(
        &self,
        user: Id<User>,
        path: &str,
        key: &str,
        body: Json,
    ) -> (StatusCode, Json) {
        let request = self.client.post(format!("{}{path}", self.base)).json(&body);
        self.send(request.header("x-user", user.to_string()).header("x-key", key)).await
    }

    /// A form of the checkout page, as a browser sends it.
    pub(crate) async fn submit(&self, path: &str, form: &str) -> StatusCode {
        let request = self.client.post(format!("{}{path}", self.base)).body(form.to_owned());
        request.send().await.unwrap().status()
    }

    /// A webhook, as a provider would send it.
    pub(crate) async fn webhook(
        &self,
        path: &str,
        signature: Option<&str>,
        body: &str,
    ) -> StatusCode {
        self.signed(path, signature.map(|it| (sandbox::SIGNATURE_HEADER, it)), body).await
    }

    /// A webhook with a header of any provider's.
    pub(crate) async fn signed(
        &self,
        path: &str,
        signature: Option<(&str, &str)>,
        body: &str,
    ) -> StatusCode {
        let mut request = self.client.post(format!("{}{path}", self.base)).body(body.to_owned());
        if let Some((header, signature)) = signature {
            request = request.header(header, signature);
        }
        request.send().await.unwrap().status()
    }

    /// A webhook with all the headers of a provider that sends several.
    pub(crate) async fn told(
        &self,
        path: &str,
        headers: &[(&'static str, String)],
        body: &str,
    ) -> StatusCode {
        let mut request = self.client.post(format!("{}{path}", self.base)).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request.send().await.unwrap().status()
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (StatusCode, Json) {
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(json!(text)))
    }
}

/// What the gateway does, as far as these tests need it: says who calls, and shows errors.
async fn edge(mut request: Request, next: Next) -> Response {
    let caller = caller_of(request.headers());
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    match response.extensions_mut().remove() {
        Some(Failure(error)) => {
            let shown = json!({ "code": error.code(), "fields": error.fields() });
            (problem_status(&error), axum::Json(shown)).into_response()
        }
        None => response,
    }
}

fn caller_of(headers: &HeaderMap) -> Caller {
    let text = |name: &str| Some(headers.get(name)?.to_str().unwrap().to_owned());
    match (text("x-user").map(|user| user.parse().unwrap()), text("x-key")) {
        (Some(user), Some(key)) => keyed(user, &key, ""),
        (Some(user), None) => caller(user),
        (None, _) => Caller::nobody(),
    }
}
