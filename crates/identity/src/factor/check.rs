//! Whether a code is right, and what becomes of a password that waits for one. Sessions ask here
//! before they start; nothing here knows of sessions.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Result, Secret};
use platform::crypto::{MasterKey, Token, sha256};
use platform::db::{Db, Read, Tx};
use platform::journal::Fact;
use platform::limits::{Ask, Limiter, Quota, Subject};
use platform::mail::Mailer;
use serde::{Deserialize, Serialize};

use super::letters::{self, Named};
use super::model::{Code, Enrolled};
use super::store::{self, Challenge, Purpose};
use super::{recovery_code, rules, totp};
use crate::account::Account;
use crate::session::Method;

/// A login by password that needs a code as well.
pub(crate) const MFA_REQUIRED: &str = "mfa_required";

/// How long a right password waits for its code.
const CHALLENGE_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Wrong codes that one right password is good for.
pub(super) const ATTEMPTS_MAX: i64 = 5;

/// Codes tried for one account from one address.
const GUESSES_FROM: (&str, Quota) =
    ("identity.code_from", Quota { burst: 10, every: Duration::from_secs(60) });
/// Codes tried for one account from anywhere: of a million codes three are right at a time, so
/// that a guesser who has the password needs about a year for an even chance.
const GUESSES: (&str, Quota) =
    ("identity.code", Quota { burst: 30, every: Duration::from_secs(120) });
/// Letters to one account that say that somebody guesses.
const WARNINGS: (&str, Quota) =
    ("identity.code_warning", Quota { burst: 1, every: Duration::from_secs(24 * 3600) });

/// What a login by password has come to.
pub(crate) enum Passed {
    /// The session may start; by these methods.
    With(Vec<Method>),
    Asked(Asked),
}

/// A right password that waits for its code.
pub(crate) struct Asked {
    challenge: Secret<String>,
    methods: Vec<Method>,
}

impl From<Asked> for Error {
    fn from(asked: Asked) -> Self {
        let message = "This account has a second factor. Send the code and the challenge to \
                       POST /v1/auth/login/mfa, within five minutes.";
        let methods: Vec<&str> = asked.methods.iter().map(|method| method.as_str()).collect();
        Self::unauthenticated(MFA_REQUIRED, message)
            .with_member("challenge", asked.challenge.expose().as_str())
            .with_member("methods", methods)
            .with_member("expiresIn", CHALLENGE_LIFETIME.as_secs())
    }
}

/// What a right password leaves behind until its code comes.
#[derive(Serialize, Deserialize)]
pub(super) struct Half {
    /// Of the password's hash: with another password the login begins anew.
    password: Option<String>,
    /// Of what the client called itself. Its address is not asked for: those of phones, and of
    /// hosts with two families of addresses, change between two requests.
    client: String,
}

impl Half {
    pub(super) fn of(account: &Account, caller: &Caller) -> Self {
        let client = caller.origin.user_agent.as_deref().unwrap_or_default();
        let password = account.password.as_ref().map(|phc| hex::encode(sha256(&phc.0)));
        Self { password, client: hex::encode(sha256(client)) }
    }

    pub(super) fn read(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .map_err(|error| Error::internal("a challenge is unreadable").because(error))
    }

    /// Whether it is the same client that goes on, with the same password.
    pub(super) fn continues(&self, account: &Account, caller: &Caller) -> bool {
        let now = Self::of(account, caller);
        (&self.password, &self.client) == (&now.password, &now.client)
    }
}

/// Checks codes.
pub(crate) struct Checker {
    master: MasterKey,
    mailer: Mailer,
    limiter: Arc<Limiter>,
    db: Db,
    recovery_key: Secret<[u8; 32]>,
}

impl Checker {
    pub(crate) fn new(db: Db, master: MasterKey, mailer: Mailer, limiter: Arc<Limiter>) -> Self {
        let recovery_key = master.derive("identity.recovery_code");
        Self { master, mailer, limiter, db, recovery_key }
    }

    /// What an account has enrolled.
    pub(crate) async fn enrolled(&self, db: &impl Read, account: &Account) -> Result<Enrolled> {
        store::enrolled(db, account.id, account.password.is_some()).await
    }

    /// Counts a code before it is checked, so that many at once are counted as many. `is_known`
    /// says that the owner has shown a second factor at that address.
    pub(crate) async fn count_guess(
        &self,
        user: Id<User>,
        ip: Option<IpAddr>,
        code: &Code,
        is_known: bool,
    ) -> Result<()> {
        let name = user.to_string();
        let mut asks = Vec::new();
        if let Some(ip) = ip {
            let (class, quota) = GUESSES_FROM;
            asks.push(Ask { class, subject: Subject::pair(&name, ip), quota });
        }
        // Nobody guesses fifty bits: a recovery code opens whatever others do.
        if !is_known && matches!(code, Code::Totp(_)) {
            let (class, quota) = GUESSES;
            asks.push(Ask { class, subject: Subject::Id(user.uuid()), quota });
        }
        self.limiter.charge(&asks, self.db.world().now()).await?.check()?;
        Ok(())
    }

