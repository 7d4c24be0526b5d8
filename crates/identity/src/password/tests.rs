use std::time::Duration;

use futures_util::future::join_all;
use kernel::{Kind, Secret};
use platform::testing::world;

use super::{Hasher, Hashing, Password, Phc};
use crate::testing::password;

fn hasher(hashing: &Hashing) -> Hasher {
    Hasher::new(hashing, world().0).unwrap()
}

fn refusal(text: &str) -> Option<String> {
    let text = Secret::new(text.to_owned());
    let refused = Password::parse("/password", text, "anne.cooper@example.org").err()?;
    assert_eq!(refused.fields()[0].pointer, "/password");
    Some(refused.fields()[0].code.clone())
}

#[test]
fn a_password_is_neither_short_nor_long_nor_the_first_guess() {
    for (text, code) in [
        ("", Some("too_short")),
        ("1234567", Some("too_short")),
        (&*"x1".repeat(129), Some("too_long")),
        ("password1", Some("too_common")),
        ("PassWord123", Some("too_common")),
        ("qwertyuiop", Some("too_common")),
        ("zzzzzzzzzzzz", Some("too_common")),
        ("anne.cooper@example.org", Some("too_common")),
        ("Anne.Cooper", Some("too_common")),
        ("jkl;uiop", None),
        ("пароль-из-слов", None),
        (&*"x1".repeat(128), None),
    ] {
        assert_eq!(refusal(text).as_deref(), code, "{text:?}");
    }
}

#[tokio::test]
async fn the_reference_implementation_s_hash_is_understood() {
    // phc-winner-argon2, test.c: version 0x13, t=2, m=2^16, p=1, "password", "somesalt".
    let reference = Phc("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                         $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
        .to_owned());
    let hasher = hasher(&Hashing::for_tests());
    assert!(hasher.verify(&password("password"), Some(&reference)).await.unwrap());
    assert!(!hasher.verify(&password("Password"), Some(&reference)).await.unwrap());
}

#[tokio::test]
async fn a_hash_says_what_it_cost_and_fits_its_password_only() {
    let hasher = hasher(&Hashing::default());
    let hash = hasher.hash(&password("a horse of no battery")).await.unwrap();
    assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash:?}");
    assert!(hasher.verify(&password("a horse of no battery"), Some(&hash)).await.unwrap());
    assert!(!hasher.verify(&password("a horse of one battery"), Some(&hash)).await.unwrap());
    assert!(!hasher.verify(&password("a horse of no battery"), None).await.unwrap());
    let again = hasher.hash(&password("a horse of no battery")).await.unwrap();
    assert_ne!(hash, again);
}

#[tokio::test]
async fn a_hash_of_other_parameters_is_outdated_and_still_checked() {
    let old = hasher(&Hashing::for_tests());
    let new = hasher(&Hashing { passes: 2, ..Hashing::for_tests() });
    let hash = old.hash(&password("a horse of no battery")).await.unwrap();
    assert!(!old.is_outdated(&hash) && new.is_outdated(&hash));
    assert!(new.verify(&password("a horse of no battery"), Some(&hash)).await.unwrap());
}

#[tokio::test]
async fn whoever_does_not_fit_in_the_line_is_told_at_once() {
    let hasher = hasher(&Hashing {
        at_once: 1,
        waiting_max: 2,
        wait_max: Duration::from_secs(600),
        ..Hashing::default()
    });
    let guess = password("a horse of no battery");
    let outcomes = join_all((0..20).map(|_| hasher.verify(&guess, None))).await;
    let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(refused.len(), 17);
    assert!(refused.iter().all(|error| error.kind() == Kind::Unavailable));
    assert!(refused.iter().all(|error| error.retry_after_seconds().is_some()));
    // The line is empty again.
    assert!(hasher.verify(&guess, None).await.is_ok());
}

#[tokio::test]
async fn whoever_waits_too_long_is_told_so() {
    let hashing =
        Hashing { at_once: 1, waiting_max: 9, wait_max: Duration::ZERO, ..Hashing::default() };
    let hasher = hasher(&hashing);
    let guess = password("a horse of no battery");
    let outcomes = join_all((0..3).map(|_| hasher.verify(&guess, None))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    let hashing = Hashing { memory_kib: 1, ..Hashing::for_tests() };
    assert!(Hasher::new(&hashing, world().0).is_err());
}
