//! A batch is many commissions that an organization asks for in one request: a table, row by row.
//!
//! ```text
//! receiving --all has come in--> running --no row waits--> completed
//!     +--broke off--> broken        +--cancel--> cancelled
//!
//! completed --retry--> running
//!
//! rows: queued --> done | failed | cancelled;  failed --retry--> queued, where that can help
//! ```
//!
//! Invariants:
//! - A table is read as it comes: memory does not grow with it, but for 16 bytes a row by which
//!   duplicates are known. One in XLSX is kept packed until it has come in, and has its bounds.
//! - Each row has an outcome of its own, with a code and a reason. A bad row keeps no good one from
//!   being done.
//! - A row is done once: its verification, its hold and its new state are one transaction, whose
//!   update of the row is conditional, and an index refuses a second verification for a row. Workers
//!   may die at any point, and two may work on the same batch.
//! - With a budget, the sum of what is held for the batch's rows is never above it.
//! - What cannot be read as a table at all leaves nothing.
//! - What leaves as CSV begins no cell with what a spreadsheet would compute.

mod archive;
pub mod csv;
pub mod http;
pub mod jobs;
mod json;
pub mod model;
mod receive;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
mod xlsx;

pub use model::{Batch, Row, State};
pub use service::Service;
