//! Whole runs with the executable's own bare servers. No timing is asserted: a test machine has
//! the right to be slow.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bench::bare::http::Content;
use bench::machine::Pinning;
use bench::{Always, Bench, Driven, Expect, Plan, Result, Template, VerzaOptions, free_address};

const TINY: Plan = Plan {
    pairs: 2,
    slice: Duration::from_millis(60),
    warm_up: Duration::from_millis(20),
    probe: Duration::from_millis(20),
};

fn executable() -> PathBuf {
    env!("CARGO_BIN_EXE_bench").into()
}

fn bench() -> Result<Bench> {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    Ok(Bench::new(TINY, Pinning::SHARED, parent)?.with_bench(executable()))
}

#[test]
fn every_bare_path_can_be_measured() {
    let bench = bench().unwrap();
    let paths = bench::paths::PATHS.iter().filter(|path| path.id.starts_with("bare-"));
    for declared in paths.flat_map(|path| path.workloads) {
        let outcome = bench::runner::measure(declared, &bench).unwrap();
        assert!(outcome.gauges.is_empty());
        let discarded = outcome.discarded;
        let tried = outcome.kept + discarded.steal + discarded.fsync + discarded.drift;
        assert!((TINY.pairs..=TINY.most_pairs()).contains(&tried), "{outcome:?}");
        assert_eq!(outcome.ratio.is_some(), outcome.kept > 0);
    }
}

#[test]
fn a_server_is_watched_and_killed() {
    let bench = bench().unwrap();
    let server = bench.spawn_bare(&Content::fixed("text/plain", "hello")).unwrap();
    let request = Template::new("GET", server.address()).request("/", None, b"");
    let scripts = Always::scripts(4, &request, &Expect::body(200, "hello"));
    let mut driven = Driven::new(server.address(), scripts).unwrap();
    assert!(driven.run(TINY.slice).unwrap().answers >= 4);
    let memory = server.memory().unwrap();
    assert!(memory.now_kib > 0 && memory.peak_kib >= memory.now_kib);
    assert!(server.cpu_seconds().unwrap() >= 0.0);
    assert!(server.started_in() > Duration::ZERO);
    server.kill_hard().unwrap();
    assert!(driven.run(TINY.slice).is_err());
}

#[test]
fn verza_is_started_by_its_command_line_and_stopped_by_a_signal() {
    // The bare server stands in: it too takes a command and an address, and answers /readyz.
    let bench = bench().unwrap().with_verza(executable());
    let body = bench.folder("content").unwrap().join("body");
    std::fs::write(&body, "ready").unwrap();
    let address = free_address().unwrap();
    let mut options = VerzaOptions::serve(address).env("UNUSED", "x");
    options.arguments = vec!["serve-bare".into(), address.to_string().into()];
    let options = options.argument("fixed").argument(body);
    let server = bench.spawn_verza(&options).unwrap();
    assert!(!server.stop().unwrap().success());
    let missing = bench.with_verza("/nonexistent/verza".into());
    assert!(missing.spawn_verza(&options).err().unwrap().to_string().contains("is missing"));
}

#[test]
fn the_command_line_lists_its_paths_and_refuses_unknown_ones() {
    let run = |argument| Command::new(executable()).arg(argument).output().unwrap();
    let list = String::from_utf8(run("--list").stdout).unwrap();
    assert!(
        ["2", "4a", "bare-http"].iter().all(|id| list.lines().any(|line| line.starts_with(id)))
    );
    assert_eq!(run("nonsense").status.code(), Some(2));
    assert_eq!(run("--help").status.code(), Some(0));
}
