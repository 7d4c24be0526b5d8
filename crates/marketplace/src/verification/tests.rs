//! Verifications with the real money, documents and trust beneath them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use documents::credential::Status as CredentialStatus;
use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use kernel::id::kinds;
use kernel::{Asset, Caller, Error, Id, Kind, Money, PageRequest, Random, Result, Role};
use money::ledger::{self, Account, Code, NewTransaction};
use platform::db::{Db, Read, Tx};
use platform::jobs::{Registry, Worker};
use platform::journal;
use platform::testing::{SeededRandom, TestDb};
use serde_json::{Value as Json, json};

use super::model::{Command, NewVerification, Report, State, Text, Verdict, Verification};
use super::rules::{self, Relation};
use crate::testing::{Client, People, id_of, with_key};
use crate::verifier::model::{NewOffer, ProfileDraft, Status};
use crate::{Marketplace, Options};

pub(crate) const MIGRATIONS: &[platform::db::Migrations] = &[
    platform::MIGRATIONS,
    money::MIGRATIONS,
    trust::MIGRATIONS,
    documents::MIGRATIONS,
    crate::MIGRATIONS,
];

/// What the owner starts with, in cents.
pub(crate) const FUNDS: i64 = 50_000;
/// The price of the one service, and what 2.5 % of it is, rounded down.
pub(crate) const PRICE: i64 = 10_001;
pub(crate) const FEE: i64 = 250;
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A marketplace with an owner who has money and a credential, and a verifier who has a service.
pub(crate) struct Stage<'a> {
    pub(crate) t: &'a TestDb,
    pub(crate) people: Arc<People>,
    pub(crate) market: Marketplace,
    pub(crate) wallets: money::wallet::Service,
    pub(crate) money: money::Context,
    pub(crate) documents: documents::Documents,
    pub(crate) owner: Caller,
    pub(crate) verifier: Caller,
    pub(crate) admin: Caller,
    pub(crate) stranger: Caller,
    pub(crate) rival: Caller,
}

/// What the parties of a verification do by themselves, and the timer with what nobody does. The
/// rest follows from disputes and revocations, and is tested with them.
fn first_commands() -> Vec<Command> {
    let later = [
        Command::Release,
        Command::Lapse,
        Command::Dispute,
        Command::Uphold,
        Command::Overturn,
        Command::Revoke,
    ];
    Command::ALL.into_iter().filter(|command| !later.contains(command)).collect()
}

pub(crate) fn diplomas(minor: i64) -> NewOffer {
    NewOffer {
        id: None,
        title: "Diplomas".to_owned(),
        category: "education".to_owned(),
        price: Money::new(minor, Asset::USD),
        sla_hours: 48,
        expedited: None,
        active: true,
    }
}

pub(crate) async fn stage(t: &TestDb) -> Stage<'_> {
    stage_with(t, crate::Bonding::default()).await
}

/// The services of one process.
struct Process {
    market: Marketplace,
    money: money::Context,
    documents: documents::Documents,
}

async fn process(t: &TestDb, db: &Db, people: &Arc<People>, bonding: crate::Bonding) -> Process {
    let money = money::Context::new(money::Options::new(db.clone())).unwrap();
    let trust = crate::testing::trust(db).await;
    let documents = crate::testing::documents(t, db, &trust);
    let market = Marketplace::new(Options {
        db: db.clone(),
        users: people.clone(),
        wallets: money.wallet.clone(),
        credentials: documents.credentials.clone(),
        files: documents.files.clone(),
        issuance: trust.issuance,
        bonds: money.staking.clone(),
        billing: money.billing.clone(),
        bonding,
        fee_bps: Options::FEE_BPS.into(),
        acceptance_sla: Options::ACCEPTANCE_SLA.into(),
        claim_lease: Options::CLAIM_LEASE,
        appeal_window: Options::APPEAL_WINDOW,
        currency: Options::CURRENCY,
    });
    Process { market, money, documents }
}

pub(crate) async fn stage_with(t: &TestDb, bonding: crate::Bonding) -> Stage<'_> {
    let people = Arc::new(People::default());
    let Process { market, money, documents } = process(t, &t.db, &people, bonding).await;
    let add = |name, role| people.add(t, name, role);
    let stage = Stage {
        owner: add("Ada", Role::User),
        verifier: add("Global Verify", Role::Verifier),
        admin: add("Root", Role::Admin),
        stranger: add("Eve", Role::User),
        rival: add("Rival", Role::Verifier),
        t,
        people,
        market,
        wallets: money.wallet.clone(),
        money,
        documents,
    };
    stage.fund(&stage.owner, FUNDS).await;
    let verifiers = &stage.market.verifiers;
    verifiers.replace_offers(&stage.verifier, &[diplomas(PRICE)]).await.unwrap();
    stage
}

/// Everything that a refused command must leave as it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) verification: Verification,
    balances: BTreeMap<&'static str, i64>,
    pub(crate) credential: (CredentialStatus, i64),
    pub(crate) verifier_reads: bool,
    facts: i64,
    notes: i64,
}

