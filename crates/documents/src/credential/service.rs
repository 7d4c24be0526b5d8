//! The verbs of credentials.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use kernel::id::kinds::{Credential as CredentialKind, User};
use kernel::{Caller, Error, Id, Kind, Page, PageRequest, Result};
use platform::db::{Db, DbError, Read, Tx};
use platform::jobs::NewJob;
use platform::journal::Fact;

use super::judge::{self, Judge, Look};
use super::judgement::Judgement;
use super::model::{Credential, Edit, Filter, NewCredential, Outcome, Status};
use super::rules::{self, Act};
use super::store::{self, Standing};
use crate::{file, share};
use trust::issuance::service::{Issued, Service as Issuance};
use trust::pickup::Holdings;

/// Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    issuance: Issuance,
    files: file::Service,
    judge: Judge,
}

fn unknown() -> Error {
    Error::not_found("credential")
}

fn collided() -> Error {
    let message = "Somebody has changed this credential at the same time. Read it again.";
    Error::conflict("version_conflict", message)
}

/// [`collided`] for whoever may have named a version: then the transaction is run again, and tells
/// them of the one that is.
fn overtaken(caller: &Caller) -> Error {
    match caller.expected {
        Some(_) => DbError::Serialization("a credential was overtaken".to_owned()).into(),
        None => collided(),
    }
}

impl Service {
    pub(crate) fn new(db: Db, issuance: Issuance, files: file::Service, judge: Judge) -> Self {
        Self(Arc::new(Inner { db, issuance, files, judge }))
    }

    pub(super) fn files(&self) -> &file::Service {
        &self.0.files
    }

    pub(super) fn judge_of(&self) -> &Judge {
        &self.0.judge
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    /// Makes a draft. A file that it names must be the caller's own.
    pub async fn create(&self, caller: &Caller, new: &NewCredential) -> Result<Credential> {
        self.db()
            .once(caller, "credential.create", |tx| async move {
                self.create_in(&tx, caller, new).await
            })
            .await
    }

    /// [`Self::create`] within a transaction that does more.
    pub async fn create_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        new: &NewCredential,
    ) -> Result<Credential> {
        let (owner, id) = (caller.user()?, tx.world().id());
        let file = match new.file {
            Some(file) => Some(file::refer(tx, owner, file).await?),
            None => None,
        };
        let is_signed = file.is_some_and(|(_, media)| judge::may_be_signed(media));
        let judgement = is_signed.then_some(Judgement::Pending);
        let sha256 = file.map(|(sha256, _)| sha256);
        store::insert(tx, id, owner, new, sha256, judgement.as_ref()).await?;
        if is_signed {
            tx.enqueue(NewJob::new(&Look { credential: id })?);
        }
        // The type is a word of the owner's, and facts are for good.
        tx.record(Fact::by(caller, "credential.created").on(id));
        store::get(tx, id, tx.now()).await?.ok_or_else(unknown)
    }

    /// The caller's own credential.
    pub async fn owned(
        &self,
        db: &impl Read,
        owner: Id<User>,
        id: Id<CredentialKind>,
    ) -> Result<Credential> {
        let credential = store::get(db, id, self.db().world().now()).await?;
        credential.filter(|credential| credential.owner == owner).ok_or_else(unknown)
    }

    /// A credential of the reader's own, or one that the reader has been granted; 404 otherwise.
    pub async fn get(
        &self,
        db: &impl Read,
        reader: Id<User>,
        id: Id<CredentialKind>,
    ) -> Result<Credential> {
        let found = store::get(db, id, self.db().world().now()).await?;
        let credential = found.ok_or_else(unknown)?;
        if credential.owner == reader || store::is_granted(db, id, reader).await? {
            Ok(credential)
        } else {
            Err(unknown())
        }
    }

