//! Notifications: short words to one user about a fact that concerns them.
//!
//! Nobody writes one by hand. The [`Notifier`] follows the journal, and one table (`rules`) says
//! which facts are worth a word, to whom, and which words. A user is told of a fact once, however
//! often it is read. A notification is unread, then read; it never becomes unread again.

mod http;
mod model;
mod reader;
mod rules;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use http::routes;
pub use model::{Kind, Notification};
pub use reader::Notifier;
pub use service::Service;
pub(crate) use store::{head, of_user_between, since};
