//! Timelines: whole, however long, and without what is not the owner's to see.

use kernel::PageRequest;
use platform::journal::Fact;
use serde_json::{Value as Json, json};

use super::model::{Command, State};
use crate::testing::Client;
use crate::verification::tests::{MIGRATIONS, stage};

platform::on_both_engines! { MIGRATIONS;

async fn a_timeline_comes_in_pages_and_whole_without_notes(t: &TestDb) {
    let stage = stage(t).await;
    let id = stage.accepted().await.id;
    for _ in 0..3 {
        stage.give(&stage.verifier, id, Command::Note).await.unwrap();
    }
    let owner = &stage.owner;
    t.db
        .run("test", |tx| async move {
            for _ in 0..120 {
                tx.record(Fact::by(owner, "verification.attached").on(id));
            }
            Ok(())
        })
        .await
        .unwrap();
    stage.give(&stage.verifier, id, Command::Note).await.unwrap();
    stage.give(&stage.verifier, id, Command::Verify).await.unwrap();

    // What a case file is made of.
    let whole = stage.market.verifications.timeline(id).await.unwrap();
    assert_eq!(whole.len(), 2 + 120 + 1);
    assert_eq!(whole.last().unwrap().verb, "verification.verified");
    let client = Client::over(stage.market.routes());
    let mut next = Some(format!("/v1/user/verifications/{id}/events?limit=50"));
    let mut told = Vec::new();
    while let Some(path) = next {
        let (status, page, link) = client.send(owner, &format!("GET {path}"), Json::Null).await;
        assert_eq!(status, 200, "{page}");
        told.extend(page.as_array().unwrap().iter().map(|event| event["type"].clone()));
        next = link;
    }
    let expected: Vec<_> = whole.iter().map(|fact| json!(fact.verb)).collect();
    assert_eq!(told, expected);
    let page = PageRequest::first(1);
    let first = stage.market.verifications.events(owner, id, &page).await.unwrap();
    assert_eq!(first.items[0].verb, "verification.requested");
    assert!(stage.market.verifications.events(&stage.verifier, id, &page).await.is_err());
}

async fn notes_and_questions_about_a_job_have_an_end(t: &TestDb) {
    let stage = stage(t).await;
    let id = stage.accepted().await.id;
    for _ in 0..100 {
        stage.give(&stage.verifier, id, Command::Note).await.unwrap();
    }
    let refused = stage.give(&stage.verifier, id, Command::Note).await.unwrap_err();
    assert_eq!(refused.code(), "too_many_notes");
    for _ in 0..20 {
        stage.give(&stage.verifier, id, Command::RequestInfo).await.unwrap();
        stage.give(&stage.verifier, id, Command::Start).await.unwrap();
    }
    let refused = stage.give(&stage.verifier, id, Command::RequestInfo).await.unwrap_err();
    assert_eq!(refused.code(), "too_many_questions");
    let verdict = stage.give(&stage.verifier, id, Command::Verify).await.unwrap();
    assert_eq!(verdict.state, State::Verified);
    assert_eq!(stage.count("verification_notes").await, 100);
}

}
