//! The letters of recovery. None repeats what a stranger may have typed.

use platform::mail::Letter;

pub(super) const RESET_PASSWORD: &str = "recovery.reset_password";
pub(super) const PASSWORD_CHANGED: &str = "recovery.password_changed";

pub(super) fn reset_password(link: &str) -> Letter {
    Letter::new("Choose a new password")
        .say(
            "Somebody said that they forgot the password of the account with this address. If it \
             was you, choose a new one.",
        )
        .with_action("Choose a new password", link)
        .with_footnote(
            "The link works once and for one hour. If it was not you, ignore this mail: the \
             password stays as it is.",
        )
}

pub(super) fn password_changed(forgot: &str) -> Letter {
    Letter::new("Your password was changed")
        .say("The password of your account was changed just now.")
        .say("You were signed out on all devices but the one on which it was changed, if any.")
        .with_action("It was not me", forgot)
        .with_footnote(
            "If it was you, there is nothing that you need to do. If it was not, choose a new \
             password at once.",
        )
}
