//! Addresses of EVM chains, with the checksum of EIP-55 in the case of their letters.

/// Bytes of a hash that Keccak-256 takes in at once.
const RATE: usize = 136;

/// Keccak-256 of a message of one block: the padding is Keccak's own, which SHA-3 later changed.
fn keccak256(message: &[u8]) -> Option<[u8; 32]> {
    let mut block = [0_u8; RATE];
    block.get_mut(..message.len()).filter(|_| message.len() < RATE)?.copy_from_slice(message);
    block[message.len()] ^= 0x01;
    block[RATE - 1] ^= 0x80;
    let mut state = [0_u64; 25];
    for (lane, bytes) in state.iter_mut().zip(block.chunks_exact(8)) {
        *lane = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    keccak::Keccak::new().with_f1600(|permute| permute(&mut state));
    let mut hash = [0_u8; 32];
    for (bytes, lane) in hash.chunks_exact_mut(8).zip(state) {
        bytes.copy_from_slice(&lane.to_le_bytes());
    }
    Some(hash)
}

/// The forty hexadecimal letters of an address, with EIP-55's case.
fn checksummed(letters: &str) -> Option<String> {
    let lower = letters.to_ascii_lowercase();
    let hash = keccak256(lower.as_bytes())?;
    let nibble = |at: usize| (hash[at / 2] >> (4 * (1 - at % 2))) & 0xf;
    let cased = lower
        .chars()
        .enumerate()
        .map(|(at, letter)| if nibble(at) >= 8 { letter.to_ascii_uppercase() } else { letter });
    Some(cased.collect())
}

/// An address as it is to be written. One in a single case has no checksum and is taken as it is;
/// in mixed case every letter has to be right. None for what is no address, and for the zero
/// address, out of which nothing comes back.
pub(crate) fn parse(text: &str) -> Option<String> {
    let letters = text.strip_prefix("0x")?;
    if letters.len() != 40 || !letters.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    let written = checksummed(letters)?;
    let has = |is: fn(&u8) -> bool| letters.bytes().any(|letter| is(&letter));
    let is_mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    let is_zero = letters.bytes().all(|it| it == b'0');
    (!is_zero && (!is_mixed || letters == written)).then(|| format!("0x{written}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of EIP-55.
    const VECTORS: [&str; 8] = [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ];

    #[test]
    fn keccak_is_not_sha_3() {
        let empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
        assert_eq!(hex::encode(keccak256(b"").unwrap()), empty);
        assert!(keccak256(&[0; RATE]).is_none());
    }

    #[test]
    fn p9_the_vectors_hold_and_every_flipped_letter_is_found() {
        for vector in VECTORS {
            assert_eq!(parse(vector).as_deref(), Some(vector));
            assert_eq!(parse(&vector.to_lowercase()).as_deref(), Some(vector));
            let upper = format!("0x{}", vector[2..].to_uppercase());
            assert_eq!(parse(&upper).as_deref(), Some(vector));
        }
        for vector in &VECTORS[4..] {
            for at in 2..42 {
                let mut letters: Vec<char> = vector.chars().collect();
                if !letters[at].is_ascii_alphabetic() {
                    continue;
                }
                let is_upper = letters[at].is_ascii_uppercase();
                letters[at] = match is_upper {
                    true => letters[at].to_ascii_lowercase(),
                    false => letters[at].to_ascii_uppercase(),
                };
                let flipped: String = letters.into_iter().collect();
                assert_eq!(parse(&flipped), None, "{flipped}");
            }
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let zero = format!("0x{}", "0".repeat(40));
        let long = format!("{}0", VECTORS[2]);
        for text in ["", "0x", &zero, &long, &VECTORS[2][2..], &VECTORS[2].replace('d', "g")] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
