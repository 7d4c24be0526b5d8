//! Case files: whole ones, and what each forgery of one is caught by.

use serde_json::{Value, json};

use super::bundle::LogEvidence;
use super::casefile::{About, Case, Receipt, ReportHashes, Verdict as Found};
use super::report::{Name, Outcome, Report, Verdict};
use super::tests::{informed, log_vkey, logged_rows, parts, seal};
use super::verify;
use crate::sample::{self, HOUR, ISSUED_AT, METHOD};

const ID: &str = "vrf_01kaq5zzzzezzazzzzzzzzzzzz";
const CREDENTIAL: &str = "c_01kaq5zzzzezzazzzzzzzzzzzz";

fn row(number: u64, verb: &str, data: Value) -> Value {
    json!({ "id": number, "seq": number, "verb": verb, "subject": ID, "data": data })
}

/// The events of a verification and the row of the credential that it issued.
fn rows(verdict: Option<Found>) -> Vec<Value> {
    let amounts = json!({ "price": 2500, "currency": "USD" });
    let mut rows = vec![
        row(1, "verification.requested", amounts),
        row(2, "verification.accepted", json!({ "status": "in_review" })),
    ];
    let ended = json!({ "price": 2500, "fee": 62, "currency": "USD", "issued": "vc_1" });
    match verdict {
        None => {}
        Some(Found::Verified) => rows.push(row(3, "verification.verified", ended)),
        Some(Found::Rejected) => {
            let ended = json!({ "price": 2500, "fee": 62, "currency": "USD", "issued": null });
            rows.push(row(3, "verification.rejected", ended));
        }
    }
    rows
}

/// A case of this verdict, with all its parts.
pub(super) fn case(verdict: Option<Found>) -> Case {
    let credential = sample::signed_verdict();
    let digest = hex::encode(crate::log::entry::credential_digest(&credential).unwrap());
    let issuance = json!({
        "id": 4,
        "verb": "credential.issued",
        "subject": "vc_1",
        "data": {
            "credentialSha256": digest, "verification": ID, "credential": CREDENTIAL,
        },
    });
    let mut rows = rows(verdict);
    rows.push(issuance);
    let mut timeline: Vec<LogEvidence> = logged_rows(&rows);
    let issued = timeline.pop();
    let mut bundle = parts();
    bundle.log = issued;
    let bundle: Value = serde_json::from_slice(&seal(&bundle)).unwrap();
    Case {
        about: About {
            id: ID.into(),
            credential: CREDENTIAL.into(),
            verifier: "v_01kaq5zzzzezzazzzzzzzzzzzz".into(),
            status: verdict.map_or("in_review", |_| "verified").into(),
            verdict,
        },
        receipt: verdict.map(|_| Receipt {
            currency: "USD".into(),
            price: 2500,
            fee: 62,
            refunded: 0,
            hold: "hold_01kaq5zzzzezzazzzzzzzzzzzz".into(),
        }),
        report: verdict.map(|_| ReportHashes {
            comments_sha256: Some("ab".repeat(32)),
            file_sha256: None,
            url: Some("https://registry.example/4711".into()),
        }),
        timeline,
        did_document: sample::did_document(),
        bundle: (verdict == Some(Found::Verified)).then_some(bundle),
        exported_at: ISSUED_AT + 2 * HOUR,
    }
}

pub(super) fn sealed(case: &Case) -> Vec<u8> {
    case.seal(&sample::key(), METHOD).unwrap().to_string().into_bytes()
}

fn judge(case: &Case) -> Report {
    verify(&sealed(case), &informed())
}

