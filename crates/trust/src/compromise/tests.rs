//! Keys that somebody else has, on both engines.

use kernel::id::kinds::Key;
use kernel::{Caller, Error, Id, Timestamp};
use platform::db::Read;
use platform::journal::Runner;
use platform::params;
use platform::testing::TestDb;
use serde_json::json;
use std::time::Duration;
use verify::credential::proof::{self, Statement};
use verify::credential::rdfc::Template;
use verify::jose::{jws, sdjwt};
use verify::judge::report::{Name, Outcome, Report, Verdict};
use verify::judge::{self, Options};
use verify::status::bitstring::Bitstring;

use super::service::{Compromise, Declaration};
use crate::Trust;
use crate::authority::service::{Purpose as Certified, Signer};
use crate::context::testing::{DAY, TABLES, claim, trust};
use crate::issuance::service::Issued;
use crate::key::service::Purpose;

const HOUR: Duration = Duration::from_secs(3600);

async fn issue(t: &TestDb, trust: &Trust) -> Issued {
    let claim = &claim(t);
    t.db.run("test", |tx| async move { trust.issuance.issue(&tx, tx.world().id(), claim).await })
        .await
        .unwrap()
}

async fn token(t: &TestDb, trust: &Trust, issued: &Issued) -> String {
    t.db.run("test", |tx| async move { trust.issuance.sd_jwt(&tx, issued, None).await })
        .await
        .unwrap()
}

async fn settle(t: &TestDb, trust: &Trust) {
    Runner::new(t.db.clone(), trust.readers()).drain().await;
}

fn key_of(t: &TestDb, trust: &Trust) -> Id<Key> {
    trust.keys.signer(Purpose::Credential, t.db.world().now()).unwrap().id
}

fn token_key_of(t: &TestDb, trust: &Trust) -> Id<Key> {
    trust.authority.signer(Certified::Credential, t.db.world().now()).unwrap().id
}

fn lost(key: Id<Key>, since: Timestamp, reissue: bool) -> Declaration {
    Declaration { key, since, reason: "a laptop was stolen".to_owned(), reissue }
}

async fn declare(trust: &Trust, declaration: &Declaration) -> Compromise {
    let caller = Caller::nobody();
    let declared = trust.compromises.declare(&caller, declaration).await.unwrap();
    trust.compromises.carry_out(declared.key, |_| Ok(())).await.unwrap()
}

/// A reader far from the server: with its did.json, its metadata and its log's key of today.
async fn reader(t: &TestDb, trust: &Trust) -> Options {
    let mut pins = judge::trust::Trust::default();
    let document = crate::key::http::document(&trust.keys, &trust.authority);
    pins.pin(&document.to_string()).unwrap();
    pins.pin(&trust.authority.issuer_metadata().to_string()).unwrap();
    for key in trust.log.verifier_keys().await.unwrap() {
        pins.pin(&key.to_string()).unwrap();
    }
    Options {
        now: t.db.world().now().seconds(),
        trust: pins,
        status_age_max: 2 * 24 * 3600,
        document_sha256: None,
        status_lists: Vec::new(),
        challenge: None,
    }
}

/// The judgement of a verdict's export, offline and by the server; both must agree.
async fn judged(t: &TestDb, trust: &Trust, issued: &Issued) -> Report {
    let bundle = trust.issuance.bundle(&t.db, issued.id).await.unwrap().to_string();
    let offline = judge::verify(bundle.as_bytes(), &reader(t, trust).await);
    let online = trust.judging.judge(bundle.as_bytes(), None).await.unwrap();
    assert_eq!(offline.verdict, online.verdict, "{offline}\n{online}");
    offline
}

fn detail(report: &Report, name: Name) -> &str {
    &report.checks.iter().find(|check| check.name == name).unwrap().detail
}

async fn count(t: &TestDb, sql: &str) -> i64 {
    t.db.one(sql, &[], |row| row.take()).await.unwrap()
}

async fn facts(t: &TestDb, verb: &str) -> i64 {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM facts WHERE verb = $1";
    t.db.one(sql, params![verb], |row| row.take()).await.unwrap()
}

