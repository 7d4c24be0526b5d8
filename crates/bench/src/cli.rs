//! The command line.

use std::env;
use std::path::PathBuf;

use crate::bench::{Bench, Plan};
use crate::machine::Pinning;
use crate::paths::{PATHS, find};
use crate::runner::{Outcome, measure};
use crate::workload::Declared;
use crate::{Context, Failure, Result, bare, report};

const HELP: &str = "\
Measure paths against their physical limit in the same run, and hold the ratios against the goals.

Usage: bench <path>... [options]

Options:
  --list             Show the paths with their floors and goals
  --only <words>     Of these paths, only the workloads in whose name these words stand
  --quick            Few short pairs: to see that a workload works, not to judge it
  --shared           Server and generator share all cores instead of having one each
  --markdown <file>  Append the results to a file as a table
  --scratch <dir>    Keep data here instead of beside this executable (a disk, not memory)
  --verza <file>     Measure this executable instead of the one beside this one
  --help             Print this

Ends with 0 when everything reached its floor, with 1 when something did not or was too disturbed
to judge, and with 2 when something could not be measured.";

#[derive(Debug, Default, PartialEq)]
struct Options {
    paths: Vec<String>,
    only: Option<String>,
    list: bool,
    quick: bool,
    shared: bool,
    help: bool,
    markdown: Option<PathBuf>,
    scratch: Option<PathBuf>,
    verza: Option<PathBuf>,
}

/// Runs the command; false when something is below its floor.
pub fn run(arguments: &[String]) -> Result<bool> {
    // Not in the help: the runner starts it.
    if let [command, rest @ ..] = arguments
        && command == "serve-bare"
    {
        return bare::http::serve_bare(rest).map(|()| true);
    }
    let options = parse(arguments)?;
    if options.help {
        println!("{HELP}");
        return Ok(true);
    }
    if options.list {
        print!("{}", list());
        return Ok(true);
    }
    let chosen = choose(&options.paths, options.only.as_deref())?;
    let bench = prepare(&options)?;
    let facts = format!("{}, {}", bench.facts().line(), bench.pinning.describe());
    println!("{facts}\n");
    if cfg!(debug_assertions) {
        println!("careful: this is not an optimised build, so its references are slow\n");
    }
    let (outcomes, failures) = measure_all(&chosen, &bench);
    if let Some(file) = &options.markdown {
        report::append_markdown(file, &facts, &outcomes)?;
    }
    if !failures.is_empty() {
        return Err(Failure::new(failures.join("; ")));
    }
    Ok(outcomes.iter().all(|(_, outcome)| outcome.passes()))
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut word =
            || rest.next().ok_or_else(|| Failure::new(format!("{argument} wants a value")));
        let mut value = || word().map(PathBuf::from);
        match argument.as_str() {
            "--list" => options.list = true,
            "--only" => options.only = Some(word()?.clone()),
            "--quick" => options.quick = true,
            "--shared" => options.shared = true,
            "--help" | "-h" => options.help = true,
            "--markdown" => options.markdown = Some(value()?),
            "--scratch" => options.scratch = Some(value()?),
            "--verza" => options.verza = Some(value()?),
            flag if flag.starts_with('-') => {
                return Err(Failure::new(format!("unknown option {flag}\n\n{HELP}")));
            }
            path => options.paths.push(path.to_owned()),
        }
    }
    Ok(options)
}

/// A workload, and the path that it is of.
type Chosen = (&'static str, &'static Declared);

/// The workloads of the paths asked for, each path with at least one.
fn choose(ids: &[String], only: Option<&str>) -> Result<Vec<Chosen>> {
    if ids.is_empty() {
        return Err(Failure::new(format!("which path?\n\n{HELP}")));
    }
    let known = |id: &String| match find(id) {
        Some(path) if path.workloads.is_empty() => {
            Err(Failure::new(format!("path {id} has no workload yet")))
        }
        Some(path) => Ok(path),
        None => Err(Failure::new(format!("there is no path {id}; --list shows them"))),
    };
    let paths = ids.iter().map(known).collect::<Result<Vec<_>>>()?;
    let all = paths.into_iter().flat_map(|path| path.workloads.iter().map(|one| (path.id, one)));
    let chosen: Vec<Chosen> =
        all.filter(|(_, one)| only.is_none_or(|words| one.spec.name.contains(words))).collect();
    if chosen.is_empty() {
        let words = only.unwrap_or_default();
        return Err(Failure::new(format!("no workload is called {words:?}; --list shows them")));
    }
    Ok(chosen)
}

