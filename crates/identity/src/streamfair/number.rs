//! Ids as 64-bit numbers.
//!
//! A UUIDv7 (RFC 9562 section 5.7) begins with its millisecond (48 bits), the version, and 12 bits
//! that tell the ids of one millisecond apart: within one process the two are different for every
//! id. With the first three bits of chance behind the variant they make 63 bits, a positive
//! `int64`. The way back is a range of ids in which there is one row. Should two processes ever
//! have made two ids of the same quarter of a microsecond that agree in the three bits, the number
//! names neither: it is not found.

use kernel::Id;
use uuid::Uuid;

const VERSION: u128 = 0x7 << 76;
const VARIANT: u128 = 0b10 << 62;
/// The bits that are not part of the number.
const REST: u32 = 59;

/// The number of an id.
pub(super) fn of<K>(id: Id<K>) -> i64 {
    let bits = id.uuid().as_u128();
    let (millis, fraction) = (bits >> 80, (bits >> 64) & 0xfff);
    let chance = (bits >> REST) & 0b111;
    // 63 bits: never negative.
    ((millis << 15) | (fraction << 3) | chance) as i64
}

/// The first and the last id of a number; none of what is no number of an id.
pub(super) fn range(number: i64) -> Option<(Uuid, Uuid)> {
    let bits = u128::try_from(number).ok().filter(|bits| *bits > 0)?;
    let (millis, fraction, chance) = (bits >> 15, (bits >> 3) & 0xfff, bits & 0b111);
    let first = (millis << 80) | VERSION | (fraction << 64) | VARIANT | (chance << REST);
    Some((Uuid::from_u128(first), Uuid::from_u128(first | ((1 << REST) - 1))))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use kernel::id::kinds::{AccountType, User};

    use super::*;

    #[test]
    fn every_id_is_in_the_range_of_its_number() {
        let (world, _) = platform::testing::world();
        let ids: Vec<Id<User>> = (0..10_000).map(|_| world.id()).collect();
        let numbers: HashSet<i64> = ids.iter().map(|id| of(*id)).collect();
        assert_eq!(numbers.len(), ids.len());
        for id in ids {
            let (first, last) = range(of(id)).unwrap();
            assert!(first <= id.uuid() && id.uuid() <= last);
            assert_eq!(of(Id::<User>::from_uuid(first)), of(Id::<User>::from_uuid(last)));
        }
    }

    #[test]
    fn the_types_of_the_platform_have_their_numbers_as_ids() {
        let third = Uuid::parse_str("00000000-0000-7000-9800-000000000003").unwrap();
        assert_eq!(of(Id::<AccountType>::from_uuid(third)), 3);
    }

    proptest::proptest! {
        #[test]
        fn a_number_comes_back(number in 1..=i64::MAX) {
            let (first, last) = range(number).unwrap();
            proptest::prop_assert_eq!(of(Id::<User>::from_uuid(first)), number);
            proptest::prop_assert_eq!(of(Id::<User>::from_uuid(last)), number);
            proptest::prop_assert_eq!(first.get_version_num(), 7);
        }
    }

    #[test]
    fn what_is_not_positive_names_nothing() {
        assert!(range(0).is_none() && range(-1).is_none() && range(i64::MIN).is_none());
    }
}
