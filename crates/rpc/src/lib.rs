//! The services that other contexts and other processes reach through ports.
//!
//! A port is a trait of plain structs with two ends. In one process the context that owns the
//! nouns implements it; between processes the gRPC client implements the same trait by calling
//! out, and the gRPC server puts any implementation on the wire. Whoever calls holds an
//! `Arc<dyn ..>` and cannot tell which end it is; `verza`'s wiring picks.
//!
//! Errors are [`kernel::Error`] on both ends: one table turns its kinds into gRPC codes and back,
//! with code, message, fields and `retry_after` as details.

pub mod users;
