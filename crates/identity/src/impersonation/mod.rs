//! An admin looks at the platform as one of its users, to see what they see.
//!
//! - It is a session of that user, started by the admin with a reason, for fifteen minutes, and
//!   marked as such: in `GET /v1/me`, in the user's list of sessions, in what they are told.
//! - It has an access token only: no cookie, and no refresh token.
//! - Never as another admin: that would be a way to act without leaving one's own name.
//! - Every fact that it causes names the admin as its actor, and concerns the user.
//! - They look and change nothing: everything but a GET the gateway refuses, unless the route's row
//!   says otherwise; see [`platform::http::Route::in_person`].
//! - It ends by time, by the admin, by the user among their sessions, and when the admin stops
//!   being one.

pub mod http;
mod rules;
mod service;
mod store;

pub use rules::{Reason, Refusal};
pub use service::{Service, Started};

#[cfg(test)]
mod tests;
