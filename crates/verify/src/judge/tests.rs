use serde_json::{Value, json};

use super::bundle::{Bundle, BundleError, LogEvidence};
use super::report::{Name, Outcome, Report, Verdict};
use super::trust::{NotAPin, Trust};
use super::{Options, verify};
use crate::credential::proof::{self, Statement};
use crate::credential::rdfc::Template;
use crate::credential::timestamp;
use crate::key::SigningKey;
use crate::key::did::{self, VerificationMethod};
use crate::key::multikey::PublicKey;
use crate::log::checkpoint::Checkpoint;
use crate::log::entry::{self, CREDENTIAL_ISSUED, Entry};
use crate::log::merkle::{self, Edge, Hash, HashReader, Node};
use crate::log::note::VerifierKey;
use crate::log::proof::InclusionProof;
use crate::sample::{self, DAY, DID, HOUR, ISSUED_AT, METHOD};

const NOW: i64 = ISSUED_AT + 3 * HOUR;
const ORIGIN: &str = "verza.example/audit/2026";

fn log_key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

pub(super) fn log_vkey() -> String {
    VerifierKey::new(ORIGIN, PublicKey::of(&log_key())).unwrap().to_string()
}

/// All subtrees of a log of ten leaves.
struct Tree(Vec<(Node, Hash)>);

impl HashReader for Tree {
    fn hash(&self, node: Node) -> Option<Hash> {
        self.0.iter().find(|(known, _)| *known == node).map(|(_, hash)| *hash)
    }
}

/// That `credential` was logged as number 4 of ten.
fn logged(credential: &Value) -> LogEvidence {
    let digest = hex::encode(entry::credential_digest(credential).unwrap());
    let row = json!({
        "id": 4,
        "verb": CREDENTIAL_ISSUED,
        "subject": credential["id"],
        "data": { "credentialSha256": digest },
    });
    logged_rows(&[row]).remove(0)
}

/// That rows were logged one after the other, from number 4 of ten on.
pub(super) fn logged_rows(rows: &[Value]) -> Vec<LogEvidence> {
    let salt = [9; 32];
    let entry = |row: &Value| {
        let kind = row["verb"].as_str().unwrap();
        Entry::new(&salt, row, kind, ISSUED_AT).unwrap().encode().unwrap()
    };
    let entries: Vec<String> = rows.iter().map(entry).collect();
    let (mut edge, mut tree) = (Edge::empty(), Tree(Vec::new()));
    for index in 0..10u8 {
        let leaf = index.checked_sub(4).and_then(|place| entries.get(usize::from(place)));
        let other = [index];
        let leaf = leaf.map_or(&other[..], |entry| entry.as_bytes());
        tree.0.extend(edge.append(merkle::leaf_hash(leaf)));
    }
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: edge.size(), root: edge.root() };
    let evidence = |(index, (row, entry)): (u64, (&Value, String))| {
        let proof = InclusionProof {
            extra: None,
            index,
            hashes: merkle::inclusion_proof(&tree, index, 10).unwrap(),
            checkpoint: checkpoint.sign(&log_key()).unwrap(),
        };
        LogEvidence { proof: proof.to_string(), entry, salt, row: row.clone(), key: log_vkey() }
    };
    (4..).zip(rows.iter().zip(entries)).map(evidence).collect()
}

pub(super) fn parts() -> Bundle {
    let credential = sample::signed_verdict();
    Bundle {
        log: Some(logged(&credential)),
        credential,
        did_document: sample::did_document(),
        status_list: sample::signed_status_list(false),
        document_salt: Some(sample::SALT),
        exported_at: ISSUED_AT + 2 * HOUR,
    }
}

pub(super) fn seal(bundle: &Bundle) -> Vec<u8> {
    let sealed = bundle.seal(&sample::key(), METHOD).unwrap();
    format!("{sealed:#}\n").into_bytes()
}

