//! The machine a run is made on: its facts, its cores, and what the hypervisor takes from it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::{Context, Failure, Result};

/// What has to be known to judge a number later.
#[derive(Debug)]
pub struct Facts {
    pub date: String,
    pub revision: String,
    pub processor: String,
    pub cores: usize,
    pub kernel: String,
    pub load: String,
    pub pressure: String,
    pub file_system: String,
}

impl Facts {
    /// The facts now, with the file system that `folder` is on.
    pub fn gather(folder: &Path) -> Facts {
        let pressure = ["cpu", "io"].map(|resource| {
            let share = pressure(resource).unwrap_or_else(|| "unknown".to_owned());
            format!("{resource} {share}")
        });
        Facts {
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            revision: said("git", &["describe", "--always", "--dirty"]),
            processor: processor().unwrap_or_else(unknown),
            cores: cores(),
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_else(unknown),
            load: read("/proc/loadavg").map_or_else(unknown, |text| first_words(&text, 3)),
            pressure: pressure.join(", "),
            file_system: file_system(folder).unwrap_or_else(unknown),
        }
    }

    /// The facts in one line.
    pub fn line(&self) -> String {
        format!(
            "{}, revision {}, {} cores ({}), kernel {}, load {}, pressure avg10 {}, data on {}",
            self.date,
            self.revision,
            self.cores,
            self.processor,
            self.kernel,
            self.load,
            self.pressure,
            self.file_system,
        )
    }

    /// Whether a sync means nothing here, because the data is in memory.
    pub fn syncs_are_free(&self) -> bool {
        matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn first_words(text: &str, count: usize) -> String {
    text.split_whitespace().take(count).collect::<Vec<_>>().join(" ")
}

fn cores() -> usize {
    read("/proc/cpuinfo")
        .map_or(1, |text| text.lines().filter(|line| line.starts_with("processor")).count().max(1))
}

fn processor() -> Option<String> {
    let text = read("/proc/cpuinfo")?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The share of the last ten seconds in which something waited for the resource, in percent.
fn pressure(resource: &str) -> Option<String> {
    let text = read(&format!("/proc/pressure/{resource}"))?;
    let share = text.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?;
    Some(format!("{share} %"))
}

/// What a program prints, or that it is unknown.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => unknown(),
    }
}

/// The type of the file system of the innermost mount that holds `folder`.
fn file_system(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    mounted(&fs::read_to_string("/proc/self/mountinfo").ok()?, &folder)
}

fn mounted(mountinfo: &str, folder: &Path) -> Option<String> {
    // Fields: id, parent, device, root, mount point, options..., "-", type, source, options. Of
    // several mounts on one point the last one covers the others.
    let mounts = mountinfo.lines().filter_map(|line| {
        let point = line.split_whitespace().nth(4)?;
        let kind = line.split_once(" - ")?.1.split_whitespace().next()?;
        folder.starts_with(point).then_some((point.len(), kind))
    });
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind.to_owned())
}

/// The processor time of all cores since the start, in ticks.
#[derive(Clone, Copy, Debug)]
pub struct CpuTimes {
    total: u64,
    stolen: u64,
}

impl CpuTimes {
    pub fn now() -> Result<CpuTimes> {
        let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        CpuTimes::parse(&text).ok_or_else(|| Failure::new("/proc/stat has no line for all cores"))
    }

    fn parse(stat: &str) -> Option<CpuTimes> {
        const STOLEN: usize = 7;
        // The two guest columns behind it are counted in user and nice already.
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> =
            line.split_whitespace().take(STOLEN + 1).map_while(|word| word.parse().ok()).collect();
        Some(CpuTimes { total: ticks.iter().sum(), stolen: *ticks.get(STOLEN)? })
    }

    /// The share of the time since `earlier` that the hypervisor gave to others.
    pub fn steal_since(&self, earlier: &CpuTimes) -> f64 {
        let total = self.total.saturating_sub(earlier.total);
        let stolen = self.stolen.saturating_sub(earlier.stolen);
        if total == 0 { 0.0 } else { stolen as f64 / total as f64 }
    }
}

