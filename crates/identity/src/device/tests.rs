use std::sync::Arc;

use kernel::caller::Origin;
use kernel::{Caller, Error, Role};

use super::*;
use crate::account::Email;
use crate::session::{Login, SignedIn};
use crate::testing::{House, PASSWORD, TABLES, from, house, master, password};

fn user(number: u128) -> Id<User> {
    Id::from_uuid(Uuid::from_u128(number))
}

#[test]
fn a_device_is_known_to_its_account_for_a_year_and_to_nobody_else() {
    let (world, clock) = platform::testing::world();
    let devices = Devices::new(&master());
    let text = devices.issue(user(1), &world).0.expose().clone();
    let known = |text: &str, account, now| {
        Shown::parse(text).and_then(|shown| devices.known(&shown, account, now))
    };
    let first = known(&text, user(1), world.now());
    assert!(first.is_some());
    assert_eq!(known(&text, user(2), world.now()), None);
    let strange = Devices::new(&MasterKey::new([9; 32]));
    assert_eq!(strange.known(&Shown::parse(&text).unwrap(), user(1), world.now()), None);
    for place in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(bytes).unwrap();
        assert_eq!(known(&other, user(1), world.now()), None, "letter {place}");
    }
    for text in ["", "x", &text[1..], &format!("{text}A"), &"=".repeat(text.len())] {
        assert_eq!(known(text, user(1), world.now()), None, "{text}");
    }
    clock.advance(DAY * (KNOWN_DAYS - 1));
    assert_eq!(known(&text, user(1), world.now()), first);
    clock.advance(DAY);
    assert_eq!(known(&text, user(1), world.now()), None);
}

/// What an observer of two accounts' cookies could compare differs in every part but the day.
#[test]
fn the_devices_of_two_accounts_have_nothing_in_common() {
    let (world, _) = platform::testing::world();
    let devices = Devices::new(&master());
    let shown = |account| Shown::parse(devices.issue(account, &world).0.expose()).unwrap();
    let (a, b) = (shown(user(1)), shown(user(2)));
    assert_ne!(a.device, b.device);
    assert_ne!(a.mac, b.mac);
}

async fn login(
    house: &House<'_>,
    ip: &str,
    device: Option<&str>,
    text: &str,
) -> Result<SignedIn, Error> {
    let caller = from(ip);
    let origin = Origin { device: device.map(Arc::from), ..caller.origin };
    let email = Email::parse("anne@example.org").unwrap();
    let login = Login::new(email, password(text));
    house.identity.sessions.login(&Caller { origin, ..Caller::nobody() }, &login).await
}

/// Ten thousand wrong passwords for one account, from a thousand addresses, at one moment.
async fn besiege(house: &House<'_>) {
    let mut wrong = 0;
    for address in 0..1_000 {
        let ip = format!("198.51.{}.{}", address / 250, address % 250);
        for _ in 0..10 {
            let refused = login(house, &ip, None, "a wrong guess").await.unwrap_err();
            match refused.code() {
                "invalid_credentials" => wrong += 1,
                code => assert_eq!(code, "rate_limited"),
            }
        }
    }
    assert_eq!(wrong, 30, "so many were looked at");
}

platform::on_both_engines! { TABLES;
    async fn guessing_from_everywhere_does_not_lock_a_known_device_out(t: &TestDb) {
        let house = house(t);
        house.member("anne@example.org", Role::User).await;
        let first = login(&house, "192.0.2.1", None, PASSWORD).await.unwrap();
        let device = first.device.0.expose();
        besiege(&house).await;
        // Also from an address where it has never been.
        for ip in ["192.0.2.1", "203.0.113.9"] {
            login(&house, ip, Some(device), PASSWORD).await.unwrap();
        }
        // A stranger's right password waits for what it is told, which is half a minute at most.
        let waits = login(&house, "203.0.113.1", None, PASSWORD).await.unwrap_err();
        let seconds = waits.retry_after_seconds().unwrap();
        assert!(seconds <= 30, "{seconds}");
        t.clock.advance(Duration::from_secs(seconds.into()));
        login(&house, "203.0.113.1", None, PASSWORD).await.unwrap();
    }

    async fn a_known_device_may_not_guess_either(t: &TestDb) {
        let house = house(t);
        house.member("anne@example.org", Role::User).await;
        let first = login(&house, "192.0.2.1", None, PASSWORD).await.unwrap();
        let device = Some(first.device.0.expose().as_str());
        let mut codes = Vec::new();
        for n in 0..12 {
            // Its address makes no difference.
            let ip = format!("203.0.113.{n}");
            codes.push(login(&house, &ip, device, "a wrong guess").await.unwrap_err());
        }
        let looked_at = codes.iter().filter(|error| error.code() == "invalid_credentials");
        assert_eq!(looked_at.count(), 10);
        assert_eq!(login(&house, "192.0.2.1", device, PASSWORD).await.unwrap_err().code(), "rate_limited");
        // Which takes nothing from anybody else.
        login(&house, "192.0.2.1", None, PASSWORD).await.unwrap();
    }

    async fn a_device_of_another_account_is_a_stranger(t: &TestDb) {
        let house = house(t);
        house.member("anne@example.org", Role::User).await;
        let eve = house.signed_in("eve@example.org", Role::User).await;
        let device = Some(eve.device.0.expose().as_str());
        for _ in 0..10 {
            login(&house, "192.0.2.9", device, "a wrong guess").await.unwrap_err();
        }
        let refused = login(&house, "192.0.2.9", device, PASSWORD).await.unwrap_err();
        assert_eq!(refused.code(), "rate_limited", "as without a cookie");
    }
}
