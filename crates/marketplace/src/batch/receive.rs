//! Receiving: a table becomes rows while it comes in.

use std::collections::HashMap;

use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::StreamExt;
use kernel::id::kinds;
use kernel::{Error, Id, Kind, Money, Result};
use platform::crypto::sha256;
use platform::db::Tx;
use sha2::{Digest, Sha256};

use super::model::{BODY_BYTES_MAX, Cells, Defaults, Estimate, Format, Problem, ROWS_MAX};
use super::service::Service;
use super::{csv, json, store, xlsx};
use crate::commission::model::{Document, NewCommission, To};

/// Rows that are looked at, and written down, together; of a workbook those of one step.
const TOGETHER: usize = 500;
/// Prices that are remembered while a table comes in.
const PRICES_MAX: usize = 1000;

/// A row as it was read: its cells, or why they could not be.
pub(super) struct Line {
    pub(super) place: i64,
    pub(super) cells: Result<Cells, Problem>,
}

/// A row that has been looked at, about to be written down.
pub(super) struct Checked {
    pub(super) place: i64,
    pub(super) cells: Option<Cells>,
    pub(super) problem: Option<Problem>,
}

/// A table on its way in. What has come in is known by its hash, and not kept.
pub(super) struct Incoming {
    body: BodyDataStream,
    length: usize,
    hash: Sha256,
}

impl Incoming {
    pub(super) fn new(body: Body) -> Self {
        Self { body: body.into_data_stream(), length: 0, hash: Sha256::new() }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        let chunk = self.body.next().await.transpose().map_err(|error| {
            let message = "The table did not arrive whole.";
            Error::invalid("broken_body", message).because(error)
        })?;
        if let Some(chunk) = &chunk {
            self.length += chunk.len();
            if self.length > BODY_BYTES_MAX {
                let message = format!("A table has at most {BODY_BYTES_MAX} bytes.");
                return Err(Error::invalid("payload_too_large", message));
            }
            self.hash.update(chunk);
        }
        Ok(chunk)
    }

    /// The SHA-256 of the whole table, of which the rest is passed over.
    pub(super) async fn sha256(mut self) -> Result<[u8; 32]> {
        while self.next().await?.is_some() {}
        Ok(self.hash.finalize().into())
    }
}

enum Reader {
    Csv(csv::Reader),
    Json(json::Reader),
    Xlsx(xlsx::Reader),
}

impl Reader {
    fn new(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv(csv::Reader::new()),
            Format::Json => Self::Json(json::Reader::new(true)),
            Format::JsonLines => Self::Json(json::Reader::new(false)),
            Format::Xlsx => Self::Xlsx(xlsx::Reader::new()),
        }
    }

    fn push(&mut self, bytes: &[u8], lines: &mut Vec<Line>) -> Result<()> {
        match self {
            Self::Csv(reader) => reader.push(bytes, lines),
            Self::Json(reader) => reader.push(bytes, lines),
            Self::Xlsx(reader) => reader.push(bytes),
        }
    }

    /// All has come in. Adds the rows that are left, or some of them: whether there may be more.
    fn finish(&mut self, lines: &mut Vec<Line>) -> Result<bool> {
        match self {
            Self::Csv(reader) => reader.finish(lines).map(|()| false),
            Self::Json(reader) => reader.finish(lines).map(|()| false),
            Self::Xlsx(reader) => reader.more(lines),
        }
    }
}

/// What is known of a table while it comes in: 16 bytes of each row, and some prices.
#[derive(Default)]
struct Known {
    rows: HashMap<[u8; 16], i64>,
    prices: HashMap<Offer, Priced>,
}

/// Whose service it is, which one, and in which currency.
type Offer = (Id<kinds::Verifier>, Option<Id<kinds::Service>>, String);
type Priced = Result<Money, Problem>;

impl Service {
    /// Reads a table to its end, and writes its rows into a batch, some at a time; into none, to see
    /// what it comes to. What is no table fails as a whole.
    pub(super) async fn read(
        &self,
        owner: Id<kinds::User>,
        (format, defaults): (Format, &Defaults),
        into: Option<Id<kinds::Batch>>,
        table: &mut Incoming,
    ) -> Result<Estimate> {
        let (mut reader, mut known) = (Reader::new(format), Known::default());
        let (mut estimate, mut lines) = (Estimate::default(), Vec::new());
        while let Some(chunk) = table.next().await? {
            // In pieces: a large chunk must not become as many rows at once.
            for piece in chunk.chunks(TOGETHER * 64) {
                reader.push(piece, &mut lines)?;
                if lines.len() >= TOGETHER {
                    let rows =
                        self.look(owner, defaults, &mut lines, &mut known, &mut estimate).await?;
                    self.keep(into, &rows).await?;
                }
            }
        }
        loop {
            let is_more = reader.finish(&mut lines)?;
            let rows = self.look(owner, defaults, &mut lines, &mut known, &mut estimate).await?;
            self.keep(into, &rows).await?;
            if !is_more {
                break;
            }
            // Unpacking is work without a pause.
            tokio::task::yield_now().await;
        }
        if estimate.good + estimate.bad == 0 {
            return Err(Error::invalid("empty_table", "The table has no rows."));
        }
        Ok(estimate)
    }

