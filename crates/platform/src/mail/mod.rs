//! Mail: a letter is enqueued in the transaction that causes it, and delivered by a job.
//!
//! What a letter says is written by the context that sends it, as a [`Letter`] of plain fields;
//! how it looks is decided here, once. A letter may carry a link that lets its holder in, so its
//! content is sealed under the master key while it waits in the job table. Every link is built
//! from configuration, never from a request.
//!
//! Delivery happens at least once; the sink takes a letter once only, since the letter's id goes
//! with the job.

mod letter;
pub mod sink;

use std::time::Duration;

use kernel::id::kinds::Mail;
use kernel::{Error, Id, Result};
use serde::{Deserialize, Serialize};

use crate::crypto::MasterKey;
use crate::db::{Db, Tx};
use crate::jobs::{Job, NewJob, Registry, Run};

pub use letter::{Action, Letter};

/// Where letters go. SMTP comes as another variant, with its settings inside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Backend {
    /// The table `mail_sink`: the embedded platform's mailbox, read by developers and tests.
    #[default]
    Sink,
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
}

impl Job for Send {
    const KIND: &'static str = "mail.send";
}

/// Sends letters. Cheap to clone.
#[derive(Clone)]
pub struct Mailer(std::sync::Arc<Inner>);

struct Inner {
    db: Db,
    key: MasterKey,
    options: MailOptions,
}

impl Mailer {
    pub fn new(db: Db, key: MasterKey, options: MailOptions) -> Self {
        Self(std::sync::Arc::new(Inner { db, key, options }))
    }

    /// Enqueues a letter: it is sent when this transaction commits, and only then. `to` is an
    /// address that has been parsed; `template` names the kind of letter, such as
    /// `account.verify_email`.
    pub fn send(
        &self,
        tx: &Tx,
        to: &str,
        template: &'static str,
        letter: &Letter,
    ) -> Result<Id<Mail>> {
        let id = tx.world().id::<Mail>();
        let content = serde_json::to_vec(letter)
            .map_err(|error| Error::internal("a letter cannot be written").because(error))?;
        let sealed = self.0.key.seal(tx.world(), &context(id), &content)?;
        let job = Send { id, to: to.to_owned(), template: template.to_owned(), sealed };
        tx.enqueue(NewJob::new(&job)?);
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
        let (text, html) = (letter.text(&options.sender), letter.html(&options.sender));
        match options.backend {
            Backend::Sink => {
                let (text, html, letter) = (&text, &html, &letter);
                db.run("mail.sink", |tx| async move {
                    let entry = sink::Entry {
                        id: job.id,
                        to: &job.to,
                        template: &job.template,
                        subject: &letter.subject,
                        text,
                        html,
                    };
                    sink::insert(&tx, &entry).await?;
                    run.done_in(&tx).await
                })
                .await?;
            }
        }
        metrics::counter!("mails_sent_total", "template" => job.template.clone()).increment(1);
        Ok(())
    }
}

fn context(id: Id<Mail>) -> String {
    format!("mail/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Read;
    use crate::jobs::Worker;
    use crate::testing::TestDb;

    fn letter() -> Letter {
        Letter::new("Hello")
            .say("Somebody said <hello>.")
            .with_action("Answer", "https://verza.example/answer#token=s3cr3t")
    }

    fn mailer(t: &TestDb) -> (Mailer, Worker) {
        let mailer = Mailer::new(t.db.clone(), MasterKey::new([1; 32]), MailOptions::default());
        let mut registry = Registry::default();
        mailer.jobs(&mut registry);
        (mailer, Worker::new(t.db.clone(), registry))
    }

    crate::on_both_engines! { &[crate::MIGRATIONS];
        async fn a_letter_is_sent_when_its_transaction_commits_and_only_then(t: &TestDb) {
            let (mailer, worker) = mailer(t);
            let undone: Result<()> = t.db.run("test", |tx| {
                let mailer = &mailer;
                async move {
                    mailer.send(&tx, "a@example.org", "test.hello", &letter())?;
                    Err(Error::conflict("no", "No."))
                }
            }).await;
            assert!(undone.is_err());
            worker.drain().await.unwrap();
            assert!(sink::list(&t.db, None, 10).await.unwrap().is_empty());

            for to in ["a@example.org", "b@example.org"] {
                t.db.run("test", |tx| {
                    let sent = mailer.send(&tx, to, "test.hello", &letter());
                    async move { sent }
                }).await.unwrap();
            }
            worker.drain().await.unwrap();
            assert_eq!(sink::list(&t.db, None, 10).await.unwrap().len(), 2);
            let found = sink::list(&t.db, Some("a@example.org"), 10).await.unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].subject, "Hello");
            assert!(found[0].text.contains("https://verza.example/answer#token=s3cr3t"));
        }

        async fn a_waiting_letter_is_not_readable_in_the_database(t: &TestDb) {
            let (mailer, _) = mailer(t);
            t.db.run("test", |tx| {
                let sent = mailer.send(&tx, "a@example.org", "test.hello", &letter());
                async move { sent }
            }).await.unwrap();
            let sql = "SELECT payload FROM jobs";
            let payload: String = t.db.one(sql, &[], |row| row.take()).await.unwrap();
            assert!(payload.contains("a@example.org") && !payload.contains("s3cr3t"));
        }

        async fn the_sink_forgets_what_is_old(t: &TestDb) {
            let (mailer, worker) = mailer(t);
            t.db.run("test", |tx| {
                let sent = mailer.send(&tx, "a@example.org", "test.hello", &letter());
                async move { sent }
            }).await.unwrap();
            worker.drain().await.unwrap();
            t.clock.advance(Duration::from_secs(31 * 24 * 3600));
            worker.drain().await.unwrap();
            assert!(sink::list(&t.db, None, 10).await.unwrap().is_empty());
        }
    }
}
