use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use kernel::{Caller, Kind, Role};
use platform::on_both_engines;
use serde_json::json;

use crate::testing::{House, PASSWORD, TABLES, house, registration};

async fn token(house: &House<'_>) -> String {
    let link = house.identity.setup.create_link(&Caller::nobody()).await.unwrap();
    let token = link.url.expose().strip_prefix("https://verza.example/setup#token=");
    token.expect("a link").to_owned()
}

on_both_engines! { TABLES;
    async fn a_set_up_link_makes_one_admin(t: &TestDb) {
        let house = house(t);
        assert!(house.identity.setup.is_needed().await.unwrap());
        let token = token(&house).await;
        let body = |email: &str| Some(json!({
            "token": token, "name": "Root", "email": email, "password": PASSWORD,
        }));
        let nobody = Caller::nobody();
        let first = house.send("POST", "/v1/setup", &nobody, body("root@example.org")).await;
        assert_eq!((first.status, &first.json["role"]), (StatusCode::CREATED, &json!("admin")));
        let second = house.send("POST", "/v1/setup", &nobody, body("eve@example.org")).await;
        assert_eq!(second.status, StatusCode::GONE);
        assert!(!house.identity.setup.is_needed().await.unwrap());
        assert_eq!(house.login("root@example.org").await.account.role, Role::Admin);
        assert_eq!(house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM users").await, 1);
    }

    async fn of_many_who_open_a_link_at_once_one_becomes_admin(t: &TestDb) {
        let house = house(t);
        let token = token(&house).await;
        let nobody = Caller::nobody();
        let people: Vec<_> = (0..10)
            .map(|number| registration(&format!("p{number}@example.org"), Role::Admin))
            .collect();
        let tries =
            people.iter().map(|person| house.identity.setup.complete(&nobody, &token, person));
        let outcomes = join_all(tries).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert_eq!(house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM users").await, 1);
    }

    async fn a_set_up_link_works_for_an_hour(t: &TestDb) {
        let house = house(t);
        let token = token(&house).await;
        t.clock.advance(Duration::from_secs(3600));
        let root = registration("root@example.org", Role::Admin);
        let late = house.identity.setup.complete(&Caller::nobody(), &token, &root).await;
        assert_eq!(late.unwrap_err().kind(), Kind::Gone);
        house.worker.drain().await.unwrap();
        assert_eq!(house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM setup_links").await, 0);
    }

    async fn the_link_of_an_admin_who_is_none_any_more_opens_nothing(t: &TestDb) {
        let house = house(t);
        let root = house.root().await;
        let ada = house.signed_in("ada@example.org", Role::Admin).await;
        let caller = house.caller(&ada).await;
        let link = house.identity.people.invite_admin(&caller).await.unwrap();
        let (_, token) = link.url.expose().split_once("#token=").unwrap();
        house.identity.people.revoke_admin(&root, ada.account.id).await.unwrap();
        let back = registration("back@example.org", Role::Admin);
        let refused = house.identity.setup.complete(&Caller::nobody(), token, &back).await;
        assert_eq!(refused.unwrap_err().code(), "token_spent");
        let link = house.identity.people.invite_admin(&root).await.unwrap();
        let (_, token) = link.url.expose().split_once("#token=").unwrap();
        house.identity.setup.complete(&Caller::nobody(), token, &back).await.unwrap();
    }

    async fn a_taken_address_does_not_use_the_link_up(t: &TestDb) {
        let house = house(t);
        house.member("anne@example.org", Role::User).await;
        let token = token(&house).await;
        let nobody = Caller::nobody();
        let taken = registration("anne@example.org", Role::Admin);
        let refused = house.identity.setup.complete(&nobody, &token, &taken).await.unwrap_err();
        assert_eq!(refused.fields()[0].code, "taken");
        let free = registration("root@example.org", Role::Admin);
        house.identity.setup.complete(&nobody, &token, &free).await.unwrap();
    }

    async fn a_made_up_token_opens_nothing(t: &TestDb) {
        let house = house(t);
        token(&house).await;
        let root = registration("root@example.org", Role::Admin);
        for token in ["", "x", &"A".repeat(43)] {
            let refused = house.identity.setup.complete(&Caller::nobody(), token, &root).await;
            assert_eq!(refused.unwrap_err().code(), "token_spent");
        }
    }
}
