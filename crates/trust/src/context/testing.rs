//! A trust context over a test database, for the tests of its rooms.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use kernel::id::kinds::{Credential, User};
use kernel::{Caller, Error, Id, Kind, Principal, Result, Role};
use platform::crypto::MasterKey;
use platform::db::{Migrations, Tx};
use platform::testing::TestDb;

use crate::issuance::service::{Issued, Service as Issuance, VerdictClaim};
use crate::log::{Memory, Witness};
use crate::pickup::Holdings;
use crate::{Trust, TrustOptions};

pub(crate) const TABLES: &[Migrations] = &[platform::MIGRATIONS, crate::MIGRATIONS];
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) async fn trust(t: &TestDb) -> Trust {
    trust_with(t, Vec::new(), None).await
}

/// One that is watched, or remembered.
pub(crate) async fn trust_with(
    t: &TestDb,
    witnesses: Vec<Witness>,
    memory: Option<Memory>,
) -> Trust {
    let trust = Trust::new(TrustOptions {
        db: t.db.clone(),
        master_key: MasterKey::new([9; 32]),
        public_url: "https://verza.example".into(),
        issuer_name: "Verza".into(),
        validity: 365 * DAY,
        witnesses,
        memory,
    })
    .unwrap();
    trust.start().await.unwrap();
    trust.pickup.ask(Arc::new(Signed { issuance: trust.issuance.clone() }));
    trust
}

/// A platform whose credentials rest on whatever stands of what was signed of them.
struct Signed {
    issuance: Issuance,
}

impl Holdings for Signed {
    fn standing<'a>(
        &'a self,
        tx: &'a Tx,
        holder: Id<User>,
        credential: Id<Credential>,
    ) -> BoxFuture<'a, Result<Issued>> {
        async move {
            let all = self.issuance.all_of(tx, credential, holder).await?;
            let standing = all.into_iter().find(|issued| issued.revoked_at.is_none());
            standing.ok_or_else(|| Error::new(Kind::NotFound, "not_issued", "Nothing was signed."))
        }
        .boxed()
    }
}

pub(crate) fn claim(t: &TestDb) -> VerdictClaim {
    VerdictClaim {
        verification: t.db.world().id(),
        credential: t.db.world().id(),
        holder: t.db.world().id(),
        title: "Diploma \u{7} \"of\" Zoë – tab\there".into(),
        kind: "Education".into(),
        issuer_name: "University".into(),
        verifier_name: "Global Verify".into(),
        file_sha256: Some([3; 32]),
        verified_at: t.db.world().now(),
        document_ends: None,
    }
}

/// A user who is signed in.
pub(crate) fn caller(t: &TestDb, user: Id<User>) -> Caller {
    Caller::of(Principal::new(user, Role::User, t.db.world().id()))
}
