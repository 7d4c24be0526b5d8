//! Money on a simulated chain, by the names of its invariants.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use kernel::Asset;
use kernel::id::kinds::User;
use kernel::{Id, Money};
use platform::db::Read;
use serde_json::{Value as Json, json};

use super::SIGNATURE_HEADER;
use crate::ledger::{self, Account, Code};
use crate::provider::{ProviderName, hmac_sha256_hex};
use crate::testing::{MIGRATIONS, Site, assert_sound, caller, facts, give, user};
use crate::wallet::NewTransfer;

/// Five thousand gwei, as the chain counts them.
const SENT: &str = "5000000000000";

/// The deposit's reference and the address that it answers.
async fn started(site: &Site, who: Id<User>, asset: Asset, key: &str) -> (String, String) {
    let body = json!({ "amount": 5_000, "currency": asset, "provider": "crypto" });
    let (status, answer) = site.post(who, "/v1/user/wallet/deposit", key, body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("reference"), text("accessCode"))
}

async fn status(site: &Site, reference: &str) -> Json {
    site.get(user(0), &format!("/v1/user/wallet/verify/{reference}")).await.1["status"].clone()
}

/// Callbacks are delivered and acted on.
async fn tell(site: &Site) {
    let told = site.sim.deliver().await;
    assert_eq!(told.failed, 0);
    site.worker.drain().await.unwrap();
}

async fn of(site: &Site, code: Code, asset: Asset) -> i64 {
    ledger::balance(&site.db, Account::of(user(0), code), asset).await.unwrap().minor
}

async fn assert_reconciled(site: &Site) {
    for asset in [Asset::ETH, Asset::USDC] {
        let clearing = Account::platform(Code::CLEARING_CRYPTO);
        let booked = ledger::balance(&site.db, clearing, asset).await.unwrap();
        assert_eq!(booked, site.sim.balance(ProviderName::Crypto, asset));
    }
    assert_sound(&site.db).await;
}

async fn count(site: &Site, table: &str) -> i64 {
    let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
    site.db.one(&sql, &[], |row| row.take()).await.unwrap()
}