    async fn look(
        &self,
        owner: Id<kinds::User>,
        defaults: &Defaults,
        lines: &mut Vec<Line>,
        known: &mut Known,
        estimate: &mut Estimate,
    ) -> Result<Vec<Checked>> {
        let mut checked = Vec::with_capacity(lines.len());
        for Line { place, cells } in lines.drain(..) {
            if place > ROWS_MAX {
                let message = format!("A table has at most {ROWS_MAX} rows. Send it in parts.");
                return Err(Error::invalid("too_many_rows", message));
            }
            let price = match &cells {
                Ok(cells) => self.check(owner, place, cells, defaults, known).await?,
                Err(problem) => Err(problem.clone()),
            };
            match &price {
                Ok(price) => estimate.add(*price),
                Err(problem) => estimate.note(place, problem),
            }
            checked.push(Checked { place, cells: cells.ok(), problem: price.err() });
        }
        Ok(checked)
    }

    async fn keep(&self, into: Option<Id<kinds::Batch>>, rows: &[Checked]) -> Result<()> {
        let Some(batch) = into.filter(|_| !rows.is_empty()) else { return Ok(()) };
        let write = |tx: Tx| async move { store::insert_rows(&tx, batch, rows).await };
        self.db.run("batch.receive", write).await
    }

    /// What a row would cost, or what is wrong with it. An error is ours.
    async fn check(
        &self,
        owner: Id<kinds::User>,
        place: i64,
        cells: &Cells,
        defaults: &Defaults,
        known: &mut Known,
    ) -> Result<Priced> {
        if let Some(field) = cells.formula() {
            let message = "begins with =, +, -, @ or a tab: a spreadsheet would compute it";
            let problem = Problem::new("formula", message);
            return Ok(Err(Problem { field: Some(field.to_owned()), ..problem }));
        }
        let asked = match cells.commission(defaults) {
            Ok(asked) => asked,
            Err(problem) => return Ok(Err(problem)),
        };
        let first = *known.rows.entry(fingerprint(cells)).or_insert(place);
        if first != place {
            let message = format!("as row {first}");
            return Ok(Err(Problem::new("duplicate", message)));
        }
        self.price(owner, &asked, cells.kind(), known).await
    }

    async fn price(
        &self,
        owner: Id<kinds::User>,
        asked: &NewCommission,
        kind: &str,
        known: &mut Known,
    ) -> Result<Priced> {
        let kind = match &asked.document {
            Document::New(_) => kind.to_lowercase(),
            Document::Credential(id) => match self.credentials.owned(&self.db, owner, *id).await {
                Ok(credential) => credential.kind.to_lowercase(),
                Err(error) if error.kind() == Kind::NotFound => {
                    let problem = Problem::of(&error);
                    return Ok(Err(Problem { field: Some("credentialId".into()), ..problem }));
                }
                Err(error) => return Err(error),
            },
        };
        let To::Verifier { verifier, service, .. } = asked.to else {
            return Err(Error::internal("a row of a batch stands on no board"));
        };
        let key = (verifier, service, kind);
        if let Some(price) = known.prices.get(&key) {
            return Ok(price.clone());
        }
        let price = match self.offered(&key).await {
            Ok(price) => Ok(price),
            Err(error) if matches!(error.kind(), Kind::Invalid | Kind::Conflict) => {
                Err(Problem::of(&error))
            }
            Err(error) => return Err(error),
        };
        if known.prices.len() >= PRICES_MAX {
            known.prices.clear();
        }
        known.prices.insert(key, price.clone());
        Ok(price)
    }

    /// What it costs to ask a verifier now, who could take it.
    async fn offered(&self, (verifier, service, kind): &Offer) -> Result<Money> {
        let (offer, _) = self.verifiers.choose(&self.db, *verifier, kind, *service).await?;
        self.commissions.verifications.can_be_asked(&self.db, *verifier).await?;
        Ok(offer.price)
    }
}

/// By what a row is known again: its reference, or all of it where it has none.
fn fingerprint(cells: &Cells) -> [u8; 16] {
    let hash = match cells.reference() {
        "" => sha256(cells.0.join("\u{1f}")),
        reference => sha256(format!("reference\u{1f}{reference}")),
    };
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}
