use futures_util::future::join_all;
use http::StatusCode;
use kernel::{Caller, Kind, Role};
use platform::on_both_engines;
use serde_json::json;

use crate::account::Command;
use crate::testing::{House, PASSWORD, TABLES, house};

async fn caller_of(house: &House<'_>, email: &str, role: Role) -> Caller {
    let signed_in = house.signed_in(email, role).await;
    house.caller(&signed_in).await
}

on_both_engines! { TABLES;
    async fn an_admin_makes_an_account_whose_owner_sets_the_password(t: &TestDb) {
        let house = house(t);
        let admin = caller_of(&house, "admin@example.org", Role::Admin).await;
        let body = json!({ "name": "Vera", "email": "Vera@example.org", "role": "verifier",
                           "approved": true });
        let made = house.send("POST", "/v1/users", &admin, Some(body.clone())).await;
        assert_eq!(made.status, StatusCode::CREATED);
        assert_eq!((&made.json["role"], &made.json["approved"]), (&json!("verifier"), &json!(true)));
        let taken = house.send("POST", "/v1/users", &admin, Some(body)).await.error.unwrap();
        assert_eq!((taken.fields()[0].pointer.as_str(), &*taken.fields()[0].code), ("/email", "taken"));
        assert!(house.login_with("vera@example.org", PASSWORD).await.is_err());

        let first = house.mail_token("Vera@example.org").await;
        let path = format!("/v1/admin/users/{}/invite", made.json["id"].as_str().unwrap());
        assert_eq!(house.send("POST", &path, &admin, None).await.status, StatusCode::OK);
        t.clock.advance(std::time::Duration::from_secs(1));
        let second = house.mail_token("Vera@example.org").await;
        let nobody = Caller::nobody();
        let set = |token: &str, password: &str| json!({ "token": token, "password": password });
        let send = async |body| house.send("POST", "/v1/auth/set-password", &nobody, Some(body)).await;
        // The mail before no longer works; what is no password costs nothing.
        assert_eq!(send(set(&first, PASSWORD)).await.status, StatusCode::GONE);
        let weak = send(set(&second, "vera@example.org")).await.error.unwrap();
        assert_eq!(weak.fields()[0].pointer, "/password");
        assert_eq!(send(set(&second, PASSWORD)).await.status, StatusCode::OK);
        assert_eq!(send(set(&second, PASSWORD)).await.status, StatusCode::GONE);
        let vera = house.login("vera@example.org").await;
        assert!(vera.account.email_verified_at.is_some());
        let again = house.send("POST", &path, &admin, None).await.error.unwrap();
        assert_eq!(again.code(), "has_password");
    }

    async fn no_admin_is_made_as_a_user(t: &TestDb) {
        let house = house(t);
        let admin = caller_of(&house, "admin@example.org", Role::Admin).await;
        let body = json!({ "name": "Eve", "email": "no address", "role": "admin" });
        let refused = house.send("POST", "/v1/users", &admin, Some(body)).await.error.unwrap();
        let pointers: Vec<_> = refused.fields().iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(pointers, ["/role", "/email"]);
    }

    async fn a_user_sees_and_changes_their_own_account_and_no_other(t: &TestDb) {
        let house = house(t);
        let admin = caller_of(&house, "admin@example.org", Role::Admin).await;
        let anne = caller_of(&house, "anne@example.org", Role::User).await;
        let ben = caller_of(&house, "ben@example.org", Role::User).await;
        let path = format!("/v1/users/{}", anne.user().unwrap());
        let body = || Some(json!({ "name": "Anne C." }));
        for (method, body) in [("GET", None), ("PATCH", body())] {
            let refused = house.send(method, &path, &ben, body).await.error.unwrap();
            assert_eq!(refused.kind(), Kind::NotFound);
        }
        assert_eq!(house.send("GET", &path, &anne, None).await.json["name"], "Anne Cooper");
        assert_eq!(house.send("PATCH", &path, &anne, body()).await.json["name"], "Anne C.");
        let by_admin = json!({ "name": "Anne D." });
        let changed = house.send("PATCH", &path, &admin, Some(by_admin)).await;
        assert_eq!(changed.json["name"], "Anne D.");
        // Remembered sessions show it at once.
        assert_eq!(house.send("GET", "/v1/me", &anne, None).await.json["name"], "Anne D.");
        assert!(!changed.json.to_string().contains("argon2"));
    }

    async fn admins_list_enterprises_by_where_they_stand(t: &TestDb) {
        let house = house(t);
        let admin = caller_of(&house, "admin@example.org", Role::Admin).await;
        let waiting = house.member("waiting@example.org", Role::Enterprise).await;
        let open = house.member("open@example.org", Role::Enterprise).await;
        house.member("anne@example.org", Role::User).await;
        house.identity.accounts.command(&admin, open, Command::Approve).await.unwrap();
        let ids = async |query: &str| -> Vec<String> {
            let path = format!("/v1/admin/enterprises{query}");
            let list = house.send("GET", &path, &admin, None).await.json;
            let list = list.as_array().unwrap().iter();
            list.map(|one| one["account"]["id"].as_str().unwrap().to_owned()).collect()
        };
        let (waiting, open) = (waiting.to_string(), open.to_string());
        assert_eq!(ids("").await, [open.clone(), waiting.clone()]);
        assert_eq!(ids("?status=pending").await, std::slice::from_ref(&waiting));
        assert_eq!(ids("?status=active&q=OPEN").await, std::slice::from_ref(&open));
        assert_eq!(ids("?status=suspended").await, [""; 0]);
        let list = house.send("GET", "/v1/admin/enterprises?limit=1", &admin, None).await.json;
        assert!(list[0]["id"].as_str().unwrap().starts_with("org_"), "{list}");
    }

    async fn while_registration_is_closed_only_admins_make_accounts(t: &TestDb) {
        let registration = platform::live::Live::from(true);
        let options = crate::testing::options(t);
        let options =
            crate::IdentityOptions { registration_open: registration.clone(), ..options };
        let house = crate::testing::house_of(t, options);
        let admin = caller_of(&house, "admin@example.org", Role::Admin).await;
        registration.set(false);
        let nobody = Caller::nobody();
        let body = json!({ "name": "Cleo", "email": "cleo@example.org", "password": PASSWORD,
                           "role": "user" });
        let refused = house.send("POST", "/v1/auth/register", &nobody, Some(body.clone())).await;
        assert_eq!(refused.error.unwrap().code(), "registration_closed");
        let by_admin = json!({ "name": "Ben", "email": "ben@example.org", "role": "user" });
        let made = house.send("POST", "/v1/users", &admin, Some(by_admin)).await;
        assert_eq!(made.status, StatusCode::CREATED);
        assert_eq!(house.login("admin@example.org").await.account.role, Role::Admin);
        registration.set(true);
        let open = house.send("POST", "/v1/auth/register", &nobody, Some(body)).await;
        assert!(open.status.is_success(), "{:?}", open.status);
    }

    async fn an_admin_ends_one_session_or_all(t: &TestDb) {
        let house = house(t);
        let admin = caller_of(&house, "admin@example.org", Role::Admin).await;
        let first = house.signed_in("anne@example.org", Role::User).await;
        let second = house.login("anne@example.org").await;
        let ben = house.signed_in("ben@example.org", Role::User).await;
        let id = first.account.id;
        let sessions = format!("/v1/admin/users/{id}/sessions");
        let listed = house.send("GET", &sessions, &admin, None).await;
        assert_eq!(listed.json.as_array().unwrap().len(), 2);
        let detail = house.send("GET", &format!("/v1/admin/users/{id}"), &admin, None).await;
        assert_eq!(detail.json["sessions"], listed.json);

        // A session of somebody else's is not one of hers.
        let foreign = format!("{sessions}/{}", ben.session);
        assert_eq!(house.send("DELETE", &foreign, &admin, None).await.status, StatusCode::NOT_FOUND);
        let one = format!("{sessions}/{}", first.session);
        assert_eq!(house.send("DELETE", &one, &admin, None).await.status, StatusCode::OK);
        assert!(house.authenticate(first.tokens.access.expose()).await.is_err());
        house.authenticate(second.tokens.access.expose()).await.unwrap();
        let path = format!("/v1/users/{id}/sessions");
        assert_eq!(house.send("DELETE", &path, &admin, None).await.json["ended"], 1);
        assert!(house.authenticate(second.tokens.access.expose()).await.is_err());
        house.authenticate(ben.tokens.access.expose()).await.unwrap();
    }

    async fn a_user_becomes_an_admin_and_stops_being_one(t: &TestDb) {
        let house = house(t);
        let admin = caller_of(&house, "admin@example.org", Role::Admin).await;
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let vera = house.member("vera@example.org", Role::Verifier).await;
        let id = anne.account.id;
        let grant = |id: String| Some(json!({ "userId": id }));
        let refused = house.send("POST", "/v1/admin/admins", &admin, grant(vera.to_string())).await;
        assert_eq!(refused.error.unwrap().code(), "wrong_role");
        let made = house.send("POST", "/v1/admin/admins", &admin, grant(id.to_string())).await;
        assert_eq!(made.json["role"], "admin");
        assert!(house.authenticate(anne.tokens.access.expose()).await.is_err());
        assert_eq!(house.login("anne@example.org").await.account.role, Role::Admin);
        let admins = house.send("GET", "/v1/admin/admins", &admin, None).await;
        assert_eq!(admins.json.as_array().unwrap().len(), 2);

        let path = format!("/v1/admin/admins/{id}");
        assert_eq!(house.send("DELETE", &path, &admin, None).await.json["role"], "user");
        assert_eq!(house.send("DELETE", &path, &admin, None).await.status, StatusCode::NOT_FOUND);
        let own = format!("/v1/admin/admins/{}", admin.user().unwrap());
        let last = house.send("DELETE", &own, &admin, None).await.error.unwrap();
        assert_eq!((last.kind(), last.code()), (Kind::Conflict, "last_admin"));
        let link = house.send("POST", "/v1/admin/admins/links", &admin, None).await;
        assert!(link.json["url"].as_str().unwrap().contains("/setup#token="));
    }

    async fn of_admins_who_remove_one_another_one_stays(t: &TestDb) {
        let house = house(t);
        let mut admins = Vec::new();
        for number in 0..6 {
            let email = format!("admin{number}@example.org");
            admins.push(caller_of(&house, &email, Role::Admin).await);
        }
        // Each removes the next one in the round.
        let removals = (0..admins.len()).map(|place| {
            let next = admins[(place + 1) % admins.len()].user().unwrap();
            house.identity.people.revoke_admin(&admins[place], next)
        });
        let outcomes = join_all(removals).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), admins.len() - 1);
        let lost = outcomes.into_iter().find_map(Result::err).unwrap();
        assert_eq!(lost.code(), "last_admin");
        let left = "SELECT CAST(COUNT(*) AS BIGINT) FROM users WHERE role = 'admin'";
        assert_eq!(house.count(left).await, 1);
    }

    async fn accounts_are_listed_in_the_order_that_is_asked_for(t: &TestDb) {
        let house = house(t);
        let admin = caller_of(&house, "admin@example.org", Role::Admin).await;
        for email in ["a@example.org", "b@example.org", "c@example.org"] {
            house.member(email, Role::User).await;
            t.clock.advance(std::time::Duration::from_secs(1));
        }
        for email in ["b@example.org", "a@example.org"] {
            t.clock.advance(std::time::Duration::from_secs(1));
            house.login(email).await;
        }
        let emails = async |sort: &str| {
            let (mut seen, mut next) = (Vec::new(), format!("/v1/users?limit=1&role=user&{sort}"));
            loop {
                let answer = house.send("GET", &next, &admin, None).await;
                let rows = answer.json.as_array().unwrap().clone();
                seen.extend(rows.iter().map(|row| row["email"].as_str().unwrap()[..1].to_owned()));
                let Some(link) = answer.headers.get("link") else { break };
                let link = link.to_str().unwrap();
                next = link.split(['<', '>']).nth(1).unwrap().to_owned();
            }
            seen.concat()
        };
        assert_eq!(emails("").await, "cba");
        assert_eq!(emails("sort=oldest").await, "abc");
        assert_eq!(emails("sort=lastLogin").await, "abc");
        let wrong = house.send("GET", "/v1/users?sort=shoeSize", &admin, None).await;
        assert_eq!(wrong.error.unwrap().fields()[0].pointer, "/sort");
    }

    async fn a_locked_account_is_invited_to_nothing(t: &TestDb) {
        let house = house(t);
        let admin = caller_of(&house, "admin@example.org", Role::Admin).await;
        let body = json!({ "name": "Ben", "email": "ben@example.org" });
        house.send("POST", "/v1/users", &admin, Some(body)).await;
        let ben = house.id_of("ben@example.org").await;
        let token = house.mail_token("ben@example.org").await;
        house.identity.accounts.command(&admin, ben, Command::Ban).await.unwrap();
        let path = format!("/v1/admin/users/{ben}/invite");
        let refused = house.send("POST", &path, &admin, None).await.error.unwrap();
        assert_eq!(refused.code(), "wrong_state");
        let body = json!({ "token": token, "password": PASSWORD });
        let nobody = Caller::nobody();
        let set = house.send("POST", "/v1/auth/set-password", &nobody, Some(body)).await;
        assert_eq!(set.status, StatusCode::GONE);
    }
}
