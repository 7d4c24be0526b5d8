//! Profiles of the running process, in the format of `pprof` (github.com/google/pprof,
//! `profile.proto`), as `go tool pprof` and its like read them.
//!
//! - **Processor**: which code ran, sampled by a timer signal for some seconds.
//! - **Memory**: what kind of mapping holds the resident memory, from `/proc/self/smaps`. The
//!   allocator keeps no record of who has asked for what, so this says that the allocator's arenas
//!   hold 40 MiB and not which function has filled them.

use std::collections::HashMap;
use std::time::Duration;

use kernel::{Error, Result};
use prost::Message;

/// Samples a second. Not a round number: what happens regularly is then not missed regularly.
const FREQUENCY: i32 = 99;
const NANOS: i64 = 1_000_000_000;

/// `perftools.profiles.Profile`, as far as it is used here.
#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    /// The innermost first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// Where code stands: function, file, line.
type Place = (String, String, i64);

/// A profile in the making: each text, function and place is written once.
#[derive(Default)]
struct Builder {
    profile: Profile,
    texts: HashMap<String, i64>,
    functions: HashMap<(String, String), u64>,
    locations: HashMap<Place, u64>,
}

impl Builder {
    fn new() -> Self {
        let mut builder = Self::default();
        // The format wants it first.
        builder.text("");
        builder
    }

    fn text(&mut self, text: &str) -> i64 {
        if let Some(index) = self.texts.get(text) {
            return *index;
        }
        let index = self.texts.len() as i64;
        self.texts.insert(text.to_owned(), index);
        self.profile.string_table.push(text.to_owned());
        index
    }

    fn value_type(&mut self, name: &str, unit: &str) -> ValueType {
        ValueType { r#type: self.text(name), unit: self.text(unit) }
    }

    fn measures(&mut self, name: &str, unit: &str) {
        let value_type = self.value_type(name, unit);
        self.profile.sample_type.push(value_type);
    }

    fn location(&mut self, place: &Place) -> u64 {
        if let Some(id) = self.locations.get(place) {
            return *id;
        }
        let (name, file, line) = place;
        let next = self.functions.len() as u64 + 1;
        let function = *self.functions.entry((name.clone(), file.clone())).or_insert(next);
        if function == next {
            let (name, filename) = (self.text(name), self.text(file));
            let function = Function { id: next, name, system_name: name, filename };
            self.profile.function.push(function);
        }
        let id = self.locations.len() as u64 + 1;
        let line = vec![Line { function_id: function, line: *line }];
        self.profile.location.push(Location { id, line });
        self.locations.insert(place.clone(), id);
        id
    }

    /// Adds what was measured in a stack, the innermost place first.
    fn sample(&mut self, stack: &[Place], values: Vec<i64>) {
        let location_id = stack.iter().map(|place| self.location(place)).collect();
        self.profile.sample.push(Sample { location_id, value: values });
    }

    fn bytes(&self) -> Vec<u8> {
        self.profile.encode_to_vec()
    }
}

/// Looks for so long at what the processors do. Blocks; call it where that harms nobody.
///
/// # Errors
/// `Unavailable` `profiling`: the system does not let us, or somebody looks already.
pub(crate) fn processor(time: Duration) -> Result<Vec<u8>> {
    let failed = |error: pprof::Error| {
        let message = "No profile can be taken now. Does another one run?";
        Error::unavailable("profiling", message).because(error)
    };
    let guard = pprof::ProfilerGuardBuilder::default()
        .frequency(FREQUENCY)
        // A signal in the middle of these would find locks taken that unwinding takes as well.
        .blocklist(&["libc", "libgcc", "pthread", "vdso"])
        .build()
        .map_err(failed)?;
    std::thread::sleep(time);
    let report = guard.report().build().map_err(failed)?;

    let mut builder = Builder::new();
    let period = NANOS / i64::from(FREQUENCY);
    builder.measures("samples", "count");
    builder.measures("cpu", "nanoseconds");
    builder.profile.period_type = Some(builder.value_type("cpu", "nanoseconds"));
    builder.profile.period = period;
    builder.profile.duration_nanos = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    for (frames, count) in &report.data {
        let place = |symbol: &pprof::Symbol| -> Place {
            (symbol.name(), symbol.filename().into_owned(), i64::from(symbol.lineno()))
        };
        let mut stack: Vec<Place> = frames.frames.iter().flatten().map(place).collect();
        stack.push((frames.thread_name.clone(), String::new(), 0));
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        builder.sample(&stack, vec![count, count.saturating_mul(period)]);
    }
    Ok(builder.bytes())
}

/// What holds the resident memory.
///
/// # Errors
/// `Unavailable` `profiling`: not on this system.
pub(crate) fn memory() -> Result<Vec<u8>> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").map_err(|error| {
        let message = "This system does not say what memory is used for.";
        Error::unavailable("profiling", message).because(error)
    })?;
    let mut builder = Builder::new();
    builder.measures("mappings", "count");
    builder.measures("inuse_space", "bytes");
    let mut sums: Vec<(Vec<Place>, i64, i64)> = Vec::new();
    for (what, resident) in mappings(&smaps) {
        let stack: Vec<Place> =
            what.into_iter().rev().map(|part| (part, String::new(), 0)).collect();
        match sums.iter_mut().find(|(known, ..)| *known == stack) {
            Some((_, count, bytes)) => (*count, *bytes) = (*count + 1, *bytes + resident),
            None => sums.push((stack, 1, resident)),
        }
    }
    for (stack, count, bytes) in sums {
        builder.sample(&stack, vec![count, bytes]);
    }
    Ok(builder.bytes())
}

