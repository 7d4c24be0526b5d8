//! A process that dies in the middle of a verdict, or of the decision that overturns one: all of it
//! is there or nothing, and whoever asks again under the same key gets the one outcome.

use std::collections::BTreeMap;

use documents::credential::Status as CredentialStatus;
use kernel::id::kinds;
use kernel::{Caller, Id, Result};
use money::ledger;
use platform::db::{Moment, Read, Row};
use platform::params;
use platform::testing::contents;
use serde_json::{Value as Json, json};

use crate::dispute::model::{Ground, NewEvidence, Resolution, Ruling};
use crate::testing::with_key;
use crate::verification::model::{Command, State, Text};
use crate::verification::tests::{DAY, FEE, MIGRATIONS, PRICE, Stage, stage};

/// What is cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Verdict(Command),
    /// An appeal is decided against the verdict, which is carried out at once.
    Overturn,
    /// Nobody appeals, and the time to do so passes.
    Close,
}

/// Something that is ready for the act, and who acts, under a key.
struct Case {
    caller: Caller,
    id: Id<kinds::Verification>,
    dispute: Option<Id<kinds::Dispute>>,
}

fn words() -> NewEvidence {
    NewEvidence { text: Text::some("", "Words.").unwrap(), file: None }
}

fn ruling(resolution: Resolution) -> Ruling {
    Ruling::parse(resolution, None, "Reasons.").unwrap()
}

/// How many rows each table has got.
type Growth = BTreeMap<String, i64>;

fn growth(before: &BTreeMap<String, Vec<String>>, after: &BTreeMap<String, Vec<String>>) -> Growth {
    let rows = |table: &Vec<String>| i64::try_from(table.len()).unwrap();
    let grown = after.iter().map(|(name, now)| (name.clone(), rows(now) - rows(&before[name])));
    // Busy accounts have several rows, of which chance opens one or another.
    grown.filter(|(name, more)| *more != 0 && name != "ledger_balance").collect()
}

