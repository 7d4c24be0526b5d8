//! The files of a dispute: evidence, which the sides show each other, and for the admin who decides
//! all that the case rests on.

use documents::file::File;
use kernel::id::kinds;
use kernel::{Caller, Error, Id, Result};
use platform::journal::Fact;

use super::model::{Dispute, State};
use super::rules::{self, Party, Refusal};
use super::service::Service;
use super::store;
use crate::verification::papers::{Paper, Part};

impl Service {
    /// Evidence about to be read by a side. Unless it is their own, its author learns of it.
    ///
    /// # Errors
    /// `NotFound`, also when its author has deleted the file.
    pub async fn view_evidence(
        &self,
        caller: &Caller,
        (id, file): (Id<kinds::Dispute>, Id<kinds::File>),
    ) -> Result<File> {
        let (dispute, _) = self.find(caller, id).await?;
        let shown = self.evidence_files(&dispute).await?;
        let paper = shown.into_iter().find(|paper| paper.file == file).ok_or_else(unknown)?;
        self.read(caller, &dispute, paper).await
    }

    /// The files that a case rests on, for an admin who decides: the document, what was attached, the
    /// report, and the evidence.
    ///
    /// # Errors
    /// `NotFound`, also for an admin who is a side of it; `Conflict` `wrong_state` once it is closed.
    pub async fn papers(&self, caller: &Caller, id: Id<kinds::Dispute>) -> Result<Vec<Paper>> {
        let dispute = self.judged_by(caller, id).await?;
        self.papers_of(&dispute).await
    }

    /// One of [`Self::papers`] about to be read. Whose it is learns of it.
    ///
    /// # Errors
    /// As of [`Self::papers`]; `NotFound` also when its author has deleted the file.
    pub async fn view_paper(
        &self,
        caller: &Caller,
        (id, file): (Id<kinds::Dispute>, Id<kinds::File>),
    ) -> Result<File> {
        let dispute = self.judged_by(caller, id).await?;
        let papers = self.papers_of(&dispute).await?;
        let paper = papers.into_iter().find(|paper| paper.file == file).ok_or_else(unknown)?;
        if paper.part == Part::Evidence {
            return self.read(caller, &dispute, paper).await;
        }
        let (verification, _) = self.verifications.find(dispute.verification).await?;
        self.verifications.read(caller, &verification, paper).await
    }

    /// A dispute that the caller may decide, as long as there is something to be decided.
    async fn judged_by(&self, caller: &Caller, id: Id<kinds::Dispute>) -> Result<Dispute> {
        let found = store::get(&self.db, id).await?;
        let dispute = found.filter(|found| Party::of(caller, found) == Party::Judge);
        let dispute = dispute.ok_or(Refusal::NoSuchThing)?;
        if dispute.state == State::Closed {
            let message = "This dispute is closed: its files are no longer to be read by admins.";
            return Err(rules::wrong_state(dispute.state, Party::Judge, message));
        }
        Ok(dispute)
    }

    async fn papers_of(&self, dispute: &Dispute) -> Result<Vec<Paper>> {
        let (verification, _) = self.verifications.find(dispute.verification).await?;
        let mut papers = self.verifications.papers(&verification).await?;
        papers.extend(self.evidence_files(dispute).await?);
        Ok(papers)
    }

    async fn evidence_files(&self, dispute: &Dispute) -> Result<Vec<Paper>> {
        let mut files = Vec::new();
        for one in store::evidence(&self.db, dispute.id).await? {
            let Some(file) = one.file else { continue };
            files.push(self.verifications.paper(Part::Evidence, file, one.author).await?);
        }
        Ok(files)
    }

    async fn read(&self, caller: &Caller, dispute: &Dispute, paper: Paper) -> Result<File> {
        let fact = Fact::by(caller, "dispute.evidence_viewed").on(dispute.id).about(paper.author);
        let fact = fact.with("file", paper.file).with("verification", dispute.verification);
        self.verifications.note_view(caller, paper, &dispute.id.to_string(), fact).await
    }
}

fn unknown() -> Error {
    Error::not_found("file")
}
