//! The letters of accounts. None repeats what a stranger may have typed: whoever registers
//! somebody else's address would otherwise write to them in our name.

use platform::mail::Letter;

pub(super) const VERIFY_EMAIL: &str = "account.verify_email";
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

pub(super) fn address_taken(sign_in: &str) -> Letter {
    Letter::new("You have an account already")
        .say(
            "Somebody tried to register with this address, for which there is an account \
             already. Nothing about your account was changed.",
        )
        .with_action("Sign in", sign_in)
        .with_footnote("If it was not you, there is nothing that you need to do.")
}
