//! The model test: whatever order dispute, refund, withdrawal, unstaking and charge-back come in,
//! nobody is paid more than was held, and leaving is no way out of a slash.

use std::time::Duration;

use kernel::id::kinds;
use kernel::{Asset, Caller, Id, Money, Random, Role};
use money::ledger::{self, Account, Code, NewTransaction};
use money::payout::Source;
use money::staking::NewStake;
use platform::db::Read;
use platform::journal::Runner;
use platform::testing::SeededRandom;

use super::model::{Ground, NewEvidence, Resolution, Ruling, State};
use crate::testing::id_of;
use crate::verification::model::{Command, NewVerification, State as Verdict, Text};
use crate::verification::tests::{DAY, FEE, MIGRATIONS, PRICE, Stage, diplomas, stage};

/// What a verifier stakes, and a tenth of that.
const BOND: i64 = 4_000;
const SLASHED: i64 = 400;
/// What one charge-back takes.
const CHARGED_BACK: i64 = PRICE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Dispute,
    Refund,
    /// The window passes, and what is free is taken out.
    Withdraw,
    Unstake,
    /// What is cooling down has cooled.
    Finish,
    ChargeBack,
    /// An admin revokes the credential.
    Revoke,
}

const MOVES: [Move; 6] =
    [Move::Dispute, Move::Refund, Move::Withdraw, Move::Unstake, Move::Finish, Move::ChargeBack];

/// Every order of the moves but for those in which one could not have an effect: there is nothing
/// to refund before the dispute, and nothing has cooled down before it was unstaked. In each of them
/// the credential is revoked, in some before and in some after everything else.
fn orders() -> Vec<Vec<Move>> {
    let mut orders = vec![Vec::new()];
    for next in MOVES {
        let longer = orders.iter().flat_map(|order: &Vec<Move>| {
            (0..=order.len()).map(move |at| {
                let mut order = order.clone();
                order.insert(at, next);
                order
            })
        });
        orders = longer.collect();
    }
    let place = |order: &[Move], wanted| order.iter().position(|it| *it == wanted);
    orders.retain(|order| {
        place(order, Move::Dispute) < place(order, Move::Refund)
            && place(order, Move::Unstake) < place(order, Move::Finish)
    });
    for (n, order) in orders.iter_mut().enumerate() {
        order.insert(n % (MOVES.len() + 1), Move::Revoke);
    }
    orders
}

fn roll(dice: &SeededRandom, sides: usize) -> usize {
    let mut bytes = [0; 8];
    dice.fill(&mut bytes);
    usize::try_from(u64::from_le_bytes(bytes) % sides as u64).unwrap()
}

fn words() -> NewEvidence {
    NewEvidence { text: Text::some("", "Words.").unwrap(), file: None }
}