/// Each mapping with its kind and name, and its resident bytes.
fn mappings(smaps: &str) -> Vec<(Vec<String>, i64)> {
    let mut found: Vec<(Vec<String>, i64)> = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        if first == "Rss:" {
            let kib = words.next().and_then(|word| word.parse::<i64>().ok()).unwrap_or_default();
            if let Some((_, bytes)) = found.last_mut() {
                *bytes = kib.saturating_mul(1024);
            }
        } else if !first.ends_with(':') {
            // address, permissions, offset, device, inode, and a path with spaces in it, perhaps.
            let path = words.skip(4).collect::<Vec<_>>().join(" ");
            found.push((kind(&path), 0));
        }
    }
    found
}

fn kind(path: &str) -> Vec<String> {
    let named = |kind: &str| vec![kind.to_owned(), path.to_owned()];
    match path {
        "" => vec!["anonymous: the allocator's arenas, stacks of threads".to_owned()],
        "[heap]" => vec!["heap of the C library".to_owned()],
        "[stack]" => vec!["stack of the first thread".to_owned()],
        _ if path.starts_with('[') => named("kernel"),
        _ if path.ends_with(".db") || path.ends_with("-shm") || path.ends_with("-wal") => {
            named("database file")
        }
        _ => named("executable and libraries"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(profile: &Profile) -> Vec<&str> {
        let name = |function: &Function| profile.string_table[function.name as usize].as_str();
        profile.function.iter().map(name).collect()
    }

    #[test]
    fn a_stack_is_written_with_each_part_once() {
        let place = |name: &str, line| (name.to_owned(), "a.rs".to_owned(), line);
        let mut builder = Builder::new();
        builder.measures("samples", "count");
        builder.sample(&[place("inner", 3), place("outer", 7)], vec![2]);
        builder.sample(&[place("outer", 9)], vec![1]);
        builder.sample(&[place("inner", 3)], vec![1]);
        let profile = Profile::decode(builder.bytes().as_slice()).unwrap();
        assert_eq!(profile.string_table, ["", "samples", "count", "inner", "a.rs", "outer"]);
        assert_eq!(names(&profile), ["inner", "outer"]);
        assert_eq!(profile.location.len(), 3, "two places in one function");
        let stacks: Vec<_> = profile.sample.iter().map(|it| it.location_id.clone()).collect();
        assert_eq!(stacks, [vec![1, 2], vec![3], vec![1]]);
    }

    #[test]
    fn busy_code_is_seen() {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let busy = std::thread::Builder::new().name("busy".into()).spawn(move || {
            let mut number = 1_u64;
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005));
            }
        });
        let bytes = processor(Duration::from_millis(500)).unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        busy.unwrap().join().unwrap();
        let profile = Profile::decode(bytes.as_slice()).unwrap();
        assert!(names(&profile).contains(&"busy"), "{:?}", names(&profile));
        assert!(profile.sample.iter().all(|sample| sample.value.len() == 2));
    }

    #[test]
    fn memory_is_told_apart_by_what_maps_it() {
        let smaps = "\
55d0c0000000-55d0c1000000 r-xp 00000000 fe:00 42    /usr/bin/verza app\nSize: 16 kB\nRss: 8 kB\n\
7f0000000000-7f0000100000 rw-p 00000000 00:00 0 \nRss:   4096 kB\nPss: 1 kB\nVmFlags: rd wr\n";
        let found = mappings(smaps);
        assert_eq!(found[0].0, ["executable and libraries", "/usr/bin/verza app"]);
        assert_eq!(found[0].1, 8 * 1024);
        assert_eq!(found[1].1, 4096 * 1024);
        let profile = Profile::decode(memory().unwrap().as_slice()).unwrap();
        let resident: i64 = profile.sample.iter().map(|sample| sample.value[1]).sum();
        assert!(resident > 1024 * 1024, "{resident}");
    }
}
