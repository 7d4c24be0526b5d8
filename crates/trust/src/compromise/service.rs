//! A compromise is declared, and carried out.

use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::Key;
use kernel::{Caller, Error, Id, Result, Timestamp};
use platform::db::{Db, Tx};
use platform::journal::Fact;

use super::store;
use crate::authority::service::{Purpose as Certified, Service as Authority};
use crate::issuance::service::Service as Issuance;
use crate::key::service::{Purpose, Service as Keys};

/// For how long the key is looked after once everything was taken back: longer than any process
/// goes on with keys that it has opened.
const AFTERCARE: Duration = Duration::from_secs(3600);
/// The longest reason.
const REASON_MAX: usize = 500;

/// That somebody else may have a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compromise {
    pub key: Id<Key>,
    /// Nothing that the key signs from then on is the platform's word. Whole seconds, as keys are
    /// published.
    pub since: Timestamp,
    pub reason: String,
    pub declared_at: Timestamp,
    /// Whether verdicts are signed anew under another key.
    pub reissue: bool,
    /// Verdicts and tokens that were revoked.
    pub revoked: i64,
    /// Verdicts that were signed anew.
    pub reissued: i64,
    /// When everything was taken back for the first time.
    pub carried_out_at: Option<Timestamp>,
}

/// What is declared.
#[derive(Debug, Clone)]
pub struct Declaration {
    pub key: Id<Key>,
    pub since: Timestamp,
    /// Words of the operator's; they stay with the row.
    pub reason: String,
    pub reissue: bool,
}

/// Declares compromises and carries them out. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    keys: Keys,
    authority: Authority,
    issuance: Issuance,
}

/// A key that can be declared compromised here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Issuer(Purpose),
    Certified(Certified),
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer(purpose) => purpose.as_str(),
            Self::Certified(Certified::Credential) => "certified-credential",
            Self::Certified(purpose) => purpose.as_str(),
        }
    }
}

impl Service {
    pub fn new(db: Db, keys: Keys, authority: Authority, issuance: Issuance) -> Self {
        Self(Arc::new(Inner { db, keys, authority, issuance }))
    }

    /// Declares a key compromised, and makes another where none has taken its place. Declared
    /// again, it can have happened earlier, never later: what was taken back does not come back.
    ///
    /// 404 for a key that is none of these, 422 `not_compromisable` for one whose loss has another
    /// remedy, `since` for a time to come, 409 `compromised_earlier` for a later time than was
    /// declared.
    pub async fn declare(&self, caller: &Caller, declaration: &Declaration) -> Result<Compromise> {
        let Declaration { key, since, reason, reissue } = declaration;
        // The keys of another process may be newer than those that are open here.
        self.reload().await?;
        let kind = self.kind_of(*key)?;
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > REASON_MAX {
            let message = format!("Say why, in at most {REASON_MAX} letters.");
            return Err(Error::invalid("reason", message));
        }
        let since = Timestamp::from_seconds(since.seconds());
        let declared = self
            .0
            .db
            .run("key.compromise", |tx| async move {
                if since > tx.now() {
                    let message = "The time since when the key is not to be believed is to come.";
                    return Err(Error::invalid("since", message));
                }
                let declared = Compromise {
                    key: *key,
                    since,
                    reason: reason.to_owned(),
                    declared_at: tx.now(),
                    reissue: *reissue,
                    revoked: 0,
                    reissued: 0,
                    carried_out_at: None,
                };
                self.enter(&tx, caller, kind, declared).await
            })
            .await?;
        self.reload().await?;
        Ok(declared)
    }

    async fn enter(
        &self,
        tx: &Tx,
        caller: &Caller,
        kind: Kind,
        declared: Compromise,
    ) -> Result<Compromise> {
        let Compromise { key, since, reissue, .. } = declared;
        let mut fact = Fact::by(caller, "key.compromised")
            .on(key)
            .with("purpose", kind.as_str())
            .with("since", since);
        if store::insert(tx, &declared).await? {
            if let Some(replacement) = self.replace(tx, kind, key).await? {
                fact = fact.with("replacement", replacement);
            }
            tx.record(fact);
            return Ok(declared);
        }
        let known = store::get(tx, key).await?;
        let known = known.ok_or_else(|| Error::internal("a compromise is gone"))?;
        if since > known.since {
            let message = format!(
                "It was declared as of {} before: what was taken back since then stays so.",
                known.since.to_second_text()
            );
            return Err(Error::conflict("compromised_earlier", message));
        }
        if since == known.since && reissue == known.reissue {
            // Said again to go on with it.
            return Ok(known);
        }
        store::amend(tx, &declared).await?;
        tx.record(fact);
        Ok(Compromise { revoked: known.revoked, reissued: known.reissued, ..declared })
    }

