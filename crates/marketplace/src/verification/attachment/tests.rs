//! Attachments: who shows what to whom, and who learns of it.

use kernel::id::kinds;
use kernel::{Caller, Id};
use serde_json::{Value as Json, json};

use super::super::model::Command;
use crate::testing::{Client, with_key};
use crate::verification::tests::{MIGRATIONS, Stage, stage};

impl Stage<'_> {
    pub(crate) async fn upload(&self, caller: &Caller, words: &str) -> Id<kinds::File> {
        let form = format!(
            "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{words}.pdf\"\r\n\r\n\
             %PDF-1.4\n{words}\n%%EOF\r\n--x--\r\n"
        );
        let files = &self.documents.files;
        let media = "multipart/form-data; boundary=x";
        files.upload(caller, media, form.into()).await.unwrap().id
    }
}

platform::on_both_engines! { MIGRATIONS;

    async fn what_a_verifier_asks_for_is_attached_read_and_told_of(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        let id = stage.accepted().await.id;
        let (mine, theirs) =
            (format!("/v1/user/verifications/{id}"), format!("/v1/verifier/jobs/{id}"));
        stage.give(&stage.verifier, id, Command::RequestInfo).await.unwrap();
        let transcript = stage.upload(&stage.owner, "transcript").await;
        let body = json!({ "fileId": transcript });
        let attach = format!("POST {mine}/attachments");
        let shown = client.ok(&stage.owner, &attach, body.clone()).await;
        assert_eq!((&shown["name"], &shown["mediaType"]),
            (&json!("transcript.pdf"), &json!("application/pdf")));
        stage.give(&stage.owner, id, Command::ProvideInfo).await.unwrap();
        assert_eq!(client.ok(&stage.owner, &attach, body.clone()).await, shown, "once is enough");

        let listed = client.get(&stage.verifier, &format!("{theirs}/attachments")).await;
        assert_eq!(listed, json!([shown]));
        let download = format!("GET {theirs}/attachments/{transcript}/content");
        for _ in 0..2 {
            let (status, text) = client.media(&stage.verifier, &download, ("", "")).await;
            assert_eq!((status, text.contains("transcript")), (200, true));
        }
        let report = stage.upload(&stage.verifier, "report").await;
        let body = json!({ "fileId": report });
        client.ok(&stage.verifier, &format!("POST {theirs}/attachments"), body).await;
        let both = client.get(&stage.owner, &format!("{mine}/attachments")).await;
        assert_eq!(both.as_array().unwrap().len(), 2);
        let own = format!("GET {mine}/attachments/{transcript}/content");
        assert_eq!(client.media(&stage.owner, &own, ("", "")).await.0, 200);
        // Reading one's own is nobody's event, and reading twice at once is reading once.
        assert_eq!(stage.told(id).await, ["verification.requested", "verification.accepted",
            "verification.info_requested", "verification.attached", "verification.info_provided",
            "verification.attachment_viewed", "verification.attached"]);

        // After the verdict the owner's papers are the owner's again.
        stage.give(&stage.verifier, id, Command::Verify).await.unwrap();
        assert_eq!(client.media(&stage.verifier, &download, ("", "")).await.0, 404);
        let left = client.get(&stage.verifier, &format!("{theirs}/attachments")).await;
        assert_eq!(left[0]["fileId"], json!(report));
        let (status, refused, _) =
            client.send(&stage.owner, &attach, json!({ "fileId": transcript })).await;
        assert_eq!((status, &refused["code"]), (409, &json!("wrong_state")));
        // What its author has deleted is nowhere to be read.
        stage.documents.files.delete(&stage.verifier, report).await.unwrap();
        let gone = format!("GET {mine}/attachments/{report}/content");
        assert_eq!(client.media(&stage.owner, &gone, ("", "")).await.0, 404);
        let both = client.get(&stage.owner, &format!("{mine}/attachments")).await;
        assert_eq!((&both[1]["fileId"], both[1].get("name")), (&json!(report), None));
    }

    async fn nobody_attaches_or_reads_what_is_not_theirs(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        let id = stage.accepted().await.id;
        let file = stage.upload(&stage.owner, "hers").await;
        let body = json!({ "fileId": file });
        let (mine, job) = (format!("/v1/user/verifications/{id}/attachments"),
            format!("/v1/verifier/jobs/{id}/attachments"));
        for (caller, request, status) in [
            (&stage.stranger, format!("POST {mine}"), 404),
            (&stage.verifier, format!("POST {mine}"), 404),
            (&stage.owner, format!("POST {job}"), 404),
            (&stage.rival, format!("POST {job}"), 404),
            // A file of somebody else's, who has not shown it.
            (&stage.verifier, format!("POST {job}"), 422),
        ] {
            let answer = client.send(caller, &request, body.clone()).await;
            assert_eq!(answer.0, status, "{request} {answer:?}");
        }
        client.ok(&with_key(&stage.owner, 1), &format!("POST {mine}"), body).await;
        for (caller, path) in [(&stage.stranger, &mine), (&stage.verifier, &mine),
            (&stage.owner, &job), (&stage.rival, &job)]
        {
            for request in [format!("GET {path}"), format!("GET {path}/{file}/content")] {
                assert_eq!(client.send(caller, &request, Json::Null).await.0, 404, "{request}");
            }
        }
        let other: Id<kinds::File> = t.db.world().id();
        let request = format!("GET {mine}/{other}/content");
        assert_eq!(client.send(&stage.owner, &request, Json::Null).await.0, 404);
        assert!(!stage.told(id).await.contains(&"verification.attachment_viewed".to_owned()));
    }
}
