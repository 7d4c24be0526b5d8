//! Codes of an authenticator app: TOTP (RFC 6238) with what every app understands, HMAC-SHA-1,
//! six digits, half a minute.

use kernel::{Error, Result, Secret, Timestamp};
use platform::http::escape;
use totp_rs::{Builder, Totp};

/// 160 bits, as RFC 4226 section 4 recommends.
pub(super) const SECRET_LEN: usize = 20;
/// RFC 4648 section 6.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The step of a right code: the current one, the one before, or the one after.
pub(super) fn matched(secret: &[u8], code: &str, now: Timestamp) -> Result<Option<i64>> {
    let step = generator(secret)?.check(code, seconds(now));
    Ok(step.and_then(|step| i64::try_from(step).ok()))
}

/// What an authenticator app that was given this secret, in base32, shows at a time. For clients
/// that are programs: the demo, and tests.
///
/// # Errors
/// `Invalid`: not a secret of ours.
pub fn code(secret: &str, at: Timestamp) -> Result<String> {
    let secret = from_base32(secret).ok_or_else(|| {
        Error::invalid("invalid_secret", "That is no secret of an authenticator app.")
    })?;
    Ok(generator(&secret)?.generate(seconds(at)).to_string())
}

fn generator(secret: &[u8]) -> Result<Totp> {
    let secret: [u8; SECRET_LEN] = secret
        .try_into()
        .map_err(|error| Error::internal("a TOTP secret is broken").because(error))?;
    Builder::new()
        .with_secret(totp_rs::Secret::new_stack(secret))
        .build()
        .map_err(|error| Error::internal(format!("TOTP refuses: {error}")))
}

fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.seconds()).unwrap_or_default()
}

/// What goes into the app, by hand.
pub(super) fn base32(secret: &[u8; SECRET_LEN]) -> Secret<String> {
    // Twenty bytes are thirty-two letters, with nothing left over.
    let letters = secret.chunks_exact(5).flat_map(|five| {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        (0..8).rev().map(move |place| char::from(ALPHABET[(bits >> (place * 5) & 31) as usize]))
    });
    Secret::new(letters.collect())
}

fn from_base32(text: &str) -> Option<Vec<u8>> {
    let letters = text.as_bytes();
    if letters.len() != SECRET_LEN * 8 / 5 {
        return None;
    }
    let mut secret = Vec::with_capacity(SECRET_LEN);
    for eight in letters.chunks_exact(8) {
        let mut bits = 0_u64;
        for letter in eight {
            let value = ALPHABET.iter().position(|known| known == letter)?;
            bits = bits << 5 | value as u64;
        }
        secret.extend_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(secret)
}

/// The key URI that apps read from QR codes: `otpauth://totp/ISSUER:ACCOUNT?secret=...`.
pub(super) fn uri(issuer: &str, account: &str, secret: &Secret<String>) -> Secret<String> {
    let (issuer, account) = (escape(issuer), escape(account));
    let secret = secret.expose();
    Secret::new(format!(
        "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1\
         &digits=6&period=30"
    ))
}

/// A QR code in SVG.
pub(super) fn qr(text: &Secret<String>) -> Result<Secret<String>> {
    Ok(Secret::new(platform::qr::svg(text.expose())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8; SECRET_LEN] = b"12345678901234567890";

    #[test]
    fn rfc_6238_s_codes_are_ours() {
        // Appendix B, the rows of SHA-1; of eight digits, six are the last six.
        for (at, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let at = Timestamp::from_seconds(at);
            let secret = base32(SECRET);
            assert_eq!(super::code(secret.expose(), at).unwrap(), code[2..]);
            assert_eq!(matched(SECRET, &code[2..], at).unwrap(), Some(at.seconds() / 30));
        }
    }

    #[test]
    fn a_code_is_good_one_step_early_and_one_late() {
        let at = Timestamp::from_seconds(1_111_111_110);
        let step = at.seconds() / 30;
        let code = code(base32(SECRET).expose(), at).unwrap();
        for (moved, good) in [(-60, false), (-30, true), (0, true), (59, true), (60, false)] {
            let now = Timestamp::from_seconds(at.seconds() + moved);
            assert_eq!(matched(SECRET, &code, now).unwrap(), good.then_some(step), "{moved}");
        }
        for wrong in ["", "12345", "1234567", "+12345", "１２３４５６"] {
            assert_eq!(matched(SECRET, wrong, at).unwrap(), None);
        }
    }

    #[test]
    fn base32_is_rfc_4648_s() {
        assert_eq!(base32(SECRET).expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap(), SECRET);
        for wrong in ["", "GEZDGNBVGY3TQOJQ", "gezdgnbvgy3tqojqgezdgnbvgy3tqojq"] {
            assert!(from_base32(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_uri_says_what_apps_read() {
        let uri = uri("Verza Ltd", "a+b@example.org", &Secret::new("ABC".to_owned()));
        assert_eq!(
            uri.expose(),
            "otpauth://totp/Verza%20Ltd:a%2Bb%40example.org?secret=ABC&issuer=Verza%20Ltd\
             &algorithm=SHA1&digits=6&period=30"
        );
        let qr = qr(&uri).unwrap();
        assert!(qr.expose().contains("<svg ") && !qr.expose().contains("ABC"));
    }
}
