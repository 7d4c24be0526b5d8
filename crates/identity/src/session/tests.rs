use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use http::{StatusCode, header};
use kernel::{Caller, Kind, Level, PageRequest, Role};
use platform::db::Read;
use platform::on_both_engines;
use platform::params;
use rpc::users::Users;
use serde_json::json;
use tokio::sync::Notify;

use super::{Method, Policies, Policy, Proof, Reason, SignedIn};
use crate::password::Hashing;
use crate::testing::{
    Answer, PASSWORD, TABLES, from, house, house_of, options, options_over, registration,
};
use crate::token::Format;
use crate::{Identity, IdentityOptions};

fn cookie(signed_in: &SignedIn) -> &str {
    signed_in.cookie.as_ref().unwrap().0.expose()
}

fn access(signed_in: &SignedIn) -> &str {
    signed_in.tokens.access.expose()
}

fn refresh(signed_in: &SignedIn) -> &str {
    signed_in.tokens.refresh.expose()
}

on_both_engines! { TABLES;
    async fn an_unknown_address_and_a_wrong_password_are_answered_the_same(t: &TestDb) {
        let house = house(t);
        house.member("anne@example.org", Role::User).await;
        let unknown = house.login_with("nobody@example.org", PASSWORD).await.unwrap_err();
        let wrong = house.login_with("anne@example.org", "wrong password").await.unwrap_err();
        let shape = |error: &kernel::Error| {
            (error.kind(), error.code().to_owned(), error.message().to_owned())
        };
        assert_eq!(shape(&unknown), shape(&wrong));
        assert_eq!(shape(&wrong).0, Kind::Unauthenticated);
        assert!(!house.facts().await.contains(&"session.started".to_owned()));
    }

    async fn nobody_signs_in_before_the_address_is_proved(t: &TestDb) {
        let house = house(t);
        let anne = registration("anne@example.org", Role::User);
        house.identity.accounts.register(&Caller::nobody(), &anne).await.unwrap();
        let early = house.login_with("anne@example.org", PASSWORD).await.unwrap_err();
        assert_eq!((early.kind(), early.code()), (Kind::Forbidden, "email_not_verified"));
        let wrong = house.login_with("anne@example.org", "wrong password").await.unwrap_err();
        assert_eq!(wrong.code(), "invalid_credentials");
    }

    async fn a_login_answers_tokens_the_user_and_on_request_the_cookie(t: &TestDb) {
        let house = house(t);
        let id = house.member("anne@example.org", Role::User).await;
        let body = json!({ "email": "Anne@Example.org", "password": PASSWORD });
        let nobody = from("192.0.2.1");
        let login = |path: &'static str| house.send("POST", path, &nobody, Some(body.clone()));
        let plain = login("/v1/auth/login").await;
        assert_eq!(plain.status, StatusCode::OK);
        let cookies = |answer: &Answer| {
            let all = answer.headers.get_all(header::SET_COOKIE).into_iter();
            all.map(|cookie| cookie.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let [device] = &cookies(&plain)[..] else { panic!("one cookie, the device's") };
        assert!(device.starts_with("verza_device=") && device.ends_with("; Secure"), "{device}");
        assert_eq!(plain.headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(plain.json["token"], plain.json["accessToken"]);
        assert_eq!(plain.json["expiresIn"], 900);
        assert_eq!(plain.json["tokenType"], "Bearer");
        assert_eq!(plain.json["user"], json!({
            "id": id, "name": "Anne Cooper", "email": "anne@example.org", "role": "user",
        }));
        assert!(house.authenticate(plain.json["token"].as_str().unwrap()).await.is_ok());

        let browser = login("/v1/auth/login?cookie=true").await;
        let set = cookies(&browser);
        assert_eq!(set.len(), 2);
        let (token, attributes) = set[0].split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000; Secure");
        let token = token.strip_prefix("verza_session=").unwrap();
        assert_eq!(house.authenticate(token).await.unwrap().user, id);
    }

    async fn nothing_that_is_presented_is_stored(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        house.identity.sessions.refresh(&Caller::nobody(), refresh(&anne)).await.unwrap();
        let hash = platform::crypto::sha256(cookie(&anne));
        let sql = "SELECT refresh_salt FROM sessions WHERE cookie_hash = $1";
        t.db.one(sql, params![hash], |row| row.take::<[u8; 32]>()).await.unwrap();
        if t.is_postgres() {
            return;
        }
        let mut bytes = std::fs::read(t.file()).unwrap();
        bytes.extend(std::fs::read(t.file().with_extension("db-wal")).unwrap());
        let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(holds("anne@example.org"), "the search finds what is there");
        for presented in [cookie(&anne), access(&anne), refresh(&anne), PASSWORD] {
            assert!(!holds(presented));
        }
    }

    async fn a_refresh_token_brings_the_next_one(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let mut current = refresh(&anne).to_owned();
        let mut seen = BTreeSet::from([current.clone()]);
        for _ in 0..5 {
            t.clock.advance(Duration::from_secs(1000));
            let body = Some(json!({ "refreshToken": current }));
            let answer = house.send("POST", "/v1/auth/refresh", &Caller::nobody(), body).await;
            assert_eq!(answer.status, StatusCode::OK);
            let access = answer.json["accessToken"].as_str().unwrap();
            assert_eq!(house.authenticate(access).await.unwrap().session, anne.session);
            current = answer.json["refreshToken"].as_str().unwrap().to_owned();
            assert!(seen.insert(current.clone()));
        }
        assert!(house.authenticate(access(&anne)).await.is_err(), "long expired");
    }

    async fn a_lost_answer_is_given_again_for_ten_seconds(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let nobody = Caller::nobody();
        let sessions = &house.identity.sessions;
        let first = sessions.refresh(&nobody, refresh(&anne)).await.unwrap();
        t.clock.advance(Duration::from_secs(10));
        let again = sessions.refresh(&nobody, refresh(&anne)).await.unwrap();
        assert_eq!(first.refresh.expose(), again.refresh.expose());
        sessions.refresh(&nobody, again.refresh.expose()).await.unwrap();
    }

    async fn a_lost_answer_is_given_again_to_the_same_client_only(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let sessions = &house.identity.sessions;
        let first = sessions.refresh(&from("192.0.2.1"), refresh(&anne)).await.unwrap();
        // Another address is the same client: phones change theirs.
        let again = sessions.refresh(&from("2001:db8::1"), refresh(&anne)).await.unwrap();
        assert_eq!(first.refresh.expose(), again.refresh.expose());
        let asks = house.caller_by_cookie(&anne).await;
        let worth = sessions.introspect(&asks, refresh(&anne)).await.unwrap();
        assert!(worth.is_some(), "to ask about it is not to use it");
        let mut thief = from("192.0.2.1");
        thief.origin.user_agent = Some("curl/8".into());
        let reused = sessions.refresh(&thief, refresh(&anne)).await.unwrap_err();
        assert_eq!(reused.code(), "reused_refresh");
        let over = sessions.refresh(&from("192.0.2.1"), first.refresh.expose()).await.unwrap_err();
        assert_eq!(over.code(), "session_ended");
    }

    async fn an_old_refresh_token_ends_the_session_for_everybody(t: &TestDb) {
        let house = house(t);
        for rounds in [1, 2] {
            let email = format!("anne{rounds}@example.org");
            let anne = house.signed_in(&email, Role::User).await;
            let nobody = Caller::nobody();
            let sessions = &house.identity.sessions;
            let mut current = refresh(&anne).to_owned();
            for _ in 0..rounds {
                let next = sessions.refresh(&nobody, &current).await.unwrap();
                current = next.refresh.expose().clone();
            }
            house.authenticate(access(&anne)).await.unwrap();
            // One round back there is grace; two rounds back there is none.
            if rounds == 1 {
                t.clock.advance(Duration::from_secs(11));
            }
            let reused = sessions.refresh(&nobody, refresh(&anne)).await.unwrap_err();
            assert_eq!(reused.code(), "reused_refresh");
            for presented in [access(&anne), cookie(&anne)] {
                let refused = house.authenticate(presented).await.unwrap_err();
                assert_eq!(refused.code(), "session_ended");
            }
            let thief = sessions.refresh(&nobody, &current).await.unwrap_err();
            assert_eq!(thief.code(), "session_ended");
            let detected = house.facts().await;
            let detected = detected.iter().filter(|verb| *verb == "session.reuse_detected");
            assert_eq!(detected.count(), rounds);
        }
    }

    async fn many_tabs_that_refresh_at_once_get_the_same_token(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let nobody = Caller::nobody();
        let tabs = (0..20).map(|_| house.identity.sessions.refresh(&nobody, refresh(&anne)));
        let brought: BTreeSet<_> = join_all(tabs)
            .await
            .into_iter()
            .map(|tokens| tokens.unwrap().refresh.expose().clone())
            .collect();
        assert_eq!(brought.len(), 1);
        house.authenticate(cookie(&anne)).await.unwrap();
    }

    async fn a_made_up_refresh_token_is_refused_and_ends_nothing(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let good = refresh(&anne);
        let mut forged = vec![String::new(), "x".repeat(70), format!("{good}A"), good[1..].into()];
        for place in 0..good.len() {
            let mut text = good.to_owned();
            let letter = if &good[place..=place] == "A" { "B" } else { "A" };
            text.replace_range(place..=place, letter);
            forged.push(text);
        }
        for text in forged {
            let refused = house.identity.sessions.refresh(&Caller::nobody(), &text).await;
            assert_eq!(refused.unwrap_err().code(), "invalid_refresh", "{text}");
        }
        house.identity.sessions.refresh(&Caller::nobody(), good).await.unwrap();
    }

    async fn a_signed_out_session_is_dead_under_every_presentation(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let other = house.login("anne@example.org").await;
        for presented in [cookie(&anne), access(&anne), access(&other)] {
            house.authenticate(presented).await.unwrap();
        }
        let caller = house.caller(&anne).await;
        let answer = house.send("POST", "/v1/auth/logout", &caller, None).await;
        assert_eq!(answer.status, StatusCode::OK);
        let set = answer.headers[header::SET_COOKIE].to_str().unwrap();
        assert!(set.starts_with("verza_session=; ") && set.contains("Max-Age=0"));
        for presented in [cookie(&anne), access(&anne)] {
            assert!(house.identity.cached(presented, t.db.world().now()).is_none());
            assert_eq!(house.authenticate(presented).await.unwrap_err().code(), "session_ended");
        }
        let refused = house.identity.sessions.refresh(&caller, refresh(&anne)).await.unwrap_err();
        assert_eq!(refused.code(), "session_ended");
        assert!(house.authenticate(access(&other)).await.is_ok());
        // Twice is once.
        house.identity.sessions.logout(&caller).await.unwrap();
        let ended = house.facts().await.into_iter().filter(|verb| verb == "session.ended");
        assert_eq!(ended.count(), 1);
    }

    async fn what_is_nobody_s_token_is_refused(t: &TestDb) {
        let house = house(t);
        house.signed_in("anne@example.org", Role::User).await;
        for text in ["", ".", "..", "a.b.c", &"A".repeat(43), &"A".repeat(5000), "Bearer x"] {
            let refused = house.authenticate(text).await.unwrap_err();
            assert_eq!(refused.code(), "invalid_token", "{text}");
        }
    }

    async fn a_token_of_one_user_does_not_show_the_session_of_another(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let eve = house.member("eve@example.org", Role::User).await;
        let until = t.db.world().now() + Duration::from_secs(60);
        let tokens = &house.identity.tokens;
        for format in Format::ALL {
            let claims = tokens.claims((eve, Role::User), (anne.session, 0), None, until);
            let token = tokens.sign(claims, format).await.unwrap();
            for _ in 0..2 {
                assert!(house.authenticate(token.expose()).await.is_err());
                house.authenticate(access(&anne)).await.unwrap();
            }
        }
    }

    async fn a_session_can_be_ended_from_another_and_only_by_its_owner(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let phone = house.login("anne@example.org").await;
        let eve = house.signed_in("eve@example.org", Role::User).await;
        let (anne_calls, eve_calls) = (house.caller(&anne).await, house.caller(&eve).await);
        let path = format!("/v1/me/sessions/{}", phone.session);
        let foreign = house.send("DELETE", &path, &eve_calls, None).await;
        assert_eq!(foreign.status, StatusCode::NOT_FOUND);
        house.authenticate(access(&phone)).await.unwrap();
        assert_eq!(house.send("DELETE", &path, &anne_calls, None).await.status, StatusCode::OK);
        assert!(house.authenticate(access(&phone)).await.is_err());
        let again = house.send("DELETE", &path, &anne_calls, None).await;
        assert_eq!(again.status, StatusCode::NOT_FOUND);
    }

    async fn devices_are_listed_and_the_others_signed_out(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        for _ in 0..3 {
            house.login("anne@example.org").await;
        }
        let list = house.send("GET", "/v1/me/sessions?limit=3", &caller, None).await;
        assert_eq!(list.json.as_array().unwrap().len(), 3);
        assert!(list.headers.contains_key(header::LINK));
        let list = house.send("GET", "/v1/me/sessions", &caller, None).await;
        let rows = list.json.as_array().unwrap();
        assert_eq!(rows.len(), 4);
        assert_eq!(rows.iter().filter(|row| row["current"] == true).count(), 1);
        assert_eq!(rows[3]["id"], anne.session.to_string());
        assert_eq!(rows[0]["userAgent"], "Firefox on Linux");
        assert_eq!(rows[0]["ip"], "192.0.2.1");

        let others = house.send("DELETE", "/v1/me/sessions?except=current", &caller, None).await;
        assert_eq!(others.json, json!({ "success": true, "ended": 3 }));
        house.authenticate(access(&anne)).await.unwrap();
        let all = house.send("DELETE", "/v1/me/sessions", &caller, None).await;
        assert_eq!(all.json["ended"], 1);
        assert!(house.authenticate(access(&anne)).await.is_err());
        let wrong = house.send("DELETE", "/v1/me/sessions?except=x", &caller, None).await;
        assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    }

    async fn one_login_too_many_displaces_the_oldest(t: &TestDb) {
        let policy = Policy { sessions_max: 3, ..Policies::default().user };
        let sessions = Policies { user: policy, ..Policies::default() };
        let house = house_of(t, IdentityOptions { sessions, ..options(t) });
        house.member("anne@example.org", Role::User).await;
        let mut logins = Vec::new();
        for _ in 0..5 {
            let login = house.login("anne@example.org").await;
            house.authenticate(cookie(&login)).await.unwrap();
            logins.push(login);
        }
        for (number, login) in logins.iter().enumerate() {
            let alive = house.authenticate(cookie(login)).await.is_ok();
            assert_eq!(alive, number >= 2, "{number}");
        }
    }

    async fn an_unused_session_lapses_and_a_used_one_ends_in_time(t: &TestDb) {
        let hour = Duration::from_secs(3600);
        let policy = Policy { lifetime: hour * 10, idle: hour * 2, sessions_max: 9 };
        let sessions = Policies { user: policy, ..Policies::default() };
        let house = house_of(t, IdentityOptions { sessions, ..options(t) });
        house.member("anne@example.org", Role::User).await;
        let idle = house.login("anne@example.org").await;
        let used = house.login("anne@example.org").await;
        for _ in 0..9 {
            t.clock.advance(hour);
            house.authenticate(cookie(&used)).await.unwrap();
            house.identity.tend_once().await;
        }
        let lapsed = house.authenticate(cookie(&idle)).await.unwrap_err();
        assert_eq!(lapsed.code(), "session_expired");
        let lapsed = house.identity.sessions.refresh(&Caller::nobody(), refresh(&idle)).await;
        assert_eq!(lapsed.unwrap_err().code(), "session_expired");
        // An access token does not outlive its session.
        let nobody = Caller::nobody();
        let last = house.identity.sessions.refresh(&nobody, refresh(&used)).await.unwrap();
        t.clock.advance(hour - Duration::from_secs(60));
        let tokens = house.identity.sessions.refresh(&nobody, last.refresh.expose());
        assert_eq!(tokens.await.unwrap().expires_in, Duration::from_secs(60));
        t.clock.advance(Duration::from_secs(60));
        assert!(house.authenticate(cookie(&used)).await.is_err());
    }

    async fn a_remembered_session_needs_no_statement(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        for presented in [cookie(&anne), access(&anne)] {
            house.authenticate(presented).await.unwrap();
        }
        // With nothing in the store, what is answered was remembered.
        t.db.run("test", |tx| async move {
            tx.execute("DELETE FROM sessions", &[]).await?;
            tx.execute("DELETE FROM users", &[]).await?;
            Ok(())
        }).await.unwrap();
        for presented in [cookie(&anne), access(&anne)] {
            let principal = house.identity.cached(presented, t.db.world().now()).unwrap();
            let caller = Caller { principal: Some(principal), ..Caller::nobody() };
            let me = house.send("GET", "/v1/me", &caller, None).await;
            assert_eq!(me.json["email"], "anne@example.org");
            assert_eq!(me.headers[header::CONTENT_TYPE], "application/json");
        }
    }

    async fn a_session_that_others_may_end_is_confirmed_within_a_second(t: &TestDb) {
        if !t.db.is_shared() {
            return;
        }
        let here = house(t);
        // A replica that nothing keeps up: neither stream nor counters.
        let there = Identity::new(options_over(t.replica())).unwrap();
        let anne = here.signed_in("anne@example.org", Role::User).await;
        for presented in [cookie(&anne), access(&anne)] {
            there.authenticate(presented).await.unwrap();
        }
        let caller = here.caller(&anne).await;
        here.identity.sessions.logout(&caller).await.unwrap();
        t.clock.advance(Duration::from_millis(400));
        assert!(there.cached(cookie(&anne), t.db.world().now()).is_some(), "not asked yet");
        t.clock.advance(Duration::from_millis(600));
        for presented in [cookie(&anne), access(&anne)] {
            assert_eq!(there.authenticate(presented).await.unwrap_err().code(), "session_ended");
        }
    }

    async fn one_of_many_requests_confirms_while_the_others_go_on(t: &TestDb) {
        if !t.db.is_shared() {
            return;
        }
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        house.authenticate(cookie(&anne)).await.unwrap();
        t.clock.advance(Duration::from_millis(700));
        let now = t.db.world().now();
        let asks = (0..10).filter(|_| house.identity.cached(cookie(&anne), now).is_none());
        assert_eq!(asks.count(), 1);
        house.authenticate(cookie(&anne)).await.unwrap();
        t.clock.advance(Duration::from_millis(600));
        let now = t.db.world().now();
        assert!(house.identity.cached(cookie(&anne), now).is_some() || {
            house.authenticate(cookie(&anne)).await.is_ok()
        });
    }

    async fn being_seen_is_written_in_batches_and_never_by_a_request(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        house.authenticate(cookie(&anne)).await.unwrap();
        let commits = t.db.physical_commits();
        t.clock.advance(Duration::from_secs(90));
        for _ in 0..100 {
            house.authenticate(cookie(&anne)).await.unwrap();
        }
        assert_eq!(t.db.physical_commits(), commits);
        let caller = Caller {
            principal: Some(house.authenticate(cookie(&anne)).await.unwrap()),
            ..Caller::nobody()
        };
        let seen = async || {
            let sql = "SELECT last_seen_at FROM sessions";
            t.db.one(sql, &[], |row| row.take::<kernel::Timestamp>()).await.unwrap()
        };
        let before = seen().await;
        let user = caller.user().unwrap();
        let listed = house.identity.sessions.list(user, &PageRequest::default()).await.unwrap();
        assert_eq!(listed.items[0].last_seen_at, t.db.world().now());
        assert_eq!(house.identity.sessions.write_seen().await.unwrap(), 1);
        assert_eq!(seen().await.since(before), Duration::from_secs(90));
        assert_eq!(house.identity.sessions.write_seen().await.unwrap(), 0);
    }

    async fn guessing_is_slowed_and_knowing_is_not(t: &TestDb) {
        let house = house(t);
        house.member("anne@example.org", Role::User).await;
        for _ in 0..40 {
            house.login("anne@example.org").await;
        }
        let mut codes = Vec::new();
        for email in ["anne@example.org", "nobody@example.org"] {
            let tries = (0..15).map(|_| house.login_with(email, "a wrong guess"));
            let outcomes = join_all(tries).await;
            let code = |outcome: Result<_, kernel::Error>| outcome.unwrap_err().code().to_owned();
            let of_one: Vec<_> = outcomes.into_iter().map(code).collect();
            assert_eq!(of_one.iter().filter(|code| *code == "rate_limited").count(), 5);
            codes.push(of_one);
        }
        assert_eq!(codes[0], codes[1], "the limit does not tell who has an account");
        let limited = house.login_with("anne@example.org", PASSWORD).await.unwrap_err();
        assert!(limited.retry_after_seconds().is_some());
        t.clock.advance(Duration::from_secs(60));
        house.login("anne@example.org").await;
    }

    async fn a_password_hash_of_other_days_is_made_anew_at_login(t: &TestDb) {
        let stored = async || {
            let sql = "SELECT password_hash FROM users";
            t.db.one(sql, &[], |row| row.take::<String>()).await.unwrap()
        };
        house(t).signed_in("anne@example.org", Role::User).await;
        assert!(stored().await.contains("t=1"));
        let hashing = Hashing { passes: 3, ..Hashing::for_tests() };
        let later = house_of(t, IdentityOptions { hashing, ..options(t) });
        later.login("anne@example.org").await;
        assert!(stored().await.contains("t=3"));
        later.login("anne@example.org").await;
    }

    async fn the_worth_of_a_token_of_any_kind_can_be_asked_for(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::Verifier).await;
        let caller = house.caller(&anne).await;
        let ask = async |token: &str| {
            let body = Some(json!({ "token": token, "token_type_hint": "access_token" }));
            house.send("POST", "/v1/auth/introspect", &caller, body).await.json
        };
        let now = t.db.world().now().seconds();
        for format in Format::ALL {
            let token = house.access_in(&anne, format).await;
            let worth = ask(&token).await;
            assert!(worth["jti"].is_string());
            assert_eq!(worth, json!({
                "active": true, "token_type": "Bearer", "token_kind": format.as_str(),
                "sub": anne.account.id, "sid": anne.session, "role": "verifier",
                "acr": "aal1", "amr": ["password"], "auth_time": now, "iat": now,
                "exp": now + 900, "iss": "https://verza.example",
                "aud": "https://verza.example", "jti": worth["jti"],
            }));
        }
        for (token, kind) in [(cookie(&anne), "cookie"), (refresh(&anne), "refresh_token")] {
            assert_eq!(ask(token).await, json!({
                "active": true, "token_kind": kind, "sub": anne.account.id,
                "sid": anne.session, "role": "verifier", "acr": "aal1", "amr": ["password"],
                "auth_time": now, "iat": now, "exp": now + 30 * 24 * 3600,
            }));
        }
        // A refresh token that was asked about is not used up; one that was used up is worth
        // nothing, and to ask about it ends nothing.
        let sessions = &house.identity.sessions;
        let next = sessions.refresh(&caller, refresh(&anne)).await.unwrap();
        assert_eq!(ask(refresh(&anne)).await["active"], true, "its answer may have been lost");
        t.clock.advance(Duration::from_secs(11));
        let nothing = json!({ "active": false });
        assert_eq!(ask(refresh(&anne)).await, nothing);
        assert_eq!(ask(next.refresh.expose()).await["active"], true);
        for junk in ["x", "", &"x".repeat(43), &"x".repeat(70), &"x".repeat(9000), "a.b.c"] {
            assert_eq!(ask(junk).await, nothing);
        }
        sessions.end(&caller, anne.session, Reason::Revoked).await.unwrap();
        for token in [access(&anne), cookie(&anne), next.refresh.expose()] {
            assert_eq!(ask(token).await, nothing);
        }
    }

    async fn somebody_else_s_token_is_worth_nothing_to_who_asks_but_to_admins(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let phone = house.login("anne@example.org").await;
        let eve = house.signed_in("eve@example.org", Role::User).await;
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let public = house.access_in(&anne, Format::PasetoPublic).await;
        let local = house.access_in(&anne, Format::PasetoLocal).await;
        let tokens = [access(&anne), cookie(&anne), refresh(&anne), &public, &local];
        for (who, may_know) in [(&anne, true), (&phone, true), (&admin, true), (&eve, false)] {
            let caller = house.caller(who).await;
            for token in tokens {
                let body = Some(json!({ "token": token }));
                let answer = house.send("POST", "/v1/auth/introspect", &caller, body).await;
                assert_eq!(answer.status, StatusCode::OK);
                if may_know {
                    assert_eq!(answer.json["sub"], anne.account.id.to_string());
                } else {
                    assert_eq!(answer.json, json!({ "active": false }));
                }
            }
        }
        // As RFC 7662 sends it.
        let caller = house.caller(&anne).await;
        let form = format!("token={}&token_type_hint=refresh_token", refresh(&anne));
        let answer = house.send_form("/v1/auth/introspect", &caller, form).await;
        assert_eq!(answer.json["token_kind"], "refresh_token");
    }

    async fn to_ask_about_a_session_does_not_keep_it_awake(t: &TestDb) {
        let hour = Duration::from_secs(3600);
        let policy = Policy { lifetime: hour * 10, idle: hour * 2, sessions_max: 9 };
        let sessions = Policies { user: policy, ..Policies::default() };
        let house = house_of(t, IdentityOptions { sessions, ..options(t) });
        let idle = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&house.login("anne@example.org").await).await;
        let sessions = &house.identity.sessions;
        for _ in 0..2 {
            t.clock.advance(hour);
            let found = sessions.introspect(&caller, cookie(&idle)).await.unwrap();
            assert!(found.is_some());
        }
        t.clock.advance(Duration::from_secs(1));
        assert!(sessions.introspect(&caller, cookie(&idle)).await.unwrap().is_none());
        assert_eq!(house.authenticate(cookie(&idle)).await.unwrap_err().code(), "session_expired");
    }

    async fn a_client_says_in_which_form_it_wants_its_tokens(t: &TestDb) {
        let house = house(t);
        house.member("anne@example.org", Role::User).await;
        let nobody = from("192.0.2.1");
        for (wanted, starts) in [
            (None, "ey"),
            (Some("jwt"), "ey"),
            (Some("paseto_public"), "v4.public."),
            (Some("paseto_local"), "v4.local."),
        ] {
            let mut body = json!({ "email": "anne@example.org", "password": PASSWORD });
            if let Some(wanted) = wanted {
                body["tokenFormat"] = wanted.into();
            }
            let login = house.send("POST", "/v1/auth/login", &nobody, Some(body)).await;
            let mut body = json!({ "refreshToken": login.json["refreshToken"] });
            if let Some(wanted) = wanted {
                body["tokenFormat"] = wanted.into();
            }
            let refreshed = house.send("POST", "/v1/auth/refresh", &nobody, Some(body)).await;
            for answer in [&login, &refreshed] {
                assert_eq!(answer.status, StatusCode::OK);
                assert_eq!(answer.json["expiresIn"], 900);
                let token = answer.json["accessToken"].as_str().unwrap();
                assert!(token.starts_with(starts), "{token}");
                let now = t.db.world().now();
                assert!(house.identity.cached(token, now).is_none());
                house.authenticate(token).await.unwrap();
                assert!(house.identity.cached(token, now).is_some(), "remembered like the others");
            }
        }
        let body = json!({
            "email": "anne@example.org", "password": PASSWORD, "tokenFormat": "paseto_v2",
        });
        let refused = house.send("POST", "/v1/auth/login", &nobody, Some(body)).await;
        assert_eq!(refused.error.unwrap().fields()[0].pointer, "/tokenFormat");
    }

    async fn an_ended_session_is_dead_in_every_form(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let mut shown = vec![cookie(&anne).to_owned()];
        for format in Format::ALL {
            shown.push(house.access_in(&anne, format).await);
        }
        for presented in &shown {
            house.authenticate(presented).await.unwrap();
        }
        let caller = house.caller(&anne).await;
        house.identity.sessions.logout(&caller).await.unwrap();
        for presented in &shown {
            assert!(house.identity.cached(presented, t.db.world().now()).is_none());
            assert_eq!(house.authenticate(presented).await.unwrap_err().code(), "session_ended");
        }
    }

    async fn junk_takes_up_no_memory(t: &TestDb) {
        let remembered_max = 320;
        let house = house_of(t, IdentityOptions { remembered_max, ..options(t) });
        let anne = house.signed_in("anne@example.org", Role::User).await;
        house.authenticate(access(&anne)).await.unwrap();
        let before = house.identity.sessions.remembered();
        let (signed, _) = access(&anne).rsplit_once('.').unwrap();
        let many = if t.is_postgres() { 2_000 } else { 100_000 };
        for number in 0..many {
            let junk = match number % 50 {
                // The one kind that has to be looked for in the store.
                0 => format!("{number:043}"),
                1 => format!("{signed}.{number:086}"),
                2 => format!("v4.public.{number:0200}"),
                3 => format!("v4.local.{number:0200}"),
                4 => "x".repeat(10_000) + &number.to_string(),
                _ => format!("{number}.junk.{number}"),
            };
            assert!(house.authenticate(&junk).await.is_err());
        }
        assert_eq!(house.identity.sessions.remembered(), before);
        // Good ones are remembered, and no more of them than there is room for.
        for _ in 0..remembered_max * 3 {
            let token = house.access_in(&anne, Format::Jwt).await;
            house.authenticate(&token).await.unwrap();
        }
        let remembered = house.identity.sessions.remembered();
        assert!((100..=remembered_max).contains(&remembered), "{remembered}");
    }

    async fn sessions_end_in_time_at_every_door(t: &TestDb) {
        let hour = Duration::from_secs(3600);
        let policy = Policy { lifetime: hour * 10, idle: hour * 2, sessions_max: 9 };
        let sessions = Policies { user: policy, ..Policies::default() };
        let mut its = options(t);
        its.tokens.lifetime = hour * 24;
        let house = house_of(t, IdentityOptions { sessions, ..its });
        house.member("anne@example.org", Role::User).await;
        let nobody = Caller::nobody();
        let sessions = &house.identity.sessions;
        for lapses in ["unused", "too old"] {
            let anne = house.login("anne@example.org").await;
            let mut doors = vec![cookie(&anne).to_owned(), access(&anne).to_owned()];
            for format in Format::ALL {
                doors.push(house.access_in(&anne, format).await);
            }
            for _ in 0..if lapses == "unused" { 0 } else { 9 } {
                t.clock.advance(hour);
                house.authenticate(cookie(&anne)).await.unwrap();
                house.identity.tend_once().await;
            }
            // A second before the end all of them are open. To look is to use, so only here
            // where the age decides.
            let rest = if lapses == "unused" { hour * 2 } else { hour };
            t.clock.advance(rest - Duration::from_secs(1));
            if lapses == "too old" {
                for door in &doors {
                    house.authenticate(door).await.unwrap();
                }
            }
            t.clock.advance(Duration::from_secs(2));
            for door in &doors {
                let refused = house.authenticate(door).await.unwrap_err();
                let codes = ["session_expired", "expired_token"];
                assert!(codes.contains(&refused.code()), "{lapses}: {refused:?}");
            }
            let refused = sessions.refresh(&nobody, refresh(&anne)).await;
            assert_eq!(refused.unwrap_err().code(), "session_expired");
            let caller = house.caller(&house.login("anne@example.org").await).await;
            for door in doors.iter().map(String::as_str).chain([refresh(&anne)]) {
                assert!(sessions.introspect(&caller, door).await.unwrap().is_none());
            }
        }
    }

    async fn a_renewed_session_is_dead_under_all_that_showed_it_before(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let sessions = &house.identity.sessions;
        let mut before = vec![cookie(&anne).to_owned()];
        for format in Format::ALL {
            before.push(house.access_in(&anne, format).await);
        }
        for presented in &before {
            house.authenticate(presented).await.unwrap();
        }
        t.clock.advance(Duration::from_secs(5));
        let renew = || t.db.run("test.renew", |tx| {
            let caller = &caller;
            async move {
                let (session, account) = sessions.current_in(&tx, caller).await?;
                let methods = vec![Method::Password, Method::Totp];
                let proof = Proof { level: Level::Two, methods, ..session.proof.clone() };
                let renewed = sessions.renew_in(&tx, caller, &session, proof).await?;
                Ok((account, renewed))
            }
        });
        let (account, renewed) = renew().await.unwrap();
        let now = t.db.world().now();
        for presented in &before {
            assert!(house.identity.cached(presented, now).is_none());
            let refused = house.authenticate(presented).await.unwrap_err();
            assert!(["invalid_token", "superseded_token"].contains(&refused.code()), "{refused}");
        }
        let signed_in = sessions.signed_in(account, &renewed.session, renewed.cookie);
        let after = signed_in.await.unwrap();
        assert_eq!(after.session, anne.session);
        for presented in [cookie(&after), access(&after)] {
            let principal = house.authenticate(presented).await.unwrap();
            assert_eq!((principal.level, principal.proven_at), (Level::Two, now));
        }
        // Whoever holds an old refresh token gets nothing for it, and ends nothing with it: not
        // even within the grace for lost answers.
        let refused = sessions.refresh(&caller, refresh(&anne)).await;
        assert_eq!(refused.unwrap_err().code(), "invalid_refresh");
        let next = sessions.refresh(&caller, refresh(&after)).await.unwrap();
        house.authenticate(next.access.expose()).await.unwrap();
        // An expired token of before is not brought back by the new cookie.
        t.clock.advance(Duration::from_secs(901));
        let refused = sessions.reissue(access(&anne), cookie(&after)).await.unwrap_err();
        assert_eq!(refused.code(), "superseded_token");
        sessions.reissue(access(&after), cookie(&after)).await.unwrap();
        // Its absolute lifetime was not moved.
        let expires_at = after.cookie.as_ref().unwrap().1 + Duration::from_secs(5);
        assert_eq!(expires_at, Duration::from_secs(30 * 24 * 3600));
        // Without a cookie before there is none after.
        let renewed_once = house.facts().await.iter().filter(|v| *v == "session.renewed").count();
        assert_eq!(renewed_once, 1);
    }

    async fn no_refresh_slips_through_a_renewal(t: &TestDb) {
        let house = house(t);
        let mut anne = house.signed_in("anne@example.org", Role::User).await;
        let sessions = &house.identity.sessions;
        for _ in 0..10 {
            let caller = &house.caller(&anne).await;
            let renew = t.db.run("test.renew", |tx| async move {
                let (session, account) = sessions.current_in(&tx, caller).await?;
                let proof = Proof::password();
                Ok((account, sessions.renew_in(&tx, caller, &session, proof).await?))
            });
            let planted = (0..4).map(|_| sessions.refresh(caller, refresh(&anne)));
            let (renewed, planted) = futures_util::join!(renew, join_all(planted));
            let (account, renewed) = renewed.unwrap();
            let after = sessions.signed_in(account, &renewed.session, renewed.cookie);
            let after = after.await.unwrap();
            // Who was quick enough has tokens of before, which are worth nothing.
            for tokens in planted.into_iter().flatten() {
                assert!(house.authenticate(tokens.access.expose()).await.is_err());
                let refused = sessions.refresh(caller, tokens.refresh.expose()).await;
                assert_eq!(refused.unwrap_err().code(), "invalid_refresh");
            }
            house.authenticate(access(&after)).await.unwrap();
            anne = after;
        }
    }

    async fn a_session_that_begins_while_all_are_ended_does_not_stay(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let sessions = &house.identity.sessions;
        let (ended, go) = (Notify::new(), Notify::new());
        let ending = t.db.run("test.end_all", |tx| {
            let (ended, go, user) = (&ended, &go, anne.account.id);
            async move {
                sessions.end_all_in(&tx, user, Reason::Revoked, None).await?;
                ended.notify_one();
                go.notified().await;
                Ok(())
            }
        });
        let beginning = async {
            ended.notified().await;
            let begun = Box::pin(sessions.begin_another(&caller, None));
            // More round trips than it takes where it waits for nobody.
            let meanwhile = Box::pin(async {
                for _ in 0..200 {
                    house.users().await;
                }
            });
            match select(begun, meanwhile).await {
                Either::Left((begun, _)) => {
                    go.notify_one();
                    begun
                }
                Either::Right(((), begun)) => {
                    go.notify_one();
                    begun.await
                }
            }
        };
        let (all, begun) = futures_util::join!(ending, beginning);
        all.unwrap();
        assert_eq!(begun.map(drop).unwrap_err().code(), "session_ended");
        let live = "SELECT CAST(COUNT(*) AS BIGINT) FROM sessions WHERE ended_at IS NULL";
        assert_eq!(house.count(live).await, 0);
    }

    async fn of_two_renewals_at_once_one_wins(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let sessions = &house.identity.sessions;
        let read = t.db.run("test.read", |tx| {
            let caller = &caller;
            async move { sessions.current_in(&tx, caller).await }
        });
        let (session, _) = read.await.unwrap();
        let renewals = (0..5).map(|_| t.db.run("test.renew", |tx| {
            let (caller, session) = (&caller, &session);
            async move {
                sessions.renew_in(&tx, caller, session, Proof::password()).await.map(drop)
            }
        }));
        let outcomes = join_all(renewals).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let refused = outcomes.into_iter().filter_map(Result::err);
        assert!(refused.into_iter().all(|error| error.kind() == Kind::Conflict));
    }

    async fn a_renewal_reaches_other_replicas_within_a_second(t: &TestDb) {
        if !t.db.is_shared() {
            return;
        }
        let here = house(t);
        let there = Identity::new(options(t)).unwrap();
        let anne = here.signed_in("anne@example.org", Role::User).await;
        for presented in [cookie(&anne), access(&anne)] {
            there.authenticate(presented).await.unwrap();
        }
        let caller = here.caller(&anne).await;
        let sessions = &here.identity.sessions;
        let renewed = t.db.run("test.renew", |tx| {
            let caller = &caller;
            async move {
                let (session, account) = sessions.current_in(&tx, caller).await?;
                let proof = Proof { level: Level::Two, ..session.proof.clone() };
                Ok((account, sessions.renew_in(&tx, caller, &session, proof).await?))
            }
        });
        let (account, renewed) = renewed.await.unwrap();
        let after = sessions.signed_in(account, &renewed.session, renewed.cookie).await.unwrap();
        // The new tokens are good there at once, and with them the old ones are dead.
        assert_eq!(there.authenticate(access(&after)).await.unwrap().level, Level::Two);
        assert_eq!(there.authenticate(cookie(&after)).await.unwrap().level, Level::Two);
        for presented in [cookie(&anne), access(&anne)] {
            assert!(there.authenticate(presented).await.is_err());
        }
    }

    async fn an_expired_token_beside_its_cookie_is_replaced_in_its_own_form(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let other = house.login("anne@example.org").await;
        let eve = house.signed_in("eve@example.org", Role::User).await;
        let sessions = &house.identity.sessions;
        let mut tokens = Vec::new();
        for format in Format::ALL {
            tokens.push((format, house.access_in(&anne, format).await));
        }
        for (_, token) in &tokens {
            let early = sessions.reissue(token, cookie(&anne)).await.unwrap_err();
            assert_eq!(early.code(), "invalid_token", "it is not over");
        }
        t.clock.advance(Duration::from_secs(901));
        for (format, token) in &tokens {
            let refusal = async |presented: &str, cookie: &str| {
                sessions.reissue(presented, cookie).await.unwrap_err().code().to_owned()
            };
            assert_eq!(refusal(token, cookie(&other)).await, "session_mismatch");
            assert_eq!(refusal(token, cookie(&eve)).await, "session_mismatch");
            assert_eq!(refusal(token, "x").await, "expired_token");
            assert_eq!(refusal(token, &"x".repeat(43)).await, "expired_token");
            // The refresh token and an access token are no cookies.
            assert_eq!(refusal(token, refresh(&anne)).await, "expired_token");
            assert_eq!(refusal(token, token).await, "expired_token");
            let forged = format!("{}AAAA", &token[..token.len() - 4]);
            assert_eq!(refusal(&forged, cookie(&anne)).await, "invalid_token");
            assert_eq!(refusal(cookie(&anne), cookie(&anne)).await, "invalid_token");

            let reissued = sessions.reissue(token, cookie(&anne)).await.unwrap();
            assert_eq!(reissued.principal.session, anne.session);
            assert_eq!(Format::of(reissued.token.expose()), *format);
            let principal = house.authenticate(reissued.token.expose()).await.unwrap();
            assert_eq!(principal.session, anne.session);
        }
        let caller = house.caller_by_cookie(&anne).await;
        sessions.logout(&caller).await.unwrap();
        let refused = sessions.reissue(&tokens[0].1, cookie(&anne)).await.unwrap_err();
        assert_eq!(refused.code(), "expired_token");
    }

    async fn of_fifty_refreshes_on_two_replicas_one_family_survives(t: &TestDb) {
        let (one, two) = (house(t), house(t));
        let anne = one.signed_in("anne@example.org", Role::User).await;
        let nobody = Caller::nobody();
        let tabs = (0..50).map(|tab| {
            let house = if tab % 2 == 0 { &one } else { &two };
            house.identity.sessions.refresh(&nobody, refresh(&anne))
        });
        let brought: Vec<_> = join_all(tabs).await.into_iter().map(Result::unwrap).collect();
        let family: BTreeSet<_> = brought.iter().map(|tokens| tokens.refresh.expose()).collect();
        assert_eq!(family.len(), 1);
        for (place, tokens) in brought.iter().enumerate() {
            let house = if place % 2 == 0 { &two } else { &one };
            let principal = house.authenticate(tokens.access.expose()).await.unwrap();
            assert_eq!(principal.session, anne.session);
        }
        // What they got leads on, for all of them.
        let next = (0..50).map(|tab| {
            let house = if tab % 2 == 0 { &one } else { &two };
            house.identity.sessions.refresh(
                &nobody, brought[tab].refresh.expose())
        });
        let next: Vec<_> = join_all(next).await.into_iter().map(Result::unwrap).collect();
        let family: BTreeSet<_> = next.iter().map(|tokens| tokens.refresh.expose()).collect();
        assert_eq!(family.len(), 1);
        one.authenticate(cookie(&anne)).await.unwrap();
        let facts = one.facts().await;
        assert!(!facts.iter().any(|verb| verb == "session.reuse_detected"), "{facts:?}");
    }

    async fn two_tabs_get_along_and_a_lost_answer_is_made_good(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let nobody = Caller::nobody();
        let sessions = &house.identity.sessions;
        let mut current = refresh(&anne).to_owned();
        for round in 0..20 {
            t.clock.advance(Duration::from_secs(60));
            // The first answer is lost now and then; the second tab is up to nine seconds late.
            let first = sessions.refresh(&nobody, &current).await.unwrap();
            t.clock.advance(Duration::from_secs(round % 10));
            let second = sessions.refresh(&nobody, &current).await.unwrap();
            assert_eq!(first.refresh.expose(), second.refresh.expose());
            assert_ne!(first.access.expose(), second.access.expose());
            current = second.refresh.expose().clone();
        }
        // A tab that slept through two rounds holds what a thief would hold.
        house.authenticate(cookie(&anne)).await.unwrap();
        let late = sessions.refresh(&nobody, refresh(&anne)).await.unwrap_err();
        assert_eq!(late.code(), "reused_refresh");
        assert!(house.authenticate(cookie(&anne)).await.is_err());
    }

    async fn of_fifty_thieves_and_an_owner_nobody_keeps_the_session(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let nobody = Caller::nobody();
        let sessions = &house.identity.sessions;
        let old = refresh(&anne);
        let current = sessions.refresh(&nobody, old).await.unwrap();
        t.clock.advance(Duration::from_secs(11));
        let thieves = join_all((0..50).map(|_| sessions.refresh(&nobody, old)));
        let owner = sessions.refresh(&nobody, current.refresh.expose());
        let (thieves, owner) = futures_util::join!(thieves, owner);
        assert!(thieves.iter().all(Result::is_err));
        if let Ok(tokens) = owner {
            assert!(house.authenticate(tokens.access.expose()).await.is_err());
        }
        assert!(house.authenticate(cookie(&anne)).await.is_err());
        let facts = house.facts().await;
        assert_eq!(facts.iter().filter(|verb| *verb == "session.reuse_detected").count(), 1);
    }

    async fn what_is_read_while_a_session_ends_is_not_remembered(t: &TestDb) {
        let house = Arc::new(house(t).identity);
        let rounds = 20;
        let people = crate::testing::house(t);
        people.member("anne@example.org", Role::User).await;
        for _ in 0..rounds {
            let anne = people.login("anne@example.org").await;
            let principal = house.authenticate(cookie(&anne)).await.unwrap();
            let caller = Caller { principal: Some(principal), ..Caller::nobody() };
            let asks = join_all((0..20).map(|_| house.authenticate(cookie(&anne))));
            let (_, ended) = futures_util::join!(asks, house.sessions.logout(&caller));
            ended.unwrap();
            assert!(house.authenticate(cookie(&anne)).await.is_err());
        }
    }

    async fn long_gone_sessions_are_forgotten(t: &TestDb) {
        let house = house(t);
        house.signed_in("anne@example.org", Role::User).await;
        t.clock.advance(Duration::from_secs(59 * 24 * 3600));
        house.worker.drain().await.unwrap();
        let count = "SELECT CAST(COUNT(*) AS BIGINT) FROM sessions";
        assert_eq!(house.count(count).await, 1);
        t.clock.advance(Duration::from_secs(2 * 24 * 3600));
        house.worker.drain().await.unwrap();
        assert_eq!(house.count(count).await, 0);
    }
}
