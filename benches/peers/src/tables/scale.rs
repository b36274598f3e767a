//! Many requests at once, many threads, many spans.

use super::{Effort, of, passes, thousands};
use crate::children::{Helper, Sink};

pub(super) fn print(effort: Effort) {
    let sink = Sink::start(0);
    let sink = &*sink.address.to_string();
    println!("\n### Scale\n");
    println!("| | |");
    println!("|---|--:|");
    let sizes = ["1", "100", "10000"];
    let rounds = effort.share(ROUNDS).to_string();
    let added = passes(effort.passes(PASSES), &sizes, |size| {
        Helper::start("in-flight", &[size, sink, &rounds]).figures::<1>()
    });
    for (size, added) in sizes.iter().zip(&added) {
        println!("| added to a sampled request, {size} in flight | {:.0} ns |", of(added, 0));
    }
    let milliseconds = effort.share(THREADS).to_string();
    let [sampled, unsampled] = Helper::start("threads", &[sink, &milliseconds]).figures();
    println!("| spans of two threads, × those of one in the same CPU time | {sampled:.2} |");
    println!("| the same, unsampled | {unsampled:.2} |");
    let milliseconds = effort.share(OFFERING);
    let [made, exported, lost] =
        Helper::start("offered", &[sink, &milliseconds.to_string()]).figures();
    println!(
        "| {} spans in {} s, 500,000 a second at most | {} exported, {} lost |",
        thousands(made),
        milliseconds as f64 / 1e3,
        thousands(exported),
        thousands(lost)
    );
}

const PASSES: usize = 3;
const ROUNDS: u64 = 31;
/// Milliseconds, of a round.
const THREADS: u64 = 300;
/// Milliseconds.
const OFFERING: u64 = 10_000;