    /// A right code was no guess.
    pub(crate) fn forget_guess(&self, user: Id<User>, ip: Option<IpAddr>, code: &Code) {
        if let Some(ip) = ip {
            let (class, quota) = GUESSES_FROM;
            let name = user.to_string();
            self.limiter.refund(&[Ask { class, subject: Subject::pair(&name, ip), quota }]);
        }
        if matches!(code, Code::Totp(_)) {
            let (class, quota) = GUESSES;
            self.limiter.refund(&[Ask { class, subject: Subject::Id(user.uuid()), quota }]);
        }
    }

    /// What becomes of a login by these methods, with this code beside them.
    ///
    /// # Errors
    /// `Unauthenticated` `invalid_credentials`: the code is wrong.
    pub(crate) async fn pass_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        account: &Account,
        used: &[Method],
        code: Option<&Code>,
    ) -> Result<Passed> {
        let enrolled = self.enrolled(tx, account).await?;
        let asks = rules::assure(used, &enrolled).asks;
        if asks.is_empty() {
            return Ok(Passed::With(used.to_vec()));
        }
        let Some(code) = code else {
            let token = Token::new(tx.world());
            let state = serde_json::to_string(&Half::of(account, caller))
                .map_err(|error| Error::internal("a challenge cannot be kept").because(error))?;
            let user = Some(account.id);
            let challenge = Challenge { hash: token.hash, user, session: None, state, attempts: 0 };
            let until = tx.now() + CHALLENGE_LIFETIME;
            store::insert_challenge(tx, Purpose::Login, &challenge, until).await?;
            return Ok(Passed::Asked(Asked { challenge: token.text, methods: asks }));
        };
        if !self.check_in(tx, caller, account, code).await? {
            return Err(invalid_credentials());
        }
        Ok(Passed::With([used, &[code.method()]].concat()))
    }

    /// Whether a code is right, which uses it up.
    pub(super) async fn check_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        account: &Account,
        code: &Code,
    ) -> Result<bool> {
        let user = account.id;
        match code {
            Code::Totp(digits) => {
                let Some(sealed) = store::secret(tx, user).await? else { return Ok(false) };
                let secret = self.open(user, &sealed)?;
                match totp::matched(secret.expose(), digits.expose(), tx.now())? {
                    Some(step) => store::use_step(tx, user, step).await,
                    None => Ok(false),
                }
            }
            Code::Recovery(letters) => {
                let hash = recovery_code::hash(self.recovery_key.expose(), user, letters);
                if !store::use_code(tx, user, &hash).await? {
                    return Ok(false);
                }
                let left = self.enrolled(tx, account).await?.recovery_codes;
                let fact = Fact::by(caller, "factor.recovery_code_used")
                    .acted_by(user, account.role)
                    .on(user)
                    .about(user);
                tx.record(fact.with("left", left));
                self.tell(tx, account, letters::code_used(left))?;
                Ok(true)
            }
        }
    }

    /// A right password was followed by nothing but wrong codes: its owner should know.
    pub(super) fn warn_in(&self, tx: &Tx, caller: &Caller, account: &Account) -> Result<()> {
        tx.record(Fact::by(caller, "factor.guesses_exhausted").on(account.id).about(account.id));
        let (class, quota) = WARNINGS;
        let subject = Subject::Id(account.id.uuid());
        if self.limiter.take(class, subject, quota, tx.now()).allowed {
            self.tell(tx, account, letters::guesses_exhausted())?;
        }
        Ok(())
    }

    /// Seals a secret that goes into an app.
    pub(super) fn seal(&self, user: Id<User>, secret: &[u8]) -> Result<Vec<u8>> {
        self.master.seal(self.db.world(), &context(user), secret)
    }

    pub(super) fn open(&self, user: Id<User>, sealed: &[u8]) -> Result<Secret<Vec<u8>>> {
        self.master.open(&context(user), sealed)
    }

    /// New recovery codes in the place of the old ones, as they are shown.
    pub(super) async fn replace_codes_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        user: Id<User>,
    ) -> Result<Secret<Vec<String>>> {
        let codes: Vec<_> =
            (0..recovery_code::COUNT).map(|_| recovery_code::new(tx.world())).collect();
        let key = self.recovery_key.expose();
        let hashes: Vec<_> =
            codes.iter().map(|code| recovery_code::hash(key, user, code)).collect();
        store::replace_codes(tx, user, &hashes).await?;
        let fact = Fact::by(caller, "factor.recovery_codes_made").on(user).about(user);
        tx.record(fact.with("count", codes.len()));
        Ok(Secret::new(codes.iter().map(recovery_code::shown).collect()))
    }

    /// Writes to the owner of an account.
    pub(super) fn tell(&self, tx: &Tx, account: &Account, letter: Named) -> Result<()> {
        let Named(template, letter) = letter;
        self.mailer.send(tx, account.email.shown(), template, &letter)?;
        Ok(())
    }
}

fn context(user: Id<User>) -> String {
    format!("factor/totp/{user}")
}

/// Of a password with a code beside it: which of them was wrong is not told.
pub(crate) fn invalid_credentials() -> Error {
    let message = "The address, the password or the code is not right.";
    Error::unauthenticated("invalid_credentials", message)
}
