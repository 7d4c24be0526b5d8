//! Disputes with the real money, documents and trust beneath them.

use std::time::Duration;

use documents::credential::Status as CredentialStatus;
use futures_util::future::join_all;
use kernel::caller::{Acting, Actor};
use kernel::id::kinds;
use kernel::{
    Asset, Caller, Id, Kind, PageRequest, Permission, Permissions, Principal, Random, Result, Role,
};
use money::ledger::{self, Account, Code};
use platform::db::{Migration, Migrations, Read};
use platform::journal::{self, Runner};
use platform::privacy::{Erasure, Holder, Person};
use platform::testing::SeededRandom;
use serde_json::{Value as Json, json};

use super::model::{Dispute, Ground, NewEvidence, Resolution, Ruling, State};
use crate::testing::{Client, id_of, with_key};
use crate::verification::model::{Command, NewVerification, State as Verdict, Text, Verification};
use crate::verification::tests::{DAY, FEE, FUNDS, MIGRATIONS, PRICE, Stage, stage};

fn words() -> NewEvidence {
    NewEvidence { text: Text::some("", "Words.").unwrap(), file: None }
}

fn ruling(resolution: Resolution) -> Ruling {
    let bps = (resolution == Resolution::Split).then_some(2_500);
    Ruling::parse(resolution, bps, "Reasons.").unwrap()
}

impl Stage<'_> {
    async fn judged(&self, verdict: Command) -> Verification {
        let accepted = self.accepted().await;
        self.give(&self.verifier, accepted.id, verdict).await.unwrap()
    }

    async fn contest(&self, caller: &Caller, id: Id<kinds::Verification>) -> Result<Dispute> {
        self.market.disputes.open(caller, id, Ground::WrongVerdict, &words()).await
    }

    async fn disputed(&self) -> (Verification, Dispute) {
        let judged = self.judged(Command::Verify).await;
        let dispute = self.contest(&self.owner, judged.id).await.unwrap();
        (judged, dispute)
    }

    async fn verification(&self, id: Id<kinds::Verification>) -> Verification {
        self.market.verifications.find(id).await.unwrap().0
    }

    /// Brings a dispute to its end, whatever has become of it.
    async fn finish(&self, id: Id<kinds::Dispute>, as_it_ends: Resolution) {
        let disputes = &self.market.disputes;
        loop {
            match disputes.look(id).await.unwrap().0.state {
                State::Closed => return,
                State::Resolved => {
                    self.t.clock.advance(3 * DAY);
                    disputes.close_due().await.unwrap();
                }
                State::Open | State::InReview | State::Appealed => {
                    let last = ruling(as_it_ends);
                    disputes.resolve(&self.admin, id, &last).await.unwrap();
                }
            }
        }
    }

    async fn free_earnings(&self) -> i64 {
        let account = Account::of(id_of(&self.verifier), Code::EARN);
        ledger::balance(&self.t.db, account, Asset::USD).await.unwrap().minor
    }

    /// Wallet of the owner, waiting and free earnings of the verifier, fees; the books are sound.
    async fn money(&self) -> (i64, i64, i64, i64) {
        let balances = self.balances().await;
        assert_eq!(balances["held"], 0);
        let report = ledger::check(&self.t.db).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
        (balances["wallet"], balances["earned"], self.free_earnings().await, balances["fees"])
    }
}

