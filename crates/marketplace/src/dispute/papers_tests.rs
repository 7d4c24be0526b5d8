//! The files of a case: who reads them, who learns of it, and until when they stay.

use kernel::id::kinds;
use kernel::{Caller, Id, Role};
use platform::db::Read;
use platform::privacy::{Erasure, Holder, Person};
use serde_json::{Value as Json, json};

use super::model::{Resolution, Ruling};
use crate::testing::{Client, id_of};
use crate::verification::tests::{DAY, MIGRATIONS, Stage, stage};

/// A verdict with a report, which its owner contests with a file.
struct Case {
    client: Client,
    verification: String,
    dispute: Id<kinds::Dispute>,
    document: Id<kinds::File>,
    report: Id<kinds::File>,
    evidence: Id<kinds::File>,
}

async fn case(stage: &Stage<'_>) -> Case {
    let client = Client::over(stage.market.routes());
    let document = stage.upload(&stage.owner, "diploma").await;
    let body = json!({
        "title": "Diploma", "type": "Education", "issuer": "University X", "fileId": document,
    });
    let documents = Client::over(stage.documents.routes());
    let credential = documents.ok(&stage.owner, "POST /v1/user/credentials", body).await;
    let verifier: Id<kinds::Verifier> = id_of(&stage.verifier).same_as();
    let body = json!({ "credentialId": credential["id"], "verifierId": verifier });
    let made = client.ok(&stage.owner, "POST /v1/user/verifications", body).await;
    let verification = made["id"].as_str().unwrap().to_owned();
    let job = format!("/v1/verifier/jobs/{verification}");
    client.ok(&stage.verifier, &format!("POST {job}/accept"), Json::Null).await;
    let report = stage.upload(&stage.verifier, "report").await;
    let verdict = json!({ "verdict": "verified", "reportFileId": report });
    client.ok(&stage.verifier, &format!("POST {job}/complete"), verdict).await;
    let evidence = stage.upload(&stage.owner, "letter").await;
    let words = json!({ "reason": "other", "description": "Not so.", "fileId": evidence });
    let path = format!("POST /v1/user/verifications/{verification}/dispute");
    let opened = client.ok(&stage.owner, &path, words).await;
    let dispute = opened["id"].as_str().unwrap().parse().unwrap();
    Case { client, verification, dispute, document, report, evidence }
}

impl Case {
    /// Status and content of a download.
    async fn read(&self, caller: &Caller, path: &str) -> (u16, String) {
        self.client.media(caller, &format!("GET {path}"), ("", "")).await
    }

    fn papers(&self) -> String {
        format!("/v1/admin/disputes/{}/files", self.dispute)
    }
}

/// How often somebody was told of something by a verb.
async fn told(stage: &Stage<'_>, whom: &Caller, verb: &str) -> i64 {
    let sql = "SELECT CAST(count(*) AS BIGINT) FROM fact_parties
               JOIN facts ON facts.id = fact_parties.fact
               WHERE fact_parties.party = $1 AND facts.verb = $2 AND facts.actor <> $1";
    let whom = id_of(whom);
    stage.t.db.one(sql, platform::params![whom, verb], |row| row.take()).await.unwrap()
}

async fn end(stage: &Stage<'_>, case: &Case) {
    let disputes = &stage.market.disputes;
    let ruling = Ruling::parse(Resolution::PayVerifier, None, "Reasons.").unwrap();
    disputes.resolve(&stage.admin, case.dispute, &ruling).await.unwrap();
    stage.t.clock.advance(3 * DAY);
    disputes.close_due().await.unwrap();
}

