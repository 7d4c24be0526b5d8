//! The context as its callers use it, on both engines.

use kernel::{Caller, Id};
use platform::crypto::MasterKey;
use platform::db::Read;
use platform::journal::{self, Fact, Runner};
use platform::params;
use platform::testing::TestDb;
use serde_json::Value as Json;
use uuid::Uuid;

use super::testing::{DAY, TABLES, claim, trust};
use crate::issuance::service::{Issued, VerdictClaim};
use crate::key::service::{PUBLISHED_BEFORE_USE, Purpose};
use crate::{Trust, TrustOptions};
use verify::judge::report::{self, Name, Outcome, Verdict};
use verify::judge::{self, Options};
use verify::status::bitstring::Bitstring;

async fn issue(t: &TestDb, trust: &Trust) -> Issued {
    let claim = &claim(t);
    t.db.run("test", |tx| async move { trust.issuance.issue(&tx, tx.world().id(), claim).await })
        .await
        .unwrap()
}

async fn settle(t: &TestDb, trust: &Trust) {
    Runner::new(t.db.clone(), trust.readers()).drain().await;
}

fn judge(t: &TestDb, trust: &Trust, file: &str) -> report::Report {
    let mut pins = judge::trust::Trust::default();
    pins.pin(&trust.keys.did_document().to_string()).unwrap();
    let options = Options {
        now: t.db.world().now().seconds(),
        trust: pins,
        status_age_max: 2 * 24 * 3600,
        document_sha256: Some([3; 32]),
        status_lists: Vec::new(),
        challenge: None,
    };
    judge::verify(file.as_bytes(), &options)
}