    /// The owner's credentials, newest first.
    pub async fn list(
        &self,
        owner: Id<User>,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page<Credential>> {
        store::list(self.db(), owner, filter, page, self.db().world().now()).await
    }

    /// Everybody's credentials, the deleted ones among them: for admins.
    pub async fn search(&self, filter: &Filter, page: &PageRequest) -> Result<Page<Credential>> {
        store::search(self.db(), filter, page, self.db().world().now()).await
    }

    /// One credential, deleted or not: for admins.
    pub async fn find(&self, id: Id<CredentialKind>) -> Result<Credential> {
        let now = self.db().world().now();
        store::get_even_deleted(self.db(), id, now).await?.ok_or_else(unknown)
    }

    /// Changes title, issuer, number or dates of a draft or a rejected credential.
    pub async fn edit(
        &self,
        caller: &Caller,
        id: Id<CredentialKind>,
        edit: &Edit,
    ) -> Result<Credential> {
        let owner = caller.user()?;
        self.db()
            .run("credential.edit", |tx| async move {
                let credential = self.owned(&tx, owner, id).await?;
                caller.expect(credential.version)?;
                rules::check(&credential, Act::Edit)?;
                if edit.expected_version.is_some_and(|version| version != credential.version) {
                    return Err(collided());
                }
                let edited = edit.apply(credential)?;
                if !store::update(&tx, &edited).await? {
                    return Err(overtaken(caller));
                }
                tx.record(Fact::by(caller, "credential.updated").on(id));
                self.owned(&tx, owner, id).await
            })
            .await
    }

    /// Hides the credential, ends its shares and grants, and lets go of its file.
    pub async fn delete(&self, caller: &Caller, id: Id<CredentialKind>) -> Result<()> {
        let owner = caller.user()?;
        self.db()
            .run("credential.delete", |tx| async move {
                let credential = self.owned(&tx, owner, id).await?;
                rules::check(&credential, Act::Delete)?;
                if !store::delete(&tx, &credential).await? {
                    return Err(collided());
                }
                if let Some(file) = credential.file {
                    file::release(&tx, file).await?;
                }
                store::withdraw_all_grants(&tx, id).await?;
                share::end_all(&tx, id).await?;
                tx.record(Fact::by(caller, "credential.deleted").on(id));
                Ok(())
            })
            .await
    }

    /// Brings a deleted credential back, without its file: for admins.
    pub async fn restore(&self, caller: &Caller, id: Id<CredentialKind>) -> Result<Credential> {
        self.db()
            .run("credential.restore", |tx| async move {
                let found = store::get_even_deleted(&tx, id, tx.now()).await?;
                let credential = found.ok_or_else(unknown)?;
                if !store::restore(&tx, &credential).await? {
                    let message = "This credential has not been deleted.".to_owned();
                    return Err(rules::wrong_state(message));
                }
                let fact = Fact::by(caller, "credential.restored").on(id);
                tx.record(fact.about(credential.owner));
                store::get(&tx, id, tx.now()).await?.ok_or_else(unknown)
            })
            .await
    }

    /// The owner takes back what a verdict said of the credential, for good.
    pub async fn revoke(
        &self,
        caller: &Caller,
        id: Id<CredentialKind>,
        reason: &str,
    ) -> Result<Credential> {
        let owner = caller.user()?;
        self.db()
            .run("credential.revoke", |tx| async move {
                caller.expect(self.owned(&tx, owner, id).await?.version)?;
                self.revoke_in(&tx, caller, id, reason).await
            })
            .await
    }

    /// [`Self::revoke`] of anybody's credential: for admins.
    pub async fn revoke_any(
        &self,
        caller: &Caller,
        id: Id<CredentialKind>,
        reason: &str,
    ) -> Result<Credential> {
        self.db()
            .run(
                "credential.revoke",
                |tx| async move { self.revoke_in(&tx, caller, id, reason).await },
            )
            .await
    }

    /// Revokes the credential and its signed form; the caller has seen to who may. Also how a
    /// dispute takes a verdict back. While a verdict stands this is possible in every state, also
    /// behind a deletion: whoever has a copy could go on showing it.
    pub async fn revoke_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        id: Id<CredentialKind>,
        reason: &str,
    ) -> Result<Credential> {
        let found = store::get_even_deleted(tx, id, tx.now()).await?;
        let credential = found.ok_or_else(unknown)?;
        let issuance = &self.0.issuance;
        if !issuance.revoke_standing(tx, id, credential.owner, caller, reason).await? {
            // Nothing that was signed stands.
            if credential.deleted_at.is_some() {
                return Err(unknown());
            }
            rules::check(&credential, Act::Revoke)?;
        }
        if !store::revoke(tx, &credential, rules::revoked(credential.status)).await? {
            return Err(overtaken(caller));
        }
        tx.record(Fact::by(caller, "credential.revoked").on(id).about(credential.owner));
        store::get_even_deleted(tx, id, tx.now()).await?.ok_or_else(unknown)
    }

    /// A verification of the owner's credential begins: it is pending from here on.
    ///
    /// 404 for another's credential, 409 `wrong_state` unless it is a draft, rejected or expired.
    pub async fn begin_verification(
        &self,
        tx: &Tx,
        owner: Id<User>,
        id: Id<CredentialKind>,
    ) -> Result<Credential> {
        let credential = self.owned(tx, owner, id).await?;
        rules::check(&credential, Act::Verify)?;
        if !store::begin(tx, &credential).await? {
            return Err(collided());
        }
        self.owned(tx, owner, id).await
    }

    /// A verification ends. The verdict's facts are the verification's to record.
    ///
    /// 409 `wrong_state` unless the credential is pending.
    pub async fn settle_verification(
        &self,
        tx: &Tx,
        id: Id<CredentialKind>,
        outcome: Outcome,
    ) -> Result<()> {
        let found = async || store::get(tx, id, tx.now()).await?.ok_or_else(unknown);
        let (to, standing) = match outcome {
            Outcome::Verified { issued, valid_until } => {
                let verified_at = Some(tx.now());
                let (issued, valid_until) = (Some(issued), Some(valid_until));
                (Status::Verified, Standing { issued, verified_at, valid_until })
            }
            Outcome::Rejected => {
                // The newer judgement counts, as when it is a good one. Nothing is signed that could
                // supersede the older verdict, so that one is taken back.
                self.0.issuance.overrule(tx, id, found().await?.owner).await?;
                (Status::Rejected, Standing::default())
            }
            Outcome::Withdrawn => {
                let credential = found().await?;
                let earlier = self.issued(tx, &credential).await?;
                let stands = earlier.map(|it| it.revoked_at.is_none());
                let to = rules::withdrawn(stands, store::came_from(tx, id).await?);
                let Credential { issued, verified_at, valid_until, .. } = credential;
                (to, Standing { issued, verified_at, valid_until })
            }
        };
        if store::settle(tx, id, to, &standing).await? {
            return Ok(());
        }
        found().await?;
        Err(rules::wrong_state("No verification of this credential is running.".to_owned()))
    }

