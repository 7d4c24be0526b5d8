//! The run: how long it measures, where it keeps data, what it starts and on which core.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::bare::http::Content;
use crate::fsync::FsyncProbe;
use crate::machine::{Facts, Pinning};
use crate::process::{Server, ServerCommand, VerzaOptions, free_address};
use crate::{Context, Failure, Result};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Pairs wanted after the spoilt ones are discarded.
    pub pairs: usize,
    pub slice: Duration,
    /// Of each side, before the first pair.
    pub warm_up: Duration,
    /// Of one fsync probe.
    pub probe: Duration,
}

impl Plan {
    /// Enough to compare with a goal.
    pub const FULL: Plan = Plan {
        pairs: 21,
        slice: Duration::from_millis(1500),
        warm_up: Duration::from_secs(2),
        probe: Duration::from_millis(500),
    };

    /// Enough to see that a workload works.
    pub const QUICK: Plan = Plan {
        pairs: 5,
        slice: Duration::from_millis(400),
        warm_up: Duration::from_millis(400),
        probe: Duration::from_millis(100),
    };

    /// Attempts before a run that keeps being disturbed is given up.
    pub fn most_pairs(&self) -> usize {
        self.pairs * 3
    }
}

/// What every workload shares.
pub struct Bench {
    pub plan: Plan,
    pub pinning: Pinning,
    scratch: TempDir,
    /// The executable that serves the bare references: this one.
    bench: PathBuf,
    /// The executable that is measured.
    verza: PathBuf,
    started: AtomicU32,
}

impl Bench {
    /// Data goes below `parent`. Pins the calling thread, which is to be the generator's.
    pub fn new(plan: Plan, pinning: Pinning, parent: &Path) -> Result<Bench> {
        let executable = env::current_exe().context("this executable")?;
        let scratch = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(parent)
            .context(parent.display())?;
        pinning.generate_here()?;
        let verza = executable.with_file_name("verza");
        Ok(Bench { plan, pinning, scratch, bench: executable, verza, started: AtomicU32::new(0) })
    }

    /// With another executable for the bare references than this one.
    #[must_use]
    pub fn with_bench(mut self, executable: PathBuf) -> Bench {
        self.bench = executable;
        self
    }

    /// With another Verza than the one beside this executable.
    #[must_use]
    pub fn with_verza(mut self, executable: PathBuf) -> Bench {
        self.verza = executable;
        self
    }

    /// The executable that is measured.
    pub fn verza(&self) -> &Path {
        &self.verza
    }

    pub fn facts(&self) -> Facts {
        Facts::gather(self.scratch.path())
    }

    pub(crate) fn fsync_probe(&self) -> FsyncProbe {
        FsyncProbe::new(self.scratch.path().to_owned(), self.plan.probe)
    }

    /// A fresh, empty folder, gone at the end of the run.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.path().join(format!("{name}-{}", self.next_number()));
        fs::create_dir(&folder).context(folder.display())?;
        Ok(folder)
    }

    /// Removes what the folders hold, once nobody uses them any more.
    pub fn clear(&self) {
        for entry in fs::read_dir(self.scratch.path()).into_iter().flatten().flatten() {
            // What cannot be removed now goes with the whole.
            fs::remove_dir_all(entry.path()).ok();
        }
    }

    fn next_number(&self) -> u32 {
        self.started.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts Verza on the server's core and waits until it is ready.
    pub fn spawn_verza(&self, options: &VerzaOptions) -> Result<Server> {
        Server::spawn(&self.verza_command(options)?)
    }

    /// What [`Bench::spawn_verza`] starts, for those who start it again.
    pub fn verza_command(&self, options: &VerzaOptions) -> Result<ServerCommand> {
        if !self.verza.is_file() {
            let place = self.verza.display();
            return Err(Failure::new(format!(
                "{place} is missing: build it, or name it by --verza"
            )));
        }
        Ok(ServerCommand {
            program: self.verza.clone(),
            arguments: options.arguments.clone(),
            environment: options.environment.clone(),
            address: options.address,
            ready_path: options.ready_path.clone(),
            log: self.folder("verza")?.join("log"),
            core: self.pinning.server,
        })
    }

    /// Starts a bare server on the same core and the same runtime as Verza.
    pub fn spawn_bare(&self, content: &Content) -> Result<Server> {
        Server::spawn(&self.bare_command(content)?)
    }

    /// What [`Bench::spawn_bare`] starts, for those who start it again.
    pub fn bare_command(&self, content: &Content) -> Result<ServerCommand> {
        let folder = self.folder("bare")?;
        let address = free_address()?;
        let mut arguments = vec!["serve-bare".into(), address.to_string().into()];
        arguments.extend(content.to_arguments(&folder)?);
        Ok(ServerCommand {
            program: self.bench.clone(),
            arguments,
            environment: Vec::new(),
            address,
            ready_path: "/readyz".to_owned(),
            log: folder.join("log"),
            core: self.pinning.server,
        })
    }
}