platform::on_both_engines! { TABLES;

async fn what_a_lost_key_signed_since_then_is_revoked_and_nothing_else(t: &TestDb) {
    let trust = trust(t).await;
    let key = key_of(t, &trust);
    let before = issue(t, &trust).await;
    t.clock.advance(HOUR);
    let since = t.db.world().now();
    t.clock.advance(HOUR);
    let after = issue(t, &trust).await;
    let of_token = token(t, &trust, &after).await;
    trust.keys.rotate(Purpose::Credential, Duration::ZERO).await.unwrap();
    let by_another = issue(t, &trust).await;
    t.clock.advance(HOUR);
    settle(t, &trust).await;

    let done = declare(&trust, &lost(key, since, false)).await;
    assert_eq!((done.revoked, done.reissued), (1, 0));
    assert!(done.carried_out_at.is_some());
    settle(t, &trust).await;
    for good in [&before, &by_another] {
        let report = judged(t, &trust, good).await;
        assert_eq!(report.verdict, Verdict::Valid, "{report}");
    }
    let report = judged(t, &trust, &after).await;
    assert_eq!(report.verdict, Verdict::Invalid, "{report}");
    assert_eq!(report.outcome(Name::NotRevoked), Outcome::Failed, "{report}");
    assert!(detail(&report, Name::IssuerKey).contains("the issuer has revoked"), "{report}");
    // A token of the revoked verdict is another key's, and goes with it.
    let report = trust.judging.judge(of_token.as_bytes(), None).await.unwrap();
    assert_eq!(report.outcome(Name::NotRevoked), Outcome::Failed, "{report}");
    let again = trust.issuance.get(&t.db, after.id).await.unwrap();
    assert_eq!(again.revocation_reason.as_deref(), Some("key compromise"));
    assert_eq!((facts(t, "key.compromised").await, facts(t, "key.withdrawn").await), (1, 1));
    assert_eq!(facts(t, "credential.revoked").await, 1);
}

async fn a_list_from_after_the_compromise_shows_it_to_readers_who_do_not_know_the_key_was_lost(
    t: &TestDb
) {
    let trust = trust(t).await;
    let issued = issue(t, &trust).await;
    settle(t, &trust).await;
    let unaware = reader(t, &trust).await;
    let old = trust.lists.edition(issued.status.list).await.unwrap();
    let bundle = trust.issuance.bundle(&t.db, issued.id).await.unwrap();
    let since = t.db.world().now();
    t.clock.advance(HOUR);
    let key = key_of(t, &trust);
    let declaration = lost(key, since, false);
    trust.compromises.declare(&Caller::nobody(), &declaration).await.unwrap();
    let new = trust.lists.edition(issued.status.list).await.unwrap();
    let signer = |list: &serde_json::Value| list["proof"][0]["verificationMethod"].clone();
    assert_ne!(signer(&old), signer(&new), "the list is signed by the new key at once");
    trust.compromises.carry_out(key, |_| Ok(())).await.unwrap();
    let new = trust.lists.edition(issued.status.list).await.unwrap();
    let encoded = new["credentialSubject"]["encodedList"].as_str().unwrap();
    let list = Bitstring::decode(encoded).unwrap();
    assert!(list.get(u32::try_from(issued.status.place).unwrap()).unwrap());
    // Whoever looks only at what they had before still believes it; that is what TTLs are for.
    let report = judge::verify(bundle.to_string().as_bytes(), &unaware);
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let report = judge::verify(bundle.to_string().as_bytes(), &reader(t, &trust).await);
    assert_eq!(report.verdict, Verdict::Invalid, "{report}");
}

async fn what_a_thief_signs_is_believed_by_nobody(t: &TestDb) {
    let trust = trust(t).await;
    let real = issue(t, &trust).await;
    let now = t.db.world().now();
    let stolen = trust.keys.signer(Purpose::Credential, now).unwrap();
    t.clock.advance(HOUR);
    let since = t.db.world().now();
    declare(&trust, &lost(stolen.id, since, false)).await;
    let forge = |created: Timestamp| {
        let mut forged = real.document.clone();
        forged.as_object_mut().unwrap().remove("proof");
        forged["evidence"][0]["narrative"] = "Checked by nobody.".into();
        let says = Statement { verification_method: &stolen.method, created: created.seconds() };
        proof::sign(Template::Verdict, forged, &stolen.key, says).unwrap().to_string()
    };
    for (file, expected) in [
        (forge(since), Outcome::Failed),
        (forge(now), Outcome::NotChecked),
        (real.document.to_string(), Outcome::Proved),
    ] {
        let report = trust.judging.judge(file.as_bytes(), None).await.unwrap();
        assert_eq!(report.outcome(Name::JcsSignature), expected, "{report}");
        let offline = judge::verify(file.as_bytes(), &reader(t, &trust).await);
        assert_ne!(offline.verdict, Verdict::Valid, "{offline}");
    }
}

async fn verdicts_are_signed_anew_under_the_ids_that_others_know(t: &TestDb) {
    let trust = trust(t).await;
    let key = key_of(t, &trust);
    let since = t.db.world().now();
    let issued = issue(t, &trust).await;
    let in_a_wallet = token(t, &trust, &issued).await;
    let erased = issue(t, &trust).await;
    let sql = "UPDATE issued_credentials SET document = '{}' WHERE id = $1";
    t.db.run("test", |tx| async move { Ok(tx.execute(sql, params![erased.id]).await?) })
        .await
        .unwrap();
    t.clock.advance(HOUR);
    let done = declare(&trust, &lost(key, since, true)).await;
    assert_eq!((done.reissued, done.revoked), (1, 1), "what was erased is revoked");
    settle(t, &trust).await;

    let anew = trust.issuance.get(&t.db, issued.id).await.unwrap();
    assert_ne!((anew.status, anew.sha256), (issued.status, issued.sha256));
    assert_eq!(anew.valid_until, issued.valid_until);
    assert_eq!(anew.document["evidence"], issued.document["evidence"]);
    assert_eq!(anew.document["credentialSubject"], issued.document["credentialSubject"]);
    let report = judged(t, &trust, &anew).await;
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    assert_eq!(report.outcome(Name::LogCommitment), Outcome::Proved, "{report}");

    let former = trust.issuance.get(&t.db, anew.supersedes.unwrap()).await.unwrap();
    assert_eq!((former.sha256, former.superseded_by), (issued.sha256, Some(issued.id)));
    let report = trust.judging.judge(former.document.to_string().as_bytes(), None).await.unwrap();
    assert_eq!(report.verdict, Verdict::Invalid, "{report}");
    let report = trust.judging.judge(in_a_wallet.as_bytes(), None).await.unwrap();
    assert_eq!(report.verdict, Verdict::Valid, "the token is of another key: {report}");
    assert_eq!(facts(t, "credential.superseded").await, 1);

    // The new key is lost as well: what it signed anew is found by when it did so.
    t.clock.advance(HOUR);
    let done = declare(&trust, &lost(key_of(t, &trust), since, false)).await;
    assert_eq!(done.revoked, 1);
}

async fn a_lost_key_of_tokens_takes_its_tokens_and_no_verdict(t: &TestDb) {
    let trust = trust(t).await;
    let issued = issue(t, &trust).await;
    let before = token(t, &trust, &issued).await;
    t.clock.advance(HOUR);
    let since = t.db.world().now();
    let after = token(t, &trust, &issued).await;
    let key = token_key_of(t, &trust);
    let done = declare(&trust, &lost(key, since, false)).await;
    assert_eq!(done.revoked, 1);
    settle(t, &trust).await;
    let verdict = |text: String| {
        let trust = &trust;
        async move { trust.judging.judge(text.as_bytes(), None).await.unwrap() }
    };
    let report = verdict(before.clone()).await;
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let report = verdict(after).await;
    assert_eq!(report.verdict, Verdict::Invalid, "{report}");
    assert!(detail(&report, Name::IssuerKey).contains("has revoked its key"), "{report}");
    let report = verdict(token(t, &trust, &issued).await).await;
    assert_eq!(report.verdict, Verdict::Valid, "the verdict makes new tokens: {report}");
    assert_eq!(judged(t, &trust, &issued).await.verdict, Verdict::Valid);
    // Far from the server nothing dates a token: the reader learns that, and not a false "valid".
    let offline = judge::verify(before.as_bytes(), &reader(t, &trust).await);
    assert_eq!(offline.outcome(Name::TokenSignature), Outcome::NotChecked, "{offline}");
    assert_eq!(facts(t, "credential.token_revoked").await, 1);
    // Under a key that never signed anything good, none is published.
    let metadata = trust.authority.issuer_metadata();
    let keys = metadata["jwks"]["keys"].as_array().unwrap();
    assert_eq!((keys.len(), keys[0]["revoked"]["revoked_at"].as_i64()), (2, Some(since.seconds())));
    let (key, created) = (token_key_of(t, &trust), Timestamp::from_seconds(0));
    declare(&trust, &lost(key, created, false)).await;
    let metadata = trust.authority.issuer_metadata();
    assert_eq!(metadata["jwks"]["keys"].as_array().unwrap().len(), 2, "the second is gone");
    let apart = &metadata["revoked_jwks"]["keys"];
    assert_eq!(apart[0]["kid"], key.to_string(), "and named as lost");
}

async fn what_a_thief_signs_under_a_certificate_of_ours_is_no_credential(t: &TestDb) {
    let trust = trust(t).await;
    let now = t.db.world().now();
    t.clock.advance(HOUR);
    let forge = |signer: &Signer| {
        // Nothing but the certificate leads to the key.
        let mut header = signer.header(sdjwt::TYPE);
        header.as_object_mut().unwrap().remove("kid");
        let claims = json!({
            "iss": trust.authority.issuer(), "vct": "https://verza.example/t",
            "nbf": now.seconds(), "exp": (now + DAY).seconds(),
        });
        jws::sign(header, &claims, &signer.key) + "~"
    };
    let by_root = || {
        let mut pins = judge::trust::Trust::default();
        pins.pin(&trust.authority.roots().concat()).unwrap();
        pins.pin(&trust.authority.issuer_metadata().to_string()).unwrap();
        trust.judging.options(pins)
    };
    let key = trust.authority.signer(Certified::Credential, now).unwrap();
    let forged = forge(&key);
    for report in [
        judge::verify(forged.as_bytes(), &by_root()),
        judge::foreign::judge(forged.as_bytes(), &by_root()),
    ] {
        assert_eq!(report.verdict, Verdict::Valid, "nobody knows yet: {report}");
    }
    declare(&trust, &lost(key.id, Timestamp::from_seconds(0), false)).await;
    for report in [
        trust.judging.judge(forged.as_bytes(), None).await.unwrap(),
        judge::verify(forged.as_bytes(), &by_root()),
        judge::foreign::judge(forged.as_bytes(), &by_root()),
    ] {
        assert_eq!(report.verdict, Verdict::Unproven, "{report}");
        assert!(detail(&report, Name::IssuerKey).contains("has revoked its key"), "{report}");
    }
    // The key of requests signs none, whoever has it.
    let key = trust.authority.signer(Certified::Request, t.db.world().now()).unwrap();
    let forged = forge(&key);
    for report in [
        trust.judging.judge(forged.as_bytes(), None).await.unwrap(),
        judge::foreign::judge(forged.as_bytes(), &by_root()),
    ] {
        assert_eq!(report.verdict, Verdict::Invalid, "{report}");
    }
    declare(&trust, &lost(key.id, t.db.world().now(), false)).await;
    let metadata = trust.authority.issuer_metadata();
    let listed = &metadata["revoked_jwks"]["keys"][1];
    assert_eq!(listed["kid"], key.id.to_string());
    assert!(listed["revoked"]["revoked_at"].as_i64() <= Some(now.seconds()), "all its life");
    let document = crate::key::http::document(&trust.keys, &trust.authority);
    let ends = |id: &serde_json::Value| id.as_str().unwrap().ends_with(&key.id.to_string());
    assert!(document["verificationMethod"].as_array().unwrap().iter().any(|it| ends(&it["id"])));
    assert!(!document["assertionMethod"].as_array().unwrap().iter().any(ends));
}

async fn work_that_was_interrupted_goes_on_and_does_nothing_twice(t: &TestDb) {
    let trust = trust(t).await;
    let key = key_of(t, &trust);
    let since = t.db.world().now();
    for _ in 0..250 {
        issue(t, &trust).await;
    }
    t.clock.advance(HOUR);
    let declaration = lost(key, since, false);
    trust.compromises.declare(&Caller::nobody(), &declaration).await.unwrap();
    let mut heard = Vec::new();
    let killed = trust.compromises.carry_out(key, |state| {
        heard.push(state.revoked);
        if heard.len() == 2 { Err(Error::internal("killed")) } else { Ok(()) }
    });
    killed.await.unwrap_err();
    assert_eq!(heard, [100, 200]);
    assert_eq!(facts(t, "key.withdrawn").await, 0);
    // Whoever says it again goes on; so does the job of any process, at the same time.
    let again = trust.compromises.declare(&Caller::nobody(), &declaration).await.unwrap();
    assert_eq!(again.revoked, 200);
    let compromises = &trust.compromises;
    let (one, two) =
        tokio::join!(compromises.carry_out(key, |_| Ok(())), compromises.carry_out_all());
    let state = one.unwrap();
    two.unwrap();
    assert_eq!(state.revoked, 250);
    assert_eq!(facts(t, "credential.revoked").await, 250);
    assert_eq!(facts(t, "key.compromised").await, 1);
    assert_eq!(facts(t, "key.withdrawn").await, 1);
    let bits = "SELECT CAST(COUNT(*) AS BIGINT) FROM status_entries WHERE revoked_at IS NOT NULL";
    assert_eq!(count(t, bits).await, 250);
}

async fn a_process_that_has_not_heard_is_looked_after(t: &TestDb) {
    let trust = &trust(t).await;
    let unaware = crate::context::testing::trust(t).await;
    let since = t.db.world().now();
    t.clock.advance(HOUR);
    let key = key_of(t, trust);
    declare(trust, &lost(key, since, true)).await;
    let late = issue(t, &unaware).await;
    assert_eq!(late.signed_by, Some(key));
    // Whoever carries out has heard by then, whatever was opened before.
    unaware.compromises.carry_out_all().await.unwrap();
    let anew = trust.issuance.get(&t.db, late.id).await.unwrap();
    assert_eq!(anew.signed_by, Some(key_of(t, trust)));
    assert_eq!(anew.document["evidence"], late.document["evidence"]);
}

async fn verdicts_and_tokens_from_before_signers_were_noted_are_found(t: &TestDb) {
    let trust = trust(t).await;
    let before = issue(t, &trust).await;
    t.clock.advance(HOUR);
    let since = t.db.world().now();
    let after = issue(t, &trust).await;
    let erased = issue(t, &trust).await;
    token(t, &trust, &before).await;
    let sqls = [
        "UPDATE issued_credentials SET signed_by = NULL, signed_at = NULL",
        "UPDATE issued_tokens SET signed_by = NULL, signed_sha256 = NULL",
    ];
    t.db.run("test", |tx| async move {
        for sql in sqls {
            tx.execute(sql, &[]).await?;
        }
        let sql = "UPDATE issued_credentials SET document = '{}' WHERE id = $1";
        Ok(tx.execute(sql, params![erased.id]).await?)
    })
    .await
    .unwrap();
    t.clock.advance(HOUR);
    let done = declare(&trust, &lost(key_of(t, &trust), since, false)).await;
    assert_eq!(done.revoked, 2);
    let revoked = |id| {
        let (db, trust) = (&t.db, &trust);
        async move { trust.issuance.get(db, id).await.unwrap().revoked_at.is_some() }
    };
    assert!(!revoked(before.id).await);
    assert!(revoked(after.id).await && revoked(erased.id).await);
    let done = declare(&trust, &lost(token_key_of(t, &trust), since, false)).await;
    assert_eq!(done.revoked, 1);
}

async fn a_compromise_is_declared_for_keys_of_credentials_and_never_for_later(t: &TestDb) {
    let trust = trust(t).await;
    t.clock.advance(DAY);
    let now = t.db.world().now();
    let caller = Caller::nobody();
    let refused = |declaration: Declaration| {
        let (trust, caller) = (&trust, &caller);
        async move { trust.compromises.declare(caller, &declaration).await.unwrap_err() }
    };
    let key = key_of(t, &trust);
    assert_eq!(refused(lost(key, now + HOUR, false)).await.code(), "since");
    let wordless = Declaration { reason: " ".into(), ..lost(key, now, false) };
    assert_eq!(refused(wordless).await.code(), "reason");
    assert_eq!(refused(lost(t.db.world().id(), now, false)).await.kind(), kernel::Kind::NotFound);
    let log = trust.keys.signer(Purpose::Log, now).unwrap().id;
    assert_eq!(refused(lost(log, now, false)).await.code(), "not_compromisable");
    let root = trust.authority.signer(Certified::Root, now).unwrap().id;
    assert_eq!(refused(lost(root, now, false)).await.code(), "not_compromisable");
    assert_eq!(facts(t, "key.compromised").await, 0);

    declare(&trust, &lost(key, now - HOUR, false)).await;
    assert_eq!(refused(lost(key, now, false)).await.code(), "compromised_earlier");
    declare(&trust, &lost(key, now - 2 * HOUR, false)).await;
    let published = trust.keys.published();
    assert_eq!(published.len(), 3, "one of the log, one lost, one made once");
    let known = published.iter().find(|known| known.id == key).unwrap();
    assert_eq!(known.compromised, Some(Timestamp::from_seconds((now - 2 * HOUR).seconds())));
    // A request's key has signed nothing that lasts; it signs no more.
    let request = trust.authority.signer(Certified::Request, now).unwrap().id;
    declare(&trust, &lost(request, now, false)).await;
    assert_ne!(trust.authority.signer(Certified::Request, now).unwrap().id, request);
}

async fn a_key_that_a_newer_one_has_followed_is_not_replaced_again(t: &TestDb) {
    let trust = trust(t).await;
    let old = key_of(t, &trust);
    trust.keys.rotate(Purpose::Credential, HOUR).await.unwrap();
    t.clock.advance(HOUR);
    let new = key_of(t, &trust);
    assert_ne!(old, new);
    declare(&trust, &lost(old, t.db.world().now(), false)).await;
    assert_eq!(key_of(t, &trust), new);
    assert_eq!(trust.keys.published().len(), 3);
}

}