impl Stage<'_> {
    async fn book(&self, from: Account, to: Account, minor: i64) {
        self.try_book(from, to, minor).await.unwrap();
    }

    async fn try_book(&self, from: Account, to: Account, minor: i64) -> kernel::Result<()> {
        let book = |tx: platform::db::Tx| async move {
            let key = format!("test:{}", tx.world().id::<kinds::Payment>());
            let new = NewTransaction::new("test", key, "test");
            ledger::post(&tx, new.post(from, to, Money::new(minor, Asset::USD))).await?;
            Ok(())
        };
        self.t.db.run("test.book", book).await
    }

    async fn of(&self, caller: &Caller, code: Code) -> i64 {
        let account = Account::of(id_of(caller), code);
        ledger::balance(&self.t.db, account, Asset::USD).await.unwrap().minor
    }

    async fn of_platform(&self, code: Code) -> i64 {
        let account = Account::platform(code);
        ledger::balance(&self.t.db, account, Asset::USD).await.unwrap().minor
    }

    /// A verifier with a service and a bond.
    pub(crate) async fn bonded(&self, name: &str) -> Caller {
        let verifier = self.people.add(self.t, name, Role::Verifier);
        self.market.verifiers.replace_offers(&verifier, &[diplomas(PRICE)]).await.unwrap();
        self.stake(&verifier, BOND).await;
        verifier
    }

    async fn stake(&self, verifier: &Caller, amount: i64) {
        let earned = Account::of(id_of(verifier), Code::EARN);
        self.book(Account::platform(Code::CLEARING_SANDBOX), earned, amount).await;
        let (currency, source) = (Some(Asset::USD), Source::Earnings);
        let stake = NewStake { amount, currency, source };
        self.money.staking.stake(verifier, stake).await.unwrap();
    }

    /// Everything of a verifier's that is not out yet.
    async fn has_in_all(&self, verifier: &Caller) -> i64 {
        let mut sum = 0;
        for code in [Code::EARN_PENDING, Code::EARN, Code::STAKE, Code::UNSTAKE] {
            sum += self.of(verifier, code).await;
        }
        sum
    }

    /// Takes out what is free; answers how much that was.
    async fn take_out(&self, caller: &Caller, code: Code, most: i64) -> i64 {
        let free = self.of(caller, code).await.min(most);
        if free > 0 {
            let account = Account::of(id_of(caller), code);
            self.book(account, Account::platform(Code::CLEARING_SANDBOX), free).await;
        }
        free
    }

    async fn is_contested(&self, id: Id<kinds::Verification>) -> Option<Id<kinds::Dispute>> {
        let (disputes, ground) = (&self.market.disputes, Ground::WrongVerdict);
        let opened = disputes.open(&self.owner, id, ground, &words()).await;
        opened.ok().map(|dispute| dispute.id)
    }

    async fn decide(&self, id: Id<kinds::Dispute>, resolution: Resolution) -> bool {
        let bps = (resolution == Resolution::Split).then_some(3_333);
        let ruling = Ruling::parse(resolution, bps, "Reasons.").unwrap();
        self.market.disputes.resolve(&self.admin, id, &ruling).await.is_ok()
    }

    async fn time_passes(&self, time: Duration) {
        self.t.clock.advance(time);
        self.market.disputes.close_due().await.unwrap();
        self.wallets.release_due().await.unwrap();
        self.money.staking.finish_due().await.unwrap();
    }

    /// One history, and what must have come of it.
    async fn play(&self, order: &[Move]) {
        let verifier = &self.verifier;
        let before = (self.of_platform(Code::FEE_JOB).await, self.of_platform(Code::SLASH).await);
        let accepted = self.accepted().await;
        let id = accepted.id;
        self.give(verifier, id, Command::Verify).await.unwrap();
        let (mut dispute, mut verifier_out, mut owner_out) = (None, 0, 0);
        for step in order {
            match step {
                Move::Dispute => dispute = self.is_contested(id).await,
                Move::Refund => {
                    if let Some(dispute) = dispute {
                        assert!(self.decide(dispute, Resolution::RefundUser).await, "{order:?}");
                        self.time_passes(3 * DAY).await;
                    }
                }
                Move::Withdraw => {
                    self.time_passes(8 * DAY).await;
                    verifier_out += self.take_out(verifier, Code::EARN, i64::MAX).await;
                }
                Move::Unstake => {
                    let staked = self.of(verifier, Code::STAKE).await;
                    let (staking, usd) = (&self.money.staking, Some(Asset::USD));
                    staking.unstake(verifier, staked, usd).await.unwrap();
                }
                Move::Finish => self.time_passes(15 * DAY).await,
                Move::Revoke => {
                    // It may have been, with the verdict.
                    let credentials = &self.documents.credentials;
                    let _ = credentials.revoke_any(&self.admin, accepted.credential, "No.").await;
                    Runner::new(self.t.db.clone(), self.market.readers()).drain().await;
                }
                Move::ChargeBack => {
                    owner_out += self.take_out(&self.owner, Code::WALLET, CHARGED_BACK).await;
                }
            }
        }
        self.time_passes(30 * DAY).await;
        let verifier_has = verifier_out + self.has_in_all(verifier).await;
        let owner_has = owner_out + self.of(&self.owner, Code::WALLET).await;
        let after = (self.of_platform(Code::FEE_JOB).await, self.of_platform(Code::SLASH).await);
        let has = (owner_has, verifier_has, after.0 - before.0, after.1 - before.1);
        let expected = if dispute.is_some() {
            (PRICE, BOND - SLASHED, 0, SLASHED)
        } else {
            (0, BOND + PRICE - FEE, FEE, 0)
        };
        assert_eq!(has, expected, "{order:?}");
        let state = self.market.verifications.find(id).await.unwrap().0.state;
        let ended = if dispute.is_some() { Verdict::Overturned } else { Verdict::Revoked };
        assert_eq!(state, ended, "{order:?}");
        assert_eq!(self.count("bond_pins WHERE until IS NULL").await, 0, "{order:?}");
    }
}

