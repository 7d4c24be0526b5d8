//! Registering passkeys, signing in with them, and showing them once more.

use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::{self, Session, User};
use kernel::{Caller, Error, Id, Result, Role};
use platform::crypto::{Token, sha256};
use platform::db::{Db, Read, Tx};
use platform::journal::Fact;
use serde::Serialize;
use serde_json::{Value as Json, json};
use webauthn_rs::Webauthn;
use webauthn_rs::prelude::{
    DiscoverableAuthentication, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, WebauthnError,
};

use super::model::{self, Passkey};
use super::store;
use crate::PublicUrl;
use crate::account::{self, Name};
use crate::factor::check::Checker;
use crate::factor::letters;
use crate::factor::model::Enrolled;
use crate::factor::rules::{self, Refusal};
use crate::factor::store::{Challenge, Purpose, insert_challenge, take_challenge};
use crate::session::{self, Method, Proof, Proven, SignedIn};

/// How long a ceremony may take.
pub(super) const CEREMONY_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Passkeys of one account.
const COUNT_MAX: i64 = 20;

/// What the service is made of.
pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) checker: Arc<Checker>,
    pub(crate) sessions: Arc<session::Service>,
    pub(crate) public_url: PublicUrl,
    /// As authenticators show the site.
    pub(crate) name: String,
    /// Whether admins are of no use without a second factor.
    pub(crate) admin_second_factor: bool,
}

/// The verbs of passkeys.
pub struct Service {
    db: Db,
    checker: Arc<Checker>,
    sessions: Arc<session::Service>,
    site: Option<Webauthn>,
    admin_second_factor: bool,
}

/// Whom a ceremony is for.
struct For {
    purpose: Purpose,
    user: Option<Id<User>>,
    session: Option<Id<Session>>,
}

impl Service {
    /// # Errors
    /// `Internal`: the public URL is none for passkeys, though it has a host name.
    pub(crate) fn new(parts: Parts) -> Result<Self> {
        let Parts { db, checker, sessions, public_url, name, admin_second_factor } = parts;
        let site = model::relying_party(&public_url, &name)?;
        Ok(Self { db, checker, sessions, site, admin_second_factor })
    }

    pub(crate) fn sessions(&self) -> &session::Service {
        &self.sessions
    }

    fn is_required(&self, account: &account::Account) -> bool {
        self.admin_second_factor && account.role == Role::Admin
    }

    async fn check_may_add(
        &self,
        db: &impl Read,
        caller: &Caller,
        account: &account::Account,
    ) -> Result<Enrolled> {
        let is_required = self.is_required(account);
        self.sessions.check_may_add(db, caller, account, is_required).await
    }

    fn site(&self) -> Result<&Webauthn> {
        self.site.as_ref().ok_or_else(|| {
            Error::conflict(
                "passkeys_unavailable",
                "Passkeys need a host name, and this platform is reached by a bare address.",
            )
        })
    }

    /// The options for `navigator.credentials.create`, as JSON.
    ///
    /// # Errors
    /// `Conflict`: `passkeys_unavailable`, `too_many_passkeys`; `Forbidden`
    /// `second_factor_required`.
    pub async fn start_registration(&self, caller: &Caller) -> Result<Json> {
        let principal = caller.principal()?;
        let account = account::store::get(&self.db, principal.user).await?;
        self.check_may_add(&self.db, caller, &account).await?;
        let known = store::of_user(&self.db, account.id).await?;
        if known.len() as i64 >= COUNT_MAX {
            return Err(too_many());
        }
        let excluded = known.iter().map(|passkey| passkey.key.cred_id().clone()).collect();
        let (options, state) = self
            .site()?
            .start_passkey_registration(
                account.id.uuid(),
                account.email.shown(),
                &account.name,
                Some(excluded),
            )
            .map_err(broken)?;
        let hash = sha256(&options.public_key.challenge);
        let mut options = to_json(&options)?;
        // Whoever signs in without typing a name needs a key that says whose it is.
        let selection = &mut options["publicKey"]["authenticatorSelection"];
        selection["residentKey"] = "required".into();
        selection["requireResidentKey"] = true.into();
        let whom = For {
            purpose: Purpose::PasskeyRegistration,
            user: Some(principal.user),
            session: Some(principal.session),
        };
        self.begin(hash, whom, &state).await?;
        Ok(options)
    }

