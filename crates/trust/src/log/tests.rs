//! The log under the eyes of others, of itself, and over the years. On both engines.

use std::time::Duration;

use kernel::Caller;
use platform::db::Read;
use platform::journal::{self, Fact, Reader, Runner};
use platform::params;
use platform::testing::TestDb;
use verify::judge::report::{Name, Outcome};
use verify::log::checkpoint::Checkpoint;
use verify::log::note::Note;
use verify::log::witness::AddCheckpoint;

use super::{Continuity, Memory, Witness};
use crate::Trust;
use crate::context::testing::{DAY, TABLES, claim, trust, trust_with};
use crate::key::service::Purpose;
use crate::witness::tests::{Served, serve};

const MINUTE: Duration = Duration::from_secs(60);

async fn happen(t: &TestDb, trust: &Trust, times: usize) {
    for _ in 0..times {
        t.db.run("test", |tx| async move {
            tx.record(Fact::by(&Caller::nobody(), "thing.done").on("x"));
            Ok(())
        })
        .await
        .unwrap();
    }
    Runner::new(t.db.clone(), trust.readers()).drain().await;
}

async fn verbs(t: &TestDb, like: &str) -> Vec<String> {
    let sql = "SELECT verb FROM facts WHERE verb LIKE $1 ORDER BY id";
    t.db.all(sql, params![like], |row| row.take()).await.unwrap()
}

/// A platform with a witness that it knows, and that knows it.
async fn watched(t: &TestDb) -> (Trust, Served) {
    let unwatched = trust(t).await;
    let logs: Vec<String> =
        unwatched.log.verifier_keys().await.unwrap().iter().map(ToString::to_string).collect();
    let served = serve(&t.directory().join("witness"), &logs, t.db.world().clone()).await;
    let chosen = format!("{} {}", served.witness.vkey().unwrap(), served.url);
    let trust = trust_with(t, vec![Witness::parse(&chosen).unwrap()], None).await;
    (trust, served)
}

async fn size(trust: &Trust) -> u64 {
    head(&trust.log.checkpoint(None).await.unwrap()).size
}

fn head(note: &str) -> Checkpoint {
    Checkpoint::parse(Note::parse(note).unwrap().text()).unwrap()
}

/// A checkpoint by the log's own key of a tree that is not there.
fn forged(t: &TestDb, trust: &Trust, origin: &str, size: u64) -> Note {
    let signer = trust.keys.signer(Purpose::Log, t.db.world().now()).unwrap();
    let head = Checkpoint { origin: origin.to_owned(), size, root: [7; 32] };
    head.sign(&signer.key).unwrap()
}

async fn put_tile(t: &TestDb, hashes: &[u8]) {
    t.db.run("tamper", |tx| async move {
        let sql = "UPDATE log_tiles SET hashes = $1 WHERE level = 0 AND place = 1";
        tx.execute(sql, params![hashes]).await?;
        Ok(())
    })
    .await
    .unwrap();
}

/// The second tile of the first log, and what somebody made of it.
async fn second_tile(t: &TestDb) -> (Vec<u8>, Vec<u8>) {
    let sql = "SELECT hashes FROM log_tiles WHERE level = 0 AND place = 1";
    let whole: Vec<u8> = t.db.one(sql, &[], |row| row.take()).await.unwrap();
    let mut altered = whole.clone();
    altered[40] ^= 1;
    (whole, altered)
}

#[test]
fn a_witness_is_named_by_its_own_vkey_and_an_address() {
    let log = "log.example+8d3a8f4f+AQ";
    for text in ["", "witness.example", "x http://w.example", &format!("{log} http://w.example")] {
        assert_eq!(Witness::parse(text).unwrap_err().code(), "invalid_configuration", "{text}");
    }
}

