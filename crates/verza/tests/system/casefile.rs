//! One verification exported whole, and judged by whoever has the file.

use reqwest::Method;
use serde_json::{Value as Json, json};
use verify::judge::report::{Name, Outcome, Verdict};
use verza::commands::judge_file;

use crate::town::{Cast, PRICE, Person, Town, pdf, until};
use crate::world::on_both_stages;

/// The case, once the log has come to its last event.
async fn case_of(town: &Town, owner: &Person, job: &str) -> Vec<u8> {
    let path = format!("/v1/user/verifications/{job}/case-file");
    until("the case file", async || {
        let answer = town.get(&path, owner).answer().await;
        if answer.status == 503 {
            answer.problem(503, "log_behind");
            return None;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        Some(answer.bytes)
    })
    .await
}

async fn pins(town: &Town) -> Vec<String> {
    let did = town.call(Method::GET, "/.well-known/did.json", None).answer().await.text();
    let log_key = town.call(Method::GET, "/v1/audit/key", None).answer().await.text();
    vec![did, log_key]
}

on_both_stages! {
    async fn a_case_is_judged_whole_by_whoever_has_the_file(stage: &Stage) {
        let Cast { town, anne, ben, vera, .. } = Cast::on(stage).await;
        let file = town.upload(&anne, "diploma.pdf", &pdf("the document")).await;
        let body = json!({ "title": "D", "type": "Education", "issuer": "U", "fileId": file });
        let made = town.post("/v1/user/credentials", &anne).json(&body).done().await;
        let job = town.request(&anne, made["id"].as_str().unwrap(), &vera).await;
        town.accept(&vera, &job).await;
        let report = town.upload(&vera, "report.pdf", &pdf("the report")).await;
        let body = json!({
            "verdict": "verified", "comments": "Asked the registry.", "reportFileId": report,
        });
        let complete = format!("/v1/verifier/jobs/{job}/complete");
        town.post(&complete, &vera).key("complete").json(&body).done().await;

        let pins = pins(&town).await;
        let case = case_of(&town, &anne, &job).await;
        let report = judge_file(&case, &pins, Some(&pdf("the document")), 48).unwrap();
        assert_eq!(report.verdict, Verdict::Valid, "{report}");
        for check in &report.checks {
            // Nobody witnesses this log.
            let is_witness = check.name == Name::LogWitness;
            let expected = if is_witness { Outcome::NotChecked } else { Outcome::Proved };
            assert_eq!(check.outcome, expected, "{report}");
        }
        let shown: Json = serde_json::from_slice(&case).unwrap();
        assert_eq!(shown["receipt"]["price"], PRICE);
        let digest = |bytes: &[u8]| hex::encode(platform::crypto::sha256(bytes));
        assert_eq!(shown["report"]["fileSha256"], digest(&pdf("the report")));
        assert_eq!(shown["report"]["commentsSha256"], digest(b"Asked the registry."));
        let verbs: Vec<_> =
            shown["timeline"].as_array().unwrap().iter().map(|event| &event["row"]["verb"]).collect();
        assert_eq!(verbs.len(), 3, "{verbs:?}");
        // No words of anybody's, only their hashes.
        let text = String::from_utf8_lossy(&case).into_owned();
        for word in ["Asked the registry", "Anne", "@example.com"] {
            assert!(!text.contains(word), "{word}");
        }
        // Somebody else's case is none, and a stranger proves nothing without pins.
        let path = format!("/v1/user/verifications/{job}/case-file");
        town.get(&path, &ben).answer().await.problem(404, "not_found");
        town.get(&path, &vera).answer().await.problem(403, "forbidden");
        let report = judge_file(&case, &[], None, 48).unwrap();
        assert_eq!(report.verdict, Verdict::Unproven, "{report}");
        let forged = text.replace(&format!("\"price\":{PRICE}"), "\"price\":1");
        let report = judge_file(forged.as_bytes(), &pins, None, 48).unwrap();
        assert_eq!(report.outcome(Name::CaseSeal), Outcome::Failed, "{report}");
    }

    async fn a_case_is_exported_whatever_has_become_of_it(stage: &Stage) {
        let Cast { town, anne, vera, .. } = Cast::on(stage).await;
        let pins = pins(&town).await;
        let mut cases = Vec::new();
        for title in ["Rejected", "Cancelled", "Waiting"] {
            let credential = town.credential(&anne, title).await;
            let job = town.request(&anne, &credential, &vera).await;
            match title {
                "Rejected" => {
                    town.accept(&vera, &job).await;
                    town.complete(&vera, &job, "rejected").await;
                }
                "Cancelled" => {
                    let path = format!("/v1/user/verifications/{job}/cancel");
                    town.post(&path, &anne).done().await;
                }
                _ => {}
            }
            cases.push(job);
        }
        for job in cases {
            let case = case_of(&town, &anne, &job).await;
            let report = judge_file(&case, &pins, None, 48).unwrap();
            assert_eq!(report.verdict, Verdict::Valid, "{report}");
            assert_eq!(report.outcome(Name::NotRevoked), Outcome::NotChecked);
        }
    }
}
