use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::{StatusCode, header};
use kernel::{Caller, Kind, Role};
use platform::on_both_engines;
use platform::privacy::Own;
use platform::testing::TestDb;
use serde_json::{Value as Json, json};

use super::{Policy, Registration};
use crate::IdentityOptions;
use crate::account::Email;
use crate::password::Hashing;
use crate::testing::{Answer, House, PASSWORD, TABLES, from, options};
use crate::token::Format;

fn nobody() -> Caller {
    from("192.0.2.1")
}

fn house(t: &TestDb) -> House<'_> {
    house_of(t, options(t))
}

/// A house that knows what is held of people, so that they can go.
fn house_of(t: &TestDb, options: IdentityOptions) -> House<'_> {
    t.db.keep_private(crate::testing::master());
    let house = crate::testing::house_of(t, options);
    house.identity.closing.know(vec![Arc::new(Own), Arc::new(crate::closing::Held)]);
    house
}

fn confirmed() -> Policy {
    Policy { registration: Registration::Confirmed, ..Policy::default() }
}

impl House<'_> {
    async fn reg(&self, name: &str, email: &str, role: &str) -> Answer {
        let body = json!({ "name": name, "email": email, "role": role, "password": PASSWORD });
        self.send("POST", "/api/users/reg", &nobody(), Some(body)).await
    }

    async fn log(&self, name: &str, email: &str, password: &str) -> Answer {
        let body = json!({ "name": name, "email": email, "password": password });
        self.send("POST", "/api/users/log", &nobody(), Some(body)).await
    }

    async fn register(&self, email: &str) -> Answer {
        let body = json!({ "email": email, "password": PASSWORD });
        self.send("POST", "/api/users/register", &nobody(), Some(body)).await
    }

    async fn of_token(&self, token: &Json) -> Caller {
        let principal = self.authenticate(token.as_str().unwrap()).await.unwrap();
        Caller { principal: Some(principal), ..nobody() }
    }
}

fn session_key(answer: &Answer) -> String {
    let set = answer.headers[header::SET_COOKIE].to_str().unwrap();
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Max-Age=86400; Secure");
    pair.strip_prefix("session_key=").unwrap().to_owned()
}

fn keys(json: &Json) -> BTreeSet<&str> {
    json.as_object().unwrap().keys().map(String::as_str).collect()
}

