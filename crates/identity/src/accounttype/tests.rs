use kernel::PageRequest;
use platform::on_both_engines;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{AccountType, New, Number, Permissions};
use crate::holding;
use crate::testing::{House, TABLES, house};

async fn list(house: &House<'_>) -> Vec<AccountType> {
    house.identity.account_types.list(&PageRequest::default()).await.unwrap().items
}

on_both_engines! { TABLES;
    async fn five_types_come_with_the_platform(t: &TestDb) {
        let house = house(t);
        let caller = house.root().await;
        let answer = house.send("GET", "/v1/account-types", &caller, None).await;
        let shown: Vec<(i64, &str, bool)> = answer
            .json
            .as_array()
            .unwrap()
            .iter()
            .map(|kind| {
                let name = kind["name"].as_str().unwrap();
                (kind["number"].as_i64().unwrap(), name, kind["mayUpload"].as_bool().unwrap())
            })
            .collect();
        assert_eq!(
            shown,
            [
                (5, "label", true),
                (4, "writer", true),
                (3, "producer", true),
                (2, "artist", true),
                (1, "user", false)
            ]
        );
    }

    async fn a_type_is_made_read_changed_and_deleted(t: &TestDb) {
        let house = house(t);
        let caller = house.root().await;
        let body = json!({ "number": 6, "name": "venue", "permissions": ["Upload Playlists"] });
        let made = house.send("POST", "/v1/account-types", &caller, Some(body)).await;
        assert_eq!(made.status, 201, "{:?}", made.json);
        let path = format!("/v1/account-types/{}", made.json["id"].as_str().unwrap());
        assert_eq!(house.send("GET", &path, &caller, None).await.json, made.json);

        let change = json!({ "description": "Where music is played.", "version": 1 });
        let changed = house.send("PATCH", &path, &caller, Some(change.clone())).await;
        assert_eq!(changed.json["description"], "Where music is played.");
        assert_eq!((&changed.json["version"], &changed.json["name"]), (&json!(2), &json!("venue")));
        let stale = house.send("PATCH", &path, &caller, Some(change)).await;
        assert_eq!(stale.error.unwrap().code(), "changed_meanwhile");

        assert_eq!(house.send("DELETE", &path, &caller, None).await.status, 200);
        assert_eq!(house.send("GET", &path, &caller, None).await.status, 404);
        assert_eq!(house.send("DELETE", &path, &caller, None).await.status, 404);
        let facts = house.facts().await;
        assert!(facts.ends_with(&[
            "account_type.created".to_owned(),
            "account_type.changed".to_owned(),
            "account_type.deleted".to_owned()
        ]));
    }

    async fn numbers_and_names_belong_to_one_type(t: &TestDb) {
        let house = house(t);
        let caller = house.root().await;
        let create = async |body: Json| {
            house.send("POST", "/v1/account-types", &caller, Some(body)).await.error
        };
        let taken = create(json!({ "number": 2, "name": "other" })).await.unwrap();
        assert_eq!(taken.code(), "number_taken");
        let taken = create(json!({ "number": 7, "name": "artist" })).await.unwrap();
        assert_eq!(taken.code(), "name_taken");
        let second = list(&house).await.into_iter().find(|kind| kind.name == "label").unwrap();
        let path = format!("/v1/account-types/{}", second.id);
        let change = json!({ "name": "artist" });
        let taken = house.send("PATCH", &path, &caller, Some(change)).await.error.unwrap();
        assert_eq!(taken.code(), "name_taken");
        assert_eq!(list(&house).await.len(), 5);
    }

    async fn type_one_never_uploads(t: &TestDb) {
        let house = house(t);
        let caller = house.root().await;
        let user = list(&house).await.into_iter().find(|kind| kind.number == Number::USER).unwrap();
        let path = format!("/v1/account-types/{}", user.id);
        for permissions in [json!(["Upload Songs"]), json!(["Comment", "upload"])] {
            let body = json!({ "permissions": permissions });
            let refused = house.send("PATCH", &path, &caller, Some(body)).await.error.unwrap();
            assert_eq!(refused.fields()[0].code, "not_allowed");
        }
        let body = json!({ "permissions": ["Comment"] });
        assert_eq!(house.send("PATCH", &path, &caller, Some(body)).await.status, 200);
    }

    async fn a_type_that_is_used_is_not_deleted(t: &TestDb) {
        let house = house(t);
        let caller = house.root().await;
        let artist = list(&house).await.into_iter().find(|kind| kind.name == "artist").unwrap();
        let new = holding::tests::new(artist.id);
        let made = house.identity.holdings.create(&caller, None, &new).await.unwrap();
        let refused = house.identity.account_types.delete(&caller, artist.id).await.unwrap_err();
        assert_eq!(refused.code(), "account_type_in_use");
        house.identity.holdings.delete(&caller, made.id).await.unwrap();
        house.identity.account_types.delete(&caller, artist.id).await.unwrap();
        assert_eq!(list(&house).await.len(), 4);
    }

    async fn a_type_is_deleted_or_used_but_never_both(t: &TestDb) {
        let house = house(t);
        let caller = house.root().await;
        for round in 0..5 {
            let name = format!("kind {round}");
            let new = New::parse(100 + round, &name, "", Vec::new()).unwrap();
            let kind = house.identity.account_types.create(&caller, &new).await.unwrap();
            let new = holding::tests::new(kind.id);
            let (used, deleted) = tokio::join!(
                house.identity.holdings.create(&caller, None, &new),
                house.identity.account_types.delete(&caller, kind.id)
            );
            assert_ne!(used.is_ok(), deleted.is_ok(), "{used:?} {deleted:?}");
        }
        let orphans = "SELECT CAST(COUNT(*) AS BIGINT) FROM holding_types WHERE type_id NOT IN
                           (SELECT id FROM account_types)";
        assert_eq!(house.count(orphans).await, 0);
    }

    async fn what_makes_no_sense_is_named(t: &TestDb) {
        let house = house(t);
        let caller = house.root().await;
        let many: Vec<String> = (0..51).map(|number| format!("Permission {number}")).collect();
        for (body, pointer, code) in [
            (json!({ "number": 0, "name": "x y" }), "/number", "out_of_range"),
            (json!({ "number": 1_i64 << 31, "name": "x y" }), "/number", "out_of_range"),
            (json!({ "number": 9, "name": "x" }), "/name", "invalid"),
            (json!({ "number": 9, "name": "ab", "permissions": [""] }), "/permissions", "invalid"),
            (json!({ "number": 9, "name": "ab", "permissions": many }), "/permissions", "too_many"),
            (
                json!({ "number": 9, "name": "ab", "permissions": ["a", "a"] }),
                "/permissions",
                "repeated",
            ),
            (json!({ "number": 9, "name": "ab", "isAdmin": true }), "/isAdmin", "unknown"),
        ] {
            let refused = house.send("POST", "/v1/account-types", &caller, Some(body)).await;
            let field = refused.error.as_ref().unwrap().fields()[0].clone();
            assert_eq!((field.pointer.as_str(), field.code.as_str()), (pointer, code));
        }
    }
}

proptest! {
    #[test]
    fn permissions_survive_the_store(words: Vec<String>) {
        if let Ok(permissions) = Permissions::parse(words) {
            prop_assert_eq!(Permissions::from_json(&permissions.to_json()).unwrap(), permissions);
        }
    }

    #[test]
    fn no_text_breaks_the_reader_of_permissions(text: String) {
        let _ = Permissions::from_json(&text);
    }
}
