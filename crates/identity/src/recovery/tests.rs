use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::{Extension, Router};
use futures_util::future::join_all;
use http::{Request, StatusCode, header};
use kernel::{Caller, Kind, Principal, Role, Secret};
use platform::mail::sink;
use platform::on_both_engines;
use rpc::users::Users;
use serde_json::{Value as Json, json};
use tower::ServiceExt;

use super::letters;
use crate::account::{Command, Email};
use crate::testing::{House, PASSWORD, TABLES, from, house, password, registration, whole};

const FORGOT: &str = "/v1/auth/forgot-password";
const RESET: &str = "/v1/auth/reset-password";
const SECURITY: &str = "/v1/me/security";
const NEW: &str = "seven quiet herons at dusk";

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

fn secret(text: &str) -> Secret<String> {
    text.to_owned().into()
}

impl House<'_> {
    /// The token of a link that somebody has asked for.
    async fn reset_token(&self, address: &str) -> String {
        let recovery = &self.identity.recovery;
        recovery.forgot_password(&from("192.0.2.7"), &email(address)).await.unwrap();
        self.mail_token(address).await
    }

    async fn mails(&self, to: &str) -> Vec<sink::Sunk> {
        self.worker.drain().await.unwrap();
        sink::list(&self.t.db, Some(to), 50).await.unwrap()
    }

    async fn mails_of(&self, to: &str, template: &str) -> usize {
        self.mails(to).await.iter().filter(|mail| mail.template == template).count()
    }
}

#[test]
fn the_letters_are_as_they_were() {
    let link = "https://verza.example/reset-password#token=t0ken";
    insta::assert_snapshot!("reset_password", whole(&letters::reset_password(link)));
    let link = "https://verza.example/forgot-password";
    insta::assert_snapshot!("password_changed", whole(&letters::password_changed(link)));
}