    /// Keeps what is needed to finish a ceremony.
    async fn begin(&self, hash: [u8; 32], whom: For, state: &impl Serialize) -> Result<()> {
        let For { purpose, user, session } = whom;
        let state = serde_json::to_string(state)
            .map_err(|error| Error::internal("a ceremony cannot be kept").because(error))?;
        let challenge = &Challenge { hash, user, session, state, attempts: 0 };
        self.db
            .run("passkey.begin", |tx| async move {
                let until = tx.now() + CEREMONY_LIFETIME;
                insert_challenge(&tx, purpose, challenge, until).await
            })
            .await
    }

    /// What [`Service::begin`] has kept, used up by this; nothing when it is not for the caller.
    async fn resume(
        &self,
        caller: &Caller,
        purpose: Purpose,
        client_data: &[u8],
    ) -> Result<Option<Challenge>> {
        let Some(hash) = &model::ceremony_of(client_data) else { return Ok(None) };
        let take = |tx| async move { take_challenge(&tx, purpose, hash).await };
        let taken = self.db.run("passkey.resume", take).await?;
        let principal = caller.principal.as_deref();
        let (user, session) =
            (principal.map(|principal| principal.user), principal.map(|p| p.session));
        Ok(taken.filter(|challenge| match purpose {
            Purpose::PasskeyLogin | Purpose::Login => true,
            _ => (challenge.user, challenge.session) == (user, session),
        }))
    }

    /// Makes the key that an authenticator has made one of the caller's, and renews the session:
    /// they have just shown it.
    ///
    /// # Errors
    /// `Invalid` `invalid_passkey`; `Conflict`: `passkeys_unavailable`, `passkey_taken`,
    /// `too_many_passkeys`.
    pub async fn register(
        &self,
        caller: &Caller,
        name: &Name,
        made: &RegisterPublicKeyCredential,
    ) -> Result<(Passkey, Proven)> {
        let site = self.site()?;
        let client_data = &made.response.client_data_json;
        let begun = self.resume(caller, Purpose::PasskeyRegistration, client_data).await?;
        let state: PasskeyRegistration = from_json(&begun.ok_or_else(not_registered)?.state)?;
        let key = site.finish_passkey_registration(made, &state).map_err(|error| {
            tracing::debug!(%error, "a passkey was not registered");
            not_registered()
        })?;
        let (user, key, name) = (caller.user()?, &key, name.as_str());
        let (passkey, renewed) = self
            .db
            .run("passkey.register", |tx| async move {
                let account = account::store::get(&tx, user).await?;
                let enrolled = self.check_may_add(&tx, caller, &account).await?;
                let passkey = Passkey {
                    id: tx.world().id(),
                    user,
                    name: name.to_owned(),
                    created_at: tx.now(),
                    last_used_at: None,
                    key: key.clone(),
                    version: 1,
                };
                if !store::insert(&tx, &passkey).await? {
                    let message = "This passkey opens an account already.";
                    return Err(Error::conflict("passkey_taken", message));
                }
                if enrolled.passkeys >= COUNT_MAX {
                    return Err(too_many());
                }
                let fact = Fact::by(caller, "passkey.registered").on(passkey.id).about(user);
                tx.record(fact);
                self.checker.tell(&tx, &account, letters::passkey_registered())?;
                let renewed = self.sessions.prove_in(&tx, caller, Method::Passkey).await?;
                Ok((passkey, renewed))
            })
            .await?;
        Ok((passkey, self.sessions.proven(renewed).await?))
    }

    /// The options for `navigator.credentials.get`, as JSON: any passkey of this site will do.
    ///
    /// # Errors
    /// `Conflict` `passkeys_unavailable`.
    pub async fn start_login(&self) -> Result<Json> {
        let whom = For { purpose: Purpose::PasskeyLogin, user: None, session: None };
        self.start_assertion(whom, Vec::new()).await
    }