impl Act {
    const fn transaction(self) -> &'static str {
        match self {
            Self::Verdict(_) => "verification.complete",
            Self::Overturn => "dispute.resolve",
            Self::Close => "dispute.close",
        }
    }

    async fn prepare(self, stage: &Stage<'_>, number: u8) -> Case {
        stage.fund(&stage.owner, PRICE).await;
        let id = stage.accepted().await.id;
        let disputes = &stage.market.disputes;
        if let Self::Verdict(_) = self {
            return Case { caller: with_key(&stage.verifier, number), id, dispute: None };
        }
        stage.give(&stage.verifier, id, Command::Verify).await.unwrap();
        let opened = disputes.open(&stage.owner, id, Ground::WrongVerdict, &words()).await.unwrap();
        let first = match self {
            Self::Overturn => Resolution::Reject,
            _ => Resolution::RefundUser,
        };
        disputes.resolve(&stage.admin, opened.id, &ruling(first)).await.unwrap();
        if self == Self::Overturn {
            disputes.appeal(&stage.owner, opened.id, &words()).await.unwrap();
        } else {
            stage.t.clock.advance(3 * DAY);
        }
        Case { caller: with_key(&stage.admin, number), id, dispute: Some(opened.id) }
    }

    /// Acts, and answers what was answered.
    async fn attempt(self, stage: &Stage<'_>, case: &Case) -> Result<Json> {
        let disputes = &stage.market.disputes;
        match (self, case.dispute) {
            (Self::Verdict(command), _) => {
                stage.give(&case.caller, case.id, command).await.map(|done| json!(done))
            }
            (Self::Overturn, Some(dispute)) => {
                let last = ruling(Resolution::RefundUser);
                disputes.resolve(&case.caller, dispute, &last).await.map(|done| json!(done))
            }
            // The timer has no key: it looks what there is to do.
            _ => {
                disputes.close_due().await?;
                Ok(json!(disputes.look(case.dispute.unwrap()).await?.0))
            }
        }
    }

    /// What the whole of it has moved: wallet, held, earned, fees.
    const fn moved(self) -> [i64; 4] {
        match self {
            Self::Verdict(_) => [0, -PRICE, PRICE - FEE, FEE],
            Self::Overturn | Self::Close => [PRICE, 0, FEE - PRICE, -FEE],
        }
    }

    /// Everything that belongs together is there, once.
    async fn is_whole(self, stage: &Stage<'_>, case: &Case) {
        let (verification, _) = stage.market.verifications.find(case.id).await.unwrap();
        let picture = stage.picture(case.id).await;
        let (state, status, issued, last) = match self {
            Self::Verdict(Command::Verify) => {
                (State::Verified, CredentialStatus::Verified, 1, "verification.verified")
            }
            Self::Verdict(_) => {
                (State::Rejected, CredentialStatus::Rejected, 0, "verification.rejected")
            }
            Self::Overturn | Self::Close => {
                (State::Overturned, CredentialStatus::Revoked, 1, "verification.overturned")
            }
        };
        assert_eq!((verification.state, picture.credential.0), (state, status));
        assert!(!picture.verifier_reads);
        let told = stage.told(case.id).await;
        assert_eq!(told.iter().filter(|verb| *verb == last).count(), 1);
        assert_eq!(told.last().unwrap(), last);

        let db = &stage.t.db;
        let sql = "SELECT captured, state FROM ledger_hold WHERE id = $1";
        let read = |row: &Row<'_>| Ok((row.take::<i64>()?, row.take::<String>()?));
        let hold = db.one(sql, params![verification.hold], read).await.unwrap();
        let paid_for = if state == State::Overturned { 0 } else { PRICE };
        assert_eq!(hold, (paid_for, "captured".to_owned()));
        // One signed credential, at a place of its own in its status list.
        let sql = "SELECT CAST(COUNT(*) AS BIGINT), CAST(COUNT(one.revoked_at) AS BIGINT)
                   FROM issued_credentials AS one JOIN issued_credentials AS other
                       ON other.list = one.list AND other.place = one.place
                   WHERE one.verification = $1";
        let read = |row: &Row<'_>| Ok((row.take::<i64>()?, row.take::<i64>()?));
        let signed = db.one(sql, params![case.id], read).await.unwrap();
        assert_eq!(signed, (issued, i64::from(state == State::Overturned)));
        let report = ledger::check(db).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
    }

    /// Nobody dies; answers what that has written.
    async fn undisturbed(self, stage: &Stage<'_>, number: u8) -> Growth {
        let case = self.prepare(stage, number).await;
        let before = contents(&stage.t.db).await;
        self.attempt(stage, &case).await.unwrap();
        self.is_whole(stage, &case).await;
        growth(&before, &contents(&stage.t.db).await)
    }

    /// A case at whose act the process dies at a moment; answers whether that moment came.
    async fn dies(self, stage: &Stage<'_>, case: &Case, moment: Moment, whole: &Growth) -> bool {
        let db = &stage.t.db;
        let (before, balances) = (contents(db).await, stage.balances().await);
        let death = db.die_at(self.transaction(), moment);
        if let Some(outcome) = death.spares(self.attempt(stage, case)).await {
            outcome.unwrap();
            return false;
        }
        stage.t.at_rest().await;
        let left = contents(db).await;
        if moment == Moment::Answer {
            assert_eq!(growth(&before, &left), *whole, "{self:?} at {moment:?}");
        } else {
            assert!(left == before, "{self:?} at {moment:?} has left {:?}", growth(&before, &left));
        }

        let later = stage.restarted().await;
        let answered = self.attempt(&later, case).await.unwrap();
        if self != Self::Close {
            let was_remembered = case.caller.idempotency.as_ref().unwrap().is_replayed();
            assert_eq!(was_remembered, moment == Moment::Answer, "{self:?} at {moment:?}");
        }
        let after = contents(db).await;
        assert_eq!(growth(&before, &after), *whole, "{self:?} at {moment:?}");
        self.is_whole(&later, case).await;
        let now = later.balances().await;
        let moved = ["wallet", "held", "earned", "fees"].map(|name| now[name] - balances[name]);
        assert_eq!(moved, self.moved(), "{self:?} at {moment:?}");
        // And so it stays, however often it is asked for.
        assert_eq!(self.attempt(&later, case).await.unwrap(), answered);
        assert!(contents(db).await == after, "{self:?} at {moment:?} was done twice");
        later.stopped().await;
        true
    }
}

