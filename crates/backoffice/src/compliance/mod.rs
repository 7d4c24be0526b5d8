//! Reports for auditors: the controls of a framework, and how often the trail shows each at work.
//!
//! - A report counts facts of the journal in a period and says nothing else. It is evidence that a
//!   control was exercised, and neither an opinion nor a certificate.
//! - The journal only grows, so a report about a period that is over is the same whenever it is
//!   made: its digest can be compared. What was counted can be listed: the same verbs and period at
//!   `GET /v1/admin/audit-logs`, and proved with the transparency log.

mod http;
mod model;
mod rules;
mod service;
#[cfg(test)]
mod tests;

pub use http::routes;
pub use model::{Framework, Period};
pub use service::{Report, Service};