    /// The same for a session whose owner shows once more who they are, with one of their keys.
    ///
    /// # Errors
    /// `Conflict`: `passkeys_unavailable`, `not_enrolled`.
    pub async fn start_proof(&self, caller: &Caller) -> Result<Json> {
        let principal = caller.principal()?;
        let known = store::of_user(&self.db, principal.user).await?;
        if known.is_empty() {
            let message = "There is no passkey on this account.";
            return Err(Error::conflict("not_enrolled", message));
        }
        let allowed = known
            .iter()
            .map(|passkey| {
                let id = platform::crypto::base64url(passkey.key.cred_id());
                json!({ "type": "public-key", "id": id })
            })
            .collect();
        let whom = For {
            purpose: Purpose::PasskeyProof,
            user: Some(principal.user),
            session: Some(principal.session),
        };
        self.start_assertion(whom, allowed).await
    }

    async fn start_assertion(&self, whom: For, allowed: Vec<Json>) -> Result<Json> {
        let (options, state) = self.site()?.start_discoverable_authentication().map_err(broken)?;
        let hash = sha256(&options.public_key.challenge);
        let mut options = to_json(&options)?;
        // Without a list, any key of this site will do.
        if let Some(options) = options["publicKey"].as_object_mut() {
            options.remove("allowCredentials");
            if !allowed.is_empty() {
                options.insert("allowCredentials".to_owned(), allowed.into());
            }
        }
        self.begin(hash, whom, &state).await?;
        Ok(options)
    }

    /// Checks what an authenticator has signed: the passkey, as it is after this use, and whether
    /// the key itself has changed.
    async fn check(
        &self,
        caller: &Caller,
        purpose: Purpose,
        shown: &PublicKeyCredential,
    ) -> Result<Option<(Passkey, bool)>> {
        let site = self.site()?;
        let begun = self.resume(caller, purpose, &shown.response.client_data_json).await?;
        let Some(challenge) = begun else { return Ok(None) };
        let Some(mut passkey) = store::by_credential(&self.db, &shown.raw_id).await? else {
            return Ok(None);
        };
        // Section 7.2, step 6: a key that was asked for by nobody's name says whose it is, and one
        // that was asked for by name may not say something else.
        let handle = shown.get_user_unique_id();
        let is_theirs = match (challenge.user, handle) {
            (Some(user), None) => user == passkey.user,
            (user, Some(handle)) => {
                handle == passkey.user.uuid().as_bytes()
                    && user.is_none_or(|user| user == passkey.user)
            }
            (None, None) => false,
        };
        if !is_theirs {
            return Ok(None);
        }
        let state: DiscoverableAuthentication = from_json(&challenge.state)?;
        match site.finish_discoverable_authentication_v2(shown, state, &passkey.key) {
            // The state asks for verification, and the library checks it; said once more, since
            // the level of the session rests on it.
            Ok(result) if result.user_verified() => {
                let changed = passkey.key.update_credential(&result).unwrap_or_default();
                Ok(Some((passkey, changed)))
            }
            Ok(_) => Ok(None),
            Err(WebauthnError::CredentialPossibleCompromise) => {
                self.regressed(caller, &passkey).await?;
                let message = "The counter of this passkey has gone back: there may be a copy of \
                               it. Sign in another way, remove it, and add a new one.";
                Err(Error::unauthenticated("passkey_counter_regressed", message))
            }
            Err(error) => {
                tracing::debug!(%error, "a passkey was refused");
                Ok(None)
            }
        }
    }

    async fn regressed(&self, caller: &Caller, passkey: &Passkey) -> Result<()> {
        metrics::counter!("passkey_counter_regressions_total").increment(1);
        self.db
            .run("passkey.regress", |tx| async move {
                let account = account::store::get(&tx, passkey.user).await?;
                let fact = Fact::by(caller, "passkey.counter_regressed");
                tx.record(fact.on(passkey.id).about(passkey.user));
                self.checker.tell(&tx, &account, letters::counter_regressed())
            })
            .await
    }

    /// Notes a use of a passkey; `false` when it is gone, or another use came first.
    async fn use_in(&self, tx: &Tx, (passkey, changed): &(Passkey, bool)) -> Result<bool> {
        if *changed { store::advance(tx, passkey).await } else { store::see(tx, passkey.id).await }
    }

