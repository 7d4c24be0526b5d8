//! Integrations: channels of chats that are told of what happens, in words.
//!
//! A channel is an endpoint of [`crate::webhook`] with another body, under its provider's name, one of
//! each: retries, deliveries, tests and recovery are those of webhooks. Its address, by which anybody
//! could write there, is sealed and shown nowhere: a list has its host.

mod http;

pub use http::routes;
