use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use kernel::{Caller, Kind, PageRequest, Role};
use platform::mail::sink;
use platform::on_both_engines;
use rpc::users::{Status, Users};
use serde_json::json;

use super::letters;
use super::rules::{Standing, step};
use super::{Avatar, Command, Email, Filter, Name, Registration};
use crate::testing::{PASSWORD, TABLES, house, password, registration, whole};

#[test]
fn what_people_have_as_an_address_is_taken() {
    for text in [
        "a@example.org",
        " Anne.Cooper+verza@Example.Co.UK ",
        "o'brien@sub-domain.example.org",
        "x_1-2@xn--bcher-kva.example",
        "1@1.example",
    ] {
        let email = Email::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(email.shown(), text.trim());
        assert_eq!(email.as_str(), text.trim().to_lowercase());
    }
}

#[test]
fn what_is_no_address_is_refused() {
    let long_local = format!("{}@example.org", "a".repeat(65));
    let long_label = format!("a@{}.org", "a".repeat(64));
    let long = format!("a@{}org", "abcdefgh.".repeat(30));
    for text in [
        "",
        "@",
        "a",
        "a@",
        "@example.org",
        "a@example",
        "a@b@example.org",
        "a b@example.org",
        "a@exam ple.org",
        ".a@example.org",
        "a.@example.org",
        "a..b@example.org",
        "a@.org",
        "a@example..org",
        "a@-x.org",
        "a@x-.org",
        "a@192.0.2.1",
        "a@[192.0.2.1]",
        "\"a b\"@example.org",
        "a@example.org\nBcc: b@example.org",
        "a\0@example.org",
        "a@example.org,b@example.org",
        "<a@example.org>",
        "ä@example.org",
        "a@exämple.org",
        "а@example.org",
        &long_local,
        &long_label,
        &long,
    ] {
        let error = Email::parse(text).err().unwrap_or_else(|| panic!("{text:?} was taken"));
        assert_eq!(error.fields()[0].pointer, "/email");
    }
}

#[test]
fn a_name_is_what_can_be_read() {
    for text in ["A", "Anne-Marie O'Neil", "李小龙", "नेहा", &"x".repeat(100), " trimmed "]
    {
        assert!(Name::parse(text).is_ok(), "{text:?}");
    }
    for text in ["क्‍ष", "می‌خواهم", "Anne 🦢", "7"] {
        assert!(Name::parse(text).is_ok(), "{text:?}");
    }
    for text in ["", "   ", &"x".repeat(101), "a\nb", "a\0b", "...", "🦢"] {
        assert!(Name::parse(text).is_err(), "{text:?}");
    }
    let hidden = [
        '\u{AD}',
        '\u{34F}',
        '\u{61C}',
        '\u{115F}',
        '\u{180E}',
        '\u{200B}',
        '\u{200C}',
        '\u{200D}',
        '\u{200F}',
        '\u{202E}',
        '\u{2066}',
        '\u{2800}',
        '\u{3164}',
        '\u{FE0F}',
        '\u{FEFF}',
        '\u{FFA0}',
        '\u{E0041}',
    ];
    for letter in hidden {
        for text in [format!("{letter}"), format!("a{letter}b"), format!("李{letter}")] {
            assert!(Name::parse(&text).is_err(), "{text:?}");
        }
    }
}

#[test]
fn a_picture_is_an_https_address() {
    for text in ["https://cdn.example.org/a.png?x=1", "https://example.org:8443/a"] {
        assert!(Avatar::parse(text).is_ok(), "{text}");
    }
    let long = format!("https://example.org/{}", "a".repeat(2048));
    for text in [
        "",
        "http://example.org/a.png",
        "javascript:alert(1)",
        "https://",
        "https://localhost/a",
        "https://user@example.org/a",
        "https://example.org/a b",
        "https://example.org/\"><x",
        "https://192.0.2.1/a.png",
        "https://example.org:port/",
        "//example.org/a",
        &long,
    ] {
        assert!(Avatar::parse(text).is_err(), "{text}");
    }
}

