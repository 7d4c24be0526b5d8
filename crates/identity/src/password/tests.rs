use std::time::Duration;

use futures_util::future::join_all;
use kernel::{Caller, Kind, Secret};
use platform::testing::world;
use proptest::prelude::*;

use super::{Hasher, Hashing, Password, Phc};
use crate::testing::{from, password};

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

/// Known answers: the hash, its password, and where both are published.
const KNOWN: &[(&str, &str)] = &[
    // phc-winner-argon2, test.c: version 0x13, t=2, m=2^16, p=1, and its README with p=4.
    (
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "password",
    ),
    ("$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG", "password"),
    // Made with the reference implementation, since none is published without a secret.
    ("$argon2d$v=19$m=256,t=2,p=2$c29tZXNhbHQ$CbyPbUWfovcinxDjdz7tL7DPvNw689/k", "password"),
    // The version before: phc-winner-argon2, test.c: version 0x10, t=2, m=2^8, p=1.
    ("$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY", "password"),
    // Openwall's crypt_blowfish, wrapper.c.
    ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
    ("$2b$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"),
    ("$2y$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"),
    ("$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
    (
        "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 \
         are ignored",
    ),
    // RFC 7914, section 12.
    (
        "$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/\
         xCSedmDDaxyevuUqD7m2DYMvfoswGQA",
        "password",
    ),
    // The README of Firebase's own scrypt utility.
    (
        "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjL\
         NmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/\
         qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
        "user1password",
    ),
    // RFC 7914, section 11; RFC 6070.
    (
        "$pbkdf2-sha256$i=1,l=64$c2FsdA$VawEblbjCJ/sFpHCJUS2BflBhSFt3gRl5oudV8INrLxJypzM8Xm2RZkWZLOdd\
         +8xfHG4RbHjC9UJESBB06GXgw",
        "passwd",
    ),
    ("$pbkdf2-sha1$i=4096$c2FsdA$SwB5AbdlSJq+rUnZJvch0GWkKcE", "password"),
    // The documentation of passlib.
    (
        "$pbkdf2-sha256$6400$.6UI/S.nXIk8jcbdHx3Fhg$98jZicV16ODfEsEZeYPGHU3kbrUrvUEXOPimVSQDD44",
        "password",
    ),
    // The tests of Django 5.1.
    ("pbkdf2_sha256$870000$seasalt$wJSpLMQRQz0Dhj/pFpbyjMj71B2gUYp6HJS5AU+32Ac=", "lètmein"),
    // The tests of passlib, and made with it.
    ("{SSHA}0H+zTv8o4MR4H43n03eCsvw1luG8LdB7", "secret"),
    ("{SSHA256}oBmrdHcA6OZEkkCLeXh71YAerbvhXz1qqwjrPsXmEtNzYWx0c2FsdA==", "secret"),
    (
        "{SSHA512}aCu7JRc+kLsuEmFs1zTY+AiP7DSGnjjG+dH28Dp+E5usqoAixeTPihKqZmkWal4mUfp63tqvCAkFV1LKTDF\
         H6XNhbHRzYWx0",
        "secret",
    ),
];

#[tokio::test]
async fn hashes_from_elsewhere_are_understood() {
    let hasher = hasher(&Hashing::for_tests());
    for (text, right) in KNOWN {
        let stored = Phc::from_elsewhere("/passwordHash", text).unwrap();
        assert!(hasher.verify(&password(right), Some(&stored)).await.unwrap(), "{text}");
        let wrong = password(&format!("x{right}"));
        assert!(!hasher.verify(&wrong, Some(&stored)).await.unwrap(), "{text}");
        assert!(hasher.is_outdated(&stored));
        let made = hasher.on_behalf_of(&Caller::nobody()).rehash(&password(right), &stored).await;
        let made = made.unwrap().expect("a hash of today");
        assert!(made.0.starts_with("$argon2id$v=19$") && !hasher.is_outdated(&made));
    }
}

#[test]
fn hashes_that_cost_too_much_are_refused_before_they_cost_anything() {
    let hash = "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    for text in [
        format!("$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ${hash}"),
        format!("$argon2id$v=19$m=65536,t=4294967295,p=1$c29tZXNhbHQ${hash}"),
        format!("$argon2id$v=19$m=65536,t=1,p=255$c29tZXNhbHQ${hash}"),
        "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        format!("$scrypt$ln=25,r=8,p=1$c29tZXNhbHQ${hash}"),
        format!("$scrypt$ln=63,r=1048576,p=1048576$c29tZXNhbHQ${hash}"),
        format!("$scrypt$ln=1,r=8,p=1048576$c29tZXNhbHQ${hash}"),
        format!("$fbscrypt$v=1,n=30,r=8,p=1,ss=Bw==,sk={hash}$c29tZXNhbHQ${hash}"),
        format!("$pbkdf2-sha256$i=2147483648$c29tZXNhbHQ${hash}"),
        format!("pbkdf2_sha256$4294967295$seasalt${hash}="),
    ] {
        let refused = Phc::from_elsewhere("/passwordHash", &text).unwrap_err();
        assert_eq!(refused.fields()[0].code, "too_costly", "{text}");
    }
}

