//! Recovery codes: for the day the authenticator is lost.
//!
//! Ten of them, of fifty random bits each, written as `7k2mq-x9c4t` in an alphabet without letters
//! that look alike. They are kept as MACs under a key derived from the master key: whoever steals
//! the database alone could else try all fifty bits.

use kernel::id::kinds::User;
use kernel::{Id, Secret, World};
use platform::crypto::hmac_sha256;

/// How many there are at once.
pub(super) const COUNT: usize = 10;
const LEN: usize = 10;
/// Crockford's base32.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A new code, in the form in which it is compared.
pub(super) fn new(world: &World) -> Secret<String> {
    let random = world.random::<LEN>();
    Secret::new(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect())
}

/// As it is shown.
pub(super) fn shown(code: &Secret<String>) -> String {
    let (first, last) = code.expose().split_at(LEN / 2);
    format!("{first}-{last}")
}

/// The one form of what somebody typed: hyphens and spaces are nothing, case is nothing, and
/// letters that are not in the alphabet are the digits that they look like.
pub(super) fn normal(text: &str) -> Option<Secret<String>> {
    if text.len() > 40 {
        return None;
    }
    let letters = text.chars().filter(|letter| !matches!(letter, '-' | ' '));
    let code: String = letters
        .map(|letter| match letter.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        })
        .collect();
    let known = code.len() == LEN && code.bytes().all(|byte| ALPHABET.contains(&byte));
    known.then(|| Secret::new(code))
}

/// What is stored of a user's code.
pub(super) fn hash(key: &[u8; 32], user: Id<User>, code: &Secret<String>) -> [u8; 32] {
    let user = user.uuid();
    hmac_sha256(key, &[user.as_bytes(), code.expose().as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_write_it() {
        for text in ["7k2mq-x9c0t", "7K2MQX9C0T", " 7k2mq x9cot ", "7-k-2-m-q-x-9-c-O-t"] {
            assert_eq!(normal(text).unwrap().expose(), "7k2mqx9c0t", "{text}");
        }
        assert_eq!(normal("iIlLo-OIl00").unwrap().expose(), "1111001100");
        for text in ["", "7k2mq-x9c0", "7k2mq-x9c0tt", "7k2mq-x9c0u", "７k2mq-x9c0"] {
            assert!(normal(text).is_none(), "{text}");
        }
        assert!(normal(&"-".repeat(1000)).is_none());
    }

    #[test]
    fn a_new_code_survives_being_shown_and_typed() {
        let (world, _) = platform::testing::world();
        for _ in 0..100 {
            let code = new(&world);
            assert_eq!(normal(&shown(&code)).unwrap().expose(), code.expose());
        }
    }
}