impl Stage<'_> {
    /// The same people before another process on the same store: the one that was there has died.
    pub(crate) async fn restarted(&self) -> Self {
        let (db, bonding) = (self.t.replica(), crate::Bonding::default());
        let Process { market, money, documents } =
            process(self.t, &db, &self.people, bonding).await;
        Self {
            people: self.people.clone(),
            owner: self.owner.clone(),
            verifier: self.verifier.clone(),
            admin: self.admin.clone(),
            stranger: self.stranger.clone(),
            rival: self.rival.clone(),
            wallets: money.wallet.clone(),
            t: self.t,
            market,
            money,
            documents,
        }
    }

    /// Ends a process that was [`Self::restarted`].
    pub(crate) async fn stopped(self) {
        if self.t.is_postgres() {
            self.market.verifications.db.close().await;
        }
    }

    pub(crate) async fn fund(&self, caller: &Caller, minor: i64) {
        let (owner, amount) = (id_of(caller), Money::new(minor, Asset::USD));
        let fund = |tx: Tx| async move {
            let key = format!("dep:{}:settle", tx.world().id::<kinds::Payment>());
            let (clearing, wallet) =
                (Account::platform(Code::CLEARING_SANDBOX), Account::of(owner, Code::WALLET));
            let deposit = NewTransaction::new("deposit", key, owner);
            ledger::post(&tx, deposit.post(clearing, wallet, amount)).await?;
            Ok(())
        };
        self.t.db.run("test.fund", fund).await.unwrap();
    }

    pub(crate) async fn credential(&self, caller: &Caller) -> Id<kinds::Credential> {
        let body = json!({ "title": "Diploma", "type": "Education", "issuer": "University X" });
        let client = Client::over(self.documents.routes());
        let made = client.ok(caller, "POST /v1/user/credentials", body).await;
        made["id"].as_str().unwrap().parse().unwrap()
    }

    fn asked(&self, credential: Id<kinds::Credential>) -> NewVerification {
        let verifier = id_of(&self.verifier).same_as();
        let notes = Text::any("/notes", "As soon as you can.").unwrap();
        NewVerification { credential, verifier, service: None, expedited: false, seen: None, notes }
    }

    pub(crate) async fn requested(&self) -> Verification {
        let credential = self.credential(&self.owner).await;
        self.market.verifications.request(&self.owner, &self.asked(credential)).await.unwrap()
    }

    pub(crate) async fn accepted(&self) -> Verification {
        let requested = self.requested().await;
        self.market.verifications.accept(&self.verifier, requested.id).await.unwrap()
    }

    fn report(verdict: Verdict) -> Report {
        Report::parse(verdict, Some("All checks passed."), None, None).unwrap()
    }

    /// Gives a command as somebody.
    pub(crate) async fn give(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
        command: Command,
    ) -> Result<Verification> {
        let verifications = &self.market.verifications;
        let text = &Text::some("", "Words.").unwrap();
        match command {
            Command::Accept => verifications.accept(caller, id).await,
            Command::Decline => verifications.decline(caller, id).await,
            Command::Start => verifications.start(caller, id).await,
            Command::RequestInfo => verifications.request_info(caller, id, text).await,
            Command::ProvideInfo => verifications.provide_info(caller, id, text).await,
            Command::Note => verifications.note(caller, id, text).await,
            Command::Verify => {
                verifications.complete(caller, id, &Self::report(Verdict::Verified)).await
            }
            Command::Reject => {
                verifications.complete(caller, id, &Self::report(Verdict::Rejected)).await
            }
            Command::Cancel => verifications.cancel(caller, id).await,
            Command::ForceCancel => verifications.force_cancel(caller, id, text).await,
            Command::Expire => {
                verifications.expire_due().await?;
                Ok(verifications.find(id).await?.0)
            }
            Command::Release => verifications.release(caller, id).await,
            Command::Lapse
            | Command::Dispute
            | Command::Uphold
            | Command::Overturn
            | Command::Revoke => {
                panic!("{command:?} is not given, it follows")
            }
        }
    }

    pub(crate) async fn balances(&self) -> BTreeMap<&'static str, i64> {
        let (owner, verifier) = (id_of(&self.owner), id_of(&self.verifier));
        let accounts = [
            ("wallet", Account::of(owner, Code::WALLET)),
            ("held", Account::of(owner, Code::HELD)),
            ("earned", Account::of(verifier, Code::EARN_PENDING)),
            ("fees", Account::platform(Code::FEE_JOB)),
        ];
        let mut balances = BTreeMap::new();
        for (name, account) in accounts {
            let balance = ledger::balance(&self.t.db, account, Asset::USD).await.unwrap();
            balances.insert(name, balance.minor);
        }
        balances
    }

    pub(crate) async fn has(&self, wallet: i64, held: i64, earned: i64, fees: i64) {
        let expected = [("wallet", wallet), ("held", held), ("earned", earned), ("fees", fees)];
        assert_eq!(self.balances().await, BTreeMap::from(expected));
        let report = ledger::check(&self.t.db).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
        let trial = ledger::trial_balance(&self.t.db).await.unwrap();
        let sum: i64 = trial.iter().map(|line| line.debits - line.credits).sum();
        assert_eq!(sum, 0);
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT CAST(count(*) AS BIGINT) FROM {table}");
        self.t.db.one(&sql, &[], |row| row.take()).await.unwrap()
    }

    pub(crate) async fn picture(&self, id: Id<kinds::Verification>) -> Picture {
        let (verification, _) = self.market.verifications.find(id).await.unwrap();
        let credentials = &self.documents.credentials;
        let credential = credentials.find(verification.credential).await.unwrap();
        let reader = id_of(&self.verifier);
        let read = credentials.get(&self.t.db, reader, verification.credential).await;
        Picture {
            balances: self.balances().await,
            credential: (credential.status, credential.version),
            verifier_reads: read.is_ok(),
            facts: self.count("facts").await,
            notes: self.count("verification_notes").await,
            verification,
        }
    }

    /// The verbs of the verification's own facts, oldest first.
    pub(crate) async fn told(&self, id: Id<kinds::Verification>) -> Vec<String> {
        let (subject, page) = (id.to_string(), PageRequest::first(100));
        let facts = journal::of_subject(&self.t.db, &subject, &[], &page).await.unwrap();
        facts.items.into_iter().map(|fact| fact.verb).collect()
    }
}

