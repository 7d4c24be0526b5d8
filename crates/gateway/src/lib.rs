//! The HTTP edge: everything between a socket and a handler.
//!
//! A request passes, in this order: request id, cross-origin rules, rate limit by address,
//! authentication, audience, idempotency key, body limit and time limit, handler. Its answer passes back
//! through one place that renders errors in the route's shape, sets the security headers, counts
//! and logs. All of it is driven by the route's row.

mod acme;
mod address;
mod cors;
mod docs;
mod edge;
mod guard;
#[cfg(test)]
mod guard_tests;
pub mod health;
mod idempotency;
mod ops;
mod profile;
pub mod remote;
mod router;
mod server;
pub mod streamfair;
mod tls;

pub use acme::{Acme, AcmeOptions};
pub use address::{ForwardedHeader, TrustedProxies};
pub use cors::Origins;
pub use docs::{docs_routes, document_of};
pub use edge::{Edge, EdgeOptions, Tickets};
pub use health::{Health, Readiness};
pub use ops::{Gauges, Ops, ops_router};
pub use router::{list_routes, router};
pub use server::{Https, ServerOptions, listen, serve};
pub use tls::{CertificateFiles, Tls, redirect_router};
