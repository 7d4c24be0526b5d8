//! Another mail address for an account.

use http::StatusCode;
use kernel::{Caller, Error, Role};
use platform::mail::sink;
use platform::on_both_engines;
use serde_json::json;

use super::{Email, letters};
use crate::testing::{House, PASSWORD, TABLES, from, house, password, registration, whole};

const OLD: &str = "anne@example.org";
const NEW: &str = "anne@example.net";

#[test]
fn the_letters_are_as_they_were() {
    let link = "https://verza.example/confirm-email-change#token=t0ken";
    insta::assert_snapshot!("confirm_email_change", whole(&letters::confirm_email_change(link)));
    let link = "https://verza.example/forgot-password";
    let letter = letters::email_change_requested(link);
    insta::assert_snapshot!("email_change_requested", whole(&letter));
    insta::assert_snapshot!("email_changed", whole(&letters::email_changed()));
}

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

fn code<T>(outcome: Result<T, Error>) -> String {
    outcome.err().map_or_else(|| "ok".to_owned(), |error| error.code().to_owned())
}

impl House<'_> {
    /// Anne, signed in.
    async fn anne(&self) -> Caller {
        let signed_in = self.signed_in(OLD, Role::User).await;
        self.caller(&signed_in).await
    }

    async fn ask(&self, caller: &Caller, address: &str) -> StatusCode {
        let body = json!({ "email": address });
        self.send("POST", "/v1/me/email", caller, Some(body)).await.status
    }

    async fn confirm(&self, token: &str) -> String {
        code(self.identity.accounts.change_email(&from("192.0.2.9"), token).await)
    }

    /// The newest letter to an address.
    async fn last(&self, to: &str) -> String {
        self.worker.drain().await.unwrap();
        let mails = sink::list(&self.t.db, Some(to), 1).await.unwrap();
        mails.first().map_or_else(String::new, |mail| mail.template.clone())
    }

    async fn address(&self, caller: &Caller) -> String {
        let me = self.send("GET", "/v1/me", caller, None).await;
        me.json["email"].as_str().unwrap().to_owned()
    }
}

on_both_engines! { TABLES;
    async fn an_address_becomes_the_account_s_when_its_link_is_followed(t: &TestDb) {
        let house = house(t);
        let anne = house.anne().await;
        house.identity.recovery.forgot_password(&anne, &email(OLD)).await.unwrap();
        let reset = house.mail_token(OLD).await;
        assert_eq!(house.ask(&anne, " Anne@Example.NET ").await, StatusCode::OK);
        let token = house.mail_token("Anne@Example.NET").await;
        assert_eq!(house.last(OLD).await, letters::EMAIL_CHANGE_REQUESTED);
        assert_eq!(house.address(&anne).await, OLD, "nothing has changed yet");

        assert_eq!(house.confirm(&token).await, "ok");
        assert_eq!(house.last(OLD).await, letters::EMAIL_CHANGED);
        assert_eq!(house.address(&anne).await, "Anne@Example.NET");
        assert_eq!(code(house.login_with(OLD, PASSWORD).await), "invalid_credentials");
        assert_eq!(code(house.login_with(NEW, PASSWORD).await), "ok");
        // A link that went to the old address opens nothing, and none works twice.
        let recovery = &house.identity.recovery;
        let fresh = "seven quiet herons at dusk".to_owned().into();
        assert_eq!(code(recovery.reset_password(&anne, &reset, fresh).await), "token_spent");
        assert_eq!(house.confirm(&token).await, "token_spent");
        // The old address is free again.
        let again = registration(OLD, Role::User);
        house.identity.accounts.register(&Caller::nobody(), &again).await.unwrap();
        assert_eq!(house.last(OLD).await, letters::VERIFY_EMAIL);
    }

    async fn whose_address_it_is_learns_of_it_and_the_asker_does_not(t: &TestDb) {
        let house = house(t);
        let anne = house.anne().await;
        house.member("bob@example.org", Role::User).await;
        assert_eq!(house.ask(&anne, "bob@example.org").await, StatusCode::OK);
        assert_eq!(house.last("bob@example.org").await, letters::ADDRESS_TAKEN);
        assert_eq!(house.ask(&anne, OLD).await, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(house.address(&anne).await, OLD);

        // It gets an account while the link is on its way.
        assert_eq!(house.ask(&anne, NEW).await, StatusCode::OK);
        let token = house.mail_token(NEW).await;
        house.member(NEW, Role::User).await;
        assert_eq!(house.confirm(&token).await, "email_taken");
        assert_eq!(house.address(&anne).await, OLD);
    }

    async fn a_registration_that_was_never_proved_gives_way(t: &TestDb) {
        let house = house(t);
        let anne = house.anne().await;
        let squatter = registration(NEW, Role::User);
        house.identity.accounts.register(&Caller::nobody(), &squatter).await.unwrap();
        assert_eq!(house.ask(&anne, NEW).await, StatusCode::OK);
        let token = house.mail_token(NEW).await;
        assert_eq!(house.confirm(&token).await, "ok");
        assert_eq!(house.address(&anne).await, NEW);
        let live = "SELECT CAST(COUNT(*) AS BIGINT) FROM users WHERE status = 'active'";
        assert_eq!(house.count(live).await, 1);
    }

    async fn a_new_password_and_a_newer_link_take_the_link_away(t: &TestDb) {
        let house = house(t);
        let anne = house.anne().await;
        house.ask(&anne, NEW).await;
        let first = house.mail_token(NEW).await;
        house.ask(&anne, "anne@example.com").await;
        assert_eq!(house.confirm(&first).await, "token_spent");
        let second = house.mail_token("anne@example.com").await;
        let fresh = "seven quiet herons at dusk".to_owned().into();
        let current = password(PASSWORD);
        house.identity.recovery.change_password(&anne, &current, fresh).await.unwrap();
        assert_eq!(house.confirm(&second).await, "token_spent");
        t.clock.advance(std::time::Duration::from_secs(25 * 3600));
        let anne = house.login_with(OLD, "seven quiet herons at dusk").await.unwrap();
        let anne = house.caller(&anne).await;
        house.ask(&anne, NEW).await;
        let late = house.mail_token(NEW).await;
        t.clock.advance(std::time::Duration::from_secs(24 * 3600));
        assert_eq!(house.confirm(&late).await, "token_spent");
        assert_eq!(house.address(&anne).await, OLD);
    }
}
