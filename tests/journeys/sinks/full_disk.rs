//! Writes that fail half-way: what is in the files is whole, and what is not is written once more.

use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use tempfile::TempDir;
use tower_otlp::{Stats, TraceContext, TracingService};

use super::Log;
use super::files::{directory, files, ids_in, spans_in, url};
use super::{Ids, LONG, SHORT, ids, serve_large, settled, skip, tracing_to};

#[test]
fn a_full_disk_keeps_whole_spans_waiting_until_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        return skip("a small file system can only be mounted by root");
    };
    let directory = disk.root.path().join("traces");
    let log = Log::about(&url(&directory));
    let tracing = tracing_to(&url(&directory));
    let mut served = fill(&tracing, &log);
    // Each try finds no room, and leaves nothing behind.
    for _ in 0..3 {
        served.push(serve_large(&tracing, LINE));
        let _ = tracing.flush_blocking(SHORT);
    }
    let full = tracing.stats();
    assert!(full.delivered > 0 && full.pending == 4, "{full}");
    assert_eq!(full.accepted, full.delivered + 4, "{full}");
    assert_eq!(log.lines().len(), 1, "the same trouble is said once: {:?}", log.lines());
    assert_holds_what_was_delivered(&directory, full, &served);

    let written = ids_in(&directory);
    for file in files(&directory) {
        fs::remove_file(file).unwrap();
    }
    let stats = tracing.shutdown_blocking(LONG);
    assert_eq!(stats, settled(full.accepted, 0), "{:?}", log.lines());
    let waited: Ids = ids(&served).difference(&written).cloned().collect();
    assert_eq!(ids_in(&directory), waited, "room again");
}

#[test]
fn a_file_that_may_not_grow_makes_way_for_the_next_and_costs_no_span() {
    if env::var_os(LIMITED).is_none() {
        return run_limited(
            "sinks::full_disk::a_file_that_may_not_grow_makes_way_for_the_next_and_costs_no_span",
        );
    }
    let (_root, directory) = directory();
    let log = Log::about(&url(&directory));
    let tracing = tracing_to(&url(&directory));
    let served = fill(&tracing, &log);
    // The next file may grow as far as the first.
    let stats = tracing.shutdown_blocking(LONG);
    assert_eq!(stats, settled(served.len() as u64, 0));
    assert_holds_what_was_delivered(&directory, stats, &served);
    assert_eq!(files(&directory).len(), 2);
}

#[test]
fn lines_that_go_out_together_are_written_together_or_not_at_all() {
    if env::var_os(LIMITED).is_none() {
        return run_limited(
            "sinks::full_disk::lines_that_go_out_together_are_written_together_or_not_at_all",
        );
    }
    let (_root, directory) = directory();
    let tracing = tracing_to(&url(&directory));
    let mut served = Vec::new();
    for _ in 0..10 {
        served.push(serve_large(&tracing, LINE));
        let _ = tracing.flush_blocking(LONG);
        // Three lines, as a chunk holds 256 KiB, of which the file has room for two or three. The
        // first may go out alone; while it is written, the others come together.
        served.extend((0..3).map(|_| serve_large(&tracing, 150_000)));
        let _ = tracing.flush_blocking(LONG);
    }
    let stats = tracing.shutdown_blocking(LONG);
    assert_eq!(stats, settled(40, 0));
    assert_holds_what_was_delivered(&directory, stats, &served);
    assert!(files(&directory).len() >= 10, "the next attempt after a failure begins a file");
}

/// Serves requests until the span of the last one cannot be written.
fn fill(tracing: &TracingService, log: &Log) -> Vec<TraceContext> {
    let mut served = Vec::new();
    while served.len() < 1000 {
        served.push(serve_large(tracing, LINE));
        let start = Instant::now();
        while tracing.flush_blocking(SHORT).pending > 0 {
            if !log.lines().is_empty() {
                return served;
            }
            assert!(start.elapsed() < LONG, "{}", tracing.stats());
        }
        if !log.lines().is_empty() {
            return served;
        }
    }
    panic!("there is no limit: {}", tracing.stats());
}

fn assert_holds_what_was_delivered(directory: &Path, stats: Stats, served: &[TraceContext]) {
    let spans = spans_in(directory).len() as u64;
    assert_eq!(spans, stats.delivered, "none that waits, and none twice");
    assert!(ids_in(directory).is_subset(&ids(served)));
    for file in files(directory) {
        assert!(fs::metadata(&file).unwrap().len() > 0, "{} is empty", file.display());
    }
}

/// Runs one test again, in a process whose files may not grow beyond 500 KiB.
fn run_limited(test: &str) {
    // What ends a process by default is an error of the write once its signal is ignored.
    let script = "trap '' XFSZ && ulimit -f 1000 && exec \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", test])
        .env(LIMITED, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// A file system of its own, with 64 KiB.
struct SmallDisk {
    root: TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let root = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(root.path());
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self { root })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.root.path()).output();
    }
}

/// Bytes of a line, at least: several pages of the file system.
const LINE: usize = 10_000;
/// Set in the process that [`run_limited`] starts.
const LIMITED: &str = "TOWER_OTLP_TEST_LIMITED";
