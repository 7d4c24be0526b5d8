//! The verbs of shares.

use std::sync::Arc;
use std::time::Duration;

use kernel::error::Fields;
use kernel::id::kinds::{Credential as CredentialKind, Share as ShareKind};
use kernel::{Caller, Error, Id, Page, PageRequest, Result};
use platform::crypto::{Token, sha256};
use platform::db::{Read, Tx};
use platform::journal::Fact;
use platform::mail::{Letter, Mailer};

use super::model::{
    CODE_LASTS, Code, DAYS_DEFAULT, DAYS_MAX, Field, Seen, Share, Shown, View, code_hash, email,
    network,
};
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
    asks_code: bool,
}

impl NewShare {
    /// All that is wrong is named at once: `/recipientEmail`, `/expiresInDays`.
    pub fn parse(
        recipient_email: Option<&str>,
        expires_in_days: Option<u16>,
        fields: Option<&[Field]>,
        asks_code: bool,
    ) -> Result<Self> {
        let mut wrong = Fields::new();
        let recipient = wrong.take(recipient_email.map(email).transpose()).flatten();
        let days = expires_in_days.unwrap_or(DAYS_DEFAULT);
        if !(1..=DAYS_MAX).contains(&days) {
            let message = format!("from 1 to {DAYS_MAX}");
            wrong.add("/expiresInDays", "out_of_range", message);
        }
        if asks_code && recipient_email.is_none() {
            wrong.add("/recipientEmail", "required", "somebody must be sent the code");
        }
        wrong.check()?;
        Ok(Self {
            recipient_email: recipient,
            lasts: DAY * u32::from(days),
            fields: fields.unwrap_or(&Field::DEFAULT).to_vec(),
            asks_code,
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
                    asks_code: new.asks_code,
                    code: Code::default(),
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

    /// The last openings of a link to the caller's own credential, newest first.
    pub async fn views(
        &self,
        caller: &Caller,
        credential: Id<CredentialKind>,
        id: Id<ShareKind>,
    ) -> Result<Vec<Seen>> {
        let credentials = &self.0.credentials;
        credentials.owned(credentials.db(), caller.user()?, credential).await?;
        store::views(credentials.db(), credential, id).await?.ok_or_else(unknown)
    }

    async fn find(&self, db: &impl Read, token: &str) -> Result<Share> {
        let share = store::by_token(db, &sha256(token)).await?.ok_or_else(unknown)?;
        share.check_open(self.0.credentials.db().world().now())?;
        Ok(share)
    }

    /// What the holder of a link sees; counted as a view unless `shown` is none.
    ///
    /// 404 for a token that never was, 410 `share_revoked` or `share_expired` for one that is
    /// over, 403 `code_required` where a code is asked for.
    pub async fn open(&self, caller: &Caller, token: &str, shown: Option<Shown>) -> Result<Opened> {
        let db = self.0.credentials.db();
        let share = self.find(db, token).await?;
        if share.asks_code {
            let message = "This link opens with a code, which is sent to its recipient by mail.";
            return Err(Error::forbidden("code_required", message));
        }
        self.show(caller, share, token, shown).await
    }

    async fn show(
        &self,
        caller: &Caller,
        share: Share,
        token: &str,
        shown: Option<Shown>,
    ) -> Result<Opened> {
        let Inner { credentials, links, .. } = &*self.0;
        let db = credentials.db();
        // A deleted credential has ended its shares, so it is there.
        let credential = credentials.owned(db, share.owner, share.credential).await?;
        let issued = credentials.issued(db, &credential).await?;
        if let Some(shown) = shown {
            let (id, network) = (share.id, caller.origin.ip.map(network));
            let network = network.as_deref();
            db.run(
                "share.view",
                |tx| async move { store::count_view(&tx, id, shown, network).await },
            )
            .await?;
        }
        let link = links.share(token);
        let mut view = View::of(&share, credential, issued.as_ref());
        if let (Some(issued), Some(_)) = (&issued, &view.signed_credential) {
            view.bundle = Some(credentials.shown_bundle(issued).await?);
        }
        Ok(Opened { view, link })
    }

    /// Sends the recipient of a link a new code.
    ///
    /// 409 `no_code` for a link that asks for none, `codes_used_up` after too many; 429 within a
    /// minute of the last.
    pub async fn send_code(&self, token: &str) -> Result<()> {
        let Inner { credentials, mailer, .. } = &*self.0;
        credentials
            .db()
            .run("share.send_code", |tx| async move {
                let share = self.find(&tx, token).await?;
                let Some(to) = share.recipient_email.as_deref().filter(|_| share.asks_code) else {
                    let message = "This link asks for no code.";
                    return Err(Error::conflict("no_code", message));
                };
                share.code.check_send(tx.now())?;
                let code = digits(tx.world().random());
                let expires_at = tx.now() + CODE_LASTS;
                if !store::set_code(&tx, &share, &code_hash(token, &code), expires_at).await? {
                    return Err(Error::limited(60));
                }
                let letter = Letter::new("The code for a shared credential")
                    .say(format!("The code is {code}. It is good for ten minutes, and once."))
                    .with_footnote("If you did not ask for it, you need not do anything.");
                mailer.send(&tx, to, "share.code", &letter)?;
                tx.record(Fact::by(&Caller::nobody(), "share.code_sent").on(share.id));
                Ok(())
            })
            .await
    }

    /// What the holder of a link sees who has its recipient's code: once.
    ///
    /// 403 `wrong_code`, also for the right one after five wrong ones or when its time is over.
    pub async fn open_with_code(
        &self,
        caller: &Caller,
        token: &str,
        code: &str,
        shown: Shown,
    ) -> Result<Opened> {
        let wrong = || {
            let message = "The code is wrong, used up or too old. Ask for a new one.";
            Error::forbidden("wrong_code", message)
        };
        let given: String = code.chars().filter(char::is_ascii_digit).collect();
        let hash = &code_hash(token, &given);
        // The try is counted also when it fails, so it commits by itself.
        let share = self
            .0
            .credentials
            .db()
            .run("share.try_code", |tx| async move {
                let share = self.find(&tx, token).await?;
                if share.asks_code
                    && !(share.code.is_open(tx.now())
                        && store::try_code(&tx, &share).await?
                        && store::use_code(&tx, share.id, hash).await?)
                {
                    return Ok(None);
                }
                Ok(Some(share))
            })
            .await?
            .ok_or_else(wrong)?;
        self.show(caller, share, token, Some(shown)).await
    }
}

/// A share that somebody has opened.
#[derive(Debug, Clone)]
pub struct Opened {
    pub view: View,
    /// Its address, for showing it once more.
    pub link: String,
}

/// Six digits. The remainder of 2^64 by 10^6 is too small to tell any two apart.
fn digits(bytes: [u8; 8]) -> String {
    format!("{:06}", u64::from_le_bytes(bytes) % 1_000_000)
}
