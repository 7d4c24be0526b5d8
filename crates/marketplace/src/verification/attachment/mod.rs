//! Files that the two sides of a verification show each other: what a verifier has asked for, and
//! what a verdict rests on.
//!
//! Invariants:
//! - An attachment is a file of its author's own that has passed the scanner; attaching it twice is
//!   attaching it once. It stays the author's: when they delete it, nobody can read it any more.
//! - The owner sees all of both sides. The verifier sees their own, and the owner's while at work;
//!   never what a verifier before them has attached.
//! - Reading what is the other side's is a fact that its author learns of, once in a while.

use std::time::Duration;

use documents::file::File;
use kernel::id::kinds;
use kernel::{Caller, Error, Id, Kind, Result, Timestamp};
use platform::db::Tx;

use super::model::Verification;
use super::papers::Part;
use super::rules::{self, Refusal, Relation};
use super::service::{Service, fact, load};

pub(super) mod http;
pub(super) mod store;
#[cfg(test)]
mod tests;

/// Files that one side may attach to one verification.
const MAX: i64 = 20;
/// Views of one file within this time are one view.
const VIEW: Duration = Duration::from_secs(15 * 60);

/// A file that is shown to the other side.
#[derive(Debug, Clone)]
pub struct Attachment {
    pub file: Id<kinds::File>,
    pub author: Id<kinds::User>,
    pub at: Timestamp,
    /// None where its author has deleted it.
    pub content: Option<File>,
}

/// An attachment as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) file: Id<kinds::File>,
    pub(super) author: Id<kinds::User>,
    pub(super) at: Timestamp,
}

impl Service {
    /// A side shows the other one a file.
    ///
    /// # Errors
    /// `NotFound`; a field error at `/fileId` for what is no file of the caller's own; `Conflict`
    /// `wrong_state` when it is over, `scanning`, `too_many_attachments`.
    pub async fn attach(
        &self,
        caller: &Caller,
        side: Relation,
        id: Id<kinds::Verification>,
        file: Id<kinds::File>,
    ) -> Result<Attachment> {
        let author = caller.user()?;
        self.db
            .once(caller, "verification.attach", |tx| async move {
                let verification = load(&tx, id).await?;
                may_attach(caller, side, &verification)?;
                let found = self.attachable(&tx, author, file).await?;
                if store::count(&tx, id, author).await? >= MAX {
                    let message = format!("At most {MAX} files can be attached.");
                    return Err(Error::conflict("too_many_attachments", message));
                }
                if store::insert(&tx, id, file, author).await? {
                    let told = fact(caller, "verification.attached", &verification);
                    tx.record(told.with("file", file).with("sha256", hex::encode(found.sha256)));
                }
                Ok(())
            })
            .await?;
        let found = store::get(&self.db, id, file).await?;
        self.with_content(found.ok_or_else(|| Error::not_found("attachment"))?).await
    }

    /// A file of the caller's own that anybody may be shown.
    async fn attachable(
        &self,
        tx: &Tx,
        author: Id<kinds::User>,
        file: Id<kinds::File>,
    ) -> Result<File> {
        match self.files.get(tx, author, file).await {
            Ok(file) if file.owner == author && !file.scanning => Ok(file),
            Ok(file) if file.owner == author => {
                let message = "The file is being looked at by a virus scanner. Try again soon.";
                Err(Error::conflict("scanning", message))
            }
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            _ => Err(Error::field("/fileId", "unknown", "not a file of your own")),
        }
    }

    /// What the caller may see of the attachments, oldest first.
    pub async fn attachments(
        &self,
        caller: &Caller,
        side: Relation,
        id: Id<kinds::Verification>,
    ) -> Result<Vec<Attachment>> {
        let verification = self.seen_as(side, caller, id).await?;
        let mut shown = Vec::new();
        for row in store::list(&self.db, id).await? {
            if may_see(side, caller.user()?, &verification, &row) {
                shown.push(self.with_content(row).await?);
            }
        }
        Ok(shown)
    }

    /// An attachment about to be read. When it is the other side's, they learn of it.
    ///
    /// # Errors
    /// `NotFound`, also when its author has deleted the file.
    pub async fn view_attachment(
        &self,
        caller: &Caller,
        side: Relation,
        (id, file): (Id<kinds::Verification>, Id<kinds::File>),
    ) -> Result<File> {
        let reader = caller.user()?;
        let verification = self.seen_as(side, caller, id).await?;
        let unknown = || Error::not_found("attachment");
        let row = store::get(&self.db, id, file).await?;
        let row = row.filter(|row| may_see(side, reader, &verification, row));
        let attachment = self.with_content(row.ok_or_else(unknown)?).await?;
        let content = attachment.content.ok_or_else(unknown)?;
        let (author, verification) = (attachment.author, &verification);
        if author != reader {
            self.db
                .run("verification.view_attachment", |tx| async move {
                    if store::note_view(&tx, id, file, tx.now() - VIEW).await? {
                        let verb = "verification.attachment_viewed";
                        tx.record(fact(caller, verb, verification).with("file", file));
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(content)
    }

    async fn with_content(&self, row: Row) -> Result<Attachment> {
        let Row { file, author, at } = row;
        let content = self.paper(Part::Attachment, file, author).await?.content;
        Ok(Attachment { file, author, at, content })
    }
}

/// The owner attaches as long as nothing is decided, the verifier while at work.
fn may_attach(caller: &Caller, side: Relation, verification: &Verification) -> Result<()> {
    if Relation::of(caller, verification) != side {
        return Err(Refusal::NoSuchThing.into());
    }
    let state = verification.state;
    let is_time = match side {
        Relation::Verifier => state.is_at_work(),
        _ => state.is_open(),
    };
    if is_time {
        return Ok(());
    }
    let message = format!("This verification is {state}: nothing can be attached to it now.");
    Err(rules::wrong_state(verification, side, message))
}

fn may_see(
    side: Relation,
    reader: Id<kinds::User>,
    verification: &Verification,
    row: &Row,
) -> bool {
    match side {
        Relation::Owner => true,
        _ if row.author == reader => true,
        _ => row.author == verification.owner && verification.state.is_at_work(),
    }
}