platform::on_both_engines! { MIGRATIONS;

async fn a_report_is_read_by_both_sides_and_admins_and_its_author_learns_of_it(t: &TestDb) {
    let stage = stage(t).await;
    let case = case(&stage).await;
    let id = &case.verification;
    let user = format!("/v1/user/verifications/{id}/report/content");
    let job = format!("/v1/verifier/jobs/{id}/report/content");
    let office = format!("/v1/admin/verifications/{id}/report/content");
    let enterprise = format!("/v1/enterprise/verifications/{id}/report/content");
    for (caller, path) in [
        (&stage.owner, &user), (&stage.owner, &user), (&stage.owner, &enterprise),
        (&stage.admin, &office), (&stage.verifier, &job),
    ] {
        let (status, text) = case.read(caller, path).await;
        assert_eq!((status, text.contains("report")), (200, true), "{path}");
    }
    // Of each reader once, and not of oneself.
    assert_eq!(told(&stage, &stage.verifier, "verification.report_viewed").await, 2);
    t.clock.advance(DAY);
    case.read(&stage.owner, &user).await;
    assert_eq!(told(&stage, &stage.verifier, "verification.report_viewed").await, 3);
    for (caller, path) in [
        (&stage.stranger, &user), (&stage.stranger, &enterprise), (&stage.verifier, &user),
        (&stage.owner, &job), (&stage.rival, &job),
    ] {
        assert_eq!(case.read(caller, path).await.0, 404, "{path}");
    }
    let without = stage.accepted().await.id;
    let path = format!("/v1/user/verifications/{without}/report/content");
    assert_eq!(case.read(&stage.owner, &path).await.0, 404);
    assert_eq!(told(&stage, &stage.verifier, "verification.report_viewed").await, 3);
}

async fn evidence_is_read_by_both_sides_and_whoever_has_shown_it_learns_of_it(t: &TestDb) {
    let stage = stage(t).await;
    let case = case(&stage).await;
    let shown = |file: Id<kinds::File>| {
        format!("/v1/disputes/{}/evidence/{file}/content", case.dispute)
    };
    let answer = stage.upload(&stage.verifier, "answer").await;
    let add = format!("POST /v1/disputes/{}/evidence", case.dispute);
    let body = json!({ "message": "But yes.", "fileId": answer });
    case.client.ok(&stage.verifier, &add, body.clone()).await;
    case.client.ok(&stage.verifier, &add, body).await;
    for caller in [&stage.owner, &stage.verifier] {
        for (file, word) in [(case.evidence, "letter"), (answer, "answer")] {
            let (status, text) = case.read(caller, &shown(file)).await;
            assert_eq!((status, text.contains(word)), (200, true), "{word}");
        }
    }
    for side in [&stage.owner, &stage.verifier] {
        assert_eq!(told(&stage, side, "dispute.evidence_viewed").await, 1);
    }
    // What is no evidence is not there, nor is anything for others; admins have a door of their own.
    assert_eq!(case.read(&stage.verifier, &shown(case.document)).await.0, 404);
    for caller in [&stage.stranger, &stage.rival, &stage.admin] {
        assert_eq!(case.read(caller, &shown(case.evidence)).await.0, 404);
    }
}

async fn who_decides_a_dispute_reads_what_the_case_rests_on_and_the_owner_learns_of_it(t: &TestDb) {
    let stage = stage(t).await;
    let case = case(&stage).await;
    let listed = case.client.get(&stage.admin, &case.papers()).await;
    let listed: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["part"].clone(), one["fileId"].clone()))
        .collect();
    let expected = [
        (json!("document"), json!(case.document)),
        (json!("report"), json!(case.report)),
        (json!("evidence"), json!(case.evidence)),
    ];
    assert_eq!(listed, expected);
    let before = told(&stage, &stage.owner, "document.viewed").await;
    for file in [case.document, case.report, case.evidence, case.document] {
        let path = format!("{}/{file}/content", case.papers());
        assert_eq!(case.read(&stage.admin, &path).await.0, 200);
    }
    assert_eq!(told(&stage, &stage.owner, "document.viewed").await, before + 1);
    assert_eq!(told(&stage, &stage.owner, "dispute.evidence_viewed").await, 1);
    assert_eq!(told(&stage, &stage.verifier, "verification.report_viewed").await, 1);
    // A side is no admin here, whatever their role; and nothing else of the owner's is to be read.
    let second = stage.people.add(t, "Second", Role::Admin);
    let other = stage.upload(&stage.owner, "diary").await;
    let path = format!("{}/{other}/content", case.papers());
    assert_eq!(case.read(&second, &path).await.0, 404);
    let request = format!("GET {}", case.papers());
    for caller in [&stage.owner, &stage.verifier, &stage.stranger] {
        assert_eq!(case.client.send(caller, &request, Json::Null).await.0, 404);
    }
    end(&stage, &case).await;
    let (status, refused, _) = case.client.send(&stage.admin, &request, Json::Null).await;
    assert_eq!((status, &refused["code"]), (409, &json!("wrong_state")));
}

async fn what_a_verdict_or_a_dispute_rests_on_is_not_deleted_meanwhile(t: &TestDb) {
    let stage = stage(t).await;
    let case = case(&stage).await;
    let files = &stage.documents.files;
    let again = format!("POST /v1/disputes/{}/evidence", case.dispute);
    let body = json!({ "message": "Once more.", "fileId": case.evidence });
    case.client.ok(&stage.owner, &again, body).await;
    for (caller, file) in [(&stage.verifier, case.report), (&stage.owner, case.evidence)] {
        let refused = files.delete(caller, file).await.unwrap_err();
        assert_eq!(refused.code(), "in_use");
    }
    end(&stage, &case).await;
    files.delete(&stage.owner, case.evidence).await.unwrap();
    assert_eq!(files.delete(&stage.verifier, case.report).await.unwrap_err().code(), "in_use");
    let gone = format!("/v1/disputes/{}/evidence/{}/content", case.dispute, case.evidence);
    assert_eq!(case.read(&stage.verifier, &gone).await.0, 404);
    // It rests on nothing any more when its owner is forgotten.
    let person = &Person { id: id_of(&stage.owner), email: String::new() };
    t.db
        .run("test", |tx| async move { crate::Held.erase(&tx, person, Erasure::Records).await })
        .await
        .unwrap();
    files.delete(&stage.verifier, case.report).await.unwrap();
}

async fn a_dispute_in_vain_leaves_the_file_to_its_author(t: &TestDb) {
    let stage = stage(t).await;
    let case = case(&stage).await;
    let refused = stage.upload(&stage.owner, "late").await;
    let open = format!("POST /v1/user/verifications/{}/dispute", case.verification);
    let body = json!({ "reason": "other", "description": "Again.", "fileId": refused });
    assert_eq!(case.client.send(&stage.owner, &open, body).await.0, 409);
    stage.documents.files.delete(&stage.owner, refused).await.unwrap();
}

}
