//! A compliance report says what has happened for an organization in a period: what came of its
//! verifications, who looked at what is its own, which keys were made and revoked, who joined and
//! left, and for how long records are kept.
//!
//! It is nothing but the trail, counted: every figure is the number of lines that
//! `GET /v1/enterprise/audit-logs` shows for that action between the report's two times.

pub mod http;
mod model;
mod service;
#[cfg(test)]
mod tests;

pub use service::Service;