platform::on_both_engines! { TABLES;

async fn an_issued_verdict_is_judged_valid_from_its_bundle_alone(t: &TestDb) {
    let trust = trust(t).await;
    let issued = issue(t, &trust).await;
    settle(t, &trust).await;
    let bundle = trust.issuance.bundle(&t.db, issued.id).await.unwrap().to_string();
    let report = judge(t, &trust, &bundle);
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    assert!(report.checks.iter().filter(|c| c.outcome == Outcome::Proved).count() >= 14, "{report}");
    assert_eq!(report.outcome(Name::Document), Outcome::Proved);
}

async fn a_bundle_from_before_the_log_took_the_fact_in_says_so(t: &TestDb) {
    let trust = trust(t).await;
    let issued = issue(t, &trust).await;
    let bundle = trust.issuance.bundle(&t.db, issued.id).await.unwrap();
    assert!(bundle.get("logProof").is_none());
    assert_eq!(judge(t, &trust, &bundle.to_string()).verdict, Verdict::Valid);
}

async fn a_revoked_verdict_is_judged_invalid_and_cannot_be_revoked_twice(t: &TestDb) {
    let trust = trust(t).await;
    let issued = issue(t, &trust).await;
    let before = trust.lists.edition(issued.status.list).await.unwrap();
    settle(t, &trust).await;
    let early = trust.issuance.bundle(&t.db, issued.id).await.unwrap();
    let bare = early["credential"].clone();
    let answer = async |file: &Json| {
        trust.judging.judge(file.to_string().as_bytes(), None).await.unwrap().verdict
    };
    for file in [&early, &bare] {
        assert_eq!(answer(file).await, Verdict::Valid);
    }
    let caller = &Caller::nobody();
    let revoke = || async {
        let (trust, id) = (&trust, issued.id);
        t.db.run("test", |tx| async move {
            trust.issuance.revoke(&tx, id, caller, "retracted").await
        })
        .await
    };
    revoke().await.unwrap();
    assert_eq!(revoke().await.unwrap_err().code(), "already_revoked");
    let after = trust.lists.edition(issued.status.list).await.unwrap();
    assert_ne!(before["credentialSubject"], after["credentialSubject"]);
    let bundle = trust.issuance.bundle(&t.db, issued.id).await.unwrap().to_string();
    let report = judge(t, &trust, &bundle);
    assert_eq!(report.verdict, Verdict::Invalid, "{report}");
    assert_eq!(report.outcome(Name::NotRevoked), Outcome::Failed);
    // Whoever asks here is told what is known here, whatever an older file encloses.
    for file in [&early, &bare] {
        assert_eq!(answer(file).await, Verdict::Invalid);
    }
}

async fn a_verdict_ends_with_its_document_unless_that_had_ended_before(t: &TestDb) {
    let trust = trust(t).await;
    let now = t.db.world().now();
    for (ends, holds) in [
        (None, 365 * DAY),
        (Some(now + DAY * 30), DAY * 30),
        (Some(now + DAY * 400), 365 * DAY),
        (Some(now - DAY), 365 * DAY),
    ] {
        let claim = &VerdictClaim { document_ends: ends, ..claim(t) };
        let trust = &trust;
        let issued =
            t.db.run("test", |tx| async move { trust.issuance.issue(&tx, tx.world().id(), claim).await }).await;
        let issued = issued.unwrap();
        assert_eq!(issued.valid_until, now + holds, "{ends:?}");
        let until = (now + holds).to_second_text();
        assert_eq!(issued.document["validUntil"].as_str(), Some(until.as_str()));
    }
}

async fn one_verification_is_issued_once(t: &TestDb) {
    let trust = &trust(t).await;
    let claim = &claim(t);
    let issue = || t.db.run("test", |tx| async move { trust.issuance.issue(&tx, tx.world().id(), claim).await });
    issue().await.unwrap();
    assert_eq!(issue().await.unwrap_err().code(), "already_issued");
    let sql = "SELECT CAST(count(*) AS BIGINT) FROM status_entries";
    let places: i64 = t.db.one(sql, &[], |row| row.take()).await.unwrap();
    assert_eq!(places, 1, "the refused one left its place behind");
}

async fn every_verdict_has_a_place_of_its_own_and_only_the_revoked_bit_is_set(t: &TestDb) {
    let trust = &trust(t).await;
    let mut places = std::collections::HashSet::new();
    let mut last = None;
    for _ in 0..20 {
        let issued = issue(t, trust).await;
        assert!(places.insert(issued.status.place));
        last = Some(issued);
    }
    let last = last.unwrap();
    let caller = &Caller::nobody();
    t.db.run("test", |tx| async move {
        trust.issuance.revoke(&tx, last.id, caller, "x").await
    }).await.unwrap();
    let edition = trust.lists.edition(last.status.list).await.unwrap();
    let encoded = edition["credentialSubject"]["encodedList"].as_str().unwrap();
    let list = Bitstring::decode(encoded).unwrap();
    let set: Vec<u32> = (0..list.entries()).filter(|n| list.get(*n).unwrap()).collect();
    assert_eq!(set, [u32::try_from(last.status.place).unwrap()]);
}

async fn an_edition_is_signed_anew_before_it_runs_out(t: &TestDb) {
    let trust = trust(t).await;
    let list = issue(t, &trust).await.status.list;
    let first = trust.lists.edition(list).await.unwrap();
    assert_eq!(first, trust.lists.edition(list).await.unwrap());
    t.clock.advance(DAY / 2);
    let second = trust.lists.edition(list).await.unwrap();
    assert_ne!(first["validUntil"], second["validUntil"]);
    assert!(trust.lists.edition(t.db.world().id()).await.is_err());
}

async fn a_rotated_key_is_published_first_and_the_old_one_stays_good(t: &TestDb) {
    let trust = trust(t).await;
    let old = issue(t, &trust).await;
    let signer = |trust: &Trust| {
        trust.keys.signer(Purpose::Credential, t.db.world().now()).unwrap().method.clone()
    };
    let before = signer(&trust);
    trust.keys.rotate(Purpose::Credential, PUBLISHED_BEFORE_USE).await.unwrap();
    assert_eq!(signer(&trust), before, "a new key does not sign before it is known");
    t.clock.advance(PUBLISHED_BEFORE_USE);
    assert_ne!(signer(&trust), before);
    let methods = trust.keys.did_document()["verificationMethod"].as_array().unwrap().len();
    assert_eq!(methods, 2);
    let new = issue(t, &trust).await;
    for issued in [old, new] {
        let bundle = trust.issuance.bundle(&t.db, issued.id).await.unwrap().to_string();
        assert_eq!(judge(t, &trust, &bundle).verdict, Verdict::Valid);
    }
}

async fn the_keys_survive_a_restart_and_never_stand_in_the_clear(t: &TestDb) {
    let first = trust(t).await.keys.did_document();
    let again = trust(t).await;
    assert_eq!(again.keys.did_document(), first);
    let signer = again.keys.signer(Purpose::Log, t.db.world().now()).unwrap();
    let secret = signer.key.to_bytes();
    let sql = "SELECT sealed_key FROM issuer_keys";
    let stored: Vec<Vec<u8>> = t.db.all(sql, &[], |row| row.take()).await.unwrap();
    assert!(stored.iter().all(|sealed| !sealed.windows(32).any(|part| part == secret)));
    let wrong = Trust::new(TrustOptions {
        db: t.db.clone(),
        master_key: MasterKey::new([1; 32]),
        public_url: "https://verza.example".into(),
        issuer_name: "Verza".into(),
        validity: DAY,
        witnesses: Vec::new(),
        memory: None,
    })
    .unwrap();
    assert!(wrong.start().await.is_err(), "another master key opens nothing");
}

async fn the_log_proves_every_fact_and_each_head_contains_the_one_before(t: &TestDb) {
    let trust = trust(t).await;
    let mut sizes = Vec::new();
    for batch in 0..4_i64 {
        for n in 0..(batch * 90 + 1) {
            t.db.run("test", |tx| async move {
                tx.record(Fact::by(&Caller::nobody(), "thing.done").on("x").with("n", n));
                Ok(())
            })
            .await
            .unwrap();
        }
        settle(t, &trust).await;
        sizes.push(journal::head(&t.db).await.unwrap().unsigned_abs());
    }
    let report = trust.log.check().await.unwrap();
    assert_eq!((report.size, report.failures.len()), (*sizes.last().unwrap(), 0), "{report:?}");
    for pair in sizes.windows(2) {
        assert!(!trust.log.consistency(None, pair[0], pair[1]).await.unwrap().is_empty());
    }
    assert!(trust.log.consistency(None, 0, 1).await.is_err());
    assert!(trust.log.consistency(None, 1, 10_000).await.is_err());

    let vkey = trust.log.verifier_keys().await.unwrap().remove(0);
    for fact in journal::since(&t.db, 0, 1000).await.unwrap().iter().step_by(37) {
        let shown = trust.log.inclusion(fact).await.unwrap().unwrap();
        let proof = verify::log::proof::InclusionProof::parse(&shown.proof).unwrap();
        let head = proof.verify(shown.entry.as_bytes(), std::slice::from_ref(&vkey)).unwrap();
        assert_eq!(head.size, shown.size);
        let entry = verify::log::entry::Entry::parse(&shown.entry).unwrap();
        let commitment = verify::log::entry::commitment(&shown.salt, &shown.row).unwrap();
        assert_eq!(entry.commitment, commitment);
    }
    let tile = trust.log.resource(None, "tile/0/000").await.unwrap();
    assert_eq!(tile.len(), 8192);
    assert!(trust.log.resource(None, "tile/0/999").await.is_err());
    let entries = trust.log.resource(None, "tile/entries/000").await.unwrap();
    assert_eq!(verify::log::tile::decode_bundle(&entries, 256).unwrap().len(), 256);
}

async fn a_newer_verdict_takes_the_place_of_the_older_one(t: &TestDb) {
    let trust = trust(t).await;
    let (mut first, mut second, other) = (claim(t), claim(t), claim(t));
    (second.credential, second.holder) = (first.credential, first.holder);
    let issue = async |claim: &VerdictClaim| {
        let trust = &trust;
        t.db.run("test", |tx| async move { trust.issuance.issue(&tx, tx.world().id(), claim).await }).await.unwrap()
    };
    let (old, apart) = (issue(&first).await, issue(&other).await);
    let (services, of) = (&trust, &old);
    let token = t.db.run("test", |tx| async move { services.issuance.sd_jwt(&tx, of, None).await });
    let token = token.await.unwrap();
    let new = issue(&second).await;
    assert_eq!((old.supersedes, new.supersedes), (None, Some(old.id)));
    let all = trust.issuance.all_of(&t.db, first.credential, first.holder).await.unwrap();
    let seen: Vec<_> = all.iter().map(|one| (one.id, one.supersedes, one.superseded_by)).collect();
    assert_eq!(seen, [(new.id, Some(old.id), None), (old.id, None, Some(new.id))]);
    assert_eq!(all[1].revocation_reason.as_deref(), Some("superseded"));

    // Every form of the old one is taken back, and nothing else is.
    settle(t, &trust).await;
    for (id, verdict) in
        [(old.id, Verdict::Invalid), (new.id, Verdict::Valid), (apart.id, Verdict::Valid)]
    {
        let bundle = trust.issuance.bundle(&t.db, id).await.unwrap().to_string();
        assert_eq!(judge(t, &trust, &bundle).verdict, verdict);
    }
    let report = trust.judging.judge(token.as_bytes(), None).await.unwrap();
    assert_eq!(report.outcome(Name::NotRevoked), Outcome::Failed, "{report}");
    let sql = "SELECT verb FROM facts WHERE verb LIKE 'credential.%' ORDER BY id";
    let verbs: Vec<String> = t.db.all(sql, &[], |row| row.take()).await.unwrap();
    assert_eq!(verbs.iter().filter(|verb| *verb == "credential.superseded").count(), 1);
    assert!(verbs.iter().all(|verb| verb != "credential.revoked"), "{verbs:?}");

    // It is over with it: nobody takes it back once more, and a third one leaves it alone.
    let caller = &Caller::nobody();
    let again = t.db.run("test", |tx| async move {
        services.issuance.revoke(&tx, of.id, caller, "again").await
    });
    assert_eq!(again.await.unwrap_err().code(), "already_revoked");
    first.verification = t.db.world().id();
    let third = issue(&first).await;
    assert_eq!(third.supersedes, Some(new.id));
    let old = trust.issuance.get(&t.db, old.id).await.unwrap();
    assert_eq!(old.superseded_by, Some(new.id));
}

async fn a_rewritten_fact_is_found_out(t: &TestDb) {
    let trust = trust(t).await;
    issue(t, &trust).await;
    settle(t, &trust).await;
    assert!(trust.log.check().await.unwrap().failures.is_empty());
    // As somebody with the database's own powers would do it.
    let (off, on) = if t.is_postgres() {
        ("ALTER TABLE facts DISABLE TRIGGER ALL", "ALTER TABLE facts ENABLE TRIGGER ALL")
    } else {
        ("DROP TRIGGER facts_no_update", "SELECT 1")
    };
    t.db.run("tamper", |tx| async move {
        tx.execute(off, &[]).await?;
        if !t.is_postgres() {
            tx.execute("DROP TRIGGER facts_seq_once", &[]).await?;
        }
        let sql = "UPDATE facts SET actor = $1 WHERE seq = 1";
        tx.execute(sql, params![Uuid::from_u128(1)]).await?;
        if t.is_postgres() {
            tx.execute(on, &[]).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let report = trust.log.check().await.unwrap();
    assert_eq!(report.failures.len(), 1, "{report:?}");
    assert!(report.failures[0].contains("leaf 0"), "{report:?}");
}

async fn nobody_learns_of_a_list_that_is_not_there(t: &TestDb) {
    let trust = trust(t).await;
    let error = trust.issuance.get(&t.db, Id::from_uuid(Uuid::nil())).await.unwrap_err();
    assert_eq!(error.kind(), kernel::Kind::NotFound);
}

}
