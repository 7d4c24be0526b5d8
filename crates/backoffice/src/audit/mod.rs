//! The audit trail: the journal of facts, as people look into it.
//!
//! There is no table of its own, and nothing here writes: whatever commits a fact has written the
//! trail. A user sees the facts that concern them, an admin sees all. Where a request came from
//! (address, client, request id) is shown to admins and to the one who sent it, and to nobody
//! else. That the trail has not been tampered with, `trust::log` proves.

mod http;
mod model;
mod service;
#[cfg(test)]
mod tests;

pub use http::routes;
pub use model::{Entry, Scope};
pub use service::Service;
