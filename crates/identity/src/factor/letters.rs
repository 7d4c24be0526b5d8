//! The letters of factors: each says what has changed about how one signs in, to whoever may not
//! have done it. None carries a code, a key, or a link that does anything by itself.

use platform::mail::Letter;

const NOT_YOU: &str = "If it was not you, somebody else can get into your account: sign in, end \
    the sessions that you do not know, and change your password.";

/// A letter's template and text.
pub(super) struct Named(pub(super) &'static str, pub(super) Letter);

fn letter(template: &'static str, subject: &str, what: String) -> Named {
    Named(template, Letter::new(subject).say(what).with_footnote(NOT_YOU))
}

pub(super) fn enrolled() -> Named {
    letter(
        "factor.totp_enrolled",
        "An authenticator app was added",
        "From now on, signing in to your account takes a code of your authenticator app beside \
         the password. Keep the recovery codes where you find them without the app."
            .into(),
    )
}

pub(super) fn removed() -> Named {
    letter(
        "factor.totp_removed",
        "The authenticator app was removed",
        "Your account no longer asks for a code when you sign in. The recovery codes are void."
            .into(),
    )
}

pub(super) fn codes_made() -> Named {
    letter(
        "factor.recovery_codes_made",
        "There are new recovery codes",
        "New recovery codes were made for your account. Those from before are void.".into(),
    )
}

pub(super) fn code_used(left: i64) -> Named {
    letter(
        "factor.recovery_code_used",
        "A recovery code was used",
        format!("A recovery code of your account was used, which works once. Left: {left}."),
    )
}

pub(super) fn guesses_exhausted() -> Named {
    letter(
        "factor.guesses_exhausted",
        "Somebody knows your password",
        "Somebody signed in to your account with the right password and then gave wrong codes, \
         again and again. They did not get in. If that was not you, change your password."
            .into(),
    )
}

pub(super) fn passkey_registered() -> Named {
    letter(
        "passkey.registered",
        "A passkey was added",
        "A new passkey opens your account from now on.".into(),
    )
}

pub(super) fn passkey_removed() -> Named {
    letter(
        "passkey.removed",
        "A passkey was removed",
        "One of the passkeys of your account no longer opens it.".into(),
    )
}

pub(super) fn counter_regressed() -> Named {
    letter(
        "passkey.counter_regressed",
        "There may be a copy of your passkey",
        "Somebody tried to sign in with one of your passkeys, and its counter had gone back: \
         there may be two of it. They did not get in. Remove that passkey and add a new one."
            .into(),
    )
}
