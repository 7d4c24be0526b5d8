//! Closing, erasing, and what is taken along.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Kind, Result, Role, Timestamp};
use platform::db::{Db, Tx};
use platform::journal::Fact;
use platform::limits::{Ask, Limiter, Quota, Subject};
use platform::privacy::{self, Erasure, Holder, Person, Rows, Table};
use rpc::users::Status;
use serde_json::{Value as Json, json};

use super::rules::{self, Policy};
use super::store;
use crate::account::{Account, changed_meanwhile, store as accounts};
use crate::password::{Hasher, Password};
use crate::people::leave_an_admin;
use crate::session::{self, Reason};
use crate::{PublicUrl, factor, privacy as requests};

/// Wrong passwords of a signed-in user who wants to go.
const GUESSES: (&str, Quota) =
    ("identity.closing", Quota { burst: 5, every: Duration::from_secs(60) });
/// Accounts looked at in one go.
const DUE_BATCH: i64 = 100;
/// Rows that an export reads at once.
const EXPORT_ROWS: i64 = 500;

/// The verbs of going.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) hasher: Arc<Hasher>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) checker: Arc<factor::Checker>,
    pub(crate) sessions: Arc<session::Service>,
    pub(crate) public_url: PublicUrl,
    pub(crate) policy: Policy,
    /// The contexts, which come after this one.
    pub(crate) holders: OnceLock<Vec<Arc<dyn Holder>>>,
}

/// What becomes of a closed account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// When what is held of the person goes, or went.
    pub erased_at: Timestamp,
    /// Whether it is gone already.
    pub is_erased: bool,
}

impl Service {
    /// Whose tables hold what: call once, when all contexts are there. Until then nothing is
    /// exported and nobody can go.
    pub fn know(&self, holders: Vec<Arc<dyn Holder>>) {
        // Said twice, it is the same list.
        let _ = self.holders.set(holders);
    }

    pub fn holders(&self) -> Result<&[Arc<dyn Holder>]> {
        let known = self.holders.get().map(Vec::as_slice);
        known.ok_or_else(|| {
            Error::unavailable("not_ready", "This process does not know what is held of people.")
        })
    }

    /// Closes the caller's own account.
    ///
    /// # Errors
    /// `Forbidden` `proof_needed` without a password on a session that was not just proved;
    /// a field error `wrong` on `/password`; `Limited`; `Conflict` `account_in_use` with what is
    /// open among the fields, `last_admin`, `changed_meanwhile`.
    pub async fn close_own(&self, caller: &Caller, password: Option<&Password>) -> Result<Closed> {
        let account = accounts::get(&self.db, caller.user()?).await?;
        self.check_proof(caller, &account, password).await?;
        self.close(caller, account.id).await
    }

    /// Closes somebody's account, for an admin.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden`: `admin_protected`, and `step_up_required` on a session that was not
    /// just proved; `Conflict` as for one's own, and `wrong_state`
    /// when it is closed.
    pub async fn close_other(&self, caller: &Caller, id: Id<User>) -> Result<Closed> {
        let account = accounts::get(&self.db, id).await?;
        if account.role == Role::Admin {
            let message = "Take the role of admin from this account first.";
            return Err(Error::forbidden("admin_protected", message));
        }
        if !rules::is_fresh(caller.principal()?, self.db.world().now()) {
            return Err(rules::step_up_required());
        }
        self.close(caller, id).await
    }

    async fn check_proof(
        &self,
        caller: &Caller,
        account: &Account,
        password: Option<&Password>,
    ) -> Result<()> {
        let now = self.db.world().now();
        let is_fresh = rules::is_fresh(caller.principal()?, now);
        let Some(password) = password else {
            return if is_fresh { Ok(()) } else { Err(rules::proof_needed()) };
        };
        // Who has an authenticator app gives a fresh proof by it, never by the password alone.
        if !is_fresh && self.checker.enrolled(&self.db, account).await?.totp {
            return Err(rules::proof_needed());
        }
        let (class, quota) = GUESSES;
        let guess = [Ask { class, subject: Subject::Id(account.id.uuid()), quota }];
        self.limiter.charge(&guess, now).await?.check()?;
        let hasher = self.hasher.on_behalf_of(caller);
        if account.password.is_some() && hasher.verify(password, account.password.as_ref()).await? {
            self.limiter.refund(&guess);
            return Ok(());
        }
        Err(Error::field("/password", "wrong", "not the password of this account"))
    }

    async fn close(&self, caller: &Caller, id: Id<User>) -> Result<Closed> {
        let by = caller.principal()?.person();
        let erased_at = self
            .db
            .run("user.close", |tx| async move {
                let erased_at = self.close_in(&tx, caller, id).await?;
                requests::store::note(&tx, id, requests::Kind::Erasure, by).await?;
                Ok(erased_at)
            })
            .await?;
        Ok(Closed { erased_at, is_erased: self.erase_if_due(id).await })
    }

