//! Other readers' opinions of what this crate writes and judges. `cargo xtask judges` runs them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::casefile::Verdict as Found;
use super::casefile_tests;
use super::compromise_tests::{self, STOLEN_AT};
use super::report::Verdict;
use super::tests::{informed, log_vkey, parts, pointers, seal};
use super::{Options, verify};
use crate::credential::proof;
use crate::credential::rdfc::Template;
use crate::key::did;
use crate::sample;

const BUNDLES: usize = 1_000;

/// A plain generator: the same bundles every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// One place of a document changed, removed or added to.
fn mutate(document: &mut Value, dice: &mut Dice) {
    let mut found = Vec::new();
    pointers(document, "", &mut found);
    let pointer = found[dice.roll(found.len())].clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/");
    match dice.roll(5) {
        0 => match document.pointer_mut(parent).unwrap() {
            Value::Object(members) => drop(members.remove(&name)),
            Value::Array(items) => drop(items.remove(name.parse().unwrap())),
            _ => unreachable!("only these have children"),
        },
        1 => *document.pointer_mut(&pointer).unwrap() = json!("changed"),
        2 => *document.pointer_mut(&pointer).unwrap() = json!(7),
        3 => match document.pointer_mut(&pointer).unwrap() {
            Value::Object(members) => drop(members.insert("added".into(), 1.into())),
            Value::Array(items) => items.push("added".into()),
            other => *other = Value::Null,
        },
        _ => {
            let target = document.pointer_mut(&pointer).unwrap();
            if let Value::String(text) = target {
                let mut letters: Vec<char> = text.chars().collect();
                if !letters.is_empty() {
                    let at = dice.roll(letters.len());
                    letters[at] = char::from(b'0' + (dice.roll(10) as u8));
                }
                *text = letters.into_iter().collect();
            }
        }
    }
}

fn sealed_again(mut bundle: Value) -> Value {
    bundle.as_object_mut().unwrap().remove("proof");
    let says = sample::says(parts().exported_at);
    proof::seal(bundle, &sample::key(), says).unwrap_or(Value::Null)
}

/// A bundle that somebody tampered with, as far as they could: with the issuer's key at the last.
fn tampered(dice: &mut Dice) -> Vec<u8> {
    let mut file = seal(&parts());
    let mut bundle: Value = serde_json::from_slice(&file).unwrap();
    match dice.roll(4) {
        0 => {
            let at = dice.roll(file.len());
            file[at] ^= 1 << dice.roll(8);
            return file;
        }
        1 => mutate(&mut bundle, dice),
        2 => {
            mutate(&mut bundle, dice);
            bundle = sealed_again(bundle);
        }
        _ => {
            let (name, template) =
                [("credential", Template::Verdict), ("statusList", Template::StatusList)]
                    [dice.roll(2)];
            let mut part = bundle[name].clone();
            part.as_object_mut().unwrap().remove("proof");
            mutate(&mut part, dice);
            let says = sample::says(sample::ISSUED_AT);
            if let Ok(signed) = proof::sign(template, part, &sample::key(), says) {
                bundle[name] = signed;
                // The log spoke of the credential as it was.
                for member in ["logProof", "logEntry", "logKey", "logCommitment"] {
                    bundle.as_object_mut().unwrap().remove(member);
                }
                bundle = sealed_again(bundle);
            }
        }
    }
    format!("{bundle:#}\n").into_bytes()
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools")
}

/// A case file that somebody tampered with: with the issuer's key at the last.
fn tampered_case(dice: &mut Dice) -> Vec<u8> {
    let found = [Some(Found::Verified), Some(Found::Rejected), None][dice.roll(3)];
    let mut file = casefile_tests::sealed(&casefile_tests::case(found));
    let mut case: Value = serde_json::from_slice(&file).unwrap();
    match dice.roll(5) {
        0 => {
            let at = dice.roll(file.len());
            file[at] ^= 1 << dice.roll(8);
            return file;
        }
        1 => mutate(&mut case, dice),
        2 => {
            mutate(&mut case, dice);
            case = sealed_again(case);
        }
        // What the seal covers and nothing else does.
        3 => {
            let names = ["verification", "receipt", "report"];
            let name = names[dice.roll(names.len())];
            if case.get(name).is_some() {
                mutate(&mut case[name], dice);
            }
            case = sealed_again(case);
        }
        _ => {
            if let Some(members) = case["bundle"].as_object_mut() {
                for member in ["logProof", "logEntry", "logKey", "logCommitment"] {
                    members.remove(member);
                }
                case["bundle"] = sealed_again(case["bundle"].clone());
            }
            case = sealed_again(case);
        }
    }
    case.to_string().into_bytes()
}

