//! The services that other contexts and other processes reach through ports, and gRPC.
//!
//! A port is a trait of plain structs with two ends. In one process the context that owns the
//! nouns implements it; between processes the gRPC client implements the same trait by calling
//! out, and the gRPC server puts any implementation on the wire. Whoever calls holds an
//! `Arc<dyn ..>` and cannot tell which end it is; `verza`'s wiring picks.
//!
//! Errors are [`kernel::Error`] on both ends: one table, in [`status`], turns its kinds into gRPC
//! codes and back, with code, message, fields and `retry_after` as details.
//!
//! | module | what it is |
//! |---|---|
//! | [`users`] | the port of the user service, with both ends |
//! | [`orders`] | the port of the order service, with both ends |
//! | [`routes`] | requests of clients, handed to the process that owns their route |
//! | [`peer`] | a connection to another process of the platform |
//! | [`threel1`] | the gateway system's user service, as port and on gRPC, and its order service |
//! | [`streamfair`] | Streamfair's five services (package `pb`), as ports, on gRPC and as JSON |
//! | [`status`] | errors on the wire |
//! | [`server`] | the listener: who may call, limits, health, reflection |
//! | [`client`] | calling any RPC by its name, with JSON |
//!
//! prost and tonic are named in this crate only.

pub mod client;
pub mod orders;
pub mod peer;
pub mod routes;
pub mod server;
pub mod status;
pub mod streamfair;
pub mod threel1;
pub mod users;

mod deadline;
mod json;
mod tls;
mod wire;