/// The processor time this thread has used, in seconds, where the kernel tells.
pub fn thread_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds as f64 / 1e9)
}

/// Which core the measured side and which core the generator runs on; `None` leaves the choice to
/// the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pinning {
    pub server: Option<usize>,
    pub generator: Option<usize>,
}

impl Pinning {
    /// Everything may run everywhere.
    pub const SHARED: Pinning = Pinning { server: None, generator: None };

    /// A core each where this thread may use two and `taskset` is installed, else
    /// [`Pinning::SHARED`].
    pub fn split() -> Pinning {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        match allowed_cores(&status)[..] {
            [server, generator, ..] if said("taskset", &["--version"]) != unknown() => {
                Pinning { server: Some(server), generator: Some(generator) }
            }
            _ => Pinning::SHARED,
        }
    }

    pub fn describe(&self) -> String {
        match (self.server, self.generator) {
            (Some(server), Some(generator)) => {
                format!("server on core {server}, generator on core {generator}")
            }
            _ => "server and generator share all cores".to_owned(),
        }
    }

    /// Puts the calling thread, and those it starts from now on, on the generator's core.
    pub fn generate_here(&self) -> Result<()> {
        self.generator.map_or(Ok(()), pin_this_thread)
    }

    /// Runs `work` on a thread of the server's core, for limits that have no process of their own.
    pub fn on_server<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let core = self.server;
        let pinned = move || {
            core.map_or(Ok(()), pin_this_thread)?;
            work()
        };
        thread::scope(|scope| scope.spawn(pinned).join())
            .unwrap_or_else(|_| Err(Failure::new("a bare reference panicked")))
    }
}

/// The cores a thread may run on, from its status file: `0-2,5` is 0, 1, 2 and 5.
fn allowed_cores(status: &str) -> Vec<usize> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let ranges = list.unwrap_or_default().trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

/// `taskset` does what the standard library cannot, and knows threads by the same numbers.
fn pin_this_thread(core: usize) -> Result<()> {
    let link = fs::read_link("/proc/thread-self").context("/proc/thread-self")?;
    let thread = link.file_name().map(|name| name.to_string_lossy().into_owned());
    let thread = thread.ok_or_else(|| Failure::new("/proc/thread-self leads nowhere"))?;
    let output = Command::new("taskset")
        .args(["--cpu-list", "--pid", &core.to_string(), &thread])
        .output()
        .context("taskset")?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("taskset: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_the_hypervisors_share_of_all_ticks() {
        let earlier = CpuTimes::parse("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1\n").unwrap();
        let later = CpuTimes::parse("cpu  150 0 150 880 0 0 0 20 7 7\n").unwrap();
        assert!((later.steal_since(&earlier) - 0.1).abs() < 1e-9);
        assert_eq!(earlier.steal_since(&earlier), 0.0);
        assert!(CpuTimes::parse("cpu0 1 2 3\n").is_none());
    }

    #[test]
    fn the_innermost_mount_decides_the_file_system() {
        let mountinfo = "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
                         30 27 0:27 / /tmp rw,nosuid shared:2 - tmpfs tmpfs rw\n";
        let at = |folder| mounted(mountinfo, Path::new(folder)).unwrap();
        assert_eq!(at("/tmp/x"), "tmpfs");
        assert_eq!(at("/tmpfile"), "ext4");
        assert_eq!(at("/home"), "ext4");
    }

    #[test]
    fn a_pinned_thread_stays_on_its_core() {
        let pinning = Pinning::split();
        let status = || Ok(fs::read_to_string("/proc/thread-self/status")?);
        let allowed = allowed_cores(&pinning.on_server(status).unwrap());
        if let Some(core) = pinning.server {
            assert_eq!(allowed, [core]);
        }
        assert_eq!(allowed_cores("Cpus_allowed_list:\t0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(allowed_cores("Name:\tx\n"), Vec::<usize>::new());
    }
}