fn prepare(options: &Options) -> Result<Bench> {
    let plan = if options.quick { Plan::QUICK } else { Plan::FULL };
    let pinning = if options.shared { Pinning::SHARED } else { Pinning::split() };
    // The build folder is on a disk; the system's temporary folder often is not, and there a sync
    // costs nothing.
    let executable = env::current_exe().context("this executable")?;
    let beside = executable.parent().map(PathBuf::from);
    let parent = options.scratch.clone().or(beside);
    let parent = parent.ok_or_else(|| Failure::new("no folder for data: use --scratch"))?;
    let bench = Bench::new(plan, pinning, &parent)?;
    Ok(match &options.verza {
        Some(verza) => bench.with_verza(verza.clone()),
        None => bench,
    })
}

/// Measures one after the other; a path that cannot be measured does not keep the next from it.
fn measure_all(chosen: &[Chosen], bench: &Bench) -> (Vec<(&'static str, Outcome)>, Vec<String>) {
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    for &(id, declared) in chosen {
        let measured = measure_one(declared, bench);
        // A million rows several times over, path after path, would fill the disk.
        bench.clear();
        match measured {
            Ok(outcome) => {
                println!("{}", report::text(id, &outcome));
                outcomes.push((id, outcome));
            }
            Err(error) => {
                let failure = format!("path {id}, {}: {error}", declared.spec.name);
                println!("{failure}\n");
                failures.push(failure);
            }
        }
    }
    (outcomes, failures)
}

fn measure_one(declared: &Declared, bench: &Bench) -> Result<Outcome> {
    if declared.spec.durable && bench.facts().syncs_are_free() {
        return Err(Failure::new("the data is in memory, where a sync is free: use --scratch"));
    }
    measure(declared, bench)
}

fn list() -> String {
    let mut out = String::new();
    for path in PATHS {
        let state = if path.workloads.is_empty() { " (no workload yet)" } else { "" };
        out.push_str(&format!("{:<12} {}{state}\n", path.id, path.title));
        for Declared { spec, .. } in path.workloads {
            let (name, reference) = (spec.name, spec.reference);
            let limits = format!("floor {}, goal {}", spec.floor, spec.goal);
            out.push_str(&format!("{:<12}   {name}, by {reference}: {limits}\n", ""));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_and_paths_may_stand_in_any_order() {
        let options = parse(&words("2 --quick --markdown x.md 4a")).unwrap();
        assert_eq!(options.paths, ["2", "4a"]);
        assert!(options.quick && !options.shared);
        assert_eq!(options.markdown, Some("x.md".into()));
        assert!(parse(&words("--markdown")).is_err());
        assert!(parse(&words("--fast")).is_err());
    }

    #[test]
    fn some_of_a_paths_workloads_can_be_asked_for() {
        let all = choose(&words("2 3"), None).unwrap();
        let some = choose(&words("2 3"), Some("by cookie")).unwrap();
        assert!(some.len() == 1 && all.len() > 1);
        let error = choose(&words("2 3"), Some("by pigeon")).err().unwrap().to_string();
        assert!(error.contains("by pigeon"), "{error}");
        let options = parse(&["--only".to_owned(), "by cookie".to_owned()]).unwrap();
        assert_eq!(options.only.as_deref(), Some("by cookie"));
    }

    #[test]
    fn a_path_without_a_workload_is_refused_and_not_skipped() {
        let error = choose(&words("nonsense"), None).err().unwrap().to_string();
        assert!(error.contains("no path nonsense"), "{error}");
        assert!(choose(&[], None).is_err());
        for path in PATHS {
            assert_eq!(choose(&words(path.id), None).is_ok(), !path.workloads.is_empty());
            assert!(list().contains(path.title));
        }
    }
}
