//! Those who keep what the back office decides about, and carry its decisions out.

use std::sync::Arc;

use backoffice::moderation::{Flag, Found, Owners, Sanction, Subject};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use identity::account::Command;
use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Result};
use platform::db::{Db, Tx};

/// The contexts that keep credentials, verifiers, reviews, accounts and messages.
pub(crate) struct Keepers {
    pub(crate) db: Db,
    pub(crate) credentials: documents::credential::Service,
    pub(crate) verifiers: Arc<marketplace::verifier::Service>,
    pub(crate) reviews: Arc<marketplace::review::Service>,
    pub(crate) accounts: Arc<identity::account::Service>,
    pub(crate) chat: messaging::chat::Service,
}

impl Owners for Keepers {
    fn find<'a>(&'a self, by: &'a Caller, subject: Subject) -> BoxFuture<'a, Result<Found>> {
        async move {
            Ok(match subject {
                Subject::Credential(id) => {
                    let credential = self.credentials.get(&self.db, by.user()?, id).await?;
                    // Its words are the owner's document: admins look at the credential itself.
                    Found { holder: credential.owner, excerpt: String::new() }
                }
                Subject::Verifier(id) => {
                    let shown = self.verifiers.open(id).await?.verifier;
                    let excerpt = format!("{}\n{}\n{}", shown.name, shown.headline, shown.bio);
                    Found { holder: id.same_as(), excerpt }
                }
                Subject::Review(id) => {
                    let review = self.reviews.find(id).await?;
                    Found { holder: review.author, excerpt: review.text }
                }
                Subject::Message(id) => {
                    let message = self.chat.message(by, id).await?;
                    let excerpt = message.text.unwrap_or_default();
                    Found { holder: message.sender, excerpt }
                }
            })
        }
        .boxed()
    }

    fn carry_out<'a>(
        &'a self,
        tx: &'a Tx,
        by: &'a Caller,
        sanction: Sanction,
        flag: &'a Flag,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            match (sanction, flag.subject.parse::<Subject>()?) {
                (Sanction::Suspend, _) => {
                    let accounts = &self.accounts;
                    accounts.command_in(tx, by, flag.holder, Command::Suspend).await.map(drop)
                }
                (Sanction::Remove, Subject::Review(id)) => self.reviews.remove_in(tx, by, id).await,
                (Sanction::Remove, Subject::Message(id)) => self.chat.remove_in(tx, by, id).await,
                (Sanction::Revoke, Subject::Credential(id)) => {
                    let why = if reason.is_empty() { "moderation" } else { reason };
                    self.credentials.revoke_in(tx, by, id, why).await.map(drop)
                }
                // What cannot be done about a thing, the rules have refused before.
                _ => Err(Error::internal("a decision that its thing does not allow")),
            }
        }
        .boxed()
    }
}

/// The wallets, as rules against fraud know them.
pub(crate) struct WalletBrake(pub(crate) money::wallet::Service);

impl backoffice::fraud::Brake for WalletBrake {
    fn freeze<'a>(&'a self, tx: &'a Tx, person: Id<User>) -> BoxFuture<'a, Result<()>> {
        // Whose it is reads this: it says nothing of what was found.
        let why = "under review";
        async move { self.0.freeze(tx, &Caller::nobody(), person, why).await.map(drop) }.boxed()
    }
}