pub(crate) fn refused_with(outcome: Result<Verification>) -> Error {
    outcome.expect_err("the command is refused")
}

platform::on_both_engines! { MIGRATIONS;
    async fn a_verified_credential_is_paid_for_signed_and_told_of(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        let credential = stage.credential(&stage.owner).await;
        let verifier: Id<kinds::Verifier> = id_of(&stage.verifier).same_as();
        let body = json!({ "credentialId": credential, "verifierId": verifier,
            "notes": "Please verify ASAP" });
        let made = client.ok(&stage.owner, "POST /v1/user/verifications", body).await;
        assert_eq!(made["status"], "pending");
        assert_eq!((&made["price"], &made["display"]), (&json!(PRICE), &json!("$100.01")));
        assert_eq!(made["verifierName"], "Global Verify");
        stage.has(FUNDS - PRICE, PRICE, 0, 0).await;
        let id = made["id"].as_str().unwrap();
        let job = format!("/v1/verifier/jobs/{id}");

        let waiting = client.get(&stage.verifier, "/v1/verifier/jobs/available").await;
        assert_eq!(waiting[0]["id"], id);
        let before = client.get(&stage.verifier, &job).await;
        assert_eq!((&before["credential"], &before["ownerName"]), (&Json::Null, &Json::Null));

        client.ok(&stage.verifier, &format!("POST {job}/accept"), Json::Null).await;
        let during = client.get(&stage.verifier, &job).await;
        assert_eq!(during["credential"]["issuer"], "University X");
        assert_eq!(during["ownerName"], "Ada");
        let status = json!({ "status": "in_progress" });
        client.ok(&stage.verifier, &format!("PUT {job}/status"), status).await;
        let note = json!({ "note": "Called." });
        client.ok(&stage.verifier, &format!("POST {job}/notes"), note).await;
        let active = client.get(&stage.verifier, "/v1/verifier/jobs/active").await;
        assert_eq!((&active[0]["id"], &active[0]["status"]), (&json!(id), &json!("in_review")));

        let verdict = json!({ "verdict": "verified", "reportUrl": "https://example.org/report",
            "comments": "All checks passed." });
        let done = client.ok(&stage.verifier, &format!("POST {job}/complete"), verdict).await;
        assert_eq!((&done["status"], &done["fee"]), (&json!("verified"), &json!(FEE)));
        stage.has(FUNDS - PRICE, 0, PRICE - FEE, FEE).await;

        let path = format!("/v1/user/verifications/{id}");
        let seen = client.get(&stage.owner, &path).await;
        assert_eq!(seen["comments"], "All checks passed.");
        let owned = stage.documents.credentials.owned(&t.db, id_of(&stage.owner), credential);
        let owned = owned.await.unwrap();
        assert_eq!(owned.status, CredentialStatus::Verified);
        assert_eq!(json!(owned.issued), seen["issuedId"]);
        let after = client.get(&stage.verifier, &job).await;
        assert_eq!(after["credential"], Json::Null);
        assert_eq!(after["workNotes"][0]["note"], "Called.");

        let events = client.get(&stage.owner, &format!("{path}/events")).await;
        let told: Vec<_> = events.as_array().unwrap().iter().map(|e| e["type"].clone()).collect();
        assert_eq!(told, ["verification.requested", "verification.accepted",
            "verification.started", "verification.verified"]);
        assert_eq!(events[3]["data"]["fee"], FEE);
        assert_eq!(events[1]["actorRole"], "verifier");

        let board = client.get(&stage.verifier, "/v1/verifier/dashboard").await;
        assert_eq!((&board["completedJobs"], &board["earnings"]), (&json!(1), &json!(97.51)));
        let shown = format!("/v1/marketplace/verifiers/{verifier}");
        let shown = client.get(&stage.owner, &shown).await;
        assert_eq!((&shown["jobsDone"], &shown["priceRange"]), (&json!(1), &json!("$100.01")));
    }

    async fn a_rejected_credential_is_paid_for_as_well_and_nothing_is_signed(t: &TestDb) {
        let stage = stage(t).await;
        let accepted = stage.accepted().await;
        let rejected = stage.give(&stage.verifier, accepted.id, Command::Reject).await.unwrap();
        assert_eq!((rejected.state, rejected.issued), (State::Rejected, None));
        stage.has(FUNDS - PRICE, 0, PRICE - FEE, FEE).await;
        let picture = stage.picture(accepted.id).await;
        assert_eq!(picture.credential.0, CredentialStatus::Rejected);
        assert!(!picture.verifier_reads);
        let told = stage.told(accepted.id).await;
        assert_eq!(told.last().unwrap(), "verification.rejected");
        let sql = "SELECT CAST(count(*) AS BIGINT) FROM facts WHERE verb = 'credential.issued'";
        assert_eq!(t.db.one(sql, &[], |row| row.take::<i64>()).await.unwrap(), 0);
    }

    async fn a_report_is_a_file_of_the_verifier_s_own(t: &TestDb) {
        let stage = stage(t).await;
        let id = stage.accepted().await.id;
        let before = stage.picture(id).await;
        let file = Some(t.db.world().id());
        let report = Report::parse(Verdict::Verified, None, None, file).unwrap();
        let verdict = stage.market.verifications.complete(&stage.verifier, id, &report).await;
        assert_eq!(refused_with(verdict).fields()[0].pointer, "/reportFileId");
        assert_eq!(stage.picture(id).await, before);
    }

    async fn of_many_clicks_on_accept_exactly_one_wins(t: &TestDb) {
        let stage = stage(t).await;
        // With all connections open, the clicks meet each other instead of coming one by one.
        join_all((0..50).map(|_| t.db.ping())).await;
        for _ in 0..4 {
            let id = stage.requested().await.id;
            let clicks = (0..25).map(|_| stage.give(&stage.verifier, id, Command::Accept));
            let outcomes = join_all(clicks).await;
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
            for error in outcomes.into_iter().filter_map(Result::err) {
                assert_eq!((error.kind(), error.code()), (Kind::Conflict, "wrong_state"));
                assert!(error.message().contains("in_review"), "{error}");
            }
            assert_eq!(stage.told(id).await, ["verification.requested", "verification.accepted"]);
        }
    }

    async fn the_same_key_twice_is_one_request_and_one_verdict(t: &TestDb) {
        let stage = stage(t).await;
        let asked = stage.asked(stage.credential(&stage.owner).await);
        let (first, again) = (with_key(&stage.owner, 1), with_key(&stage.owner, 1));
        let request = |caller| stage.market.verifications.request(caller, &asked);
        let made = request(&first).await.unwrap();
        assert_eq!(request(&again).await.unwrap(), made);
        assert!(again.idempotency.as_ref().unwrap().is_replayed());
        stage.has(FUNDS - PRICE, PRICE, 0, 0).await;

        stage.give(&stage.verifier, made.id, Command::Accept).await.unwrap();
        let caller = with_key(&stage.verifier, 2);
        let verdict = stage.give(&caller, made.id, Command::Verify).await.unwrap();
        let facts = stage.count("facts").await;
        assert_eq!(stage.give(&caller, made.id, Command::Verify).await.unwrap(), verdict);
        assert_eq!(stage.count("facts").await, facts);
        stage.has(FUNDS - PRICE, 0, PRICE - FEE, FEE).await;
        // The first reply stands, whatever has become of the verification.
        assert_eq!(request(&first).await.unwrap().state, State::Pending);
    }

    async fn every_end_without_a_verdict_gives_back_exactly_what_was_held(t: &TestDb) {
        let stage = stage(t).await;
        let ends: [(&[Command], Command, State); 6] = [
            (&[], Command::Cancel, State::Cancelled),
            (&[], Command::Decline, State::Declined),
            (&[], Command::ForceCancel, State::ForceCancelled),
            (&[], Command::Expire, State::Expired),
            (&[Command::Accept], Command::ForceCancel, State::ForceCancelled),
            (&[Command::Accept, Command::RequestInfo], Command::Expire, State::Expired),
        ];
        for (before, end, state) in ends {
            let id = stage.requested().await.id;
            stage.has(FUNDS - PRICE, PRICE, 0, 0).await;
            for command in before {
                stage.give(&stage.verifier, id, *command).await.unwrap();
            }
            let caller = match end {
                Command::Cancel => &stage.owner,
                Command::Decline => &stage.verifier,
                _ => &stage.admin,
            };
            t.clock.advance(8 * DAY);
            assert_eq!(stage.give(caller, id, end).await.unwrap().state, state);
            stage.has(FUNDS, 0, 0, 0).await;
            let picture = stage.picture(id).await;
            assert_eq!(picture.credential.0, CredentialStatus::Draft, "{end:?}");
            assert!(!picture.verifier_reads, "{end:?}");
            assert_eq!(stage.told(id).await.last().unwrap(), end.fact());
        }
        let sql = "SELECT data FROM facts WHERE verb = 'verification.force_cancelled'";
        let told: String = t.db.one(sql, &[], |row| row.take()).await.unwrap();
        let told: Json = serde_json::from_str(&told).unwrap();
        // Words of a person stay with the verification; facts are for good.
        assert_eq!((told.get("reason"), &told["refunded"]), (None, &json!(PRICE)));
    }

    async fn a_request_that_cannot_be_paid_leaves_nothing(t: &TestDb) {
        let stage = stage(t).await;
        let poor = stage.people.add(t, "Poor", Role::User);
        stage.fund(&poor, PRICE - 1).await;
        let credential = stage.credential(&poor).await;
        let facts = stage.count("facts").await;
        let request = stage.market.verifications.request(&poor, &stage.asked(credential)).await;
        let error = refused_with(request);
        assert_eq!((error.kind(), error.code()), (Kind::Conflict, "insufficient_funds"));
        assert_eq!((stage.count("verifications").await, stage.count("facts").await), (0, facts));
        let kept = stage.documents.credentials.find(credential).await.unwrap();
        assert_eq!(kept.status, CredentialStatus::Draft);
        assert!(ledger::check(&t.db).await.unwrap().is_sound());
    }

    async fn a_request_names_what_does_not_fit(t: &TestDb) {
        let stage = stage(t).await;
        let credential = stage.credential(&stage.owner).await;
        let asked = stage.asked(credential);
        let nobody = NewVerification { verifier: id_of(&stage.rival).same_as(), ..asked.clone() };
        let myself = NewVerification { verifier: id_of(&stage.owner).same_as(), ..asked.clone() };
        let service = Some(t.db.world().id());
        let no_service = NewVerification { service, ..asked.clone() };
        for (wrong, pointer) in
            [(&nobody, "/verifierId"), (&myself, "/verifierId"), (&no_service, "/serviceId")]
        {
            let request = stage.market.verifications.request(&stage.owner, wrong).await;
            assert_eq!(refused_with(request).fields()[0].pointer, pointer);
        }
        let foreign = stage.market.verifications.request(&stage.stranger, &asked).await;
        assert_eq!(refused_with(foreign).kind(), Kind::NotFound);

        let hide = |status| ProfileDraft { status: Some(status), ..ProfileDraft::default() };
        for (status, is_open) in [(Status::Hidden, false), (Status::Listed, true)] {
            let profile = hide(status).parse().unwrap();
            stage.market.verifiers.replace_profile(&stage.verifier, &profile).await.unwrap();
            let request = stage.market.verifications.request(&stage.owner, &asked).await;
            assert_eq!(request.is_ok(), is_open, "{status:?}");
        }
        let twice = stage.market.verifications.request(&stage.owner, &asked).await;
        assert_eq!(refused_with(twice).code(), "wrong_state");
        stage.has(FUNDS - PRICE, PRICE, 0, 0).await;
    }

    async fn a_price_that_was_seen_is_the_price_or_nothing_is_done(t: &TestDb) {
        let stage = stage(t).await;
        let (owner, client) = (&stage.owner, Client::over(stage.market.routes()));
        let credential = stage.credential(owner).await;
        let verifier: Id<kinds::Verifier> = id_of(&stage.verifier).same_as();
        let body = |price: Json, currency: Json| {
            json!({ "credentialId": credential, "verifierId": verifier, "price": price,
                "currency": currency })
        };
        let request = "POST /v1/user/verifications";
        for (price, currency, pointer) in [
            (json!(PRICE), Json::Null, "/currency"),
            (Json::Null, json!("USD"), "/price"),
            (json!(0), json!("USD"), "/price"),
        ] {
            let (status, refused, _) = client.send(owner, request, body(price, currency)).await;
            assert_eq!((status, &refused["fields"]), (422, &json!([pointer])));
        }
        // The verifier raises the price between the look and the request.
        let raised = diplomas(PRICE + 1);
        stage.market.verifiers.replace_offers(&stage.verifier, &[raised]).await.unwrap();
        for (price, currency) in [(PRICE, "USD"), (PRICE + 2, "USD"), (PRICE + 1, "EUR")] {
            let seen = body(json!(price), json!(currency));
            let (status, refused, _) = client.send(owner, request, seen).await;
            assert_eq!((status, &refused["code"]), (409, &json!("price_changed")), "{refused}");
            assert_eq!(refused["members"], json!({ "price": PRICE + 1, "currency": "USD" }));
        }
        stage.has(FUNDS, 0, 0, 0).await;
        client.ok(owner, request, body(json!(PRICE + 1), json!("USD"))).await;
        stage.has(FUNDS - PRICE - 1, PRICE + 1, 0, 0).await;
    }

    async fn of_two_requests_at_once_for_one_credential_one_is_made(t: &TestDb) {
        let stage = stage(t).await;
        let asked = &stage.asked(stage.credential(&stage.owner).await);
        let request = || stage.market.verifications.request(&stage.owner, asked);
        let outcomes = join_all((0..8).map(|_| request())).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let others = outcomes.into_iter().filter_map(Result::err);
        assert!(others.into_iter().all(|error| error.kind() == Kind::Conflict));
        stage.has(FUNDS - PRICE, PRICE, 0, 0).await;
    }

    async fn nobody_else_can_tell_that_it_exists(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        let id = stage.accepted().await.id;
        let before = stage.picture(id).await;
        for caller in [&stage.stranger, &stage.rival] {
            for command in first_commands().into_iter().filter(|c| *c != Command::Expire) {
                let error = refused_with(stage.give(caller, id, command).await);
                assert_eq!(error.kind(), Kind::NotFound, "{command:?}");
            }
            for path in ["/v1/user/verifications/{id}", "/v1/user/verifications/{id}/events",
                "/v1/verifier/jobs/{id}"]
            {
                let request = format!("GET {}", path.replace("{id}", &id.to_string()));
                assert_eq!(client.send(caller, &request, Json::Null).await.0, 404, "{request}");
            }
        }
        // Each side has its own view, and only that.
        let as_job = format!("GET /v1/verifier/jobs/{id}");
        assert_eq!(client.send(&stage.owner, &as_job, Json::Null).await.0, 404);
        let as_request = format!("GET /v1/user/verifications/{id}");
        assert_eq!(client.send(&stage.verifier, &as_request, Json::Null).await.0, 404);
        assert_eq!(stage.picture(id).await, before);
    }

    /// Random actors give random commands; the rules alone say what comes of it, and a refused
    /// command leaves no trace. Whatever happens, the owner's money is in the owner's wallet, in
    /// the one hold, or paid out once.
    async fn no_random_walk_leaves_the_rules_or_loses_money(t: &TestDb) {
        let stage = stage(t).await;
        let dice = SeededRandom::new(20_260_101);
        let roll = |sides: usize| {
            let mut bytes = [0; 8];
            dice.fill(&mut bytes);
            usize::try_from(u64::from_le_bytes(bytes) % sides as u64).unwrap()
        };
        let mut reached = BTreeMap::new();
        let commands = first_commands();
        for _ in 0..16 {
            stage.fund(&stage.owner, FUNDS).await;
            let start = stage.balances().await;
            let id = stage.requested().await.id;
            for _ in 0..24 {
                let command = commands[roll(commands.len())];
                let anybody =
                    [&stage.owner, &stage.verifier, &stage.admin, &stage.stranger, &stage.rival];
                // Half of the commands come from where they may come from, so that walks get far.
                let caller = match command {
                    _ if roll(2) == 0 => anybody[roll(anybody.len())],
                    Command::Cancel | Command::ProvideInfo => &stage.owner,
                    Command::ForceCancel => &stage.admin,
                    _ => &stage.verifier,
                };
                t.clock.advance(Duration::from_secs(roll(40_000) as u64));
                stage.take_one(caller, id, command).await;
                stage.money_is_where_it_belongs(id, &start).await;
            }
            let state = stage.picture(id).await.verification.state;
            *reached.entry(state.as_str()).or_insert(0) += 1;
            if state.is_open() {
                stage.give(&stage.admin, id, Command::ForceCancel).await.unwrap();
            }
        }
        assert!(ledger::check(&t.db).await.unwrap().is_sound());
        assert!(reached.len() >= 5, "the walk is too timid: {reached:?}");
    }

    async fn of_all_ways_to_end_at_once_one_happens(t: &TestDb) {
        let stage = stage(t).await;
        for round in 0..6 {
            stage.fund(&stage.owner, FUNDS).await;
            let start = stage.balances().await;
            let id = stage.accepted().await.id;
            t.clock.advance(3 * DAY);
            let (verify, reject) = (Command::Verify, Command::Reject);
            let ends = join_all([
                stage.give(&stage.verifier, id, if round % 2 == 0 { verify } else { reject }),
                stage.give(&stage.verifier, id, reject),
                stage.give(&stage.admin, id, Command::ForceCancel),
            ]);
            let (ends, expired) = join(ends, stage.market.verifications.expire_due()).await;
            let won = ends.iter().filter(|end| end.is_ok()).count() as u64 + expired.unwrap();
            assert_eq!(won, 1);
            stage.money_is_where_it_belongs(id, &start).await;
        }
        assert!(ledger::check(&t.db).await.unwrap().is_sound());
    }

    async fn two_workers_expire_each_overdue_verification_once(t: &TestDb) {
        let stage = stage(t).await;
        let waiting = stage.requested().await;
        let taken = stage.accepted().await;
        let mut workers = Vec::new();
        for _ in 0..2 {
            let mut registry = Registry::default();
            stage.market.jobs(&mut registry);
            workers.push(Worker::new(t.db.clone(), registry));
        }
        join_all(workers.iter().map(Worker::drain)).await;
        assert_eq!(stage.balances().await["held"], 2 * PRICE);

        // The service's 48 hours are over; the week for an answer is not.
        t.clock.advance(2 * DAY);
        let verifications = &stage.market.verifications;
        let (one, other) = join(verifications.expire_due(), verifications.expire_due()).await;
        assert_eq!(one.unwrap() + other.unwrap(), 1);
        assert_eq!(stage.picture(taken.id).await.verification.state, State::Expired);
        assert_eq!(stage.picture(waiting.id).await.verification.state, State::Pending);

        t.clock.advance(5 * DAY);
        join_all(workers.iter().map(Worker::drain)).await;
        assert_eq!(stage.picture(waiting.id).await.verification.state, State::Expired);
        for id in [waiting.id, taken.id] {
            let told = stage.told(id).await;
            assert_eq!(told.iter().filter(|verb| *verb == Command::Expire.fact()).count(), 1);
        }
        stage.has(FUNDS, 0, 0, 0).await;
    }

    async fn an_answer_gives_the_verifier_their_time_anew_and_a_question_does_not(t: &TestDb) {
        let stage = stage(t).await;
        let accepted = stage.accepted().await;
        let due = accepted.due_at;
        t.clock.advance(DAY);
        let asked = stage.give(&stage.verifier, accepted.id, Command::RequestInfo).await.unwrap();
        assert_eq!((asked.state, asked.due_at), (State::NeedsInfo, due));
        let given = stage.give(&stage.owner, accepted.id, Command::ProvideInfo).await.unwrap();
        assert_eq!((given.state, given.due_at), (State::InReview, due + DAY));
        assert_eq!(given.info_asked.as_deref(), Some("Words."));
        assert_eq!(given.info_given.as_deref(), Some("Words."));
    }

    async fn starting_twice_is_starting_once(t: &TestDb) {
        let stage = stage(t).await;
        let id = stage.accepted().await.id;
        let first = stage.give(&stage.verifier, id, Command::Start).await.unwrap();
        t.clock.advance(DAY);
        assert_eq!(stage.give(&stage.verifier, id, Command::Start).await.unwrap(), first);
        assert_eq!(stage.told(id).await.len(), 3);
    }

    async fn the_price_is_the_one_of_the_day_it_was_asked_for(t: &TestDb) {
        let stage = stage(t).await;
        let accepted = stage.accepted().await;
        let dearer = [diplomas(40_000)];
        stage.market.verifiers.replace_offers(&stage.verifier, &dearer).await.unwrap();
        stage.give(&stage.verifier, accepted.id, Command::Verify).await.unwrap();
        stage.has(FUNDS - PRICE, 0, PRICE - FEE, FEE).await;
    }

    async fn lists_are_narrowed_paged_and_kept_apart(t: &TestDb) {
        let stage = stage(t).await;
        stage.fund(&stage.owner, FUNDS).await;
        let client = Client::over(stage.market.routes());
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(stage.requested().await.id);
        }
        stage.give(&stage.owner, ids[1], Command::Cancel).await.unwrap();
        stage.give(&stage.verifier, ids[2], Command::Accept).await.unwrap();
        let listed = |caller: &Caller, request: &str| {
            let (client, caller) = (&client, caller.clone());
            let mut request = Some(format!("GET {request}"));
            async move {
                let mut found = Vec::new();
                while let Some(now) = request {
                    let (status, body, link) = client.send(&caller, &now, Json::Null).await;
                    assert_eq!(status, 200, "{now} {body}");
                    let rows = body.as_array().unwrap();
                    found.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
                    request = link.map(|link| format!("GET {link}"));
                }
                found
            }
        };
        let newest = |places: &[usize]| {
            places.iter().map(|n| ids[*n].to_string()).collect::<Vec<_>>()
        };
        let (owner, verifier, admin) = (&stage.owner, &stage.verifier, &stage.admin);
        let available = "/v1/verifier/jobs/available";
        for (caller, request, places) in [
            (owner, "/v1/user/verifications?limit=2", &[4, 3, 2, 1, 0][..]),
            (owner, "/v1/user/verifications?status=cancelled", &[1]),
            (owner, "/v1/user/verifications?limit=2&page=2", &[2, 1, 0]),
            (&stage.stranger, "/v1/user/verifications", &[]),
            (verifier, available, &[4, 3, 0]),
            (verifier, &format!("{available}?type=EDUCATION&urgency=normal&limit=1"), &[4, 3, 0]),
            (verifier, &format!("{available}?type=Health"), &[]),
            (verifier, &format!("{available}?urgency=high"), &[]),
            (&stage.rival, available, &[]),
            (verifier, "/v1/verifier/jobs/active", &[2]),
            (admin, "/v1/admin/verifications?limit=3", &[4, 3, 2, 1, 0]),
            (admin, "/v1/admin/verifications?status=in_review", &[2]),
        ] {
            assert_eq!(listed(caller, request).await, newest(places), "{request}");
        }
        t.clock.advance(6 * DAY + Duration::from_secs(1));
        let urgent = listed(verifier, &format!("{available}?urgency=high")).await;
        assert_eq!(urgent, newest(&[4, 3, 0]));
        let unknown = "GET /v1/user/verifications?status=lost";
        let (status, body, _) = client.send(owner, unknown, Json::Null).await;
        assert_eq!((status, &body["fields"][0]), (422, &json!("/status")));
    }

    async fn a_list_is_exported_whole_and_only_to_whom_it_is_shown(t: &TestDb) {
        let stage = stage(t).await;
        stage.fund(&stage.owner, 200 * PRICE).await;
        let client = Client::over(stage.market.routes());
        let asked: Vec<_> = futures_util::stream::iter(0..130)
            .then(|_| async { stage.requested().await.id })
            .collect()
            .await;
        let export = |format: &str| format!("GET /v1/user/verifications?format={format}");
        let (status, csv) = client.media(&stage.owner, &export("csv"), ("", "")).await;
        let lines: Vec<_> = csv.split_terminator("\r\n").collect();
        assert_eq!((status, lines.len()), (200, 131));
        assert!(lines[0].split(',').any(|column| column == "verifierName"), "{}", lines[0]);
        for (line, id) in lines[1..].iter().zip(asked.iter().rev()) {
            assert!(line.contains(&id.to_string()) && line.contains("Global Verify"), "{line}");
        }
        let (_, lines) = client.media(&stage.owner, &export("jsonl"), ("", "")).await;
        assert_eq!(lines.lines().count(), 130);
        let (_, none) = client.media(&stage.stranger, &export("jsonl"), ("", "")).await;
        assert_eq!(none, "");
    }

    /// A route that changes something and leaves no fact could not be audited.
    async fn every_mutating_route_leaves_its_facts(t: &TestDb) {
        let stage = stage(t).await;
        stage.fund(&stage.owner, FUNDS).await;
        let client = Client::over(stage.market.routes());
        let credential = stage.credential(&stage.owner).await;
        let verifier: Id<kinds::Verifier> = id_of(&stage.verifier).same_as();
        let services = json!([{ "title": "Diplomas", "category": "Education", "price": PRICE,
            "currency": "USD" }]);
        let ask = json!({ "credentialId": credential, "verifierId": verifier });
        let post = json!({ "credentialId": credential, "price": PRICE, "currency": "USD" });
        let languages = json!({ "languages": ["en"] });
        let (owner, worker, admin) = (&stage.owner, &stage.verifier, &stage.admin);
        let words = |name: &str| json!({ name: "Words." });
        let status = |status: &str| json!({ "status": status, "message": "Which year?" });
        let verdict = json!({ "verdict": "rejected" });
        let none = || Json::Null;
        let story: [(&Caller, &str, Json, &str); 22] = [
            (worker, "PUT /v1/verifier/profile", json!({}), "verifier.profile_replaced"),
            (worker, "PUT /v1/verifier/services", services, "verifier.services_replaced"),
            (owner, "POST /v1/user/verifications", ask.clone(), "verification.requested"),
            (owner, "POST /v1/user/verifications/{id}/cancel", none(), "verification.cancelled"),
            (owner, "POST /v1/user/verifications", ask.clone(), "verification.requested"),
            (worker, "POST /v1/verifier/jobs/{id}/decline", none(), "verification.declined"),
            (owner, "POST /v1/user/verifications", ask.clone(), "verification.requested"),
            (worker, "POST /v1/verifier/jobs/{id}/accept", none(), "verification.accepted"),
            (worker, "PUT /v1/verifier/jobs/{id}/status", status("in_progress"),
                "verification.started"),
            (worker, "PUT /v1/verifier/jobs/{id}/status", status("needs_info"),
                "verification.info_requested"),
            (owner, "POST /v1/user/verifications/{id}/info", words("message"),
                "verification.info_provided"),
            (worker, "POST /v1/verifier/jobs/{id}/notes", words("note"), "verification.noted"),
            (worker, "POST /v1/verifier/jobs/{id}/complete", verdict, "verification.rejected"),
            (owner, "POST /v1/user/verifications", ask.clone(), "verification.requested"),
            (admin, "POST /v1/admin/verifications/{id}/force-cancel", words("reason"),
                "verification.force_cancelled"),
            (owner, "POST /v1/user/verifications", ask, "verification.requested"),
            (owner, "POST /v1/user/verifications/{id}/cancel", none(), "verification.cancelled"),
            (worker, "PUT /v1/verifier/availability", languages,
                "verifier.availability_replaced"),
            (owner, "POST /v1/user/verifications", post, "verification.requested"),
            (worker, "POST /v1/verifier/jobs/{id}/accept", none(), "verification.accepted"),
            (worker, "POST /v1/verifier/jobs/{id}/release", none(), "verification.released"),
            (owner, "POST /v1/user/verifications/{id}/cancel", none(), "verification.cancelled"),
        ];
        let mut id = String::new();
        let mut sent = std::collections::BTreeSet::new();
        for (caller, request, body, verb) in story {
            sent.insert(request);
            let sql = "SELECT CAST(count(*) AS BIGINT) FROM facts WHERE verb = $1";
            let count = || async {
                t.db.one(sql, platform::params![verb], |row| row.take::<i64>()).await.unwrap()
            };
            let before = count().await;
            let answer = client.ok(caller, &request.replace("{id}", &id), body).await;
            assert_eq!(count().await, before + 1, "{request}");
            if verb == "verification.requested" {
                id = answer["id"].as_str().unwrap().to_owned();
            }
        }
        for route in stage.market.routes() {
            let row = format!("{} {}", route.method, route.path);
            let nouns = ["dispute::", "review::", "commission::", "batch::", "attachment::"];
            let is_later = nouns.iter().any(|noun| route.name.starts_with(noun));
            let is_read = route.method == http::Method::GET;
            assert!(is_read || is_later || sent.contains(row.as_str()), "{row}");
        }
    }
}