    fn kind_of(&self, key: Id<Key>) -> Result<Kind> {
        let Inner { keys, authority, .. } = &*self.0;
        let own = keys.published().into_iter().find(|known| known.id == key);
        let own = own.map(|known| Kind::Issuer(known.purpose));
        let certified = authority.published().into_iter().find(|known| known.id == key);
        let kind = own.or(certified.map(|known| Kind::Certified(known.purpose)));
        let other = |message: &'static str| Err(Error::invalid("not_compromisable", message));
        match kind {
            None => Err(Error::not_found("signing key")),
            Some(Kind::Issuer(Purpose::Log)) => other(
                "A key of the log signs no credentials: `verza keys rotate log`, and tell whoever \
                 pinned it to drop it.",
            ),
            Some(Kind::Certified(Certified::Root)) => other(
                "A root is believed by those who pinned it: tell them to drop it. The keys below \
                 can be declared one by one.",
            ),
            Some(kind) => Ok(kind),
        }
    }

    /// Makes another key, which signs at once, unless a newer one does.
    async fn replace(&self, tx: &Tx, kind: Kind, key: Id<Key>) -> Result<Option<Id<Key>>> {
        let Inner { keys, authority, .. } = &*self.0;
        let times: Vec<(Id<Key>, Timestamp)> = match kind {
            Kind::Issuer(purpose) => {
                let known = keys.published().into_iter();
                let known = known.filter(|it| it.purpose == purpose && it.compromised.is_none());
                known.map(|it| (it.id, it.signs_from)).collect()
            }
            Kind::Certified(purpose) => {
                let known = authority.published().into_iter();
                let known = known.filter(|it| it.purpose == purpose && it.compromised.is_none());
                known.map(|it| (it.id, it.signs_from)).collect()
            }
        };
        let own = times.iter().find(|(id, _)| *id == key).map(|(_, from)| *from);
        if times.iter().any(|(_, from)| Some(*from) > own && *from <= tx.now()) {
            return Ok(None);
        }
        match kind {
            Kind::Issuer(purpose) => keys.make(tx, purpose, tx.now()).await.map(Some),
            Kind::Certified(purpose) => authority.make(tx, purpose, tx.now()).await.map(Some),
        }
    }

    /// Takes back what the key has signed, a piece a transaction. `tell` hears of each piece when
    /// it is done for good; an error of its own ends the work there.
    ///
    /// 404 for a key that was not declared.
    pub async fn carry_out(
        &self,
        key: Id<Key>,
        mut tell: impl FnMut(&Compromise) -> Result<()>,
    ) -> Result<Compromise> {
        // What is signed anew is not to be signed with the key that is lost.
        self.reload().await?;
        loop {
            let (state, more) = self
                .0
                .db
                .run("key.withdraw", |tx| async move { self.carry_on(&tx, key).await })
                .await?;
            tell(&state)?;
            if !more {
                return Ok(state);
            }
        }
    }

    async fn carry_on(&self, tx: &Tx, key: Id<Key>) -> Result<(Compromise, bool)> {
        let missing = || Error::not_found("compromise");
        let state = store::get(tx, key).await?.ok_or_else(missing)?;
        let piece = self.0.issuance.withdraw(tx, key, state.since, state.reissue).await?;
        store::count(tx, key, piece.revoked, piece.reissued).await?;
        if !piece.more && store::finish(tx, key).await? {
            let fact = Fact::by(&Caller::nobody(), "key.withdrawn").on(key);
            tx.record(fact.with("revoked", state.revoked).with("reissued", state.reissued));
        }
        let state = store::get(tx, key).await?.ok_or_else(missing)?;
        Ok((state, piece.more))
    }

    /// Every compromise that is not carried out, or was not long ago.
    pub async fn carry_out_all(&self) -> Result<()> {
        let now = self.0.db.world().now();
        let recent = store::recent(&self.0.db, now - AFTERCARE).await?;
        for declared in recent {
            self.carry_out(declared.key, |_| Ok(())).await?;
        }
        Ok(())
    }

    async fn reload(&self) -> Result<()> {
        self.0.keys.reload().await?;
        self.0.authority.reload().await
    }
}
