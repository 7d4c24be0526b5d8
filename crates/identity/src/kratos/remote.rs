//! Believing Kratos: from a credential of its to a session row of ours, and back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use kernel::caller::Origin;
use kernel::id::kinds::{Session as SessionKind, User};
use kernel::{Caller, Error, Id, Kind, Principal, Result, Role, Timestamp};
use platform::crypto::sha256;
use platform::db::{Db, Tx};
use platform::jobs::Run;
use platform::journal::Fact;
use rpc::users::Status;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::answers::{Answers, Key};
use super::client::{Client, Whoami, unavailable};
use super::jobs::{Compare, Revoke};
use super::model::{Admitted, Credential, Identity, Options, Session};
use super::rules::{self, Link, Refusal};
use super::store::{self, Known};
use crate::account::{self, Account};
use crate::session::{self, Method, Proof, Reason};

/// Questions to Kratos at once. Whoever comes later waits, and no longer than for an answer.
const QUESTIONS_MAX: usize = 32;
/// How long it is remembered that a session waits for something its owner can do at once: the
/// second factor, or confirming the address.
const WAITING: Duration = Duration::from_secs(1);
/// Rows of sessions are kept this long after Kratos has let them end.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Two requests at once may both be the first to see a session or an identity; the second one
/// finds what the first has written.
const ROUNDS: usize = 3;

/// What came of looking at an identity because of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Created,
    Linked,
    Updated,
    Unchanged,
    /// The address has yet to be confirmed at Kratos; until then nobody signs in.
    Waiting,
    /// The identity is switched off or gone, and its sessions have ended.
    Ended,
}

/// What a hook may change of an account that is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    Nothing,
    Address,
    AddressAndName,
}

/// Kratos, as it is believed.
pub(super) struct Remote {
    db: Db,
    accounts: Arc<account::Service>,
    sessions: Arc<session::Service>,
    client: Client,
    answers: Arc<Answers>,
    at_once: Semaphore,
    timeout: Duration,
    cache: Duration,
}

