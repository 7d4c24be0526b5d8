//! The letters of accounts. None repeats what a stranger may have typed: whoever registers
//! somebody else's address would otherwise write to them in our name.

use platform::mail::Letter;

pub(super) const VERIFY_EMAIL: &str = "account.verify_email";
pub(super) const CONFIRM_EMAIL_CHANGE: &str = "account.confirm_email_change";
pub(super) const EMAIL_CHANGE_REQUESTED: &str = "account.email_change_requested";
pub(super) const EMAIL_CHANGED: &str = "account.email_changed";
pub(super) const ADDRESS_TAKEN: &str = "account.address_taken";

pub(super) fn verify_email(link: &str) -> Letter {
    Letter::new("Confirm your mail address")
        .say("Welcome. Confirm that this address is yours to finish the registration.")
        .with_action("Confirm the address", link)
        .with_footnote(
            "The link works once and for 24 hours. If you did not register, ignore this mail: \
             nobody can use the account.",
        )
}

pub(super) fn confirm_email_change(link: &str) -> Letter {
    Letter::new("Confirm your new mail address")
        .say(
            "Somebody who is signed in to an account asked for this address to become the \
             account's. Confirm that it is yours.",
        )
        .with_action("Confirm the address", link)
        .with_footnote(
            "The link works once and for 24 hours. If it was not you, ignore this mail: nothing \
             changes.",
        )
}

pub(super) fn email_change_requested(forgot: &str) -> Letter {
    Letter::new("Another address for your account")
        .say(
            "Somebody who is signed in to your account asked for another mail address. It becomes \
             the account's as soon as the link in the mail to it is followed.",
        )
        .with_action("It was not me", forgot)
        .with_footnote(
            "If it was you, there is nothing that you need to do here. If it was not, choose a new \
             password at once: the link no longer works then.",
        )
}

pub(super) fn email_changed() -> Letter {
    Letter::new("Your account has another address")
        .say("Your account has another mail address now, and mails about it no longer go to this one.")
        .with_footnote("If it was not you, write at once to whoever runs this platform.")
}

pub(super) fn address_taken(sign_in: &str) -> Letter {
    Letter::new("You have an account already")
        .say(
            "Somebody tried to register with this address, for which there is an account \
             already. Nothing about your account was changed.",
        )
        .with_action("Sign in", sign_in)
        .with_footnote("If it was not you, there is nothing that you need to do.")
}
