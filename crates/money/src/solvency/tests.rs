//! Statements, and the proofs of holders.

use std::sync::Arc;

use http::StatusCode;
use kernel::{Caller, Id, Result, Secret};
use platform::db::Read;
use serde_json::{Value as Json, json};
use verify::log::note::{Note, VerifierKey};
use verify::solvency::{Proof, SolvencyError, Statement};

use super::model::{Notary, Options};
use super::rules::{self, Key};
use super::service::TREES_KEPT;
use crate::ledger::Code;
use crate::testing::{MIGRATIONS, Site, caller, facts, give, ngn, user};

const ORIGIN: &str = "verza.example/solvency";

/// Signs with a key that stands here.
struct Pen;

fn key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[9; 32])
}

fn known() -> VerifierKey {
    let key = verify::key::multikey::PublicKey::of(&key());
    VerifierKey::new(ORIGIN, key).unwrap()
}

impl Notary for Pen {
    fn origin(&self) -> String {
        ORIGIN.to_owned()
    }

    fn sign(&self, text: String) -> Result<String> {
        let mut note = Note::new(text).unwrap();
        note.sign(ORIGIN, &key()).unwrap();
        Ok(note.to_string())
    }

    fn keys(&self) -> Result<Vec<String>> {
        Ok(vec![known().to_string()])
    }
}

fn options() -> Options {
    Options { notary: Arc::new(Pen), secret: Secret::new([3; 32]) }
}

async fn site(t: &platform::testing::TestDb) -> Site {
    Site::opened(&t.db, |all| crate::Options { solvency: Some(options()), ..all }).await
}

async fn proof_of(site: &Site, number: u128) -> (StatusCode, Json) {
    site.get(user(number), "/v1/user/wallet/solvency").await
}

#[test]
fn a_tree_of_tiles_proves_every_leaf_of_any_size() {
    let statement = Id::from_uuid(uuid::Uuid::from_u128(1));
    let key = Key::of(&Secret::new([5; 32]), statement);
    for holders in [1_usize, 2, 3, 127, 128, 129, 200, 300, 33_000] {
        let balances: Vec<_> = (0..holders as u128)
            .map(|number| super::model::Balance {
                owner: Some(user(number)),
                code: Code::WALLET,
                asset: kernel::Asset::NGN,
                minor: number as i64 + 1,
            })
            .collect();
        let sorted = rules::sort(&key, &balances).unwrap();
        let currency = &sorted[&kernel::Asset::NGN];
        let (tiles, sums) = rules::tiles(currency).unwrap();
        let leaves: Vec<_> = currency.leaves.iter().map(|leaf| leaf.node).collect();
        assert_eq!(Some(sums.root), verify::solvency::tree::root(&leaves).unwrap(), "{holders}");
        assert_eq!(sums.holders as usize, holders);
        assert_eq!(tiles.iter().filter(|tile| tile.level == 0).count(), leaves.len().div_ceil(256));
    }
}

