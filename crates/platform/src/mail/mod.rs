//! Mail: a letter is enqueued in the transaction that causes it, and delivered by a job.
//!
//! What a letter says is written by the context that sends it, as a [`Letter`] of plain fields;
//! how it looks is decided here, once, by the templates of one folder. A letter may carry a link
//! that lets its holder in, so its content is sealed under the master key while it waits in the
//! job table. Every link is built from configuration, never from a request.
//!
//! A letter goes to the mail server, or where none is configured into the sink. It is tried for
//! about two days; what the server refuses for good is a dead letter at once, and an admin may try
//! it again. A delivery that succeeded is never repeated, but for a process that dies in between;
//! the sink takes a letter once only, since the letter's id goes with the job.

mod letter;
mod look;
pub mod sink;
mod smtp;
#[cfg(test)]
mod tests;
mod viewer;

use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::Mail;
use kernel::{Error, Id, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::crypto::MasterKey;
use crate::db::{Db, Tx};
use crate::jobs::{Job, NewJob, Registry, Run};
use smtp::Outgoing;

pub use letter::{Action, Letter, Rendered};
pub use smtp::{Security, Smtp, SmtpOptions, TIMEOUT_MAX};
pub use viewer::{by_no_domain, viewer};

/// With the pauses between them about two days: a mail server may be down over a weekend's night,
/// and few links live longer.
const ATTEMPTS: u32 = 56;

/// Where letters go.
#[derive(Debug, Clone, Default)]
pub enum Backend {
    /// The table `mail_sink`: the embedded platform's mailbox, read by developers and tests.
    #[default]
    Sink,
    /// A mail server.
    Smtp(Arc<Smtp>),
}

/// How letters are made and where they go.
#[derive(Debug, Clone)]
pub struct MailOptions {
    pub backend: Backend,
    /// What the platform calls itself in a letter.
    pub sender: String,
    /// How long the sink keeps a letter.
    pub sink_retention: Duration,
}

impl Default for MailOptions {
    fn default() -> Self {
        Self {
            backend: Backend::Sink,
            sender: "Verza".to_owned(),
            sink_retention: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// The job of delivering one letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Send {
    id: Id<Mail>,
    to: String,
    /// The letter's kind, for metrics and for the sink's reader.
    template: String,
    /// The letter as JSON, sealed.
    sealed: Vec<u8>,
    /// The letter's date, the same at every try. Jobs of an older release have none.
    #[serde(default)]
    written_at: Option<Timestamp>,
}

impl Job for Send {
    const KIND: &'static str = "mail.send";
}

/// Sends letters. Cheap to clone.
#[derive(Clone)]
pub struct Mailer(Arc<Inner>);

struct Inner {
    db: Db,
    key: MasterKey,
    options: MailOptions,
}

impl Mailer {
    pub fn new(db: Db, key: MasterKey, options: MailOptions) -> Self {
        Self(Arc::new(Inner { db, key, options }))
    }

    /// Enqueues a letter: it is sent when this transaction commits, and only then. `to` is an
    /// address that has been parsed; `template` names the kind of letter, such as
    /// `account.verify_email`.
    ///
    /// # Errors
    /// `Invalid` `invalid_address`: what no mail server would take as one.
    pub fn send(
        &self,
        tx: &Tx,
        to: &str,
        template: &'static str,
        letter: &Letter,
    ) -> Result<Id<Mail>> {
        if to.parse::<lettre::Address>().is_err() || to.contains(char::is_control) {
            return Err(Error::invalid("invalid_address", "This is no address for a mail."));
        }
        let id = tx.world().id::<Mail>();
        let content = serde_json::to_vec(letter)
            .map_err(|error| Error::internal("a letter cannot be written").because(error))?;
        let sealed = self.0.key.seal(tx.world(), &context(id), &content)?;
        let (to, template, written_at) = (to.to_owned(), template.to_owned(), Some(tx.now()));
        let job = Send { id, to, template, sealed, written_at };
        tx.enqueue(NewJob::new(&job)?.attempts(ATTEMPTS));
        Ok(id)
    }

    /// The jobs of mail: delivery, and emptying the sink of what is old.
    pub fn jobs(&self, registry: &mut Registry) {
        let mailer = self.clone();
        registry.on(move |job: Send, run| {
            let mailer = mailer.clone();
            async move { mailer.deliver(&job, &run).await }
        });
        let mailer = self.clone();
        registry.every("mail.sweep_sink", Duration::from_secs(6 * 3600), move || {
            let mailer = mailer.clone();
            async move {
                let Inner { db, options, .. } = &*mailer.0;
                sink::sweep(db, db.world().now() - options.sink_retention).await.map(drop)
            }
        });
    }

    async fn deliver(&self, job: &Send, run: &Run) -> Result<()> {
        let Inner { db, key, options } = &*self.0;
        let content = key.open(&context(job.id), &job.sealed)?;
        let letter: Letter = serde_json::from_slice(content.expose())
            .map_err(|error| Error::internal("a letter is unreadable").because(error))?;
        let (subject, content) = (&letter.subject_line(), &letter.render(&options.sender)?);
        match &options.backend {
            Backend::Sink => {
                db.run("mail.sink", |tx| async move {
                    let entry = sink::Entry {
                        id: job.id,
                        to: &job.to,
                        template: &job.template,
                        subject,
                        text: &content.text,
                        html: &content.html,
                    };
                    sink::insert(&tx, &entry).await?;
                    run.done_in(&tx).await
                })
                .await?;
            }
            Backend::Smtp(smtp) => {
                let written_at = job.written_at.unwrap_or_else(|| db.world().now());
                let outgoing = Outgoing { id: job.id, to: &job.to, subject, written_at, content };
                smtp.send(&outgoing).await?;
            }
        }
        metrics::counter!("mails_sent_total", "template" => job.template.clone()).increment(1);
        Ok(())
    }
}

fn context(id: Id<Mail>) -> String {
    format!("mail/{id}")
}