#[test]
fn all_that_is_wrong_with_a_registration_is_said_at_once() {
    let error = Registration::parse("", "nobody", "short".to_owned().into(), Role::User);
    let error = error.unwrap_err();
    let pointers: Vec<_> = error.fields().iter().map(|field| field.pointer.as_str()).collect();
    assert_eq!(pointers, ["/name", "/email", "/password"]);
}

#[test]
fn the_letters_are_as_they_were() {
    let link = "https://verza.example/verify-email#token=t0ken";
    insta::assert_snapshot!("verify_email", whole(&letters::verify_email(link)));
    let link = "https://verza.example/sign-in";
    insta::assert_snapshot!("address_taken", whole(&letters::address_taken(link)));
}

#[test]
fn the_state_machine_at_one_glance() {
    let mut grid = String::new();
    for role in [Role::Verifier, Role::Admin] {
        for status in Status::ALL {
            let _ = write!(grid, "{role} {}:", status.as_str());
            for command in Command::ALL {
                let _ = match step(Standing { role, status, approved: false }, command) {
                    Ok(to) if to.approved => write!(grid, " approved"),
                    Ok(to) => write!(grid, " {}", to.status.as_str()),
                    Err(_) => write!(grid, " -"),
                };
            }
            grid.push('\n');
        }
    }
    // approve, suspend, unsuspend, ban, unban
    assert_eq!(
        grid,
        "verifier active: approved suspended - banned -\n\
         verifier suspended: approved - active banned -\n\
         verifier banned: - - - - active\n\
         verifier closed: - - - - -\n\
         admin active: approved - - - -\n\
         admin suspended: approved - active - -\n\
         admin banned: - - - - active\n\
         admin closed: - - - - -\n"
    );
}

