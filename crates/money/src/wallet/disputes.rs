//! Disputes about held money, in each phase of it.

use kernel::id::kinds::{Hold, User};
use kernel::{Asset, Id, Result};
use platform::db::Db;

use super::{Captured, Resolution};
use crate::Context;
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::testing::{MIGRATIONS, assert_sound, balance, context, give, ngn, user};

const PRICE: i64 = 10_001;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Held,
    Captured,
    Released,
    /// Paid out, and the payee has spent it; half of it is covered by a bond.
    Spent,
}

const PHASES: [Phase; 4] = [Phase::Held, Phase::Captured, Phase::Released, Phase::Spent];
const HOWS: [Resolution; 4] = [
    Resolution::RefundOwner,
    Resolution::PayPayee,
    Resolution::Split { payee_bps: 3_333 },
    Resolution::Split { payee_bps: 10_000 },
];

/// A job of user 0's for user 1, as far as the phase says.
async fn job(db: &Db, context: &Context, phase: Phase, subject: &str) -> Id<Hold> {
    let wallet = &context.wallet;
    give(db, user(0), ngn(PRICE)).await;
    let hold = |tx| async move { wallet.hold(&tx, user(0), ngn(PRICE), "job", subject).await };
    let hold = db.run("hold", hold).await.unwrap();
    if phase != Phase::Held {
        let fee = wallet.job_fee(ngn(PRICE));
        let capture = |tx| async move { wallet.capture(&tx, hold, user(1), fee).await };
        db.run("capture", capture).await.unwrap();
    }
    if matches!(phase, Phase::Released | Phase::Spent) {
        let release = |tx| async move { wallet.release_earning(&tx, hold).await };
        db.run("release", release).await.unwrap();
    }
    if phase == Phase::Spent {
        let earned = Account::of(user(1), Code::EARN);
        let (bond, gone) =
            (Account::of(user(1), Code::STAKE), Account::platform(Code::CLEARING_SANDBOX));
        let spent = |tx| async move {
            let new = NewTransaction::new("spent", format!("spent:{hold}"), hold)
                .post(earned, bond, ngn(4_000))
                .post(earned, gone, ngn(9_001 - 4_000));
            ledger::post(&tx, new).await.map(drop)
        };
        db.run("spend", spent).await.unwrap();
    }
    hold
}

async fn resolve(db: &Db, context: &Context, hold: Id<Hold>, how: Resolution) -> Result<Captured> {
    let wallet = &context.wallet;
    db.run("resolve", |tx| async move { wallet.resolve(&tx, hold, user(1), how).await }).await
}

async fn dispute(db: &Db, context: &Context, hold: Id<Hold>) {
    let wallet = &context.wallet;
    db.run("dispute", |tx| async move { wallet.dispute(&tx, hold).await }).await.unwrap();
}

async fn has(db: &Db, owner: Id<User>) -> i64 {
    let mut sum = 0;
    for code in [Code::WALLET, Code::HELD, Code::EARN_PENDING, Code::EARN, Code::STAKE] {
        sum += balance(db, owner, code).await;
    }
    sum
}

async fn platform_has(db: &Db) -> i64 {
    let of = async |code| ledger::balance(db, Account::platform(code), Asset::NGN).await.unwrap();
    of(Code::FEE_JOB).await.minor - of(Code::GOODWILL_COST).await.minor
}

platform::on_both_engines! { MIGRATIONS;

async fn h5_every_resolution_in_every_phase_conserves_the_price(t: &TestDb) {
    let context = context(&t.db);
    let db = &t.db;
    for phase in PHASES {
        for how in HOWS {
            let subject = format!("{phase:?} {how:?}");
            let hold = job(db, &context, phase, &subject).await;
            dispute(db, &context, hold).await;
            let before = has(db, user(0)).await + has(db, user(1)).await + platform_has(db).await;
            let owner_before = balance(db, user(0), Code::WALLET).await;
            let kept = resolve(db, &context, hold, how).await.unwrap();
            assert_eq!(kept.amount.minor, kept.fee.minor + kept.net.minor, "{subject}");
            let back = balance(db, user(0), Code::WALLET).await - owner_before;
            assert_eq!(back, PRICE - kept.amount.minor, "{subject}");
            let after = has(db, user(0)).await + has(db, user(1)).await + platform_has(db).await;
            assert_eq!(after, before, "{subject}");
            let again = resolve(db, &context, hold, how).await.unwrap_err();
            assert_eq!(again.code(), "not_disputed", "{subject}");
            assert_eq!(balance(db, user(0), Code::HELD).await, 0);
            assert_eq!(balance(db, user(1), Code::EARN_PENDING).await, 0, "{subject}");
            assert_sound(db).await;
        }
    }
}

async fn what_a_payee_has_spent_is_paid_by_the_bond_and_then_by_the_platform(t: &TestDb) {
    let context = context(&t.db);
    let hold = job(&t.db, &context, Phase::Spent, "job").await;
    dispute(&t.db, &context, hold).await;
    resolve(&t.db, &context, hold, Resolution::RefundOwner).await.unwrap();
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, PRICE);
    assert_eq!(balance(&t.db, user(1), Code::STAKE).await, 0);
    let goodwill = Account::platform(Code::GOODWILL_COST);
    let goodwill = ledger::balance(&t.db, goodwill, Asset::NGN).await.unwrap();
    assert_eq!(goodwill, ngn(5_001));
}

async fn disputed_money_is_neither_captured_nor_released_nor_paid_out(t: &TestDb) {
    let context = context(&t.db);
    let (db, wallet) = (&t.db, &context.wallet);
    let held = job(db, &context, Phase::Held, "held").await;
    let earned = job(db, &context, Phase::Captured, "earned").await;
    for hold in [held, earned] {
        dispute(db, &context, hold).await;
        dispute(db, &context, hold).await;
    }
    let fee = ngn(0);
    let captured =
        db.run("c", |tx| async move { wallet.capture(&tx, held, user(1), fee).await }).await;
    assert_eq!(captured.unwrap_err().code(), "hold_disputed");
    let released = db.run("r", |tx| async move { wallet.release(&tx, held).await }).await;
    assert_eq!(released.unwrap_err().code(), "hold_disputed");
    t.clock.advance(std::time::Duration::from_secs(8 * 24 * 3600));
    assert_eq!(wallet.release_due().await.unwrap(), 0);
    for hold in [held, earned] {
        db.run("u", |tx| async move { wallet.undispute(&tx, hold).await }).await.unwrap();
    }
    assert_eq!(wallet.release_due().await.unwrap(), 1);
    db.run("r", |tx| async move { wallet.release(&tx, held).await }).await.unwrap();
    let late = resolve(db, &context, held, Resolution::RefundOwner).await.unwrap_err();
    assert_eq!(late.code(), "not_disputed");
    assert_sound(db).await;
}

}