    /// Closes an account as part of something else; answers when what is held goes. Whoever calls
    /// has seen to who may, and calls [`Self::erase_if_due`] after the commit.
    pub(crate) async fn close_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        id: Id<User>,
    ) -> Result<Timestamp> {
        let account = accounts::get(tx, id).await?;
        if account.status == Status::Closed {
            let message = "The account is closed already.";
            return Err(Error::conflict("wrong_state", message));
        }
        if account.role == Role::Admin {
            leave_an_admin(tx, id).await?;
        }
        self.check_stakes(tx, id).await?;
        if !store::close(tx, &account).await? {
            return Err(changed_meanwhile());
        }
        store::insert(tx, &account, self.policy).await?;
        // After the account: one that begins meanwhile waits for that, and is refused.
        self.sessions.end_impersonations_in(tx, id, Reason::Locked).await?;
        let ended = self.sessions.end_all_in(tx, id, Reason::Locked, None).await?;
        let fact = Fact::by(caller, "user.closed").on(id).about(id);
        tx.record(fact.with("role", account.role).with("sessionsEnded", ended.len()));
        Ok(tx.now() + self.policy.grace)
    }

    /// Erases what is held of somebody whose account has just been closed, where there is no grace.
    /// On its own, since what was under way when the account closed has ended by now. Should it
    /// have left something open, or should this fail, the job comes back for it.
    pub(crate) async fn erase_if_due(&self, id: Id<User>) -> bool {
        self.policy.grace.is_zero() && self.erase_or_tell(id).await
    }

    async fn check_stakes(&self, tx: &Tx, id: Id<User>) -> Result<()> {
        let mut stakes = Vec::new();
        for holder in self.holders()? {
            stakes.extend(holder.stakes(tx, id).await?);
        }
        rules::refuse(stakes)
    }

    /// Opens an account again that was closed and not erased yet, for an admin. It stands as it
    /// stood before: a ban outlives being closed.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state`.
    pub async fn reopen(&self, caller: &Caller, id: Id<User>) -> Result<Account> {
        self.db
            .run("user.reopen", |tx| async move {
                accounts::get(&tx, id).await?;
                if !store::reopen(&tx, id).await? {
                    let message = "The account is not closed, or was erased.";
                    return Err(Error::conflict("wrong_state", message));
                }
                let account = accounts::get(&tx, id).await?;
                let fact = Fact::by(caller, "user.reopened").on(id).about(id);
                tx.record(fact.with("status", account.status));
                Ok(account)
            })
            .await
    }

    /// Erases what is held of a closed account's owner; answers whether that is done, which it is
    /// not while something is open. One account that cannot be erased stops no other.
    async fn erase_or_tell(&self, id: Id<User>) -> bool {
        let erased = self
            .db
            .run("user.erase", |tx| Box::pin(async move { self.erase_in(&tx, id).await }))
            .await;
        if let Err(error) = &erased {
            tracing::error!(%id, %error, "a closed account is not erased yet");
        }
        erased.is_ok()
    }

    async fn erase_in(&self, tx: &Tx, id: Id<User>) -> Result<()> {
        self.check_stakes(tx, id).await?;
        if !store::erased(tx, id).await? {
            return Ok(());
        }
        self.erase_step(tx, id, Erasure::Person, "user.erased").await?;
        if self.policy.retention.is_zero() {
            self.erase_records_in(tx, id).await?;
        }
        self.sessions.forget_after(tx, id);
        Ok(())
    }

    /// Everybody of whom nothing is held any more: what is kept apart from the backups, for
    /// [`Self::forget_again`].
    pub async fn gone(&self) -> Result<Vec<Id<User>>> {
        store::gone(&self.db).await
    }

    /// Erases somebody whom an older backup has brought back: at once and all of it, also what was
    /// open then, since it has ended in what came after the backup. `false` where there is nobody of
    /// that id, or nothing is held of them any more.
    pub async fn forget_again(&self, id: Id<User>) -> Result<bool> {
        self.db
            .run("user.erase_again", |tx| {
                Box::pin(async move { self.forget_again_in(&tx, id).await })
            })
            .await
    }

    async fn forget_again_in(&self, tx: &Tx, id: Id<User>) -> Result<bool> {
        let account = match accounts::get(tx, id).await {
            Ok(account) => account,
            Err(error) if error.kind() == Kind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if account.status != Status::Closed {
            if !store::close(tx, &account).await? {
                return Err(changed_meanwhile());
            }
            let at_once = Policy { grace: Duration::ZERO, retention: Duration::ZERO };
            store::insert(tx, &account, at_once).await?;
            self.sessions.end_all_in(tx, id, Reason::Locked, None).await?;
            tx.record(Fact::by(&Caller::nobody(), "user.closed").on(id).about(id));
        }
        let was_held = store::erased(tx, id).await?;
        if was_held {
            self.erase_step(tx, id, Erasure::Person, "user.erased").await?;
        }
        let had_records = store::records_erased(tx, id).await?;
        if had_records {
            self.erase_step(tx, id, Erasure::Records, "user.records_erased").await?;
        }
        self.sessions.forget_after(tx, id);
        Ok(was_held || had_records)
    }

    async fn erase_records_in(&self, tx: &Tx, id: Id<User>) -> Result<()> {
        if !store::records_erased(tx, id).await? {
            return Ok(());
        }
        self.erase_step(tx, id, Erasure::Records, "user.records_erased").await
    }

    async fn erase_step(
        &self,
        tx: &Tx,
        id: Id<User>,
        what: Erasure,
        verb: &'static str,
    ) -> Result<()> {
        let account = accounts::get(tx, id).await?;
        let person = Person { id, email: account.email.shown().to_owned() };
        for holder in self.holders()? {
            holder.erase(tx, &person, what).await?;
        }
        tx.record(Fact::by(&Caller::nobody(), verb).on(id).about(id));
        Ok(())
    }

    /// Erases what is due; answers how many accounts a step was taken for.
    pub async fn erase_due(&self) -> Result<usize> {
        let now = self.db.world().now();
        let mut done = 0;
        for id in store::due(&self.db, now, DUE_BATCH).await? {
            done += usize::from(self.erase_or_tell(id).await);
        }
        for id in store::records_due(&self.db, now, DUE_BATCH).await? {
            self.db
                .run("user.erase_records", |tx| {
                    Box::pin(async move { self.erase_records_in(&tx, id).await })
                })
                .await?;
            done += 1;
        }
        Ok(done)
    }

    /// Everything that is held of the caller, as one JSON document in pieces: a member for each
    /// context, in it one for each table, in it the rows.
    pub async fn export(
        self: &Arc<Self>,
        caller: &Caller,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
        let person = caller.user()?;
        self.db
            .run("user.note_export", |tx| async move {
                requests::store::note(&tx, person, requests::Kind::Export, person).await
            })
            .await?;
        self.export_of(caller, person).await
    }

    /// [`Self::export`] of somebody; whoever calls has seen to who may.
    pub(crate) async fn export_of(
        self: &Arc<Self>,
        caller: &Caller,
        person: Id<User>,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
        self.holders()?;
        let at = self
            .db
            .run("user.export", |tx| async move {
                tx.record(Fact::by(caller, "user.exported").on(person).about(person));
                Ok(tx.now())
            })
            .await?;
        let head = json!({
            "person": person,
            "exportedAt": at,
            // The bytes of files come one by one, under their ids.
            "fileContents": self.public_url.link("/v1/files/{id}/content"),
        });
        let start = Writing { service: Arc::clone(self), person, place: Place::Head(head) };
        Ok(try_unfold(start, |writing| async move { writing.next().await }))
    }
}