platform::on_both_engines! { TABLES;

async fn the_oldest_fact_without_a_leaf_is_known(t: &TestDb) {
    let trust = trust(t).await;
    happen(t, &trust, 3).await;
    assert_eq!(crate::log::unsequenced_since(&t.db).await.unwrap(), None);
    t.clock.advance(MINUTE);
    for _ in 0..2 {
        t.db.run("test", |tx| async move {
            tx.record(Fact::by(&Caller::nobody(), "thing.done").on("x"));
            Ok(())
        })
        .await
        .unwrap();
        t.clock.advance(MINUTE);
    }
    let oldest = crate::log::unsequenced_since(&t.db).await.unwrap().unwrap();
    assert_eq!(t.db.world().now().since(oldest), 2 * MINUTE);
    happen(t, &trust, 0).await;
    assert_eq!(crate::log::unsequenced_since(&t.db).await.unwrap(), None);
}

async fn nothing_is_lost_while_ten_times_as_much_happens_as_is_taken_up(t: &TestDb) {
    const WRITERS: usize = 10;
    const FACTS: usize = 40;
    let trust = trust(t).await;
    happen(t, &trust, 1).await;
    let before = size(&trust).await;
    let runner = Runner::new(t.db.clone(), trust.readers());
    let writers = (0..WRITERS).map(|_| {
        let db = t.db.clone();
        tokio::spawn(async move {
            for _ in 0..FACTS {
                db.run("test", |tx| async move {
                    tx.record(Fact::by(&Caller::nobody(), "thing.done").on("x"));
                    Ok(())
                })
                .await
                .unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    // One reader beside ten writers: it is behind all the time, and nobody waits for it.
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        runner.drain().await;
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    runner.drain().await;
    let report = trust.log.check().await.unwrap();
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!(report.size, before + (WRITERS * FACTS) as u64);
    assert_eq!(crate::log::unsequenced_since(&t.db).await.unwrap(), None);
}

async fn a_witnessed_checkpoint_is_published_and_stands_under_the_proofs(t: &TestDb) {
    let (trust, mut served) = watched(t).await;
    let claim = &claim(t);
    let issuing = &trust;
    let issued = t.db.run("test", |tx| async move { issuing.issuance.issue(&tx, tx.world().id(), claim).await });
    let issued = issued.await.unwrap();
    happen(t, &trust, 3).await;
    let bare = trust.log.checkpoint(None).await.unwrap();
    trust.log.call_witnesses().await.unwrap();
    let signed = trust.log.checkpoint(None).await.unwrap();
    assert!(signed.starts_with(&bare) && signed.len() > bare.len(), "{signed}");
    let own = trust.log.witness_keys().remove(0);
    assert!(Note::parse(&signed).unwrap().cosigned_at(&own).unwrap().is_some());

    // What comes after it is published when it is witnessed, and proofs prefer what is.
    let before = size(&trust).await;
    happen(t, &trust, 300).await;
    assert_eq!(size(&trust).await, before);
    let bundle = trust.issuance.bundle(&t.db, issued.id).await.unwrap().to_string();
    let report = trust.judging.judge(bundle.as_bytes(), None).await.unwrap();
    assert_eq!(report.outcome(Name::LogWitness), Outcome::Proved, "{report}");
    assert!(report.to_string().contains("also signed by witness.example"), "{report}");
    trust.log.call_witnesses().await.unwrap();
    assert_eq!(size(&trust).await, before + 300);

    // A witness that is away delays what is published, and does not stop it.
    served.serving.stop().await;
    happen(t, &trust, 1).await;
    trust.log.call_witnesses().await.unwrap();
    assert_eq!(size(&trust).await, before + 300);
    t.clock.advance(11 * MINUTE);
    assert_eq!(size(&trust).await, before + 301);
    assert_eq!(verbs(t, "log.%").await, [""; 0], "nothing to tell of");
    assert!(trust.log.check().await.unwrap().failures.is_empty());
}

async fn a_witness_that_has_lost_its_memory_is_shown_everything_anew(t: &TestDb) {
    let (trust, served) = watched(t).await;
    happen(t, &trust, 5).await;
    trust.log.call_witnesses().await.unwrap();
    for entry in std::fs::read_dir(t.directory().join("witness")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none() {
            std::fs::remove_file(path).unwrap();
        }
    }
    happen(t, &trust, 5).await;
    trust.log.call_witnesses().await.unwrap();
    assert!(trust.log.checkpoint(None).await.unwrap().contains("witness.example"));
    assert_eq!(size(&trust).await, trust.log.check().await.unwrap().size);
    drop(served);
}

async fn a_log_that_was_set_back_is_convicted_by_its_witness(t: &TestDb) {
    let (trust, served) = watched(t).await;
    happen(t, &trust, 5).await;
    let origin = head(&trust.log.checkpoint(None).await.unwrap()).origin;
    // What the log signed before it was set back.
    let lost = AddCheckpoint {
        old_size: 0,
        proof: Vec::new(),
        checkpoint: forged(t, &trust, &origin, 500),
    };
    let peer = platform::outbound::Peer::new(&served.url, MINUTE, 1 << 16).unwrap();
    let (post, none) = (http::Method::POST, http::HeaderMap::new());
    let asked = peer.exchange(post, "/add-checkpoint", none, lost.to_string().into()).await;
    assert_eq!(asked.unwrap().status.as_u16(), 200);

    trust.log.call_witnesses().await.unwrap();
    trust.log.call_witnesses().await.unwrap();
    assert_eq!(verbs(t, "log.%").await, ["log.objected", "log.succeeded"]);
    happen(t, &trust, 2).await;
    trust.log.call_witnesses().await.unwrap();
    let after = trust.log.checkpoint(None).await.unwrap();
    assert_eq!(head(&after).origin, format!("{origin}-2"));
    assert!(after.contains("witness.example"), "the witness follows: {after}");
    let report = trust.log.check().await.unwrap();
    assert!(report.failures.is_empty(), "{report:?}");
    // Nothing was lost of what is here: the closed log is there, and its leaves lead to its root.
    let term = origin.rsplit_once('/').unwrap().1;
    assert_eq!(head(&trust.log.checkpoint(Some(term)).await.unwrap()).origin, origin);
    for fact in journal::since(&t.db, 0, 100).await.unwrap() {
        let shown = trust.log.inclusion(&fact).await.unwrap().unwrap();
        let keys = trust.log.verifier_keys().await.unwrap();
        let proof = verify::log::proof::InclusionProof::parse(&shown.proof).unwrap();
        proof.verify(shown.entry.as_bytes(), &keys).unwrap();
    }
    trust.log.call_witnesses().await.unwrap();
    assert_eq!(verbs(t, "log.%").await.len(), 2, "told once");
}

async fn a_machine_that_remembers_more_than_the_database_convicts_it_at_start(t: &TestDb) {
    let memory = Memory::in_folder(t.directory());
    let trust = trust_with(t, Vec::new(), Some(memory.clone())).await;
    happen(t, &trust, 5).await;
    trust.log.call_witnesses().await.unwrap();
    let kept = memory.recall().unwrap().unwrap();
    assert_eq!(kept, trust.log.checkpoint(None).await.unwrap());
    let origin = head(&kept).origin;

    // Started again as it is, and on a machine that remembers less: nothing happens.
    happen(t, &trust, 5).await;
    let trust = trust_with(t, Vec::new(), Some(memory.clone())).await;
    assert_eq!(verbs(t, "log.%").await, [""; 0]);
    // With more than there is; twice, as two starts would.
    memory.keep(&forged(t, &trust, &origin, 500).to_string()).unwrap();
    trust_with(t, Vec::new(), Some(memory.clone())).await;
    let trust = trust_with(t, Vec::new(), Some(memory.clone())).await;
    assert_eq!(verbs(t, "log.%").await, ["log.succeeded"]);
    happen(t, &trust, 1).await;
    assert_eq!(head(&trust.log.checkpoint(None).await.unwrap()).origin, format!("{origin}-2"));

    // The next log may have been lost altogether.
    memory.keep(&forged(t, &trust, &format!("{origin}-7"), 1).to_string()).unwrap();
    let trust = trust_with(t, Vec::new(), Some(memory.clone())).await;
    happen(t, &trust, 1).await;
    assert_eq!(head(&trust.log.checkpoint(None).await.unwrap()).origin, format!("{origin}-8"));
    // Another tree of the same size is no better than a larger one.
    let origin = format!("{origin}-8");
    let here = size(&trust).await;
    let seen = forged(t, &trust, &origin, here).to_string();
    assert_eq!(trust.log.confront(&seen).await.unwrap(), Continuity::Forked { size: here });
    assert!(trust.log.check().await.unwrap().failures.is_empty());
}

async fn what_is_remembered_of_a_log_that_was_set_back_while_it_runs_is_not_overwritten(t: &TestDb) {
    let memory = Memory::in_folder(t.directory());
    let trust = trust_with(t, Vec::new(), Some(memory.clone())).await;
    happen(t, &trust, 5).await;
    trust.log.call_witnesses().await.unwrap();
    let origin = head(&memory.recall().unwrap().unwrap()).origin;
    // More was signed and remembered than the database has now.
    let lost = forged(t, &trust, &origin, 500).to_string();
    memory.keep(&lost).unwrap();
    for _ in 0..2 {
        trust.log.call_witnesses().await.unwrap();
        assert_eq!(memory.recall().unwrap().unwrap(), lost, "the proof is kept");
        assert_eq!(verbs(t, "log.%").await, ["log.succeeded"]);
    }
    happen(t, &trust, 1).await;
    trust.log.call_witnesses().await.unwrap();
    let next = head(&memory.recall().unwrap().unwrap());
    assert_eq!(next.origin, format!("{origin}-2"), "which begins with what was seen");
    assert_eq!(verbs(t, "log.%").await.len(), 1);
    // What another platform has signed proves nothing, and is no reason to remember nothing.
    memory.keep(&forged(t, &trust, "other.example/audit/2026", 900).to_string()).unwrap();
    trust.log.call_witnesses().await.unwrap();
    assert_eq!(head(&memory.recall().unwrap().unwrap()), next);
}

async fn a_log_that_another_process_appends_to_is_convicted_all_the_same(t: &TestDb) {
    let trust = &trust(t).await;
    happen(t, trust, 5).await;
    let origin = head(&trust.log.checkpoint(None).await.unwrap()).origin;
    t.db.run("test", |tx| async move {
        tx.record(Fact::by(&Caller::nobody(), "thing.done").on("x"));
        Ok(())
    })
    .await
    .unwrap();
    Runner::new(t.db.clone(), Vec::new()).drain().await;
    let leaves = size(trust).await.cast_signed();
    let facts = &journal::since(&t.db, leaves, 10).await.unwrap();
    assert_eq!(facts.len(), 1);
    let seen = &forged(t, trust, &origin, 500).to_string();
    let convicting = &parking_lot::Mutex::new(None);
    t.db.run("append", |tx| async move {
        // The log has grown, and nobody else sees it yet.
        trust.log.read(&tx, facts).await?;
        let (log, seen) = (trust.log.clone(), seen.clone());
        *convicting.lock() = Some(tokio::spawn(async move { log.confront(&seen).await }));
        for _ in 0..200 {
            t.db.one("SELECT 1", &[], |row| row.take::<i64>()).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let convicting = convicting.lock().take().unwrap();
    convicting.await.unwrap().unwrap();
    assert_eq!(verbs(t, "log.%").await, ["log.succeeded"]);
    assert!(trust.log.check().await.unwrap().failures.is_empty());
    assert_eq!(trust.log.verifier_keys().await.unwrap().len(), 2, "another log goes on");
}

async fn what_others_have_signed_says_nothing_about_this_log(t: &TestDb) {
    let trust = trust(t).await;
    happen(t, &trust, 2).await;
    let own = trust.log.checkpoint(None).await.unwrap();
    let forger = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
    let by_another = Checkpoint { size: 900, ..head(&own) }.sign(&forger).unwrap().to_string();
    let elsewhere = forged(t, &trust, "other.example/audit/2026", 900).to_string();
    for seen in [by_another.as_str(), &elsewhere, "", "x\n\n"] {
        let found = trust.log.confront(seen).await.unwrap();
        assert!(matches!(found, Continuity::Foreign(_)), "{found:?}");
    }
    let size = size(&trust).await;
    assert_eq!(trust.log.confront(&own).await.unwrap(), Continuity::Continues { size });
    assert_eq!(verbs(t, "log.%").await, [""; 0]);
}

async fn a_new_year_is_a_new_log_and_the_old_one_stays_provable(t: &TestDb) {
    let (trust, _served) = watched(t).await;
    happen(t, &trust, 300).await;
    let old = trust.log.checkpoint(None).await.unwrap();
    let first = journal::since(&t.db, 0, 1).await.unwrap().remove(0);
    t.clock.advance(366 * DAY);
    happen(t, &trust, 300).await;
    trust.log.call_witnesses().await.unwrap();
    let new = trust.log.checkpoint(None).await.unwrap();
    assert_eq!(head(&new).origin, "verza.example/audit/2027");
    assert!(new.contains("witness.example"), "{new}");
    assert_eq!(trust.log.checkpoint(Some("2026")).await.unwrap(), old);
    assert_eq!(verbs(t, "log.%").await, ["log.succeeded"]);
    assert_eq!(head(&new).size, 301, "what happened, and that it is another log");

    let keys = trust.log.verifier_keys().await.unwrap();
    assert_eq!(keys.len(), 2);
    let last = journal::since(&t.db, 0, 1000).await.unwrap().pop().unwrap();
    for (fact, log) in [(first, "2026"), (last, "2027")] {
        let shown = trust.log.inclusion(&fact).await.unwrap().unwrap();
        let proof = verify::log::proof::InclusionProof::parse(&shown.proof).unwrap();
        let head = proof.verify(shown.entry.as_bytes(), &keys).unwrap();
        assert!(head.origin.ends_with(log), "{head:?}");
        let tile = trust.log.resource(Some(log), "tile/0/000").await.unwrap();
        let place = (shown.index % 256) as usize * 32;
        if shown.index < 256 {
            let hash = verify::log::merkle::leaf_hash(shown.entry.as_bytes());
            assert_eq!(tile[place..place + 32], hash);
        }
    }
    assert_eq!(trust.log.consistency(Some("2026"), 3, 200).await.unwrap().len(), 9);
    assert!(trust.log.checkpoint(Some("2025")).await.is_err());
    let report = trust.log.check().await.unwrap();
    assert!(report.failures.is_empty(), "{report:?}");
    let seen = crate::log::check(&t.db, Some(&old)).await.unwrap();
    assert_eq!(seen.continuity, Some(Continuity::Continues { size: head(&old).size }));
}

async fn the_patrol_goes_on_over_logs_that_are_closed(t: &TestDb) {
    let trust = trust(t).await;
    happen(t, &trust, 300).await;
    t.clock.advance(366 * DAY);
    happen(t, &trust, 3).await;
    assert_eq!(trust.log.patrol().await.unwrap(), [""; 0]);
    let (whole, altered) = second_tile(t).await;
    put_tile(t, &altered).await;
    for _ in 0..2 {
        let found = trust.log.patrol().await.unwrap();
        assert!(found.iter().any(|wrong| wrong.starts_with("leaves 256 to")), "{found:?}");
    }
    let doubted = "SELECT subject FROM facts WHERE verb = 'log.doubted'";
    let of: Vec<String> = t.db.all(doubted, &[], |row| row.take()).await.unwrap();
    assert_eq!(of, ["verza.example/audit/2026"], "told once, and of which");
    put_tile(t, &whole).await;
    for _ in 0..2 {
        assert_eq!(trust.log.patrol().await.unwrap(), [""; 0]);
    }
    assert_eq!(verbs(t, "log.cleared").await.len(), 1);
}

async fn a_copy_from_before_the_log_went_on_elsewhere_is_behind_and_no_stranger(t: &TestDb) {
    let trust = trust(t).await;
    happen(t, &trust, 3).await;
    let origin = head(&trust.log.checkpoint(None).await.unwrap()).origin;
    let seen = |origin: &str, size: u64| {
        let (note, db) = (forged(t, &trust, origin, size).to_string(), t.db.clone());
        async move { crate::log::check(&db, Some(&note)).await.unwrap().continuity.unwrap() }
    };
    for next in [format!("{origin}-2"), format!("{origin}-10"), origin.replace("2026", "2027")] {
        assert_eq!(seen(&next, 7).await, Continuity::Behind { seen: 7, here: 0 }, "{next}");
    }
    for other in [origin.replace("2026", "2025"), "other.example/audit/2027".to_owned()] {
        assert!(matches!(seen(&other, 7).await, Continuity::Foreign(_)), "{other}");
    }
}

async fn the_patrol_finds_what_was_altered_and_tells_it_once(t: &TestDb) {
    let trust = trust(t).await;
    happen(t, &trust, 700).await;
    for _ in 0..3 {
        assert_eq!(trust.log.patrol().await.unwrap(), [""; 0]);
    }
    let (whole, altered) = second_tile(t).await;
    put_tile(t, &altered).await;
    for _ in 0..3 {
        let found = trust.log.patrol().await.unwrap();
        assert!(found[0].starts_with("leaves 256 to 511"), "{found:?}");
    }
    assert_eq!(verbs(t, "log.%").await, ["log.doubted"]);
    put_tile(t, &whole).await;
    for _ in 0..2 {
        assert_eq!(trust.log.patrol().await.unwrap(), [""; 0]);
    }
    assert_eq!(verbs(t, "log.%").await, ["log.doubted", "log.cleared"]);
    // A signed checkpoint of another tree.
    t.db.run("tamper", |tx| async move {
        let sql = "UPDATE log_state SET checkpoint = $1";
        tx.execute(sql, params!["x"]).await?;
        Ok(())
    })
    .await
    .unwrap();
    assert!(trust.log.patrol().await.unwrap()[0].contains("checkpoint"));
}

}
