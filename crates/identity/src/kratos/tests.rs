use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use futures_util::future::join_all;
use http::{Request, StatusCode, header};
use kernel::{Caller, Error, Kind, Level, Principal, Role};
use platform::db::Read;
use platform::http::{ErrorShape, Failure, render};
use platform::mail::sink;
use platform::on_both_engines;
use platform::params;
use platform::testing::TestDb;
use rpc::users::Users;
use serde_json::{Value as Json, json};
use tower::ServiceExt;
use uuid::Uuid;

use super::standin::{Fault, Kratos};
use super::{Mode, Options};
use crate::IdentityOptions;
use crate::account::Email;
use crate::factor::totp;
use crate::session::{Locator, Policies, Policy, Reason, SignedIn};
use crate::testing::{
    Answer, House, PASSWORD, TABLES, from, house, house_of, options, registration,
};
use crate::token::Wish;

const TTL: Duration = Duration::from_secs(10);
const KEY: &str = "a key for hooks";

fn at(kratos: &Kratos, mode: Mode) -> Options {
    Options {
        mode,
        public_url: kratos.url.clone(),
        admin_url: kratos.url.clone(),
        hook_key: Some(KEY.to_owned().into()),
        cache: TTL,
        ..Options::default()
    }
}

fn house_in(t: &TestDb, kratos: Options) -> House<'_> {
    house_of(t, IdentityOptions { kratos, ..options(t) })
}

async fn both(t: &TestDb) -> (Kratos, House<'_>) {
    let kratos = Kratos::start(&t.clock).await;
    let house = house_in(t, at(&kratos, Mode::Both));
    (kratos, house)
}

fn by(principal: &Arc<Principal>) -> Caller {
    Caller { principal: Some(Arc::clone(principal)), ..from("192.0.2.1") }
}

fn cookie_of(token: &str) -> String {
    format!("ory_kratos_session=cookie-{token}")
}

fn code<T>(outcome: Result<T, Error>) -> String {
    outcome.err().map_or_else(|| "ok".to_owned(), |error| error.code().to_owned())
}

/// A hook as Kratos sends it.
async fn hook(house: &House<'_>, flow: &str, key: Option<&str>, body: &Json) -> Answer {
    let router = crate::routes(&house.identity)
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
        .layer(axum::Extension(Caller::nobody()));
    let request = Request::post(format!("/v1/hooks/kratos/{flow}"));
    let request = match key {
        Some(key) => request.header(header::AUTHORIZATION, key),
        None => request,
    };
    let response = router.oneshot(request.body(Body::from(body.to_string())).unwrap()).await;
    let response = response.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let error = response.extensions().get::<Failure>().map(|failure| failure.0.clone());
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Answer { status, headers, error, json: serde_json::from_slice(&bytes).unwrap_or_default() }
}

async fn told(house: &House<'_>, flow: &str, identity: Uuid) -> Json {
    let answer = hook(house, flow, Some(KEY), &json!({ "identity_id": identity })).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.error);
    answer.json["outcome"].clone()
}

/// Enrols an authenticator app on the account of a caller.
async fn enrol(house: &House<'_>, caller: &Caller) {
    let begun = house.send("POST", "/v1/auth/mfa/enroll", caller, None).await;
    let secret = begun.json["secret"].as_str().unwrap();
    let code = totp::code(secret, house.t.db.world().now()).unwrap();
    let body = Some(json!({ "totp": code }));
    let done = house.send("POST", "/v1/auth/mfa/verify", caller, body).await;
    assert_eq!(done.status, StatusCode::OK, "{:?}", done.error);
}

async fn live_sessions(house: &House<'_>, who: &Caller) -> Vec<Json> {
    let answer = house.send("GET", "/v1/me/sessions", who, None).await;
    answer.json.as_array().unwrap().clone()
}

async fn count(t: &TestDb, table: &str) -> i64 {
    let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
    t.db.one(&sql, &[], |row| row.take()).await.unwrap()
}

/// Checks a value against a schema of the excerpt. Members that the schema does not name are
/// refused: Kratos's document allows them, but they would be slips of ours.
fn conforms(value: &Json, name: &str) {
    let document: Json =
        serde_json::from_str(include_str!("contract/kratos.openapi.json")).unwrap();
    let schemas = &document["components"]["schemas"];
    check(value, &schemas[name], schemas, name);
}

fn check(value: &Json, schema: &Json, schemas: &Json, place: &str) {
    assert!(!schema.is_null(), "{place} has no schema");
    if let Some(name) = schema["$ref"].as_str().and_then(|text| text.rsplit('/').next()) {
        return check(value, &schemas[name], schemas, place);
    }
    if value.is_null() {
        return assert_eq!(schema["nullable"], true, "{place} is null");
    }
    match schema["type"].as_str() {
        Some("object") => {
            let members = value.as_object().unwrap_or_else(|| panic!("{place}: {value}"));
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(members.contains_key(name.as_str().unwrap()), "{place} lacks {name}");
            }
            if let Some(properties) = schema["properties"].as_object() {
                for (name, member) in members {
                    let place = format!("{place}/{name}");
                    check(member, properties.get(name).unwrap_or(&Json::Null), schemas, &place);
                }
            }
        }
        Some("array") => {
            for (index, item) in value.as_array().unwrap().iter().enumerate() {
                check(item, &schema["items"], schemas, &format!("{place}/{index}"));
            }
        }
        Some("string") => {
            let text = value.as_str().unwrap_or_else(|| panic!("{place}: {value}"));
            match schema["format"].as_str() {
                Some("uuid") => assert_eq!(Uuid::parse_str(text).unwrap().to_string(), text),
                Some("date-time") => assert!(text.parse::<kernel::Timestamp>().is_ok(), "{place}"),
                _ => {}
            }
            if let Some(words) = schema["enum"].as_array() {
                assert!(words.contains(value), "{place} is {value}");
            }
        }
        Some("boolean") => assert!(value.is_boolean(), "{place}"),
        Some("integer") => assert!(value.is_i64(), "{place}"),
        Some(other) => panic!("{other}"),
        None => {}
    }
}

