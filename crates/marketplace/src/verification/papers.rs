//! The files of a case besides what the sides attach: the report that a verdict rests on, and what an
//! admin reads who decides a dispute.
//!
//! Invariants:
//! - A report is a file of the verifier's own that has passed the scanner. From the verdict on it
//!   cannot be deleted: the case file names its hash.
//! - Owner, verifier and admins read it. Reading what is another's is a fact that its author learns
//!   of, once in a while for each reader.

use std::time::Duration;

use documents::file::{self, File};
use kernel::id::kinds;
use kernel::{Caller, Error, Id, Kind, Result};
use platform::db::Tx;
use platform::journal::Fact;
use serde::Serialize;

use super::model::{Report, Verification};
use super::rules::{Refusal, Relation};
use super::service::Service;
use super::{attachment, store};

/// Views of one file by one reader within this time are one view.
const VIEW: Duration = Duration::from_secs(15 * 60);

/// What a file is to a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CasePart)]
pub enum Part {
    /// What was to be verified.
    Document,
    /// What a side has shown the other before the verdict.
    Attachment,
    /// What the verdict rests on.
    Report,
    /// What a side has shown in the dispute.
    Evidence,
}

/// A file of a case.
#[derive(Debug, Clone)]
pub struct Paper {
    pub part: Part,
    pub file: Id<kinds::File>,
    pub author: Id<kinds::User>,
    /// None where its author has deleted it.
    pub content: Option<File>,
}

impl Service {
    /// The report of a verdict, about to be read by one of its sides or an admin. Unless it is their
    /// own, its author learns of it.
    ///
    /// # Errors
    /// `NotFound`, also without a report.
    pub async fn view_report(
        &self,
        caller: &Caller,
        side: Relation,
        id: Id<kinds::Verification>,
    ) -> Result<File> {
        let verification = match side {
            Relation::Admin => store::get(&self.db, id).await?.ok_or(Refusal::NoSuchThing)?,
            side => self.seen_as(side, caller, id).await?,
        };
        let report = self.report_of(&verification).await?;
        self.read(caller, &verification, report.ok_or_else(unknown)?).await
    }

    /// A report is the verifier's own work: not the owner's document, nor anybody else's file.
    pub(super) async fn take_report(
        &self,
        tx: &Tx,
        verification: &Verification,
        report: &Report,
    ) -> Result<()> {
        let Some(file) = report.file else { return Ok(()) };
        let author = verification.taken_by()?.same_as();
        self.take_file(tx, author, file, ("/reportFileId", &verification.id.to_string())).await
    }

    /// From here on a file of its author's own belongs to something that others read: it cannot be
    /// deleted. The second pair is where the request names it, and what it belongs to.
    pub(crate) async fn take_file(
        &self,
        tx: &Tx,
        author: Id<kinds::User>,
        file: Id<kinds::File>,
        (pointer, used_in): (&str, &str),
    ) -> Result<()> {
        match self.files.begin_use(tx, author, file, used_in).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == Kind::NotFound => {
                Err(Error::field(pointer, "unknown", "not a file of your own"))
            }
            Err(error) => Err(error),
        }
    }

    /// The files that belong to a verification: the document, what was attached, the report.
    pub(crate) async fn papers(&self, of: &Verification) -> Result<Vec<Paper>> {
        let credential = self.credentials.find(of.credential).await?;
        let mut papers = Vec::new();
        if let Some(file) = credential.file {
            papers.push(self.paper(Part::Document, file, credential.owner).await?);
        }
        for row in attachment::store::list(&self.db, of.id).await? {
            papers.push(self.paper(Part::Attachment, row.file, row.author).await?);
        }
        papers.extend(self.report_of(of).await?);
        Ok(papers)
    }

    async fn report_of(&self, of: &Verification) -> Result<Option<Paper>> {
        let Some(file) = of.report_file else { return Ok(None) };
        let author = of.taken_by()?.same_as();
        Ok(Some(self.paper(Part::Report, file, author).await?))
    }

    pub(crate) async fn paper(
        &self,
        part: Part,
        file: Id<kinds::File>,
        author: Id<kinds::User>,
    ) -> Result<Paper> {
        let content = match self.files.get(&self.db, author, file).await {
            Ok(content) => Some(content),
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Paper { part, file, author, content })
    }

    /// A file of the verification about to be read by somebody who may.
    pub(crate) async fn read(
        &self,
        caller: &Caller,
        of: &Verification,
        paper: Paper,
    ) -> Result<File> {
        let Paper { part, file, author, .. } = paper;
        let told = |verb| Fact::by(caller, verb).on(of.id).about(author).with("file", file);
        let fact = match part {
            Part::Document => file::viewed(caller, of.credential, author, file),
            Part::Attachment => told("verification.attachment_viewed"),
            Part::Report => told("verification.report_viewed"),
            Part::Evidence => return Err(Error::internal("evidence is a dispute's")),
        };
        self.note_view(caller, paper, &of.id.to_string(), fact).await
    }

    /// Notes that somebody reads a file of `subject`. Unless it is their own, its author learns of it
    /// by this fact.
    ///
    /// # Errors
    /// `NotFound` when its author has deleted it.
    pub(crate) async fn note_view(
        &self,
        caller: &Caller,
        paper: Paper,
        subject: &str,
        fact: Fact,
    ) -> Result<File> {
        let Paper { file, author, content, .. } = paper;
        let (content, reader) = (content.ok_or_else(unknown)?, caller.user()?);
        if author != reader {
            let fact = &fact;
            self.db
                .run("verification.view_file", |tx| async move {
                    let seen = (subject, file, reader);
                    if store::note_view(&tx, seen, tx.now() - VIEW).await? {
                        tx.record(fact.clone());
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(content)
    }
}

fn unknown() -> Error {
    Error::not_found("file")
}
