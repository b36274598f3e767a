//! What the machine is, and what it tells of time.

use std::fs;
use std::process::Command;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread so far, in nanoseconds. Others' load is not in it.
pub(crate) fn of_thread() -> f64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

/// CPU time of all threads of this process so far, in nanoseconds.
pub(crate) fn of_process() -> f64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

fn nanoseconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Keeps this thread, and those that it starts, on the first or the last of the CPUs.
pub(crate) fn stay_on(cpu: Cpu) {
    let allowed = sched_getaffinity(None).expect("Linux");
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    let chosen = match cpu {
        Cpu::First => allowed.next(),
        Cpu::Last => allowed.next_back(),
    };
    let mut cpus = CpuSet::new();
    cpus.set(chosen.expect("a CPU to run on"));
    sched_setaffinity(None, &cpus).expect("a CPU that is allowed");
}

#[derive(Clone, Copy)]
pub(crate) enum Cpu {
    First,
    Last,
}

/// The date, the processor, how much of it there is, and the compiler.
pub(crate) fn description() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name\t: "));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}, {cpus} × {}, {}",
        said_by("date", &["+%F"]),
        model.unwrap_or("unknown processor"),
        said_by("rustc", &["--version"]),
    )
}

/// The commit of the sources, and whether they differ from it.
pub(crate) fn commit() -> String {
    said_by("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| format!("({program} is missing)"),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