on_both_engines! { TABLES;
    async fn a_session_of_kratos_is_a_session_here(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        let principal = house.authenticate(&token).await.unwrap();
        assert_eq!((principal.role, principal.level), (Role::User, Level::One));
        assert!(principal.email_verified && principal.approved);
        assert_eq!(principal.user, house.id_of("anne@example.org").await);
        let by_cookie = house.authenticate(&cookie_of(&token)).await.unwrap();
        assert_eq!(by_cookie, principal, "one session, however it is shown");

        let me = house.send("GET", "/v1/me", &by(&principal), None).await.json;
        assert_eq!((&me["name"], &me["emailVerified"]), (&json!("Anne of Kratos"), &json!(true)));
        let rows = live_sessions(&house, &by(&principal)).await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["userAgent"], "Kratos browser");
        assert_eq!(rows[0]["ip"], "198.51.100.7");
        let facts = house.facts().await;
        assert_eq!(facts, ["user.registered", "kratos.linked", "session.started"]);

        let again = kratos.sign_in(kratos.change(|world| *world.people.keys().next().unwrap()));
        let other = house.authenticate(&again).await.unwrap();
        assert_eq!(other.user, principal.user);
        assert_ne!(other.session, principal.session);
    }

    async fn native_and_kratos_sessions_stand_in_one_list(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let native = house.signed_in("anne@example.org", Role::User).await;
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        let principal = house.authenticate(&token).await.unwrap();
        assert_eq!(principal.user, native.account.id);
        assert_eq!(live_sessions(&house, &by(&principal)).await.len(), 2);
        let ended = house.send("DELETE", "/v1/me/sessions", &by(&principal), None).await;
        assert_eq!(ended.json["ended"], 2);
        assert!(house.authenticate(native.tokens.access.expose()).await.is_err());
        assert!(house.authenticate(&token).await.is_err());
    }

    async fn nobody_gets_an_account_by_an_address_they_have_not_proved(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let anne = house.member("anne@example.org", Role::Admin).await;
        let mallory = kratos.person("Anne@example.org", false);
        let token = kratos.sign_in(mallory);
        let refused = house.authenticate(&token).await.unwrap_err();
        assert_eq!((refused.kind(), refused.code()), (Kind::Forbidden, "email_not_verified"));
        let stranger = kratos.sign_in(kratos.person("new@example.org", false));
        let same = house.authenticate(&stranger).await.unwrap_err();
        assert_eq!(same.message(), refused.message(), "it does not tell who has an account");
        assert_eq!(count(t, "kratos_identities").await, 0);
        assert_eq!(count(t, "sessions").await, 0);
        assert_eq!(count(t, "users").await, 1);

        // Another address in the same identity that is proved proves nothing about this one.
        kratos.change(|world| world.people.get_mut(&mallory).unwrap().verified = true);
        t.clock.advance(TTL);
        assert_eq!(house.authenticate(&token).await.unwrap().user, anne);
        house.login("anne@example.org").await;
    }

    async fn what_a_stranger_set_on_an_unproved_account_is_gone_when_its_owner_comes(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let theirs = registration("anne@example.org", Role::Enterprise);
        house.identity.accounts.register(&Caller::nobody(), &theirs).await.unwrap();
        let id = house.id_of("anne@example.org").await;
        let mailed = house.mail_token("anne@example.org").await;
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        let principal = house.authenticate(&token).await.unwrap();
        assert_eq!((principal.user, principal.role), (id, Role::User));
        let login = house.login_with("anne@example.org", PASSWORD).await;
        assert_eq!(code(login), "invalid_credentials");
        let verified = house.identity.accounts.verify_email(&Caller::nobody(), &mailed, None).await;
        assert_eq!(code(verified), "token_spent");
        let me = house.send("GET", "/v1/me", &by(&principal), None).await.json;
        assert_eq!(me["name"], "Anne of Kratos");
    }

    async fn what_an_admin_has_made_or_imported_stays_when_its_owner_comes(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let root = house.root().await;
        let made = json!({ "name": "Vera", "email": "vera@example.org", "role": "verifier",
                           "approved": true });
        let made = house.send("POST", "/v1/users", &root, Some(made)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{:?}", made.error);
        let theirs = registration("ida@example.org", Role::Enterprise);
        house.identity.accounts.register(&Caller::nobody(), &theirs).await.unwrap();
        let ida = house.id_of("ida@example.org").await;
        t.db.run("test", |tx| async move {
            let sql = "INSERT INTO imported_users (user_id, imported_at) VALUES ($1, $2)";
            tx.execute(sql, params![ida, tx.now()]).await?;
            Ok(())
        }).await.unwrap();
        for (email, role) in
            [("vera@example.org", Role::Verifier), ("ida@example.org", Role::Enterprise)]
        {
            let id = house.id_of(email).await;
            let token = kratos.sign_in(kratos.person(email, true));
            let principal = house.authenticate(&token).await.unwrap();
            assert_eq!((principal.user, principal.role), (id, role));
            assert!(principal.email_verified);
        }
        // With the password that was imported one signs in as before.
        house.login("ida@example.org").await;
    }

    async fn what_an_unproved_session_has_gathered_is_not_handed_on(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let theirs = registration("anne@example.org", Role::User);
        let accounts = &house.identity.accounts;
        let nobody = Caller::nobody();
        let squatter = accounts.enter(&nobody, &theirs, &[], false, Wish::default()).await.unwrap();
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        let principal = house.authenticate(&token).await.unwrap();
        assert_ne!(principal.user, squatter.account.id, "an account of her own");
        assert_eq!(house.id_of("anne@example.org").await, principal.user);
        assert!(house.authenticate(squatter.tokens.access.expose()).await.is_err());
    }

    async fn a_native_registration_does_not_inherit_what_kratos_began(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let mallory = kratos.person("anne@example.org", false);
        assert_eq!(told(&house, "registration", mallory).await, "waiting");
        let token = kratos.sign_in(mallory);
        assert_eq!(code(house.authenticate(&token).await), "email_not_verified");
        let anne = house.signed_in("anne@example.org", Role::User).await;
        t.clock.advance(TTL);
        assert_eq!(code(house.authenticate(&token).await), "email_not_verified");
        assert_eq!(live_sessions(&house, &house.caller(&anne).await).await.len(), 1);
    }

    async fn what_ends_at_kratos_is_refused_within_the_stated_time(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        let principal = house.authenticate(&token).await.unwrap();
        kratos.set_seat(&token, |seat| seat.active = false);
        t.clock.advance(TTL - Duration::from_millis(1));
        house.authenticate(&token).await.unwrap();
        assert_eq!(kratos.asked(), 1);
        t.clock.advance(Duration::from_millis(1));
        assert!(house.identity.cached(&token, t.db.world().now()).is_none());
        assert_eq!(code(house.authenticate(&token).await), "session_ended");
        // What was known of it has ended here as well, under every presentation.
        let sql = "SELECT ended_reason FROM sessions WHERE id = $1";
        let id = principal.session;
        let reason: String = t.db.one(sql, params![id], |row| row.take()).await.unwrap();
        assert_eq!(reason, "elsewhere");
        assert_eq!(code(house.authenticate(&token).await), "session_ended");
        assert_eq!(kratos.asked(), 2, "and is not asked about again at once");
    }

    async fn no_answer_outlives_the_session_it_speaks_of(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        kratos.set_seat(&token, |seat| {
            seat.expires_at = seat.authenticated_at + Duration::from_secs(4);
        });
        house.authenticate(&token).await.unwrap();
        t.clock.advance(Duration::from_secs(4));
        assert!(house.identity.cached(&token, t.db.world().now()).is_none());
        assert_eq!(code(house.authenticate(&token).await), "session_ended");
    }

    async fn nothing_that_outlives_it_is_made_of_a_session_of_kratos(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        let anne = by(&house.authenticate(&token).await.unwrap());
        let sessions = &house.identity.sessions;
        assert_eq!(code(sessions.begin_another(&anne, None).await), "session_kept_elsewhere");
        let locator = Locator::Id(anne.principal().unwrap().session);
        let later = t.db.world().now() + Duration::from_secs(3600);
        for caller in [&anne, &house.root().await] {
            let extended = sessions.extend(caller, locator, later).await;
            assert_eq!(code(extended), "session_kept_elsewhere");
        }
        assert_eq!(live_sessions(&house, &anne).await.len(), 1);
    }

    async fn a_session_extended_at_kratos_lives_on_here(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        let hour = Duration::from_secs(3600);
        kratos.set_seat(&token, |seat| seat.expires_at = seat.authenticated_at + hour);
        let before = house.authenticate(&token).await.unwrap();
        t.clock.advance(hour / 2);
        kratos.set_seat(&token, |seat| seat.expires_at = seat.expires_at + hour);
        house.authenticate(&token).await.unwrap();
        t.clock.advance(hour);
        assert_eq!(house.authenticate(&token).await.unwrap().session, before.session);
        assert!(house.facts().await.contains(&"session.renewed".to_owned()));
    }

    async fn what_ends_here_is_dead_at_once_and_ends_at_kratos(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        let principal = house.authenticate(&token).await.unwrap();
        let sessions = &house.identity.sessions;
        sessions.end(&by(&principal), principal.session, Reason::Revoked).await.unwrap();
        assert_eq!(code(house.authenticate(&token).await), "session_ended");
        assert_eq!(code(house.authenticate(&cookie_of(&token)).await), "session_ended");
        assert!(kratos.seat(&token).active, "Kratos has yet to be told");

        kratos.change(|world| world.fault = Some(Fault::Status(500)));
        house.worker.drain().await.unwrap();
        t.clock.advance(Duration::from_secs(30));
        kratos.change(|world| world.fault = None);
        assert_eq!(code(house.authenticate(&token).await), "session_ended", "not believed again");
        house.worker.drain().await.unwrap();
        assert!(!kratos.seat(&token).active, "tried again until it was done");
        assert_eq!(count(t, "sessions").await, 1);
    }

    async fn every_way_to_end_sessions_reaches_kratos(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let admin = house.signed_in("root@example.org", Role::Admin).await;
        let person = kratos.person("anne@example.org", true);
        let sign_in = async || {
            let token = kratos.sign_in(person);
            (house.authenticate(&token).await.unwrap(), token)
        };
        let (principal, one) = sign_in().await;
        house.identity.sessions.logout(&by(&principal)).await.unwrap();
        let (_, two) = sign_in().await;
        let (principal, three) = sign_in().await;
        house.identity.sessions.end_all(&by(&principal), true).await.unwrap();
        house.worker.drain().await.unwrap();
        let alive = |token: &str| kratos.seat(token).active;
        assert_eq!([alive(&one), alive(&two), alive(&three)], [false, false, true]);
        let command = crate::account::Command::Suspend;
        let caller = house.caller(&admin).await;
        house.identity.accounts.command(&caller, principal.user, command).await.unwrap();
        house.worker.drain().await.unwrap();
        assert!(!alive(&three));
        let locked = kratos.sign_in(person);
        assert_eq!(code(house.authenticate(&locked).await), "account_suspended");
    }

    async fn one_login_too_many_displaces_the_oldest_at_kratos_too(t: &TestDb) {
        let kratos = Kratos::start(&t.clock).await;
        let policy = Policy { sessions_max: 2, ..Policies::default().user };
        let sessions = Policies { user: policy, ..Policies::default() };
        let kratos_options = at(&kratos, Mode::Both);
        let options = IdentityOptions { sessions, kratos: kratos_options, ..options(t) };
        let house = house_of(t, options);
        let person = kratos.person("anne@example.org", true);
        let mut tokens = Vec::new();
        for _ in 0..3 {
            tokens.push(kratos.sign_in(person));
            house.authenticate(tokens.last().unwrap()).await.unwrap();
        }
        house.worker.drain().await.unwrap();
        let alive: Vec<_> = tokens.iter().map(|token| kratos.seat(token).active).collect();
        assert_eq!(alive, [false, true, true]);
    }

    async fn a_session_unused_for_too_long_is_over_at_both_places(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        house.authenticate(&token).await.unwrap();
        t.clock.advance(Policies::default().user.idle + Duration::from_secs(1));
        assert_eq!(code(house.authenticate(&token).await), "session_expired");
        house.worker.drain().await.unwrap();
        assert!(!kratos.seat(&token).active);
    }

    async fn a_second_factor_that_is_due_is_asked_for_and_then_counts(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        kratos.set_seat(&token, |seat| seat.second_factor_due = true);
        let due = house.authenticate(&token).await.unwrap_err();
        assert_eq!((due.kind(), due.code()), (Kind::Forbidden, "second_factor_required"));
        t.clock.advance(Duration::from_secs(1));
        kratos.set_seat(&token, |seat| {
            (seat.second_factor_due, seat.level) = (false, "aal2");
            seat.authenticated_at = t.db.world().now();
        });
        let principal = house.authenticate(&token).await.unwrap();
        assert_eq!(principal.level, Level::Two);
        assert_eq!(principal.proven_at, t.db.world().now());
    }

    async fn a_level_that_rises_at_kratos_rises_here(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        let before = house.authenticate(&token).await.unwrap();
        assert_eq!(before.level, Level::One);
        t.clock.advance(TTL);
        let now = t.db.world().now();
        kratos.set_seat(&token, |seat| (seat.level, seat.authenticated_at) = ("aal2", now));
        let after = house.authenticate(&token).await.unwrap();
        assert_eq!((after.level, after.proven_at), (Level::Two, now));
        assert_eq!(after.session, before.session);
        assert_eq!(house.identity.cached(&token, now).unwrap().level, Level::Two);
    }

    async fn one_factor_at_kratos_is_no_fresh_proof_where_there_is_an_app(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let native = house.signed_in("anne@example.org", Role::User).await;
        let person = kratos.person("anne@example.org", true);
        let token = kratos.sign_in(person);
        let now = || t.db.world().now();
        assert_eq!(house.authenticate(&token).await.unwrap().proven_at, now());
        enrol(&house, &house.caller(&native).await).await;
        t.clock.advance(TTL);
        // Neither the login at Kratos once more nor another one.
        kratos.set_seat(&token, |seat| seat.authenticated_at = now());
        for token in [&token, &kratos.sign_in(person)] {
            let principal = house.authenticate(token).await.unwrap();
            assert_eq!((principal.level, principal.proven_at.micros()), (Level::One, 0));
        }
        t.clock.advance(TTL);
        kratos.set_seat(&token, |seat| (seat.level, seat.authenticated_at) = ("aal2", now()));
        let principal = house.authenticate(&token).await.unwrap();
        assert_eq!((principal.level, principal.proven_at), (Level::Two, now()));
    }

    async fn half_an_admin_of_kratos_shows_the_other_half_there(t: &TestDb) {
        let (kratos, house) = both(t).await;
        house.member("root@example.org", Role::Admin).await;
        let token = kratos.sign_in(kratos.person("root@example.org", true));
        let add = async |path: &str| {
            let admin = by(&house.authenticate(&token).await.unwrap());
            let begun = house.send("POST", path, &admin, None).await;
            begun.error.map_or_else(|| "ok".to_owned(), |error| error.code().to_owned())
        };
        for path in ["/v1/auth/mfa/enroll", "/v1/auth/passkeys/register/start"] {
            assert_eq!(add(path).await, "second_factor_required", "{path}");
        }
        t.clock.advance(TTL);
        let now = t.db.world().now();
        kratos.set_seat(&token, |seat| (seat.level, seat.authenticated_at) = ("aal2", now));
        assert_eq!(add("/v1/auth/mfa/enroll").await, "ok");
    }

    async fn what_is_not_active_is_refused(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let person = kratos.person("anne@example.org", true);
        let off = kratos.sign_in(person);
        kratos.set_seat(&off, |seat| seat.active = false);
        let over = kratos.sign_in(person);
        kratos.set_seat(&over, |seat| seat.expires_at = seat.authenticated_at);
        let disabled = kratos.person("bob@example.org", true);
        let of_disabled = kratos.sign_in(disabled);
        kratos.change(|world| world.people.get_mut(&disabled).unwrap().active = false);
        let nobodys = "ory_st_00000000000000000000000000009999".to_owned();
        for token in [off, over, of_disabled, nobodys] {
            let refused = house.authenticate(&token).await.unwrap_err();
            assert_eq!(refused.kind(), Kind::Unauthenticated, "{token}");
        }
        let nameless = kratos.person("x", true);
        kratos.change(|world| world.people.get_mut(&nameless).unwrap().email = None);
        assert_eq!(code(house.authenticate(&kratos.sign_in(nameless)).await), "email_missing");
        assert_eq!(count(t, "users").await, 0);
    }

    async fn failures_of_kratos_are_its_own(t: &TestDb) {
        let mut kratos = Kratos::start(&t.clock).await;
        let timeout = Duration::from_millis(300);
        let house = house_in(t, Options { timeout, ..at(&kratos, Mode::Both) });
        let native = house.signed_in("anne@example.org", Role::User).await;
        let person = kratos.person("anne@example.org", true);
        let known = kratos.sign_in(person);
        house.authenticate(&known).await.unwrap();
        for fault in [
            Fault::Slow,
            Fault::Status(500),
            Fault::Status(502),
            Fault::Status(302),
            Fault::Garbage,
            Fault::Foreign(401),
            Fault::Foreign(403),
            Fault::Foreign(404),
            Fault::Endless,
        ] {
            kratos.change(|world| world.fault = Some(fault));
            let token = kratos.sign_in(person);
            t.clock.advance(TTL);
            let error = house.authenticate(&known).await.unwrap_err();
            assert_eq!(error.code(), "kratos_unavailable", "{fault:?}");
            let error = house.authenticate(&token).await.unwrap_err();
            assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "kratos_unavailable"));
            assert!(error.retry_after_seconds().is_some(), "{fault:?}");
            kratos.change(|world| world.fault = None);
            // An answer closes the breaker; nothing was remembered of the failure.
            house.authenticate(&token).await.unwrap();
            house.authenticate(&known).await.unwrap();
        }
        kratos.stop().await;
        let refused = house.authenticate(&kratos.sign_in(person)).await.unwrap_err();
        assert_eq!(refused.code(), "kratos_unavailable");
        house.authenticate(&known).await.unwrap();
        house.authenticate(native.tokens.access.expose()).await.unwrap();
        house.login("anne@example.org").await;
    }

    async fn a_kratos_that_fails_again_and_again_is_left_alone_for_a_while(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let person = kratos.person("anne@example.org", true);
        // What Kratos refuses is an answer, however often.
        for number in 0..20 {
            let nobodys = format!("ory_st_0000000000000000000000000000{number:04}x");
            assert_eq!(code(house.authenticate(&nobodys).await), "session_ended");
        }
        kratos.change(|world| world.fault = Some(Fault::Status(500)));
        let token = kratos.sign_in(person);
        for _ in 0..5 {
            house.authenticate(&token).await.unwrap_err();
        }
        let asked = kratos.asked();
        let open = house.authenticate(&token).await.unwrap_err();
        assert_eq!((open.kind(), open.retry_after_seconds()), (Kind::Unavailable, Some(10)));
        assert_eq!(kratos.asked(), asked, "nobody is sent there to fail");
        let native = house.signed_in("anne@example.org", Role::User).await;
        house.authenticate(native.tokens.access.expose()).await.unwrap();
        kratos.change(|world| world.fault = None);
        assert!(house.authenticate(&token).await.is_err(), "still resting");
        t.clock.advance(Duration::from_secs(10));
        house.authenticate(&token).await.unwrap();
    }

    async fn what_is_made_up_fills_no_memory_and_is_asked_about_little(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let real = kratos.sign_in(kratos.person("anne@example.org", true));
        house.authenticate(&real).await.unwrap();
        let before = kratos.asked();
        // What Kratos never made is not asked about.
        for number in 0..1000 {
            let shapeless = format!("ory_st_{number}!");
            assert_eq!(code(house.authenticate(&shapeless).await), "invalid_token");
            let cookie = format!("ory_kratos_session=\"{number}\"");
            assert_eq!(code(house.authenticate(&cookie).await), "invalid_token");
        }
        assert_eq!(kratos.asked(), before);
        // The same again is asked about once.
        let same = "ory_st_11111111111111111111111111111111";
        for _ in 0..1000 {
            assert_eq!(code(house.authenticate(same).await), "session_ended");
        }
        assert_eq!(kratos.asked(), before + 1);
        // Each different one is, but never many at once.
        let junk: Vec<_> = (0..1000).map(|number| format!("ory_st_junk{number:028}")).collect();
        join_all(junk.iter().map(|token| house.authenticate(token))).await;
        assert!(kratos.most_at_once() <= 32, "{}", kratos.most_at_once());
        let (admitted, refused, under_way) = house.identity.kratos.remote().unwrap().kept();
        assert!(admitted == 1 && refused <= 1001 && under_way == 0, "{admitted} {refused}");
        let asked = kratos.asked();
        house.authenticate(&real).await.unwrap();
        assert_eq!(kratos.asked(), asked, "whoever is known stays known");
    }

    async fn many_who_show_the_same_at_once_are_one_question(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        let asks = join_all((0..50).map(|_| house.authenticate(&token))).await;
        let sessions: BTreeSet<_> = asks.into_iter().map(|ask| ask.unwrap().session).collect();
        assert_eq!((sessions.len(), kratos.asked()), (1, 1));
        // Two presentations of one session, both new: two questions and one session.
        let other = kratos.sign_in(kratos.person("bob@example.org", true));
        let cookie = cookie_of(&other);
        let (one, two) =
            futures_util::join!(house.authenticate(&other), house.authenticate(&cookie));
        assert_eq!(one.unwrap().session, two.unwrap().session);
        assert_eq!(count(t, "sessions").await, 2);
        assert_eq!(count(t, "users").await, 2);
    }

    async fn replicas_agree_on_a_session_that_both_see_first(t: &TestDb) {
        let (kratos, here) = both(t).await;
        let there = house_in(t, at(&kratos, Mode::Both));
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        let (one, two) = futures_util::join!(here.authenticate(&token), there.authenticate(&token));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.session, two.session);
        here.identity.sessions.logout(&by(&one)).await.unwrap();
        if t.is_postgres() {
            t.clock.advance(Duration::from_secs(1));
            assert_eq!(code(there.authenticate(&token).await), "session_ended");
        }
    }

    async fn where_kratos_is_the_only_source_no_session_begins_without_it(t: &TestDb) {
        let kratos = Kratos::start(&t.clock).await;
        let house = house_in(t, at(&kratos, Mode::Kratos));
        house.member("anne@example.org", Role::User).await;
        let refused = house.login_with("anne@example.org", PASSWORD).await;
        assert_eq!(code(refused), "sign_in_elsewhere");
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        let principal = house.authenticate(&token).await.unwrap();
        let whoami = house.send("GET", "/sessions/whoami", &by(&principal), None).await;
        assert_eq!(whoami.status, StatusCode::NOT_FOUND, "Kratos answers for itself");
    }

    async fn without_kratos_nothing_of_it_is_believed_or_asked_about(t: &TestDb) {
        let kratos = Kratos::start(&t.clock).await;
        let house = house_in(t, at(&kratos, Mode::Native));
        let person = kratos.person("anne@example.org", true);
        let token = kratos.sign_in(person);
        for presented in [&token, &cookie_of(&token)] {
            assert_eq!(code(house.authenticate(presented).await), "invalid_token");
        }
        let answer = hook(&house, "login", Some(KEY), &json!({ "identity_id": person })).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(kratos.asked(), 0);
    }

    async fn hooks_show_their_key_and_name_a_flow(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let body = json!({ "identity_id": kratos.person("anne@example.org", true) });
        let status = async |flow: &str, key: Option<&str>| hook(&house, flow, key, &body).await.status;
        for wrong in [None, Some(""), Some("Bearer "), Some("a key for hook"), Some("Basic eDp5")] {
            assert_eq!(status("registration", wrong).await, StatusCode::UNAUTHORIZED, "{wrong:?}");
            assert_eq!(status("nothing", wrong).await, StatusCode::UNAUTHORIZED, "{wrong:?}");
        }
        assert_eq!(status("nothing", Some(KEY)).await, StatusCode::NOT_FOUND);
        assert_eq!(count(t, "users").await, 0);
        assert_eq!(status("registration", Some(KEY)).await, StatusCode::OK);
        let bearer = format!("Bearer {KEY}");
        assert_eq!(status("registration", Some(&bearer)).await, StatusCode::OK);
        let bad = hook(&house, "login", Some(KEY), &json!({ "identity_id": "x" })).await;
        assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
        let unknown = json!({ "identity_id": Uuid::from_u128(1) });
        let unknown = hook(&house, "login", Some(KEY), &unknown).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
        kratos.change(|world| world.fault = Some(Fault::Status(500)));
        assert_eq!(status("login", Some(KEY)).await, StatusCode::SERVICE_UNAVAILABLE);
    }

    async fn a_stolen_hook_key_links_nothing(t: &TestDb) {
        let (kratos, house) = both(t).await;
        house.member("anne@example.org", Role::Admin).await;
        let mallory = kratos.person("mallory@example.org", false);
        let lie = json!({ "identity_id": mallory, "traits": { "email": "anne@example.org" },
            "email": "anne@example.org", "verified": true });
        let answer = hook(&house, "verification", Some(KEY), &lie).await;
        assert_eq!(answer.json["outcome"], "waiting");
        assert_eq!(count(t, "kratos_identities").await, 0);
    }

    async fn a_person_who_registers_at_kratos_is_here_at_once_and_only_once(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let person = kratos.person("anne@example.org", false);
        assert_eq!(told(&house, "registration", person).await, "waiting");
        let id = house.id_of("anne@example.org").await;
        assert_eq!(told(&house, "registration", person).await, "waiting");
        kratos.change(|world| world.people.get_mut(&person).unwrap().verified = true);
        assert_eq!(told(&house, "verification", person).await, "linked");
        assert_eq!(told(&house, "verification", person).await, "unchanged");
        let facts = house.facts().await;
        assert_eq!(facts, ["user.registered", "user.registered", "kratos.linked"]);
        let token = kratos.sign_in(person);
        assert_eq!(house.authenticate(&token).await.unwrap().user, id);
        let other = kratos.person("bob@example.org", true);
        assert_eq!(told(&house, "registration", other).await, "created");
        assert_eq!(told(&house, "registration", other).await, "unchanged");
    }

    async fn settings_of_kratos_hold_here_where_they_can(t: &TestDb) {
        let (kratos, house) = both(t).await;
        house.member("taken@example.org", Role::User).await;
        let person = kratos.person("anne@example.org", true);
        let token = kratos.sign_in(person);
        let principal = house.authenticate(&token).await.unwrap();
        let change = |email: &str, verified, name: &str| {
            kratos.change(|world| {
                let person = world.people.get_mut(&person).unwrap();
                person.email = Some(email.to_owned());
                (person.verified, person.name) = (verified, json!(name));
            });
        };
        let me = async || {
            let me = house.send("GET", "/v1/me", &by(&principal), None).await.json;
            (me["name"].clone(), me["email"].clone())
        };
        change("cooper@example.org", false, "Anne Cooper");
        assert_eq!(told(&house, "settings", person).await, "updated");
        assert_eq!(me().await, (json!("Anne Cooper"), json!("anne@example.org")), "not proved yet");
        change("cooper@example.org", true, "Anne C.");
        assert_eq!(told(&house, "verification", person).await, "updated");
        assert_eq!(me().await, (json!("Anne Cooper"), json!("cooper@example.org")));
        change("taken@example.org", true, "Anne Cooper");
        assert_eq!(told(&house, "settings", person).await, "unchanged");
        assert_eq!(me().await.1, "cooper@example.org", "another account's address stays there");
    }

    async fn an_address_that_follows_kratos_leaves_nothing_good_at_the_one_before(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let native = house.signed_in("anne@example.org", Role::User).await;
        let anne = house.caller(&native).await;
        let other = Some(json!({ "email": "anne@example.net" }));
        house.send("POST", "/v1/me/email", &anne, other).await;
        let offered = house.mail_token("anne@example.net").await;
        let person = kratos.person("anne@example.org", true);
        house.authenticate(&kratos.sign_in(person)).await.unwrap();
        let (accounts, recovery) = (&house.identity.accounts, &house.identity.recovery);
        let nobody = Caller::nobody();
        let taken = accounts.change_email(&nobody, &offered).await;
        assert_eq!(code(taken), "address_kept_elsewhere", "asked for before Kratos kept it");
        let old = Email::parse("anne@example.org").unwrap();
        recovery.forgot_password(&nobody, &old).await.unwrap();
        let reset = house.mail_token("anne@example.org").await;

        let move_to = |email: &str| {
            kratos.change(|world| {
                world.people.get_mut(&person).unwrap().email = Some(email.to_owned());
            });
        };
        move_to("cooper@example.org");
        assert_eq!(told(&house, "settings", person).await, "updated");
        let refused = recovery.reset_password(&nobody, &reset, "nine grey herons".to_owned().into());
        assert_eq!(code(refused.await), "token_spent");
        house.worker.drain().await.unwrap();
        let mails = sink::list(&t.db, Some("anne@example.org"), 1).await.unwrap();
        assert_eq!(mails[0].template, "account.email_changed");

        // An account that was given up follows nobody.
        t.db.run("test", |tx| async move {
            tx.execute("UPDATE users SET status = 'closed'", &[]).await?;
            Ok(())
        }).await.unwrap();
        move_to("late@example.org");
        assert_eq!(told(&house, "settings", person).await, "unchanged");
        assert_eq!(house.id_of("cooper@example.org").await, native.account.id);
    }

    async fn an_identity_that_is_switched_off_or_gone_loses_its_sessions(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let native = house.signed_in("anne@example.org", Role::User).await;
        let person = kratos.person("anne@example.org", true);
        let token = kratos.sign_in(person);
        house.authenticate(&token).await.unwrap();
        kratos.change(|world| world.people.get_mut(&person).unwrap().active = false);
        assert_eq!(told(&house, "settings", person).await, "ended");
        assert_eq!(code(house.authenticate(&token).await), "session_ended");
        house.authenticate(native.tokens.access.expose()).await.unwrap();
        kratos.change(|world| world.people.remove(&person));
        assert_eq!(told(&house, "settings", person).await, "ended");
    }

    async fn sessions_that_begin_and_end_unseen_at_kratos_do_so_here(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let person = kratos.person("anne@example.org", true);
        let token = kratos.sign_in(person);
        let principal = house.authenticate(&token).await.unwrap();
        let (phone, tablet) = (kratos.sign_in(person), kratos.sign_in(person));
        t.clock.advance(Duration::from_secs(1));
        told(&house, "login", person).await;
        house.worker.drain().await.unwrap();
        assert_eq!(live_sessions(&house, &by(&principal)).await.len(), 3);
        kratos.set_seat(&phone, |seat| seat.active = false);
        t.clock.advance(Duration::from_secs(1));
        told(&house, "settings", person).await;
        house.worker.drain().await.unwrap();
        assert_eq!(live_sessions(&house, &by(&principal)).await.len(), 2);
        // The others end here, and so at Kratos, though this platform never saw them used.
        house.identity.sessions.end_all(&by(&principal), true).await.unwrap();
        house.worker.drain().await.unwrap();
        assert!(!kratos.seat(&tablet).active && kratos.seat(&token).active);
    }

    async fn what_has_ended_here_stays_so_when_its_row_is_long_gone(t: &TestDb) {
        let (kratos, house) = both(t).await;
        let token = kratos.sign_in(kratos.person("anne@example.org", true));
        let principal = house.authenticate(&token).await.unwrap();
        house.identity.sessions.logout(&by(&principal)).await.unwrap();
        kratos.set_seat(&token, |seat| {
            seat.expires_at = seat.expires_at + Duration::from_secs(400 * 24 * 3600);
        });
        // Kratos never hears of it.
        t.db.run("test", |tx| async move {
            tx.execute("DELETE FROM jobs", &[]).await?;
            Ok(tx.execute("DELETE FROM sessions", &[]).await.map(drop)?)
        }).await.unwrap();
        t.clock.advance(TTL);
        assert_eq!(code(house.authenticate(&token).await), "session_ended");
        assert_eq!(count(t, "sessions").await, 0);
    }

    async fn whoami_answers_in_kratos_s_shape(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let answer = house.send("GET", "/sessions/whoami", &caller, None).await;
        assert_eq!(answer.status, StatusCode::OK);
        conforms(&answer.json, "session");
        let user = anne.account.id.uuid().to_string();
        assert_eq!(answer.headers["x-kratos-authenticated-identity-id"], user.as_str());
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
        let session = &answer.json;
        assert_eq!(session["id"], anne.session.uuid().to_string());
        assert_eq!(session["active"], true);
        assert_eq!(session["authenticator_assurance_level"], "aal1");
        assert_eq!(session["authentication_methods"][0]["method"], "password");
        assert_eq!(session["devices"][0]["user_agent"], "Firefox on Linux");
        let identity = &session["identity"];
        assert_eq!(identity["id"], user);
        let traits = json!({ "email": "anne@example.org", "name": "Anne Cooper" });
        assert_eq!(identity["traits"], traits);
        let address = &identity["verifiable_addresses"][0];
        assert_eq!((&address["verified"], &address["via"]), (&json!(true), &json!("email")));

        let schema = house.send("GET", "/schemas/default", &Caller::nobody(), None).await;
        assert_eq!(identity["schema_url"], schema.json["$id"]);
        let other = house.send("GET", "/schemas/other", &Caller::nobody(), None).await;
        assert_eq!(other.status, StatusCode::NOT_FOUND);
    }

    async fn whoami_of_a_remembered_session_needs_no_statement(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let first = house.send("GET", "/sessions/whoami", &caller, None).await.json;
        t.db.run("test", |tx| async move {
            tx.execute("DELETE FROM sessions", &[]).await?;
            Ok(tx.execute("DELETE FROM users", &[]).await.map(drop)?)
        }).await.unwrap();
        let again = house.send("GET", "/sessions/whoami", &caller, None).await;
        assert_eq!(again.json, first);
    }

    async fn whoami_tells_of_a_change_at_once(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let name = async || {
            let caller = house.caller(&anne).await;
            let body = house.send("GET", "/sessions/whoami", &caller, None).await.json;
            body["identity"]["traits"]["name"].clone()
        };
        assert_eq!(name().await, "Anne Cooper");
        let body = Some(json!({ "name": "Anne C." }));
        house.send("PATCH", "/v1/me", &caller, body).await;
        assert_eq!(name().await, "Anne C.");
    }

    async fn a_session_below_the_demanded_level_is_told_to_rise(t: &TestDb) {
        let demanding = Options { whoami_level: Level::Two, ..Options::default() };
        let house = house_in(t, demanding);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        for path in ["/sessions/whoami", "/sessions"] {
            let answer = house.send("GET", path, &caller, None).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN);
            let shown = render(&answer.error.unwrap(), "r", ErrorShape::Kratos);
            let body: Json = serde_json::from_slice(&shown.body).unwrap();
            conforms(&body, "errorGeneric");
            assert_eq!(body["error"]["id"], "session_aal2_required");
        }
        let mut principal = (*caller.principal.clone().unwrap()).clone();
        principal.level = Level::Two;
        let risen = house.send("GET", "/sessions/whoami", &Caller::of(principal), None).await;
        assert_eq!(risen.status, StatusCode::OK);
    }

    async fn a_tokenised_session_can_be_checked_and_opens_nothing(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let path = "/sessions/whoami?tokenize_as=any_template";
        let answer = house.send("GET", path, &caller, None).await;
        conforms(&answer.json, "session");
        let token = answer.json["tokenized"].as_str().unwrap();
        assert!(house.authenticate(token).await.is_err());
        let part = |index: usize| -> Json {
            use base64::Engine;
            let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
            let part = token.split('.').nth(index).unwrap();
            serde_json::from_slice(&engine.decode(part).unwrap()).unwrap()
        };
        assert_eq!(part(0)["typ"], "JWT");
        let claims = part(1);
        assert_eq!(claims["sub"], anne.account.id.uuid().to_string());
        assert_eq!(claims["sid"], anne.session.uuid().to_string());
        assert_eq!(claims["exp"], t.db.world().now().seconds() + 60);
        let plain = house.send("GET", "/sessions/whoami?tokenize_as=", &caller, None).await;
        assert!(plain.json["tokenized"].is_null());
    }

    async fn nobody_gets_a_statement_that_they_are_the_one_they_look_at(t: &TestDb) {
        let house = house(t);
        let root = house.root().await;
        let anne = house.member("anne@example.org", Role::User).await;
        let path = format!("/v1/admin/users/{anne}/impersonate");
        let body = Some(json!({ "reason": "Ticket 4711" }));
        let started = house.send("POST", &path, &root, body).await;
        let token = started.json["accessToken"].as_str().unwrap();
        let seen = by(&house.authenticate(token).await.unwrap());
        let refused = house.send("GET", "/sessions/whoami?tokenize_as=x", &seen, None).await;
        assert_eq!(refused.error.unwrap().code(), "impersonated");
        assert_eq!(house.send("GET", "/sessions/whoami", &seen, None).await.status, StatusCode::OK);
    }

    async fn other_sessions_are_listed_in_pages_without_the_current_one(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let mut others: Vec<SignedIn> = Vec::new();
        for _ in 0..5 {
            others.push(house.login("anne@example.org").await);
        }
        house.signed_in("eve@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let ids = |answer: &Answer| -> Vec<String> {
            let rows = answer.json.as_array().unwrap();
            rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
        };
        let expected: Vec<_> =
            others.iter().rev().map(|other| other.session.uuid().to_string()).collect();
        let all = house.send("GET", "/sessions", &caller, None).await;
        all.json.as_array().unwrap().iter().for_each(|row| conforms(row, "session"));
        assert_eq!(ids(&all), expected);
        assert_eq!(all.headers["x-total-count"], "5");
        assert!(all.headers.get(header::LINK).is_none());

        let mut seen = Vec::new();
        let mut path = "/sessions?page_size=2".to_owned();
        for _ in 0..3 {
            let page = house.send("GET", &path, &caller, None).await;
            seen.extend(ids(&page));
            let Some(link) = page.headers.get(header::LINK) else { break };
            let link = link.to_str().unwrap();
            path = link[1..].split('>').next().unwrap().to_owned();
        }
        assert_eq!(seen, expected);
        let third = house.send("GET", "/sessions?per_page=2&page=3", &caller, None).await;
        assert_eq!(ids(&third), expected[4..]);
        let beyond = house.send("GET", "/sessions?per_page=2&page=9", &caller, None).await;
        assert_eq!(ids(&beyond), [""; 0]);
        for wrong in ["page_size=0", "per_page=1001", "page=x", "page_token=x"] {
            let answer = house.send("GET", &format!("/sessions?{wrong}"), &caller, None).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }

    async fn other_sessions_are_ended_and_the_current_one_is_not(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let phone = house.login("anne@example.org").await;
        house.login("anne@example.org").await;
        let eve = house.signed_in("eve@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let end = async |id: &str| house.send("DELETE", &format!("/sessions/{id}"), &caller, None).await;
        let current = end(&anne.session.uuid().to_string()).await;
        assert_eq!(current.status, StatusCode::BAD_REQUEST);
        let shown = render(&current.error.unwrap(), "r", ErrorShape::Kratos);
        conforms(&serde_json::from_slice(&shown.body).unwrap(), "errorGeneric");
        assert_eq!(end(&eve.session.uuid().to_string()).await.status, StatusCode::NOT_FOUND);
        assert_eq!(end("whoever").await.status, StatusCode::NOT_FOUND);
        let ended = end(&phone.session.uuid().to_string()).await;
        assert_eq!((ended.status, ended.json), (StatusCode::NO_CONTENT, Json::Null));
        assert!(house.authenticate(phone.tokens.access.expose()).await.is_err());
        let rest = house.send("DELETE", "/sessions", &caller, None).await;
        conforms(&rest.json, "deleteMySessionsCount");
        assert_eq!(rest.json, json!({ "count": 1 }));
        house.authenticate(anne.tokens.access.expose()).await.unwrap();
        house.authenticate(eve.tokens.access.expose()).await.unwrap();
    }

    async fn software_made_for_kratos_shows_our_sessions_in_its_own_ways(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let opaque = anne.cookie.as_ref().unwrap().0.expose();
        let access = anne.tokens.access.expose();
        for ours in [opaque, access] {
            let cookie = format!("ory_kratos_session={ours}");
            assert_eq!(house.authenticate(&cookie).await.unwrap().session, anne.session);
        }
        let unknown = format!("ory_kratos_session={}", "A".repeat(43));
        assert_eq!(code(house.authenticate(&unknown).await), "invalid_token");
    }
}

#[test]
fn errors_have_kratos_s_shape() {
    let errors = [
        (Error::unauthenticated("missing_auth", "No."), 401, "session_inactive"),
        (Error::forbidden("second_factor_required", "No."), 403, "session_aal2_required"),
        (Error::not_found("session"), 404, "not_found"),
        (Error::invalid("current_session", "No."), 400, "current_session"),
        (Error::internal("a secret"), 500, "internal"),
        (Error::limited(3), 429, "rate_limited"),
    ];
    for (error, status, id) in errors {
        let shown = render(&error, "request-1", ErrorShape::Kratos);
        assert_eq!(shown.content_type, "application/json");
        let body: Json = serde_json::from_slice(&shown.body).unwrap();
        conforms(&body, "errorGeneric");
        let inner = &body["error"];
        assert_eq!((&inner["code"], &inner["id"]), (&json!(status), &json!(id)));
        assert_eq!(inner["request"], "request-1");
        assert!(!body.to_string().contains("secret"));
    }
}