impl Remote {
    /// # Errors
    /// `Invalid` `invalid_address`.
    pub(super) fn new(
        db: Db,
        accounts: Arc<account::Service>,
        sessions: Arc<session::Service>,
        options: &Options,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            client: Client::new(options, db.clone())?,
            answers: Arc::new(Answers::new(options.remembered_max)),
            at_once: Semaphore::new(QUESTIONS_MAX),
            timeout: options.timeout,
            cache: options.cache,
            accounts,
            sessions,
            db,
        }))
    }

    /// Who presents a credential of Kratos. An answer of Kratos holds for its time also where
    /// `strict`; what is ours is then asked of the store.
    ///
    /// # Errors
    /// `Unauthenticated` `invalid_token`, `session_ended`, `session_expired`; `Forbidden`
    /// `second_factor_required`, `email_not_verified`, `email_missing`, and those of a locked
    /// account; `Unavailable` `kratos_unavailable`.
    pub(super) async fn authenticate(
        self: &Arc<Self>,
        presented: &str,
        strict: bool,
    ) -> Result<Arc<Principal>> {
        let credential = Credential::parse(presented)
            .ok_or_else(|| Error::unauthenticated("invalid_token", "The token is not valid."))?;
        let key = sha256(presented);
        let (admitted, until) = match self.answers.get(&key, self.now()) {
            Some(answer) => answer?,
            None => {
                let remote = Arc::clone(self);
                let ask = move || async move { remote.ask(key, &credential).await }.boxed();
                let admitted = self.answers.once(key, ask).await?;
                (admitted, self.until(&admitted))
            }
        };
        let whose = (admitted.user, admitted.session);
        match self.sessions.vouched(presented, whose, until, strict).await {
            Err(error) if error.kind() == Kind::Unauthenticated => {
                self.answers.refuse(key, error.clone(), self.now() + self.cache);
                self.let_go(admitted.kratos).await?;
                Err(error)
            }
            outcome => outcome,
        }
    }

    /// Until when an answer that is given now holds.
    fn until(&self, admitted: &Admitted) -> Timestamp {
        (self.now() + self.cache).min(admitted.expires_at)
    }

    fn now(&self) -> Timestamp {
        self.db.world().now()
    }

    /// Asks Kratos, acts on what it says, and remembers it.
    async fn ask(&self, key: Key, credential: &Credential) -> Result<Admitted> {
        let turn = tokio::time::timeout(self.timeout, self.at_once.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(unavailable(Duration::from_secs(1))) };
        let outcome = self.judge(key, credential).await;
        match &outcome {
            Ok(admitted) => self.answers.admit(key, *admitted, self.until(admitted)),
            Err(error) => {
                let holds = match error.kind() {
                    Kind::Unauthenticated => self.cache,
                    Kind::Forbidden => self.cache.min(WAITING),
                    _ => return outcome,
                };
                self.answers.refuse(key, error.clone(), self.now() + holds);
            }
        }
        outcome
    }

    async fn judge(&self, key: Key, credential: &Credential) -> Result<Admitted> {
        match self.client.whoami(credential).await? {
            Whoami::Session(session, identity) => {
                match rules::believe(&session, identity.as_ref(), self.now()) {
                    Ok(identity) => return self.admit(&session, identity).await,
                    Err(refusal) => self.note_gone(key).await.and(Err(refusal.into())),
                }
            }
            Whoami::SecondFactorDue => Err(Refusal::SecondFactorDue.into()),
            Whoami::Nobody => self.note_gone(key).await.and(Err(Refusal::Inactive.into())),
        }
    }

    /// What a credential led to until now is over.
    async fn note_gone(&self, key: Key) -> Result<()> {
        match self.answers.known(&key) {
            Some(gone) => self.end_here(gone.kratos, gone.user, gone.session).await,
            None => Ok(()),
        }
    }

    /// The session of ours that stands for one of Kratos's; at first sight it begins.
    async fn admit(&self, session: &Session, identity: &Identity) -> Result<Admitted> {
        if let Some(known) = store::session(&self.db, session.id).await? {
            return self.recognise(session, identity, known).await;
        }
        for _ in 0..ROUNDS {
            let admitted = self
                .db
                .run("kratos.admit", |tx| async move {
                    // Looked up once more: the embedded store shows readers only what is on disk.
                    if let Some(known) = store::session(&tx, session.id).await? {
                        return Ok(Err(known));
                    }
                    let caller = caller_of(session);
                    let account = self.account_in(&tx, &caller, identity).await?;
                    session::may_sign_in(&account, false)?;
                    if !account::store::note_login(&tx, account.id).await? {
                        return Err(raced());
                    }
                    self.begin_in(&tx, &caller, session, identity.id, &account).await.map(Ok)
                })
                .await;
            match admitted {
                Ok(Ok(admitted)) => return Ok(admitted),
                Ok(Err(known)) => return self.recognise(session, identity, known).await,
                Err(error) if error.code() == RACED => {}
                Err(error) => return Err(error),
            }
        }
        Err(unavailable(Duration::from_secs(1)))
    }

    /// A session that is known: takes over what has changed at Kratos. Most often nothing has, and
    /// nothing is written.
    async fn recognise(
        &self,
        session: &Session,
        identity: &Identity,
        known: Known,
    ) -> Result<Admitted> {
        if known.identity != identity.id {
            return Err(Refusal::Inactive.into());
        }
        let Known { id, user, session: ours, .. } = known;
        let admitted = Admitted { user, session: ours, kratos: id, expires_at: session.expires_at };
        let by = session::store::Key::Id(ours);
        let Some((row, account)) = session::store::load(&self.db, by).await? else {
            // Long over; what vouches for it has its turn next.
            return Ok(admitted);
        };
        // What was shown, or made stale, here since Kratos last saw its owner counts as well.
        let is_news = session.authenticated_at > known.authenticated_at;
        let is_proof = is_news && self.sessions.is_proof(&self.db, &account, session.level).await?;
        let proven_at =
            if is_proof { session.authenticated_at.min(self.now()) } else { row.proven_at };
        let level = if is_news { session.level.max(row.proof.level) } else { row.proof.level };
        let longest = row.created_at + self.sessions.lifetime(account.role);
        let expires_at = session.expires_at.min(longest);
        let changed =
            is_news || row.expires_at != expires_at || known.expires_at < session.expires_at;
        if changed && row.ended_at.is_none() {
            self.db
                .run("kratos.renew", |tx| async move {
                    store::follow(&tx, id, session.authenticated_at, session.expires_at).await?;
                    if session::store::vouch(&tx, ours, level, proven_at, expires_at).await? {
                        let caller = caller_of(session);
                        tx.record(
                            Fact::by(&caller, "session.renewed")
                                .acted_by(user, account.role)
                                .on(ours)
                                .about(user)
                                .with("level", level),
                        );
                        self.sessions.forget_one_after(&tx, user, ours);
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(admitted)
    }

    /// Begins a session of ours for one of Kratos's.
    async fn begin_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        session: &Session,
        identity: Uuid,
        account: &Account,
    ) -> Result<Admitted> {
        let proof =
            Proof { level: session.level, methods: vec![Method::Kratos], impersonator: None };
        let mut ours = self.sessions.draft(tx, caller, account, proof);
        ours.proven_at = if self.sessions.is_proof(tx, account, session.level).await? {
            session.authenticated_at.min(tx.now())
        } else {
            Timestamp::from_micros(0)
        };
        ours.expires_at = ours.expires_at.min(session.expires_at);
        let known = Known {
            id: session.id,
            identity,
            user: account.id,
            session: ours.id,
            authenticated_at: session.authenticated_at,
            expires_at: session.expires_at,
        };
        if !store::insert(tx, &known).await? {
            return Err(raced());
        }
        let ours = self.sessions.enter_in(tx, caller, account, ours, None).await?;
        Ok(Admitted {
            user: account.id,
            session: ours.id,
            kratos: session.id,
            expires_at: session.expires_at,
        })
    }

    /// The account of an identity; at first sight it is linked, or made.
    async fn account_in(&self, tx: &Tx, caller: &Caller, identity: &Identity) -> Result<Account> {
        if let Some(user) = store::user_of(tx, identity.id).await? {
            let account = account::store::get(tx, user).await?;
            if account.status != Status::Closed {
                return Ok(account);
            }
            // Who gave an account up may begin another, as by registering here.
            store::unlink(tx, identity.id).await?;
        }
        let Some((email, _)) = &identity.address else { return Err(Refusal::NoAddress.into()) };
        let found = account::store::by_email(tx, email).await?;
        let gives_way = match &found {
            Some(account) => account::store::gives_way(tx, account.id).await?,
            None => false,
        };
        let link = rules::link(identity, found.as_ref().map(|account| (account, gives_way)))?;
        let user = match (link, found) {
            (Link::Create, _) => self.create_in(tx, caller, identity, Some(tx.now())).await?,
            (Link::Join, Some(account)) => account.id,
            (Link::Prove, Some(account)) => self.prove_in(tx, caller, &account).await?,
            // Somebody was let in on it without proof: what it holds is theirs, and stays with it.
            (Link::Claim, Some(account))
                if self.accounts.release_in(tx, caller, &account).await? =>
            {
                self.create_in(tx, caller, identity, Some(tx.now())).await?
            }
            (Link::Claim, Some(account)) => {
                if !account::store::claim(tx, &account, &identity.name).await? {
                    return Err(raced());
                }
                // Nobody could sign in before the address was proved; should somebody have found
                // a way, it ends here.
                self.sessions.end_all_in(tx, account.id, Reason::Elsewhere, None).await?;
                record_registered(tx, caller, account.id);
                account.id
            }
            (Link::Join | Link::Prove | Link::Claim, None) => {
                return Err(Error::internal("an account to link is missing"));
            }
        };
        if !store::link(tx, identity.id, user).await? {
            return Err(raced());
        }
        let account = account::store::get(tx, user).await?;
        tx.record(
            Fact::by(caller, "kratos.linked")
                .acted_by(user, account.role)
                .on(user)
                .about(user)
                .with("identity", identity.id)
                .with("claimed", link == Link::Claim),
        );
        tx.enqueue(Compare::new_job(identity.id)?);
        Ok(account)
    }

    /// Proves the address of an account as Kratos has seen it proved. What was let in before it was
    /// proved may not be its owner, and ends.
    async fn prove_in(&self, tx: &Tx, caller: &Caller, account: &Account) -> Result<Id<User>> {
        if !account::store::set_email_verified(tx, account.id).await? {
            return Err(raced());
        }
        let ended = self.sessions.end_all_in(tx, account.id, Reason::Elsewhere, None).await?;
        tx.record(
            Fact::by(caller, "user.email_verified")
                .acted_by(account.id, account.role)
                .on(account.id)
                .about(account.id)
                .with("role", account.role)
                .with("sessionsEnded", ended.len()),
        );
        Ok(account.id)
    }

    /// A new account for an identity; without a time, one whose address is still to be proved.
    async fn create_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        identity: &Identity,
        verified_at: Option<Timestamp>,
    ) -> Result<Id<User>> {
        let Some((email, _)) = &identity.address else { return Err(Refusal::NoAddress.into()) };
        let id = tx.world().id::<User>();
        let new = account::store::New {
            id,
            email,
            name: &identity.name,
            role: Role::User,
            approved: true,
            email_verified_at: verified_at,
            password: None,
        };
        if !account::store::insert(tx, &new).await? {
            return Err(raced());
        }
        record_registered(tx, caller, id);
        Ok(id)
    }

    /// Looks at an identity once more, because Kratos says that something about it has changed.
    ///
    /// # Errors
    /// `NotFound`: there is no such identity, and never was one here.
    pub(super) async fn take_up(
        &self,
        caller: &Caller,
        id: Uuid,
        follow: Follow,
    ) -> Result<Outcome> {
        let identity = self.client.identity(id).await?;
        let linked = store::user_of(&self.db, id).await?.is_some();
        let Some(identity) = identity else {
            if !linked {
                return Err(Error::not_found("identity"));
            }
            self.end_all_of(id).await?;
            return Ok(Outcome::Ended);
        };
        if !identity.active {
            self.end_all_of(id).await?;
            return Ok(Outcome::Ended);
        }
        let identity = &identity;
        for _ in 0..ROUNDS {
            let outcome = self
                .db
                .run("kratos.take_up", |tx| async move {
                    match store::user_of(&tx, id).await? {
                        Some(user) => {
                            tx.enqueue(Compare::new_job(id)?);
                            self.follow_in(&tx, caller, user, identity, follow).await
                        }
                        None => self.link_in(&tx, caller, identity).await,
                    }
                })
                .await;
            match outcome {
                Err(error) if error.code() == RACED => {}
                outcome => return outcome,
            }
        }
        Err(unavailable(Duration::from_secs(1)))
    }

    async fn link_in(&self, tx: &Tx, caller: &Caller, identity: &Identity) -> Result<Outcome> {
        let Some((email, proved)) = &identity.address else { return Ok(Outcome::Waiting) };
        let found = account::store::by_email(tx, email).await?.is_some();
        if *proved {
            self.account_in(tx, caller, identity).await?;
            return Ok(if found { Outcome::Linked } else { Outcome::Created });
        }
        if !found {
            // Nobody can sign in on it, and it is nobody's until the address is proved.
            self.create_in(tx, caller, identity, None).await?;
        }
        Ok(Outcome::Waiting)
    }

    async fn follow_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        user: Id<User>,
        identity: &Identity,
        follow: Follow,
    ) -> Result<Outcome> {
        let account = account::store::get(tx, user).await?;
        // What was given up holds on to no address.
        if account.status == Status::Closed {
            return Ok(Outcome::Unchanged);
        }
        let name = match follow {
            Follow::AddressAndName => identity.name.as_str(),
            Follow::Address | Follow::Nothing => &account.name,
        };
        let mut email = &account.email;
        if let Some((theirs, true)) = &identity.address
            && follow != Follow::Nothing
            && *theirs != account.email
        {
            let owner = account::store::by_email(tx, theirs).await?;
            // Another account's address stays where it is.
            if owner.is_none_or(|owner| owner.id == user) {
                email = theirs;
            }
        }
        let changed: Vec<&str> =
            [(name != account.name, "name"), (*email != account.email, "email")]
                .into_iter()
                .filter_map(|(changed, field)| changed.then_some(field))
                .collect();
        if changed.is_empty() {
            return Ok(Outcome::Unchanged);
        }
        if !account::store::follow(tx, &account, name, email).await? {
            return Err(raced());
        }
        if email.as_str() != account.email.as_str() {
            self.accounts.moved_in(tx, &account).await?;
        }
        tx.record(
            Fact::by(caller, "user.profile_changed")
                .acted_by(user, account.role)
                .on(user)
                .about(user)
                .with("fields", changed)
                .with("source", "kratos"),
        );
        self.sessions.forget_after(tx, user);
        Ok(Outcome::Updated)
    }

    /// Brings the sessions of an identity here in line with those at Kratos: those that began there
    /// unseen are listed here from now on, and those that are over there are over here.
    pub(super) async fn compare(&self, identity: Uuid) -> Result<()> {
        let started = self.now();
        let Some(user) = store::user_of(&self.db, identity).await? else { return Ok(()) };
        let (mut theirs, all) = self.client.sessions(identity).await?;
        theirs.retain(|session| session.active && session.expires_at > started);
        for gone in store::live_of(&self.db, identity, started).await? {
            // Of a list that is cut off nothing can be said of what is not in it.
            if all && !theirs.iter().any(|session| session.id == gone.id) {
                self.end_here(gone.id, gone.user, gone.session).await?;
            }
        }
        let account = account::store::get(&self.db, user).await?;
        if session::may_sign_in(&account, false).is_err() {
            return Ok(());
        }
        let known = store::known_of(&self.db, identity).await?;
        theirs.retain(|session| !known.iter().any(|known| known.id == session.id));
        // Being listed must displace nobody: the newest are taken while there is room.
        theirs.sort_by_key(|session| std::cmp::Reverse(session.authenticated_at));
        let room = self.sessions.room(&account).await?;
        let account = &account;
        for session in theirs.iter().take(room) {
            let begun = self
                .db
                .run("kratos.admit", |tx| async move {
                    self.begin_in(&tx, &caller_of(session), session, identity, account).await
                })
                .await;
            match begun {
                Ok(_) => {}
                Err(error) if error.code() == RACED => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends a session here that is over at Kratos.
    async fn end_here(&self, kratos: Uuid, user: Id<User>, session: Id<SessionKind>) -> Result<()> {
        self.db
            .run("kratos.end", |tx| async move {
                store::set_revoked(&tx, kratos).await?;
                if session::store::end(&tx, user, session, Reason::Elsewhere).await? {
                    tx.record(
                        Fact::by(&Caller::nobody(), "session.ended")
                            .on(session)
                            .about(user)
                            .with("reason", Reason::Elsewhere.as_str()),
                    );
                    self.sessions.forget_one_after(&tx, user, session);
                }
                Ok(())
            })
            .await
    }

    /// Ends all sessions of an identity that is gone or switched off.
    async fn end_all_of(&self, identity: Uuid) -> Result<()> {
        let after_all = self.now() + Duration::from_secs(1);
        for known in store::live_of(&self.db, identity, after_all).await? {
            self.end_here(known.id, known.user, known.session).await?;
        }
        Ok(())
    }

    /// A session that is over here and alive at Kratos is to end there, if it is not to already.
    async fn let_go(&self, kratos: Uuid) -> Result<()> {
        self.db
            .run("kratos.let_go", |tx| async move {
                if store::take(&tx, kratos).await? {
                    tx.enqueue(Revoke::new_job(kratos)?);
                }
                Ok(())
            })
            .await
    }

    /// The job's work: ends a session at Kratos.
    pub(super) async fn revoke(&self, kratos: Uuid, run: &Run) -> Result<()> {
        self.client.revoke(kratos).await?;
        self.db
            .run("kratos.revoke", |tx| async move {
                store::set_revoked(&tx, kratos).await?;
                run.done_in(&tx).await
            })
            .await
    }

    pub(super) async fn revoke_any_ended(&self) -> Result<()> {
        self.db
            .run("kratos.revoke_ended", |tx| async move {
                enqueue(&tx, &store::take_any_ended(&tx).await?)
            })
            .await
    }

    pub(super) async fn sweep(&self) -> Result<()> {
        let before = self.now() - KEPT;
        self.db.run("kratos.sweep", |tx| async move { store::sweep(&tx, before).await }).await?;
        Ok(())
    }

    /// How many answers of either kind are kept, and how many questions are under way.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize, usize) {
        self.answers.len()
    }
}

/// What of a user's sessions has just ended here ends at Kratos as well; part of the transaction
/// that ends them.
pub(crate) async fn revoke_ended_in(tx: &Tx, user: Id<User>) -> Result<()> {
    enqueue(tx, &store::take_ended(tx, user).await?)
}

fn enqueue(tx: &Tx, ended: &[Uuid]) -> Result<()> {
    for session in ended {
        tx.enqueue(Revoke::new_job(*session)?);
    }
    Ok(())
}

/// The account begins, or begins anew.
fn record_registered(tx: &Tx, caller: &Caller, id: Id<User>) {
    tx.record(
        Fact::by(caller, "user.registered")
            .acted_by(id, Role::User)
            .on(id)
            .about(id)
            .with("role", Role::User)
            .with("approved", true)
            .with("source", "kratos"),
    );
}

/// The device that Kratos has seen: the request at hand may come from elsewhere.
fn caller_of(session: &Session) -> Caller {
    let user_agent = session.user_agent.as_deref().map(Into::into);
    Caller {
        origin: Origin { ip: session.ip, user_agent, ..Origin::default() },
        ..Caller::nobody()
    }
}

const RACED: &str = "kratos_raced";

/// Somebody else was first; what they wrote is undone here and read instead.
fn raced() -> Error {
    Error::conflict(RACED, "Two requests began the same at once. Try again.")
}
