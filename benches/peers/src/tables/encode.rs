//! Spans of the SDK that become bytes.

use super::{Effort, of, passes};
use crate::children::{Helper, Sink};

pub(super) fn print(effort: Effort) {
    let sink = Sink::start(0);
    let arguments = [sink.address.to_string(), effort.share(ROUNDS).to_string()];
    let measured = passes(effort.passes(PASSES), &[()], |()| {
        Helper::start("encode", &arguments.each_ref().map(String::as_str)).figures::<5>()
    });
    let [ours, our_allocations, theirs, their_allocations, ratio] =
        [0, 1, 2, 3, 4].map(|column| of(&measured[0], column));
    println!("\n### An ended span of the SDK becomes OTLP bytes\n");
    println!("| | ns | allocations |");
    println!("|---|--:|--:|");
    println!("| `OtlpSpanProcessor`: encoded and queued | {ours:.0} | {our_allocations:.1} |");
    println!(
        "| opentelemetry-otlp: cloned, transformed, encoded | {theirs:.0} | {their_allocations:.1} |"
    );
    println!("\nThe median of the ratios is {ratio:.1}.");
}

const PASSES: usize = 3;
/// Of batches.
const ROUNDS: u64 = 400;
