//! The messages as prost makes them of the .proto files.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `google.protobuf.Timestamp`, which is RFC 3339 text in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl From<kernel::Timestamp> for Timestamp {
    fn from(at: kernel::Timestamp) -> Self {
        let micros = at.micros();
        // The rest is below a million, so that a thousand times as much fits.
        let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1000).unwrap_or_default();
        Self { seconds: micros.div_euclid(1_000_000), nanos }
    }
}

impl From<Timestamp> for kernel::Timestamp {
    fn from(at: Timestamp) -> Self {
        let micros = at.seconds.saturating_mul(1_000_000);
        Self::from_micros(micros.saturating_add(i64::from(at.nanos) / 1000))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        kernel::Timestamp::from(*self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        kernel::Timestamp::deserialize(deserializer).map(Self::from)
    }
}

/// Every file's description, for the reflection service.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

macro_rules! generated {
    ($(#[$doc:meta])* $name:ident, $file:literal) => {
        $(#[$doc])*
        #[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated")]
        pub(crate) mod $name {
            include!(concat!(env!("OUT_DIR"), "/", $file));
        }
    };
}
generated!(
    /// Streamfair's messages and services.
    pb,
    "pb.rs"
);
generated!(
    /// The gateway system's user service.
    users,
    "users.rs"
);
generated!(
    /// The gateway system's order service.
    orders,
    "orders.rs"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_the_wire() {
        for micros in [0, 1, -1, 1_767_225_600_123_456, -1_000_001] {
            let at = kernel::Timestamp::from_micros(micros);
            let wire = Timestamp::from(at);
            assert!((0..1_000_000_000).contains(&wire.nanos));
            assert_eq!(kernel::Timestamp::from(wire), at);
        }
    }
}
