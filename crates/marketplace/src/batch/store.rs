//! All SQL of batches.

use kernel::id::kinds;
use kernel::{Asset, Cursor, Id, Money, Page, PageRequest, Result, Timestamp};
use platform::db::{Bind, DbError, Read, Row as DbRow, Tx, Value};
use platform::params;
use uuid::Uuid;

use super::model::{Batch, Cells, Counts, Defaults, Problem, Row, RowState, State};
use super::receive::Checked;

type BatchId = Id<kinds::Batch>;

const BATCH: &str = "id, organization, name, state, person, api_key, verifier, service, budget, \
                     currency, created_at, ended_at";
const ROW: &str = "place, state, reference, content, verification, price, currency, code, field, \
                   message, retryable";
/// Rows that one statement writes.
const TOGETHER: usize = 100;
const ROW_VALUES: usize = 9;
const REFERENCE_CHARS: usize = 100;

fn parsed<T: std::str::FromStr>(row: &DbRow<'_>) -> Result<T, DbError> {
    let text = row.take::<String>()?;
    text.parse().map_err(|_| DbError::Other(format!("{text:?} is no word of a batch")))
}

fn money(row: &DbRow<'_>) -> Result<Option<Money>, DbError> {
    let (minor, asset) = (row.take::<Option<i64>>()?, row.take::<Option<Asset>>()?);
    Ok(minor.zip(asset).map(|(minor, asset)| Money::new(minor, asset)))
}

fn read(row: &DbRow<'_>) -> Result<Batch, DbError> {
    Ok(Batch {
        id: row.take()?,
        organization: row.take()?,
        name: row.take()?,
        state: parsed(row)?,
        person: row.take()?,
        api_key: row.take()?,
        defaults: Defaults { verifier: row.take()?, service: row.take()? },
        budget: money(row)?,
        created_at: row.take()?,
        ended_at: row.take()?,
    })
}

fn read_row(row: &DbRow<'_>) -> Result<Row, DbError> {
    let (place, state, reference) = (row.take()?, parsed(row)?, row.take()?);
    let content = row.take::<String>()?;
    let cells = if content.is_empty() {
        None
    } else {
        let wrong = |error| DbError::Other(format!("batch_rows.content: {error}"));
        Some(serde_json::from_str::<Cells>(&content).map_err(wrong)?)
    };
    let (verification, price) = (row.take()?, money(row)?);
    let (code, field, message) =
        (row.take::<Option<String>>()?, row.take()?, row.take::<Option<_>>()?);
    let retryable = row.take()?;
    let problem =
        code.map(|code| Problem { code, field, message: message.unwrap_or_default(), retryable });
    Ok(Row { place, state, reference, cells, verification, price, problem })
}

pub(super) async fn insert(tx: &Tx, new: &Batch) -> Result<()> {
    let sql = "INSERT INTO batches (id, organization, name, state, person, api_key, verifier,
                   service, budget, currency, spent, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $11)";
    let (budget, currency) = new.budget.map(|it| (it.minor, it.asset)).unzip();
    let state = new.state.as_str();
    let Defaults { verifier, service } = new.defaults;
    let params = params![
        new.id,
        new.organization,
        new.name,
        state,
        new.person,
        new.api_key,
        verifier,
        service,
        budget,
        currency,
        new.created_at
    ];
    tx.execute(sql, params).await?;
    Ok(())
}

