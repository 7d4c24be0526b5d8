//! Requests that may be sent twice and act once: the reply is remembered in the transaction of
//! the effect, so that there is never one without the other.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kernel::caller::Idempotency;
use kernel::error::PRECONDITION_FAILED;
use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Kind, Result, Timestamp};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Db, DbError, Read, Tx};
use crate::crypto::sha256;
use crate::params;

/// How long a reply is kept: a week, since most marked requests move money.
pub const REPLY_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Where a reply is sealed for.
const PLACE: &str = "idempotency.reply";

/// Scopes that run in this process right now.
#[derive(Default)]
pub(super) struct InFlight(Mutex<HashSet<[u8; 32]>>);

struct Entered<'a>(&'a InFlight, [u8; 32]);

impl InFlight {
    fn enter(&self, scope: [u8; 32]) -> Result<Entered<'_>> {
        if self.0.lock().insert(scope) { Ok(Entered(self, scope)) } else { Err(in_progress()) }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}

fn in_progress() -> Error {
    let message = "The first request with this Idempotency-Key is still running.";
    Error::conflict("idempotency_in_progress", message).retry_after(1)
}

/// A reply to be remembered.
pub(super) struct Reply {
    scope: [u8; 32],
    fingerprint: [u8; 32],
    body: String,
    /// Whose reply it is: it is sealed for them.
    person: Option<Id<User>>,
}

/// What was answered: a value, or a refusal that stands.
#[derive(Serialize, Deserialize)]
enum Remembered<T> {
    Done(T),
    Refused { kind: Kind, code: String, message: String, fields: Vec<kernel::FieldError> },
}

impl<T> Remembered<T> {
    fn into_result(self) -> Result<T> {
        match self {
            Self::Done(value) => Ok(value),
            Self::Refused { kind, code, message, fields } => {
                Err(Error::new(kind, code, message).with_fields(fields))
            }
        }
    }
}

impl Db {
    /// [`Db::run`] for a request that carries an idempotency key: a second request with the same
    /// key and the same content gets the first one's reply and has no effect of its own.
    ///
    /// A refusal by the state of things (a conflict: too little money, the wrong state) is
    /// remembered too, so that a late duplicate cannot succeed by surprise. A request that was
    /// refused before anything was decided, or that failed, leaves the key unused. So does one that
    /// was made for a version that is over: its duplicates are refused by themselves.
    pub async fn once<T, F>(
        &self,
        caller: &Caller,
        name: &'static str,
        work: impl Fn(Tx) -> F,
    ) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T>>,
    {
        let Some(idempotency) = caller.idempotency.as_deref() else {
            return self.run(name, work).await;
        };
        let _entered = self.0.in_flight.enter(idempotency.scope)?;
        let person = caller.principal.as_ref().map(|principal| principal.user);
        if let Some(reply) = self.recall(idempotency).await? {
            return reply;
        }
        let outcome = self
            .run(name, |tx| {
                let work = work(tx.clone());
                async move {
                    let value = work.await?;
                    tx.remember(reply(idempotency, person, &Remembered::Done(&value))?);
                    Ok(value)
                }
            })
            .await;
        match outcome {
            // Another replica has answered this key meanwhile; its answer is the answer.
            Err(error) if is_taken(&error) => {
                self.recall(idempotency).await?.unwrap_or_else(|| Err(in_progress()))
            }
            Err(error) if error.kind() == Kind::Conflict && error.code() != PRECONDITION_FAILED => {
                if self.remember_refusal(idempotency, person, &error).await? {
                    return Err(error);
                }
                // Another replica was quicker, and what it did is why this one was refused.
                self.recall(idempotency).await?.unwrap_or(Err(error))
            }
            outcome => outcome,
        }
    }

    /// Whether the caller's key stands for a reply already, whatever was asked for with it. Who
    /// would have to do much before [`Self::once`] can decide asks this first.
    pub async fn is_remembered(&self, caller: &Caller) -> Result<bool> {
        let Some(idempotency) = caller.idempotency.as_deref() else { return Ok(false) };
        let sql = "SELECT expires_at FROM idempotency WHERE scope = $1";
        let found = self.maybe(sql, params![idempotency.scope], |row| row.take()).await?;
        Ok(found.is_some_and(|expires_at: Timestamp| expires_at > self.world().now()))
    }

