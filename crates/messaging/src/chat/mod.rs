//! Chat: conversations of a user with a verifier or with support.
//!
//! ```text
//! support    open --assign--> assigned --close--> closed
//!            open --------------------------close--> closed
//! verifier   open --close--> closed
//! ```
//!
//! Invariants:
//! - Only its participants see a conversation, and of support's every admin. To anybody else it is
//!   not there.
//! - A user has at most one conversation with support that is not closed, and one with each
//!   verifier: who opens another one gets the one that there is.
//! - The messages of a conversation are numbered without gaps, in the order of their commits; what
//!   somebody has read is the number of the last one. What one writes oneself is read.
//! - A closed conversation takes no more messages, and is not opened again.
//! - What is written is sealed under the key of whoever wrote it, and is in no fact: facts say that
//!   a message was sent, and its id.
//! - Who is there and who types is so at this moment, and is stored nowhere.

mod http;
mod live;
mod model;
mod presence;
mod rules;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use http::routes;
pub use model::{Conversation, Kind, Message, Part, Participant, Status, View};
pub use service::Service;