platform::on_both_engines! { MIGRATIONS;

async fn p8_only_a_final_transfer_credits_and_one_that_moves_to_another_block_credits_once(
    t: &TestDb
) {
    let site = Site::open(&t.db).await;
    let (reference, address) = started(&site, user(0), Asset::ETH, "k").await;
    site.sim.arrive(&address, Asset::ETH, SENT);
    for blocks in [0, 1, 10] {
        site.sim.mine(blocks);
        tell(&site).await;
        assert_eq!(status(&site, &reference).await, "pending");
        assert_eq!(of(&site, Code::WALLET, Asset::ETH).await, 0);
    }
    // Its block and all above it are replaced, one before it would count.
    site.sim.reorganise(11);
    tell(&site).await;
    site.sim.mine(11);
    tell(&site).await;
    assert_eq!(status(&site, &reference).await, "pending");
    site.sim.mine(1);
    site.sim.mishaps(crate::sim::Mishaps { duplicate: 100, ..Default::default() });
    tell(&site).await;
    t.clock.advance(Duration::from_secs(3_600));
    site.context.payments.sweep().await.unwrap();
    assert_eq!(status(&site, &reference).await, "settled");
    assert_eq!(of(&site, Code::WALLET, Asset::ETH).await, 5_000);
    assert_eq!((facts(&t.db, "deposit.settled").await, count(&site, "arrivals").await), (1, 1));
    assert_eq!(facts(&t.db, "deposit.disputed").await, 0);
    assert_reconciled(&site).await;
}

async fn p8_what_arrives_while_its_payment_ends_is_credited_once(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let owners: Vec<_> = (0..8).map(user).collect();
    for round in 0..4 {
        let mut paths = Vec::new();
        for owner in &owners {
            let (own, address) = started(&site, *owner, Asset::ETH, &round.to_string()).await;
            paths.push(format!("/v1/user/wallet/verify/{own}"));
            site.sim.arrive(&address, Asset::ETH, SENT);
        }
        // Nobody has looked, and the time to pay is over.
        t.clock.advance(Duration::from_secs(24 * 3600 + 1));
        let payments = &site.context.payments;
        let verified = owners.iter().zip(&paths).map(|(owner, path)| site.get(*owner, path));
        futures_util::join!(join_all((0..8).map(|_| payments.watch())), join_all(verified));
        payments.watch().await;
        site.sim.mine(20);
        t.clock.advance(Duration::from_secs(3_600));
        payments.sweep().await.unwrap();
        let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM payments WHERE state = 'settled'";
        let settled: i64 = t.db.one(sql, &[], |row| row.take()).await.unwrap();
        assert_eq!(settled, 8 * (round + 1));
    }
    for owner in owners {
        let account = Account::of(owner, Code::WALLET);
        let has = ledger::balance(&t.db, account, Asset::ETH).await.unwrap().minor;
        assert_eq!(has, 4 * 5_000);
    }
    assert_reconciled(&site).await;
}

async fn p8_a_transfer_that_is_replaced_before_it_is_final_credits_nothing(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let (reference, address) = started(&site, user(0), Asset::ETH, "k").await;
    let id = site.sim.arrive(&address, Asset::ETH, SENT);
    site.sim.mine(11);
    tell(&site).await;
    site.sim.reorganise(11);
    site.sim.drop_transfer(&id).unwrap();
    tell(&site).await;
    assert_eq!(status(&site, &reference).await, "failed");
    site.sim.mine(50);
    tell(&site).await;
    assert_eq!(of(&site, Code::WALLET, Asset::ETH).await, 0);
    assert_eq!(facts(&t.db, "deposit.settled").await, 0);
    assert_reconciled(&site).await;
}

async fn what_arrives_is_what_is_credited_asked_for_or_not(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let (reference, address) = started(&site, user(0), Asset::USDC, "k").await;
    site.sim.arrive(&address, Asset::USDC, "7001");
    site.sim.arrive(&address, Asset::USDC, "12");
    // Too little, too much, to the address of another asset, and to nobody.
    let (_, ether) = started(&site, user(0), Asset::ETH, "e").await;
    let mut widest = "9".repeat(77);
    site.sim.arrive(&ether, Asset::ETH, "999999999");
    site.sim.arrive(&ether, Asset::ETH, &widest);
    site.sim.arrive(&ether, Asset::USDC, "5");
    widest.truncate(12);
    site.sim.arrive("0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359", Asset::ETH, &widest);
    site.sim.mine(12);
    t.clock.advance(Duration::from_secs(121));
    site.context.payments.sweep().await.unwrap();
    assert_eq!(of(&site, Code::WALLET, Asset::USDC).await, 7_018);
    assert_eq!(of(&site, Code::WALLET, Asset::ETH).await, 0);
    let path = format!("/v1/user/wallet/verify/{reference}");
    let (_, answer) = site.get(user(0), &path).await;
    assert_eq!((&answer["status"], &answer["amount"]), (&json!("settled"), &json!(7_001)));
    assert_eq!((count(&site, "arrivals").await, count(&site, "payments").await), (5, 4));
    assert_sound(&t.db).await;
}

async fn a_wallet_has_one_address_for_each_asset(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let (_, first) = started(&site, user(0), Asset::ETH, "1").await;
    assert_eq!(started(&site, user(0), Asset::ETH, "2").await.1, first);
    assert_ne!(started(&site, user(0), Asset::USDC, "3").await.1, first);
    assert_ne!(started(&site, user(1), Asset::ETH, "4").await.1, first);
    assert_eq!(count(&site, "deposit_addresses").await, 3);
    // Of two that wait the older one is paid first.
    site.sim.arrive(&first, Asset::ETH, SENT);
    site.sim.mine(12);
    tell(&site).await;
    let settled = "SELECT CAST(COUNT(*) AS BIGINT) FROM payments WHERE state = 'settled'";
    let settled: i64 = t.db.one(settled, &[], |row| row.take()).await.unwrap();
    assert_eq!((settled, of(&site, Code::WALLET, Asset::ETH).await), (1, 5_000));
}

async fn a_block_that_is_replaced_after_it_counted_is_a_charge_back(t: &TestDb) {
    let site = Site::open(&t.db).await;
    for (key, is_back) in [("back", true), ("gone", false)] {
        let (reference, _) = started(&site, user(0), Asset::ETH, key).await;
        site.sim.pay(&reference, None).unwrap();
        tell(&site).await;
        assert_eq!(of(&site, Code::WALLET, Asset::ETH).await, 5_000);
        if !is_back {
            give(&t.db, user(1), Money::new(1, Asset::ETH)).await;
            let transfer = NewTransfer { to: user(1), amount: Money::new(3_000, Asset::ETH) };
            site.context.wallet.transfer(&caller(user(0)), transfer).await.unwrap();
        }
        site.sim.dispute(&reference).unwrap();
        tell(&site).await;
        let left = if is_back { 5_000 } else { 2_000 };
        assert_eq!(of(&site, Code::HELD, Asset::ETH).await, left);
        site.sim.decide_dispute(&reference, is_back).unwrap();
        tell(&site).await;
        if is_back {
            assert_eq!(of(&site, Code::WALLET, Asset::ETH).await, 5_000);
            // Out of the way of the next turn.
            give(&t.db, user(1), Money::new(1, Asset::ETH)).await;
            let transfer = NewTransfer { to: user(1), amount: Money::new(5_000, Asset::ETH) };
            site.context.wallet.transfer(&caller(user(0)), transfer).await.unwrap();
        }
    }
    assert_eq!(of(&site, Code::HELD, Asset::ETH).await, 0);
    assert_eq!(of(&site, Code::RECEIVABLE_NEGATIVE, Asset::ETH).await, 3_000);
    assert_reconciled(&site).await;
}

async fn p9_an_address_that_cannot_be_right_is_not_saved(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let (_, own) = started(&site, user(1), Asset::ETH, "k").await;
    let good = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";
    let save = async |account: &str| {
        let body = json!({ "kind": "crypto", "currency": "USDC", "account": account });
        site.post(user(0), "/v1/payout-destinations", account, body).await
    };
    let zero = format!("0x{}", "0".repeat(40));
    for wrong in [
        good.replace('B', "b").as_str(),
        &good[..41],
        zero.as_str(),
        "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
        own.as_str(),
        "ada@example.com",
    ] {
        let (status, answer) = save(wrong).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        assert_eq!(answer["fields"][0]["pointer"], "/account", "{answer}");
    }
    let (status, answer) = save(&good.to_lowercase()).await;
    assert_eq!((status, &answer["mask"]), (StatusCode::CREATED, &json!("…d359")));
    let body = json!({ "kind": "crypto", "currency": "BTC", "account": good });
    let (_, answer) = site.post(user(0), "/v1/payout-destinations", "btc", body).await;
    assert_eq!(answer["fields"][0]["pointer"], "/currency");
}

async fn p3_a_callback_of_another_key_time_or_chain_is_refused(t: &TestDb) {
    use platform::testing::ManualClock;
    let site = Site::open(&t.db).await;
    let now = ManualClock::START.seconds();
    let event =
        r#"{"id":"cb_1","type":"transfer.seen","chain":31337,"subject":"31337:0x00:0"}"#;
    let sign = |key: &str, time: i64, body: &str| {
        let time = time.to_string();
        let parts: [&[u8]; 3] = [time.as_bytes(), b".", body.as_bytes()];
        format!("t={time},v1={}", hmac_sha256_hex(key, &parts))
    };
    let key = "secret-of-the-simulated-signer";
    let main = event.replace("\"chain\":31337", "\"chain\":1");
    let (path, header) = ("/v1/payments/webhook/crypto", SIGNATURE_HEADER);
    for (signature, body) in [
        (sign("another", now, event), event),
        (sign(key, now - 301, event), event),
        (sign(key, now, event), "{}"),
        (sign(key, now, &main), main.as_str()),
    ] {
        let status = site.signed(path, Some((header, &signature)), body).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}");
    }
    assert_eq!(count(&site, "provider_events").await, 0);
    let bare = "/v1/payments/webhook";
    let good = sign(key, now, event);
    assert_eq!(site.signed(bare, Some((header, &good)), event).await, StatusCode::OK);
}

}
