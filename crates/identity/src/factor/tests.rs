use std::time::Duration;

use futures_util::future::join_all;
use http::{StatusCode, header};
use kernel::{Caller, Level, Principal, Role};
use platform::db::Read;
use platform::mail::sink;
use platform::on_both_engines;
use platform::testing::TestDb;
use rpc::users::Users;
use serde_json::{Value as Json, json};

use super::{Code, Enrolled, assure, totp, ways_to_prove};
use crate::account::Email;
use crate::password::Hashing;
use crate::session::{Login, Method, Policies, Proof};
use crate::testing::{Answer, House, PASSWORD, TABLES, from, house, house_of, options, password};
use crate::{Identity, IdentityOptions};

const ANNE: &str = "anne@example.org";

/// An authenticator app, as it is in a person's hand, and the recovery codes in their drawer.
#[derive(Default)]
struct App {
    secret: String,
    /// Of the session that enrolled it, which was renewed by that.
    token: String,
    recovery_codes: Vec<String>,
}

impl App {
    /// What it shows so many steps from now.
    fn code(&self, t: &TestDb, steps: i64) -> String {
        let at = t.db.world().now().seconds() + steps * 30;
        totp::code(&self.secret, kernel::Timestamp::from_seconds(at)).unwrap()
    }

    /// A code that is never right.
    fn wrong(&self, t: &TestDb) -> String {
        let near: Vec<_> = (-3..=3).map(|steps| self.code(t, steps)).collect();
        (0..).map(|n| format!("{n:06}")).find(|code| !near.contains(code)).unwrap()
    }
}

/// Enrols an app on the account of a signed-in caller. Its next code is one step ahead.
async fn enrol(house: &House<'_>, caller: &Caller) -> App {
    let begun = house.send("POST", "/v1/auth/mfa/enroll", caller, None).await;
    assert_eq!(begun.status, StatusCode::OK);
    let secret = begun.json["secret"].as_str().unwrap().to_owned();
    let mut app = App { secret, ..App::default() };
    let body = json!({ "totp": app.code(house.t, 0) });
    let done = house.send("POST", "/v1/auth/mfa/verify", caller, Some(body)).await;
    assert_eq!(done.status, StatusCode::OK, "{:?}", done.error);
    app.token = done.json["token"].as_str().unwrap().to_owned();
    let codes = done.json["recoveryCodes"].as_array().unwrap();
    app.recovery_codes = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    app
}

/// Anne with an app, half a minute later, so that the code of the enrolment is not the next one.
async fn anne_with_an_app(house: &House<'_>) -> App {
    let signed_in = house.signed_in(ANNE, Role::User).await;
    let app = enrol(house, &house.caller(&signed_in).await).await;
    house.t.clock.advance(Duration::from_secs(30));
    app
}

async fn sign_in(house: &House<'_>, caller: &Caller, body: Json) -> Answer {
    let mut whole = json!({ "email": ANNE, "password": PASSWORD });
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    house.send("POST", "/v1/auth/login", caller, Some(whole)).await
}

/// A right password, and the challenge that it brings.
async fn challenge(house: &House<'_>, caller: &Caller) -> String {
    let asked = sign_in(house, caller, json!({})).await.error.unwrap();
    assert_eq!(asked.code(), "mfa_required");
    let (_, challenge) = asked.members().iter().find(|(name, _)| *name == "challenge").unwrap();
    challenge.as_str().unwrap().to_owned()
}

async fn finish(house: &House<'_>, caller: &Caller, body: Json) -> Answer {
    house.send("POST", "/v1/auth/login/mfa", caller, Some(body)).await
}

fn code_of(answer: &Answer) -> &str {
    answer.error.as_ref().map_or("none", |error| error.code())
}

/// The caller with the tokens of an answer.
async fn by_token(house: &House<'_>, reply: &Json) -> Caller {
    let principal = house.authenticate(reply["accessToken"].as_str().unwrap()).await.unwrap();
    Caller { principal: Some(principal), ..from("192.0.2.1") }
}

async fn templates(house: &House<'_>) -> Vec<String> {
    house.worker.drain().await.unwrap();
    let mails = sink::list(&house.t.db, Some(ANNE), 50).await.unwrap();
    mails.into_iter().rev().map(|mail| mail.template).collect()
}

