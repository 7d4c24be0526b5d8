//! Taking rows in.

use std::collections::{HashMap, HashSet};
use std::io::BufRead;

use kernel::error::FieldError;
use kernel::id::kinds::User;
use kernel::{Caller, Error, Result};
use platform::db::{Db, Tx, together};
use platform::journal::Fact;
use serde::Serialize;

use super::model::Row;
use super::reader::Rows;
use super::rules::{self, Decision, Found, Holder};
use super::store;
use crate::account;

/// Rows of one transaction: enough that its commit costs little a row, few enough that others who
/// write do not wait long.
const BATCH: usize = 250;
/// Tries of a batch whose addresses others take at the same time.
const TRIES: u32 = 3;

/// The verbs of imports.
pub struct Service {
    db: Db,
}

/// How an import went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub rows: u64,
    /// Made now, or in a dry run: would have been made.
    pub imported: u64,
    /// There already from an earlier import.
    pub unchanged: u64,
    /// Wrong, or in the way of somebody else.
    pub failed: u64,
}

/// What is wrong with a row. It repeats nothing of it but where it stands.
#[derive(Debug, Clone, Serialize)]
pub struct RowError {
    pub line: u64,
    pub errors: Vec<FieldError>,
}

impl RowError {
    fn new(line: u64, error: &Error) -> Self {
        let mut errors = error.fields().to_vec();
        if errors.is_empty() {
            let (code, message) = (error.code().to_owned(), error.message().to_owned());
            errors.push(FieldError { pointer: String::new(), code, message });
        }
        Self { line, errors }
    }
}

impl Service {
    pub(crate) fn new(db: Db) -> Self {
        Self { db }
    }

    /// Takes a file in; with `dry_run` it only looks. `told` hears of each row that is wrong, and
    /// `gone_on` of each batch that is done. Starting again after an interruption goes on where it
    /// stopped: rows that are there are left as they are.
    ///
    /// # Errors
    /// `Unavailable`: the file or the database fails. Rows that are wrong are no error.
    pub async fn run<R: BufRead>(
        &self,
        caller: &Caller,
        mut rows: Rows<R>,
        dry_run: bool,
        mut told: impl FnMut(RowError) -> Result<()>,
        mut gone_on: impl FnMut(&Report),
    ) -> Result<Report> {
        let mut report = Report::default();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            while batch.len() < BATCH {
                match rows.next_row()? {
                    Some((line, Ok(row))) => batch.push((line, row)),
                    Some((line, Err(error))) => {
                        report.rows += 1;
                        report.failed += 1;
                        told(RowError::new(line, &error))?;
                    }
                    None => break,
                }
            }
            if batch.is_empty() {
                return Ok(report);
            }
            for ((line, _), decision) in batch.iter().zip(self.take(caller, &batch, dry_run).await?)
            {
                report.rows += 1;
                match decision {
                    Decision::Import => report.imported += 1,
                    Decision::Leave => report.unchanged += 1,
                    Decision::Refuse => {
                        report.failed += 1;
                        told(RowError::new(*line, &rules::taken()))?;
                    }
                }
            }
            batch.clear();
            gone_on(&report);
        }
    }

    async fn take(
        &self,
        caller: &Caller,
        batch: &[(u64, Row)],
        dry_run: bool,
    ) -> Result<Vec<Decision>> {
        if dry_run {
            let found = together(batch.iter().map(|(_, row)| store::find(&self.db, row))).await?;
            return Ok(decide_all(batch, found));
        }
        let mut tries = 1;
        loop {
            let taken = self
                .db
                .run("user.import", |tx| async move { take_in(&tx, caller, batch).await })
                .await;
            match taken {
                Err(error) if error.code() == "changed_meanwhile" && tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }
}

async fn take_in(tx: &Tx, caller: &Caller, batch: &[(u64, Row)]) -> Result<Vec<Decision>> {
    let found = together(batch.iter().map(|(_, row)| store::find(tx, row))).await?;
    let decisions = decide_all(batch, found);
    let fresh = batch.iter().zip(&decisions).filter(|(_, what)| **what == Decision::Import);
    together(fresh.map(|((_, row), _)| insert(tx, caller, row))).await?;
    Ok(decisions)
}

/// What becomes of each row, those before it in the batch counted as done.
fn decide_all(batch: &[(u64, Row)], found: Vec<Found>) -> Vec<Decision> {
    let mut emails: HashMap<&str, Option<String>> = HashMap::new();
    let mut external_ids: HashSet<&str> = HashSet::new();
    batch
        .iter()
        .zip(found)
        .map(|((_, row), mut found)| {
            if let Some(external_id) = emails.get(row.email.as_str()) {
                found.by_email = Some(Holder::Imported { external_id: external_id.clone() });
            }
            let external_id = row.external_id.as_deref();
            found.by_external_id |= external_id.is_some_and(|id| external_ids.contains(id));
            let decision = rules::decide(row, &found);
            if decision == Decision::Import {
                emails.insert(row.email.as_str(), row.external_id.clone());
                external_ids.extend(external_id);
            }
            decision
        })
        .collect()
}

async fn insert(tx: &Tx, caller: &Caller, row: &Row) -> Result<()> {
    let id = tx.world().id::<User>();
    let approved = account::starts_approved(row.role);
    // Somebody registered the address since we looked: the whole batch looks again.
    if !account::store::insert_imported(tx, id, row, approved).await?
        || !store::insert(tx, id, row).await?
    {
        let message = "Somebody registered while the rows were taken in.";
        return Err(Error::conflict("changed_meanwhile", message));
    }
    tx.record(
        Fact::by(caller, "user.imported")
            .on(id)
            .about(id)
            .with("role", row.role)
            .with("approved", approved),
    );
    Ok(())
}
