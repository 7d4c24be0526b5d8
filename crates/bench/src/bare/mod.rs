//! The physical limits: the least that has to be done for each kind of work, and nothing else.

pub mod hash;
pub mod http;
pub mod postgres;
pub mod rows;
pub mod sqlite;
pub mod upload;

use std::future::Future;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::runtime::Runtime;

use crate::histogram::Histogram;
use crate::{Failure, Result};

/// What a stretch of bare work brought.
#[derive(Clone)]
pub struct Work {
    pub units: u64,
    pub seconds: f64,
    /// Of each unit.
    pub latency: Histogram,
}

impl Work {
    pub fn rate(&self) -> f64 {
        self.units as f64 / self.seconds
    }
}

/// How often in a second all lanes together do their work, each again and again for `length`.
pub fn rate<W, F>(
    runtime: &Runtime,
    length: Duration,
    lanes: impl IntoIterator<Item = W>,
) -> Result<f64>
where
    W: Fn() -> F,
    F: Future<Output = Result<()>>,
{
    let begun = Instant::now();
    let working = lanes.into_iter().map(|work| async move {
        let mut done = 0_u32;
        while begun.elapsed() < length {
            work().await?;
            done += 1;
        }
        Ok::<_, Failure>(done)
    });
    let mut all = 0;
    for done in runtime.block_on(join_all(working)) {
        all += done?;
    }
    Ok(f64::from(all) / begun.elapsed().as_secs_f64())
}

/// Works on `threads` threads for `length`. Each asks `make` for its work, and when all have
/// theirs, repeats it.
fn crowd<W: FnMut() -> Result<()>>(
    threads: usize,
    length: Duration,
    make: impl Fn(usize) -> Result<W> + Sync,
) -> Result<Work> {
    let barrier = Barrier::new(threads);
    let run = |number| {
        let work = make(number);
        // Reached even by those whose preparation failed: the others wait for all.
        barrier.wait();
        repeat(work?, length)
    };
    let results: Vec<Result<Work>> = thread::scope(|scope| {
        let run = &run;
        let running: Vec<_> = (0..threads).map(|number| scope.spawn(move || run(number))).collect();
        let crashed = || Err(Failure::new("a bare worker panicked"));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| crashed())).collect()
    });
    let mut total = Work { units: 0, seconds: 0.0, latency: Histogram::new() };
    for result in results {
        let part = result?;
        total.units += part.units;
        total.seconds = total.seconds.max(part.seconds);
        total.latency.merge(&part.latency);
    }
    Ok(total)
}

fn repeat(mut work: impl FnMut() -> Result<()>, length: Duration) -> Result<Work> {
    let mut latency = Histogram::new();
    let begun = Instant::now();
    let mut last = begun;
    while last - begun < length {
        work()?;
        let now = Instant::now();
        latency.record(now - last);
        last = now;
    }
    Ok(Work { units: latency.total(), seconds: (last - begun).as_secs_f64(), latency })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_counts_everybodys_work() {
        let nap = Duration::from_millis(10);
        let make = |_| {
            Ok(move || {
                thread::sleep(nap);
                Ok(())
            })
        };
        let work = crowd(4, Duration::from_millis(50), make).unwrap();
        assert!(work.units >= 4 && work.units == work.latency.total());
        assert!(work.latency.quantile(0.0) >= nap * 9 / 10);
    }

    #[test]
    fn one_failure_fails_the_crowd_without_hanging_it() {
        let make = |number| {
            if number == 1 {
                return Err(Failure::new("no"));
            }
            Ok(|| Ok(()))
        };
        assert!(crowd(3, Duration::from_millis(1), make).is_err());
    }
}