    /// Signs in by passkey: a session of two factors.
    ///
    /// # Errors
    /// `Unauthenticated`: `invalid_passkey`, the same for one that is unknown, removed, foreign or
    /// replayed; `passkey_counter_regressed`. `Forbidden` as of a login by password.
    pub async fn login(
        &self,
        caller: &Caller,
        shown: &PublicKeyCredential,
        cookie: bool,
    ) -> Result<SignedIn> {
        let checked = self.check(caller, Purpose::PasskeyLogin, shown).await?;
        let checked = &checked.ok_or_else(invalid_passkey)?;
        let cookie = cookie.then(|| Token::new(self.db.world()));
        let (account, session) = self
            .db
            .run("session.start", |tx| {
                let cookie = cookie.as_ref();
                async move {
                    if !self.use_in(&tx, checked).await? {
                        return Err(invalid_passkey());
                    }
                    let account = account::store::get(&tx, checked.0.user).await?;
                    session::may_sign_in(&account, false)?;
                    if !account::store::note_login(&tx, account.id).await? {
                        return Err(invalid_passkey());
                    }
                    let proof = Proof::by(vec![Method::Passkey]);
                    let session =
                        self.sessions.start_in(&tx, caller, &account, proof, cookie).await?;
                    Ok((account, session))
                }
            })
            .await?;
        self.sessions.signed_in(account, &session, cookie).await
    }

    /// Checks a passkey that the caller shows once more on their session.
    ///
    /// # Errors
    /// `Forbidden` `wrong_proof`; `Unauthenticated` `passkey_counter_regressed`.
    pub(crate) async fn prove(&self, caller: &Caller, shown: &PublicKeyCredential) -> Result<()> {
        let checked = self.check(caller, Purpose::PasskeyProof, shown).await?;
        let checked = &checked.ok_or(Refusal::Wrong)?;
        self.db
            .run("passkey.prove", |tx| async move {
                if self.use_in(&tx, checked).await? { Ok(()) } else { Err(Refusal::Wrong.into()) }
            })
            .await
    }

    /// A user's passkeys, oldest first.
    pub async fn list(&self, user: Id<User>) -> Result<Vec<Passkey>> {
        store::of_user(&self.db, user).await
    }

    /// # Errors
    /// `NotFound`: not theirs, or gone.
    pub async fn rename(&self, caller: &Caller, id: Id<kinds::Passkey>, name: &Name) -> Result<()> {
        let user = caller.user()?;
        self.db
            .run("passkey.rename", |tx| async move {
                if !store::rename(&tx, user, id, name.as_str()).await? {
                    return Err(Error::not_found("passkey"));
                }
                tx.record(Fact::by(caller, "passkey.renamed").on(id).about(user));
                Ok(())
            })
            .await
    }

    /// # Errors
    /// `NotFound`: not theirs, or gone; `Conflict` `second_factor_needed`.
    pub async fn remove(&self, caller: &Caller, id: Id<kinds::Passkey>) -> Result<()> {
        let user = caller.user()?;
        self.db
            .run("passkey.remove", |tx| async move {
                let account = account::store::get(&tx, user).await?;
                let enrolled = self.checker.enrolled(&tx, &account).await?;
                if !store::remove(&tx, user, id).await? {
                    return Err(Error::not_found("passkey"));
                }
                rules::may_remove_passkey(&enrolled, self.is_required(&account))?;
                tx.record(Fact::by(caller, "passkey.removed").on(id).about(user));
                self.checker.tell(&tx, &account, letters::passkey_removed())
            })
            .await
    }
}

fn to_json(options: &impl Serialize) -> Result<Json> {
    serde_json::to_value(options)
        .map_err(|error| Error::internal("a ceremony cannot be written").because(error))
}

fn from_json<T: serde::de::DeserializeOwned>(state: &str) -> Result<T> {
    serde_json::from_str(state)
        .map_err(|error| Error::internal("a ceremony is unreadable").because(error))
}

fn broken(error: WebauthnError) -> Error {
    Error::internal("a ceremony cannot be started").because(error)
}

fn too_many() -> Error {
    let message = format!("An account has at most {COUNT_MAX} passkeys. Remove one first.");
    Error::conflict("too_many_passkeys", message)
}

fn not_registered() -> Error {
    let message = "The authenticator's answer is not to a question of ours, or came too late. \
                   Start again with POST /v1/auth/passkeys/register/start.";
    Error::invalid("invalid_passkey", message)
}

fn invalid_passkey() -> Error {
    let message = "This passkey opens no account here, or it took too long. Try again.";
    Error::unauthenticated("invalid_passkey", message)
}