on_both_engines! { TABLES;
    async fn the_order_api_s_flow_goes_through(t: &TestDb) {
        let house = house(t);
        let reg = house.reg("Anne Cooper", "anne@example.org", "dev").await;
        assert_eq!(reg.status, StatusCode::CREATED);
        assert_eq!(keys(&reg.json), BTreeSet::from(["token"]));
        assert_eq!(reg.headers[header::CACHE_CONTROL], "no-store");
        let token = reg.json["token"].as_str().unwrap();
        assert!(token.len() >= 100);
        let by_token = house.authenticate(token).await.unwrap();
        let by_cookie = house.authenticate(&session_key(&reg)).await.unwrap();
        assert_eq!(by_token.session, by_cookie.session);
        assert!(!by_token.email_verified);

        let log = house.log("Anne Cooper", "Anne@Example.org", PASSWORD).await;
        assert_eq!((log.status, keys(&log.json)), (StatusCode::OK, BTreeSet::from(["token"])));
        session_key(&log);
        let caller = house.of_token(&log.json["token"]).await;
        let ext = house.send("POST", "/api/users/ext", &caller, None).await;
        assert_eq!(ext.json["user_id"], by_token.user.uuid().to_string());
        assert_eq!(ext.json["role"], "dev");
        house.authenticate(ext.json["token"].as_str().unwrap()).await.unwrap();

        let del = house.send("DELETE", "/api/users/del", &caller, None).await;
        assert_eq!((del.status, del.json), (StatusCode::NO_CONTENT, Json::Null));
        assert!(del.headers[header::SET_COOKIE].to_str().unwrap().starts_with("session_key=; "));
        assert!(house.authenticate(token).await.is_err());
        let late = house.log("Anne Cooper", "anne@example.org", PASSWORD).await;
        assert_eq!(late.error.unwrap().code(), "invalid_credentials");
        let facts = house.facts().await;
        assert_eq!(facts[..4], [
            "user.registered", "session.started", "session.started", "user.closed",
        ]);
    }

    async fn the_file_api_s_flow_goes_through(t: &TestDb) {
        let house = house(t);
        let made = house.register("user@example.com").await;
        assert_eq!(made.status, StatusCode::CREATED);
        assert_eq!(keys(&made.json), BTreeSet::from(["token", "user"]));
        assert_eq!(keys(&made.json["user"]), BTreeSet::from(["created", "email", "id"]));
        assert_eq!(made.json["user"]["created"], "2026-01-01T00:00:00Z");
        uuid::Uuid::try_parse(made.json["user"]["id"].as_str().unwrap()).unwrap();
        assert!(made.headers.get(header::SET_COOKIE).is_none());
        let twice = house.register("User@Example.com").await;
        assert_eq!(twice.error.unwrap().kind(), Kind::Conflict);

        let body = json!({ "email": "user@example.com", "password": PASSWORD });
        let login = house.send("POST", "/api/users/login", &nobody(), Some(body)).await;
        assert_eq!((login.status, &login.json["user"]), (StatusCode::OK, &made.json["user"]));
        let caller = house.of_token(&login.json["token"]).await;
        let me = house.send("GET", "/api/users/me", &caller, None).await;
        assert_eq!(me.json, made.json["user"]);
        // Its tokens live for a day, and no longer than that.
        t.clock.advance(Duration::from_secs(24 * 3600 - 1));
        let token = login.json["token"].as_str().unwrap();
        house.authenticate(token).await.unwrap();
        t.clock.advance(Duration::from_secs(1));
        assert_eq!(house.authenticate(token).await.unwrap_err().code(), "expired_token");
    }

    async fn defect_1_nobody_chooses_to_be_an_admin(t: &TestDb) {
        let house = house(t);
        for role in ["admin", "Admin", "user", "verifier", "", "root"] {
            let refused = house.reg("Eve", "eve@example.org", role).await;
            let error = refused.error.unwrap();
            assert_eq!((error.kind(), error.fields()[0].pointer.as_str()), (Kind::Invalid, "/role"));
        }
        assert_eq!(house.users().await, 0);
        let extra = json!({ "email": "eve@example.org", "password": PASSWORD, "role": "admin" });
        let refused = house.send("POST", "/api/users/register", &nobody(), Some(extra)).await;
        assert_eq!(refused.error.unwrap().kind(), Kind::Invalid);
        assert_eq!(house.users().await, 0);
        for role in ["dev", "guest"] {
            let made = house.reg("Ann", &format!("{role}@example.org"), role).await;
            let caller = house.of_token(&made.json["token"]).await;
            assert_eq!(caller.role(), Some(Role::User));
            let ext = house.send("POST", "/api/users/ext", &caller, None).await;
            assert_eq!(ext.json["role"], role);
        }
    }

    async fn defect_2_name_and_address_do_not_run_together(t: &TestDb) {
        let house = house(t);
        let one = house.reg("ab", "c@x.example", "dev").await;
        let two = house.reg("aa", "bc@x.example", "dev").await;
        assert_eq!((one.status, two.status), (StatusCode::CREATED, StatusCode::CREATED));
        assert_eq!(house.users().await, 2);
        assert_eq!(house.log("ab", "c@x.example", PASSWORD).await.status, StatusCode::OK);
        for (name, email) in [
            ("a", "bc@x.example"), ("abc", "x.example@x.example"), ("ab", "bc@x.example"),
            ("aa", "c@x.example"), ("AB", "c@x.example"), ("", "c@x.example"),
        ] {
            let refused = house.log(name, email, PASSWORD).await.error.unwrap();
            assert_eq!(refused.code(), "invalid_credentials", "{name} {email}");
        }
    }

    async fn defect_6_wrong_logins_of_one_shut_out_nobody_else(t: &TestDb) {
        let house = house(t);
        for email in ["anne@example.org", "ben@example.org"] {
            house.reg("Somebody", email, "guest").await;
        }
        let mut codes = BTreeSet::new();
        for number in 0..1000 {
            let email = if number % 2 == 0 { "anne@example.org" } else { "nobody@example.org" };
            let error = house.log("Somebody", email, "a wrong guess").await.error.unwrap();
            assert!(matches!(error.kind(), Kind::Unauthenticated | Kind::Limited), "{error:?}");
            codes.insert(error.code().to_owned());
        }
        assert_eq!(codes.into_iter().collect::<Vec<_>>(), ["invalid_credentials", "rate_limited"]);
        // Neither is the service thought to be down, nor is anybody else kept waiting.
        let ben = house.log("Somebody", "ben@example.org", PASSWORD).await;
        assert_eq!(ben.status, StatusCode::OK);
        t.clock.advance(Duration::from_secs(60));
        let anne = house.log("Somebody", "anne@example.org", PASSWORD).await;
        assert_eq!(anne.status, StatusCode::OK);
    }

    async fn defect_7_a_refused_delete_leaves_the_session_usable(t: &TestDb) {
        let house = house(t);
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let other = house.signed_in("other@example.org", Role::Admin).await;
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let eve = house.reg("Eve", "eve@example.org", "guest").await;
        let eve = house.of_token(&eve.json["token"]).await;
        let id = |id: kernel::Id<kernel::id::kinds::User>| id.uuid().to_string();
        let (of_admin, of_anne) = (id(admin.account.id), id(anne.account.id));
        let admin_calls = house.caller(&admin).await;
        for (caller, path, code) in [
            // Others are not there for who may not name them.
            (&eve, format!("/api/users/del/{of_anne}"), "not_found"),
            (&eve, format!("/api/users/del?id={of_anne}"), "not_found"),
            (&eve, format!("/api/users/del/{of_admin}"), "not_found"),
            (&eve, "/api/users/del/x".to_owned(), "not_found"),
            (&eve, format!("/api/users/del/{}", anne.account.id), "not_found"),
            (&admin_calls, format!("/api/users/del/{}", id(other.account.id)), "admin_protected"),
            (&admin_calls, format!("/api/users/del?id={}", id(other.account.id)),
                "admin_protected"),
            (&admin_calls, format!("/api/users/del/{}", uuid::Uuid::nil()), "not_found"),
        ] {
            let refused = house.send("DELETE", &path, caller, None).await;
            assert_eq!(refused.error.unwrap().code(), code, "{path}");
            assert!(refused.headers.get(header::SET_COOKIE).is_none());
        }
        for session in [&admin, &other, &anne] {
            house.authenticate(session.tokens.access.expose()).await.unwrap();
            house.authenticate(session.cookie.as_ref().unwrap().0.expose()).await.unwrap();
        }
        let me = house.send("GET", "/api/users/me", &eve, None).await;
        assert_eq!(me.status, StatusCode::OK);
        assert!(!house.facts().await.contains(&"user.closed".to_owned()));
        // Whom an admin may close is closed, and once.
        let path = format!("/api/users/del?id={of_anne}");
        let done = house.send("DELETE", &path, &admin_calls, None).await;
        assert_eq!(done.status, StatusCode::NO_CONTENT);
        assert!(house.authenticate(anne.tokens.access.expose()).await.is_err());
        let again = house.send("DELETE", &path, &admin_calls, None).await;
        assert_eq!(again.error.unwrap().code(), "wrong_state");
    }

    async fn defect_16_unknown_and_wrong_are_answered_the_same_after_the_same_work(t: &TestDb) {
        // One hash at once and nobody waits: of two that hash, one is turned away.
        let hashing = Hashing { at_once: 1, waiting_max: 0, ..Hashing::default() };
        let busy = house_of(t, IdentityOptions { hashing, ..options(t) });
        busy.reg("Anne", "anne@example.org", "guest").await;
        let mut answers = Vec::new();
        for (name, email) in [
            ("Anne", "anne@example.org"), ("Ann", "anne@example.org"), ("Anne", "no@example.org"),
        ] {
            let guess = || busy.log(name, email, "a wrong guess");
            let mut codes: Vec<_> = join_all([guess(), guess()])
                .await
                .into_iter()
                .map(|answer| answer.error.unwrap().code().to_owned())
                .collect();
            codes.sort_unstable();
            assert_eq!(codes, ["busy", "invalid_credentials"], "{name} {email}");
            let error = guess().await.error.unwrap();
            answers.push((error.kind(), error.code().to_owned(), error.message().to_owned()));
            // The right password under a wrong name is a wrong password.
            if name != "Anne" || email != "anne@example.org" {
                let error = busy.log(name, email, PASSWORD).await.error.unwrap();
                assert_eq!(error.message(), answers[0].2);
            }
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        assert_eq!(answers[0].0, Kind::Unauthenticated);
    }

    async fn nothing_short_of_the_documents_is_taken(t: &TestDb) {
        let house = house(t);
        for (path, body, pointer) in [
            ("reg", json!({ "name": "A", "email": "a@example.org", "role": "dev",
                "password": PASSWORD }), "/name"),
            ("reg", json!({ "name": "x".repeat(51), "email": "a@example.org", "role": "dev",
                "password": PASSWORD }), "/name"),
            ("reg", json!({ "name": "Anne", "email": "a", "role": "dev",
                "password": PASSWORD }), "/email"),
            ("reg", json!({ "name": "Anne", "email": "a@example.org", "role": "dev",
                "password": "short" }), "/password"),
            ("register", json!({ "email": "a@example.org", "password": "short" }), "/password"),
            ("register", json!({ "email": "@example.org", "password": PASSWORD }), "/email"),
            ("login", json!({ "email": "x", "password": PASSWORD }), "/email"),
        ] {
            let path = format!("/api/users/{path}");
            let refused = house.send("POST", &path, &nobody(), Some(body.clone())).await;
            let error = refused.error.unwrap_or_else(|| panic!("{body}"));
            assert_eq!(error.fields()[0].pointer, pointer, "{body}");
        }
        assert_eq!(house.users().await, 0);
    }

    async fn where_it_is_confirmed_first_nobody_is_signed_in_or_told(t: &TestDb) {
        let house = house_of(t, IdentityOptions { facades: confirmed(), ..options(t) });
        house.member("taken@example.org", Role::User).await;
        let mut answers = BTreeSet::new();
        for email in ["new@example.org", "taken@example.org"] {
            for answer in [house.register(email).await, house.reg("Ann", email, "dev").await] {
                assert_eq!(answer.status, StatusCode::ACCEPTED);
                assert!(answer.headers.get(header::SET_COOKIE).is_none());
                answers.insert(answer.json.to_string());
            }
        }
        assert_eq!(answers.len(), 1);
        let early = house.log("Ann", "new@example.org", PASSWORD).await.error.unwrap();
        assert_eq!(early.code(), "email_not_verified");
        let token = house.mail_token("new@example.org").await;
        // Registered twice: the password stands since it is shown.
        let shown = json!({ "token": token, "password": PASSWORD });
        let proved = house.send("POST", "/v1/auth/verify-email", &nobody(), Some(shown)).await;
        assert_eq!((proved.status, &proved.json["hasPassword"]), (StatusCode::OK, &json!(true)));
        let log = house.log("Ann", "new@example.org", PASSWORD).await;
        let caller = house.of_token(&log.json["token"]).await;
        let ext = house.send("POST", "/api/users/ext", &caller, None).await;
        assert_eq!(ext.json["role"], "dev");
    }

    async fn who_proves_an_address_finds_no_squatter_in_the_account(t: &TestDb) {
        let house = house(t);
        let squatter = house.register("anne@example.org").await;
        let squatting = house.of_token(&squatter.json["token"]).await;
        let old = house.mail_token("anne@example.org").await;
        // Anne registers where one has to prove one's address.
        let anne = crate::testing::registration("anne@example.org", Role::User);
        house.identity.accounts.register(&nobody(), &anne).await.unwrap();
        let ended = house.authenticate(squatter.json["token"].as_str().unwrap()).await;
        assert_eq!(ended.unwrap_err().code(), "session_ended");
        let new = house.mail_token("anne@example.org").await;
        let spent = house.identity.accounts.verify_email(&nobody(), &old, None).await.unwrap_err();
        assert_eq!(spent.kind(), Kind::Gone);
        house.identity.accounts.verify_email(&nobody(), &new, None).await.unwrap();
        let signed_in = house.login("anne@example.org").await;
        assert_ne!(signed_in.account.id, squatting.user().unwrap(), "an account of her own");
        let was = house.identity.accounts.get(squatting.user().unwrap()).await.unwrap();
        assert_eq!(was.status, rpc::users::Status::Closed);
        assert!(!was.email.shown().contains("anne"));
        let facts = house.facts().await;
        assert!(facts.contains(&"user.closed".to_owned()), "{facts:?}");
    }

    async fn who_sets_a_new_password_finds_no_squatter_in_the_account(t: &TestDb) {
        let house = house(t);
        let squatter = house.register("anne@example.org").await;
        let squatting = house.of_token(&squatter.json["token"]).await.user().unwrap();
        let old = house.mail_token("anne@example.org").await;
        let (accounts, recovery) = (&house.identity.accounts, &house.identity.recovery);
        recovery.forgot_password(&nobody(), &Email::parse("anne@example.org").unwrap()).await.unwrap();
        let token = house.mail_token("anne@example.org").await;
        let new = "nine grey herons";
        recovery.reset_password(&nobody(), &token, new.to_owned().into()).await.unwrap();
        let signed_in = house.login_with("anne@example.org", new).await.unwrap();
        assert_ne!(signed_in.account.id, squatting, "an account of her own");
        assert_eq!((&*signed_in.account.name, signed_in.account.role), ("anne", Role::User));
        let ended = house.authenticate(squatter.json["token"].as_str().unwrap()).await;
        assert_eq!(ended.unwrap_err().code(), "session_ended");
        assert_eq!(accounts.get(squatting).await.unwrap().status, rpc::users::Status::Closed);
        let spent = accounts.verify_email(&nobody(), &old, None).await.unwrap_err();
        assert_eq!(spent.kind(), Kind::Gone);
    }

    async fn who_has_proved_an_address_keeps_what_is_theirs_with_a_new_password(t: &TestDb) {
        let house = house(t);
        house.register("anne@example.org").await;
        let anne = house.id_of("anne@example.org").await;
        let proof = house.mail_token("anne@example.org").await;
        let (accounts, recovery) = (&house.identity.accounts, &house.identity.recovery);
        accounts.verify_email(&nobody(), &proof, None).await.unwrap();
        recovery.forgot_password(&nobody(), &Email::parse("anne@example.org").unwrap()).await.unwrap();
        let token = house.mail_token("anne@example.org").await;
        let new = "nine grey herons";
        recovery.reset_password(&nobody(), &token, new.to_owned().into()).await.unwrap();
        assert_eq!(house.login_with("anne@example.org", new).await.unwrap().account.id, anne);
    }

    async fn to_prove_an_address_ends_what_began_before_but_the_session_that_proves(t: &TestDb) {
        let house = house(t);
        let first = house.register("anne@example.org").await;
        let body = json!({ "email": "anne@example.org", "password": PASSWORD });
        let second = house.send("POST", "/api/users/login", &nobody(), Some(body)).await;
        let caller = house.of_token(&second.json["token"]).await;
        assert!(!caller.principal().unwrap().email_verified);
        let token = house.mail_token("anne@example.org").await;
        let body = json!({ "token": token });
        let answer = house.send("POST", "/v1/auth/verify-email", &caller, Some(body)).await;
        let ended = house.authenticate(first.json["token"].as_str().unwrap()).await;
        assert_eq!(ended.unwrap_err().code(), "session_ended");
        // That one is renewed: whoever else has its token is out.
        let dead = house.authenticate(second.json["token"].as_str().unwrap()).await;
        assert_eq!(dead.unwrap_err().code(), "superseded_token");
        let renewed = house.of_token(&answer.json["session"]["accessToken"]).await;
        let (was, is) = (caller.principal().unwrap(), renewed.principal().unwrap());
        assert!(is.email_verified && is.session == was.session);
    }

    async fn an_unproved_account_signs_in_here_and_nowhere_else(t: &TestDb) {
        let house = house(t);
        house.register("anne@example.org").await;
        let elsewhere = house.login_with("anne@example.org", PASSWORD).await.unwrap_err();
        assert_eq!(elsewhere.code(), "email_not_verified");
    }

    async fn a_token_in_an_address_is_taken_only_where_it_is_configured(t: &TestDb) {
        for token_in_path in [false, true] {
            let facades = Policy { token_in_path, ..Policy::default() };
            let house = house_of(t, IdentityOptions { facades, ..options(t) });
            let email = format!("anne.{token_in_path}@example.org");
            let anne = house.signed_in(&email, Role::User).await;
            for format in Format::ALL {
                let token = house.access_in(&anne, format).await;
                let path = format!("/api/users/extUserId/{token}");
                let answer = house.send("GET", &path, &nobody(), None).await;
                if token_in_path {
                    let id = anne.account.id.uuid().to_string();
                    assert_eq!(answer.json, json!({ "user_id": id }));
                } else {
                    assert_eq!(answer.status, StatusCode::NOT_FOUND);
                }
            }
            let wrong = house.send("GET", "/api/users/extUserId/x", &nobody(), None).await;
            let expected = if token_in_path { Kind::Unauthenticated } else { Kind::NotFound };
            assert_eq!(wrong.error.unwrap().kind(), expected);
        }
    }

    async fn of_many_registrations_of_one_address_one_is_made(t: &TestDb) {
        let house = house(t);
        let tries = join_all((0..4).map(|_| house.register("anne@example.org"))).await;
        let made = tries.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
        assert_eq!((made, house.users().await), (1, 1));
        let refused: Vec<_> = tries.iter().filter_map(|answer| answer.error.as_ref()).collect();
        assert!(refused.iter().all(|error| error.code() == "email_taken"), "{refused:?}");
        // A mail goes with each registration: that is bounded as everywhere.
        let more = house.register("anne@example.org").await.error.unwrap();
        assert_eq!(more.kind(), Kind::Limited);
    }

    async fn a_session_that_was_not_proved_lately_closes_nothing(t: &TestDb) {
        let house = house(t);
        let anne = house.register("anne@example.org").await;
        let caller = house.of_token(&anne.json["token"]).await;
        t.clock.advance(Duration::from_secs(301));
        let refused = house.send("DELETE", "/api/users/del/me", &caller, None).await;
        assert_eq!(refused.error.unwrap().code(), "proof_needed");
        let me = house.send("GET", "/api/users/me", &caller, None).await;
        assert_eq!(me.status, StatusCode::OK);
        let body = json!({ "email": "anne@example.org", "password": PASSWORD });
        let again = house.send("POST", "/api/users/login", &nobody(), Some(body)).await;
        let caller = house.of_token(&again.json["token"]).await;
        let path = format!("/api/users/del?id={}", caller.user().unwrap().uuid());
        let done = house.send("DELETE", &path, &caller, None).await;
        assert_eq!(done.status, StatusCode::NO_CONTENT);
        assert!(house.authenticate(again.json["token"].as_str().unwrap()).await.is_err());
    }

    async fn the_last_admin_does_not_go(t: &TestDb) {
        let house = house(t);
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let caller = house.caller(&admin).await;
        let refused = house.send("DELETE", "/api/users/del", &caller, None).await;
        assert_eq!(refused.error.unwrap().code(), "last_admin");
        house.authenticate(admin.tokens.access.expose()).await.unwrap();
    }

    async fn a_second_factor_is_asked_for_here_as_well(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let begun = house.send("POST", "/v1/auth/mfa/enroll", &caller, None).await;
        let secret = begun.json["secret"].as_str().unwrap();
        let code = crate::factor::totp::code(secret, t.db.world().now()).unwrap();
        let body = Some(json!({ "totp": code }));
        let done = house.send("POST", "/v1/auth/mfa/verify", &caller, body).await;
        assert_eq!(done.status, StatusCode::OK);
        let log = house.log("Anne Cooper", "anne@example.org", PASSWORD).await;
        assert_eq!(log.error.unwrap().code(), "mfa_required");
        assert!(log.headers.get(header::SET_COOKIE).is_none());
        let body = json!({ "email": "anne@example.org", "password": PASSWORD });
        let login = house.send("POST", "/api/users/login", &nobody(), Some(body)).await;
        assert_eq!(login.error.unwrap().code(), "mfa_required");
    }
}