platform::on_both_engines! { MIGRATIONS;
    async fn an_overturned_verdict_is_paid_back_and_revoked_in_one_step(t: &TestDb) {
        let stage = stage(t).await;
        let (verification, dispute) = stage.disputed().await;
        assert_eq!(stage.verification(verification.id).await.state, Verdict::Disputed);
        // What was earned stands still, also when its time comes.
        t.clock.advance(30 * DAY);
        assert_eq!(stage.wallets.release_due().await.unwrap(), 0);
        stage.has(FUNDS - PRICE, 0, PRICE - FEE, FEE).await;

        let disputes = &stage.market.disputes;
        let refund = ruling(Resolution::RefundUser);
        let resolved = disputes.resolve(&stage.admin, dispute.id, &refund).await.unwrap();
        assert_eq!((resolved.state, resolved.closed_at), (State::Resolved, None));
        // Nothing moves while it can be appealed.
        t.clock.advance(3 * DAY - Duration::from_micros(1));
        assert_eq!(disputes.close_due().await.unwrap(), 0);
        stage.has(FUNDS - PRICE, 0, PRICE - FEE, FEE).await;
        t.clock.advance(Duration::from_micros(1));
        // By the clock, and not by when the timer comes by.
        let late = disputes.appeal(&stage.verifier, dispute.id, &words()).await.unwrap_err();
        assert_eq!((late.kind(), late.code()), (Kind::Conflict, "window_over"));
        let closed = join_all((0..3).map(|_| disputes.close_due())).await;
        assert_eq!(closed.into_iter().map(Result::unwrap).sum::<u64>(), 1);

        assert_eq!(stage.money().await, (FUNDS, 0, 0, 0));
        let overturned = stage.verification(verification.id).await;
        assert_eq!(overturned.state, Verdict::Overturned);
        assert_eq!((overturned.fee, overturned.refunded), (Some(0), PRICE));
        let credential = stage.documents.credentials.find(verification.credential).await.unwrap();
        assert_eq!(credential.status, CredentialStatus::Revoked);
        let told = stage.told(verification.id).await;
        assert_eq!(told[told.len() - 2..], ["verification.disputed", "verification.overturned"]);
        let (subject, page) = (dispute.id.to_string(), PageRequest::first(100));
        let of_dispute = journal::of_subject(&t.db, &subject, &[], &page).await.unwrap();
        let verbs: Vec<_> = of_dispute.items.iter().map(|fact| fact.verb.as_str()).collect();
        assert_eq!(verbs, ["dispute.opened", "dispute.resolved", "dispute.closed"]);
        let sql = "SELECT CAST(count(*) AS BIGINT) FROM facts WHERE verb = 'credential.revoked'";
        assert_eq!(t.db.one(sql, &[], |row| row.take::<i64>()).await.unwrap(), 2);
    }

    async fn a_rejection_that_is_overturned_leaves_a_draft_unless_another_stands(t: &TestDb) {
        let stage = stage(t).await;
        let status = async |of: &Verification| {
            stage.documents.credentials.find(of.credential).await.unwrap().status
        };
        let overturn = async |dispute: Dispute| {
            let disputes = &stage.market.disputes;
            let ruling = ruling(Resolution::RefundUser);
            disputes.resolve(&stage.admin, dispute.id, &ruling).await.unwrap();
            t.clock.advance(3 * DAY);
            assert_eq!(disputes.close_due().await.unwrap(), 1);
        };
        let first = stage.judged(Command::Reject).await;
        assert_eq!(status(&first).await, CredentialStatus::Rejected);
        overturn(stage.contest(&stage.owner, first.id).await.unwrap()).await;
        assert_eq!(status(&first).await, CredentialStatus::Draft);

        let mut disputes = Vec::new();
        for _ in 0..2 {
            let asked = NewVerification {
                credential: first.credential,
                verifier: id_of(&stage.verifier).same_as(),
                service: None,
                expedited: false,
                seen: None,
                notes: Text::default(),
            };
            let again = stage.market.verifications.request(&stage.owner, &asked).await.unwrap();
            for command in [Command::Accept, Command::Reject] {
                stage.give(&stage.verifier, again.id, command).await.unwrap();
            }
            disputes.push(stage.contest(&stage.owner, again.id).await.unwrap());
        }
        for (dispute, left) in
            disputes.into_iter().zip([CredentialStatus::Rejected, CredentialStatus::Draft])
        {
            overturn(dispute).await;
            assert_eq!(status(&first).await, left);
        }
    }

    async fn each_decision_moves_exactly_what_it_says(t: &TestDb) {
        // 2500 of 10000 of a price of 10001 and of a fee of 250, both rounded down.
        let (part, fee_part) = (2_500, 62);
        for (resolution, owner, free, fees, ends) in [
            (Resolution::RefundUser, PRICE, 0, 0, Verdict::Overturned),
            (Resolution::Split, part, PRICE - FEE - (part - fee_part), FEE - fee_part,
                Verdict::Upheld),
            (Resolution::PayVerifier, 0, PRICE - FEE, FEE, Verdict::Upheld),
            (Resolution::Reject, 0, PRICE - FEE, FEE, Verdict::Upheld),
        ] {
            let stage = stage(t).await;
            let before = stage.money().await;
            let (verification, dispute) = stage.disputed().await;
            let disputes = &stage.market.disputes;
            disputes.resolve(&stage.admin, dispute.id, &ruling(resolution)).await.unwrap();
            t.clock.advance(3 * DAY);
            disputes.close_due().await.unwrap();
            let after = stage.money().await;
            let moved = (after.0 - before.0, after.1, after.2, after.3 - before.3);
            assert_eq!(moved, (owner - PRICE, 0, free, fees), "{resolution}");
            let now = stage.verification(verification.id).await;
            assert_eq!((now.state, now.refunded), (ends, owner), "{resolution}");
            let again = stage.contest(&stage.owner, verification.id).await.unwrap_err();
            assert_eq!(again.code(), "wrong_state", "no second dispute");
        }
    }

    async fn an_appeal_is_decided_once_more_and_for_good(t: &TestDb) {
        let stage = stage(t).await;
        let (verification, dispute) = stage.disputed().await;
        let disputes = &stage.market.disputes;
        let refund = ruling(Resolution::RefundUser);
        disputes.resolve(&stage.admin, dispute.id, &refund).await.unwrap();
        let appealed = disputes.appeal(&stage.verifier, dispute.id, &words()).await.unwrap();
        assert_eq!((appealed.state, appealed.final_at), (State::Appealed, None));
        t.clock.advance(30 * DAY);
        assert_eq!(disputes.close_due().await.unwrap(), 0, "it waits for the second decision");
        for caller in [&stage.owner, &stage.verifier] {
            let twice = disputes.appeal(caller, dispute.id, &words()).await.unwrap_err();
            assert_eq!(twice.code(), "wrong_state");
        }
        let reject = ruling(Resolution::Reject);
        let closed = disputes.resolve(&stage.admin, dispute.id, &reject).await.unwrap();
        assert_eq!(closed.state, State::Closed);
        assert_eq!(stage.money().await, (FUNDS - PRICE, 0, PRICE - FEE, FEE));
        let upheld = stage.verification(verification.id).await;
        assert_eq!((upheld.state, upheld.verdict.is_some()), (Verdict::Upheld, true));
        let credential = stage.documents.credentials.find(verification.credential).await.unwrap();
        assert_eq!(credential.status, CredentialStatus::Verified);
    }

    async fn a_verdict_is_contested_in_time_by_its_owner_and_once(t: &TestDb) {
        let stage = stage(t).await;
        let early = stage.accepted().await;
        let refused = stage.contest(&stage.owner, early.id).await.unwrap_err();
        assert_eq!(refused.code(), "wrong_state");
        let judged = stage.give(&stage.verifier, early.id, Command::Reject).await.unwrap();
        for (caller, kind) in [
            (&stage.stranger, Kind::NotFound), (&stage.rival, Kind::NotFound),
            (&stage.admin, Kind::Forbidden),
        ] {
            assert_eq!(stage.contest(caller, judged.id).await.unwrap_err().kind(), kind);
        }
        let tries = join_all((0..8).map(|_| stage.contest(&stage.owner, judged.id))).await;
        assert_eq!(tries.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        stage.fund(&stage.owner, FUNDS).await;
        let late = stage.judged(Command::Verify).await;
        t.clock.advance(7 * DAY);
        let refused = stage.contest(&stage.owner, late.id).await.unwrap_err();
        assert_eq!(refused.code(), "window_over", "also before the earning was released");
        stage.wallets.release_due().await.unwrap();
        let refused = stage.contest(&stage.owner, late.id).await.unwrap_err();
        assert_eq!(refused.code(), "window_over");
        assert_eq!(stage.verification(late.id).await.state, Verdict::Verified);
    }

    async fn the_sides_and_the_admins_find_their_doors_over_http(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        let judged = stage.judged(Command::Verify).await;
        let path = format!("POST /v1/user/verifications/{}/dispute", judged.id);
        let body = json!({ "reason": "wrong_verdict", "description": "That is not my degree." });
        let key = with_key(&stage.owner, 7);
        let made = client.ok(&key, &path, body.clone()).await;
        assert_eq!(client.ok(&key, &path, body).await, made, "the same request again");
        let id = made["id"].as_str().unwrap();
        assert_eq!((&made["status"], &made["against"]),
            (&json!("open"), &json!(judged.verifier)));
        let (own, admins) = (format!("/v1/disputes/{id}"), format!("/v1/admin/disputes/{id}"));
        let said = json!({ "message": "The registry says so." });
        client.ok(&stage.verifier, &format!("POST {own}/evidence"), said.clone()).await;
        let seen = client.get(&stage.verifier, &own).await;
        let spoken = |of: &Json, n: usize| of["evidence"][n]["message"].clone();
        assert_eq!(spoken(&seen, 0), "That is not my degree.");
        assert_eq!(spoken(&seen, 1), "The registry says so.");
        assert_eq!(client.get(&stage.admin, &admins).await, seen);
        for caller in [&stage.stranger, &stage.rival, &stage.admin] {
            assert_eq!(client.send(caller, &format!("GET {own}"), Json::Null).await.0, 404);
        }
        for caller in [&stage.stranger, &stage.rival, &stage.admin] {
            for (request, body) in [
                (format!("POST {own}/evidence"), said.clone()),
                (format!("POST {own}/appeal"), said.clone()),
            ] {
                assert_eq!(client.send(caller, &request, body).await.0, 404, "{request}");
            }
        }
        let taken = client.ok(&stage.admin, &format!("POST {admins}/assign"), json!({})).await;
        assert_eq!(taken["assigneeId"], id_of(&stage.admin).to_string());
        let nobody: Id<kinds::User> = t.db.world().id();
        let former = stage.people.add(t, "Former", Role::Admin);
        stage.people.suspend(&former);
        for wrong in [id_of(&stage.verifier), id_of(&stage.stranger), nobody, id_of(&former)] {
            let wrong = json!({ "assigneeId": wrong });
            let refused = client.send(&stage.admin, &format!("POST {admins}/assign"), wrong).await;
            assert_eq!((refused.0, &refused.1["fields"][0]), (422, &json!("/assigneeId")));
        }
        let other = json!({ "assigneeId": id_of(&stage.people.add(t, "Other", Role::Admin)) });
        client.ok(&stage.admin, &format!("POST {admins}/assign"), other).await;
        for (wrong, field) in [
            (json!({ "resolution": "burn", "reason": "x" }), "/resolution"),
            (json!({ "resolution": "split", "reason": "x" }), "/refundBasisPoints"),
            (json!({ "resolution": "reject", "reason": "" }), "/reason"),
        ] {
            let refused = client.send(&stage.admin, &format!("POST {admins}/resolve"), wrong).await;
            assert_eq!((refused.0, &refused.1["fields"][0]), (422, &json!(field)));
        }
        let ruling = json!({ "resolution": "partial", "refundBasisPoints": 5000, "reason": "x" });
        let resolved = client.ok(&stage.admin, &format!("POST {admins}/resolve"), ruling).await;
        assert_eq!((&resolved["resolution"], &resolved["status"]),
            (&json!("split"), &json!("resolved")));
        assert!(resolved["finalAt"].is_string());
        let late = client.send(&stage.owner, &format!("POST {own}/evidence"), said.clone()).await;
        assert_eq!((late.0, &late.1["code"]), (409, &json!("wrong_state")));
        client.ok(&stage.owner, &format!("POST {own}/appeal"), said).await;
        let ruling = json!({ "resolution": "pay_verifier", "reason": "x" });
        let closed = client.ok(&stage.admin, &format!("POST {admins}/resolve"), ruling).await;
        assert_eq!(closed["status"], "closed");
        for (caller, list, count) in [
            (&stage.owner, "/v1/disputes", 1), (&stage.verifier, "/v1/disputes?status=closed", 1),
            (&stage.owner, "/v1/disputes?status=open", 0), (&stage.stranger, "/v1/disputes", 0),
            (&stage.admin, "/v1/admin/disputes", 1), (&stage.admin, "/v1/disputes", 0),
        ] {
            assert_eq!(client.get(caller, list).await.as_array().unwrap().len(), count, "{list}");
        }
    }

    async fn what_is_revoked_elsewhere_is_revoked_here_and_no_dispute_is_lost_by_it(t: &TestDb) {
        let stage = stage(t).await;
        let follow = || async {
            Runner::new(t.db.clone(), stage.market.readers()).drain().await;
        };
        let credentials = &stage.documents.credentials;
        let judged = stage.judged(Command::Verify).await;
        credentials.revoke(&stage.owner, judged.credential, "Lost.").await.unwrap();
        follow().await;
        follow().await;
        assert_eq!(stage.verification(judged.id).await.state, Verdict::Revoked);
        let told = stage.told(judged.id).await;
        assert_eq!(told.iter().filter(|verb| *verb == "verification.revoked").count(), 1);
        stage.fund(&stage.owner, FUNDS).await;
        let (contested, dispute) = stage.disputed().await;
        credentials.revoke(&stage.owner, contested.credential, "Lost.").await.unwrap();
        follow().await;
        assert_eq!(stage.verification(contested.id).await.state, Verdict::Disputed);
        let disputes = &stage.market.disputes;
        let refund = ruling(Resolution::RefundUser);
        disputes.resolve(&stage.admin, dispute.id, &refund).await.unwrap();
        t.clock.advance(3 * DAY);
        assert_eq!(disputes.close_due().await.unwrap(), 1, "what was revoked is not in the way");
        follow().await;
        assert_eq!(stage.verification(contested.id).await.state, Verdict::Overturned);
    }

    async fn a_verdict_that_an_admin_has_revoked_can_still_be_disputed(t: &TestDb) {
        let stage = stage(t).await;
        let (disputes, credentials) = (&stage.market.disputes, &stage.documents.credentials);
        let (owner, admin) = (&stage.owner, &stage.admin);
        let revoke = async |of: &Verification| {
            credentials.revoke_any(admin, of.credential, "Not so.").await.unwrap();
            Runner::new(t.db.clone(), stage.market.readers()).drain().await;
            assert_eq!(stage.verification(of.id).await.state, Verdict::Revoked);
        };
        for (resolution, ends, back) in [
            (Resolution::RefundUser, Verdict::Overturned, PRICE),
            // What was revoked is not good again, whoever is paid.
            (Resolution::Reject, Verdict::Revoked, 0),
            (Resolution::Split, Verdict::Revoked, 2_500),
        ] {
            stage.fund(owner, FUNDS).await;
            let before = stage.money().await;
            let judged = stage.judged(Command::Verify).await;
            revoke(&judged).await;
            let dispute = stage.contest(owner, judged.id).await.unwrap();
            assert_eq!(stage.verification(judged.id).await.state, Verdict::Disputed);
            t.clock.advance(30 * DAY);
            assert_eq!(stage.wallets.release_due().await.unwrap(), 0, "it stands still");
            disputes.resolve(admin, dispute.id, &ruling(resolution)).await.unwrap();
            t.clock.advance(3 * DAY);
            assert_eq!(disputes.close_due().await.unwrap(), 1);
            assert_eq!(stage.verification(judged.id).await.state, ends, "{resolution:?}");
            assert_eq!(stage.money().await.0, before.0 - PRICE + back, "{resolution:?}");
            let again = stage.contest(owner, judged.id).await.unwrap_err();
            let code = if ends == Verdict::Revoked { "window_over" } else { "wrong_state" };
            assert_eq!((again.kind(), again.code()), (Kind::Conflict, code), "{resolution:?}");
        }
        let judged = stage.judged(Command::Verify).await;
        t.clock.advance(8 * DAY);
        stage.wallets.release_due().await.unwrap();
        revoke(&judged).await;
        assert_eq!(stage.contest(owner, judged.id).await.unwrap_err().code(), "window_over");
    }

    async fn evidence_is_a_file_of_the_author_s_own(t: &TestDb) {
        let stage = stage(t).await;
        let judged = stage.judged(Command::Verify).await;
        let foreign = NewEvidence { file: Some(t.db.world().id()), ..words() };
        let disputes = &stage.market.disputes;
        let refused = disputes.open(&stage.owner, judged.id, Ground::Other, &foreign).await;
        assert_eq!(refused.unwrap_err().fields()[0].pointer, "/fileId");
        assert_eq!(stage.verification(judged.id).await.state, Verdict::Verified);
    }

    /// Random parties do random things in random order; each ends with all of the money where one
    /// decision puts it, and with what was held having been paid once.
    async fn no_interleaving_pays_twice(t: &TestDb) {
        let stage = stage(t).await;
        let dice = SeededRandom::new(20_260_711);
        let roll = |sides: usize| {
            let mut bytes = [0; 8];
            dice.fill(&mut bytes);
            usize::try_from(u64::from_le_bytes(bytes) % sides as u64).unwrap()
        };
        let disputes = &stage.market.disputes;
        let mut ends = std::collections::BTreeSet::new();
        for _ in 0..12 {
            stage.fund(&stage.owner, FUNDS).await;
            let start = stage.money().await;
            let judged = stage.judged([Command::Verify, Command::Reject][roll(2)]).await;
            let mut dispute = None;
            for _ in 0..24 {
                // Half of what is decided is decided by who may, so that walks get far.
                let anybody = [&stage.owner, &stage.verifier, &stage.admin];
                let by = if roll(2) == 0 { &stage.admin } else { anybody[roll(3)] };
                let sorts = [Resolution::RefundUser, Resolution::Split, Resolution::Reject];
                let ruling = &ruling(sorts[roll(3)]);
                t.clock.advance(DAY / 3);
                match (roll(7), dispute) {
                    (0 | 1, None) => {
                        dispute = stage.contest(&stage.owner, judged.id).await.ok().map(|d| d.id);
                    }
                    (2, Some(id)) => drop(disputes.resolve(by, id, ruling).await),
                    (3, Some(id)) => {
                        drop(disputes.appeal(anybody[roll(3)], id, &words()).await);
                    }
                    (4, _) => stage.wallets.release_due().await.map(drop).unwrap(),
                    (5, _) => disputes.close_due().await.map(drop).unwrap(),
                    (6, Some(id)) => {
                        let (appeal, evidence) = (disputes.close_due(), words());
                        let other = disputes.appeal(&stage.owner, id, &evidence);
                        drop(futures_util::future::join(appeal, other).await);
                    }
                    _ => {}
                }
                let (wallet, waiting, free, fees) = stage.money().await;
                let sum = |it: (i64, i64, i64, i64)| it.0 + it.1 + it.2 + it.3;
                assert_eq!(sum((wallet, waiting, free, fees)), sum(start));
                let now = stage.verification(judged.id).await;
                let (refunded, fee) = (now.refunded, now.fee.unwrap());
                assert_eq!(wallet - start.0, refunded - PRICE, "{}", now.state);
                assert_eq!(fees - start.3, fee, "{}", now.state);
                let earned = waiting + free - start.1 - start.2;
                assert_eq!(earned, PRICE - refunded - fee, "{}", now.state);
            }
            if let Some(id) = dispute {
                let sorts = [Resolution::RefundUser, Resolution::Split, Resolution::Reject];
                stage.finish(id, sorts[roll(3)]).await;
            }
            ends.insert(stage.verification(judged.id).await.state.as_str());
        }
        assert!(ends.contains("upheld") && ends.contains("overturned"), "too timid: {ends:?}");
    }

    async fn a_verifier_contests_their_own_verdict_and_nobody_is_paid_twice(t: &TestDb) {
        for (resolution, expected, ends) in [
            (Resolution::RefundUser, (FUNDS, 0, 0, 0), Verdict::Overturned),
            (Resolution::Reject, (FUNDS - PRICE, 0, PRICE - FEE, FEE), Verdict::Upheld),
        ] {
            let stage = stage(t).await;
            let client = Client::over(stage.market.routes());
            let id = stage.judged(Command::Verify).await.id;
            let before = stage.free_earnings().await;
            assert_eq!(before, 0);
            let fees = stage.balances().await["fees"];
            let path = format!("POST /v1/verifier/jobs/{id}/dispute");
            let body = json!({ "description": "The seal is forged." });
            assert_eq!(client.send(&stage.rival, &path, body.clone()).await.0, 404);
            let opened = client.ok(&stage.verifier, &path, body.clone()).await;
            assert_eq!(opened["filedBy"], json!(id_of(&stage.verifier)));
            assert_eq!(opened["reason"], "wrong_verdict");
            // Once between both sides, and both are heard.
            assert_eq!(client.send(&stage.verifier, &path, body).await.0, 409);
            assert!(stage.contest(&stage.owner, id).await.is_err());
            let dispute = opened["id"].as_str().unwrap().parse().unwrap();
            let disputes = &stage.market.disputes;
            disputes.add_evidence(&stage.owner, dispute, &words()).await.unwrap();
            let seen = client.get(&stage.owner, &format!("/v1/disputes/{dispute}")).await;
            assert_eq!(seen["evidence"][0]["authorId"], json!(id_of(&stage.verifier)));
            stage.finish(dispute, resolution).await;
            t.clock.advance(30 * DAY);
            stage.wallets.release_due().await.unwrap();
            let (wallet, earned, free, all_fees) = stage.money().await;
            let fees = all_fees - (fees - FEE);
            assert_eq!((wallet, earned, free, fees), expected, "{resolution}");
            assert_eq!(stage.verification(id).await.state, ends);
        }
    }

    async fn a_verifier_contests_in_time_only(t: &TestDb) {
        let stage = stage(t).await;
        let early = stage.accepted().await;
        let refused = stage.contest(&stage.verifier, early.id).await.unwrap_err();
        assert_eq!(refused.code(), "wrong_state");
        let judged = stage.give(&stage.verifier, early.id, Command::Verify).await.unwrap();
        t.clock.advance(30 * DAY);
        stage.wallets.release_due().await.unwrap();
        let refused = stage.contest(&stage.verifier, judged.id).await.unwrap_err();
        assert_eq!(refused.code(), "window_over");
    }

    async fn who_has_acted_for_a_side_does_not_judge_as_an_admin(t: &TestDb) {
        let stage = stage(t).await;
        let owner = id_of(&stage.owner);
        // Members of the owner's team, who are admins by the time that it is decided.
        let member = |admin: &Caller| {
            let acting = Some(Acting {
                by: Actor::Member(id_of(admin)),
                may: Permissions::of(&Permission::ALL),
            });
            let role = Role::Enterprise;
            Caller::of(Principal { acting, ..Principal::new(owner, role, owner.same_as()) })
        };
        let [asked, opened] = ["Anne", "Olga"].map(|name| stage.people.add(t, name, Role::Admin));
        let id = stage.accepted().await.id;
        stage.give(&stage.verifier, id, Command::RequestInfo).await.unwrap();
        stage.give(&member(&asked), id, Command::ProvideInfo).await.unwrap();
        stage.give(&stage.verifier, id, Command::Reject).await.unwrap();
        let dispute = stage.contest(&member(&opened), id).await.unwrap();
        let (disputes, admin) = (&stage.market.disputes, id_of(&stage.admin));
        for judge in [&asked, &opened] {
            for refused in [
                disputes.assign(judge, dispute.id, admin).await,
                disputes.resolve(judge, dispute.id, &ruling(Resolution::RefundUser)).await,
            ] {
                let error = refused.unwrap_err();
                assert_eq!((error.kind(), error.code()), (Kind::Forbidden, "not_yours_to_do"));
            }
            let refused = disputes.assign(&stage.admin, dispute.id, id_of(judge)).await;
            assert_eq!(&*refused.unwrap_err().fields()[0].pointer, "/assigneeId");
        }
        // What an admin does as one is no part in it.
        for _ in 0..2 {
            disputes.assign(&stage.admin, dispute.id, admin).await.unwrap();
        }
        disputes.resolve(&stage.admin, dispute.id, &ruling(Resolution::Reject)).await.unwrap();
    }

    async fn an_admin_finds_disputes_by_what_they_are_about(t: &TestDb) {
        let stage = stage(t).await;
        let (verification, dispute) = stage.disputed().await;
        let (_, other) = stage.disputed().await;
        let client = Client::over(stage.market.routes());
        let find = async |query: &str| {
            let found = client.get(&stage.admin, &format!("/v1/admin/disputes?q={query}")).await;
            let ids = found.as_array().unwrap().iter().map(|one| one["id"].clone());
            ids.collect::<Vec<_>>()
        };
        let (one, both) = ([json!(dispute.id)], [json!(other.id), json!(dispute.id)]);
        assert_eq!(find(&dispute.id.to_string()).await, one);
        assert_eq!(find(&verification.id.to_string()).await, one);
        for all in [dispute.owner.to_string(), dispute.verifier.to_string(),
            "wrong_verdict".to_owned(), "wrong_verdict&status=open".to_owned(), String::new()]
        {
            assert_eq!(find(&all).await, both, "{all}");
        }
        for none in ["misconduct".to_owned(), format!("{}&status=closed", dispute.id),
            id_of(&stage.stranger).to_string()]
        {
            assert_eq!(find(&none).await, [Json::Null; 0], "{none}");
        }
        for all in [dispute.owner.to_string(), "wrong_verdict".to_owned(), String::new()] {
            for (page, shown) in [(1, &both[..1]), (2, &both[1..]), (3, &[])] {
                assert_eq!(find(&format!("{all}&limit=1&page={page}")).await, shown, "{all} {page}");
            }
        }
        let strange = "GET /v1/admin/disputes?q=anything";
        let (status, refused, _) = client.send(&stage.admin, strange, Json::Null).await;
        assert_eq!((status, &refused["fields"]), (422, &json!(["/q"])));
    }

    async fn a_refusal_says_where_it_stands_and_what_is_left_to_do(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        let (verification, dispute) = stage.disputed().await;
        let refused = async |caller: &Caller, request: String, body: Json| {
            let (status, refused, _) = client.send(caller, &request, body).await;
            assert_eq!((status, &refused["code"]), (409, &json!("wrong_state")), "{refused}");
            refused["members"].clone()
        };
        let words = json!({ "message": "x" });
        let appeal = format!("POST /v1/disputes/{}/appeal", dispute.id);
        let expected = json!({ "state": "open", "allowed": ["add_evidence"] });
        assert_eq!(refused(&stage.owner, appeal, words).await, expected);
        let disputes = &stage.market.disputes;
        let refund = ruling(Resolution::RefundUser);
        disputes.resolve(&stage.admin, dispute.id, &refund).await.unwrap();
        let assign = format!("POST /v1/admin/disputes/{}/assign", dispute.id);
        let expected = json!({ "state": "resolved", "allowed": [] });
        assert_eq!(refused(&stage.admin, assign, json!({})).await, expected);

        let expected = json!({ "state": "disputed", "allowed": [] });
        let mine = format!("POST /v1/user/verifications/{}", verification.id);
        assert_eq!(refused(&stage.owner, format!("{mine}/cancel"), Json::Null).await, expected);
        let review = json!({ "rating": 5 });
        assert_eq!(refused(&stage.owner, format!("{mine}/review"), review).await, expected);
        let job = stage.accepted().await.id;
        let accept = format!("POST /v1/verifier/jobs/{job}/accept");
        // It never stood on the board, so it cannot go back there.
        let allowed = ["start", "request_info", "note", "complete"];
        let expected = json!({ "state": "in_review", "allowed": allowed });
        assert_eq!(refused(&stage.verifier, accept, Json::Null).await, expected);
        let cancel = format!("POST /v1/user/verifications/{job}/cancel");
        let expected = json!({ "state": "in_review", "allowed": [] });
        assert_eq!(refused(&stage.owner, cancel, Json::Null).await, expected);
    }

    async fn what_a_person_said_goes_with_them_and_the_decision_stays(t: &TestDb) {
        let stage = stage(t).await;
        let (verification, dispute) = stage.disputed().await;
        let me = id_of(&stage.owner);
        let stakes = || t.db.run("test", |tx| async move { crate::Held.stakes(&tx, me).await });
        assert_eq!(stakes().await.unwrap()[0].subject, verification.id.to_string());
        let disputes = &stage.market.disputes;
        let refund = ruling(Resolution::RefundUser);
        disputes.resolve(&stage.admin, dispute.id, &refund).await.unwrap();
        t.clock.advance(3 * DAY);
        disputes.close_due().await.unwrap();
        assert!(stakes().await.unwrap().is_empty());
        let person = &Person { id: me, email: String::new() };
        t.db
            .run("test", |tx| async move {
                crate::Held.erase(&tx, person, Erasure::Person).await?;
                crate::Held.erase(&tx, person, Erasure::Records).await
            })
            .await
            .unwrap();
        let (left, said) = disputes.look(dispute.id).await.unwrap();
        assert_eq!((left.resolution, left.reasoning), (Some(Resolution::RefundUser), None));
        assert!(said.iter().all(|one| one.text.is_empty()));
    }
}

/// The tables as they were before there were disputes.
const BEFORE: &[Migrations] = &[
    platform::MIGRATIONS,
    Migrations {
        context: "marketplace",
        files: &[Migration {
            name: "0001_marketplace",
            sql: include_str!("../../migrations/0001_marketplace.sql"),
        }],
    },
];

platform::on_both_engines! { BEFORE;
    async fn what_was_there_before_disputes_is_kept_as_it_was(t: &TestDb) {
        let rows = [
            ("verified", Some(7_i64), Some("verified")), ("rejected", Some(0), Some("rejected")),
            ("pending", None, None), ("declined", None, None),
        ];
        for (state, fee, _) in rows {
            let ended = (state != "pending").then_some(9_i64);
            let insert = "INSERT INTO verifications (id, owner, credential, kind, kind_key,
                    verifier, service, service_title, price, currency, sla_hours, hold, state,
                    version, notes, requested_at, due_at, ended_at, fee)
                VALUES ($1, $1, $1, 'K', 'k', $1, $1, 'S', 100, 'USD', 1, $1, $2, 3, '', 1, 2,
                    $3, $4)";
            t.db
                .run("test", |tx| async move {
                    let id: Id<kinds::Verification> = tx.world().id();
                    let params = platform::params![id, state, ended, fee];
                    tx.execute(insert, params).await.map_err(Into::into)
                })
                .await
                .unwrap();
        }
        t.db.migrate(MIGRATIONS).await.unwrap();
        let sql = "SELECT state, fee, verdict, refunded, version FROM verifications ORDER BY id";
        let read = |row: &platform::db::Row<'_>| {
            let kept = (row.take::<String>()?, row.take::<Option<i64>>()?);
            Ok((kept, row.take::<Option<String>>()?, row.take::<i64>()?, row.take::<i64>()?))
        };
        let kept = t.db.all(sql, &[], read).await.unwrap();
        let expected: Vec<_> = rows
            .iter()
            .map(|(state, fee, verdict)| {
                (((*state).to_owned(), *fee), verdict.map(str::to_owned), 0, 3)
            })
            .collect();
        assert_eq!(kept, expected);
    }
}
