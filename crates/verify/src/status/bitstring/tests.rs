use proptest::prelude::*;

use super::*;
use crate::credential::rdfc;
use crate::sample;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn multibase(gzip: &[u8]) -> String {
    format!("u{}", URL_SAFE_NO_PAD.encode(gzip))
}

#[test]
fn index_0_is_the_most_significant_bit_of_the_first_byte() {
    let mut list = Bitstring::new(ENTRIES_MIN).unwrap();
    list.set(0, true).unwrap();
    list.set(9, true).unwrap();
    list.set(ENTRIES_MIN - 1, true).unwrap();
    assert_eq!(list.bytes[..3], [0x80, 0x40, 0]);
    assert_eq!(list.bytes.last(), Some(&1));
    list.set(9, false).unwrap();
    assert_eq!(list.bytes[1], 0);
    assert_eq!(list.get(0), Ok(true));
    assert_eq!(list.get(1), Ok(false));
}

/// `encodedList` of the specification's section 2.2 example: 131,072 clear entries.
#[test]
fn the_specifications_example_is_an_empty_list_of_the_least_size() {
    let encoded = "uH4sIAAAAAAAAA-3BMQEAAADCoPVPbQwfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA";
    let list = Bitstring::decode(encoded).unwrap();
    assert_eq!(list, Bitstring::new(ENTRIES_MIN).unwrap());
    assert_eq!(list.entries(), 131_072);
}

#[test]
fn an_empty_list_compresses_to_a_line() {
    let encoded = Bitstring::new(ENTRIES_MIN).unwrap().encode();
    assert!(encoded.starts_with("uH4sI"), "{encoded}");
    assert!(encoded.len() < 80, "{encoded}");
}

#[test]
fn positions_beyond_the_end_are_refused() {
    let mut list = Bitstring::new(ENTRIES_MIN).unwrap();
    assert_eq!(list.get(ENTRIES_MIN), Err(BitstringError::Range));
    assert_eq!(list.set(u32::MAX, true), Err(BitstringError::Range));
}

#[test]
fn a_list_must_be_large_enough_to_hide_in_and_small_enough_to_hold() {
    for entries in [0, ENTRIES_MIN - 8, ENTRIES_MIN + 1, ENTRIES_MAX + 8, u32::MAX] {
        assert_eq!(Bitstring::new(entries), Err(BitstringError::Length));
    }
    let decode = |bytes: usize| Bitstring::decode(&multibase(&gzip(&vec![0; bytes])));
    assert_eq!(decode(ENTRIES_MIN as usize / 8 - 1), Err(BitstringError::Length));
    assert_eq!(decode(ENTRIES_MAX as usize / 8).unwrap().entries(), ENTRIES_MAX);
    assert_eq!(decode(ENTRIES_MAX as usize / 8 + 1), Err(BitstringError::Length));
}

#[test]
fn a_list_that_unfolds_to_gigabytes_is_cut_off() {
    // 64 MiB of zeros in some 64 KiB; the reader must stop at its own bound.
    let bomb = multibase(&gzip(&vec![0; 64 << 20]));
    assert!(bomb.len() < 100_000);
    assert_eq!(Bitstring::decode(&bomb), Err(BitstringError::Length));
}

#[test]
fn damaged_text_is_refused() {
    let whole = gzip(&vec![0; ENTRIES_MIN as usize / 8]);
    let mut checksum = whole.clone();
    let at = checksum.len() - 8;
    checksum[at] ^= 1;
    let trailing = [whole.as_slice(), b"x"].concat();
    let cut = &whole[..whole.len() - 1];
    for damaged in [checksum.as_slice(), &trailing, cut, b"", b"not gzip"] {
        assert_eq!(Bitstring::decode(&multibase(damaged)), Err(BitstringError::Gzip));
    }
    let encoded = multibase(&whole);
    for text in ["", "u=", "z111", &encoded[1..], &format!("{encoded}="), &format!("{encoded} ")] {
        assert_eq!(Bitstring::decode(text), Err(BitstringError::Multibase), "{text}");
    }
}

#[test]
fn the_list_credential_fits_its_template_and_unfolds_again() {
    let credential = sample::unsigned_status_list(true);
    rdfc::canonicalize(Template::StatusList, &credential).unwrap();
    assert_eq!(credential["issuer"], sample::DID);
    let encoded = credential["credentialSubject"]["encodedList"].as_str().unwrap();
    let list = Bitstring::decode(encoded).unwrap();
    assert_eq!(list.get(sample::STATUS_INDEX), Ok(true));
    assert_eq!(list.get(sample::STATUS_INDEX + 1), Ok(false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_set_is_read_back_after_a_round_trip(
        set in proptest::collection::btree_set(0..ENTRIES_MIN, 0..200),
    ) {
        let mut list = Bitstring::new(ENTRIES_MIN).unwrap();
        for index in &set {
            list.set(*index, true).unwrap();
        }
        let read = Bitstring::decode(&list.encode()).unwrap();
        prop_assert_eq!(&read, &list);
        for index in 0..ENTRIES_MIN {
            prop_assert_eq!(read.get(index).unwrap(), set.contains(&index));
        }
    }
}
