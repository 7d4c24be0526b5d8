//! The letters to people for whom an admin has made an account.

use platform::mail::Letter;

pub(crate) const SET_PASSWORD: &str = "account.set_password";

pub(crate) fn set_password(link: &str) -> Letter {
    Letter::new("Your account is ready")
        .say(
            "An account has been made for you. Choose a password to sign in with; that also \
             confirms that this address is yours.",
        )
        .with_action("Choose a password", link)
        .with_footnote(
            "The link works once and for seven days. If you did not expect this, ignore this \
             mail: without a password nobody can use the account.",
        )
}
