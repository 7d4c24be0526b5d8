//! Streams: what happens, told to whom it concerns while it happens.
//!
//! One cursor for all of them: a fact's place in the journal. A stream begins behind the cursor
//! that its client names (`Last-Event-ID`, or `?after=`), or now; it tells everything behind it
//! once and in order. That holds by construction:
//!
//! 1. A stream first takes its seat in the [`Hub`], and then asks how far the journal is. From its
//!    seat on it is handed everything that comes later, and what lies between the client's cursor
//!    and there it reads from the store. What it finds in both places it knows by its place.
//! 2. One task a process ([`Hub::run`]) follows the journal, while anybody listens, and hands facts
//!    to the seats of those whom they concern. It never moves past what a seat has yet to be
//!    handed.
//!
//! Invariants:
//! - A stream tells a user the facts in which they are the actor or a party, without the origin of
//!   the request, and nothing else.
//! - It lives no longer than its session. Whoever tells that a session or account has changed rings
//!   its seats, and each then asks the store; besides that, each asks now and then.
//! - What waits for a slow reader is bounded. Beyond that the stream ends, and says that it is to
//!   be resumed.
//! - Every stream that ends on our side says why: see [`End`].
//!
//! | file | holds |
//! |---|---|
//! | `model` | what is told, and why a stream ends |
//! | `hub` | the seats of this process, and who is rung |
//! | `tail` | following the journal |
//! | `feed` | one stream, step by step |
//! | `sse` | a feed as server-sent events |
//! | `http` | `GET /v1/events` |

mod feed;
mod http;
mod hub;
mod model;
mod sse;
mod tail;
#[cfg(test)]
mod tests;

pub use feed::{Feed, Step};
pub use http::routes;
pub(crate) use http::{Cursors, polled};
pub use hub::{Hub, Policy};
pub use model::{End, Signal, Thing, Topic};
pub(crate) use sse::{is_wanted, respond};
