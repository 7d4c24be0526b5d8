//! Reviews over HTTP, of verdicts with real money beneath them.

use kernel::Caller;
use kernel::id::kinds;
use platform::privacy::{Erasure, Holder, Person};
use serde_json::{Value as Json, json};

use crate::dispute::model::{Ground, NewEvidence};
use crate::testing::{Client, id_of, with_key};
use crate::verification::model::{Command, Text};
use crate::verification::tests::{FUNDS, MIGRATIONS, Stage, stage};

impl Stage<'_> {
    fn client(&self) -> Client {
        Client::over(self.market.routes())
    }

    async fn review(&self, who: &Caller, id: &str, rating: i64) -> (u16, Json) {
        let path = format!("POST /v1/user/verifications/{id}/review");
        let body = json!({ "rating": rating, "text": "Quick and kind." });
        let (status, body, _) = self.client().send(who, &path, body).await;
        (status, body)
    }

    async fn done(&self) -> String {
        self.fund(&self.owner, FUNDS).await;
        let accepted = self.accepted().await;
        self.give(&self.verifier, accepted.id, Command::Reject).await.unwrap();
        accepted.id.to_string()
    }
}

platform::on_both_engines! { MIGRATIONS;
    async fn who_has_paid_for_a_verdict_reviews_it_once(t: &TestDb) {
        let stage = stage(t).await;
        let accepted = stage.accepted().await.id;
        let id = accepted.to_string();
        let (status, early) = stage.review(&stage.owner, &id, 5).await;
        assert_eq!((status, &early["code"]), (409, &json!("wrong_state")));
        stage.give(&stage.verifier, accepted, Command::Verify).await.unwrap();
        for other in [&stage.stranger, &stage.verifier, &stage.admin, &stage.rival] {
            assert_eq!(stage.review(other, &id, 5).await.0, 404);
        }
        for rating in [-1, 0, 6, i64::MAX] {
            let (status, refused) = stage.review(&stage.owner, &id, rating).await;
            assert_eq!((status, &refused["fields"][0]), (422, &json!("/rating")));
        }
        let key = with_key(&stage.owner, 3);
        let (status, made) = stage.review(&key, &id, 4).await;
        assert_eq!((status, &made["rating"]), (201, &json!(4)), "{made}");
        assert_eq!(stage.review(&key, &id, 4).await.1, made, "the same request again");
        let (status, again) = stage.review(&stage.owner, &id, 1).await;
        assert_eq!((status, &again["code"]), (409, &json!("review_exists")));
        let profile = stage.client().get(&stage.verifier, "/v1/verifier/profile").await;
        assert_eq!((&profile["rating"], &profile["ratingCount"]), (&json!(4.0), &json!(1)));
    }

    async fn a_contested_verdict_is_not_reviewed(t: &TestDb) {
        let stage = stage(t).await;
        let id = stage.done().await;
        let words = NewEvidence { text: Text::some("", "Words.").unwrap(), file: None };
        let of = id.parse().unwrap();
        stage.market.disputes.open(&stage.owner, of, Ground::PoorWork, &words).await.unwrap();
        assert_eq!(stage.review(&stage.owner, &id, 1).await.1["code"], "wrong_state");
    }

    async fn reviews_are_read_without_names_and_answered_once(t: &TestDb) {
        let stage = stage(t).await;
        let client = stage.client();
        for rating in [5, 2] {
            let id = stage.done().await;
            assert_eq!(stage.review(&stage.owner, &id, rating).await.0, 201);
        }
        let verifier: kernel::Id<kinds::Verifier> = id_of(&stage.verifier).same_as();
        let shown = format!("/v1/marketplace/verifiers/{verifier}/reviews");
        let (_, page, next) =
            client.send(&stage.stranger, &format!("GET {shown}?limit=1"), Json::Null).await;
        assert_eq!((page[0]["rating"].clone(), next.is_some()), (json!(2), true));
        assert!(!page.to_string().contains(&id_of(&stage.owner).to_string()));
        assert!(page[0].get("verificationId").is_none());
        let own = client.get(&stage.verifier, "/v1/verifier/reviews").await;
        assert_eq!(own.as_array().unwrap().len(), 2);
        let nothing = client.get(&stage.rival, "/v1/verifier/reviews").await;
        assert_eq!(nothing, json!([]));
        let path = format!("POST /v1/verifier/reviews/{}/answer", own[0]["id"].as_str().unwrap());
        let answer = json!({ "text": "Thank you." });
        assert_eq!(client.send(&stage.rival, &path, answer.clone()).await.0, 404);
        let answered = client.ok(&stage.verifier, &path, answer.clone()).await;
        assert_eq!(answered["answer"], "Thank you.");
        let (status, again, _) = client.send(&stage.verifier, &path, answer).await;
        assert_eq!((status, &again["code"]), (409, &json!("answer_exists")));
        assert_eq!(client.get(&stage.owner, &shown).await[0]["answer"], "Thank you.");
    }

    async fn the_words_go_with_their_author_and_the_stars_stay(t: &TestDb) {
        let stage = stage(t).await;
        let id = stage.done().await;
        stage.review(&stage.owner, &id, 3).await;
        let person = &Person { id: id_of(&stage.owner), email: String::new() };
        let erase = |tx| async move { crate::Held.erase(&tx, person, Erasure::Person).await };
        t.db.run("test", erase).await.unwrap();
        let own = stage.client().get(&stage.verifier, "/v1/verifier/reviews").await;
        assert_eq!((&own[0]["text"], &own[0]["rating"]), (&json!(""), &json!(3)));
    }
}
