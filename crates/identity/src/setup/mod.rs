//! The one-time link that makes an admin.
//!
//! There is no default account and no default password. Whoever runs the platform asks it, on
//! its own machine, for a link (at the first start it is printed); opening the link within the
//! hour makes one admin, whose address needs no further proof. A link works once, and
//! one that an admin has made for as long as they are one. Only its hash is stored.

pub mod http;
mod jobs;
mod service;
mod store;

pub use service::{Service, SetupLink};

pub(crate) use jobs::register as register_jobs;

#[cfg(test)]
mod tests;
