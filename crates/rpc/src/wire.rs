//! The messages as prost makes them of the .proto files.

use std::sync::Arc;

use bytes::Bytes;
use kernel::caller::{Acting, Actor, Idempotency, Origin};
use kernel::{Caller, Error, Id, Level, Principal, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::users::Profile;

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
generated!(
    /// What the processes of one platform ask each other.
    v1,
    "verza.v1.rs"
);

pub(crate) fn id<K>(bytes: &[u8]) -> Option<Id<K>> {
    uuid::Uuid::from_slice(bytes).ok().map(Id::from_uuid)
}

pub(crate) fn id_bytes<K>(id: Id<K>) -> Bytes {
    Bytes::copy_from_slice(id.uuid().as_bytes())
}

impl From<&Principal> for v1::Principal {
    fn from(principal: &Principal) -> Self {
        Self {
            user: id_bytes(principal.user),
            role: principal.role.as_str().to_owned(),
            session: id_bytes(principal.session),
            email_verified: principal.email_verified,
            approved: principal.approved,
            level: principal.level.as_str().to_owned(),
            proven_at: principal.proven_at.micros(),
            impersonator: principal.impersonator.map(id_bytes).unwrap_or_default(),
            acting: principal.acting.map(v1::Acting::from),
            believable_ms: 0,
        }
    }
}

impl v1::Principal {
    /// Whom it names, where it can be read.
    pub(crate) fn read(self) -> Option<Principal> {
        let level = Level::ALL.into_iter().find(|level| level.as_str() == self.level);
        let impersonator = match self.impersonator.as_ref() {
            [] => None,
            bytes => Some(id(bytes)?),
        };
        Some(Principal {
            user: id(&self.user)?,
            role: self.role.parse().ok()?,
            session: id(&self.session)?,
            email_verified: self.email_verified,
            approved: self.approved,
            level: level?,
            proven_at: kernel::Timestamp::from_micros(self.proven_at),
            impersonator,
            // Nobody is more than they are for having crossed.
            acting: match self.acting {
                None => None,
                Some(acting) => Some(acting.read()?),
            },
        })
    }
}

impl From<Acting> for v1::Acting {
    fn from(acting: Acting) -> Self {
        let by = match acting.by {
            Actor::Member(person) => v1::acting::By::Member(id_bytes(person)),
            Actor::Key(key) => v1::acting::By::Key(id_bytes(key)),
        };
        let permissions = acting.may.iter().map(|one| one.as_str().to_owned());
        Self { by: Some(by), permissions: permissions.collect() }
    }
}

impl v1::Acting {
    fn read(self) -> Option<Acting> {
        let by = match self.by? {
            v1::acting::By::Member(person) => Actor::Member(id(&person)?),
            v1::acting::By::Key(key) => Actor::Key(id(&key)?),
        };
        let may = self.permissions.iter().map(|one| one.parse().ok()).collect::<Option<_>>()?;
        Some(Acting { by, may })
    }
}

/// A message that another process of the platform should not have sent.
pub(crate) fn unreadable(what: &'static str) -> Error {
    Error::field(format!("/{what}"), "invalid", "cannot be read")
}

impl From<&Caller> for v1::Caller {
    fn from(caller: &Caller) -> Self {
        // What is expected stands in the request's own header, for the row that serves it.
        let Caller { principal, origin, idempotency, expected: _ } = caller;
        let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
        Self {
            principal: principal.as_deref().map(v1::Principal::from),
            origin: Some(v1::Origin {
                request_id: origin.request_id.to_string(),
                ip: origin.ip.map(|ip| ip.to_string()).unwrap_or_default(),
                user_agent: text(&origin.user_agent),
                device: text(&origin.device),
            }),
            idempotency: idempotency.as_deref().map(|it| v1::Idempotency {
                scope: Bytes::copy_from_slice(&it.scope),
                fingerprint: Bytes::copy_from_slice(&it.fingerprint),
            }),
        }
    }
}

impl v1::Caller {
    /// Whom it describes.
    ///
    /// # Errors
    /// A field error for what cannot be read.
    pub(crate) fn read(self) -> Result<Caller> {
        let principal = self.principal.map(|it| it.read().ok_or_else(|| unreadable("principal")));
        let idempotency = self.idempotency.map(|it| {
            let hash = |bytes: Bytes| <[u8; 32]>::try_from(bytes.as_ref());
            let (scope, print) = (hash(it.scope).ok(), hash(it.fingerprint).ok());
            let read = scope.zip(print).map(|(scope, print)| Idempotency::new(scope, print));
            read.ok_or_else(|| unreadable("idempotency"))
        });
        let origin = self.origin.unwrap_or_default().read().ok_or_else(|| unreadable("origin"))?;
        Ok(Caller {
            principal: principal.transpose()?.map(Arc::new),
            origin,
            idempotency: idempotency.transpose()?.map(Arc::new),
            expected: None,
        })
    }
}

impl v1::Origin {
    fn read(self) -> Option<Origin> {
        let text = |text: String| (!text.is_empty()).then(|| text.into());
        let ip = match self.ip.as_str() {
            "" => None,
            ip => Some(ip.parse().ok()?),
        };
        let request_id = crate::server::request_id(&self.request_id);
        let (user_agent, device) = (text(self.user_agent), text(self.device));
        Some(Origin { request_id, ip, user_agent, device })
    }
}

impl From<Profile> for v1::Profile {
    fn from(profile: Profile) -> Self {
        Self {
            id: id_bytes(profile.id),
            name: profile.name,
            email: profile.email,
            role: profile.role.as_str().to_owned(),
            status: profile.status.as_str().to_owned(),
            approved: profile.approved,
        }
    }
}

impl v1::Profile {
    /// Whom it describes, where it can be read.
    pub(crate) fn read(self) -> Option<Profile> {
        Some(Profile {
            id: id(&self.id)?,
            name: self.name,
            email: self.email,
            role: self.role.parse().ok()?,
            status: self.status.parse().ok()?,
            approved: self.approved,
        })
    }
}

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
