//! The verbs of shares.

use std::sync::Arc;
use std::time::Duration;

use kernel::error::Fields;
use kernel::id::kinds::{Credential as CredentialKind, Share as ShareKind};
use kernel::{Caller, Error, Id, Page, PageRequest, Result};
use platform::crypto::{Token, sha256};
use platform::db::Tx;
use platform::journal::Fact;
use platform::mail::{Letter, Mailer};

use super::model::{DAYS_DEFAULT, DAYS_MAX, Field, Share, View, email};
use super::store;
use crate::credential::Service as Credentials;
use crate::credential::rules::{self, Act};
use crate::links::Links;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    credentials: Credentials,
    mailer: Mailer,
    links: Links,
}

/// A share about to be made.
#[derive(Debug, Clone)]
pub struct NewShare {
    recipient_email: Option<String>,
    lasts: Duration,
    fields: Vec<Field>,
}

impl NewShare {
    /// All that is wrong is named at once: `/recipientEmail`, `/expiresInDays`.
    pub fn parse(
        recipient_email: Option<&str>,
        expires_in_days: Option<u16>,
        fields: Option<&[Field]>,
    ) -> Result<Self> {
        let mut wrong = Fields::new();
        let recipient = wrong.take(recipient_email.map(email).transpose()).flatten();
        let days = expires_in_days.unwrap_or(DAYS_DEFAULT);
        if !(1..=DAYS_MAX).contains(&days) {
            let message = format!("from 1 to {DAYS_MAX}");
            wrong.add("/expiresInDays", "out_of_range", message);
        }
        wrong.check()?;
        Ok(Self {
            recipient_email: recipient,
            lasts: DAY * u32::from(days),
            fields: fields.unwrap_or(&Field::DEFAULT).to_vec(),
        })
    }
}

/// A share that was made, with its link: the only time that the link is known.
#[derive(Debug)]
pub struct Made {
    pub share: Share,
    pub link: String,
}

fn unknown() -> Error {
    Error::not_found("share")
}

impl Service {
    pub(crate) fn new(credentials: Credentials, mailer: Mailer, links: Links) -> Self {
        Self(Arc::new(Inner { credentials, mailer, links }))
    }

    /// Makes a link to the caller's own credential, and mails it to the recipient if one is
    /// named.
    pub async fn create(
        &self,
        caller: &Caller,
        credential: Id<CredentialKind>,
        new: &NewShare,
    ) -> Result<Made> {
        let owner = caller.user()?;
        let Inner { credentials, links, .. } = &*self.0;
        credentials
            .db()
            .run("credential.share", |tx| async move {
                let shared = credentials.owned(&tx, owner, credential).await?;
                rules::check(&shared, Act::Share)?;
                let token = Token::new(tx.world());
                let link = links.share(token.text.expose());
                let share = Share {
                    id: tx.world().id(),
                    credential,
                    owner,
                    recipient_email: new.recipient_email.clone(),
                    fields: new.fields.clone(),
                    expires_at: tx.now() + new.lasts,
                    revoked_at: None,
                    views: 0,
                    last_viewed_at: None,
                    created_at: tx.now(),
                };
                store::insert(&tx, &share, &token.hash).await?;
                self.invite(&tx, &share, &link)?;
                let fact = Fact::by(caller, "credential.shared").on(credential);
                tx.record(fact.with("share", share.id).with("expiresAt", share.expires_at));
                Ok(Made { share, link })
            })
            .await
    }

    /// The letter holds no words of the owner's: it must not become a way to send strangers
    /// whatever one likes in our name.
    fn invite(&self, tx: &Tx, share: &Share, link: &str) -> Result<()> {
        let Some(to) = &share.recipient_email else { return Ok(()) };
        let until = share.expires_at.to_second_text();
        let letter = Letter::new("A credential has been shared with you")
            .say(
                "Somebody has shared a credential with you: a document, and what has become of \
                  its verification.",
            )
            .say(format!("The link works until {until}, or until its owner takes it back."))
            .with_action("See the credential", link)
            .with_footnote("If you did not expect this, you need not do anything.");
        self.0.mailer.send(tx, to, "share.invitation", &letter).map(drop)
    }

    /// The shares of the caller's own credential, newest first.
    pub async fn list(
        &self,
        caller: &Caller,
        credential: Id<CredentialKind>,
        page: &PageRequest,
    ) -> Result<Page<Share>> {
        let credentials = &self.0.credentials;
        credentials.owned(credentials.db(), caller.user()?, credential).await?;
        store::list(credentials.db(), credential, page).await
    }

    /// Ends a link to the caller's own credential.
    pub async fn revoke(
        &self,
        caller: &Caller,
        credential: Id<CredentialKind>,
        id: Id<ShareKind>,
    ) -> Result<()> {
        let owner = caller.user()?;
        let credentials = &self.0.credentials;
        credentials
            .db()
            .run("share.revoke", |tx| async move {
                credentials.owned(&tx, owner, credential).await?;
                if !store::revoke(&tx, credential, id).await? {
                    return Err(unknown());
                }
                tx.record(Fact::by(caller, "share.revoked").on(id).with("credential", credential));
                Ok(())
            })
            .await
    }

    /// What the holder of a link sees; counted as a view unless `peek`.
    ///
    /// 404 for a token that never was, 410 `share_revoked` or `share_expired` for one that is
    /// over.
    pub async fn open(&self, token: &str, peek: bool) -> Result<View> {
        let credentials = &self.0.credentials;
        let db = credentials.db();
        let found = store::by_token(db, &sha256(token)).await?;
        let share = found.ok_or_else(unknown)?;
        share.check_open(db.world().now())?;
        // A deleted credential has ended its shares, so it is there.
        let credential = credentials.owned(db, share.owner, share.credential).await?;
        let issued = credentials.issued(db, &credential).await?;
        if !peek {
            let id = share.id;
            db.run("share.view", |tx| async move { store::count_view(&tx, id).await }).await?;
        }
        Ok(View::of(&share, credential, issued))
    }
}