/// Lets the act die at each of its moments; answers how many statements it has.
async fn dies_everywhere(stage: &Stage<'_>, act: Act) -> u32 {
    // The first one of all opens accounts that are there from then on.
    act.undisturbed(stage, 0).await;
    let whole = act.undisturbed(stage, 1).await;
    let least = match act {
        Act::Verdict(_) => 1,
        Act::Overturn | Act::Close => 4,
    };
    assert!(whole["facts"] >= least && whole["ledger_tx"] >= 1, "{whole:?}");
    for (number, moment) in [(2, Moment::Commit), (3, Moment::Answer)] {
        let case = act.prepare(stage, number).await;
        assert!(act.dies(stage, &case, moment, &whole).await, "{act:?} has no {moment:?}");
    }
    for statement in 0..200 {
        let case = act.prepare(stage, 4 + u8::try_from(statement).unwrap()).await;
        if !act.dies(stage, &case, Moment::Statement(statement), &whole).await {
            return statement;
        }
    }
    panic!("{act:?} has no end");
}

platform::on_both_engines! { MIGRATIONS;
    async fn a_positive_verdict_is_whole_or_not_at_all_wherever_the_process_dies(t: &TestDb) {
        let stage = stage(t).await;
        let statements = dies_everywhere(&stage, Act::Verdict(Command::Verify)).await;
        assert!(statements >= 25, "a verdict has {statements} statements");
    }

    async fn a_negative_verdict_is_whole_or_not_at_all_wherever_the_process_dies(t: &TestDb) {
        let stage = stage(t).await;
        let statements = dies_everywhere(&stage, Act::Verdict(Command::Reject)).await;
        assert!(statements >= 20, "a verdict has {statements} statements");
    }

    async fn a_decision_that_overturns_is_whole_or_not_at_all_wherever_the_process_dies(
        t: &TestDb
    ) {
        let mut stage = stage(t).await;
        stage.verifier = stage.bonded("V").await;
        let statements = dies_everywhere(&stage, Act::Overturn).await;
        assert!(statements >= 30, "a decision has {statements} statements");
    }

    /// The timer has the same work and no key. One case is enough before the commit: what has not
    /// happened can still happen.
    async fn a_decision_that_time_carries_out_is_so_once_wherever_the_process_dies(t: &TestDb) {
        let mut stage = stage(t).await;
        stage.verifier = stage.bonded("V").await;
        Act::Close.undisturbed(&stage, 0).await;
        let whole = Act::Close.undisturbed(&stage, 1).await;
        for moment in [Moment::Commit, Moment::Answer] {
            let case = Act::Close.prepare(&stage, 2).await;
            assert!(Act::Close.dies(&stage, &case, moment, &whole).await);
        }
        let case = Act::Close.prepare(&stage, 3).await;
        let before = contents(&t.db).await;
        let mut statement = 0;
        loop {
            let death = t.db.die_at("dispute.close", Moment::Statement(statement));
            if death.spares(Act::Close.attempt(&stage, &case)).await.is_some() {
                break;
            }
            stage.t.at_rest().await;
            assert!(contents(&t.db).await == before, "before statement {statement}");
            statement += 1;
        }
        assert!(statement >= 25, "a decision has {statement} statements");
        assert_eq!(growth(&before, &contents(&t.db).await), whole);
        Act::Close.is_whole(&stage, &case).await;
    }
}
