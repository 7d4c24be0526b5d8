use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::{StatusCode, header};
use kernel::{Caller, Kind, PageRequest, Role};
use platform::db::Read;
use platform::on_both_engines;
use platform::params;
use rpc::users::Users;
use serde_json::json;

use super::{Policies, Policy, Reason, SignedIn};
use crate::password::Hashing;
use crate::testing::{PASSWORD, TABLES, from, house, house_of, options, registration};
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
        assert!(plain.headers.get(header::SET_COOKIE).is_none());
        assert_eq!(plain.headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(plain.json["token"], plain.json["accessToken"]);
        assert_eq!(plain.json["expiresIn"], 900);
        assert_eq!(plain.json["tokenType"], "Bearer");
        assert_eq!(plain.json["user"], json!({
            "id": id, "name": "Anne Cooper", "email": "anne@example.org", "role": "user",
        }));
        assert!(house.authenticate(plain.json["token"].as_str().unwrap()).await.is_ok());

        let browser = login("/v1/auth/login?cookie=true").await;
        let set = browser.headers[header::SET_COOKIE].to_str().unwrap();
        let (token, attributes) = set.split_once("; ").unwrap();
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
        let token = tokens.issue(eve, Role::User, anne.session, until).await.unwrap();
        for _ in 0..2 {
            assert!(house.authenticate(token.expose()).await.is_err());
            house.authenticate(access(&anne)).await.unwrap();
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
        let there = Identity::new(options(t)).unwrap();
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

    async fn a_token_s_worth_can_be_asked_for(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::Verifier).await;
        let caller = house.caller(&anne).await;
        let ask = async |token: &str| {
            let body = Some(json!({ "token": token }));
            house.send("POST", "/v1/auth/introspect", &caller, body).await.json
        };
        let of_access = ask(access(&anne)).await;
        assert_eq!(of_access["active"], true);
        assert_eq!(of_access["sub"], anne.account.id.to_string());
        assert_eq!(of_access["role"], "verifier");
        assert_eq!(of_access["iss"], "https://verza.example");
        let now = t.db.world().now().seconds();
        assert_eq!(of_access["exp"], now + 900);
        let of_cookie = ask(cookie(&anne)).await;
        assert_eq!(of_cookie["active"], true);
        assert_eq!(of_cookie["token_type"], "session");
        let nothing = json!({ "active": false });
        assert_eq!(ask(refresh(&anne)).await, nothing);
        assert_eq!(ask("x").await, nothing);
        house.identity.sessions.end(&caller, anne.session, Reason::Revoked).await.unwrap();
        assert_eq!(ask(access(&anne)).await, nothing);
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