/// A reader who has the issuer's did.json and the log's key from elsewhere.
pub(super) fn informed() -> Options {
    let mut trust = Trust::default();
    trust.pin(&sample::did_document().to_string()).unwrap();
    trust.pin(&log_vkey()).unwrap();
    Options {
        now: NOW,
        trust,
        status_age_max: DAY,
        document_sha256: Some(sample::DOCUMENT_SHA256),
        status_lists: Vec::new(),
        challenge: None,
    }
}

fn uninformed() -> Options {
    Options { trust: Trust::default(), document_sha256: None, ..informed() }
}

fn judge(bundle: &Bundle) -> Report {
    verify(&seal(bundle), &informed())
}

/// The checks that did not come out as proved, but for the witness: nobody here knows one.
fn lacking(report: &Report) -> Vec<(Name, Outcome)> {
    let checks = report.checks.iter().map(|check| (check.name, check.outcome));
    let checks = checks.filter(|(name, _)| *name != Name::LogWitness);
    checks.filter(|(_, outcome)| *outcome != Outcome::Proved).collect()
}

#[test]
fn a_whole_bundle_is_valid_to_a_reader_who_knows_the_issuer() {
    let report = judge(&parts());
    insta::assert_snapshot!(report, @r"
    VALID
      proved       shape                every member is known and none is missing
      proved       contexts             the contexts are the pinned ones, in order
      proved       jcs-signature        signed by did:web:verza.example%3A8443#key-1
      proved       rdfc-signature       signed by did:web:verza.example%3A8443#key-1
      proved       proof-purpose        the proofs are made for assertionMethod
      proved       verification-method  the keys are named as the issuer's own
      proved       issuer-key           the keys stand in the issuer's DID document or were pinned
      proved       issuer-trust         every key that signed was pinned
      proved       validity-period      valid from 2026-11-22T10:00:00Z until 2028-11-21T10:00:00Z
      proved       status-signature     both signatures of the status list fit
      proved       status-match         the list is the one that the credential names
      proved       status-fresh         revocation is known as of 2026-11-22T11:00:00Z
      proved       not-revoked          not revoked as of 2026-11-22T11:00:00Z
      proved       bundle-seal          the issuer sealed the whole file on 2026-11-22T12:00:00Z
      proved       log-checkpoint       signed by the log verza.example/audit/2026 at size 10
      proved       log-trust            the log's key was pinned
      not checked  log-witness          no witness was pinned: that others are shown the same log is on its own word
      proved       log-inclusion        the log holds the entry at 4
      proved       log-commitment       the log entry commits to exactly this credential
      proved       document             the document given is the one that was checked
    ");
    assert_eq!(report.verdict, Verdict::Valid);
}

#[test]
fn without_pinned_keys_only_self_consistency_is_shown() {
    let report = verify(&seal(&parts()), &uninformed());
    assert_eq!(report.verdict, Verdict::Unproven);
    assert_eq!(
        lacking(&report),
        [
            (Name::IssuerTrust, Outcome::NotChecked),
            (Name::LogTrust, Outcome::NotChecked),
            (Name::Document, Outcome::NotChecked),
        ]
    );
}

#[test]
fn a_multikey_is_pin_enough() {
    let mut options = uninformed();
    options.trust.pin(&format!(" {}\n", PublicKey::of(&sample::key()).multikey())).unwrap();
    assert_eq!(verify(&seal(&parts()), &options).verdict, Verdict::Valid);
    assert_eq!(options.trust.pin("key-1"), Err(NotAPin));
    assert_eq!(options.trust.pin(r#"{"id":1}"#), Err(NotAPin));
    assert_eq!(options.trust.pin(r#"{"id":"a","id":"b","verificationMethod":[]}"#), Err(NotAPin));
}

#[test]
fn the_report_is_json_with_names_in_kebab_case() {
    let report = serde_json::to_value(judge(&parts())).unwrap();
    assert_eq!(report["verdict"], "valid");
    // In their one order; what a form of credential does not have is not in its report.
    let mut names = Name::ALL.into_iter();
    for check in report["checks"].as_array().unwrap() {
        assert!(names.any(|name| check["name"] == name.as_str()), "{check}");
    }
    assert!(Name::ALL.is_sorted());
}

#[test]
fn a_bundle_from_before_the_logging_is_still_valid() {
    let report = judge(&Bundle { log: None, ..parts() });
    assert_eq!(report.verdict, Verdict::Valid);
    assert_eq!(lacking(&report).len(), 4);
}

#[test]
fn a_revoked_credential_is_invalid() {
    let report = judge(&Bundle { status_list: sample::signed_status_list(true), ..parts() });
    assert_eq!(report.verdict, Verdict::Invalid);
    assert_eq!(lacking(&report), [(Name::NotRevoked, Outcome::Failed)]);
}

#[test]
fn the_newer_of_an_enclosed_and_a_brought_list_decides() {
    let list = |revoked: bool, at: i64| {
        let mut list = sample::unsigned_status_list(revoked);
        list["validFrom"] = timestamp::format(at).unwrap().into();
        proof::sign(Template::StatusList, list, &sample::key(), sample::says(at)).unwrap()
    };
    let now = ISSUED_AT + 3 * HOUR;
    let status_age_max = HOUR / 2;
    let verdict = |file: &[u8], brought: &Value| {
        let status_lists = vec![brought.to_string()];
        verify(file, &Options { now, status_lists, status_age_max, ..informed() }).verdict
    };
    let enclosed = |list: Value| seal(&Bundle { status_list: list, ..parts() });
    let (old, new) = (now - HOUR, now - 60);
    assert_eq!(verdict(&enclosed(list(false, old)), &list(true, new)), Verdict::Invalid);
    assert_eq!(verdict(&enclosed(list(false, new)), &list(true, new)), Verdict::Invalid);
    assert_eq!(verdict(&enclosed(list(false, old)), &list(false, new)), Verdict::Valid);
    assert_eq!(verdict(&enclosed(list(true, new)), &list(false, old)), Verdict::Invalid);

    let bare = sample::signed_verdict().to_string();
    assert_eq!(verdict(bare.as_bytes(), &list(false, new)), Verdict::Valid);
    assert_eq!(verdict(bare.as_bytes(), &list(true, new)), Verdict::Invalid);
    assert_eq!(verdict(bare.as_bytes(), &list(false, old)), Verdict::Unproven);
    let mut forged = list(false, new);
    forged["validFrom"] = timestamp::format(now).unwrap().into();
    assert_eq!(verdict(bare.as_bytes(), &forged), Verdict::Invalid);
}

#[test]
fn an_old_status_list_leaves_the_verdict_open() {
    let judged_at = |now: i64, status_age_max: i64| {
        let options = Options { now, status_age_max, ..informed() };
        verify(&seal(&parts()), &options)
    };
    let too_old = judged_at(ISSUED_AT + 3 * HOUR, HOUR);
    assert_eq!(too_old.verdict, Verdict::Unproven);
    assert_eq!(lacking(&too_old), [(Name::StatusFresh, Outcome::NotChecked)]);
    assert_eq!(judged_at(ISSUED_AT + HOUR + DAY, i64::MAX).verdict, Verdict::Unproven, "expired");
    assert_eq!(judged_at(ISSUED_AT + HOUR + DAY - 1, i64::MAX).verdict, Verdict::Valid);
}

#[test]
fn the_period_is_enforced_at_both_ends() {
    let outcome = |now: i64| {
        let report = verify(&seal(&parts()), &Options { now, ..informed() });
        (report.verdict, report.outcome(Name::ValidityPeriod))
    };
    let expired = (Verdict::Invalid, Outcome::Failed);
    assert_eq!(outcome(ISSUED_AT + 730 * DAY), expired);
    assert_eq!(outcome(ISSUED_AT + 730 * DAY - 1).1, Outcome::Proved);
    assert_eq!(outcome(ISSUED_AT - HOUR), expired);
    assert_eq!(outcome(ISSUED_AT - 60).1, Outcome::Proved, "clocks differ a little");
}

#[test]
fn another_status_list_of_the_same_issuer_does_not_count() {
    let mut list = sample::unsigned_status_list(false);
    list["id"] = "https://verza.example:8443/v1/status/other".into();
    list["credentialSubject"]["id"] = "https://verza.example:8443/v1/status/other#list".into();
    let says = sample::says(ISSUED_AT + HOUR);
    let list = proof::sign(Template::StatusList, list, &sample::key(), says).unwrap();
    let report = judge(&Bundle { status_list: list, ..parts() });
    assert_eq!(report.verdict, Verdict::Invalid);
    assert_eq!(report.outcome(Name::StatusMatch), Outcome::Failed);
    assert_eq!(report.outcome(Name::NotRevoked), Outcome::NotChecked);
}

#[test]
fn the_document_at_hand_is_compared() {
    let options = Options { document_sha256: Some([0; 32]), ..informed() };
    let report = verify(&seal(&parts()), &options);
    assert_eq!(lacking(&report), [(Name::Document, Outcome::Failed)]);
    let unsalted = Bundle { document_salt: None, ..parts() };
    assert_eq!(judge(&unsalted).outcome(Name::Document), Outcome::NotChecked);
}

#[test]
fn a_bare_credential_is_checked_as_far_as_it_goes() {
    let credential = sample::signed_verdict().to_string();
    let report = verify(credential.as_bytes(), &informed());
    assert_eq!(report.verdict, Verdict::Unproven);
    let proved = Name::ALL.iter().filter(|name| report.outcome(**name) == Outcome::Proved);
    assert_eq!(proved.count(), 9, "{report}");
    assert_eq!(report.outcome(Name::IssuerTrust), Outcome::Proved);
    assert_eq!(report.outcome(Name::NotRevoked), Outcome::NotChecked);

    let mut by_key = uninformed();
    by_key.trust.pin(&PublicKey::of(&sample::key()).multikey()).unwrap();
    let report = verify(credential.as_bytes(), &by_key);
    assert_eq!(report.outcome(Name::RdfcSignature), Outcome::Proved);
    let report = verify(credential.as_bytes(), &uninformed());
    assert_eq!(report.outcome(Name::RdfcSignature), Outcome::NotChecked);
    assert_eq!(report.verdict, Verdict::Unproven);
}

/// Everything an attacker can make: a bundle right in all details, under a key of their own.
fn forged(did: &'static str) -> Vec<u8> {
    let key = SigningKey::from_bytes(&[66; 32]);
    let method = did::method_id(did, "key-1");
    let says = |created| Statement { verification_method: &method, created };
    let mut credential = sample::unsigned_verdict();
    credential["issuer"]["id"] = did.into();
    let credential = proof::sign(Template::Verdict, credential, &key, says(ISSUED_AT)).unwrap();
    let mut list = sample::unsigned_status_list(false);
    list["issuer"] = did.into();
    let list = proof::sign(Template::StatusList, list, &key, says(ISSUED_AT + HOUR)).unwrap();
    let listed =
        VerificationMethod { fragment: "key-1".into(), key: PublicKey::of(&key), revoked: None };
    let bundle = Bundle {
        log: None,
        credential,
        status_list: list,
        did_document: did::document(did, &[listed]),
        ..parts()
    };
    bundle.seal(&key, &method).unwrap().to_string().into_bytes()
}

#[test]
fn a_forgery_is_never_valid() {
    let report = verify(&forged(DID), &informed());
    assert_eq!(report.verdict, Verdict::Invalid, "the pinned did.json has another key");
    assert_eq!(report.outcome(Name::IssuerTrust), Outcome::Failed);

    let mut by_key = uninformed();
    by_key.trust.pin(&PublicKey::of(&sample::key()).multikey()).unwrap();
    for options in [by_key, uninformed()] {
        let report = verify(&forged(DID), &options);
        assert_eq!(report.verdict, Verdict::Unproven);
        assert_eq!(report.outcome(Name::IssuerTrust), Outcome::NotChecked);
    }
    let elsewhere = verify(&forged("did:web:verza.example.evil"), &informed());
    assert_eq!(elsewhere.verdict, Verdict::Unproven);
    assert_eq!(elsewhere.outcome(Name::IssuerTrust), Outcome::NotChecked);
}

#[test]
fn a_key_of_another_did_cannot_sign_for_the_issuer() {
    let method = "did:web:other.example#key-1";
    let says = Statement { verification_method: method, created: ISSUED_AT };
    let document = sample::unsigned_verdict();
    let credential = proof::sign(Template::Verdict, document, &sample::key(), says).unwrap();
    let report = judge(&Bundle { credential, ..parts() });
    assert_eq!(report.verdict, Verdict::Invalid);
    assert_eq!(report.outcome(Name::VerificationMethod), Outcome::Failed);
}

#[test]
fn a_key_that_is_not_listed_for_assertions_is_refused() {
    let mut did_document = sample::did_document();
    did_document["assertionMethod"] = json!([]);
    let report = judge(&Bundle { did_document, ..parts() });
    assert_eq!(report.verdict, Verdict::Invalid);
    assert_eq!(report.outcome(Name::IssuerKey), Outcome::Failed);
}

#[test]
fn other_contexts_and_purposes_are_refused_even_when_signed() {
    let mut credential = sample::unsigned_verdict();
    credential["@context"][1] = "https://evil.example/v1".into();
    let credential = proof::seal(credential, &sample::key(), sample::says(ISSUED_AT)).unwrap();
    let report = judge(&Bundle { credential, ..parts() });
    assert_eq!(report.outcome(Name::Contexts), Outcome::Failed);
    assert_eq!(report.verdict, Verdict::Invalid);

    let mut credential = sample::signed_verdict();
    credential["proof"][0]["proofPurpose"] = "authentication".into();
    let report = judge(&Bundle { credential, ..parts() });
    assert_eq!(report.outcome(Name::ProofPurpose), Outcome::Failed);
    assert_eq!(report.verdict, Verdict::Invalid);
}

#[test]
fn one_proof_alone_leaves_the_verdict_open_and_two_alike_are_refused() {
    let mut credential = sample::signed_verdict();
    credential["proof"].as_array_mut().unwrap().remove(0);
    let report = judge(&Bundle { log: Some(logged(&credential)), credential, ..parts() });
    assert_eq!(report.verdict, Verdict::Unproven);
    assert_eq!(lacking(&report), [(Name::RdfcSignature, Outcome::NotChecked)]);

    let mut credential = sample::signed_verdict();
    credential["proof"][0] = credential["proof"][1].clone();
    assert_eq!(judge(&Bundle { credential, ..parts() }).outcome(Name::Shape), Outcome::Failed);
}

#[test]
fn the_log_must_speak_of_this_very_credential() {
    let good = logged(&sample::signed_verdict());
    let outcome = |log: LogEvidence, name: Name| {
        let report = judge(&Bundle { log: Some(log), ..parts() });
        assert_eq!(report.verdict, Verdict::Invalid, "{report}");
        report.outcome(name)
    };
    let other = logged(&sample::signed_status_list(false));
    assert_eq!(outcome(other, Name::LogCommitment), Outcome::Failed);
    let salted = LogEvidence { salt: [8; 32], ..good.clone() };
    assert_eq!(outcome(salted, Name::LogCommitment), Outcome::Failed);
    let moved = LogEvidence { proof: good.proof.replace("index 4", "index 5"), ..good.clone() };
    assert_eq!(outcome(moved, Name::LogInclusion), Outcome::Failed);
    let resized = LogEvidence { proof: good.proof.replace("\n10\n", "\n11\n"), ..good.clone() };
    assert_eq!(outcome(resized, Name::LogCheckpoint), Outcome::Failed);
    let stranger = VerifierKey::new(ORIGIN, PublicKey::of(&sample::key())).unwrap();
    let rekeyed = LogEvidence { key: stranger.to_string(), ..good };
    assert_eq!(outcome(rekeyed, Name::LogTrust), Outcome::Failed);
}

#[test]
fn a_witness_is_believed_by_the_key_that_the_reader_brings() {
    let key = |byte| SigningKey::from_bytes(&[byte; 32]);
    let vkey = |name: &str, byte| {
        VerifierKey::witness(name, PublicKey::of(&key(byte))).unwrap().to_string()
    };
    let bare = logged(&sample::signed_verdict());
    let cosigned = |byte, time| {
        let mut proof = InclusionProof::parse(&bare.proof).unwrap();
        proof.checkpoint.cosign("witness.example", &key(byte), time).unwrap();
        LogEvidence { proof: proof.to_string(), ..bare.clone() }
    };
    let outcome = |log: LogEvidence, pins: &[String]| {
        let mut options = informed();
        pins.iter().for_each(|pin| options.trust.pin(pin).unwrap());
        let report = verify(&seal(&Bundle { log: Some(log), ..parts() }), &options);
        (report.verdict, report.outcome(Name::LogWitness), report.to_string())
    };
    let good = cosigned(5, ISSUED_AT as u64);
    let (verdict, found, text) = outcome(good.clone(), &[vkey("witness.example", 5)]);
    assert_eq!((verdict, found), (Verdict::Valid, Outcome::Proved), "{text}");
    assert!(text.contains("also signed by witness.example on 2026-11-22T10:00:00Z"), "{text}");
    // Somebody else of this name, nobody asked, nobody signed: not proved, and no reason to doubt.
    let pins = [vkey("witness.example", 6)];
    assert_eq!(outcome(good.clone(), &pins).1, Outcome::NotChecked);
    assert_eq!(outcome(good.clone(), &[]).1, Outcome::NotChecked);
    assert_eq!(outcome(bare.clone(), &pins).1, Outcome::NotChecked);
    // A signature in the witness's name over another tree.
    let (text, line) = good.proof.trim_end().rsplit_once('\n').unwrap();
    let mut other = InclusionProof::parse(&bare.proof).unwrap();
    let head = Checkpoint { origin: ORIGIN.to_owned(), size: 11, root: [1; 32] };
    other.checkpoint = head.sign(&log_key()).unwrap();
    other.checkpoint.cosign("witness.example", &key(5), 1).unwrap();
    let moved = other.to_string();
    let moved = moved.trim_end().rsplit_once('\n').unwrap().1;
    assert_ne!(line, moved);
    let forged = LogEvidence { proof: format!("{text}\n{moved}\n"), ..bare };
    let (verdict, found, text) = outcome(forged, &[vkey("witness.example", 5)]);
    assert_eq!((verdict, found), (Verdict::Invalid, Outcome::Failed), "{text}");
}

#[test]
fn a_seal_holds_the_parts_together() {
    let mut swapped: Value = serde_json::from_slice(&seal(&parts())).unwrap();
    swapped["statusList"] = sample::signed_status_list(true);
    let report = verify(swapped.to_string().as_bytes(), &informed());
    assert_eq!(report.outcome(Name::BundleSeal), Outcome::Failed);
    assert_eq!(report.outcome(Name::StatusSignature), Outcome::Proved);

    let mut unsealed: Value = serde_json::from_slice(&seal(&parts())).unwrap();
    unsealed.as_object_mut().unwrap().remove("proof");
    assert_eq!(Bundle::parse(&unsealed), Err(BundleError::Member("proof".to_owned())));
    assert_eq!(verify(unsealed.to_string().as_bytes(), &informed()).verdict, Verdict::Invalid);

    let later = Bundle { exported_at: NOW + HOUR, ..parts() };
    assert_eq!(judge(&later).outcome(Name::BundleSeal), Outcome::Failed);
}

#[test]
fn a_bundle_is_read_back_as_it_was_made() {
    let sealed = parts().seal(&sample::key(), METHOD).unwrap();
    assert_eq!(Bundle::parse(&sealed), Ok(parts()));
    let mut extended = sealed;
    extended["note"] = "hello".into();
    assert_eq!(Bundle::parse(&extended), Err(BundleError::Member("note".to_owned())));
}

#[test]
fn files_that_are_not_json_of_one_meaning_are_invalid() {
    let good = String::from_utf8(seal(&parts())).unwrap();
    let twice = good.replacen("\"format\"", "\"format\": \"verza-bundle/1\", \"format\"", 1);
    let nested = good.replacen("\"id\"", "\"id\": \"x\", \"\\u0069d\"", 1);
    for file in ["", "[]", "null", &good[..good.len() - 3], &twice, &nested] {
        let report = verify(file.as_bytes(), &informed());
        assert_eq!(report.outcome(Name::Shape), Outcome::Failed);
        assert_eq!(report.verdict, Verdict::Invalid);
    }
    assert_eq!(verify(&[0xff], &informed()).verdict, Verdict::Invalid);
}

/// A changed file is valid only where it still says the same: blanks between the members.
fn assert_not_valid_unless_equal(changed: &[u8], original: &Value, what: &str) {
    if verify(changed, &informed()).verdict == Verdict::Valid {
        let value: Value = serde_json::from_slice(changed).expect("a valid file is JSON");
        assert_eq!(value, *original, "{what} changed the meaning and went unnoticed");
    }
}

#[test]
fn no_changed_byte_goes_unnoticed() {
    let file = seal(&parts());
    let original: Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(verify(&file, &informed()).verdict, Verdict::Valid);
    assert!(file.len() > 2_000);
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1 << (at % 7);
        assert_not_valid_unless_equal(&changed, &original, &format!("a bit of byte {at}"));
    }
}

#[test]
fn no_lost_or_blanked_byte_goes_unnoticed() {
    let file = seal(&parts());
    let original: Value = serde_json::from_slice(&file).unwrap();
    for at in (0..file.len()).step_by(3) {
        let mut changed = file.clone();
        changed.remove(at);
        assert_not_valid_unless_equal(&changed, &original, &format!("losing byte {at}"));
        changed.insert(at, b' ');
        assert_not_valid_unless_equal(&changed, &original, &format!("blanking byte {at}"));
    }
}

/// Pointers to every member and item of a value.
pub(super) fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (name, child) in children {
        let pointer = format!("{at}/{name}");
        pointers(child, &pointer, found);
        found.push(pointer);
    }
}

#[test]
fn no_removed_replaced_or_added_member_goes_unnoticed() {
    let original = parts().seal(&sample::key(), METHOD).unwrap();
    let mut found = Vec::new();
    pointers(&original, "", &mut found);
    assert!(found.len() > 100);
    for pointer in found {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let mut without = original.clone();
        match without.pointer_mut(parent).unwrap() {
            Value::Object(members) => drop(members.remove(&name.replace("~1", "/"))),
            Value::Array(items) => drop(items.remove(name.parse().unwrap())),
            _ => unreachable!("only these have children"),
        }
        let mut replaced = original.clone();
        *replaced.pointer_mut(&pointer).unwrap() = json!("changed");
        let mut added = original.clone();
        match added.pointer_mut(&pointer).unwrap() {
            Value::Object(members) => drop(members.insert("added".into(), 1.into())),
            Value::Array(items) => items.push("added".into()),
            other => *other = Value::Null,
        }
        for changed in [without, replaced, added] {
            let report = verify(changed.to_string().as_bytes(), &informed());
            assert_ne!(report.verdict, Verdict::Valid, "{pointer}");
        }
    }
}

#[test]
fn no_changed_byte_of_a_bare_credential_goes_unnoticed() {
    let file = sample::signed_verdict().to_string().into_bytes();
    let signatures_hold = |file: &[u8]| {
        let report = verify(file, &informed());
        report.outcome(Name::JcsSignature) == Outcome::Proved
            && report.outcome(Name::RdfcSignature) == Outcome::Proved
            && report.verdict != Verdict::Invalid
    };
    assert!(signatures_hold(&file));
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1 << (at % 7);
        assert!(!signatures_hold(&changed), "byte {at}");
    }
}