#[test]
fn what_is_no_whole_hash_is_refused_and_never_repeated() {
    let long = format!("{{SSHA}}{}", "A".repeat(2000));
    for text in [
        "",
        "plain",
        "$",
        "$$$$",
        "{SSHA}",
        // A digest without a salt, and a hash of nothing, which everything would fit.
        "{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieM=",
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$",
        "$pbkdf2-sha256$i=1000$c2FsdA$",
        "$pbkdf2-sha256$i=1000$c2FsdA$AAAA",
        "$pbkdf2-sha256$i=0$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$pbkdf2-sha256$i=1,i=2$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$pbkdf2-sha256$i=1,l=31$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2id$v=20$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe",
        "$2b$32$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/",
        "{MD5}X03MO1qnZdYdgyfeuILPmQ==",
        "{CRYPT}$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "{SSHA}ä",
        long.as_str(),
    ] {
        let error = Phc::from_elsewhere("/passwordHash", text).unwrap_err();
        assert_eq!(error.fields()[0].code, "unknown_scheme", "{text}");
        assert!(text.len() < 8 || !format!("{error:?}").contains(text));
    }
    let stored = Phc::from_elsewhere("/passwordHash", KNOWN[0].0).unwrap();
    assert!(!format!("{stored:?}").contains("c29tZXNhbHQ"));
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader_of_hashes(
        name in prop::sample::select(vec![
            "$argon2id$", "$2b$", "$scrypt$", "$fbscrypt$", "$pbkdf2-sha256$", "pbkdf2_sha256$",
            "{SSHA}", "{SSHA512}", "",
        ]),
        rest in "[$a-z0-9=,./+é{}]{0,80}",
    ) {
        let _ = Phc::from_elsewhere("/passwordHash", &format!("{name}{rest}"));
    }
}

#[tokio::test]
async fn bcrypt_can_be_chosen_and_says_openly_that_it_looks_at_72_bytes() {
    let argon2 = hasher(&Hashing::for_tests());
    let bcrypt = hasher(&Hashing { bcrypt_cost: Some(4), ..Hashing::for_tests() });
    let made = bcrypt.hash(&password("a horse of no battery")).await.unwrap();
    assert!(made.0.starts_with("$2b$04$") && made.0.len() == 60);
    assert!(bcrypt.verify(&password("a horse of no battery"), Some(&made)).await.unwrap());
    assert!(!bcrypt.verify(&password("a horse of one battery"), Some(&made)).await.unwrap());
    assert!(!bcrypt.verify(&password("a horse of no battery"), None).await.unwrap());
    assert!(!bcrypt.is_outdated(&made) && argon2.is_outdated(&made));

    let (fits, long) = ("x1".repeat(36), format!("{}!", "x1".repeat(36)));
    assert!(bcrypt.hash(&password(&fits)).await.is_ok());
    let refused = bcrypt.hash(&password(&long)).await.unwrap_err();
    let field = &refused.fields()[0];
    assert_eq!((field.pointer.as_str(), field.code.as_str()), ("/password", "too_long"));

    // Whoever has such a password already keeps it, under the hash that they have.
    let kept = argon2.hash(&password(&long)).await.unwrap();
    assert!(bcrypt.verify(&password(&long), Some(&kept)).await.unwrap());
    let caller = Caller::nobody();
    assert!(bcrypt.on_behalf_of(&caller).rehash(&password(&long), &kept).await.unwrap().is_none());
    let short = argon2.hash(&password(&fits)).await.unwrap();
    assert!(bcrypt.on_behalf_of(&caller).rehash(&password(&fits), &short).await.unwrap().is_some());
    assert!(
        Hasher::new(&Hashing { bcrypt_cost: Some(3), ..Hashing::for_tests() }, world().0).is_err()
    );
}

#[tokio::test]
async fn a_flood_from_one_address_does_not_starve_another() {
    let hasher = hasher(&Hashing {
        at_once: 1,
        waiting_max: 8,
        wait_max: Duration::from_secs(600),
        ..Hashing::default()
    });
    let guess = &password("a horse of no battery");
    let (flooder, other) = (from("192.0.2.1"), from("198.51.100.1"));
    let flood = join_all((0..100).map(|_| hasher.on_behalf_of(&flooder).verify(guess, None)));
    let other = async { hasher.on_behalf_of(&other).verify(guess, None).await };
    let (flood, other) = tokio::join!(flood, other);
    assert!(other.is_ok(), "the line was full when the other came");
    assert!(flood.iter().filter(|outcome| outcome.is_ok()).count() <= 9);
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
