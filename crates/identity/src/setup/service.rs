//! Making links and using them.

use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Result, Role, Secret, Timestamp};
use platform::crypto::{Token, sha256};
use platform::db::Db;
use platform::journal::Fact;

use super::store;
use crate::PublicUrl;
use crate::account::{self, Registration};
use crate::password::Hasher;

/// How long a link works.
const LIFETIME: Duration = Duration::from_secs(3600);

/// A link that makes an admin.
#[derive(Debug)]
pub struct SetupLink {
    pub url: Secret<String>,
    pub expires_at: Timestamp,
}

/// The verbs of set-up.
pub struct Service {
    db: Db,
    hasher: Arc<Hasher>,
    public_url: PublicUrl,
}

impl Service {
    pub(crate) fn new(db: Db, hasher: Arc<Hasher>, public_url: PublicUrl) -> Self {
        Self { db, hasher, public_url }
    }

    /// Whether nobody can administer the platform yet.
    pub async fn is_needed(&self) -> Result<bool> {
        Ok(!account::store::has_admin(&self.db).await?)
    }

    /// Makes a link: for the command line, the first start, and admins. An admin's works for as long
    /// as they are one.
    pub async fn create_link(&self, caller: &Caller) -> Result<SetupLink> {
        let token = Token::new(self.db.world());
        let hash = &token.hash;
        let expires_at = self
            .db
            .run("setup.create_link", |tx| async move {
                let expires_at = tx.now() + LIFETIME;
                let made_by = caller.principal.as_ref().map(|principal| principal.person());
                store::insert(&tx, hash, made_by, expires_at).await?;
                tx.record(Fact::by(caller, "setup.link_created").on("setup"));
                Ok(expires_at)
            })
            .await?;
        let url = self.public_url.link_with_token("/setup", &token);
        Ok(SetupLink { url: Secret::new(url), expires_at })
    }

    /// Makes an admin with the token of a link. The role of the registration is not looked at.
    ///
    /// # Errors
    /// `Gone` `token_spent`; a field error on `/email` when the address is taken, in which case
    /// the link still works.
    pub async fn complete(
        &self,
        caller: &Caller,
        token: &str,
        registration: &Registration,
    ) -> Result<Id<User>> {
        let hash = sha256(token);
        // Nobody makes us hash with a link that does not work.
        if !store::works(&self.db, &hash, self.db.world().now()).await? {
            return Err(spent());
        }
        let password = &self.hasher.on_behalf_of(caller).hash(&registration.password).await?;
        self.db
            .run("setup.complete", |tx| async move {
                if !store::use_up(&tx, &hash).await? {
                    return Err(spent());
                }
                let id = account::create_admin(&tx, registration, password).await?;
                tx.record(
                    Fact::by(caller, "user.setup_completed")
                        .acted_by(id, Role::Admin)
                        .on(id)
                        .about(id)
                        .with("role", Role::Admin),
                );
                Ok(id)
            })
            .await
    }

    /// Forgets links whose time is over.
    pub async fn sweep(&self) -> Result<()> {
        self.db.run("setup.sweep", |tx| async move { store::sweep(&tx).await.map(drop) }).await
    }
}

fn spent() -> Error {
    Error::gone("token_spent", "This link was used or has expired. Make a new one.")
}
