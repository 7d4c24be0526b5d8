//! Another mail address for an account.

use std::time::Duration;

use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Result};
use platform::crypto::{Token, sha256};
use platform::db::Tx;
use platform::journal::Fact;
use rpc::users::Status;

use super::model::{Account, Email};
use super::service::{Service, changed_meanwhile, email_taken, token_spent};
use super::{letters, store};
use crate::kratos;

/// How long a link to take an address works.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
pub(crate) const CHANGE_EMAIL: &str = "change_email";

impl Service {
    /// Sends a link to an address, which becomes the account's when the link is followed. The
    /// account's owner is told at the address of now. Where the other one has an account, its owner
    /// is told instead, and the caller gets the same answer.
    ///
    /// # Errors
    /// A field error on `/email` for the address of now; `Conflict` `address_kept_elsewhere` where
    /// Ory Kratos says which address it is; `Limited` when too many mails went to the address.
    pub async fn request_email_change(&self, caller: &Caller, email: &Email) -> Result<()> {
        let user = caller.user()?;
        self.check_mails(email).await?;
        self.db
            .run("user.request_email_change", |tx| async move {
                let account = store::get(&tx, user).await?;
                if account.email.as_str() == email.as_str() {
                    return Err(Error::field("/email", "unchanged", "is the account's already"));
                }
                check_kept_here(&tx, user).await?;
                match store::by_email(&tx, email).await? {
                    Some(other) if !store::gives_way(&tx, other.id).await? => {
                        self.tell_owner(&tx, &other).await?;
                    }
                    _ => self.offer(&tx, &account, email).await?,
                }
                let link = self.public_url.link("/forgot-password");
                let letter = letters::email_change_requested(&link);
                self.mailer.send(
                    &tx,
                    account.email.shown(),
                    letters::EMAIL_CHANGE_REQUESTED,
                    &letter,
                )?;
                tx.record(Fact::by(caller, "user.email_change_requested").on(user).about(user));
                Ok(())
            })
            .await
    }

    /// The link; the one before no longer works.
    async fn offer(&self, tx: &Tx, account: &Account, email: &Email) -> Result<()> {
        store::drop_tokens(tx, account.id, CHANGE_EMAIL).await?;
        let token = Token::new(tx.world());
        let expires_at = tx.now() + LIFETIME;
        store::insert_token(tx, &token.hash, account.id, CHANGE_EMAIL, expires_at).await?;
        store::set_token_email(tx, &token.hash, email).await?;
        let link = self.public_url.link_with_token("/confirm-email-change", &token);
        let letter = letters::confirm_email_change(&link);
        self.mailer.send(tx, email.shown(), letters::CONFIRM_EMAIL_CHANGE, &letter).map(drop)
    }

    /// Makes the address that a link went to the account's. All other links to the account are void,
    /// and the address of before is told. Sessions go on.
    ///
    /// # Errors
    /// `Gone` `token_spent`; `Conflict` `email_taken` where the address has got an account
    /// meanwhile, `address_kept_elsewhere` where Ory Kratos has come to say which address it is,
    /// `changed_meanwhile`.
    pub async fn change_email(&self, caller: &Caller, token: &str) -> Result<()> {
        let hash = sha256(token);
        self.db
            .run("user.change_email", |tx| async move {
                let used = store::use_token_with_email(&tx, &hash, CHANGE_EMAIL).await?;
                let (user, email) = used.ok_or_else(token_spent)?;
                let account = store::get(&tx, user).await?;
                if account.status != Status::Active {
                    return Err(token_spent());
                }
                check_kept_here(&tx, user).await?;
                if let Some(other) = store::by_email(&tx, &email).await? {
                    let gives_way = store::gives_way(&tx, other.id).await?;
                    if !gives_way || !self.close_unproved_in(&tx, caller, &other).await? {
                        return Err(email_taken());
                    }
                }
                if !store::follow(&tx, &account, &account.name, &email).await? {
                    return Err(changed_meanwhile());
                }
                self.moved_in(&tx, &account).await?;
                tx.record(
                    Fact::by(caller, "user.email_changed")
                        .acted_by(user, account.role)
                        .on(user)
                        .about(user),
                );
                self.sessions.forget_after(&tx, user);
                Ok(())
            })
            .await
    }

    /// What another address brings with it: links that went to the one of before are void, and that
    /// one is told.
    pub(crate) async fn moved_in(&self, tx: &Tx, was: &Account) -> Result<()> {
        store::drop_all_tokens(tx, was.id).await?;
        let letter = letters::email_changed();
        self.mailer.send(tx, was.email.shown(), letters::EMAIL_CHANGED, &letter).map(drop)
    }
}

async fn check_kept_here(tx: &Tx, user: Id<User>) -> Result<()> {
    if kratos::is_linked(tx, user).await? {
        let message = "Your address is kept at the sign-in service. Change it there.";
        return Err(Error::conflict("address_kept_elsewhere", message));
    }
    Ok(())
}
