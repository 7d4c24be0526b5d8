use kernel::id::kinds::AccountType as TypeKind;
use kernel::{Caller, Id, Role};
use platform::on_both_engines;
use serde_json::{Value as Json, json};

use super::{Bio, New, Plan};
use crate::account::Name;
use crate::accounttype::{Number, store::by_number};
use crate::testing::{House, TABLES, house};

pub(crate) fn new(kind: Id<TypeKind>) -> New {
    let (bio, plan) = (Bio::default(), Plan::default());
    New { kind, name: Name::parse("Anne's own").unwrap(), bio, plan, avatar: None }
}

async fn somebody(house: &House<'_>, email: &str, role: Role) -> Caller {
    let signed_in = house.signed_in(email, role).await;
    house.caller(&signed_in).await
}

async fn kind(house: &House<'_>, number: i64) -> Id<TypeKind> {
    let number = Number::parse(number).unwrap();
    by_number(&house.t.db, number).await.unwrap().unwrap().id
}

async fn open(house: &House<'_>, caller: &Caller, number: i64) -> Json {
    let body = json!({ "type": kind(house, number).await, "name": "Anne Cooper" });
    let answer = house.send("POST", "/v1/accounts", caller, Some(body)).await;
    assert_eq!(answer.status, 201, "{:?}", answer.json);
    answer.json
}

async fn rows(house: &House<'_>) -> (i64, i64) {
    let count =
        async |table| house.count(&format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}")).await;
    (count("holdings").await, count("holding_types").await)
}

