//! The APIs of two older systems below `/api/users`, with their addresses, shapes and names, over
//! the same accounts and sessions as everything else. Nothing is decided here that is not decided
//! for `/v1`: what they promise and we do not, such as choosing to be an admin, they do not get.
//!
//! | | the order API | the file API |
//! |---|---|---|
//! | registers at | `POST /api/users/reg` | `POST /api/users/register` |
//! | signs in at | `POST /api/users/log`, with name, address and password | `POST /api/users/login` |
//! | then shows | a JWT, and the cookie `session_key` | a JWT that lives for a day |
//! | who am I | `POST /api/users/ext` | `GET /api/users/me` |
//! | errors | plain text | `{"error": text}` |
//!
//! - The order API is served on gRPC as well, through [`rpc::threel1::Users`].
//! - Ids are bare UUIDs.
//! - Both promise to be signed in right after registering. [`Registration::Immediate`] keeps that
//!   promise with a session that says its address is not proved: it is served by the routes of
//!   these APIs and by those that look after the session itself, and refused by all others. When
//!   somebody registers the address at `/v1/auth/register`, or proves it, such a session ends.
//! - The order API's roles `dev` and `guest` are users with a tag of that name.

pub mod http;
mod model;
mod port;
mod service;

pub use model::{Policy, Registration};
pub use service::Service;

#[cfg(test)]
mod tests;