/// Every way of signing in against everything that may be enrolled: the whole table.
#[test]
fn what_each_door_is_worth() {
    use Method::{Impersonation, Kratos, Passkey, Password, RecoveryCode, Totp};
    let doors: &[&[Method]] = &[
        &[Password],
        &[Password, Totp],
        &[Password, RecoveryCode],
        &[Passkey],
        &[Kratos],
        &[Kratos, Totp],
        &[Impersonation],
        &[Impersonation, Password, Totp],
    ];
    let names = |methods: &[Method]| {
        let names: Vec<_> = methods.iter().map(|method| method.as_str()).collect();
        if names.is_empty() { "-".to_owned() } else { names.join("+") }
    };
    let mut lines = vec![format!(
        "{:27} {:27} {:5} {:26} {:5} {}",
        "enrolled", "door", "level", "asked for before it opens", "admin", "steps up by"
    )];
    for (totp, recovery_codes, passkeys) in
        [(false, 0, 0), (true, 10, 0), (true, 0, 0), (false, 0, 1), (true, 10, 1)]
    {
        let enrolled = Enrolled { password: true, totp, recovery_codes, passkeys };
        let mut what = vec!["password"];
        what.extend(totp.then_some("totp"));
        what.extend((recovery_codes > 0).then_some("codes"));
        what.extend((passkeys > 0).then_some("passkey"));
        for door in doors {
            let assurance = assure(door, &enrolled);
            let opens = assurance.asks.is_empty();
            let is_impersonated = door.contains(&Impersonation);
            let admin = opens && assurance.level == Level::Two && !is_impersonated;
            let ways = if opens && !is_impersonated { ways_to_prove(&enrolled) } else { vec![] };
            lines.push(format!(
                "{:27} {:27} {:5} {:26} {:5} {}",
                what.join("+"),
                names(door),
                assurance.level,
                names(&assurance.asks),
                if admin { "yes" } else { "no" },
                names(&ways),
            ));
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
}

on_both_engines! { TABLES;
    async fn an_app_is_enrolled_by_its_first_right_code(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in(ANNE, Role::User).await;
        let caller = house.caller(&anne).await;
        let begun = house.send("POST", "/v1/auth/mfa/enroll", &caller, None).await;
        assert_eq!(begun.headers[header::CACHE_CONTROL], "no-store");
        let secret = begun.json["secret"].as_str().unwrap().to_owned();
        let uri = begun.json["otpauthUri"].as_str().unwrap();
        assert!(uri.starts_with("otpauth://totp/Verza:anne%40example.org?secret="), "{uri}");
        assert!(uri.contains(&secret) && begun.json["qrSvg"].as_str().unwrap().contains("<svg"));
        let app = App { secret, ..App::default() };

        // Until then a password is enough.
        house.login(ANNE).await;
        let verify = async |code: String| {
            let body = Some(json!({ "code": code }));
            house.send("POST", "/v1/auth/mfa/verify", &caller, body).await
        };
        assert_eq!(code_of(&verify(app.wrong(t)).await), "wrong_proof");
        assert_eq!(house.send("GET", "/v1/auth/mfa", &caller, None).await.json["totp"], false);
        let done = verify(app.code(t, 0)).await;
        let codes = done.json["recoveryCodes"].as_array().unwrap();
        let distinct: std::collections::BTreeSet<_> =
            codes.iter().map(|code| code.as_str().unwrap()).collect();
        assert_eq!((codes.len(), distinct.len()), (10, 10));
        assert_eq!(done.json["level"], "aal2");
        assert_eq!(done.json["methods"], json!(["password", "totp"]));

        // What showed the session before is dead; the answer has what shows it now.
        assert!(house.authenticate(anne.tokens.access.expose()).await.is_err());
        let caller = by_token(&house, &done.json).await;
        let standing = house.send("GET", "/v1/auth/mfa", &caller, None).await.json;
        assert_eq!(standing["totp"], true);
        assert_eq!(standing["recoveryCodes"], 10);
        assert_eq!(standing["level"], "aal2");
        assert_eq!(standing["stepUp"], json!(["totp", "recovery_code"]));
        // The code of the enrolment opens nothing else.
        let again = sign_in(&house, &from("192.0.2.1"), json!({ "totp": app.code(t, 0) })).await;
        assert_eq!(code_of(&again), "invalid_credentials");
        let facts = house.facts().await;
        for verb in ["factor.totp_enrolled", "factor.recovery_codes_made", "session.proven"] {
            assert_eq!(facts.iter().filter(|fact| *fact == verb).count(), 1, "{verb}");
        }
        assert!(templates(&house).await.contains(&"factor.totp_enrolled".to_owned()));
    }

    async fn what_waits_to_be_confirmed_waits_an_hour(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in(ANNE, Role::User).await;
        let caller = house.caller(&anne).await;
        let begun = house.send("POST", "/v1/auth/mfa/enroll", &caller, None).await;
        let secret = begun.json["secret"].as_str().unwrap().to_owned();
        let app = App { secret, ..App::default() };
        t.clock.advance(Duration::from_secs(3600));
        let body = Some(json!({ "totp": app.code(t, 0) }));
        let late = house.send("POST", "/v1/auth/mfa/verify", &caller, body).await;
        assert_eq!(code_of(&late), "nothing_pending");
        house.worker.drain().await.unwrap();
        let left = "SELECT CAST(COUNT(*) AS BIGINT) FROM totp_enrolments";
        assert_eq!(house.count(left).await, 0);
    }

    async fn another_app_takes_the_place_of_the_first_once_it_is_confirmed(t: &TestDb) {
        let house = house(t);
        let old = anne_with_an_app(&house).await;
        let client = from("192.0.2.1");
        let login = sign_in(&house, &client, json!({ "totp": old.code(t, 0) })).await;
        let principal = house.authenticate(login.json["token"].as_str().unwrap()).await.unwrap();
        let caller = Caller { principal: Some(principal), ..client.clone() };
        let begun = house.send("POST", "/v1/auth/mfa/enroll", &caller, None).await;
        assert_eq!(begun.status, StatusCode::OK);
        // Begun is not done: the first one still opens.
        t.clock.advance(Duration::from_secs(30));
        let login = sign_in(&house, &client, json!({ "totp": old.code(t, 0) })).await;
        assert_eq!(login.status, StatusCode::OK);
        let new = enrol(&house, &caller).await;
        t.clock.advance(Duration::from_secs(30));
        let refused = sign_in(&house, &client, json!({ "totp": old.code(t, 0) })).await;
        assert_eq!(code_of(&refused), "invalid_credentials");
        let used = json!({ "recoveryCode": old.recovery_codes[0] });
        assert_eq!(code_of(&sign_in(&house, &client, used).await), "invalid_credentials");
        let login = sign_in(&house, &client, json!({ "totp": new.code(t, 0) })).await;
        assert_eq!(login.status, StatusCode::OK);
    }

    async fn a_right_password_alone_brings_a_challenge_and_no_session(t: &TestDb) {
        let house = house(t);
        let app = anne_with_an_app(&house).await;
        let client = from("192.0.2.1");
        let before = house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM sessions").await;
        let asked = sign_in(&house, &client, json!({})).await;
        assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
        assert!(asked.headers.get(header::SET_COOKIE).is_none());
        let members = asked.error.as_ref().unwrap().members();
        let member = |name| members.iter().find(|(known, _)| *known == name).unwrap().1.clone();
        assert_eq!(member("methods"), json!(["totp", "recovery_code"]));
        assert_eq!(member("expiresIn"), 300);
        assert_eq!(house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM sessions").await, before);
        // Nothing of it opens anything by itself.
        let challenge = member("challenge").as_str().unwrap().to_owned();
        assert!(house.authenticate(&challenge).await.is_err());
        let body = json!({ "challenge": challenge, "totp": app.code(t, 0) });
        let done = house.send("POST", "/v1/auth/login/mfa?cookie=true", &client, Some(body)).await;
        assert_eq!(done.status, StatusCode::OK);
        assert!(done.headers.contains_key(header::SET_COOKIE));
        let token = done.json["token"].as_str().unwrap();
        assert_eq!(house.authenticate(token).await.unwrap().level, Level::Two);
        assert_eq!(done.json["user"]["email"], ANNE);
    }

    async fn a_challenge_is_for_one_login_of_one_client_and_not_for_long(t: &TestDb) {
        let house = house(t);
        let app = anne_with_an_app(&house).await;
        let client = from("192.0.2.1");
        let other = {
            let mut other = client.clone();
            other.origin.user_agent = Some("curl/8".into());
            other
        };
        let held = challenge(&house, &client).await;
        let body = |challenge: &str, steps| json!({
            "challenge": challenge, "totp": app.code(t, steps),
        });
        let stolen = finish(&house, &other, body(&held, 0)).await;
        assert_eq!(code_of(&stolen), "challenge_spent");
        // Another address is the same client: phones change theirs.
        let moved = finish(&house, &from("2001:db8::1"), body(&held, 0)).await;
        assert_eq!(moved.status, StatusCode::OK);
        assert_eq!(code_of(&finish(&house, &client, body(&held, 1)).await), "challenge_spent");
        assert_eq!(code_of(&finish(&house, &client, body("x", 1)).await), "challenge_spent");

        let late = challenge(&house, &client).await;
        t.clock.advance(Duration::from_secs(300));
        assert_eq!(code_of(&finish(&house, &client, body(&late, 0)).await), "challenge_spent");
        t.clock.advance(Duration::from_secs(600));
        house.worker.drain().await.unwrap();
        assert_eq!(house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM challenges").await, 0);

        // With another password in between, the half that was done is worth nothing.
        let held = challenge(&house, &client).await;
        t.db.run("test", |tx| async move {
            let sql = "UPDATE users SET password_hash = password_hash || 'x'";
            tx.execute(sql, &[]).await?;
            Ok(())
        }).await.unwrap();
        assert_eq!(code_of(&finish(&house, &client, body(&held, 0)).await), "challenge_spent");
    }

    async fn a_hash_of_other_days_does_not_spend_the_challenge_that_its_password_brings(t: &TestDb) {
        let app = anne_with_an_app(&house(t)).await;
        let hashing = Hashing { passes: 3, ..Hashing::for_tests() };
        let later = house_of(t, IdentityOptions { hashing, ..options(t) });
        let client = from("192.0.2.1");
        let held = challenge(&later, &client).await;
        let sql = "SELECT password_hash FROM users";
        let stored = t.db.one(sql, &[], |row| row.take::<String>()).await.unwrap();
        assert!(stored.contains("t=3"), "the password alone makes the hash anew");
        let body = json!({ "challenge": held, "totp": app.code(t, 0) });
        let done = finish(&later, &client, body).await;
        assert_eq!((done.status, code_of(&done)), (StatusCode::OK, "none"));
    }

    async fn five_wrong_codes_end_a_login_and_the_owner_hears_of_it(t: &TestDb) {
        let house = house(t);
        let app = anne_with_an_app(&house).await;
        let client = from("192.0.2.1");
        for _ in 0..2 {
            let held = challenge(&house, &client).await;
            let body = |totp: String| json!({ "challenge": held, "totp": totp });
            for _ in 0..5 {
                let wrong = finish(&house, &client, body(app.wrong(t))).await;
                assert_eq!((wrong.status, code_of(&wrong)),
                    (StatusCode::UNAUTHORIZED, "wrong_code"));
            }
            t.clock.advance(Duration::from_secs(30));
            let late = finish(&house, &client, body(app.code(t, 0))).await;
            assert_ne!(late.status, StatusCode::OK);
            t.clock.advance(Duration::from_secs(600));
        }
        let facts = house.facts().await;
        let told = facts.iter().filter(|verb| *verb == "factor.guesses_exhausted").count();
        assert_eq!(told, 2);
        let mails = templates(&house).await;
        let warned = mails.iter().filter(|template| *template == "factor.guesses_exhausted");
        assert_eq!(warned.count(), 1, "one letter a day");
        let login = sign_in(&house, &client, json!({ "totp": app.code(t, 0) })).await;
        assert_eq!(login.status, StatusCode::OK);
    }

    async fn of_many_wrong_codes_at_once_none_goes_uncounted(t: &TestDb) {
        let house = house(t);
        let app = anne_with_an_app(&house).await;
        let held = challenge(&house, &from("192.0.2.1")).await;
        let body = json!({ "challenge": held, "totp": app.wrong(t) });
        // From many addresses, so that only the challenge's own count stands in the way.
        let clients: Vec<_> = (1..=20).map(|n| from(&format!("198.51.100.{n}"))).collect();
        let tries = clients.iter().map(|client| finish(&house, client, body.clone()));
        let outcomes = join_all(tries).await;
        let checked = outcomes.iter().filter(|answer| code_of(answer) == "wrong_code").count();
        assert_eq!(checked, 5);
    }

    async fn of_fifty_who_send_one_code_one_gets_in(t: &TestDb) {
        let house = house(t);
        let app = anne_with_an_app(&house).await;
        let digits = app.code(t, 0);
        let code = Code::parse(Some(digits.clone().into()), None).unwrap().unwrap();
        let login = Login::new(Email::parse(ANNE).unwrap(), password(PASSWORD));
        let clients: Vec<_> = (1..=50).map(|n| from(&format!("198.51.100.{n}"))).collect();
        let tries = clients.iter().take(25).map(|client| async {
            house.identity.sessions.login_with(client, &login, Some(&code)).await.is_ok()
        });
        let held = challenge(&house, &from("192.0.2.1")).await;
        let body = json!({ "challenge": held, "totp": digits });
        let finishes = clients.iter().skip(25).map(|client| async {
            finish(&house, client, body.clone()).await.status == StatusCode::OK
        });
        let (tries, finishes) = futures_util::join!(join_all(tries), join_all(finishes));
        let got_in = tries.into_iter().chain(finishes).filter(|got_in| *got_in).count();
        assert_eq!(got_in, 1);
        let started = house.facts().await.into_iter().filter(|verb| verb == "session.started");
        assert_eq!(started.count(), 2, "that one, and the login before the enrolment");
    }

    async fn a_code_is_good_early_and_late_and_never_after_a_later_one(t: &TestDb) {
        let house = house(t);
        let app = anne_with_an_app(&house).await;
        t.clock.advance(Duration::from_secs(60));
        let client = from("192.0.2.1");
        let sent = async |steps| {
            sign_in(&house, &client, json!({ "totp": app.code(t, steps) })).await.status
        };
        assert_eq!(sent(-2).await, StatusCode::UNAUTHORIZED);
        assert_eq!(sent(-1).await, StatusCode::OK);
        assert_eq!(sent(1).await, StatusCode::OK);
        // The one between is older than the newest that was used.
        assert_eq!(sent(0).await, StatusCode::UNAUTHORIZED);
        assert_eq!(sent(1).await, StatusCode::UNAUTHORIZED);
        assert_eq!(sent(2).await, StatusCode::UNAUTHORIZED);
        t.clock.advance(Duration::from_secs(30));
        assert_eq!(sent(1).await, StatusCode::OK);
    }

    async fn password_and_code_together_do_not_tell_which_was_wrong(t: &TestDb) {
        let house = house(t);
        let app = anne_with_an_app(&house).await;
        let client = from("192.0.2.1");
        let good = app.code(t, 0);
        let mut answers = Vec::new();
        for (email, password, totp) in [
            (ANNE, PASSWORD, app.wrong(t)),
            (ANNE, "not the password", good.clone()),
            ("nobody@example.org", PASSWORD, good.clone()),
        ] {
            let body = json!({ "email": email, "password": password, "totp": totp });
            let answer = house.send("POST", "/v1/auth/login", &client, Some(body)).await;
            let error = answer.error.unwrap();
            answers.push((answer.status, error.code().to_owned(), error.message().to_owned()));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        // A wrong password has not used the code up.
        let login = sign_in(&house, &client, json!({ "totp": good })).await;
        assert_eq!(login.status, StatusCode::OK);
    }

    async fn a_code_that_nobody_asked_for_is_no_hindrance(t: &TestDb) {
        let house = house(t);
        house.member(ANNE, Role::User).await;
        let client = from("192.0.2.1");
        let login = sign_in(&house, &client, json!({ "totp": "123456" })).await;
        let token = login.json["token"].as_str().unwrap();
        assert_eq!(house.authenticate(token).await.unwrap().level, Level::One);
        for (body, pointer) in [
            (json!({ "totp": "12345" }), "/totp"),
            (json!({ "recoveryCode": "12345" }), "/recoveryCode"),
            (json!({ "totp": "123456", "recoveryCode": "7k2mq-x9c0t" }), "/recoveryCode"),
        ] {
            let refused = sign_in(&house, &client, body).await;
            assert_eq!(refused.error.unwrap().fields()[0].pointer, pointer);
        }
    }

    async fn guessers_do_not_lock_the_owner_out(t: &TestDb) {
        let house = house(t);
        let app = anne_with_an_app(&house).await;
        let wrong = json!({ "totp": app.wrong(t) });
        // From one address there are ten guesses, and no more.
        let mut codes = Vec::new();
        for _ in 0..12 {
            let answer = sign_in(&house, &from("198.51.100.1"), wrong.clone()).await;
            codes.push(code_of(&answer).to_owned());
        }
        assert_eq!(codes.iter().filter(|code| *code == "rate_limited").count(), 2);
        // From everywhere there are thirty for the account.
        for n in 2..60 {
            sign_in(&house, &from(&format!("198.51.100.{n}")), wrong.clone()).await;
        }
        let right = json!({ "totp": app.code(t, 0) });
        let far = from("203.0.113.9");
        assert_eq!(code_of(&sign_in(&house, &far, right.clone()).await), "rate_limited");
        // Where the owner is signed in, that is nothing to them; nor is it to a recovery code.
        let near = sign_in(&house, &from("192.0.2.1"), right).await;
        assert_eq!(near.status, StatusCode::OK);
        let body = json!({ "recoveryCode": app.recovery_codes[0] });
        assert_eq!(sign_in(&house, &far, body).await.status, StatusCode::OK);
    }

    async fn a_stolen_refresh_token_brings_no_more_guesses(t: &TestDb) {
        let house = house(t);
        let app = anne_with_an_app(&house).await;
        let client = from("192.0.2.1");
        let login = sign_in(&house, &client, json!({ "totp": app.code(t, 0) })).await;
        t.clock.advance(Duration::from_secs(30));
        let sessions = &house.identity.sessions;
        let mut refresh = login.json["refreshToken"].as_str().unwrap().to_owned();
        let wrong = json!({ "totp": app.wrong(t) });
        let mut guessed = 0;
        for n in 1..=50 {
            let thief = from(&format!("198.51.100.{n}"));
            let tokens = sessions.refresh(&thief, &refresh).await.unwrap();
            refresh.clone_from(tokens.refresh.expose());
            let principal = house.authenticate(tokens.access.expose()).await.unwrap();
            let thief = Caller { principal: Some(principal), ..thief };
            // Not so many that the oldest one, which is the thief's, gives way.
            if n <= 5 {
                sessions.begin_another(&thief, None).await.unwrap();
            }
            let answer = house.send("POST", "/v1/auth/step-up", &thief, Some(wrong.clone())).await;
            guessed += usize::from(code_of(&answer) == "wrong_proof");
        }
        assert_eq!(guessed, 30, "as many as from addresses of which nothing is known");
        // Where the owner has shown the app, that is still nothing to them.
        let near = sign_in(&house, &client, json!({ "totp": app.code(t, 0) })).await;
        assert_eq!(near.status, StatusCode::OK);
    }

    async fn a_recovery_code_works_once_and_its_owner_is_told(t: &TestDb) {
        let house = house(t);
        let app = anne_with_an_app(&house).await;
        let client = from("192.0.2.1");
        let upper = app.recovery_codes[3].to_uppercase().replace('-', " ");
        let held = challenge(&house, &client).await;
        let body = json!({ "challenge": held, "recoveryCode": upper });
        let tries: Vec<_> = join_all((1..=20).map(|n| {
            let (house, body) = (&house, body.clone());
            async move { finish(house, &from(&format!("198.51.100.{n}")), body).await }
        }))
        .await;
        let got_in: Vec<_> =
            tries.iter().filter(|answer| answer.status == StatusCode::OK).collect();
        assert_eq!(got_in.len(), 1);
        let token = got_in[0].json["token"].as_str().unwrap();
        let principal = house.authenticate(token).await.unwrap();
        assert_eq!(principal.level, Level::Two);
        let again = json!({ "recoveryCode": app.recovery_codes[3] });
        assert_eq!(code_of(&sign_in(&house, &client, again).await), "invalid_credentials");
        let caller = Caller { principal: Some(principal), ..client.clone() };
        let standing = house.send("GET", "/v1/auth/mfa", &caller, None).await.json;
        assert_eq!(standing["recoveryCodes"], 9);
        assert!(templates(&house).await.contains(&"factor.recovery_code_used".to_owned()));

        // New ones make the old ones void.
        let made = house.send("POST", "/v1/auth/mfa/recovery-codes", &caller, None).await;
        let fresh = made.json["recoveryCodes"].as_array().unwrap();
        assert_eq!(fresh.len(), 10);
        let old = json!({ "recoveryCode": app.recovery_codes[4] });
        assert_eq!(code_of(&sign_in(&house, &client, old).await), "invalid_credentials");
        let new = json!({ "recoveryCode": fresh[0] });
        assert_eq!(sign_in(&house, &client, new).await.status, StatusCode::OK);
    }

    async fn nothing_that_is_stored_can_be_presented(t: &TestDb) {
        let house = house(t);
        let app = anne_with_an_app(&house).await;
        let held = challenge(&house, &from("192.0.2.1")).await;
        let hex = |bytes: Vec<u8>| hex::encode(bytes);
        let mut dump = String::new();
        for sql in [
            "SELECT sealed_secret FROM totp_factors",
            "SELECT hash FROM recovery_codes",
            "SELECT hash FROM challenges",
        ] {
            let rows = t.db.all(sql, &[], |row| row.take::<Vec<u8>>()).await.unwrap();
            dump.extend(rows.into_iter().map(hex));
        }
        for sql in ["SELECT state FROM challenges", "SELECT data FROM facts"] {
            dump.extend(t.db.all(sql, &[], |row| row.take::<String>()).await.unwrap());
        }
        let mut secrets = vec![app.secret.clone(), held];
        for code in &app.recovery_codes {
            secrets.push(code.clone());
            let bare = code.replace('-', "");
            // Nor its plain hash, which fifty bits would not protect.
            secrets.push(hex::encode(platform::crypto::sha256(&bare)));
            secrets.push(bare);
        }
        for secret in secrets {
            assert!(!dump.contains(&secret) && !dump.contains(&hex::encode(&secret)), "{secret}");
        }
        assert_eq!(house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM recovery_codes").await, 10);
    }

    async fn without_the_app_a_password_is_enough_again(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in(ANNE, Role::User).await;
        let caller = house.caller(&anne).await;
        let none = house.send("POST", "/v1/auth/mfa/disable", &caller, None).await;
        assert_eq!((none.status, code_of(&none)), (StatusCode::CONFLICT, "not_enrolled"));
        let none = house.send("POST", "/v1/auth/mfa/recovery-codes", &caller, None).await;
        assert_eq!(code_of(&none), "not_enrolled");
        enrol(&house, &caller).await;
        let gone = house.send("POST", "/v1/auth/mfa/disable", &caller, None).await;
        assert_eq!(gone.status, StatusCode::OK);
        house.login(ANNE).await;
        assert_eq!(house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM recovery_codes").await, 0);
        assert!(templates(&house).await.contains(&"factor.totp_removed".to_owned()));
        assert!(house.facts().await.contains(&"factor.totp_removed".to_owned()));
    }

    async fn an_admin_s_last_second_factor_stays(t: &TestDb) {
        let house = house(t);
        let admin = house.signed_in("root@example.org", Role::Admin).await;
        let caller = house.caller(&admin).await;
        let standing = house.send("GET", "/v1/auth/mfa", &caller, None).await.json;
        assert_eq!((&standing["required"], &standing["level"]), (&json!(true), &json!("aal1")));
        enrol(&house, &caller).await;
        let refused = house.send("POST", "/v1/auth/mfa/disable", &caller, None).await;
        assert_eq!(code_of(&refused), "second_factor_needed");
        let lax = house_of(t, IdentityOptions { admin_second_factor: false, ..options(t) });
        let gone = lax.send("POST", "/v1/auth/mfa/disable", &caller, None).await;
        assert_eq!(gone.status, StatusCode::OK);
    }

    async fn who_knows_an_admin_s_password_alone_adds_no_factor(t: &TestDb) {
        let house = house(t);
        let admin = house.signed_in("root@example.org", Role::Admin).await;
        let one = house.caller(&admin).await;
        // Begun before there was another one: it is not finished with one factor either.
        let other = house.login("root@example.org").await;
        let other = house.caller(&other).await;
        let app = enrol(&house, &other).await;
        let begin = async |path: &str, caller: &Caller| {
            let begun = house.send("POST", path, caller, None).await;
            begun.error.map_or_else(|| "ok".to_owned(), |error| error.code().to_owned())
        };
        for path in ["/v1/auth/mfa/enroll", "/v1/auth/passkeys/register/start"] {
            assert_eq!(begin(path, &one).await, "second_factor_required", "{path}");
        }
        let two = house.authenticate(&app.token).await.unwrap();
        let two = Caller { principal: Some(two), ..one.clone() };
        assert_eq!(begin("/v1/auth/mfa/enroll", &two).await, "ok");
        let body = Some(json!({ "totp": app.code(t, 1) }));
        let finished = house.send("POST", "/v1/auth/mfa/verify", &one, body).await;
        assert_eq!(code_of(&finished), "second_factor_required");
        // Nobody else needs a second factor, and they may.
        let anne = house.signed_in(ANNE, Role::User).await;
        let anne = house.caller(&anne).await;
        enrol(&house, &anne).await;
        assert_eq!(begin("/v1/auth/mfa/enroll", &anne).await, "ok");
    }

    async fn a_session_steps_up_by_a_second_factor_and_is_new_for_it(t: &TestDb) {
        let house = house(t);
        let old = house.signed_in(ANNE, Role::User).await;
        let other = house.login(ANNE).await;
        let app = enrol(&house, &house.caller(&other).await).await;
        let caller = house.caller(&old).await;
        let before = caller.principal().unwrap();
        // What was proven before there was a second factor is no longer fresh.
        assert_eq!((before.level, before.proven_at.micros()), (Level::One, 0));
        t.clock.advance(Duration::from_secs(30));

        let step_up = async |body: Json| {
            house.send("POST", "/v1/auth/step-up", &caller, Some(body)).await
        };
        let by_password = step_up(json!({ "password": PASSWORD })).await;
        assert_eq!((by_password.status, code_of(&by_password)),
            (StatusCode::FORBIDDEN, "proof_not_enough"));
        assert_eq!(code_of(&step_up(json!({ "totp": app.wrong(t) })).await), "wrong_proof");
        for body in [json!({}), json!({ "totp": "123456", "password": "x" })] {
            assert_eq!(step_up(body).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        }
        let done = step_up(json!({ "totp": app.code(t, 0) })).await;
        assert_eq!(done.status, StatusCode::OK, "{:?}", done.error);
        assert_eq!(done.json["level"], "aal2");
        assert_eq!(done.json["methods"], json!(["password", "totp"]));
        assert_eq!(code_of(&step_up(json!({ "totp": app.code(t, 0) })).await), "wrong_proof");

        // What showed the session before is dead; what shows it now is the same session, raised.
        let was = [old.cookie.as_ref().unwrap().0.expose(), old.tokens.access.expose()];
        for was in was {
            assert!(house.identity.cached(was, t.db.world().now()).is_none());
            assert!(house.authenticate(was).await.is_err());
        }
        let set = done.headers[header::SET_COOKIE].to_str().unwrap();
        let token = set.strip_prefix("verza_session=").unwrap().split(';').next().unwrap();
        let now = house.authenticate(token).await.unwrap();
        assert_eq!((now.session, now.level), (old.session, Level::Two));
        assert_eq!(now.proven_at, t.db.world().now());
        let by_access = by_token(&house, &done.json).await;
        assert_eq!(by_access.principal().unwrap().level, Level::Two);

        let listed = house.send("GET", "/v1/me/sessions", &by_access, None).await.json;
        let row = listed.as_array().unwrap().iter().find(|row| row["current"] == true).unwrap();
        assert_eq!(row["level"], "aal2");
        assert_eq!(row["methods"], json!(["password", "totp"]));
        assert_eq!(row["provenAt"], t.db.world().now().to_string());
    }

    async fn without_a_second_factor_a_password_renews_the_proof(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in(ANNE, Role::User).await;
        let caller = house.caller(&anne).await;
        t.clock.advance(Duration::from_secs(600));
        let step_up = async |body: Json| {
            house.send("POST", "/v1/auth/step-up", &caller, Some(body)).await
        };
        for body in [json!({ "password": "not the password" }), json!({ "totp": "123456" })] {
            assert_eq!(code_of(&step_up(body).await), "wrong_proof");
        }
        let done = step_up(json!({ "password": PASSWORD })).await;
        assert_eq!((&done.json["level"], &done.json["methods"]),
            (&json!("aal1"), &json!(["password"])));
        let now = by_token(&house, &done.json).await;
        assert_eq!(now.principal().unwrap().proven_at, t.db.world().now());
        // Whoever has the session and not the password gets no further, nor locks anybody out.
        let wrong = json!({ "password": "not the password" });
        let mut last = String::new();
        for _ in 0..12 {
            last = code_of(&step_up(wrong.clone()).await).to_owned();
        }
        assert_eq!(last, "rate_limited");
        house.login(ANNE).await;
    }

    async fn a_raised_session_is_raised_everywhere_within_a_second(t: &TestDb) {
        if !t.db.is_shared() {
            return;
        }
        let here = house(t);
        let there = Identity::new(options(t)).unwrap();
        let anne = here.signed_in(ANNE, Role::User).await;
        let access = anne.tokens.access.expose();
        assert_eq!(there.authenticate(access).await.unwrap().level, Level::One);
        let other = here.login(ANNE).await;
        let other = other.tokens.access.expose();
        assert!(there.authenticate(other).await.unwrap().proven_at.micros() > 0);
        let app = enrol(&here, &here.caller(&anne).await).await;
        t.clock.advance(Duration::from_secs(1));
        assert!(there.authenticate(access).await.is_err());
        assert_eq!(there.authenticate(&app.token).await.unwrap().level, Level::Two);
        // And that what was proven on other sessions is old now.
        assert_eq!(there.authenticate(other).await.unwrap().proven_at.micros(), 0);
    }

    async fn nobody_proves_or_enrols_anything_through_another_s_eyes(t: &TestDb) {
        let house = house(t);
        let admin = house.member("root@example.org", Role::Admin).await;
        let anne = house.member(ANNE, Role::User).await;
        let account = &house.identity.accounts.get(anne).await.unwrap();
        let sessions = &house.identity.sessions;
        let session = t.db.run("test", |tx| async move {
            let proof = Proof::by(vec![Method::Impersonation]);
            let proof = Proof { impersonator: Some(admin), ..proof };
            sessions.start_in(&tx, &Caller::nobody(), account, proof, None).await
        }).await.unwrap();
        let signed_in = sessions.signed_in(account.clone(), &session, None).await.unwrap();
        let caller = house.caller(&signed_in).await;
        assert_eq!(caller.principal().unwrap().level, Level::One);
        let body = Some(json!({ "password": PASSWORD }));
        let refused = house.send("POST", "/v1/auth/step-up", &caller, body).await;
        assert_eq!(code_of(&refused), "impersonated");
        let begun = house.send("POST", "/v1/auth/mfa/enroll", &caller, None).await;
        let secret = begun.json["secret"].as_str().unwrap().to_owned();
        let app = App { secret, ..App::default() };
        let body = Some(json!({ "totp": app.code(t, 0) }));
        let refused = house.send("POST", "/v1/auth/mfa/verify", &caller, body).await;
        assert_eq!(code_of(&refused), "impersonated");
        house.login(ANNE).await;
    }

    async fn a_lapsed_session_proves_nothing(t: &TestDb) {
        let policies = Policies::default();
        let house = house(t);
        let anne = house.signed_in(ANNE, Role::User).await;
        let caller = house.caller(&anne).await;
        t.clock.advance(policies.user.idle + Duration::from_secs(1));
        let body = Some(json!({ "password": PASSWORD }));
        let late = house.send("POST", "/v1/auth/step-up", &caller, body).await;
        assert_eq!(code_of(&late), "session_expired");
    }

    async fn the_ways_to_prove_are_told_to_other_contexts(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in(ANNE, Role::User).await;
        let ways = async || house.identity.ways_to_prove(anne.account.id).await.unwrap();
        assert_eq!(ways().await, ["password"]);
        enrol(&house, &house.caller(&anne).await).await;
        assert_eq!(ways().await, ["totp", "recovery_code"]);
        let nobody = Principal::new(t.db.world().id(), Role::User, t.db.world().id());
        assert!(house.identity.ways_to_prove(nobody.user).await.is_err());
    }
}