    async fn recall<T: DeserializeOwned>(
        &self,
        idempotency: &Idempotency,
    ) -> Result<Option<Result<T>>> {
        let sql = "SELECT fingerprint, reply, expires_at FROM idempotency WHERE scope = $1";
        let found = self
            .maybe(sql, params![idempotency.scope], |row| {
                Ok((row.take::<[u8; 32]>()?, row.take::<String>()?, row.take::<Timestamp>()?))
            })
            .await?;
        let Some((fingerprint, reply, expires_at)) = found else { return Ok(None) };
        if expires_at <= self.world().now() {
            return Ok(None);
        }
        if fingerprint != idempotency.fingerprint {
            return Err(Error::invalid(
                "idempotency_key_reused",
                "This Idempotency-Key was used for another request. Take a new one.",
            ));
        }
        // Whose key is gone asks for nothing any more.
        let Some(reply) = self.unseal(PLACE, &reply).await? else { return Ok(None) };
        idempotency.mark_replayed();
        let remembered: Remembered<T> = serde_json::from_str(&reply)
            .map_err(|error| Error::internal("a remembered reply is broken").because(error))?;
        Ok(Some(remembered.into_result()))
    }

    /// Answers whether the refusal is now what the key stands for.
    async fn remember_refusal(
        &self,
        idempotency: &Idempotency,
        person: Option<Id<User>>,
        error: &Error,
    ) -> Result<bool> {
        let refused = Remembered::<()>::Refused {
            kind: error.kind(),
            code: error.code().to_owned(),
            message: error.message().to_owned(),
            fields: error.fields().to_vec(),
        };
        let remember = self
            .run("idempotency.refused", |tx| {
                let refused = reply(idempotency, person, &refused);
                async move {
                    tx.remember(refused?);
                    Ok(())
                }
            })
            .await;
        match remember {
            Err(error) if is_taken(&error) => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }
}

/// The caller of a request whose body was read as it came: its key stands for that body as well,
/// by the SHA-256 of it. The edge, which takes the fingerprint, has not seen such a body.
#[must_use]
pub fn with_body(caller: &Caller, body: [u8; 32]) -> Caller {
    let whole = caller.idempotency.as_deref().map(|idempotency| {
        let fingerprint = sha256([idempotency.fingerprint, body].concat());
        Arc::new(idempotency.with_fingerprint(fingerprint))
    });
    Caller { idempotency: whole, ..caller.clone() }
}

fn reply<T: Serialize>(
    idempotency: &Idempotency,
    person: Option<Id<User>>,
    remembered: &Remembered<T>,
) -> Result<Reply> {
    let body = serde_json::to_string(remembered)
        .map_err(|error| Error::internal("a reply cannot be remembered").because(error))?;
    Ok(Reply { scope: idempotency.scope, fingerprint: idempotency.fingerprint, body, person })
}

/// The index by which a scope is claimed once.
const SCOPE: &str = "idempotency_pkey";

fn is_taken(error: &Error) -> bool {
    matches!(error.cause(), Some(DbError::Unique(index)) if index == SCOPE)
}

/// Claims the scope. A row that has expired gives way; one that lives refuses, and with it the
/// whole transaction.
pub(super) async fn insert(tx: &Tx, reply: &Reply) -> Result<()> {
    let now = tx.now();
    let body = match reply.person {
        Some(person) => tx.seal(person, PLACE, &reply.body).await?,
        None => reply.body.clone(),
    };
    // In the place of one whose time is over; of two at once the second finds the first one's.
    let sql = "INSERT INTO idempotency (scope, fingerprint, reply, created_at, expires_at)
               VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (scope) DO UPDATE SET fingerprint = excluded.fingerprint,
                   reply = excluded.reply, created_at = excluded.created_at,
                   expires_at = excluded.expires_at
               WHERE idempotency.expires_at <= excluded.created_at";
    let ends = now + REPLY_LIFETIME;
    let row = params![reply.scope, reply.fingerprint, body, now, ends];
    if tx.touch(sql, row).await? {
        return Ok(());
    }
    Err(DbError::Unique(SCOPE.to_owned()).into())
}

/// Replies forgotten in one transaction.
const SWEPT_AT_ONCE: u64 = 1000;

/// Forgets replies whose time is over, a batch at a time until none is left; answers how many.
pub async fn sweep(db: &Db) -> Result<u64> {
    let mut swept = 0;
    loop {
        let batch = db
            .run("idempotency.sweep", |tx| async move {
                let sql = "DELETE FROM idempotency WHERE scope IN
                               (SELECT scope FROM idempotency WHERE expires_at <= $1 LIMIT $2)";
                Ok(tx.execute(sql, params![tx.now(), SWEPT_AT_ONCE.cast_signed()]).await?)
            })
            .await?;
        swept += batch;
        if batch < SWEPT_AT_ONCE {
            return Ok(swept);
        }
    }
}