platform::on_both_engines! { MIGRATIONS;

    async fn every_order_of_events_pays_what_was_held_and_slashes_what_was_staked(t: &TestDb) {
        let mut stage = stage(t).await;
        let orders = orders();
        assert_eq!(orders.len(), 180);
        for (n, order) in orders.iter().enumerate() {
            stage.owner = stage.people.add(t, &format!("O{n}"), Role::User);
            stage.fund(&stage.owner, PRICE).await;
            stage.verifier = stage.bonded(&format!("V{n}")).await;
            stage.play(order).await;
        }
        assert!(ledger::check(&t.db).await.unwrap().is_sound());
    }

    /// Unstaked before the verdict, cooled down before the dispute: the bond stays within reach
    /// from the acceptance on.
    async fn what_was_unstaked_during_the_work_can_still_be_slashed(t: &TestDb) {
        let mut stage = stage(t).await;
        stage.verifier = stage.bonded("V").await;
        let id = stage.requested().await.id;
        let unstake = async |minor| {
            stage.money.staking.unstake(&stage.verifier, minor, Some(Asset::USD)).await.unwrap();
        };
        unstake(1_000).await;
        stage.give(&stage.verifier, id, Command::Accept).await.unwrap();
        unstake(3_000).await;
        for _ in 0..9 {
            // The owner keeps answering, so that the work may take its time.
            for (caller, command) in
                [(&stage.verifier, Command::RequestInfo), (&stage.owner, Command::ProvideInfo)]
            {
                stage.give(caller, id, command).await.unwrap();
            }
            stage.time_passes(2 * DAY - Duration::from_secs(1)).await;
        }
        assert_eq!(stage.of(&stage.verifier, Code::UNSTAKE).await, BOND, "cooled, and pinned");
        stage.give(&stage.verifier, id, Command::Verify).await.unwrap();
        let dispute = stage.is_contested(id).await.unwrap();
        stage.time_passes(60 * DAY).await;
        assert_eq!(stage.of(&stage.verifier, Code::UNSTAKE).await, BOND);
        assert!(stage.decide(dispute, Resolution::RefundUser).await);
        stage.time_passes(3 * DAY).await;
        assert_eq!(stage.of_platform(Code::SLASH).await, SLASHED);
        assert_eq!(stage.of(&stage.verifier, Code::EARN).await, BOND - SLASHED);
    }

    /// Several people, several cases, and whatever comes to mind.
    async fn no_random_history_pays_more_than_was_held(t: &TestDb) {
        let mut stage = stage(t).await;
        let dice = SeededRandom::new(20_260_707);
        let roll = |sides| roll(&dice, sides);
        let mut verifiers = Vec::new();
        for n in 0..3 {
            verifiers.push((stage.bonded(&format!("V{n}")).await, BOND, 0));
        }
        let (mut cases, mut disputes) = (Vec::new(), Vec::new());
        let (mut funded, mut owner_out) = (crate::verification::tests::FUNDS, 0);
        for _ in 0..300 {
            let who = roll(verifiers.len());
            stage.verifier = verifiers[who].0.clone();
            match roll(9) {
                0 | 1 => {
                    stage.fund(&stage.owner, PRICE).await;
                    funded += PRICE;
                    let id = stage.accepted().await.id;
                    let verdict = [Command::Verify, Command::Reject][roll(2)];
                    stage.give(&stage.verifier, id, verdict).await.unwrap();
                    cases.push(id);
                }
                2 if !cases.is_empty() => {
                    let recent = cases.len().min(4);
                    let case = cases[cases.len() - 1 - roll(recent)];
                    disputes.extend(stage.is_contested(case).await);
                }
                3 | 4 if !disputes.is_empty() => {
                    let others = Resolution::ALL[roll(Resolution::ALL.len())];
                    let how = if roll(2) == 0 { Resolution::RefundUser } else { others };
                    let recent = disputes.len().min(4);
                    let dispute = disputes[disputes.len() - 1 - roll(recent)];
                    let is_open = stage.market.disputes.look(dispute).await.unwrap().0.state;
                    let decided = stage.decide(dispute, how).await;
                    assert_eq!(decided, !matches!(is_open, State::Resolved | State::Closed));
                }
                5 => stage.time_passes(Duration::from_secs(roll(300_000) as u64)).await,
                6 => {
                    let staked = stage.of(&stage.verifier, Code::STAKE).await;
                    if staked >= 200 {
                        let part = 100 + roll(usize::try_from(staked - 100).unwrap()) as i64;
                        let staking = &stage.money.staking;
                        staking.unstake(&stage.verifier, part, Some(Asset::USD)).await.unwrap();
                    } else {
                        stage.stake(&stage.verifier, 1_000).await;
                        verifiers[who].1 += 1_000;
                    }
                }
                7 => {
                    let out = stage.take_out(&stage.verifier, Code::EARN, i64::MAX).await;
                    verifiers[who].2 += out;
                }
                8 => owner_out += stage.take_out(&stage.owner, Code::WALLET, 3_000).await,
                _ => {}
            }
            stage.adds_up(&verifiers, &cases, funded - owner_out).await;
        }
        let report = ledger::check(&t.db).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
        let overturned = stage.count("verifications WHERE state = 'overturned'").await;
        assert!(overturned > 3, "the walk is too timid: {overturned}");
    }
}

