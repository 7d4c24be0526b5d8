//! The whole system, as the executable starts it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test that cannot go on fails, and its modules are all there is"
)]
#![allow(clippy::large_futures, reason = "starting a platform moves its whole configuration, once")]

mod acme;
mod apart;
mod bad_input;
mod batches;
mod casefile;
mod cli;
mod collector;
mod custody;
mod describe;
mod dice;
mod faces;
mod fleet;
mod forgotten;
mod fuzz;
mod grpc;
mod house;
mod kill;
mod letters;
mod live;
mod makers;
mod matrix;
mod observed;
mod orders;
mod privacy;
mod processes;
mod relocate;
mod replicas;
mod routes;
mod secrets;
mod stop;
mod story;
mod strangers;
mod town;
mod wallet;
mod wire;
mod world;
