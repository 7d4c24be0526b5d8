//! Token Status List: the same bits as the Bitstring list in another order, under ZLIB, in a JWT.

use std::fmt;
use std::io::{Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::bufread::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};

use super::bitstring::{Bitstring, ENTRIES_MAX};
use crate::jose::jws::Token;

/// The `typ` of a status list token.
pub const TYPE: &str = "statuslist+jwt";

/// Why a status was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenListError {
    /// Not a `status_list` of 1, 2, 4 or 8 bits an entry.
    Malformed,
    /// Not one whole ZLIB stream (RFC 1950) of a bearable length.
    Zlib,
    /// The list has no such entry.
    Range,
}

impl fmt::Display for TokenListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the status list token is malformed",
            Self::Zlib => "the status list is not ZLIB data",
            Self::Range => "the status list has no such entry",
        })
    }
}

impl std::error::Error for TokenListError {}

/// The claims of a status list token over single bits, where a set bit says INVALID.
pub fn claims(uri: &str, issued_at: i64, expires_at: i64, ttl: i64, list: &Bitstring) -> Value {
    json!({
        "sub": uri,
        "iat": issued_at,
        "exp": expires_at,
        "ttl": ttl,
        "status_list": { "bits": 1, "lst": encode(list.bytes()) },
    })
}

/// The value of `lst` of bits in the Bitstring order: here index 0 is the least significant bit.
fn encode(bitstring: &[u8]) -> String {
    let bytes: Vec<u8> = bitstring.iter().map(|byte| byte.reverse_bits()).collect();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    let written = zlib.write_all(&bytes).and_then(|()| zlib.finish());
    #[expect(clippy::expect_used, reason = "a Vec accepts every write")]
    let zlib = written.expect("compression into memory cannot fail");
    URL_SAFE_NO_PAD.encode(zlib)
}

/// The status of an index: 0 is VALID, 1 INVALID, 2 SUSPENDED.
pub fn status(token: &Token<'_>, index: u64) -> Result<u8, TokenListError> {
    let list = token.payload.get("status_list").ok_or(TokenListError::Malformed)?;
    let bits = list.get("bits").and_then(Value::as_u64);
    let bits = bits.filter(|bits| [1, 2, 4, 8].contains(bits)).ok_or(TokenListError::Malformed)?;
    let lst = list.get("lst").and_then(Value::as_str).ok_or(TokenListError::Malformed)?;
    let bytes = decode(lst)?;
    let place = index.checked_mul(bits).ok_or(TokenListError::Range)?;
    let byte = usize::try_from(place / 8).ok().and_then(|at| bytes.get(at));
    let byte = u64::from(*byte.ok_or(TokenListError::Range)?);
    let mask = (1 << bits) - 1;
    u8::try_from(byte >> (place % 8) & mask).map_err(|_| TokenListError::Range)
}

fn decode(lst: &str) -> Result<Vec<u8>, TokenListError> {
    let zlib = URL_SAFE_NO_PAD.decode(lst).map_err(|_| TokenListError::Malformed)?;
    let limit = u64::from(ENTRIES_MAX);
    let mut bytes = Vec::new();
    // One byte more than allowed tells a list that is too long from one that ends in time.
    let mut stream = ZlibDecoder::new(zlib.as_slice()).take(limit + 1);
    stream.read_to_end(&mut bytes).map_err(|_| TokenListError::Zlib)?;
    if bytes.len() as u64 > limit || !stream.into_inner().into_inner().is_empty() {
        return Err(TokenListError::Zlib);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::es256::SecretKey;
    use crate::jose::jws;
    use crate::status::bitstring::ENTRIES_MIN;

    fn signed(claims: &Value) -> String {
        let key = SecretKey::from_bytes(&[7; 32]).unwrap();
        jws::sign(json!({ "typ": TYPE }), claims, &key)
    }

    fn statuses(bits: u8, lst: &str, count: u64) -> Vec<u8> {
        let text = signed(&json!({ "status_list": { "bits": bits, "lst": lst } }));
        let token = Token::parse(&text).unwrap();
        (0..count).map(|index| status(&token, index).unwrap()).collect()
    }

    #[test]
    fn the_published_lists_are_read_as_published() {
        let one = [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1];
        assert_eq!(statuses(1, "eNrbuRgAAhcBXQ", 16), one);
        let two = [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3];
        assert_eq!(statuses(2, "eNo76fITAAPfAgc", 12), two);
    }

    #[test]
    fn the_published_list_is_written_as_published() {
        // Bits as the Bitstring order has them: each byte of [0xb9, 0xa3] turned around.
        assert_eq!(encode(&[0xb9_u8.reverse_bits(), 0xa3_u8.reverse_bits()]), "eNrbuRgAAhcBXQ");
    }

    #[test]
    fn both_encodings_tell_the_same_of_every_index() {
        let mut list = Bitstring::new(ENTRIES_MIN).unwrap();
        for index in [0, 1, 7, 8, 9, 94_567, ENTRIES_MIN - 1] {
            list.set(index, true).unwrap();
        }
        let text = signed(&claims("https://a.example/l", 1, 2, 3, &list));
        let token = Token::parse(&text).unwrap();
        for index in (0..64).chain([94_566, 94_567, 94_568, ENTRIES_MIN - 2, ENTRIES_MIN - 1]) {
            let bit = list.get(index).unwrap();
            assert_eq!(status(&token, u64::from(index)), Ok(u8::from(bit)), "{index}");
        }
        assert_eq!(status(&token, u64::from(ENTRIES_MIN)), Err(TokenListError::Range));
        assert_eq!(status(&token, u64::MAX), Err(TokenListError::Range));
    }

    #[test]
    fn lists_that_unfold_without_end_or_carry_more_are_refused() {
        let bomb = encode(&vec![0; ENTRIES_MAX as usize + 1]);
        let trailing = {
            let mut bytes = URL_SAFE_NO_PAD.decode("eNrbuRgAAhcBXQ").unwrap();
            bytes.push(0);
            URL_SAFE_NO_PAD.encode(bytes)
        };
        for lst in [bomb.as_str(), &trailing, "eNrbuRgAAhcBXA", "eNrbuRgAAhcBX", "!"] {
            let text = signed(&json!({ "status_list": { "bits": 1, "lst": lst } }));
            assert!(status(&Token::parse(&text).unwrap(), 0).is_err());
        }
        let odd = signed(&json!({ "status_list": { "bits": 3, "lst": "eNrbuRgAAhcBXQ" } }));
        assert_eq!(status(&Token::parse(&odd).unwrap(), 0), Err(TokenListError::Malformed));
    }
}