pub(super) async fn get(db: &impl Read, id: BatchId) -> Result<Option<Batch>> {
    let sql = format!("SELECT {BATCH} FROM batches WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

pub(super) async fn list(
    db: &impl Read,
    of: Id<kinds::User>,
    page: &PageRequest,
) -> Result<Page<Batch>> {
    let sql = format!(
        "SELECT {BATCH} FROM batches WHERE organization = $1 AND id < $2
         ORDER BY id DESC LIMIT $3 OFFSET $4"
    );
    let after = page.after_id();
    let rows = db.all(&sql, params![of, after, page.fetch(), page.offset], read).await?;
    Ok(page.page(rows, |one| Cursor::by_id(one.id)))
}

/// Moves a batch on from the state that was decided on; `false` where it is no longer in it.
pub(super) async fn set_state(tx: &Tx, id: BatchId, from: State, to: State) -> Result<bool> {
    let sql = "UPDATE batches SET state = $3, ended_at = $4 WHERE id = $1 AND state = $2";
    let ended = (!matches!(to, State::Receiving | State::Running)).then(|| tx.now());
    Ok(tx.touch(sql, params![id, from.as_str(), to.as_str(), ended]).await?)
}

/// Sets what may be spent from now on, what has been spent included; `false` where that is more.
pub(super) async fn set_budget(tx: &Tx, id: BatchId, budget: i64) -> Result<bool> {
    let sql = "UPDATE batches SET budget = $2
               WHERE id = $1 AND currency IS NOT NULL AND spent <= $2";
    Ok(tx.touch(sql, params![id, budget]).await?)
}

/// Takes a price out of a batch's budget; `false` where it does not fit.
pub(super) async fn spend(tx: &Tx, id: BatchId, price: Money) -> Result<bool> {
    let sql = "UPDATE batches SET spent = spent + $2
               WHERE id = $1 AND currency = $3 AND spent + $2 <= budget";
    Ok(tx.touch(sql, params![id, price.minor, price.asset]).await?)
}

/// Writes rows as they have come in: queued, or failed before anything was done.
pub(super) async fn insert_rows(tx: &Tx, batch: BatchId, rows: &[Checked]) -> Result<()> {
    for rows in rows.chunks(TOGETHER) {
        let contents: Vec<String> = rows
            .iter()
            .map(|row| row.cells.as_ref().map(serde_json::to_string).transpose())
            .map(|content| content.map(Option::unwrap_or_default))
            .collect::<Result<_, _>>()
            .map_err(|error| DbError::Other(format!("a row cannot be written: {error}")))?;
        let references: Vec<String> = rows.iter().map(reference).collect();
        let mut params: Vec<Value<'_>> = Vec::with_capacity(rows.len() * ROW_VALUES);
        for ((row, content), reference) in rows.iter().zip(&contents).zip(&references) {
            let problem = row.problem.as_ref();
            let state = if problem.is_some() { RowState::Failed } else { RowState::Queued };
            params.extend([
                batch.bind(),
                Value::Int(row.place),
                Value::Text(state.as_str()),
                Value::Text(reference),
                Value::Text(content),
                problem.map_or(Value::Null, |it| Value::Text(&it.code)),
                problem.and_then(|it| it.field.as_deref()).map_or(Value::Null, Value::Text),
                problem.map_or(Value::Null, |it| Value::Text(&it.message)),
                Value::Bool(problem.is_some_and(|it| it.retryable)),
            ]);
        }
        let marks = (0..rows.len()).map(|row| {
            let marks = (1..=ROW_VALUES).map(|value| format!("${}", row * ROW_VALUES + value));
            format!("({})", marks.collect::<Vec<_>>().join(", "))
        });
        let sql = format!(
            "INSERT INTO batch_rows
                 (batch, place, state, reference, content, code, field, message, retryable)
             VALUES {}",
            marks.collect::<Vec<_>>().join(", ")
        );
        tx.execute(&sql, &params).await?;
    }
    Ok(())
}

/// What a row is known by, also where it is no good: one short line.
fn reference(row: &Checked) -> String {
    let text = row.cells.as_ref().map_or("", Cells::reference);
    text.chars().filter(|c| !c.is_control()).take(REFERENCE_CHARS).collect()
}

/// Rows that wait, in their order.
pub(super) async fn queued(db: &impl Read, batch: BatchId, limit: i64) -> Result<Vec<Row>> {
    let sql = format!(
        "SELECT {ROW} FROM batch_rows WHERE batch = $1 AND state = 'queued'
         ORDER BY place LIMIT $2"
    );
    Ok(db.all(&sql, params![batch, limit], read_row).await?)
}

pub(super) async fn rows(
    db: &impl Read,
    batch: BatchId,
    state: Option<RowState>,
    page: &PageRequest,
) -> Result<Page<Row>> {
    let after = page.after.map_or(0, |cursor| cursor.key);
    let rows = match state {
        Some(state) => {
            let sql = format!(
                "SELECT {ROW} FROM batch_rows WHERE batch = $1 AND state = $2 AND place > $3
                 ORDER BY place LIMIT $4 OFFSET $5"
            );
            let (fetch, state) = (page.fetch(), state.as_str());
            db.all(&sql, params![batch, state, after, fetch, page.offset], read_row).await?
        }
        None => {
            let sql = format!(
                "SELECT {ROW} FROM batch_rows WHERE batch = $1 AND place > $2
                 ORDER BY place LIMIT $3 OFFSET $4"
            );
            db.all(&sql, params![batch, after, page.fetch(), page.offset], read_row).await?
        }
    };
    Ok(page.page(rows, |row| Cursor { key: row.place, id: Uuid::nil() }))
}

/// Ends a row that waits; `false` where somebody else has.
pub(super) async fn done(
    tx: &Tx,
    (batch, place): (BatchId, i64),
    verification: Id<kinds::Verification>,
    price: Money,
) -> Result<bool> {
    let sql = "UPDATE batch_rows SET state = 'done', content = '', verification = $3, price = $4,
                   currency = $5, code = NULL, field = NULL, message = NULL, retryable = FALSE
               WHERE batch = $1 AND place = $2 AND state = 'queued'";
    Ok(tx.touch(sql, params![batch, place, verification, price.minor, price.asset]).await?)
}

/// As [`done`], of a row that cannot be.
pub(super) async fn failed(tx: &Tx, (batch, place): (BatchId, i64), why: &Problem) -> Result<bool> {
    let sql = "UPDATE batch_rows SET state = 'failed', code = $3, field = $4, message = $5,
                   retryable = $6
               WHERE batch = $1 AND place = $2 AND state = 'queued'";
    let Problem { code, field, message, retryable } = why;
    Ok(tx.touch(sql, params![batch, place, code, field, message, retryable]).await?)
}

/// Queues failed rows anew where that can help; answers how many.
pub(super) async fn requeue(tx: &Tx, batch: BatchId) -> Result<u64> {
    let sql = "UPDATE batch_rows SET state = 'queued', code = NULL, field = NULL, message = NULL,
                   retryable = FALSE
               WHERE batch = $1 AND state = 'failed' AND retryable";
    Ok(tx.execute(sql, params![batch]).await?)
}

/// Calls off what waits; answers how many.
pub(super) async fn call_off(tx: &Tx, batch: BatchId) -> Result<u64> {
    let sql = "UPDATE batch_rows SET state = 'cancelled' WHERE batch = $1 AND state = 'queued'";
    Ok(tx.execute(sql, params![batch]).await?)
}

pub(super) async fn counts(db: &impl Read, batch: BatchId) -> Result<Counts> {
    let sql = "SELECT state, CAST(COUNT(*) AS BIGINT) FROM batch_rows
               WHERE batch = $1 GROUP BY state";
    let read = |row: &DbRow<'_>| Ok((parsed::<RowState>(row)?, row.take::<i64>()?));
    let mut counts = Counts::default();
    for (state, count) in db.all(sql, params![batch], read).await? {
        *counts.of(state) = count;
    }
    Ok(counts)
}

pub(super) async fn spent(db: &impl Read, batch: BatchId) -> Result<Vec<Money>> {
    let sql = "SELECT CAST(SUM(price) AS BIGINT), currency FROM batch_rows
               WHERE batch = $1 AND state = 'done' GROUP BY currency ORDER BY currency";
    let read = |row: &DbRow<'_>| Ok(Money::new(row.take()?, row.take()?));
    Ok(db.all(sql, params![batch], read).await?)
}

/// Tables that have stopped coming in.
pub(super) async fn stalled(db: &impl Read, before: Timestamp) -> Result<Vec<BatchId>> {
    let sql = "SELECT id FROM batches WHERE state = 'receiving' AND created_at <= $1
               ORDER BY created_at LIMIT 100";
    Ok(db.all(sql, params![before], |row| row.take()).await?)
}

/// Batches that run, in the order of their ids.
pub(super) async fn running(db: &impl Read, behind: BatchId, limit: i64) -> Result<Vec<BatchId>> {
    let sql = "SELECT id FROM batches WHERE state = 'running' AND id > $1 ORDER BY id LIMIT $2";
    Ok(db.all(sql, params![behind, limit], |row| row.take()).await?)
}

/// The place of the first row that a batch has.
pub(super) async fn first_row(db: &impl Read, batch: BatchId) -> Result<Option<i64>> {
    let sql = "SELECT place FROM batch_rows WHERE batch = $1 ORDER BY place LIMIT 1";
    Ok(db.maybe(sql, params![batch], |row| row.take()).await?)
}

/// Deletes the rows of a batch behind a place and up to another: each a stretch of the primary key,
/// so that what was deleted before is not walked through again.
pub(super) async fn delete_rows(
    tx: &Tx,
    batch: BatchId,
    (behind, up_to): (i64, i64),
) -> Result<u64> {
    let sql = "DELETE FROM batch_rows WHERE batch = $1 AND place > $2 AND place <= $3";
    Ok(tx.execute(sql, params![batch, behind, up_to]).await?)
}