on_both_engines! { TABLES;
    async fn registering_as_an_admin_is_refused_and_leaves_no_row(t: &TestDb) {
        let house = house(t);
        let body = json!({
            "name": "Eve", "email": "eve@example.org", "password": PASSWORD, "role": "admin",
        });
        let answer = house.send("POST", "/v1/auth/register", &Caller::nobody(), Some(body)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.error.unwrap().fields()[0].pointer, "/role");
        assert_eq!(house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM users").await, 0);
        assert!(house.facts().await.is_empty());
    }

    async fn a_verifier_waits_for_approval_and_a_user_does_not(t: &TestDb) {
        let house = house(t);
        for (email, role, approved) in [
            ("u@example.org", Role::User, true),
            ("v@example.org", Role::Verifier, false),
            ("e@example.org", Role::Enterprise, false),
        ] {
            let signed_in = house.signed_in(email, role).await;
            let principal = house.caller(&signed_in).await.principal.unwrap();
            assert_eq!((principal.role, principal.approved), (role, approved));
            assert!(principal.email_verified);
        }
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let admin = house.caller(&admin).await;
        let verifier = house.login("v@example.org").await;
        let id = verifier.account.id;
        house.caller(&verifier).await;
        house.identity.accounts.command(&admin, id, Command::Approve).await.unwrap();
        assert!(house.caller(&verifier).await.principal.unwrap().approved);
        let again = house.identity.accounts.command(&admin, id, Command::Approve).await;
        assert_eq!(again.unwrap_err().kind(), Kind::Conflict);
    }

    async fn a_taken_address_gets_the_same_answer_and_its_owner_a_mail(t: &TestDb) {
        let house = house(t);
        let owner = house.member("anne@example.org", Role::User).await;
        let body = |email: &str| Some(json!({
            "name": "Mallory", "email": email, "password": "another password", "role": "verifier",
        }));
        let nobody = Caller::nobody();
        let path = "/v1/auth/register";
        let fresh = house.send("POST", path, &nobody, body("free@example.org")).await;
        let taken = house.send("POST", path, &nobody, body("ANNE@example.org")).await;
        assert_eq!((fresh.status, &fresh.json), (StatusCode::CREATED, &taken.json));
        assert_eq!((fresh.status, fresh.headers), (taken.status, taken.headers));

        house.worker.drain().await.unwrap();
        let mails = sink::list(&t.db, Some("anne@example.org"), 1).await.unwrap();
        assert_eq!(mails[0].template, "account.address_taken");
        assert!(!mails[0].text.contains("Mallory") && !mails[0].text.contains("token"));
        assert_eq!(house.id_of("anne@example.org").await, owner);
        let account = house.identity.accounts.get(owner).await.unwrap();
        assert_eq!((account.name.as_str(), account.role), ("Anne Cooper", Role::User));
        assert!(house.login_with("anne@example.org", "another password").await.is_err());
    }

    async fn an_address_that_was_never_proved_goes_to_the_last_registration(t: &TestDb) {
        let house = house(t);
        let nobody = Caller::nobody();
        let accounts = &house.identity.accounts;
        let squatter = Registration::parse(
            "Eve", "anne@example.org", "the squatter's password".to_owned().into(), Role::Verifier,
        );
        accounts.register(&nobody, &squatter.unwrap()).await.unwrap();
        let old = house.mail_token("anne@example.org").await;
        accounts.register(&nobody, &registration("anne@example.org", Role::User)).await.unwrap();
        let new = house.mail_token("anne@example.org").await;
        assert_eq!(accounts.verify_email(&nobody, &old, None).await.unwrap_err().kind(), Kind::Gone);
        // Whoever reads the mail may be either of the two, so they show the password as well.
        let guess = password("the squatter's password");
        let wrong = accounts.verify_email(&nobody, &new, Some(&guess)).await.unwrap_err();
        assert_eq!(wrong.fields()[0].pointer, "/password");
        let right = password(PASSWORD);
        let proved = accounts.verify_email(&nobody, &new, Some(&right)).await.unwrap();
        assert!(proved.has_password);

        let signed_in = house.login("anne@example.org").await;
        assert_eq!((signed_in.account.role, signed_in.account.approved), (Role::User, true));
        assert_eq!(signed_in.account.name, "Anne Cooper");
        let squatted = house.login_with("anne@example.org", "the squatter's password").await;
        assert!(squatted.is_err());
    }

    async fn no_stranger_who_registers_an_address_gets_in_with_it(t: &TestDb) {
        let nobody = Caller::nobody();
        // The stranger uses up the mails of the address before her, or comes after her.
        for (address, order) in [
            ("anne@example.org", [true, true, true, true, false]),
            ("vera@example.org", [false, true, true, true, true]),
        ] {
            let theirs = Registration::parse(
                "Eve", address, "the stranger's password".to_owned().into(), Role::User,
            ).unwrap();
            let hers = registration(address, Role::User);
            let house = house(t);
            let accounts = &house.identity.accounts;
            let mut links = Vec::new();
            for is_theirs in order {
                let one = if is_theirs { &theirs } else { &hers };
                accounts.register(&nobody, one).await.unwrap();
                links.push(house.mail_token(address).await);
                t.clock.advance(Duration::from_secs(1));
            }
            for link in &links {
                assert!(accounts.verify_email(&nobody, link, None).await.is_err(), "an older one");
            }
            t.clock.advance(Duration::from_secs(3600));
            let email = Email::parse(address).unwrap();
            accounts.resend_verification(&nobody, &email).await.unwrap();
            let link = house.mail_token(address).await;
            assert!(!accounts.verify_email(&nobody, &link, None).await.unwrap().has_password);
            for guess in ["the stranger's password", PASSWORD] {
                assert!(house.login_with(address, guess).await.is_err());
            }
            // The owner, who reads the mail, sets a new one.
            let recovery = &house.identity.recovery;
            recovery.forgot_password(&nobody, &email).await.unwrap();
            let link = house.mail_token(address).await;
            let new = "eleven calm otters".to_owned().into();
            recovery.reset_password(&nobody, &link, new).await.unwrap();
            house.login_with(address, "eleven calm otters").await.unwrap();
        }
    }

    async fn an_account_that_an_admin_has_made_is_not_for_whoever_registers_its_address(t: &TestDb) {
        let house = house(t);
        let root = house.root().await;
        let body = json!({ "name": "Vera", "email": "vera@example.org", "role": "verifier",
                           "approved": true });
        let made = house.send("POST", "/v1/users", &root, Some(body)).await;
        assert_eq!(made.status, StatusCode::CREATED);
        let first = house.mail_token("vera@example.org").await;
        t.clock.advance(Duration::from_secs(1));
        let nobody = Caller::nobody();
        let stranger = registration("vera@example.org", Role::User);
        house.identity.accounts.register(&nobody, &stranger).await.unwrap();
        let second = house.mail_token("vera@example.org").await;
        let mails = sink::list(&t.db, Some("vera@example.org"), 1).await.unwrap();
        assert_eq!(mails[0].template, "account.set_password", "she is invited once more");
        let people = &house.identity.people;
        let set = async |link: &str| {
            let new = "eleven calm otters".to_owned().into();
            people.set_password(&nobody, link, new).await
        };
        assert_eq!(set(&first).await.unwrap_err().code(), "token_spent");
        set(&second).await.unwrap();
        let vera = house.login_with("vera@example.org", "eleven calm otters").await.unwrap();
        assert_eq!((vera.account.name.as_str(), vera.account.role), ("Vera", Role::Verifier));
        assert!(house.login_with("vera@example.org", PASSWORD).await.is_err());
    }

    async fn of_fifty_tries_of_one_token_one_verifies(t: &TestDb) {
        let house = house(t);
        let nobody = Caller::nobody();
        let anne = registration("anne@example.org", Role::User);
        house.identity.accounts.register(&nobody, &anne).await.unwrap();
        let token = house.mail_token("anne@example.org").await;
        let tries = (0..50).map(|_| house.identity.accounts.verify_email(&nobody, &token, None));
        let outcomes = join_all(tries).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert!(outcomes.iter().flat_map(|o| o.as_ref().err()).all(|e| e.kind() == Kind::Gone));
        let verified = house.facts().await.into_iter().filter(|v| v == "user.email_verified");
        assert_eq!(verified.count(), 1);
    }

    async fn a_verification_token_works_for_a_day(t: &TestDb) {
        let house = house(t);
        let nobody = Caller::nobody();
        let anne = registration("anne@example.org", Role::User);
        house.identity.accounts.register(&nobody, &anne).await.unwrap();
        let token = house.mail_token("anne@example.org").await;
        t.clock.advance(Duration::from_secs(24 * 3600));
        let late = house.identity.accounts.verify_email(&nobody, &token, None).await;
        assert_eq!(late.unwrap_err().code(), "token_spent");
        house.worker.drain().await.unwrap();
        assert_eq!(house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM mail_tokens").await, 0);

        let email = Email::parse("anne@example.org").unwrap();
        house.identity.accounts.resend_verification(&nobody, &email).await.unwrap();
        let token = house.mail_token("anne@example.org").await;
        house.identity.accounts.verify_email(&nobody, &token, None).await.unwrap();
    }

    async fn asking_for_the_mail_again_tells_nothing(t: &TestDb) {
        let house = house(t);
        house.member("verified@example.org", Role::User).await;
        let nobody = Caller::nobody();
        let waiting = registration("waiting@example.org", Role::User);
        house.identity.accounts.register(&nobody, &waiting).await.unwrap();
        let mut answers = BTreeSet::new();
        for email in ["verified@example.org", "waiting@example.org", "unknown@example.org"] {
            let path = "/v1/auth/resend-verification";
            let answer = house.send("POST", path, &nobody, Some(json!({ "email": email }))).await;
            answers.insert((answer.status.as_u16(), answer.json.to_string()));
        }
        assert_eq!(answers.len(), 1);
        house.worker.drain().await.unwrap();
        let mails = async |to| sink::list(&t.db, Some(to), 10).await.unwrap().len();
        assert_eq!(mails("verified@example.org").await, 1);
        assert_eq!(mails("waiting@example.org").await, 2);
        assert_eq!(mails("unknown@example.org").await, 0);
    }

    async fn nobody_is_flooded_with_mail(t: &TestDb) {
        let house = house(t);
        let email = Email::parse("anne@example.org").unwrap();
        let anne = registration("anne@example.org", Role::User);
        house.identity.accounts.register(&Caller::nobody(), &anne).await.unwrap();
        for _ in 0..20 {
            let nobody = Caller::nobody();
            house.identity.accounts.resend_verification(&nobody, &email).await.unwrap();
        }
        house.worker.drain().await.unwrap();
        assert_eq!(sink::list(&t.db, None, 50).await.unwrap().len(), 4);
    }

    async fn a_suspended_account_is_out_at_once_and_back_when_it_may(t: &TestDb) {
        let house = house(t);
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let admin = house.caller(&admin).await;
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let access = anne.tokens.access.expose();
        let cookie = anne.cookie.as_ref().unwrap().0.expose();
        for presented in [access, cookie] {
            house.authenticate(presented).await.unwrap();
        }
        let id = anne.account.id;
        for (lock, open, code) in [
            (Command::Suspend, Command::Unsuspend, "account_suspended"),
            (Command::Ban, Command::Unban, "account_banned"),
        ] {
            house.identity.accounts.command(&admin, id, lock).await.unwrap();
            for presented in [access, cookie] {
                assert!(house.identity.cached(presented, t.db.world().now()).is_none());
                let refused = house.authenticate(presented).await.unwrap_err();
                assert_eq!(refused.code(), "session_ended");
            }
            let refresh = anne.tokens.refresh.expose();
            let nobody = Caller::nobody();
            assert!(house.identity.sessions.refresh(&nobody, refresh).await.is_err());
            let login = house.login_with("anne@example.org", PASSWORD).await.unwrap_err();
            assert_eq!((login.kind(), login.code()), (Kind::Forbidden, code));
            // Whoever does not know the password is not told.
            let wrong = house.login_with("anne@example.org", "wrong password").await.unwrap_err();
            assert_eq!(wrong.code(), "invalid_credentials");
            house.identity.accounts.command(&admin, id, open).await.unwrap();
            assert!(house.authenticate(access).await.is_err(), "a session does not come back");
            house.login("anne@example.org").await;
        }
    }

    async fn an_admin_locks_out_no_admin(t: &TestDb) {
        let house = house(t);
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let other = house.member("other@example.org", Role::Admin).await;
        let caller = house.caller(&admin).await;
        for id in [admin.account.id, other] {
            for command in [Command::Suspend, Command::Ban] {
                let refused = house.identity.accounts.command(&caller, id, command).await;
                assert_eq!(refused.unwrap_err().code(), "admin_protected");
            }
        }
    }

    async fn every_verb_records_one_fact(t: &TestDb) {
        let house = house(t);
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let admin = house.caller(&admin).await;
        let anne = house.signed_in("anne@example.org", Role::Verifier).await;
        let caller = house.caller(&anne).await;
        let id = anne.account.id;
        for command in Command::ALL {
            house.identity.accounts.command(&admin, id, command).await.unwrap();
        }
        let body = Some(json!({ "name": "Anne C." }));
        house.send("PATCH", "/v1/me", &caller, body).await;
        assert_eq!(house.facts().await, [
            "setup.link_created", "user.setup_completed", "session.started", "user.registered",
            "user.email_verified", "session.started", "user.approved", "user.suspended",
            "user.unsuspended", "user.banned", "user.unbanned", "user.profile_changed",
        ]);
        let leaks = "SELECT CAST(COUNT(*) AS BIGINT) FROM facts
                     WHERE data LIKE '%@%' OR data LIKE '%Cooper%' OR data LIKE '%Anne C%'
                         OR subject LIKE '%@%'";
        assert_eq!(house.count(leaks).await, 0);
    }

    async fn a_changed_profile_shows_at_once(t: &TestDb) {
        let house = house(t);
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let me = house.send("GET", "/v1/me", &caller, None).await;
        assert_eq!(me.json["name"], "Anne Cooper");
        assert_eq!(me.json["id"], anne.account.id.to_string());
        assert_eq!(me.json["preferences"], json!({}));
        let body = json!({
            "name": " Anne C. ", "avatar": "https://cdn.example.org/a.png",
            "preferences": { "theme": "dark", "n": [1, 2.5] },
        });
        let changed = house.send("PATCH", "/v1/me", &caller, Some(body)).await;
        assert_eq!(changed.status, StatusCode::OK);
        house.authenticate(anne.tokens.access.expose()).await.unwrap();
        let me = house.send("GET", "/v1/me", &caller, None).await;
        assert_eq!(me.json, changed.json);
        assert_eq!(me.json["name"], "Anne C.");
        assert_eq!(me.json["preferences"], json!({ "theme": "dark", "n": [1, 2.5] }));

        // What stays out stays; null takes away.
        let body = json!({ "avatar": null });
        let changed = house.send("PATCH", "/v1/me", &caller, Some(body)).await;
        assert_eq!((changed.json.get("avatar"), &changed.json["name"]), (None, &me.json["name"]));
        let big = json!({ "preferences": { "x": "y".repeat(9000) }, "name": "\u{7}" });
        let refused = house.send("PATCH", "/v1/me", &caller, Some(big)).await.error.unwrap();
        let pointers: Vec<_> = refused.fields().iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(pointers, ["/name", "/preferences"]);
        let role = house.send("PATCH", "/v1/me", &caller, Some(json!({ "role": "admin" }))).await;
        assert_eq!(role.status, StatusCode::UNPROCESSABLE_ENTITY);
    }

    async fn admins_find_accounts_by_role_status_and_text(t: &TestDb) {
        let house = house(t);
        let admin = house.signed_in("admin@example.org", Role::Admin).await;
        let admin = house.caller(&admin).await;
        for (email, role) in [
            ("100%@example.org", Role::User),
            ("100x@example.org", Role::User),
            ("verifier@example.org", Role::Verifier),
        ] {
            house.member(email, role).await;
        }
        let banned = house.id_of("100x@example.org").await;
        house.identity.accounts.command(&admin, banned, Command::Ban).await.unwrap();
        let emails = async |query: &str| {
            let path = format!("/v1/admin/users?{query}");
            let answer = house.send("GET", &path, &admin, None).await;
            let rows = answer.json.as_array().unwrap_or_else(|| panic!("{query}")).clone();
            rows.iter().map(|row| row["email"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(emails("role=all&status=active&q=").await, [
            "verifier@example.org", "100%@example.org", "admin@example.org",
        ]);
        assert_eq!(emails("role=verifier").await, ["verifier@example.org"]);
        assert_eq!(emails("status=banned").await, ["100x@example.org"]);
        assert_eq!(emails("q=100%25").await, ["100%@example.org"]);
        assert_eq!(emails("q=COOPER&limit=1").await.len(), 1);
        let wrong = house.send("GET", "/v1/admin/users?role=boss", &admin, None).await;
        assert_eq!(wrong.error.unwrap().fields()[0].pointer, "/role");
        let one = house.send("GET", &format!("/v1/admin/users/{banned}"), &admin, None).await;
        assert_eq!(one.json["status"], "banned");
        let text = one.json.to_string();
        assert!(!text.contains("argon2") && !text.contains("password"), "{text}");
    }

    async fn pages_of_accounts_follow_one_another(t: &TestDb) {
        let house = house(t);
        for number in 0..5 {
            house.member(&format!("m{number}@example.org"), Role::User).await;
        }
        let (mut seen, mut page) = (Vec::new(), PageRequest::first(2));
        loop {
            let part = house.identity.accounts.list(&Filter::default(), &page).await.unwrap();
            seen.extend(part.items.iter().map(|account| account.email.as_str().to_owned()));
            let Some(next) = part.next else { break };
            page.after = Some(next);
        }
        assert_eq!(seen.len(), 5);
        assert!(seen.windows(2).all(|pair| pair[0] > pair[1]));
    }

    async fn profiles_come_in_the_order_asked_for(t: &TestDb) {
        let house = house(t);
        let mut ids = Vec::new();
        for number in 0..5 {
            ids.push(house.member(&format!("m{number}@example.org"), Role::User).await);
        }
        ids.reverse();
        ids.insert(2, t.db.world().id());
        let profiles = house.identity.profiles(&ids).await.unwrap();
        ids.remove(2);
        assert_eq!(profiles.iter().map(|profile| profile.id).collect::<Vec<_>>(), ids);
        assert_eq!(house.identity.profiles(&[]).await.unwrap(), []);
        let unknown = house.identity.profile(t.db.world().id()).await;
        assert_eq!(unknown.unwrap_err().kind(), Kind::NotFound);
    }
}
