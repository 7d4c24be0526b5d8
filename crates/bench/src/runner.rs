//! The method: interleaved slices, discarded disturbances, a median with its interval.

use std::time::Duration;

use crate::bench::Bench;
use crate::fsync::FsyncProbe;
use crate::histogram::Histogram;
use crate::machine::CpuTimes;
use crate::stats::{Interval, bootstrap, median};
use crate::workload::{Better, Declared, Gauge, Measured, Pair, Side, Spec, Workload};
use crate::{Context, Failure, Result};

/// A pair is discarded when the hypervisor took more of either slice than this share.
const MOST_STEAL: f64 = 0.10;
/// A pair is discarded when the reference was further than this from its own median: then the
/// machine was another one. Not used where the disk sets the pace; the fsync probes watch that.
const MOST_DRIFT: f64 = 0.25;

/// What a workload's run came to.
#[derive(Debug)]
pub struct Outcome {
    pub spec: Spec,
    /// `None` when every pair was discarded.
    pub ratio: Option<Interval>,
    pub kept: usize,
    pub wanted: usize,
    pub discarded: Discarded,
    pub ours: Summary,
    pub reference: Summary,
    /// The median fsync rate of a durable workload.
    pub fsync_rate: Option<f64>,
    pub gauges: Vec<Gauge>,
}

/// Why pairs were not used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Discarded {
    pub steal: usize,
    pub fsync: usize,
    pub drift: usize,
}

/// One side over all kept pairs.
#[derive(Debug)]
pub struct Summary {
    pub measure: f64,
    /// `None` where no latencies were recorded.
    pub latency: Option<Latency>,
    pub generator_busy: f64,
}

#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub p50: Duration,
    pub p99: Duration,
}

/// How a number stands to its floor and its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Too much was discarded to say anything.
    Disturbed,
    Below,
    Floor,
    Goal,
}

impl Outcome {
    /// The cautious end of the interval decides.
    pub fn verdict(&self) -> Verdict {
        match self.ratio {
            Some(ratio) if self.kept >= self.wanted => {
                let cautious = match self.spec.better {
                    Better::Higher => ratio.low,
                    Better::Lower => ratio.high,
                    Better::Equal => ratio.median,
                };
                judge(self.spec.better, cautious, self.spec.floor, self.spec.goal)
            }
            _ => Verdict::Disturbed,
        }
    }

    /// Whether the ratio and everything beside it is at its floor or better.
    pub fn passes(&self) -> bool {
        let gauges = self.gauges.iter().map(Gauge::verdict);
        gauges.chain([self.verdict()]).all(|verdict| verdict >= Verdict::Floor)
    }
}

impl Gauge {
    pub fn verdict(&self) -> Verdict {
        judge(self.better, self.value, self.floor, self.goal)
    }
}

fn judge(better: Better, value: f64, floor: f64, goal: f64) -> Verdict {
    let reaches = |limit: f64| match better {
        Better::Higher => value >= limit,
        Better::Lower => value <= limit,
        Better::Equal => (value - 1.0).abs() <= limit,
    };
    if reaches(goal) {
        Verdict::Goal
    } else if reaches(floor) {
        Verdict::Floor
    } else {
        Verdict::Below
    }
}

/// Measures a workload from its preparation to its check.
pub fn measure(declared: &Declared, bench: &Bench) -> Result<Outcome> {
    let spec = declared.spec.clone();
    let mut workload = (declared.prepare)(bench).context("preparing")?;
    let workload = workload.as_mut();
    for side in [Side::Ours, Side::Reference] {
        workload.slice(side, bench.plan.warm_up).context("warming up")?;
    }
    let pairs = measure_pairs(workload, bench, &spec)?;
    let gauges = workload.check().context("the run has no speed, for it was not right")?;
    let (kept, discarded) = sift(&pairs, spec.durable);
    let ratios = kept.iter().map(|pair| ratio(workload, pair)).collect::<Result<Vec<f64>>>()?;
    let rates: Vec<f64> =
        kept.iter().filter_map(|pair| Some(1.0 / pair.ours.fsync?.seconds())).collect();
    Ok(Outcome {
        ratio: bootstrap(&ratios),
        kept: kept.len(),
        wanted: bench.plan.pairs,
        discarded,
        ours: summary(kept.iter().map(|pair| &pair.ours)),
        reference: summary(kept.iter().map(|pair| &pair.reference)),
        fsync_rate: median(&rates),
        gauges,
        spec,
    })
}

fn ratio(workload: &dyn Workload, pair: &Pair) -> Result<f64> {
    let ratio = workload.ratio(pair)?;
    if ratio.is_finite() && ratio > 0.0 {
        return Ok(ratio);
    }
    Err(Failure::new(format!("a ratio of {ratio} means nothing")))
}

/// Pairs in the order A B B A, until enough are good or too many were tried.
fn measure_pairs(workload: &mut dyn Workload, bench: &Bench, spec: &Spec) -> Result<Vec<Pair>> {
    let mut slicer = Slicer { bench, probe: None, last_rate: None };
    if spec.durable {
        slicer.probe = Some(bench.fsync_probe());
    }
    let mut pairs = Vec::new();
    let enough = |pairs: &[Pair]| sift(pairs, spec.durable).0.len() >= bench.plan.pairs;
    while pairs.len() < bench.plan.most_pairs() && !enough(&pairs) {
        let pair = if pairs.len() % 2 == 0 {
            let ours = slicer.measured(workload, Side::Ours)?;
            Pair { ours, reference: slicer.measured(workload, Side::Reference)? }
        } else {
            let reference = slicer.measured(workload, Side::Reference)?;
            Pair { reference, ours: slicer.measured(workload, Side::Ours)? }
        };
        pairs.push(pair);
    }
    Ok(pairs)
}