#[test]
fn a_whole_case_says_of_each_part_what_it_proves() {
    let report = judge(&case(Some(Found::Verified)));
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let of_case: Vec<String> = report
        .to_string()
        .lines()
        .filter(|line| line.contains(" case-"))
        .map(|line| line.trim().to_owned())
        .collect();
    insta::assert_snapshot!(of_case.join("\n"), @r"
    proved       case-seal            did:web:verza.example%3A8443 sealed the whole file
    proved       case-timeline        3 events are as they were logged; later ones may be missing
    proved       case-inclusion       the log holds all 3 of them
    proved       case-verdict         the logged verdict is: verified, and it issued the credential
    proved       case-receipt         2500 USD (minor units) were paid, 62 of it to the platform; the issuer says that 0 were given back
    ");
}

#[test]
fn a_case_without_a_credential_is_judged_by_what_it_has() {
    for verdict in [None, Some(Found::Rejected)] {
        let report = judge(&case(verdict));
        assert_eq!(report.verdict, Verdict::Valid, "{report}");
        assert_eq!(report.outcome(Name::NotRevoked), Outcome::NotChecked);
    }
}

#[test]
fn a_case_of_an_unknown_issuer_is_unproven() {
    let mut options = informed();
    options.trust = super::trust::Trust::default();
    let report = verify(&sealed(&case(Some(Found::Rejected))), &options);
    assert_eq!(report.verdict, Verdict::Unproven);
    assert_eq!(report.outcome(Name::IssuerTrust), Outcome::NotChecked);
    assert_eq!(report.outcome(Name::LogTrust), Outcome::NotChecked);
    options.trust.pin(&log_vkey()).unwrap();
    let report = verify(&sealed(&case(Some(Found::Rejected))), &options);
    assert_eq!(report.outcome(Name::LogTrust), Outcome::Proved);
}

/// What the issuer itself could put together wrongly is caught by the log and by each part's tie
/// to the others.
#[test]
fn parts_that_do_not_belong_together_are_named() {
    type Forgery = fn(&mut Case);
    let forgeries: [(Name, Forgery); 14] = [
        (Name::CaseReceipt, |case| case.receipt.as_mut().unwrap().price += 1),
        (Name::CaseReceipt, |case| case.receipt.as_mut().unwrap().fee -= 1),
        (Name::CaseReceipt, |case| case.receipt.as_mut().unwrap().currency = "NGN".into()),
        (Name::CaseReceipt, |case| case.receipt = None),
        (Name::CaseVerdict, |case| case.about.verdict = Some(Found::Rejected)),
        (Name::CaseVerdict, |case| case.about.verdict = None),
        (Name::CaseVerdict, |case| case.bundle = None),
        (Name::CaseVerdict, |case| case.about.credential.push('x')),
        (Name::CaseTimeline, |case| case.about.id.push('x')),
        (Name::CaseTimeline, |case| case.timeline.swap(0, 1)),
        (Name::CaseTimeline, |case| drop(case.timeline.remove(0))),
        (Name::CaseTimeline, |case| case.timeline[1].row["data"]["status"] = "pending".into()),
        (Name::CaseInclusion, |case| {
            let proof = case.timeline[2].proof.clone();
            case.timeline[1].proof = proof;
        }),
        (Name::CaseSeal, |case| {
            case.bundle.as_mut().unwrap()["credential"]["issuer"]["id"] = "did:web:other".into();
        }),
    ];
    for (number, (name, forge)) in forgeries.into_iter().enumerate() {
        let mut forged = case(Some(Found::Verified));
        forge(&mut forged);
        let report = judge(&forged);
        assert_eq!(report.verdict, Verdict::Invalid, "{number} {report}");
        assert_eq!(report.outcome(name), Outcome::Failed, "{number} {report}");
    }
    let mut other = case(Some(Found::Rejected));
    other.bundle = case(Some(Found::Verified)).bundle;
    assert_eq!(judge(&other).outcome(Name::CaseVerdict), Outcome::Failed);
}

#[test]
fn every_flipped_byte_of_a_case_is_caught() {
    let file = sealed(&case(Some(Found::Verified)));
    for place in (0..file.len()).step_by(37) {
        let mut flipped = file.clone();
        flipped[place] ^= 1;
        let report = verify(&flipped, &informed());
        let around = String::from_utf8_lossy(&flipped[place.saturating_sub(20)..=place]);
        assert_eq!(report.verdict, Verdict::Invalid, "byte {place} after {around}\n{report}");
    }
}

#[test]
fn an_unknown_or_missing_member_is_refused() {
    let whole: Value = serde_json::from_slice(&sealed(&case(Some(Found::Verified)))).unwrap();
    for pointer in ["", "/verification", "/receipt", "/report", "/timeline/0"] {
        let mut more = whole.clone();
        more.pointer_mut(pointer).unwrap()["more"] = 1.into();
        let report = verify(more.to_string().as_bytes(), &informed());
        assert_eq!(report.outcome(Name::Shape), Outcome::Failed, "{pointer}");
    }
    for (parent, name) in [("", "timeline"), ("/receipt", "fee"), ("/timeline/0", "salt")] {
        let mut less = whole.clone();
        less.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        let report = verify(less.to_string().as_bytes(), &informed());
        assert_eq!(report.outcome(Name::Shape), Outcome::Failed, "{parent}/{name}");
    }
}
