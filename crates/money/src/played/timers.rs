//! What time alone brings about, with two workers who both see that it is due.

use std::time::Duration;

use kernel::Clock;
use platform::jobs::{Registry, Worker};

use super::COOLING;
use crate::Options;
use crate::ledger::Code;
use crate::payment::NewDeposit;
use crate::payout::Source;
use crate::provider::ProviderName;
use crate::staking::{NewStake, Policy};
use crate::testing::{MIGRATIONS, Site, assert_sound, balance, caller, facts, give, ngn, user};

platform::on_both_engines! { MIGRATIONS;

async fn s3_what_is_due_happens_once_even_with_two_workers(t: &TestDb) {
    let site = Site::opened(&t.db, |options| Options {
        staking: Policy { minimum: 1, cooling: COOLING, ..Policy::default() },
        earning_window: COOLING,
        payment_lifetime: COOLING,
        ..options
    })
    .await;
    let mut registry = Registry::default();
    site.context.jobs(&mut registry);
    let second = Worker::new(t.replica(), registry);
    let context = &site.context;
    give(&t.db, user(0), ngn(100_000)).await;
    for turn in 0..10_i64 {
        let (wallet, subject) = (&context.wallet, &turn.to_string());
        t.db.run("job", |tx| async move {
            let hold = wallet.hold(&tx, user(0), ngn(1_000), "job", subject).await?;
            wallet.capture(&tx, hold, user(1), ngn(100)).await
        })
        .await
        .unwrap();
        let stake = NewStake { amount: 50, currency: None, source: Source::Wallet };
        context.staking.stake(&caller(user(0)), stake).await.unwrap();
        context.staking.unstake(&caller(user(0)), 50, None).await.unwrap();
        let deposit = NewDeposit {
            amount: 500,
            currency: None,
            provider: Some(ProviderName::Stripe),
            method: None,
            email: None,
        };
        context.payments.deposit(&caller(user(0)), deposit).await.unwrap();
    }
    // An instant too early, and then the instant.
    let open = t.db.world().now() + COOLING;
    t.clock.advance(COOLING - Duration::from_micros(1));
    for due in [false, true] {
        let both = futures_util::join!(
            site.worker.drain(), second.drain(),
            context.wallet.release_due(), context.wallet.release_due(),
            context.staking.finish_due(), context.staking.finish_due(),
            context.payments.sweep(), context.payments.sweep(),
        );
        assert!(both.0.is_ok() && both.1.is_ok() && both.6.is_ok() && both.7.is_ok());
        let times = if due { 10 } else { 0 };
        let (released, finished) = (both.2.unwrap() + both.3.unwrap(), both.4.unwrap() + both.5.unwrap());
        assert!(released <= times && finished <= times);
        assert_eq!(facts(&t.db, "earning.released").await, times as i64);
        assert_eq!(facts(&t.db, "unstake.finished").await, times as i64);
        if !due {
            assert_eq!(facts(&t.db, "deposit.expired").await, 0);
            t.clock.advance(Duration::from_micros(1));
            assert_eq!(t.clock.now(), open);
        }
    }
    // Payments are asked about in their own time.
    t.clock.advance(Duration::from_secs(3_600));
    let (a, b) = futures_util::join!(context.payments.sweep(), context.payments.sweep());
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(facts(&t.db, "deposit.expired").await, 10);
    assert_eq!(balance(&t.db, user(1), Code::EARN).await, 9_000);
    assert_eq!(balance(&t.db, user(0), Code::EARN).await, 500);
    assert_sound(&t.db).await;
}

}
