//! What a path has to say to be measured.

use std::time::Duration;

use crate::bench::Bench;
use crate::fsync::Sandwich;
use crate::histogram::Histogram;
use crate::load::Load;
use crate::{Failure, Result};

/// The two sides of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Ours,
    Reference,
}

impl Side {
    /// The side's own of two.
    pub fn pick<'a, T>(self, ours: &'a mut T, reference: &'a mut T) -> &'a mut T {
        match self {
            Side::Ours => ours,
            Side::Reference => reference,
        }
    }
}

/// Which ratios are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// At least the goal: throughput.
    Higher,
    /// At most the goal: latency, memory, size.
    Lower,
    /// No further from 1 than the goal: two equal sides, which measure the method itself.
    Equal,
}

/// What is measured and what is wanted.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The workload: "session check by cookie, 10 k sessions".
    pub name: &'static str,
    /// What the reference is: "bare-axum, same bytes".
    pub reference: &'static str,
    /// The unit of our side's measure: "req/s".
    pub unit: &'static str,
    /// The unit of the reference's measure, where it is another one.
    pub reference_unit: &'static str,
    pub better: Better,
    /// What should hold at a first release, and what is wanted.
    pub floor: f64,
    pub goal: f64,
    /// Answers wait for the disk: each slice is put between two fsync probes.
    pub durable: bool,
}

/// What one slice of one side brought.
#[derive(Clone)]
pub struct Slice {
    /// The number that is compared, in the unit of its side.
    pub measure: f64,
    pub latency: Histogram,
    /// Above 0.9 the generator was the limit. 0 where there is none.
    pub generator_busy: f64,
}

impl Slice {
    /// A number without latencies.
    pub fn of(measure: f64) -> Slice {
        Slice { measure, latency: Histogram::new(), generator_busy: 0.0 }
    }

    /// A number with the latencies it comes from.
    pub fn with_latency(measure: f64, latency: Histogram) -> Slice {
        Slice { measure, latency, generator_busy: 0.0 }
    }

    /// Answers a second.
    pub fn rate(load: Load) -> Slice {
        Slice { measure: load.rate(), latency: load.latency, generator_busy: load.generator_busy }
    }

    /// The median latency in seconds.
    pub fn median_latency(load: Load) -> Slice {
        let measure = load.latency.quantile(0.5).as_secs_f64();
        Slice { measure, latency: load.latency, generator_busy: load.generator_busy }
    }
}

/// A slice with what happened around it.
#[derive(Clone)]
pub struct Measured {
    pub slice: Slice,
    /// Of durable workloads.
    pub fsync: Option<Sandwich>,
    /// The share of the processor time that the hypervisor took.
    pub steal: f64,
}

/// One slice of each side, made one after the other.
#[derive(Clone)]
pub struct Pair {
    pub ours: Measured,
    pub reference: Measured,
}

impl Pair {
    /// The mean fsync around our slice, in seconds; for the commit model of durable workloads.
    pub fn fsync_seconds(&self) -> Result<f64> {
        let sandwich = self.ours.fsync.as_ref();
        sandwich.map(Sandwich::seconds).ok_or_else(|| Failure::new("the workload is not durable"))
    }
}

/// A number beside the ratio, with limits of its own: memory, fsyncs per thousand answers.
#[derive(Clone, Debug)]
pub struct Gauge {
    pub name: &'static str,
    pub unit: &'static str,
    pub value: f64,
    /// [`Better::Higher`] or [`Better::Lower`].
    pub better: Better,
    pub floor: f64,
    pub goal: f64,
}

/// A workload before it is prepared: what is wanted of it, and how it comes to be.
pub struct Declared {
    pub spec: Spec,
    /// Starts servers, fills databases, connects. Whatever it returns stays warm between slices
    /// and ends when it is dropped.
    pub prepare: fn(&Bench) -> Result<Box<dyn Workload>>,
}

/// Two sides that do the same work, ready to do it.
///
/// After a warm-up of both sides the runner calls `slice` in the order A B B A, and `check` at
/// the end.
pub trait Workload {
    /// Works for about `length` on one side.
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice>;

    /// The ratio of a pair: ours by the reference, unless the reference is a model.
    fn ratio(&self, pair: &Pair) -> Result<f64> {
        Ok(pair.ours.slice.measure / pair.reference.slice.measure)
    }

    /// Proves that the measured work was done (rows there after a kill, sums zero) and adds
    /// what else was to be measured. A run that fails here has no speed.
    fn check(&mut self) -> Result<Vec<Gauge>>;
}
