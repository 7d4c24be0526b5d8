//! Ratios that survive a noisy machine.
//!
//! A throughput says more about the machine than about the program, so nothing here is reported
//! alone. Each path is measured next to its physical limit (a bare server, a bare SQLite, a bare
//! hash) in the same run: short slices alternate A B B A, each pair gives one ratio, and the
//! median ratio with its bootstrap interval is held against a floor and a goal. Pairs the
//! hypervisor or the disk spoilt are discarded by rules fixed before the numbers were seen.
//!
//! The generator is the same for both sides and runs on a core of its own. Verza is a child
//! process spoken to over HTTP: it is measured as its users meet it.
//!
//! Where to look: [`workload`] is what a new path implements, [`paths`] the list it is entered
//! in, [`verza`] what they share, [`runner`] the method, [`bare`] the limits, [`load`] and
//! [`client`] the generator.

pub mod bare;
pub mod bench;
pub mod cli;
pub mod client;
pub mod failure;
pub mod fsync;
pub mod histogram;
pub mod load;
pub mod machine;
pub mod paths;
pub mod process;
pub mod random;
pub mod report;
pub mod runner;
pub mod stats;
pub mod verza;
pub mod workload;

pub use bench::{Bench, Plan};
pub use client::Template;
pub use failure::{Context, Failure, Result};
pub use load::{Always, Driven, Expect, Generator, Load, Script, Varying};
pub use process::{Server, VerzaOptions, free_address};
pub use workload::{Better, Declared, Gauge, Pair, Side, Slice, Spec, Workload};