    /// The last verdict was a rejection, and does not stand: the credential is a draft again, or will
    /// be when what runs now comes to nothing.
    pub async fn overturn_rejection(&self, tx: &Tx, id: Id<CredentialKind>) -> Result<()> {
        store::unreject(tx, id).await
    }

    /// Lets somebody read the credential and its file. Granting twice is granting once.
    pub async fn grant(&self, tx: &Tx, id: Id<CredentialKind>, to: Id<User>) -> Result<()> {
        store::get(tx, id, tx.now()).await?.ok_or_else(unknown)?;
        store::grant(tx, id, to).await
    }

    /// Takes the grant back; from then on the credential does not exist for that user.
    pub async fn withdraw_grant(
        &self,
        tx: &Tx,
        id: Id<CredentialKind>,
        to: Id<User>,
    ) -> Result<()> {
        store::withdraw_grant(tx, id, to).await
    }

    /// The owner's credential as it was signed: a W3C Verifiable Credential 2.0 in Open Badge 3.0
    /// shape. 404 `not_issued` without a positive verdict.
    pub async fn signed(
        &self,
        owner: Id<User>,
        id: Id<CredentialKind>,
    ) -> Result<serde_json::Value> {
        let credential = self.owned(self.db(), owner, id).await?;
        let issued = self.issued(self.db(), &credential).await?.ok_or_else(not_issued)?;
        Ok(issued.document)
    }

    /// The verdict as an SD-JWT credential that is bound to no key: whoever has it can show it. Each
    /// download has a place of its own in the status lists.
    pub async fn sd_jwt(&self, owner: Id<User>, id: Id<CredentialKind>) -> Result<String> {
        self.db()
            .run("credential.download", |tx| async move {
                let issued = self.standing_of(&tx, owner, id).await?;
                self.0.issuance.sd_jwt(&tx, &issued, None).await
            })
            .await
    }

    /// The document of [`Self::signed`] as a JWT (`vc+jwt`).
    pub async fn vc_jwt(&self, owner: Id<User>, id: Id<CredentialKind>) -> Result<String> {
        let issued = self.standing_of(self.db(), owner, id).await?;
        self.0.issuance.vc_jwt(&issued, self.db().world().now())
    }

    /// The verdict that the owner's credential rests on, while it stands: what new copies are made
    /// of. 404 `not_issued` where there is none, also behind a rejection.
    async fn standing_of(
        &self,
        db: &impl Read,
        owner: Id<User>,
        id: Id<CredentialKind>,
    ) -> Result<Issued> {
        let credential = self.owned(db, owner, id).await?;
        let issued = self.issued(db, &credential).await?;
        issued.filter(|issued| issued.revoked_at.is_none()).ok_or_else(not_issued)
    }

    /// [`Self::signed`] with everything that judging it offline takes.
    pub async fn bundle(
        &self,
        owner: Id<User>,
        id: Id<CredentialKind>,
    ) -> Result<serde_json::Value> {
        let credential = self.owned(self.db(), owner, id).await?;
        let issued = credential.issued.ok_or_else(not_issued)?;
        self.0.issuance.bundle(self.db(), issued).await
    }

    /// What was issued as a bundle, for whoever the owner shows it to.
    pub(crate) async fn shown_bundle(&self, issued: &Issued) -> Result<serde_json::Value> {
        self.0.issuance.shown_bundle(self.db(), issued.id).await
    }

    /// Everything that was signed of the owner's credential, the newest first.
    pub async fn verdicts(&self, owner: Id<User>, id: Id<CredentialKind>) -> Result<Vec<Issued>> {
        let credential = self.owned(self.db(), owner, id).await?;
        self.0.issuance.all_of(self.db(), credential.id, owner).await
    }

    /// What the last positive verdict issued.
    pub(crate) async fn issued(
        &self,
        db: &impl Read,
        credential: &Credential,
    ) -> Result<Option<Issued>> {
        match credential.issued {
            Some(id) => self.0.issuance.get(db, id).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Holdings for Service {
    fn standing<'a>(
        &'a self,
        tx: &'a Tx,
        holder: Id<User>,
        credential: Id<CredentialKind>,
    ) -> BoxFuture<'a, Result<Issued>> {
        self.standing_of(tx, holder, credential).boxed()
    }
}

fn not_issued() -> Error {
    let message = "Nothing has been signed for this credential: it has no positive verdict.";
    Error::new(Kind::NotFound, "not_issued", message)
}
