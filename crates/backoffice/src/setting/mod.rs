//! What admins change while the platform runs.
//!
//! - A setting is declared once, where the platform is put together: its key, its type with bounds,
//!   its default (what the configuration says) and the [`platform::live::Live`] value that code
//!   reads. There is no setting that nobody reads.
//! - Only what differs from its default is stored. A value that no longer fits its declaration
//!   (bounds have become narrower) is as good as none.
//! - All settings together have one version, counted without gaps. A change names the version that
//!   it was made for, so of two admins at once one is refused; it is one row of
//!   `setting_changes`, which is never changed, and one fact.
//! - A change is in effect here before it is answered, and everywhere within a second: by a notice
//!   of the [`platform::fleet`], and by looking again every half minute whatever was heard.
//!
//! `docs/decisions/0120` says why these settings and not others.

mod http;
mod model;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use http::{public_routes, routes};
pub use model::{Changes, Public, Schema, Setting};
pub use service::{Listed, Service, Shown};
