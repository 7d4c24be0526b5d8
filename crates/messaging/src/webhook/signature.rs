//! Signatures after Standard Webhooks 1.0.0 (`v1`: HMAC-SHA-256).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kernel::{Secret, World};
use platform::crypto::hmac_sha256;

/// How a shown signing key begins.
const MARK: &str = "whsec_";
/// The specification asks for 24 to 64.
const KEY_BYTES: usize = 32;

/// A key of random bytes.
pub(super) fn new_key(world: &World) -> Secret<Vec<u8>> {
    Secret::new(world.random::<KEY_BYTES>().to_vec())
}

/// A key as the receiver's library takes it: `whsec_` and base64.
pub(super) fn show(key: &Secret<Vec<u8>>) -> Secret<String> {
    Secret::new(format!("{MARK}{}", STANDARD.encode(key.expose())))
}

/// The signature of a message: `v1,` and the MAC over `id.timestamp.body` in base64. `at` is in
/// seconds since the Unix epoch.
pub fn sign(key: &[u8], id: &str, at: i64, body: &[u8]) -> String {
    let message = [id.as_bytes(), b".", at.to_string().as_bytes(), b".", body].concat();
    format!("v1,{}", STANDARD.encode(hmac_sha256(key, &message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that the reference libraries of Standard Webhooks test themselves with.
    #[test]
    fn a_signature_is_that_of_the_reference_libraries() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = r#"{"test": 2432232314}"#;
        let signed = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body.as_bytes());
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let body = r#"{"type":"contact.created","timestamp":"2022-11-03T20:26:10.344522Z","data":{"id":"1f81eb52-5198-4599-803e-771906343485"}}"#;
        let signed = sign(&key, "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", 1_674_087_231, body.as_bytes());
        assert_eq!(signed, "v1,ARw42xaAApl/nxRo+iPGYwSaMQaOwMo2eyH5JBRA+bQ=");
    }

    #[test]
    fn a_key_is_shown_as_libraries_take_it() {
        let (world, _) = platform::testing::world();
        let key = new_key(&world);
        let shown = show(&key);
        let text = shown.expose().strip_prefix("whsec_").unwrap();
        assert_eq!(&STANDARD.decode(text).unwrap(), key.expose());
    }
}
