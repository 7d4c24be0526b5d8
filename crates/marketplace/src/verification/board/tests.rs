//! The board: what it offers to whom, and who has a job in the end.

use std::sync::Arc;
use std::time::Duration;

use documents::credential::Status as CredentialStatus;
use futures_util::future::{join, join_all};
use kernel::id::kinds;
use kernel::{Asset, Caller, Error, Id, Kind, Money, Role};
use platform::journal::{Fact, Runner};
use serde_json::{Value as Json, json};

use super::super::model::{BoardTerms, Command, NewPosting, State, Text, Verification};
use crate::testing::{Client, id_of};
use crate::verification::tests::{
    DAY, FEE, FUNDS, MIGRATIONS, PRICE, Stage, diplomas, refused_with, stage, stage_with,
};
use crate::verifier::model::{Availability, Away, NewOffer, ProfileDraft};
use crate::verifier::store as verifiers;

const AVAILABLE: &str = "/v1/verifier/jobs/available";

fn on_board(credential: Id<kinds::Credential>, wanted: (&str, &str)) -> NewPosting {
    let terms = BoardTerms::parse((Some(PRICE), Some(Asset::USD)), wanted).unwrap();
    NewPosting { credential, terms, notes: Text::default() }
}

impl Stage<'_> {
    async fn posted(&self) -> Verification {
        self.posted_for("", "").await
    }

    /// On the board, for a verifier of this jurisdiction who reads this language.
    async fn posted_for(&self, jurisdiction: &str, language: &str) -> Verification {
        let credential = self.credential(&self.owner).await;
        let asked = on_board(credential, (jurisdiction, language));
        self.market.verifications.post(&self.owner, &asked).await.unwrap()
    }

    /// What a verifier is shown of the board, by its ids.
    async fn offered(&self, caller: &Caller, query: &str) -> Vec<String> {
        let client = Client::over(self.market.routes());
        let jobs = client.get(caller, &format!("{AVAILABLE}{query}")).await;
        let jobs = jobs.as_array().unwrap().iter();
        jobs.map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    }

    async fn offers(&self, caller: &Caller, offers: &[NewOffer]) {
        self.market.verifiers.replace_offers(caller, offers).await.unwrap();
    }

    async fn reads(&self, caller: &Caller, languages: &[&str], away: Option<Away>) {
        let languages: Vec<_> = languages.iter().map(|&it| it.to_owned()).collect();
        let availability = Availability::parse(&languages, away, None).unwrap();
        let verifiers = &self.market.verifiers;
        verifiers.replace_availability(caller, &availability).await.unwrap();
    }

    /// An admin has locked the verifier out, or let them in again.
    async fn locked(&self, verb: &'static str) {
        let fact = &Fact::by(&self.admin, verb).on(id_of(&self.verifier));
        let record = |tx: platform::db::Tx| async move {
            tx.record(fact.clone());
            Ok(())
        };
        self.t.db.run("test.lock", record).await.unwrap();
        Runner::new(self.t.db.clone(), self.market.readers()).drain().await;
    }

    async fn state(&self, id: Id<kinds::Verification>) -> State {
        self.market.verifications.find(id).await.unwrap().0.state
    }
}