/// What came of something that was done while others did other things.
enum Came {
    Nothing,
    Case(Id<kinds::Verification>),
    Dispute(Id<kinds::Dispute>),
    Staked(usize, i64),
    VerifierOut(usize, i64),
    OwnerOut(i64),
}

/// Something to be done, chosen before anybody begins.
enum Deed {
    Case(usize, Command),
    Contest(Id<kinds::Verification>),
    Decide(Id<kinds::Dispute>, Resolution),
    Due,
    Unstake(usize, i64),
    Stake(usize),
    VerifierOut(usize),
    OwnerOut,
}

impl Stage<'_> {
    /// Takes out what is free, unless somebody moves it at this moment.
    async fn try_take_out(&self, caller: &Caller, code: Code, most: i64) -> i64 {
        let free = self.of(caller, code).await.min(most);
        let from = Account::of(id_of(caller), code);
        let to = Account::platform(Code::CLEARING_SANDBOX);
        let is_there = free > 0 && self.try_book(from, to, free).await.is_ok();
        if is_there { free } else { 0 }
    }

    /// A case from its request to its verdict; none where the owner's money has gone meanwhile.
    async fn case(&self, verifier: &Caller, verdict: Command) -> Came {
        let credential = self.credential(&self.owner).await;
        let notes = Text::any("/notes", "Words.").unwrap();
        let asked = NewVerification {
            credential,
            verifier: id_of(verifier).same_as(),
            service: None,
            expedited: false,
            seen: None,
            notes,
        };
        let Ok(requested) = self.market.verifications.request(&self.owner, &asked).await else {
            return Came::Nothing;
        };
        for command in [Command::Accept, verdict] {
            // The timer may come in between, and then there is no verdict.
            if self.give(verifier, requested.id, command).await.is_err() {
                return Came::Nothing;
            }
        }
        Came::Case(requested.id)
    }

    async fn carry_out(&self, deed: &Deed, verifiers: &[(Caller, i64, i64)]) -> Came {
        let (staking, usd) = (&self.money.staking, Some(Asset::USD));
        match deed {
            Deed::Case(who, verdict) => self.case(&verifiers[*who].0, *verdict).await,
            Deed::Contest(case) => {
                self.is_contested(*case).await.map_or(Came::Nothing, Came::Dispute)
            }
            Deed::Decide(dispute, how) => {
                self.decide(*dispute, *how).await;
                Came::Nothing
            }
            Deed::Due => {
                // All timers twice over, as of two workers.
                let disputes = &self.market.disputes;
                let due = futures_util::join!(
                    disputes.close_due(),
                    self.wallets.release_due(),
                    self.money.staking.finish_due(),
                    disputes.close_due(),
                    self.wallets.release_due(),
                    self.money.staking.finish_due(),
                );
                assert!(due.0.is_ok() && due.1.is_ok() && due.2.is_ok(), "{due:?}");
                assert!(due.3.is_ok() && due.4.is_ok() && due.5.is_ok(), "{due:?}");
                Came::Nothing
            }
            Deed::Unstake(who, part) => {
                let _ = staking.unstake(&verifiers[*who].0, *part, usd).await;
                Came::Nothing
            }
            Deed::Stake(who) => {
                self.stake(&verifiers[*who].0, 1_000).await;
                Came::Staked(*who, 1_000)
            }
            Deed::VerifierOut(who) => {
                let out = self.try_take_out(&verifiers[*who].0, Code::EARN, 500).await;
                Came::VerifierOut(*who, out)
            }
            Deed::OwnerOut => {
                Came::OwnerOut(self.try_take_out(&self.owner, Code::WALLET, 3_000).await)
            }
        }
    }
}