platform::on_both_engines! { MIGRATIONS;

async fn every_holder_finds_all_that_they_have_counted(t: &TestDb) {
    let site = site(t).await;
    for number in 0..40_u128 {
        give(&t.db, user(number), ngn(1_000 + number as i64)).await;
    }
    let stated = site.context.solvency.publish(&Caller::nobody()).await.unwrap();
    assert_eq!(facts(&t.db, "solvency.published").await, 1);
    let (status, shown) = site.get(user(0), "/v1/solvency").await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    assert_eq!(shown["note"], stated.note);
    let ngn_line = &shown["currencies"][0];
    assert_eq!((&ngn_line["holders"], &ngn_line["covered"]), (&json!(40), &json!(true)));
    let sum: u64 = (0..40).map(|number| 1_000 + number).sum();
    assert_eq!(ngn_line["owed"], sum);
    let mut places = std::collections::BTreeSet::new();
    for number in 0..40_u128 {
        let (status, body) = proof_of(&site, number).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let proof: Proof = serde_json::from_value(body).unwrap();
        let counted = proof.check(&[known()]).unwrap();
        assert_eq!(counted.amounts, [("NGN".to_owned(), 1_000 + number as u64)]);
        places.extend(proof.parts.iter().map(|part| part.place));
        // Nobody else's name makes these leaves theirs.
        let stolen = Proof { holder: user(99).to_string(), ..proof };
        assert!(matches!(stolen.check(&[known()]), Err(SolvencyError::Path(_))));
    }
    assert_eq!(places, (0..80).collect(), "no leaf is two people's");
    assert_eq!(proof_of(&site, 41).await.0, StatusCode::NOT_FOUND, "who has nothing");
}

async fn a_plan_that_nobody_has_paid_for_is_not_owed_in_money(t: &TestDb) {
    let site = site(t).await;
    give(&t.db, user(0), ngn(500)).await;
    for who in 0..2 {
        site.context.billing.choose(&caller(user(who)), "team").await.unwrap();
    }
    site.context.solvency.publish(&Caller::nobody()).await.unwrap();
    let (_, body) = proof_of(&site, 0).await;
    let proof: Proof = serde_json::from_value(body).unwrap();
    let counted = proof.check(&[known()]).unwrap();
    assert_eq!(counted.amounts, [("NGN".to_owned(), 500)]);
    assert_eq!(proof_of(&site, 1).await.0, StatusCode::NOT_FOUND, "who has an open invoice only");
}

async fn whose_balance_was_left_out_sees_it(t: &TestDb) {
    let site = site(t).await;
    give(&t.db, user(0), ngn(500)).await;
    give(&t.db, user(1), ngn(700)).await;
    // Somebody takes a holder out of the books, and the books' other side along with it.
    let tamper = |tx: platform::db::Tx| async move {
        tx.execute("UPDATE ledger_balance SET credits = 0 WHERE credits = 700", &[]).await?;
        Ok(tx.execute("UPDATE ledger_balance SET debits = 0 WHERE debits = 700", &[]).await?)
    };
    let rows = t.db.run("tamper", tamper).await.unwrap();
    site.context.solvency.publish(&Caller::nobody()).await.unwrap();
    assert_eq!(proof_of(&site, 0).await.0, StatusCode::OK);
    assert_eq!(proof_of(&site, 1).await.0, StatusCode::NOT_FOUND, "{rows}");
    assert!(!crate::ledger::check(&t.db).await.unwrap().is_sound());
}

async fn books_that_do_not_come_out_are_not_signed(t: &TestDb) {
    let site = site(t).await;
    assert_eq!(site.get(user(0), "/v1/solvency").await.0, StatusCode::NOT_FOUND);
    give(&t.db, user(0), ngn(500)).await;
    let tamper = |tx: platform::db::Tx| async move {
        let sql = "UPDATE ledger_balance SET credits = credits - 1 WHERE side = 'C'";
        Ok(tx.execute(sql, &[]).await?)
    };
    t.db.run("tamper", tamper).await.unwrap();
    assert!(site.context.solvency.publish(&Caller::nobody()).await.is_err());
    assert_eq!(site.get(user(0), "/v1/solvency").await.0, StatusCode::NOT_FOUND);
}

async fn of_eight_statements_at_once_the_newest_has_its_tree(t: &TestDb) {
    let site = site(t).await;
    give(&t.db, user(0), ngn(700)).await;
    let by = caller(user(9));
    for round in 1..=3 {
        let all = (0..8).map(|_| site.context.solvency.publish(&by));
        for stated in futures_util::future::join_all(all).await {
            stated.unwrap();
        }
        let (status, proof) = proof_of(&site, 0).await;
        assert_eq!(status, StatusCode::OK, "{proof}");
        assert_eq!(facts(&t.db, "solvency.published").await, 8 * round);
    }
}

async fn statements_stay_and_only_the_last_trees_do(t: &TestDb) {
    let site = site(t).await;
    give(&t.db, user(0), ngn(500)).await;
    let mut all = Vec::new();
    for _ in 0..=TREES_KEPT {
        t.clock.advance(std::time::Duration::from_secs(86_400));
        all.push(site.context.solvency.publish(&Caller::nobody()).await.unwrap());
    }
    let trees = "SELECT CAST(COUNT(DISTINCT statement) AS BIGINT) FROM solvency_tiles";
    let trees: i64 = t.db.one(trees, &[], |row| row.take()).await.unwrap();
    assert_eq!(trees, TREES_KEPT);
    for stated in &all {
        let (status, shown) = site.get(user(0), &format!("/v1/solvency/{}", stated.id)).await;
        assert_eq!((status, &shown["note"]), (StatusCode::OK, &json!(stated.note)));
        let note = Note::parse(&stated.note).unwrap();
        note.verify(&[known()]).unwrap();
        assert_eq!(Statement::parse(note.text()).unwrap().id, stated.id.to_string());
    }
    let newest = site.context.solvency.prove(&caller(user(0))).await.unwrap();
    assert_eq!(newest.statement, all.last().unwrap().note);
}

async fn what_is_asked_for_twice_with_one_key_is_stated_once(t: &TestDb) {
    let site = site(t).await;
    give(&t.db, user(0), ngn(500)).await;
    let path = "/v1/admin/solvency";
    let (status, first) = site.post(user(9), path, "k", json!({})).await;
    assert_eq!(status, StatusCode::CREATED, "{first}");
    let (_, again) = site.post(user(9), path, "k", json!({})).await;
    assert_eq!(first["id"], again["id"]);
    assert_eq!(facts(&t.db, "solvency.published").await, 1);
}

}