platform::on_both_engines! { MIGRATIONS;
    async fn a_request_to_nobody_is_claimed_from_the_board_and_paid_at_its_own_price(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        let credential = stage.credential(&stage.owner).await;
        let body = json!({ "credentialId": credential, "price": 7_000, "currency": "USD",
            "notes": "Whoever is first." });
        let made = client.ok(&stage.owner, "POST /v1/user/verifications", body).await;
        assert_eq!((&made["status"], made.get("verifierId")), (&json!("open"), None));
        stage.has(FUNDS - 7_000, 7_000, 0, 0).await;
        let id = made["id"].as_str().unwrap();
        let job = format!("/v1/verifier/jobs/{id}");

        // The rival offers nothing yet: for them there is no board, and no such job.
        assert_eq!(stage.offered(&stage.rival, "").await, [""; 0]);
        assert_eq!(client.send(&stage.rival, &format!("GET {job}"), Json::Null).await.0, 404);
        let claim = format!("POST {job}/accept");
        assert_eq!(client.send(&stage.rival, &claim, Json::Null).await.0, 404);

        assert_eq!(stage.offered(&stage.verifier, "").await, [id]);
        let shown = client.get(&stage.verifier, &job).await;
        assert_eq!((shown.get("credential"), &shown["notes"]), (None, &json!("Whoever is first.")));
        let mine = client.ok(&stage.verifier, &claim, Json::Null).await;
        assert_eq!((&mine["status"], &mine["service"]), (&json!("in_review"), &json!("Diplomas")));
        let during = client.get(&stage.verifier, &job).await;
        assert_eq!(during["credential"]["issuer"], "University X");
        let seen = client.get(&stage.owner, &format!("/v1/user/verifications/{id}")).await;
        assert_eq!(seen["verifierName"], "Global Verify");
        let verdict = json!({ "verdict": "verified" });
        client.ok(&stage.verifier, &format!("POST {job}/complete"), verdict).await;
        stage.has(FUNDS - 7_000, 0, 7_000 - 175, 175).await;
    }

    async fn of_a_thousand_racing_verifiers_exactly_one_has_the_job(t: &TestDb) {
        let stage = stage(t).await;
        let racers: Vec<Caller> =
            (0..1_000).map(|n| stage.people.add(t, &format!("V{n}"), Role::Verifier)).collect();
        for some in racers.chunks(100) {
            let settle = |tx| async move {
                for racer in some {
                    let id = id_of(racer).same_as();
                    verifiers::know(&tx, id, true, tx.now()).await?;
                    verifiers::replace_offers(&tx, id, &[diplomas(PRICE)]).await?;
                }
                Ok(())
            };
            t.db.run("test.settle", settle).await.unwrap();
        }
        let id = stage.posted().await.id;
        let race = racers.iter().map(|racer| {
            let (service, racer) = (Arc::clone(&stage.market.verifications), racer.clone());
            tokio::spawn(async move { service.accept(&racer, id).await })
        });
        let outcomes: Vec<_> = join_all(race).await.into_iter().map(Result::unwrap).collect();
        let won: Vec<_> = outcomes.iter().filter_map(|it| it.as_ref().ok()).collect();
        assert_eq!(won.len(), 1);
        let errors: Vec<&Error> = outcomes.iter().filter_map(|it| it.as_ref().err()).collect();
        for error in errors {
            assert_eq!((error.kind(), error.code()), (Kind::Conflict, "wrong_state"), "{error}");
            assert!(error.message().contains("in_review"), "{error}");
        }
        assert_eq!(stage.told(id).await, ["verification.requested", "verification.accepted"]);
        let kept = stage.market.verifications.find(id).await.unwrap().0;
        assert_eq!(kept.verifier, won[0].verifier);
        stage.has(FUNDS - PRICE, PRICE, 0, 0).await;
    }

    async fn a_claim_that_lies_still_goes_back_and_is_offered_to_others(t: &TestDb) {
        let stage = stage(t).await;
        stage.offers(&stage.rival, &[diplomas(1)]).await;
        let posted = stage.posted().await;
        let id = posted.id;
        stage.give(&stage.verifier, id, Command::Accept).await.unwrap();
        assert!(stage.picture(id).await.verifier_reads);
        t.clock.advance(crate::Options::CLAIM_LEASE - Duration::from_secs(1));
        let verifications = &stage.market.verifications;
        assert_eq!(verifications.expire_due().await.unwrap(), 0);
        t.clock.advance(Duration::from_secs(1));
        let (one, other) = join(verifications.expire_due(), verifications.expire_due()).await;
        assert_eq!(one.unwrap() + other.unwrap(), 1, "two workers put it back once");
        let back = stage.picture(id).await;
        assert!(!back.verifier_reads);
        let (now, until) = (back.verification, posted.board_until.unwrap());
        assert_eq!((now.state, now.verifier, now.due_at), (State::Open, None, until));
        stage.has(FUNDS - PRICE, PRICE, 0, 0).await;

        // Who has let it lie is not offered it again; the rival is, and does it.
        assert_eq!(stage.offered(&stage.verifier, "").await, [""; 0]);
        let again = stage.give(&stage.verifier, id, Command::Accept).await;
        assert_eq!(refused_with(again).kind(), Kind::NotFound);
        assert_eq!(stage.offered(&stage.rival, "").await, [id.to_string()]);
        for command in [Command::Accept, Command::Start] {
            stage.give(&stage.rival, id, command).await.unwrap();
        }
        // Who has begun has the time of their service.
        t.clock.advance(DAY);
        assert_eq!(verifications.expire_due().await.unwrap(), 0);
        stage.give(&stage.rival, id, Command::Verify).await.unwrap();
        let earned = money::ledger::Account::of(id_of(&stage.rival), money::ledger::Code::EARN_PENDING);
        let earned = money::ledger::balance(&t.db, earned, Asset::USD).await.unwrap();
        assert_eq!(earned.minor, PRICE - FEE);
        assert_eq!(stage.told(id).await, ["verification.requested", "verification.accepted",
            "verification.lapsed", "verification.accepted", "verification.started",
            "verification.verified"]);
    }

    async fn a_job_is_given_back_and_one_that_was_never_on_the_board_is_not(t: &TestDb) {
        let stage = stage(t).await;
        let direct = stage.accepted().await;
        let kept = stage.give(&stage.verifier, direct.id, Command::Release).await;
        assert_eq!(refused_with(kept).code(), "wrong_state");
        let id = stage.posted().await.id;
        for command in [Command::Accept, Command::Note, Command::RequestInfo, Command::Release] {
            stage.give(&stage.verifier, id, command).await.unwrap();
        }
        assert_eq!(stage.state(id).await, State::Open);
        for command in [Command::Release, Command::Note, Command::Verify, Command::Accept] {
            let error = refused_with(stage.give(&stage.verifier, id, command).await);
            assert_eq!(error.kind(), Kind::NotFound, "{command:?}");
        }
        // What the first one wrote down is not for the second one.
        stage.offers(&stage.rival, &[diplomas(1)]).await;
        stage.give(&stage.rival, id, Command::Accept).await.unwrap();
        assert!(stage.market.verifications.job(&stage.rival, id).await.unwrap().notes.is_empty());
    }

    async fn what_was_said_to_one_verifier_is_not_shown_on_the_board(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        stage.offers(&stage.rival, &[diplomas(1)]).await;
        let id = stage.posted().await.id;
        let job = format!("/v1/verifier/jobs/{id}");
        let said = |shown: &Json| {
            ["infoRequested", "infoProvided"].map(|name| shown.get(name).is_some())
        };
        stage.give(&stage.verifier, id, Command::Accept).await.unwrap();
        stage.give(&stage.verifier, id, Command::RequestInfo).await.unwrap();
        stage.give(&stage.owner, id, Command::ProvideInfo).await.unwrap();
        assert_eq!(said(&client.get(&stage.verifier, &job).await), [true, true]);
        let back = client.ok(&stage.verifier, &format!("POST {job}/release"), Json::Null).await;
        assert_eq!((&back["status"], said(&back)), (&json!("open"), [false, false]));

        let offered = client.get(&stage.rival, AVAILABLE).await;
        assert_eq!((offered[0]["id"].as_str(), said(&offered[0])), (Some(&*id.to_string()), [false, false]));
        assert_eq!(said(&client.get(&stage.rival, &job).await), [false, false]);
        // Who takes it up reads the credential, and what was said of it.
        let mine = client.ok(&stage.rival, &format!("POST {job}/accept"), Json::Null).await;
        assert_eq!(said(&mine), [true, true]);
        let owned = format!("/v1/user/verifications/{id}");
        assert_eq!(said(&client.get(&stage.owner, &owned).await), [true, true]);
    }

    async fn a_request_that_nobody_claims_expires_or_is_taken_back(t: &TestDb) {
        let stage = stage(t).await;
        let (left, taken_back) = (stage.posted().await.id, stage.posted().await.id);
        stage.give(&stage.owner, taken_back, Command::Cancel).await.unwrap();
        t.clock.advance(7 * DAY - Duration::from_secs(3_600));
        stage.give(&stage.verifier, left, Command::Accept).await.unwrap();
        // The lease ends after the board does: there is nowhere to go back to.
        t.clock.advance(DAY);
        assert_eq!(stage.market.verifications.expire_due().await.unwrap(), 1);
        assert_eq!(stage.state(left).await, State::Expired);
        stage.has(FUNDS, 0, 0, 0).await;
        for id in [left, taken_back] {
            let picture = stage.picture(id).await;
            assert_eq!(picture.credential.0, CredentialStatus::Draft);
        }
    }

    async fn the_board_offers_what_fits_and_is_narrowed(t: &TestDb) {
        let stage = stage(t).await;
        let (ghana, french) = (stage.posted_for("Ghana", "").await, stage.posted_for("", "fr").await);
        let any = stage.posted().await;
        let ids = |of: &[&Verification]| of.iter().map(|it| it.id.to_string()).collect::<Vec<_>>();
        assert_eq!(stage.offered(&stage.verifier, "").await, ids(&[&any]));
        stage.reads(&stage.verifier, &["en", "FR"], None).await;
        assert_eq!(stage.offered(&stage.verifier, "").await, ids(&[&any, &french]));
        let profile = ProfileDraft { jurisdiction: "GHANA".to_owned(), ..ProfileDraft::default() };
        let profile = profile.parse().unwrap();
        stage.market.verifiers.replace_profile(&stage.verifier, &profile).await.unwrap();
        let all = ids(&[&any, &french, &ghana]);
        assert_eq!(stage.offered(&stage.verifier, "").await, all);
        let direct = stage.requested().await;
        for (query, found) in [
            ("?language=fr", ids(&[&french])),
            ("?jurisdiction=ghana", ids(&[&ghana])),
            ("?type=EDUCATION", ids(&[&direct, &any, &french, &ghana])),
            ("?type=Health", vec![]),
            ("?urgency=high", vec![]),
            ("?currency=USD&minPrice=10001&maxPrice=10001&limit=2", ids(&[&direct, &any])),
            ("?currency=USD&minPrice=10002", vec![]),
            ("?currency=NGN", vec![]),
        ] {
            assert_eq!(stage.offered(&stage.verifier, query).await, found, "{query}");
        }
        let client = Client::over(stage.market.routes());
        for (query, pointer) in [("minPrice=1", "/currency"), ("language=x", "/language")] {
            let request = format!("GET {AVAILABLE}?{query}");
            let (status, body, _) = client.send(&stage.verifier, &request, Json::Null).await;
            assert_eq!((status, &body["fields"][0]), (422, &json!(pointer)), "{query}");
        }
        // Nobody is offered their own.
        stage.offers(&stage.rival, &[diplomas(1)]).await;
        stage.fund(&stage.rival, PRICE).await;
        let credential = stage.credential(&stage.rival).await;
        let own = on_board(credential, ("", ""));
        let own = stage.market.verifications.post(&stage.rival, &own).await.unwrap();
        assert_eq!(stage.offered(&stage.rival, "").await, ids(&[&any]));
        let mine = refused_with(stage.give(&stage.rival, own.id, Command::Accept).await);
        assert_eq!(mine.kind(), Kind::Forbidden);
    }

    async fn a_far_page_of_the_board_goes_on_where_the_one_before_ends(t: &TestDb) {
        let stage = stage(t).await;
        stage.fund(&stage.owner, FUNDS).await;
        let mut all = Vec::new();
        for n in 0..7 {
            // What waits for them alone stands between what the board offers.
            let one = if n % 3 == 1 { stage.requested().await } else { stage.posted().await };
            all.insert(0, one.id.to_string());
        }
        for limit in 1..=4 {
            for page in 1..=8 {
                let shown = stage.offered(&stage.verifier, &format!("?limit={limit}&page={page}")).await;
                let from = all.len().min((page - 1) * limit);
                assert_eq!(shown, all[from..all.len().min(from + limit)], "{limit} {page}");
            }
        }
    }

    async fn who_is_away_is_neither_offered_nor_offered_to(t: &TestDb) {
        let stage = stage(t).await;
        let id = stage.posted().await.id;
        let client = Client::over(stage.market.routes());
        let now = t.db.world().now();
        let away = Away { from: now + DAY, until: Some(now + 3 * DAY) };
        stage.reads(&stage.verifier, &[], Some(away)).await;
        let credential = stage.credential(&stage.owner).await;
        let verifier: Id<kinds::Verifier> = id_of(&stage.verifier).same_as();
        let ask = json!({ "credentialId": credential, "verifierId": verifier });
        for (day, is_there) in [(0, true), (1, false), (2, false), (3, true)] {
            let listed = client.get(&stage.owner, "/v1/marketplace/verifiers").await;
            assert_eq!(listed.as_array().unwrap().len(), usize::from(is_there), "day {day}");
            let offered = stage.offered(&stage.verifier, "").await.len();
            assert_eq!(offered, usize::from(is_there), "day {day}");
            if !is_there {
                let claim = stage.give(&stage.verifier, id, Command::Accept).await;
                assert_eq!(refused_with(claim).code(), "away");
                let request = "POST /v1/user/verifications";
                let (_, refused, _) = client.send(&stage.owner, request, ask.clone()).await;
                assert_eq!(refused["fields"], json!(["/verifierId"]));
            }
            t.clock.advance(DAY);
        }
        let page = client.get(&stage.owner, &format!("/v1/marketplace/verifiers/{verifier}")).await;
        assert_eq!(page["away"]["from"], json!(away.from));
    }

    async fn what_the_rules_of_a_verifier_allow_is_accepted_as_it_is_asked_for(t: &TestDb) {
        let stage = stage(t).await;
        stage.fund(&stage.owner, FUNDS).await;
        let client = Client::over(stage.market.routes());
        let rules = |least: i64| json!({ "autoAccept": { "types": ["Education"], "maxActive": 2,
            "minPrice": least, "currency": "USD" } });
        let path = "PUT /v1/verifier/availability";
        client.ok(&stage.verifier, path, rules(PRICE + 1)).await;
        assert_eq!(stage.requested().await.state, State::Pending, "too cheap");
        let set = client.ok(&stage.verifier, path, rules(PRICE)).await;
        assert_eq!(client.get(&stage.verifier, "/v1/verifier/availability").await, set);
        // Three at once, on a verifier who takes two: the count holds.
        let asked = join_all((0..3).map(|_| stage.requested())).await;
        let taken = asked.iter().filter(|it| it.state == State::InReview).count();
        assert_eq!(taken, 2);
        let one = asked.iter().find(|it| it.state == State::InReview).unwrap();
        assert!(stage.picture(one.id).await.verifier_reads);
        assert_eq!(stage.told(one.id).await, ["verification.requested", "verification.accepted"]);
        let wrong = json!({ "languages": ["english"], "autoAccept": { "maxActive": 0,
            "minPrice": 5 }, "away": { "from": "2026-01-02T00:00:00Z",
            "until": "2026-01-01T00:00:00Z" } });
        let (status, body, _) = client.send(&stage.verifier, path, wrong).await;
        assert_eq!((status, &body["fields"]), (422, &json!(["/languages/0", "/away/until",
            "/autoAccept/maxActive", "/autoAccept/currency"])));
    }

    async fn a_request_says_to_whom_it_goes_or_what_it_pays(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        let credential = stage.credential(&stage.owner).await;
        let verifier: Id<kinds::Verifier> = id_of(&stage.verifier).same_as();
        let service: Id<kinds::Service> = t.db.world().id();
        for (more, fields) in [
            (json!({}), json!(["/currency", "/price"])),
            (json!({ "price": 0, "currency": "USD" }), json!(["/price"])),
            (json!({ "price": 1, "currency": "USD", "serviceId": service }),
                json!(["/serviceId"])),
            (json!({ "price": 1, "currency": "USD", "language": "1" }), json!(["/language"])),
            (json!({ "verifierId": verifier, "price": 1, "language": "en" }),
                json!(["/language", "/currency"])),
        ] {
            let mut body = json!({ "credentialId": credential });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let request = "POST /v1/user/verifications";
            let (status, answer, _) = client.send(&stage.owner, request, body).await;
            assert_eq!((status, &answer["fields"]), (422, &fields), "{more}");
        }
        stage.has(FUNDS, 0, 0, 0).await;
    }

    /// Whoever writes past the code is stopped by the table.
    async fn the_table_refuses_an_edge_that_is_not_listed(t: &TestDb) {
        let stage = stage(t).await;
        let id = stage.posted().await.id;
        for set in [
            "was = state, state = 'verified', fee = 0, verdict = 'verified', ended_at = 1",
            "state = 'pending'",
            "was = state, state = 'needs_info'",
            "verifier = owner, service = owner",
        ] {
            let sql = &format!("UPDATE verifications SET {set} WHERE id = $1");
            let write = |tx: platform::db::Tx| async move {
                tx.execute(sql, platform::params![id]).await?;
                Ok(())
            };
            assert!(t.db.run("test.write", write).await.is_err(), "{set}");
        }
        assert_eq!(stage.state(id).await, State::Open);
    }

    async fn nobody_waits_for_a_verifier_who_was_banned(t: &TestDb) {
        let stage = stage(t).await;
        stage.offers(&stage.rival, &[diplomas(1)]).await;
        let claimed = stage.posted().await.id;
        let direct = stage.accepted().await.id;
        for id in [claimed, direct] {
            if id == claimed {
                stage.give(&stage.verifier, id, Command::Accept).await.unwrap();
            }
            stage.give(&stage.verifier, id, Command::Start).await.unwrap();
        }
        let asked = stage.requested().await.id;
        let verdict = stage.accepted().await.id;
        stage.give(&stage.verifier, verdict, Command::Verify).await.unwrap();
        stage.locked("user.banned").await;
        assert_eq!(stage.market.verifications.expire_due().await.unwrap(), 3);
        let states = [State::Open, State::Expired, State::Expired, State::Verified];
        for (id, state) in [claimed, direct, asked, verdict].into_iter().zip(states) {
            assert_eq!(stage.state(id).await, state);
        }
        stage.has(FUNDS - 2 * PRICE, PRICE, PRICE - FEE, FEE).await;
        assert!(!stage.picture(direct).await.verifier_reads);
        assert_eq!(stage.offered(&stage.rival, "").await, [claimed.to_string()]);
    }

    async fn a_suspension_that_is_lifted_soon_costs_no_job(t: &TestDb) {
        let stage = stage(t).await;
        let slow = NewOffer { sla_hours: 30 * 24, ..diplomas(PRICE) };
        stage.offers(&stage.verifier, &[slow]).await;
        let accepted = stage.accepted().await;
        let id = accepted.id;
        let verifications = &stage.market.verifications;
        stage.locked("user.suspended").await;
        t.clock.advance(2 * DAY);
        assert_eq!(verifications.expire_due().await.unwrap(), 0);
        stage.locked("user.unsuspended").await;
        // They say that they are at work, and have the time of their service again.
        let started = stage.give(&stage.verifier, id, Command::Start).await.unwrap();
        assert_eq!(started.due_at, accepted.due_at);
        stage.locked("user.suspended").await;
        t.clock.advance(3 * DAY);
        assert_eq!(verifications.expire_due().await.unwrap(), 1);
        assert_eq!(stage.state(id).await, State::Expired);
        stage.has(FUNDS, 0, 0, 0).await;
    }

    async fn a_job_takes_a_bond_where_the_operator_says_so(t: &TestDb) {
        let required = Some(Money::new(5_000, Asset::USD));
        let bonding = crate::Bonding { required, ..crate::Bonding::default() };
        let stage = stage_with(t, bonding).await;
        let posted = stage.posted().await.id;
        let verifier = id_of(&stage.verifier);
        let client = Client::over(stage.market.routes());
        let listed = async || {
            Runner::new(t.db.clone(), stage.market.readers()).drain().await;
            let shown = client.get(&stage.owner, "/v1/marketplace/verifiers").await;
            shown.as_array().unwrap().len()
        };
        // As the ledger has it, and as the journal tells of it.
        let stake = async |minor: i64| {
            let staked = money::ledger::Account::of(verifier, money::ledger::Code::STAKE);
            let clearing = money::ledger::Account::platform(money::ledger::Code::CLEARING_SANDBOX);
            let (from, to) = if minor < 0 { (staked, clearing) } else { (clearing, staked) };
            let stake = |tx: platform::db::Tx| async move {
                let key = format!("gift:{}", tx.world().id::<kinds::Payment>());
                let new = money::ledger::NewTransaction::new("gift", key, verifier);
                let new = new.post(from, to, Money::new(minor.abs(), Asset::USD));
                money::ledger::post(&tx, new).await?;
                let fact = Fact::by(&Caller::nobody(), "stake.added").on(verifier);
                tx.record(fact.with("currency", Asset::USD));
                Ok(())
            };
            t.db.run("test.stake", stake).await.unwrap();
        };
        stake(4_999).await;
        assert_eq!(listed().await, 0, "nobody is shown whom nobody can ask");
        let balances = stage.balances().await;
        let credential = stage.credential(&stage.owner).await;
        let ask = json!({ "credentialId": credential, "verifierId": verifier.same_as::<kinds::Verifier>() });
        let request = "POST /v1/user/verifications";
        let (status, refused, _) = client.send(&stage.owner, request, ask).await;
        assert_eq!((status, &refused["code"]), (409, &json!("bond_required")));
        assert_eq!(stage.balances().await, balances, "nothing is held");
        stake(1).await;
        assert_eq!(listed().await, 1);
        let direct = stage.requested().await.id;
        stake(-1).await;
        assert_eq!(listed().await, 0);
        for id in [posted, direct] {
            let error = refused_with(stage.give(&stage.verifier, id, Command::Accept).await);
            assert_eq!((error.kind(), error.code()), (Kind::Conflict, "bond_required"));
            assert!(error.message().contains("$50.00"), "{error}");
        }
        stake(1).await;
        for id in [posted, direct] {
            stage.give(&stage.verifier, id, Command::Accept).await.unwrap();
        }
    }
}
