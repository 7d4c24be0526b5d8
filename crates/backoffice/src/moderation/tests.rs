//! Flags over HTTP, and what is done about them.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds;
use kernel::{Caller, Error, Id, Kind, Result, Role};
use parking_lot::Mutex;
use platform::db::{Db, Tx};
use platform::journal::{self, Fact, Filter};
use platform::on_both_engines;
use platform::privacy::{Erasure, Holder, Person};
use serde_json::{Value as Json, json};

use super::{Flag, Found, Owners, Sanction, Service, Subject, routes};
use crate::testing::{TABLES, admin, caller, get, post, user, verbs};

/// Somebody's review, and a list of what was done.
#[derive(Default)]
pub(crate) struct House {
    done: Mutex<Vec<(Sanction, String)>>,
}

const OWNER: u128 = 10;

impl Owners for House {
    fn find<'a>(&'a self, by: &'a Caller, subject: Subject) -> BoxFuture<'a, Result<Found>> {
        async move {
            // A credential is seen by number 2 alone.
            let sees = match subject {
                Subject::Credential(_) => by.user()? == user(2),
                Subject::Review(id) => id.uuid() != uuid::Uuid::nil(),
                Subject::Verifier(_) | Subject::Message(_) => true,
            };
            let found = Found { holder: user(OWNER), excerpt: "Never again!".to_owned() };
            if sees { Ok(found) } else { Err(Error::not_found("thing")) }
        }
        .boxed()
    }

    fn carry_out<'a>(
        &'a self,
        tx: &'a Tx,
        by: &'a Caller,
        sanction: Sanction,
        flag: &'a Flag,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            if reason == "impossible" {
                return Err(Error::conflict("wrong_state", "It cannot be done."));
            }
            tx.record(Fact::by(by, "thing.done").on(&flag.subject).about(flag.holder));
            self.done.lock().push((sanction, flag.subject.clone()));
            Ok(())
        }
        .boxed()
    }
}

fn service(db: &Db) -> (Service, Arc<House>) {
    let house = Arc::new(House::default());
    (Service { db: db.clone(), owners: house.clone() }, house)
}

fn review(number: u128) -> String {
    Id::<kinds::Review>::from_uuid(uuid::Uuid::from_u128(number)).to_string()
}

fn person(number: u128) -> Caller {
    caller(number, Role::User)
}

async fn flag(service: &Service, who: &Caller, subject: &str) -> Result<Json> {
    let body = json!({ "subject": subject, "reason": "abuse", "details": " Rude. " });
    post(who, "/v1/flags", body).of(routes(service)).await.map(|answer| answer.body)
}

async fn resolve(
    service: &Service,
    who: u128,
    flag: &Json,
    action: &str,
    why: &str,
) -> Result<Json> {
    let path = format!("/v1/admin/moderation/{}/resolve", flag["id"].as_str().unwrap());
    let body = json!({ "action": action, "reason": why });
    post(&admin(who), path, body).of(routes(service)).await.map(|answer| answer.body)
}

async fn flagged(service: &Service, query: &str) -> Vec<Json> {
    let path = format!("/v1/admin/moderation/flagged{query}");
    get(&admin(90), path).body(routes(service)).await.as_array().unwrap().clone()
}

