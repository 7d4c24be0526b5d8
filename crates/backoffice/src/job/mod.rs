//! The background jobs, as admins see them: what waits, what failed, what was given up.
//!
//! What a job carries is not shown: it is for the worker, and may hold an address. Its last error
//! is scrubbed of what looks like a secret.

mod http;
mod service;
#[cfg(test)]
mod tests;

pub use http::routes;
pub use service::Service;