on_both_engines! { TABLES;
    async fn a_link_sets_a_new_password_and_ends_every_session(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let access = anne.tokens.access.expose();
        house.authenticate(access).await.unwrap();
        let token = house.reset_token("anne@example.org").await;
        let body = Some(json!({ "token": token, "newPassword": NEW }));
        let answer = house.send("POST", RESET, &from("192.0.2.7"), body).await;
        assert_eq!(answer.status, StatusCode::OK);

        assert!(house.identity.cached(access, t.db.world().now()).is_none());
        assert_eq!(house.authenticate(access).await.unwrap_err().code(), "session_ended");
        let refresh = anne.tokens.refresh.expose();
        assert!(house.identity.sessions.refresh(&Caller::nobody(), refresh).await.is_err());
        assert!(house.login_with("anne@example.org", PASSWORD).await.is_err());
        house.login_with("anne@example.org", NEW).await.unwrap();
        let facts = house.facts().await;
        let ours: Vec<_> = facts.iter().filter(|verb| verb.contains("password")).collect();
        assert_eq!(ours, ["user.password_forgotten", "user.password_reset"]);
        assert_eq!(house.mails_of("anne@example.org", "recovery.password_changed").await, 1);
    }

    async fn a_link_is_of_the_configured_address_whatever_the_request_says(t: &TestDb) {
        let house = house(t);
        house.member("anne@example.org", Role::User).await;
        let router = crate::routes(&house.identity)
            .into_iter()
            .fold(Router::new(), |router, route| router.route(route.path, route.handler))
            .layer(Extension(Caller::nobody()));
        for path in [FORGOT, "/v1/auth/resend-verification"] {
            let request = Request::post(format!("https://evil.example{path}"))
                .header(header::HOST, "evil.example")
                .header("x-forwarded-host", "evil.example")
                .header("x-forwarded-proto", "http")
                .header("forwarded", "host=evil.example")
                .header(header::ORIGIN, "https://evil.example")
                .header(header::REFERER, "https://evil.example/")
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(json!({ "email": "anne@example.org" }).to_string()));
            let answer = router.clone().oneshot(request.unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        }
        let mails = house.mails("anne@example.org").await;
        assert_eq!(mails[0].template, "recovery.reset_password");
        assert!(mails[0].text.contains("https://verza.example/reset-password#token="));
        for mail in mails {
            assert!(!mail.text.contains("evil") && !mail.html.contains("evil"), "{mail:?}");
        }
    }

    async fn asking_for_a_link_tells_nothing_and_costs_the_same(t: &TestDb) {
        let house = house(t);
        house.member("known@example.org", Role::User).await;
        let banned = house.member("banned@example.org", Role::User).await;
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let admin = house.caller(&admin).await;
        house.identity.accounts.command(&admin, banned, Command::Ban).await.unwrap();
        let waiting = registration("waiting@example.org", Role::User);
        house.identity.accounts.register(&Caller::nobody(), &waiting).await.unwrap();
        house.worker.drain().await.unwrap();
        for path in [FORGOT, "/v1/auth/resend-verification"] {
            let mut answers = BTreeSet::new();
            for who in ["known", "banned", "waiting", "unknown"] {
                let before = t.db.counts();
                let body = Some(json!({ "email": format!("{who}@example.org") }));
                let answer = house.send("POST", path, &Caller::nobody(), body).await;
                let cost = t.db.counts().statements - before.statements;
                let headers = format!("{:?}", answer.headers);
                answers.insert((answer.status.as_u16(), answer.json.to_string(), headers, cost));
            }
            assert_eq!(answers.len(), 1, "{path}: {answers:?}");
        }
        for (who, mails) in [("known", 1), ("banned", 0), ("waiting", 1), ("unknown", 0)] {
            let to = format!("{who}@example.org");
            assert_eq!(house.mails_of(&to, "recovery.reset_password").await, mails, "{who}");
        }
        let left = "SELECT CAST(COUNT(*) AS BIGINT) FROM jobs";
        assert_eq!(house.count(left).await, 0, "what was asked of an unknown address is forgotten");
    }

    async fn of_fifty_tries_of_one_link_one_sets_the_password(t: &TestDb) {
        let house = house(t);
        house.signed_in("anne@example.org", Role::User).await;
        let token = house.reset_token("anne@example.org").await;
        let caller = Caller::nobody();
        let passwords: Vec<_> = (0..50).map(|n| format!("{NEW} number {n}")).collect();
        let tries = passwords
            .iter()
            .map(|text| house.identity.recovery.reset_password(&caller, &token, secret(text)));
        let outcomes = join_all(tries).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert_eq!((error.kind(), error.code()), (Kind::Gone, "token_spent"));
        }
        let reset = house.facts().await.into_iter().filter(|verb| verb == "user.password_reset");
        assert_eq!(reset.count(), 1);
        let mut works = Vec::new();
        for text in &passwords[..] {
            let stored = house.identity.accounts.get(house.id_of("anne@example.org").await).await;
            let stored = stored.unwrap().password;
            let is = house.identity.hasher.verify(&password(text), stored.as_ref()).await.unwrap();
            works.push(is);
        }
        assert_eq!(works.iter().filter(|works| **works).count(), 1);
        assert_eq!(house.mails_of("anne@example.org", "recovery.password_changed").await, 1);
    }

    async fn a_link_works_for_an_hour_and_a_new_password_takes_the_others(t: &TestDb) {
        let house = house(t);
        house.member("anne@example.org", Role::User).await;
        let recovery = &house.identity.recovery;
        let late = house.reset_token("anne@example.org").await;
        t.clock.advance(Duration::from_secs(3600));
        let refused = recovery.reset_password(&Caller::nobody(), &late, secret(NEW)).await;
        assert_eq!(refused.unwrap_err().kind(), Kind::Gone);
        let first = house.reset_token("anne@example.org").await;
        let second = house.reset_token("anne@example.org").await;
        t.clock.advance(Duration::from_secs(3599));
        recovery.reset_password(&Caller::nobody(), &first, secret(NEW)).await.unwrap();
        for token in [&first, &second, "", "x"] {
            let refused = recovery.reset_password(&Caller::nobody(), token, secret(NEW)).await;
            assert_eq!(refused.unwrap_err().code(), "token_spent");
        }
        t.clock.advance(Duration::from_secs(3600));
        house.worker.drain().await.unwrap();
        assert_eq!(house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM mail_tokens").await, 0);
    }

    async fn a_token_of_another_purpose_sets_no_password(t: &TestDb) {
        let house = house(t);
        let waiting = registration("waiting@example.org", Role::User);
        house.identity.accounts.register(&Caller::nobody(), &waiting).await.unwrap();
        let token = house.mail_token("waiting@example.org").await;
        let refused =
            house.identity.recovery.reset_password(&Caller::nobody(), &token, secret(NEW)).await;
        assert_eq!(refused.unwrap_err().code(), "token_spent");
    }

    async fn a_refused_password_does_not_use_the_link_up(t: &TestDb) {
        let house = house(t);
        house.member("anne@example.org", Role::User).await;
        let token = house.reset_token("anne@example.org").await;
        for (text, code) in
            [("short", "too_short"), ("password1", "too_common"), ("anne@example.org", "too_common")]
        {
            let body = Some(json!({ "token": token, "newPassword": text }));
            let answer = house.send("POST", RESET, &Caller::nobody(), body).await;
            let error = answer.error.unwrap();
            let field = &error.fields()[0];
            assert_eq!((field.pointer.as_str(), field.code.as_str()), ("/newPassword", code));
        }
        let recovery = &house.identity.recovery;
        recovery.reset_password(&Caller::nobody(), &token, secret(NEW)).await.unwrap();
    }

    async fn whoever_reads_the_mail_of_an_unproved_address_proves_it(t: &TestDb) {
        let house = house(t);
        let squatted = registration("anne@example.org", Role::User);
        house.identity.accounts.register(&Caller::nobody(), &squatted).await.unwrap();
        let token = house.reset_token("anne@example.org").await;
        let recovery = &house.identity.recovery;
        recovery.reset_password(&Caller::nobody(), &token, secret(NEW)).await.unwrap();
        assert!(house.login_with("anne@example.org", PASSWORD).await.is_err());
        house.login_with("anne@example.org", NEW).await.unwrap();
        assert!(house.facts().await.contains(&"user.email_verified".to_owned()));
    }

    async fn a_ban_takes_the_links_that_were_on_their_way(t: &TestDb) {
        let house = house(t);
        let anne = house.member("anne@example.org", Role::User).await;
        let token = house.reset_token("anne@example.org").await;
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let admin = house.caller(&admin).await;
        house.identity.accounts.command(&admin, anne, Command::Ban).await.unwrap();
        let refused =
            house.identity.recovery.reset_password(&Caller::nobody(), &token, secret(NEW)).await;
        assert_eq!(refused.unwrap_err().code(), "token_spent");
        house.identity.accounts.command(&admin, anne, Command::Unban).await.unwrap();
        house.login("anne@example.org").await;
    }

    async fn nothing_that_is_stored_opens_a_link(t: &TestDb) {
        let house = house(t);
        house.member("anne@example.org", Role::User).await;
        let caller = from("192.0.2.7");
        let anne = email("anne@example.org");
        house.identity.recovery.forgot_password(&caller, &anne).await.unwrap();
        house.worker.run_due().await.unwrap();
        // The letter waits in the table of jobs, and the token in its own.
        let waiting: Vec<String> =
            platform::db::Read::all(&t.db, "SELECT payload FROM jobs", &[], |row| row.take())
                .await
                .unwrap();
        let token = house.mail_token("anne@example.org").await;
        assert!(waiting.iter().all(|payload| !payload.contains(&token)));
        let hash = platform::crypto::sha256(&token);
        let found = "SELECT CAST(COUNT(*) AS BIGINT) FROM mail_tokens WHERE hash = $1";
        let found: i64 =
            platform::db::Read::one(&t.db, found, platform::params![hash], |row| row.take())
                .await
                .unwrap();
        assert_eq!(found, 1);
    }

    async fn nobody_is_flooded_with_links(t: &TestDb) {
        let house = house(t);
        house.member("anne@example.org", Role::User).await;
        for _ in 0..20 {
            let anne = email("anne@example.org");
            let caller = Caller::nobody();
            house.identity.recovery.forgot_password(&caller, &anne).await.unwrap();
        }
        assert_eq!(house.mails_of("anne@example.org", "recovery.reset_password").await, 4);
    }

    async fn a_change_needs_the_current_password_and_ends_the_other_sessions(t: &TestDb) {
        let house = house(t);
        let here = house.signed_in("anne@example.org", Role::User).await;
        let there = house.login("anne@example.org").await;
        let caller = house.caller(&here).await;
        house.authenticate(there.tokens.access.expose()).await.unwrap();
        let body = |current: &str, new: &str| -> Option<Json> {
            Some(json!({ "currentPassword": current, "newPassword": new }))
        };
        for (current, new, pointer, code) in [
            ("not the password", NEW, "/currentPassword", "wrong"),
            (PASSWORD, "short", "/newPassword", "too_short"),
        ] {
            let answer = house.send("PATCH", SECURITY, &caller, body(current, new)).await;
            let error = answer.error.unwrap();
            assert_eq!((&*error.fields()[0].pointer, &*error.fields()[0].code), (pointer, code));
        }
        let link = house.reset_token("anne@example.org").await;
        let answer = house.send("PATCH", SECURITY, &caller, body(PASSWORD, NEW)).await;
        assert_eq!((answer.status, &answer.json["success"]), (StatusCode::OK, &json!(true)));
        // The session goes on under new tokens and a new cookie; what has shown it is dead.
        let dead = house.authenticate(here.tokens.access.expose()).await.unwrap_err();
        assert_eq!(dead.code(), "superseded_token");
        let (cookie, _) = here.cookie.as_ref().unwrap();
        assert!(house.authenticate(cookie.expose()).await.is_err());
        assert!(answer.headers[header::SET_COOKIE].to_str().unwrap().starts_with("verza_session="));
        let renewed = answer.json["accessToken"].as_str().unwrap();
        let renewed = house.authenticate(renewed).await.unwrap();
        let was = caller.principal().unwrap();
        assert_eq!((renewed.session, renewed.proven_at), (was.session, was.proven_at));
        assert!(house.authenticate(there.tokens.access.expose()).await.is_err());
        assert!(house.login_with("anne@example.org", PASSWORD).await.is_err());
        house.login_with("anne@example.org", NEW).await.unwrap();
        assert_eq!(house.mails_of("anne@example.org", "recovery.password_changed").await, 1);
        let spent =
            house.identity.recovery.reset_password(&Caller::nobody(), &link, secret(NEW)).await;
        assert_eq!(spent.unwrap_err().code(), "token_spent");
        let facts = house.facts().await;
        assert_eq!(facts.iter().filter(|verb| *verb == "user.password_changed").count(), 1);
    }

    async fn whoever_holds_a_session_guesses_ten_times_and_no_more(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let mut kinds = Vec::new();
        for n in 0..12 {
            let guess = password(&format!("guess number {n}"));
            let recovery = &house.identity.recovery;
            let refused = recovery.change_password(&caller, &guess, secret(NEW)).await;
            kinds.push(refused.unwrap_err().kind());
        }
        assert!(kinds[..10].iter().all(|kind| *kind == Kind::Invalid));
        assert!(kinds[10..].iter().all(|kind| *kind == Kind::Limited));
    }

    async fn an_admin_in_somebody_s_place_sets_no_password(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let admin = house.member("admin@example.org", Role::Admin).await;
        let seen = Principal { impersonator: Some(admin), ..caller.principal().unwrap().clone() };
        let recovery = &house.identity.recovery;
        let refused =
            recovery.change_password(&Caller::of(seen), &password(PASSWORD), secret(NEW)).await;
        assert_eq!(refused.unwrap_err().code(), "impersonating");
    }
}
