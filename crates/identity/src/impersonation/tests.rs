use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use http::StatusCode;
use kernel::{Caller, Kind, Role};
use platform::db::Read;
use platform::on_both_engines;
use serde_json::{Value as Json, json};

use crate::account::Command;
use crate::session::Locator;
use crate::testing::{Answer, House, TABLES, from, house};

async fn start(house: &House<'_>, admin: &Caller, user: impl ToString) -> Answer {
    let path = format!("/v1/admin/users/{}/impersonate", user.to_string());
    house.send("POST", &path, admin, Some(json!({ "reason": "Ticket 4711" }))).await
}

/// Whoever shows the access token of an impersonation.
async fn as_user(house: &House<'_>, started: &Answer) -> Result<Caller, kernel::Error> {
    let token = started.json["accessToken"].as_str().expect("a token");
    let principal = house.authenticate(token).await?;
    Ok(Caller { principal: Some(principal), ..from("192.0.2.9") })
}

on_both_engines! { TABLES;
    async fn an_admin_sees_what_a_user_sees_for_fifteen_minutes(t: &TestDb) {
        let house = house(t);
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let admin = house.caller(&admin).await;
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let started = start(&house, &admin, anne.account.id).await;
        assert_eq!(started.status, StatusCode::OK);
        assert_eq!(started.json["expiresIn"], 900);
        assert_eq!(started.headers["cache-control"], "no-store");
        assert!(started.headers.get("set-cookie").is_none());
        assert_eq!(started.json.get("refreshToken"), None);

        let claims = started.json["accessToken"].as_str().unwrap().split('.').nth(1).unwrap();
        let claims: Json = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["act"]["sub"], admin.user().unwrap().to_string());

        let seen = as_user(&house, &started).await.unwrap();
        let me = house.send("GET", "/v1/me", &seen, None).await.json;
        assert_eq!(me["id"], anne.account.id.to_string());
        assert_eq!(me["impersonator"], admin.user().unwrap().to_string());
        let own = house.caller(&anne).await;
        let me = house.send("GET", "/v1/me", &own, None).await.json;
        assert_eq!(me.get("impersonator"), None);

        // Among her sessions it is there, and says who; where the admin sits it does not say.
        let sessions = house.send("GET", "/v1/me/sessions", &own, None).await.json;
        let marked: Vec<&Json> = sessions.as_array().unwrap().iter()
            .filter(|session| session.get("impersonator").is_some()).collect();
        assert_eq!(marked.len(), 1);
        assert_eq!(marked[0]["impersonator"], admin.user().unwrap().to_string());
        assert_eq!((marked[0].get("ip"), marked[0].get("userAgent")), (None, None));

        t.clock.advance(Duration::from_secs(15 * 60));
        let late = as_user(&house, &started).await.unwrap_err();
        assert_eq!(late.kind(), Kind::Unauthenticated);
    }

    async fn nobody_makes_a_look_last_longer(t: &TestDb) {
        let house = house(t);
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let admin = house.caller(&admin).await;
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let started = start(&house, &admin, anne.account.id).await;
        let seen = as_user(&house, &started).await.unwrap();
        let locator = Locator::Id(seen.principal().unwrap().session);
        let later = t.db.world().now() + Duration::from_secs(3600);
        for caller in [&admin, &seen, &house.caller(&anne).await] {
            let refused = house.identity.sessions.extend(caller, locator, later).await;
            assert_eq!(refused.unwrap_err().code(), "impersonated");
        }
        t.clock.advance(Duration::from_secs(15 * 60));
        assert!(as_user(&house, &started).await.is_err());
    }

    async fn what_an_admin_does_in_a_user_s_name_names_the_admin(t: &TestDb) {
        let house = house(t);
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let admin = house.caller(&admin).await;
        let anne = house.member("anne@example.org", Role::User).await;
        let started = start(&house, &admin, anne).await;
        let seen = as_user(&house, &started).await.unwrap();
        house.send("POST", "/v1/admin/impersonation/end", &seen, None).await;
        assert!(as_user(&house, &started).await.is_err());
        let facts = platform::journal::of_party(
            &t.db, anne, &Default::default(), &Default::default()).await.unwrap().items;
        let told: Vec<_> = facts.iter().rev().skip(2).map(|fact| fact.verb.as_str()).collect();
        assert_eq!(told, ["session.started", "user.impersonated", "session.ended"]);
        for fact in facts.iter().rev().skip(2) {
            assert_eq!((fact.actor, fact.role), (admin.user().ok(), Some(Role::Admin)));
        }
        assert_eq!(facts[0].data["impersonating"], anne.to_string());
    }

    async fn nobody_acts_in_the_name_of_an_admin_or_of_who_is_locked_out(t: &TestDb) {
        let house = house(t);
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let admin = house.caller(&admin).await;
        let other = house.member("other@example.org", Role::Admin).await;
        let ben = house.member("ben@example.org", Role::User).await;
        house.identity.accounts.command(&admin, ben, Command::Suspend).await.unwrap();
        assert_eq!(start(&house, &admin, other).await.error.unwrap().code(), "admin_protected");
        assert_eq!(start(&house, &admin, ben).await.error.unwrap().code(), "wrong_state");
        let path = format!("/v1/admin/users/{other}/impersonate");
        let empty = house.send("POST", &path, &admin, Some(json!({ "reason": " " }))).await;
        assert_eq!(empty.error.unwrap().fields()[0].pointer, "/reason");
    }

    async fn it_ends_with_the_admin_s_word_or_role(t: &TestDb) {
        let house = house(t);
        let first = house.signed_in("first@example.org", Role::Admin).await;
        let (first, admin) = (house.caller(&first).await, first.account.id);
        let second = house.signed_in("second@example.org", Role::Admin).await;
        let second = house.caller(&second).await;
        let anne = house.member("anne@example.org", Role::User).await;
        let one = start(&house, &first, anne).await;
        let two = start(&house, &first, anne).await;
        let ended = house.send("POST", "/v1/admin/impersonation/end", &first, None).await;
        assert_eq!(ended.json["ended"], 2);
        for started in [&one, &two] {
            assert!(as_user(&house, started).await.is_err());
        }
        let three = start(&house, &first, anne).await;
        as_user(&house, &three).await.unwrap();
        house.identity.people.revoke_admin(&second, admin).await.unwrap();
        assert!(as_user(&house, &three).await.is_err());

        let ben = house.signed_in("ben@example.org", Role::User).await;
        let ben = house.caller(&ben).await;
        let nothing = house.send("POST", "/v1/admin/impersonation/end", &ben, None).await;
        assert_eq!(nothing.error.unwrap().code(), "not_impersonating");
    }

    async fn none_that_begins_while_the_admin_loses_the_role_stays(t: &TestDb) {
        let house = house(t);
        let first = house.signed_in("first@example.org", Role::Admin).await;
        let (first, admin) = (house.caller(&first).await, first.account.id);
        let second = house.signed_in("second@example.org", Role::Admin).await;
        let second = house.caller(&second).await;
        let anne = house.member("anne@example.org", Role::User).await;
        let starts = join_all((0..8).map(|_| start(&house, &first, anne)));
        let revoked = house.identity.people.revoke_admin(&second, admin);
        let (_, revoked) = futures_util::join!(starts, revoked);
        revoked.unwrap();
        let live = "SELECT CAST(COUNT(*) AS BIGINT) FROM sessions
                    WHERE impersonator IS NOT NULL AND ended_at IS NULL";
        assert_eq!(house.count(live).await, 0);
        assert_eq!(start(&house, &first, anne).await.error.unwrap().code(), "forbidden");
    }

    async fn it_costs_the_user_no_session_of_their_own(t: &TestDb) {
        let house = house(t);
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let admin = house.caller(&admin).await;
        let anne = house.member("anne@example.org", Role::User).await;
        let mut own = Vec::new();
        for _ in 0..20 {
            own.push(house.login("anne@example.org").await);
        }
        for _ in 0..3 {
            assert_eq!(start(&house, &admin, anne).await.status, StatusCode::OK);
        }
        house.authenticate(own[0].tokens.access.expose()).await.unwrap();
        let reasons = "SELECT CAST(COUNT(*) AS BIGINT) FROM impersonations
                       WHERE reason = 'Ticket 4711'";
        assert_eq!(t.db.one(reasons, &[], |row| row.take::<i64>()).await.unwrap(), 3);
    }
}