on_both_engines! { TABLES;
    async fn an_account_is_opened_changed_and_deleted(t: &TestDb) {
        let house = house(t);
        let anne = somebody(&house, "anne@example.org", Role::User).await;
        let body = json!({
            "type": kind(&house, 2).await, "name": "The Herons", "bio": "Seven of them.",
            "plan": 1, "avatar": "https://example.org/herons.png",
        });
        let made = house.send("POST", "/v1/accounts", &anne, Some(body)).await.json;
        for (field, value) in [
            ("typeNumber", json!(2)),
            ("typeName", json!("artist")),
            ("mayUpload", json!(true)),
            ("bio", json!("Seven of them.")),
            ("status", json!("active")),
            ("plan", json!(1)),
            ("avatar", json!("https://example.org/herons.png")),
            ("plays", json!(0)),
            ("version", json!(1)),
        ] {
            assert_eq!(made[field], value, "{field}");
        }
        let path = format!("/v1/accounts/{}", made["id"].as_str().unwrap());
        assert_eq!(house.send("GET", &path, &anne, None).await.json, made);

        let change = json!({ "status": "inactive", "avatar": null, "version": 1 });
        let changed = house.send("PATCH", &path, &anne, Some(change.clone())).await.json;
        assert_eq!((&changed["status"], &changed["name"]), (&json!("inactive"), &made["name"]));
        assert!(changed.get("avatar").is_none());
        let stale = house.send("PATCH", &path, &anne, Some(change)).await;
        assert_eq!((stale.status.as_u16(), stale.error.unwrap().code()), (409, "changed_meanwhile"));

        assert_eq!(rows(&house).await, (1, 1));
        assert_eq!(house.send("DELETE", &path, &anne, None).await.status, 200);
        assert_eq!(house.send("GET", &path, &anne, None).await.status, 404);
        assert_eq!(rows(&house).await, (0, 0));
        assert!(house.facts().await.ends_with(&[
            "account.created".to_owned(),
            "account.changed".to_owned(),
            "account.deleted".to_owned()
        ]));
    }

    async fn an_owner_holds_one_account_of_a_type(t: &TestDb) {
        let house = house(t);
        let anne = somebody(&house, "anne@example.org", Role::User).await;
        open(&house, &anne, 1).await;
        open(&house, &anne, 2).await;
        let body = json!({ "type": kind(&house, 2).await, "name": "Again" });
        let second = house.send("POST", "/v1/accounts", &anne, Some(body)).await;
        assert_eq!((second.status.as_u16(), second.error.unwrap().code()), (409, "account_exists"));
        // What was refused left nothing behind.
        assert_eq!(rows(&house).await, (2, 2));
        let ben = somebody(&house, "ben@example.org", Role::User).await;
        open(&house, &ben, 2).await;
    }

    async fn of_two_that_open_the_same_account_one_wins(t: &TestDb) {
        let house = house(t);
        let anne = somebody(&house, "anne@example.org", Role::User).await;
        for number in 1..=5 {
            let new = new(kind(&house, number).await);
            let (one, two) = tokio::join!(
                house.identity.holdings.create(&anne, None, &new),
                house.identity.holdings.create(&anne, None, &new)
            );
            assert_ne!(one.is_ok(), two.is_ok());
            let refused = one.err().or(two.err()).unwrap();
            assert_eq!(refused.code(), "account_exists");
            assert_eq!(rows(&house).await, (number, number));
        }
    }

    async fn somebody_else_s_account_is_not_there(t: &TestDb) {
        let house = house(t);
        let anne = somebody(&house, "anne@example.org", Role::User).await;
        let ben = somebody(&house, "ben@example.org", Role::User).await;
        let root = house.root().await;
        let made = open(&house, &anne, 3).await;
        let path = format!("/v1/accounts/{}", made["id"].as_str().unwrap());
        let change = json!({ "name": "Ben's now" });
        assert_eq!(house.send("GET", &path, &ben, None).await.status, 404);
        assert_eq!(house.send("PATCH", &path, &ben, Some(change.clone())).await.status, 404);
        assert_eq!(house.send("DELETE", &path, &ben, None).await.status, 404);
        let body = json!({
            "type": kind(&house, 4).await, "name": "Anne", "owner": anne.user().unwrap(),
        });
        let forged = house.send("POST", "/v1/accounts", &ben, Some(body.clone())).await;
        assert_eq!(forged.status, 403);

        assert_eq!(house.send("POST", "/v1/accounts", &root, Some(body)).await.status, 201);
        assert_eq!(house.send("PATCH", &path, &root, Some(change)).await.json["name"], "Ben's now");
        assert_eq!(house.send("DELETE", &path, &root, None).await.status, 200);
    }

    async fn one_lists_one_s_own_and_admins_list_all(t: &TestDb) {
        let house = house(t);
        let anne = somebody(&house, "anne@example.org", Role::User).await;
        let ben = somebody(&house, "ben@example.org", Role::User).await;
        let root = house.root().await;
        let mut of_anne = Vec::new();
        for number in 1..=3 {
            of_anne.push(open(&house, &anne, number).await["id"].clone());
        }
        of_anne.reverse();
        let of_ben = open(&house, &ben, 2).await["id"].clone();
        let list = async |path: &str, caller: &Caller| {
            let json = house.send("GET", path, caller, None).await.json;
            json.as_array().unwrap().iter().map(|held| held["id"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(list("/v1/accounts", &anne).await, of_anne);
        assert_eq!(list("/v1/accounts?limit=2&page=2", &anne).await, of_anne[2..]);
        let owner = format!("/v1/accounts?owner={}", anne.user().unwrap());
        assert_eq!(list(&owner, &ben).await, std::slice::from_ref(&of_ben), "the filter opens no door");
        assert_eq!(list(&owner, &root).await, of_anne);
        assert_eq!(list("/v1/accounts", &root).await.len(), 4);
        let artists = format!("/v1/accounts?type={}", kind(&house, 2).await);
        assert_eq!(list(&artists, &root).await, [of_ben, of_anne[1].clone()]);
        assert_eq!(list(&artists, &anne).await, [of_anne[1].clone()]);
    }

    async fn an_admin_with_one_factor_is_somebody_like_others(t: &TestDb) {
        let house = house(t);
        let anne = somebody(&house, "anne@example.org", Role::User).await;
        let weak = somebody(&house, "root@example.org", Role::Admin).await;
        let made = open(&house, &anne, 3).await;
        let path = format!("/v1/accounts/{}", made["id"].as_str().unwrap());
        assert_eq!(house.send("GET", &path, &weak, None).await.status, 404);
        assert_eq!(house.send("GET", "/v1/accounts", &weak, None).await.json, json!([]));
    }

    async fn the_next_page_begins_where_the_last_one_ended(t: &TestDb) {
        let house = house(t);
        let anne = somebody(&house, "anne@example.org", Role::User).await;
        for number in 1..=5 {
            open(&house, &anne, number).await;
        }
        let (mut path, mut seen) = ("/v1/accounts?limit=2".to_owned(), Vec::new());
        loop {
            let answer = house.send("GET", &path, &anne, None).await;
            let held = answer.json.as_array().unwrap().clone();
            seen.extend(held.iter().map(|held| held["typeNumber"].as_i64().unwrap()));
            let Some(link) = answer.headers.get("link") else { break };
            let (next, _) = link.to_str().unwrap()[1..].split_once('>').unwrap();
            next.clone_into(&mut path);
        }
        assert_eq!(seen, [5, 4, 3, 2, 1]);
    }

    async fn what_makes_no_sense_is_named(t: &TestDb) {
        let house = house(t);
        let anne = somebody(&house, "anne@example.org", Role::User).await;
        let artist = kind(&house, 2).await;
        let nowhere = house.t.db.world().id::<TypeKind>();
        let long = "x".repeat(1001);
        for (body, pointer, code) in [
            (json!({ "type": nowhere, "name": "A" }), "/type", "unknown"),
            (json!({ "type": "at_x", "name": "A" }), "/type", "invalid"),
            (json!({ "type": artist, "name": "" }), "/name", "invalid"),
            (json!({ "type": artist, "name": "A", "bio": long }), "/bio", "too_long"),
            (json!({ "type": artist, "name": "A", "bio": "\u{7}" }), "/bio", "invalid"),
            (json!({ "type": artist, "name": "A", "plan": -1 }), "/plan", "out_of_range"),
            (json!({ "type": artist, "name": "A", "avatar": "http://x.y/z" }), "/avatar", "invalid"),
            (json!({ "type": artist, "name": "A", "plays": 7 }), "/plays", "unknown"),
        ] {
            let refused = house.send("POST", "/v1/accounts", &anne, Some(body)).await;
            let field = refused.error.as_ref().unwrap().fields()[0].clone();
            assert_eq!((field.pointer.as_str(), field.code.as_str()), (pointer, code));
        }
        assert_eq!(rows(&house).await, (0, 0));
    }
}