struct Slicer<'a> {
    bench: &'a Bench,
    probe: Option<FsyncProbe>,
    /// Slices follow each other at once: the probe after one is the probe before the next.
    last_rate: Option<f64>,
}

impl Slicer<'_> {
    fn measured(&mut self, workload: &mut dyn Workload, side: Side) -> Result<Measured> {
        let before = match (self.last_rate, &self.probe) {
            (None, Some(probe)) => Some(probe.rate()?),
            (known, _) => known,
        };
        let earlier = CpuTimes::now()?;
        let slice = workload.slice(side, self.bench.plan.slice)?;
        let steal = CpuTimes::now()?.steal_since(&earlier);
        self.last_rate = self.probe.as_ref().map(FsyncProbe::rate).transpose()?;
        let rates = before.zip(self.last_rate);
        let fsync = rates.map(|(before, after)| crate::fsync::Sandwich { before, after });
        Ok(Measured { slice, fsync, steal })
    }
}

/// The pairs that count, and why the others do not.
fn sift(pairs: &[Pair], durable: bool) -> (Vec<&Pair>, Discarded) {
    let mut discarded = Discarded::default();
    let measures: Vec<f64> = pairs.iter().map(|pair| pair.reference.slice.measure).collect();
    let usual = median(&measures).unwrap_or(0.0);
    let kept = pairs.iter().filter(|pair| {
        let sides = [&pair.ours, &pair.reference];
        let drift = (pair.reference.slice.measure / usual - 1.0).abs();
        if sides.iter().any(|side| side.steal > MOST_STEAL) {
            discarded.steal += 1;
        } else if sides.iter().any(|side| side.fsync.is_some_and(|fsync| !fsync.is_steady())) {
            discarded.fsync += 1;
        } else if !durable && drift > MOST_DRIFT {
            discarded.drift += 1;
        } else {
            return true;
        }
        false
    });
    (kept.collect(), discarded)
}

fn summary<'a>(slices: impl Iterator<Item = &'a Measured>) -> Summary {
    let (mut measures, mut busy, mut all) = (Vec::new(), Vec::new(), Histogram::new());
    for measured in slices {
        measures.push(measured.slice.measure);
        busy.push(measured.slice.generator_busy);
        all.merge(&measured.slice.latency);
    }
    let latency =
        (all.total() > 0).then(|| Latency { p50: all.quantile(0.5), p99: all.quantile(0.99) });
    Summary {
        measure: median(&measures).unwrap_or(f64::NAN),
        latency,
        generator_busy: median(&busy).unwrap_or(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fsync::Sandwich;
    use crate::workload::Slice;

    fn measured(measure: f64) -> Measured {
        Measured { slice: Slice::of(measure), fsync: None, steal: 0.0 }
    }

    fn pair(ours: f64, reference: f64) -> Pair {
        Pair { ours: measured(ours), reference: measured(reference) }
    }

    #[test]
    fn disturbed_pairs_are_discarded_for_their_own_reason() {
        let mut pairs = vec![pair(90.0, 100.0); 6];
        pairs[0].ours.steal = 0.11;
        pairs[1].reference.fsync = Some(Sandwich { before: 100.0, after: 300.0 });
        pairs[2].reference.slice.measure = 126.0;
        let (kept, discarded) = sift(&pairs, false);
        assert_eq!(discarded, Discarded { steal: 1, fsync: 1, drift: 1 });
        assert_eq!(kept.len(), 3);
        assert_eq!(sift(&pairs, true).1, Discarded { steal: 1, fsync: 1, drift: 0 });
    }

    #[test]
    fn limits_count_from_the_side_that_is_wanted() {
        assert_eq!(judge(Better::Higher, 0.95, 0.8, 0.95), Verdict::Goal);
        assert_eq!(judge(Better::Higher, 0.94, 0.8, 0.95), Verdict::Floor);
        assert_eq!(judge(Better::Higher, 0.79, 0.8, 0.95), Verdict::Below);
        assert_eq!(judge(Better::Lower, 1.1, 1.5, 1.1), Verdict::Goal);
        assert_eq!(judge(Better::Lower, 1.6, 1.5, 1.1), Verdict::Below);
        assert_eq!(judge(Better::Equal, 0.96, 0.1, 0.05), Verdict::Goal);
        assert_eq!(judge(Better::Equal, 1.09, 0.1, 0.05), Verdict::Floor);
        assert_eq!(judge(Better::Higher, f64::NAN, 0.8, 0.95), Verdict::Below);
    }

    #[test]
    fn the_cautious_end_of_the_interval_decides_and_few_pairs_decide_nothing() {
        let ratio = Some(Interval { low: 0.94, median: 0.96, high: 0.97 });
        let spec = Spec { floor: 0.8, goal: 0.95, ..crate::paths::bare::HTTP.spec };
        let side = || Summary { measure: 1.0, latency: None, generator_busy: 0.0 };
        let mut outcome = Outcome {
            spec: Spec { better: Better::Higher, ..spec },
            ratio,
            kept: 21,
            wanted: 21,
            discarded: Discarded::default(),
            ours: side(),
            reference: side(),
            fsync_rate: None,
            gauges: Vec::new(),
        };
        assert_eq!(outcome.verdict(), Verdict::Floor);
        assert!(outcome.passes());
        outcome.kept = 20;
        assert_eq!(outcome.verdict(), Verdict::Disturbed);
        assert!(!outcome.passes());
    }
}
