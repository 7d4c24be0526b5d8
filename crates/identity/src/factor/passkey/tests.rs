use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::{StatusCode, header};
use kernel::{Caller, Level, Role};
use passkey::authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod};
use passkey::client::{Client, DefaultClientData};
use passkey::crypto::AvailableBackend;
use passkey::types::Passkey as Held;
use passkey::types::ctap2::{Aaguid, Ctap2Error};
use platform::mail::sink;
use platform::on_both_engines;
use serde_json::{Value as Json, json};
use webauthn_rs::prelude::Url;

use crate::session::Method;
use crate::testing::{Answer, House, PASSWORD, TABLES, from, house, house_of, options};
use crate::{IdentityOptions, PublicUrl};

const ANNE: &str = "anne@example.org";
const SITE: &str = "https://verza.example";

/// A finger that is always there.
struct Finger;

impl UserValidationMethod for Finger {
    type PasskeyItem = Held;

    // As the trait's macro writes it out.
    fn check_user<'a, 'life0, 'async_trait>(
        &'life0 self,
        _: UiHint<'a, Held>,
        presence: bool,
        verification: bool,
    ) -> Pin<Box<dyn Future<Output = Result<UserCheck, Ctap2Error>> + Send + 'async_trait>>
    where
        'a: 'async_trait,
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(std::future::ready(Ok(UserCheck { presence, verification })))
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
}

/// A browser with an authenticator that holds at most one key.
struct Browser {
    key: Option<Held>,
    /// Whether the authenticator counts its signatures.
    counts: bool,
}

type Software = Authenticator<Option<Held>, Finger, AvailableBackend>;

impl Browser {
    fn new() -> Self {
        Self { key: None, counts: false }
    }

    fn authenticator(&self) -> Software {
        let store = self.key.clone();
        let mut made = Software::new(Aaguid::new_empty(), store, Finger, AvailableBackend);
        made.set_make_credentials_with_signature_counter(self.counts);
        made
    }

    async fn create(&mut self, origin: &str, options: &Json) -> Json {
        let mut client = Client::new(self.authenticator());
        let options = serde_json::from_value(options.clone()).unwrap();
        let origin = Url::parse(origin).unwrap();
        let made = client.register(&origin, options, DefaultClientData).await.unwrap();
        self.key = client.authenticator().store().clone();
        as_browsers_write(serde_json::to_value(made).unwrap())
    }

    async fn get(&mut self, origin: &str, options: &Json) -> Json {
        let mut client = Client::new(self.authenticator());
        let options = serde_json::from_value(options.clone()).unwrap();
        let origin = Url::parse(origin).unwrap();
        let shown = client.authenticate(&origin, options, DefaultClientData).await.unwrap();
        self.key = client.authenticator().store().clone();
        as_browsers_write(serde_json::to_value(shown).unwrap())
    }
}

/// The library writes bytes as numbers, where browsers' `toJSON()` writes base64url.
fn as_browsers_write(value: Json) -> Json {
    let byte = |value: &Json| value.as_u64().and_then(|number| u8::try_from(number).ok());
    match value {
        Json::Array(values) => match values.iter().map(byte).collect::<Option<Vec<u8>>>() {
            Some(bytes) => platform::crypto::base64url(bytes).into(),
            None => values.into_iter().map(as_browsers_write).collect(),
        },
        Json::Object(members) => {
            members.into_iter().map(|(name, value)| (name, as_browsers_write(value))).collect()
        }
        other => other,
    }
}

fn code_of(answer: &Answer) -> &str {
    answer.error.as_ref().map_or("none", |error| error.code())
}

async fn begin_registration(house: &House<'_>, caller: &Caller) -> Json {
    let begun = house.send("POST", "/v1/auth/passkeys/register/start", caller, None).await;
    assert_eq!(begun.status, StatusCode::OK, "{:?}", begun.error);
    begun.json
}

async fn finish_registration(house: &House<'_>, caller: &Caller, credential: Json) -> Answer {
    let body = json!({ "name": "My phone", "credential": credential });
    house.send("POST", "/v1/auth/passkeys/register/finish", caller, Some(body)).await
}

/// Registers the browser's key on the caller's account; its id.
async fn register(house: &House<'_>, caller: &Caller, browser: &mut Browser) -> String {
    let options = begin_registration(house, caller).await;
    let made = browser.create(SITE, &options).await;
    let done = finish_registration(house, caller, made).await;
    assert_eq!(done.status, StatusCode::CREATED, "{:?}", done.error);
    done.json["id"].as_str().unwrap().to_owned()
}