/// An export half written.
struct Writing {
    service: Arc<Service>,
    person: Id<User>,
    place: Place,
}

/// What comes next.
enum Place {
    Head(Json),
    Table { holder: usize, table: usize, offset: i64 },
    End,
}

impl Writing {
    async fn next(self) -> Result<Option<(Bytes, Self)>> {
        let Self { service, person, place } = self;
        let (piece, place) = match place {
            Place::Head(head) => {
                let mut text = head.to_string();
                text.pop();
                text.push_str(",\"holds\":{");
                (text, Place::Table { holder: 0, table: 0, offset: 0 })
            }
            Place::Table { holder, table, offset } => {
                service.write_rows(person, holder, table, offset).await?
            }
            Place::End => return Ok(None),
        };
        Ok(Some((Bytes::from(piece), Self { service, person, place })))
    }
}

impl Service {
    /// The text of some rows, with what has to stand before and behind them.
    async fn write_rows(
        &self,
        person: Id<User>,
        holder: usize,
        table: usize,
        offset: i64,
    ) -> Result<(String, Place)> {
        let holders = self.holders()?;
        let Some(held) = holders.get(holder) else { return Ok(("}}\n".to_owned(), Place::End)) };
        let tables: Vec<&Table> = held.tables().iter().filter(|table| is_personal(table)).collect();
        let mut text = String::new();
        if table == 0 && offset == 0 {
            let comma = if holder == 0 { "" } else { "," };
            text.push_str(&format!("{comma}\"{}\":{{", held.name()));
        }
        let Some(shown) = tables.get(table) else {
            text.push('}');
            return Ok((text, Place::Table { holder: holder + 1, table: 0, offset: 0 }));
        };
        if offset == 0 {
            let comma = if table == 0 { "" } else { "," };
            text.push_str(&format!("{comma}\"{}\":[", shown.name));
        }
        let rows = privacy::rows(&self.db, shown, person, EXPORT_ROWS, offset).await?;
        for (index, row) in rows.iter().enumerate() {
            if offset > 0 || index > 0 {
                text.push(',');
            }
            let row = serde_json::to_string(row)
                .map_err(|error| Error::internal("a row cannot be written").because(error))?;
            text.push_str(&row);
        }
        let read = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        if read == EXPORT_ROWS {
            return Ok((text, Place::Table { holder, table, offset: offset + read }));
        }
        text.push(']');
        Ok((text, Place::Table { holder, table: table + 1, offset: 0 }))
    }
}

fn is_personal(table: &Table) -> bool {
    matches!(table.rows, Rows::Personal { .. })
}