#[test]
#[ignore = "needs python3 with the package cryptography"]
fn a_second_reader_agrees_on_a_thousand_tampered_bundles() {
    let counts = both_judge(|number, dice| match number {
        0 => seal(&parts()),
        _ => tampered(dice),
    });
    assert!(counts[0] > 0 && counts[2] > 500, "{counts:?}");
}

#[test]
#[ignore = "needs python3 with the package cryptography"]
fn a_second_reader_agrees_on_a_thousand_tampered_case_files() {
    let counts = both_judge(|number, dice| match number {
        0 => casefile_tests::sealed(&casefile_tests::case(Some(Found::Verified))),
        _ => tampered_case(dice),
    });
    assert!(counts.iter().all(|count| *count > 0) && counts[2] > 400, "{counts:?}");
}

/// A credential of a key that was stolen, of about that time, with what may show when it was
/// signed.
fn of_a_stolen_key(dice: &mut Dice) -> Vec<u8> {
    let near = |dice: &mut Dice| STOLEN_AT - 2 + i64::try_from(dice.roll(5)).unwrap();
    let says = sample::says(near(dice));
    let unsigned = sample::unsigned_verdict();
    let credential = proof::sign(Template::Verdict, unsigned, &sample::key(), says).unwrap();
    let at = near(dice);
    let log = (dice.roll(3) > 0).then(|| compromise_tests::logged(&credential, at));
    let file = compromise_tests::exported(credential, log);
    let mut bundle: Value = serde_json::from_slice(&file).unwrap();
    let revoked = &mut bundle["didDocument"]["verificationMethod"][0]["revoked"];
    match dice.roll(6) {
        0 => *revoked = "2026-11-22T12:00:00.5+01:00".into(),
        1 => *revoked = "soon".into(),
        2 => *revoked = 7.into(),
        3 => *revoked = "2026-11-22T11:00:01Z".into(),
        _ => {}
    }
    bundle.as_object_mut().unwrap().remove("proof");
    let says = proof::Statement {
        verification_method: &did::method_id(sample::DID, "key-2"),
        created: near(dice),
    };
    proof::seal(bundle, &compromise_tests::new_key(), says).unwrap().to_string().into_bytes()
}

#[test]
#[ignore = "needs python3 with the package cryptography"]
fn a_second_reader_agrees_on_what_a_stolen_key_has_signed() {
    let did = compromise_tests::document(STOLEN_AT, false);
    let options = Options { document_sha256: None, ..compromise_tests::warned() };
    let counts = both_judge_with(&options, &did, |_, dice| of_a_stolen_key(dice));
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}

/// [`both_judge_with`] what they know of the sample's issuer.
fn both_judge(file: impl Fn(usize, &mut Dice) -> Vec<u8>) -> [usize; 3] {
    // Neither has the document.
    let options = Options { document_sha256: None, ..informed() };
    both_judge_with(&options, &sample::did_document(), file)
}

/// Has files judged by both readers, who must say the same; answers how many are valid, unproven
/// and invalid.
fn both_judge_with(
    options: &Options,
    document: &Value,
    file: impl Fn(usize, &mut Dice) -> Vec<u8>,
) -> [usize; 3] {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut verdicts = HashMap::new();
    for number in 0..BUNDLES {
        let file = file(number, &mut dice);
        let path = folder.path().join(format!("{number}.json"));
        fs::write(&path, &file).unwrap();
        verdicts.insert(path, verify(&file, options));
    }
    let did = folder.path().join("did");
    fs::write(&did, document.to_string()).unwrap();
    let output = Command::new("python3")
        .arg(tools().join("check_bundle.py"))
        .args(["--now", &options.now.to_string()])
        .args(["--max-status-age", &options.status_age_max.to_string()])
        .args(["--log-key", &log_vkey(), "--did"])
        .arg(&did)
        .args(verdicts.keys())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), BUNDLES, "{}", String::from_utf8_lossy(&output.stderr));
    let mut counts = [0; 3];
    for line in said.lines() {
        let (path, rest) = line.split_once('\t').unwrap();
        let report = &verdicts[Path::new(path)];
        let word = match report.verdict {
            Verdict::Valid => "valid",
            Verdict::Unproven => "unproven",
            Verdict::Invalid => "invalid",
        };
        counts[report.verdict as usize] += 1;
        assert!(rest.starts_with(&format!("{word}\t")), "{path}: {rest}\n{report}");
    }
    println!("{counts:?} valid, unproven and invalid, both alike");
    counts
}
