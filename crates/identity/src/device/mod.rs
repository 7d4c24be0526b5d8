//! A device on which an account has signed in before.
//!
//! Guessing at an account is slowed for everybody who guesses, wherever from. Without more, a
//! stranger with a thousand addresses could keep its owner out as well. So every login leaves a
//! cookie on its device, and a login that brings it back is counted for that device alone.
//!
//! - The cookie is no way in: with it a password is still needed, and may be guessed at no faster.
//! - It holds a random number, a day and a MAC over both and the account. Without our key it
//!   names no account, and the cookies of two accounts have nothing in common.
//! - Nothing is stored. Each login replaces it; a year after its last one a device is a stranger.
//!   It is of the account that signed in last: one browser is known to one account.

#[cfg(test)]
mod tests;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::id::kinds::User;
use kernel::{Id, Secret, Timestamp, World};
use platform::crypto::{MasterKey, base64url, hmac_sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// For how many days a device is known. Browsers keep no cookie beyond 400.
const KNOWN_DAYS: u32 = 365;

const LEN: usize = 16 + 4 + 32;

/// What a device shows, before anybody has looked at its MAC.
pub(crate) struct Shown {
    device: Uuid,
    /// The day of the login, counted from 1970.
    day: u32,
    mac: [u8; 32],
}

impl Shown {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // The length is looked at first: decoding makes as many bytes as it is given.
        if text.len() != (LEN * 4).div_ceil(3) {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (device, rest) = bytes.split_first_chunk::<16>()?;
        let (day, mac) = rest.split_first_chunk::<4>()?;
        Some(Self {
            device: Uuid::from_bytes(*device),
            day: u32::from_be_bytes(*day),
            mac: mac.try_into().ok()?,
        })
    }
}

/// Makes devices known, and knows them again.
pub(crate) struct Devices {
    key: Secret<[u8; 32]>,
}

impl Devices {
    pub(crate) fn new(master: &MasterKey) -> Self {
        Self { key: master.derive("identity.device") }
    }

    /// What a device shows at its next login, and for how long.
    pub(crate) fn issue(&self, account: Id<User>, world: &World) -> (Secret<String>, Duration) {
        let (device, day) = (Uuid::from_bytes(world.random()), day(world.now()));
        let mac = self.mac(account, device, day);
        let text = base64url([&device.as_bytes()[..], &day.to_be_bytes(), &mac].concat());
        (Secret::new(text), DAY * KNOWN_DAYS)
    }

    /// The device, when this account has signed in on it.
    pub(crate) fn known(&self, shown: &Shown, account: Id<User>, now: Timestamp) -> Option<Uuid> {
        let ours = self.mac(account, shown.device, shown.day);
        let is_ours = bool::from(ours.ct_eq(&shown.mac));
        let is_fresh = day(now).saturating_sub(shown.day) < KNOWN_DAYS;
        (is_ours && is_fresh).then_some(shown.device)
    }

    fn mac(&self, account: Id<User>, device: Uuid, day: u32) -> [u8; 32] {
        let account = account.uuid();
        let message = [account.as_bytes(), device.as_bytes(), &day.to_be_bytes()[..]].concat();
        hmac_sha256(self.key.expose(), &message)
    }
}

fn day(at: Timestamp) -> u32 {
    u32::try_from(at.seconds() / DAY.as_secs() as i64).unwrap_or_default()
}
