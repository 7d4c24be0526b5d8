//! What the operating system says of this process and this machine. Where it says nothing (there is
//! no `/proc`), nothing is shown.

use kernel::Timestamp;
use parking_lot::Mutex;

/// What `/proc/self/stat` counts in: a hundredth of a second on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processor time that this process has used, looked at now and then.
#[derive(Debug, Default)]
pub(super) struct Processor(Mutex<Option<(Timestamp, f64)>>);

impl Processor {
    /// How many processors it has kept busy since the last look, or since it began.
    pub(super) fn busy(&self, now: Timestamp, began: Timestamp) -> Option<f64> {
        let used = processor_seconds()?;
        let (since, before) = self.0.lock().replace((now, used)).unwrap_or((began, 0.0));
        let passed = now.since(since).as_secs_f64();
        (passed > 0.0).then(|| ((used - before) / passed).max(0.0))
    }
}

pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in brackets, may hold anything.
    let after = stat.rsplit_once(')')?.1;
    let mut fields = after.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// What this process occupies.
    pub(super) resident: f64,
    pub(super) total: f64,
    /// What could be given out without swapping.
    pub(super) available: f64,
}

pub(super) fn memory() -> Option<Memory> {
    let own = std::fs::read_to_string("/proc/self/status").ok()?;
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some(Memory {
        resident: kib(&own, "VmRSS:")?,
        total: kib(&machine, "MemTotal:")?,
        available: kib(&machine, "MemAvailable:")?,
    })
}

fn kib(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(kib * 1024.0)
}