platform::on_both_engines! { MIGRATIONS;

    /// The same, and everybody at once.
    async fn no_crowd_is_paid_more_than_was_held(t: &TestDb) {
        const AT_ONCE: usize = 6;
        let stage = stage(t).await;
        let dice = SeededRandom::new(20_261_123);
        let roll = |sides| roll(&dice, sides);
        let mut verifiers = Vec::new();
        for n in 0..3 {
            verifiers.push((stage.bonded(&format!("V{n}")).await, BOND, 0));
        }
        let (mut cases, mut disputes) = (Vec::new(), Vec::new());
        let (mut funded, mut owner_out) = (crate::verification::tests::FUNDS, 0);
        for _ in 0..platform::testing::scaled(50) {
            t.clock.advance(Duration::from_secs(roll(150_000) as u64));
            let mut deeds = Vec::new();
            for _ in 0..AT_ONCE {
                let who = roll(verifiers.len());
                deeds.push(match roll(9) {
                    0 | 1 => {
                        stage.fund(&stage.owner, PRICE).await;
                        funded += PRICE;
                        Deed::Case(who, [Command::Verify, Command::Reject][roll(2)])
                    }
                    2 if !cases.is_empty() => {
                        Deed::Contest(cases[cases.len() - 1 - roll(cases.len().min(4))])
                    }
                    3 | 4 if !disputes.is_empty() => {
                        let others = Resolution::ALL[roll(Resolution::ALL.len())];
                        let how = if roll(2) == 0 { Resolution::RefundUser } else { others };
                        let recent = disputes.len().min(3);
                        Deed::Decide(disputes[disputes.len() - 1 - roll(recent)], how)
                    }
                    5 => Deed::Due,
                    6 => Deed::Unstake(who, 100 + roll(2_000) as i64),
                    7 if roll(3) == 0 => Deed::Stake(who),
                    7 => Deed::VerifierOut(who),
                    _ => Deed::OwnerOut,
                });
            }
            let done = deeds.iter().map(|deed| stage.carry_out(deed, &verifiers));
            for came in futures_util::future::join_all(done).await {
                match came {
                    Came::Nothing => {}
                    Came::Case(id) => cases.push(id),
                    Came::Dispute(id) => disputes.push(id),
                    Came::Staked(who, minor) => verifiers[who].1 += minor,
                    Came::VerifierOut(who, minor) => verifiers[who].2 += minor,
                    Came::OwnerOut(minor) => owner_out += minor,
                }
            }
            stage.adds_up(&verifiers, &cases, funded - owner_out).await;
        }
        let report = ledger::check(&t.db).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
        let overturned = stage.count("verifications WHERE state = 'overturned'").await;
        assert!(overturned > 3, "the crowd is too timid: {overturned}");
    }
}

impl Stage<'_> {
    /// Everybody has what the cases say, and no case has paid more than its price.
    async fn adds_up(
        &self,
        verifiers: &[(Caller, i64, i64)],
        cases: &[Id<kinds::Verification>],
        mut owner: i64,
    ) {
        let mut found = Vec::new();
        for id in cases {
            found.push(self.market.verifications.find(*id).await.unwrap().0);
        }
        for case in &found {
            let fee = case.fee.unwrap();
            assert!(fee >= 0 && case.refunded >= 0 && fee + case.refunded <= case.price);
            owner += case.refunded - case.price;
        }
        assert_eq!(self.of(&self.owner, Code::WALLET).await, owner);
        let mut pool = 0;
        for (verifier, staked, out) in verifiers {
            let theirs = found.iter().filter(|case| case.verifier_user() == Some(id_of(verifier)));
            let earned: i64 = theirs.map(|it| it.price - it.fee.unwrap() - it.refunded).sum();
            let slashed = staked + earned - out - self.has_in_all(verifier).await;
            assert!(slashed >= 0);
            pool += slashed;
        }
        assert_eq!(self.of_platform(Code::SLASH).await, pool);
        let sql = "SELECT CAST(count(*) AS BIGINT) FROM facts WHERE verb = 'stake.slashed'";
        let slashes: i64 = self.t.db.one(sql, &[], |row| row.take()).await.unwrap();
        let is_over = |case: &&crate::verification::Verification| case.state == Verdict::Overturned;
        assert!(slashes <= found.iter().filter(is_over).count() as i64, "once each at most");
    }
}
