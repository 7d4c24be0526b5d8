//! Tickets: what opens a stream where a browser can set no header.
//!
//! An access token in an address ends up in the logs of every proxy on the way. A ticket may: it is
//! used once, within thirty seconds of being given out, and only its hash is stored, in the store
//! that all processes share. It stands for the session that asked for it, which must still live
//! when it is used.

mod http;
mod jobs;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use http::routes;
pub(crate) use jobs::register;
pub use service::Service;
