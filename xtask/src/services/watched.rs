//! A process that cannot outlive this one.
//!
//! Ctrl-C ends this program without running a destructor, and so does a kill. So the service
//! runs under a small shell that holds one end of a pipe whose other end is ours: however we
//! end, the pipe closes, and the shell stops the service and removes its folder.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::scratch::{Owner, Scratch};
use crate::Result;

/// The shell's arguments: the scratch folder, the signal that stops the service at once, then the
/// service's command line.
///
/// The signal goes to the whole process group, because the service may still be a script with a
/// child of its own; the shell traps it to survive it, and its children do not inherit a trap.
/// The mark `ended` says that the service is gone, and keeps the shell from signalling a stranger
/// that was given the same process id.
const WATCH: &str = r#"
scratch=$1 signal=$2
shift 2
exec 3<&0 </dev/null
trap : "$signal"
"$@" >"$scratch/log" 2>&1 3<&- &
service=$!
(
    trap : "$signal"
    cat <&3 >/dev/null
    [ -e "$scratch/ended" ] || kill -s "$signal" 0
) &
watch=$!
exec 3<&-
while kill -0 "$service" 2>/dev/null; do wait "$service"; done
: >"$scratch/ended"
while kill -0 "$watch" 2>/dev/null; do wait "$watch"; done
rm -rf "$scratch"
"#;

/// A running service and its scratch folder. Dropping stops the one and removes the other.
pub(crate) struct Watched {
    shell: Child,
    scratch: Scratch,
}

impl Watched {
    /// Starts `command` (program and arguments) as the owner of `scratch`.
    pub(crate) fn start(scratch: Scratch, signal: &str, command: &[&str]) -> Result<Watched> {
        let mut shell = Command::new("sh");
        shell.args(["-c", WATCH, "watch"]).arg(scratch.path()).arg(signal).args(command);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A terminal's Ctrl-C reaches its whole foreground group: the watcher must not be in it.
        shell.current_dir("/").process_group(0).env("HOME", scratch.path());
        if let Owner::Other { uid, gid } = scratch.owner() {
            shell.uid(uid).gid(gid);
        }
        let shell = shell.spawn().map_err(|error| format!("`sh` did not start: {error}"))?;
        Ok(Watched { shell, scratch })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Whether the service ended without being told to.
    pub(crate) fn has_ended(&self) -> bool {
        self.scratch.path().join("ended").exists()
    }

    /// The last lines the service printed.
    pub(crate) fn log_tail(&self) -> String {
        const LINES: usize = 25;
        match std::fs::read(self.scratch.path().join("log")) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let lines: Vec<&str> = text.lines().collect();
                lines[lines.len().saturating_sub(LINES)..].join("\n")
            }
            Err(error) => format!("(its log cannot be read: {error})"),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Closing the pipe is the order to stop; waiting makes sure that it has been obeyed.
        drop(self.shell.stdin.take());
        if let Err(error) = self.shell.wait() {
            eprintln!("warning: a service may still be running: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn wait_until(what: &str, done: impl Fn() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{what} did not happen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn dropping_stops_the_process_and_removes_its_folder() {
        let scratch = Scratch::new("watched", None).unwrap();
        let folder = scratch.path().to_owned();
        let script = format!("echo $$ >{0}/pid; echo said; exec sleep 1000", folder.display());
        let watched = Watched::start(scratch, "TERM", &["sh", "-c", &script]).unwrap();
        wait_until("the start", || watched.log_tail().contains("said"));
        assert!(!watched.has_ended());
        let pid = std::fs::read_to_string(folder.join("pid")).unwrap();
        let process = Path::new("/proc").join(pid.trim());
        drop(watched);
        assert!(!folder.exists());
        assert!(!process.exists());
    }

    #[test]
    fn a_process_that_ends_by_itself_leaves_its_log_until_the_drop() {
        let scratch = Scratch::new("watched", None).unwrap();
        let folder = scratch.path().to_owned();
        let watched = Watched::start(scratch, "TERM", &["sh", "-c", "echo no; exit 3"]).unwrap();
        wait_until("the end", || watched.has_ended());
        assert_eq!(watched.log_tail(), "no");
        drop(watched);
        assert!(!folder.exists());
    }
}
