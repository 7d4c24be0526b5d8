//! Requests to export or erase what is held of somebody.
//!
//! ```text
//! pending --approve--> approved (export: may be fetched for a week)
//!    |                 done     (erasure: the account is closed)
//!    \----reject-----> rejected
//! ```
//!
//! - People do both by themselves, at once ([`crate::closing`]); what they do stands here as done,
//!   so that an auditor finds all requests in one place.
//! - Who cannot sign in asks an admin, who begins a request in their place. **Another** admin
//!   approves it: nobody alone takes or erases what is somebody else's.
//! - An approved erasure closes the account in the same transaction, with the same refusals as
//!   when its owner closes it; what is held goes after the same grace.
//! - Whom it is about finds the request, its decision and each fetching of an export in their trail.

mod http;
mod model;
mod service;
pub(crate) mod store;
#[cfg(test)]
mod tests;

pub use http::routes;
pub use model::{Asked, Kind, Request, State};
pub use service::Service;
