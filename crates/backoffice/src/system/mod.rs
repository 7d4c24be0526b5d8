//! How the platform is: its components, its figures, and what its processes complain of.
//!
//! - [`health`](Service::health) asks each component when somebody wants to know; nothing is
//!   remembered. CPU, memory and uptime are those of the process that answers: where there are
//!   several, ask each on its internal listener, or watch the metrics.
//! - [`figures`](Service::figures) are the metrics of the process that answers, as numbers.
//! - Warnings and errors of every process are written into one table ([`Inbox`]): scrubbed of what
//!   looks like a secret, a bounded number of them, for a bounded time. The log on standard error
//!   stays the whole truth: what is written down here is lost with a database that is away, and
//!   counted (`log_lines_lost_total`).

mod http;
mod inbox;
mod machine;
mod model;
mod rules;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use http::routes;
pub use inbox::Inbox;
pub use model::{Component, Level, Line, LogFilter, NewLine, State};
pub use service::{Metrics, Probe, Service, Sources};