async fn begin_login(house: &House<'_>) -> Json {
    let begun = house.send("POST", "/v1/auth/passkeys/login/start", &from("192.0.2.1"), None).await;
    assert_eq!(begun.status, StatusCode::OK, "{:?}", begun.error);
    begun.json
}

async fn finish_login(house: &House<'_>, credential: &Json) -> Answer {
    let body = Some(json!({ "credential": credential }));
    let path = "/v1/auth/passkeys/login/finish?cookie=true";
    house.send("POST", path, &from("192.0.2.1"), body).await
}

/// Anne on the session on which she registered the browser's key, and the key's id.
async fn anne_with_a_key(house: &House<'_>, browser: &mut Browser) -> (Caller, String) {
    let anne = house.signed_in(ANNE, Role::User).await;
    let caller = house.caller(&anne).await;
    let id = register(house, &caller, browser).await;
    (caller, id)
}

on_both_engines! { TABLES;
    async fn a_passkey_opens_its_account_without_a_name(t: &TestDb) {
        let house = house(t);
        let mut browser = Browser::new();
        let anne = house.signed_in(ANNE, Role::User).await;
        let caller = house.caller(&anne).await;
        let options = begin_registration(&house, &caller).await;
        let public_key = &options["publicKey"];
        assert_eq!(public_key["rp"], json!({ "id": "verza.example", "name": "Verza" }));
        let selection = &public_key["authenticatorSelection"];
        assert_eq!((&selection["residentKey"], &selection["userVerification"]),
            (&json!("required"), &json!("required")));
        let made = browser.create(SITE, &options).await;
        let done = finish_registration(&house, &caller, made).await;
        assert_eq!((done.status, &done.json["name"]), (StatusCode::CREATED, &json!("My phone")));
        // Whoever has just shown a passkey has shown two factors.
        assert_eq!(done.json["level"], "aal2");
        let token = done.json["token"].as_str().unwrap();
        assert_eq!(house.authenticate(token).await.unwrap().level, Level::Two);
        assert!(house.authenticate(anne.tokens.access.expose()).await.is_err());

        let options = begin_login(&house).await;
        assert_eq!(options["publicKey"]["rpId"], "verza.example");
        assert!(options["publicKey"].get("allowCredentials").is_none());
        let shown = browser.get(SITE, &options).await;
        let login = finish_login(&house, &shown).await;
        assert_eq!(login.status, StatusCode::OK, "{:?}", login.error);
        assert!(login.headers.contains_key(header::SET_COOKIE));
        assert_eq!(login.json["user"]["email"], ANNE);
        let token = login.json["token"].as_str().unwrap();
        let principal = house.authenticate(token).await.unwrap();
        assert_eq!((principal.user, principal.level), (anne.account.id, Level::Two));

        let caller = Caller { principal: Some(principal), ..from("192.0.2.1") };
        let listed = house.send("GET", "/v1/auth/passkeys", &caller, None).await.json;
        assert_eq!(listed[0]["id"], done.json["id"]);
        assert_eq!(listed[0]["lastUsedAt"], t.db.world().now().to_string());
        let sessions = house.send("GET", "/v1/me/sessions", &caller, None).await.json;
        assert_eq!(sessions[0]["methods"], json!(["passkey"]));
        let facts = house.facts().await;
        assert!(facts.contains(&"passkey.registered".to_owned()));
        house.worker.drain().await.unwrap();
        let mails = sink::list(&t.db, Some(ANNE), 1).await.unwrap();
        assert_eq!(mails[0].template, "passkey.registered");
        // A passkey does not make the password ask for more.
        house.login(ANNE).await;
    }

    async fn an_answer_is_good_once_and_not_for_long(t: &TestDb) {
        let house = house(t);
        let mut browser = Browser::new();
        let (caller, _) = anne_with_a_key(&house, &mut browser).await;
        let options = begin_login(&house).await;
        let shown = browser.get(SITE, &options).await;
        assert_eq!(finish_login(&house, &shown).await.status, StatusCode::OK);
        let replayed = finish_login(&house, &shown).await;
        assert_eq!((replayed.status, code_of(&replayed)),
            (StatusCode::UNAUTHORIZED, "invalid_passkey"));
        // Two at once are one.
        let shown = browser.get(SITE, &begin_login(&house).await).await;
        let both =
            futures_util::join!(finish_login(&house, &shown), finish_login(&house, &shown));
        let ok = [both.0.status, both.1.status].into_iter().filter(|s| *s == StatusCode::OK);
        assert_eq!(ok.count(), 1);

        let shown = browser.get(SITE, &begin_login(&house).await).await;
        t.clock.advance(Duration::from_secs(300));
        assert_eq!(code_of(&finish_login(&house, &shown).await), "invalid_passkey");
        let options = begin_registration(&house, &caller).await;
        let made = Browser::new().create(SITE, &options).await;
        let done = finish_registration(&house, &caller, made.clone()).await;
        assert_eq!(done.status, StatusCode::CREATED);
        let again = finish_registration(&house, &caller, made).await;
        assert_eq!((again.status, code_of(&again)), (StatusCode::BAD_REQUEST, "invalid_passkey"));
        t.clock.advance(Duration::from_secs(600));
        house.worker.drain().await.unwrap();
        assert_eq!(house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM challenges").await, 0);
    }

    async fn an_answer_to_another_question_is_none(t: &TestDb) {
        let house = house(t);
        let mut browser = Browser::new();
        let (caller, _) = anne_with_a_key(&house, &mut browser).await;
        // A challenge that nobody has asked.
        let mut made_up = begin_login(&house).await;
        made_up["publicKey"]["challenge"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        let shown = browser.get(SITE, &made_up).await;
        assert_eq!(code_of(&finish_login(&house, &shown).await), "invalid_passkey");
        // A right challenge that was not the one that was signed.
        let options = begin_login(&house).await;
        let mut shown = browser.get(SITE, &begin_login(&house).await).await;
        let other = browser.get(SITE, &options).await;
        shown["response"]["clientDataJSON"] = other["response"]["clientDataJSON"].clone();
        assert_eq!(code_of(&finish_login(&house, &shown).await), "invalid_passkey");
        // One of a login is none for a proof, and the other way round.
        let shown = browser.get(SITE, &begin_login(&house).await).await;
        let body = Some(json!({ "passkey": shown }));
        let refused = house.send("POST", "/v1/auth/step-up", &caller, body).await;
        assert_eq!(code_of(&refused), "wrong_proof");
        let options = house.send("POST", "/v1/auth/step-up/passkey", &caller, None).await.json;
        let shown = browser.get(SITE, &options).await;
        assert_eq!(code_of(&finish_login(&house, &shown).await), "invalid_passkey");
        // Bent in any part, it is nothing; nor is what is no answer at all.
        let good = browser.get(SITE, &begin_login(&house).await).await;
        for place in ["signature", "authenticatorData", "clientDataJSON", "userHandle"] {
            let mut bent = good.clone();
            bent["response"][place] = json!("AAAA");
            assert_eq!(code_of(&finish_login(&house, &bent).await), "invalid_passkey", "{place}");
        }
        let nothing = finish_login(&house, &json!({ "id": 1 })).await;
        assert_eq!(nothing.status, StatusCode::UNPROCESSABLE_ENTITY);
    }

    async fn another_origin_is_refused(t: &TestDb) {
        let house = house(t);
        let mut browser = Browser::new();
        let (caller, _) = anne_with_a_key(&house, &mut browser).await;
        // A page of a sub-domain may ask for the site's keys, says the browser; not here.
        for origin in ["https://evil.verza.example", "https://verza.example:8443"] {
            let shown = browser.get(origin, &begin_login(&house).await).await;
            assert_eq!(code_of(&finish_login(&house, &shown).await), "invalid_passkey", "{origin}");
            let options = begin_registration(&house, &caller).await;
            let made = Browser::new().create(origin, &options).await;
            let refused = finish_registration(&house, &caller, made).await;
            assert_eq!(code_of(&refused), "invalid_passkey", "{origin}");
        }
    }

    async fn a_key_that_was_not_unlocked_opens_nothing(t: &TestDb) {
        let house = house(t);
        let mut browser = Browser::new();
        anne_with_a_key(&house, &mut browser).await;
        let mut options = begin_login(&house).await;
        options["publicKey"]["userVerification"] = json!("discouraged");
        let shown = browser.get(SITE, &options).await;
        assert_eq!(code_of(&finish_login(&house, &shown).await), "invalid_passkey");
    }

    async fn a_removed_key_opens_nothing(t: &TestDb) {
        let house = house(t);
        let mut browser = Browser::new();
        let (caller, id) = anne_with_a_key(&house, &mut browser).await;
        let eve = house.signed_in("eve@example.org", Role::User).await;
        let eve = house.caller(&eve).await;
        let path = format!("/v1/auth/passkeys/{id}");
        let name = Some(json!({ "name": "Old phone" }));
        // Somebody else's is not there.
        assert_eq!(house.send("DELETE", &path, &eve, None).await.status, StatusCode::NOT_FOUND);
        let foreign = house.send("PATCH", &path, &eve, name.clone()).await;
        assert_eq!(foreign.status, StatusCode::NOT_FOUND);
        assert_eq!(house.send("GET", "/v1/auth/passkeys", &eve, None).await.json, json!([]));

        assert_eq!(house.send("PATCH", &path, &caller, name).await.status, StatusCode::OK);
        let listed = house.send("GET", "/v1/auth/passkeys", &caller, None).await.json;
        assert_eq!(listed[0]["name"], "Old phone");
        // Also when the removal comes between the question and the answer.
        let shown = browser.get(SITE, &begin_login(&house).await).await;
        assert_eq!(house.send("DELETE", &path, &caller, None).await.status, StatusCode::OK);
        assert_eq!(code_of(&finish_login(&house, &shown).await), "invalid_passkey");
        let shown = browser.get(SITE, &begin_login(&house).await).await;
        assert_eq!(code_of(&finish_login(&house, &shown).await), "invalid_passkey");
        let gone = house.send("DELETE", &path, &caller, None).await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND);
        let facts = house.facts().await;
        for verb in ["passkey.renamed", "passkey.removed"] {
            assert_eq!(facts.iter().filter(|fact| *fact == verb).count(), 1, "{verb}");
        }
    }

    async fn a_counter_that_goes_back_is_refused_and_told(t: &TestDb) {
        let house = house(t);
        let mut browser = Browser { counts: true, ..Browser::new() };
        let (_, id) = anne_with_a_key(&house, &mut browser).await;
        let copy = browser.key.clone();
        for _ in 0..3 {
            let shown = browser.get(SITE, &begin_login(&house).await).await;
            assert_eq!(finish_login(&house, &shown).await.status, StatusCode::OK);
        }
        let mut thief = Browser { key: copy, counts: true };
        let shown = thief.get(SITE, &begin_login(&house).await).await;
        let refused = finish_login(&house, &shown).await;
        assert_eq!((refused.status, code_of(&refused)),
            (StatusCode::UNAUTHORIZED, "passkey_counter_regressed"));
        let subjects = "SELECT CAST(COUNT(*) AS BIGINT) FROM facts
                        WHERE verb = 'passkey.counter_regressed' AND subject = ";
        assert_eq!(house.count(&format!("{subjects}'{id}'")).await, 1);
        house.worker.drain().await.unwrap();
        let mails = sink::list(&t.db, Some(ANNE), 1).await.unwrap();
        assert_eq!(mails[0].template, "passkey.counter_regressed");
        // The owner's own goes on counting.
        let shown = browser.get(SITE, &begin_login(&house).await).await;
        assert_eq!(finish_login(&house, &shown).await.status, StatusCode::OK);
    }

    async fn two_answers_with_one_count_are_one_login(t: &TestDb) {
        let house = house(t);
        let mut browser = Browser { counts: true, ..Browser::new() };
        anne_with_a_key(&house, &mut browser).await;
        let mut copy = Browser { key: browser.key.clone(), counts: true };
        let one = browser.get(SITE, &begin_login(&house).await).await;
        let two = copy.get(SITE, &begin_login(&house).await).await;
        let both = futures_util::join!(finish_login(&house, &one), finish_login(&house, &two));
        let ok = [both.0.status, both.1.status].into_iter().filter(|s| *s == StatusCode::OK);
        assert_eq!(ok.count(), 1);
    }

    async fn a_key_belongs_to_one_account_and_one_session_s_registration(t: &TestDb) {
        let house = house(t);
        let mut browser = Browser::new();
        let (caller, _) = anne_with_a_key(&house, &mut browser).await;
        let eve = house.signed_in("eve@example.org", Role::User).await;
        let eve_calls = house.caller(&eve).await;
        // Begun by one and finished by another: also on another session of the same account.
        let other = house.login(ANNE).await;
        for stranger in [&eve_calls, &house.caller(&other).await] {
            let options = begin_registration(&house, &caller).await;
            let made = Browser::new().create(SITE, &options).await;
            let refused = finish_registration(&house, stranger, made).await;
            assert_eq!(code_of(&refused), "invalid_passkey");
        }
        // Keys that are there already are named, so that authenticators do not make them twice.
        let options = begin_registration(&house, &caller).await;
        assert_eq!(options["publicKey"]["excludeCredentials"].as_array().unwrap().len(), 1);
        assert_eq!(house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM passkeys").await, 1);
    }

    async fn a_passkey_is_shown_once_more_on_a_session(t: &TestDb) {
        let house = house(t);
        let mut browser = Browser::new();
        anne_with_a_key(&house, &mut browser).await;
        t.clock.advance(Duration::from_secs(3600));
        let by_password = house.login(ANNE).await;
        let caller = house.caller(&by_password).await;
        assert_eq!(caller.principal().unwrap().level, Level::One);
        let begun = house.send("POST", "/v1/auth/step-up/passkey", &caller, None).await;
        assert_eq!(begun.json["publicKey"]["allowCredentials"].as_array().unwrap().len(), 1);
        let shown = browser.get(SITE, &begun.json).await;
        // On the session that has asked, and on no other.
        let other = house.login(ANNE).await;
        let body = || Some(json!({ "passkey": shown.clone() }));
        let refused =
            house.send("POST", "/v1/auth/step-up", &house.caller(&other).await, body()).await;
        assert_eq!(code_of(&refused), "wrong_proof");
        let begun = house.send("POST", "/v1/auth/step-up/passkey", &caller, None).await;
        let shown = browser.get(SITE, &begun.json).await;
        let body = Some(json!({ "passkey": shown }));
        let done = house.send("POST", "/v1/auth/step-up", &caller, body).await;
        assert_eq!(done.json["level"], "aal2", "{:?}", done.error);
        assert_eq!(done.json["methods"], json!([Method::Password, Method::Passkey]));

        let eve = house.signed_in("eve@example.org", Role::User).await;
        let none =
            house.send("POST", "/v1/auth/step-up/passkey", &house.caller(&eve).await, None).await;
        assert_eq!(code_of(&none), "not_enrolled");
    }

    async fn a_locked_account_is_opened_by_no_passkey(t: &TestDb) {
        let house = house(t);
        let mut browser = Browser::new();
        let (caller, _) = anne_with_a_key(&house, &mut browser).await;
        let admin = house.signed_in("root@example.org", Role::Admin).await;
        let admin = house.caller(&admin).await;
        let anne = caller.user().unwrap();
        let suspend = crate::account::Command::Suspend;
        house.identity.accounts.command(&admin, anne, suspend).await.unwrap();
        let shown = browser.get(SITE, &begin_login(&house).await).await;
        let refused = finish_login(&house, &shown).await;
        assert_eq!(code_of(&refused), "account_suspended");
    }

    async fn an_admin_s_last_passkey_stays_where_there_is_nothing_else(t: &TestDb) {
        let house = house(t);
        let mut browser = Browser::new();
        let root = house.signed_in("root@example.org", Role::Admin).await;
        let caller = house.caller(&root).await;
        let id = register(&house, &caller, &mut browser).await;
        let path = format!("/v1/auth/passkeys/{id}");
        let refused = house.send("DELETE", &path, &caller, None).await;
        assert_eq!(code_of(&refused), "second_factor_needed");
        let again = house.send("POST", "/v1/auth/passkeys/register/start", &caller, None).await;
        assert_eq!(code_of(&again), "second_factor_required", "with the password alone");
        let mut shown = kernel::Principal::clone(caller.principal().unwrap());
        shown.level = kernel::Level::Two;
        let caller = Caller { principal: Some(std::sync::Arc::new(shown)), ..caller };
        register(&house, &caller, &mut Browser::new()).await;
        assert_eq!(house.send("DELETE", &path, &caller, None).await.status, StatusCode::OK);
    }

    async fn the_site_is_the_configured_one(t: &TestDb) {
        let at = |url: &str| {
            let public_url = PublicUrl::parse(url).unwrap();
            house_of(t, IdentityOptions { public_url, ..options(t) })
        };
        let local = at("http://localhost:8080/under/a/path");
        assert_eq!(begin_login(&local).await["publicKey"]["rpId"], "localhost");
        let bare = at("http://127.0.0.1:8080");
        let caller = from("192.0.2.1");
        let none = bare.send("POST", "/v1/auth/passkeys/login/start", &caller, None).await;
        assert_eq!((none.status, code_of(&none)),
            (StatusCode::CONFLICT, "passkeys_unavailable"));
        bare.member(ANNE, Role::User).await;
        assert!(bare.login_with(ANNE, PASSWORD).await.is_ok(), "all else works");
    }
}