impl Stage<'_> {
    /// One command, and what must have come of it.
    async fn take_one(&self, caller: &Caller, id: Id<kinds::Verification>, command: Command) {
        let before = self.picture(id).await;
        let was = &before.verification;
        let relation = match command {
            Command::Expire => Relation::Timer,
            _ => Relation::of(caller, was),
        };
        let expected = match command {
            // The timer comes by at any time, and acts on what is due.
            Command::Expire if rules::overdue(was, self.t.db.world().now()).is_none() => {
                Ok(was.state)
            }
            _ => rules::step(was.state, relation, command),
        };
        let outcome = self.give(caller, id, command).await;
        match (expected, outcome) {
            (Ok(state), Ok(now)) => assert_eq!(now.state, state, "{relation:?} {command:?}"),
            (Err(refusal), Err(error)) => {
                let expected = Error::from(refusal);
                assert_eq!((error.kind(), error.code()), (expected.kind(), expected.code()));
                assert_eq!(self.picture(id).await, before, "{relation:?} {command:?}");
            }
            (expected, outcome) => {
                panic!("{relation:?} {command:?} in {}: {expected:?}, {outcome:?}", was.state)
            }
        }
    }

    async fn money_is_where_it_belongs(
        &self,
        id: Id<kinds::Verification>,
        start: &BTreeMap<&'static str, i64>,
    ) {
        let Picture { verification, balances, verifier_reads, .. } = self.picture(id).await;
        let change = |name| balances[name] - start[name];
        let changes = (change("wallet"), change("held"), change("earned"), change("fees"));
        let expected = match verification.state {
            state if state.is_open() => (-PRICE, PRICE, 0, 0),
            State::Verified | State::Rejected => (-PRICE, 0, PRICE - FEE, FEE),
            _ => (0, 0, 0, 0),
        };
        assert_eq!(changes, expected, "{}", verification.state);
        assert_eq!(verifier_reads, verification.state.is_at_work(), "{}", verification.state);
        assert_eq!(verification.issued.is_some(), verification.state == State::Verified);
    }
}

#[test]
fn a_report_is_linked_to_by_https_only() {
    let parse = |url: &str| Report::parse(Verdict::Verified, None, Some(url.to_owned()), None);
    assert!(parse("https://example.org/reports/1?page=2").is_ok());
    for url in [
        "",
        "http://example.org",
        "javascript:alert(1)",
        "https://",
        "/report",
        "https://example.org/a b",
        "https://exa\nmple.org",
    ] {
        let error = parse(url).unwrap_err();
        assert_eq!(error.fields()[0].pointer, "/reportUrl", "{url:?}");
    }
}