on_both_engines! { TABLES;
    async fn what_one_sees_one_flags_once(t: &TestDb) {
        let (service, _) = service(&t.db);
        let made = flag(&service, &person(1), &review(7)).await.unwrap();
        assert_eq!(made, json!({
            "id": made["id"], "subject": review(7), "reason": "abuse", "details": "Rude.",
            "status": "open", "createdAt": "2026-01-01T00:00:00Z",
        }));
        let again = flag(&service, &person(1), &review(7)).await.unwrap_err();
        assert_eq!((again.kind(), again.code()), (Kind::Conflict, "flag_exists"));
        flag(&service, &person(2), &review(7)).await.unwrap();
        let own = flag(&service, &person(OWNER), &review(7)).await.unwrap_err();
        assert_eq!(own.code(), "own_thing");
        let credential = "c_01h455vb4pex5vsknk084sn02q";
        let unseen = flag(&service, &person(1), credential).await.unwrap_err();
        assert_eq!(unseen.kind(), Kind::NotFound);
        flag(&service, &person(2), credential).await.unwrap();
        for subject in ["", "x", "u_01h455vb4pex5vsknk084sn02q", "vrf_01h455vb4pex5vsknk084sn02q"] {
            let wrong = flag(&service, &person(1), subject).await.unwrap_err();
            assert_eq!(wrong.fields()[0].pointer, "/subject", "{subject}");
        }
        let list = flagged(&service, "").await;
        assert_eq!(list.len(), 3);
        assert_eq!((&list[1]["openFlags"], &list[1]["excerpt"]), (&json!(2), &json!("Never again!")));
        assert_eq!(flagged(&service, "?kind=credential").await.len(), 1);
        let of_review = format!("?subject={}&status=all", review(7));
        assert_eq!(flagged(&service, &of_review).await.len(), 2);
        assert_eq!(flagged(&service, "?status=upheld").await.len(), 0);
    }

    async fn of_two_flags_by_one_person_at_once_one_is_there(t: &TestDb) {
        let (service, _) = service(&t.db);
        let (who, subject) = (person(1), review(7));
        let (one, two) =
            tokio::join!(flag(&service, &who, &subject), flag(&service, &who, &subject));
        assert_eq!(i32::from(one.is_ok()) + i32::from(two.is_ok()), 1, "{one:?} {two:?}");
        assert_eq!(verbs(&t.db).await, ["flag.raised"]);
    }

    async fn nobody_floods_the_admins(t: &TestDb) {
        let (service, _) = service(&t.db);
        for number in 1..=50 {
            flag(&service, &person(1), &review(number)).await.unwrap();
        }
        let refused = flag(&service, &person(1), &review(51)).await.unwrap_err();
        assert_eq!(refused.code(), "too_many_flags");
    }

    async fn a_decision_is_carried_out_once_and_answers_all_flags(t: &TestDb) {
        let (service, house) = service(&t.db);
        let first = flag(&service, &person(1), &review(7)).await.unwrap();
        let second = flag(&service, &person(2), &review(7)).await.unwrap();
        let other = flag(&service, &person(2), &review(8)).await.unwrap();
        let (one, two) = tokio::join!(
            resolve(&service, 90, &first, "delete", "rude"),
            resolve(&service, 91, &second, "suspend", "rude"),
        );
        assert_eq!(i32::from(one.is_ok()) + i32::from(two.is_ok()), 1, "{one:?} {two:?}");
        let refused = one.as_ref().err().or(two.as_ref().err()).unwrap();
        assert_eq!(refused.code(), "wrong_state", "{refused:?}");
        assert_eq!(house.done.lock().len(), 1);
        let done = one.or(two).unwrap();
        assert_eq!((&done["status"], &done["openFlags"]), (&json!("upheld"), &json!(0)));
        assert_eq!(done["resolution"], "rude");
        let open = flagged(&service, "").await;
        assert_eq!(open.len(), 1);
        assert_eq!(open[0]["id"], other["id"]);
        assert_eq!(flagged(&service, "?status=upheld").await.len(), 2);
        // It may be flagged anew.
        flag(&service, &person(1), &review(7)).await.unwrap();
    }

    async fn what_cannot_be_carried_out_is_not_decided(t: &TestDb) {
        let (service, house) = service(&t.db);
        let made = flag(&service, &person(1), &review(7)).await.unwrap();
        let refused = resolve(&service, 90, &made, "remove", "impossible").await.unwrap_err();
        assert_eq!(refused.code(), "wrong_state");
        assert_eq!(flagged(&service, "").await[0]["status"], "open");
        assert_eq!(verbs(&t.db).await, ["flag.raised"]);
        for (action, pointer) in [("revoke", "/action"), ("burn", "/action")] {
            let wrong = resolve(&service, 90, &made, action, "").await.unwrap_err();
            assert_eq!(wrong.fields()[0].pointer, pointer, "{action}");
        }
        let dismissed = resolve(&service, 90, &made, "approve", "").await.unwrap();
        assert_eq!((&dismissed["status"], &dismissed["action"]), (&json!("dismissed"), &json!("dismiss")));
        assert!(house.done.lock().is_empty());
    }

    async fn a_message_can_be_flagged_and_its_words_taken_away(t: &TestDb) {
        let (service, house) = service(&t.db);
        let id = Id::<kinds::Message>::from_uuid(uuid::Uuid::from_u128(7)).to_string();
        let made = flag(&service, &person(1), &id).await.unwrap();
        assert_eq!(flagged(&service, "?kind=message").await[0]["subject"], json!(id));
        let wrong = resolve(&service, 90, &made, "revoke", "").await.unwrap_err();
        assert_eq!(wrong.fields()[0].pointer, "/action");
        resolve(&service, 90, &made, "remove", "rude").await.unwrap();
        assert_eq!(*house.done.lock(), [(Sanction::Remove, id)]);
    }

    async fn nobody_decides_about_their_own_flag(t: &TestDb) {
        let (service, _) = service(&t.db);
        let made = flag(&service, &admin(90), &review(7)).await.unwrap();
        let own = resolve(&service, 90, &made, "remove", "").await.unwrap_err();
        assert_eq!((own.kind(), own.code()), (Kind::Forbidden, "own_flag"));
        resolve(&service, 91, &made, "warn", "").await.unwrap();
        let filter = Filter::default();
        let page = kernel::PageRequest::default();
        let told = journal::of_party(&t.db, user(OWNER), &filter, &page).await;
        let told: Vec<_> = told.unwrap().items.into_iter().map(|fact| fact.verb).collect();
        assert_eq!(told, ["user.warned"]);
    }

    async fn whose_it_is_does_not_learn_who_has_flagged(t: &TestDb) {
        let (service, _) = service(&t.db);
        let made = flag(&service, &person(1), &review(7)).await.unwrap();
        resolve(&service, 90, &made, "remove", "").await.unwrap();
        let (filter, page) = (Filter::default(), kernel::PageRequest::default());
        let seen = journal::of_party(&t.db, user(OWNER), &filter, &page).await.unwrap();
        let text = format!("{:?}", seen.items);
        assert!(!text.contains(&user(1).to_string()), "{text}");
        let held = crate::Held;
        let table = held.tables().iter().find(|table| table.name == "flags").unwrap();
        let of_owner = platform::privacy::rows(&t.db, table, user(OWNER), 10, 0).await.unwrap();
        assert!(of_owner.is_empty(), "{of_owner:?}");
        let of_reporter = platform::privacy::rows(&t.db, table, user(1), 10, 0).await.unwrap();
        let text = serde_json::to_string(&of_reporter).unwrap();
        assert!(text.contains("Rude.") && !text.contains("Never again!"), "{text}");
    }

    async fn who_goes_leaves_no_words(t: &TestDb) {
        let (service, _) = service(&t.db);
        flag(&service, &person(1), &review(7)).await.unwrap();
        for gone in [1, OWNER] {
            let person = Person { id: user(gone), email: "x@example.org".to_owned() };
            let person = &person;
            t.db.run("test.erase", |tx| async move {
                crate::Held.erase(&tx, person, Erasure::Person).await
            })
            .await
            .unwrap();
        }
        let flag = &flagged(&service, "").await[0];
        assert_eq!((&flag["details"], &flag["excerpt"]), (&json!(""), &json!("")));
    }
}
