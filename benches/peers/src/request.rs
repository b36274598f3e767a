//! What a layer adds to a request, in process.

use std::net::SocketAddr;

use crate::allocations;
use crate::around::{Around, Call};
use crate::exporters::To;
use crate::machine;
use crate::setup::Tracing;
use crate::subject::{Mode, Subject};

/// Blocks of requests with and without the layer, in turns, and prints the median of the ratios
/// of their CPU times, the median of those without in nanoseconds, what other threads have taken
/// for each request in nanoseconds, added allocations, and the share of the spans that was
/// exported.
pub(crate) fn time(around: Around, subject: Subject, mode: Mode, sink: SocketAddr, pairs: usize) {
    let bare = around.call(Subject::Bare, mode, &Tracing::None);
    let tracing = Tracing::start(subject, mode, sink, To::Nowhere);
    let layered = around.call(subject, mode, &tracing);
    block(&bare);
    block(&layered);

    let added = allocations::of(|| block(&layered)) as f64;
    let allocations = (added - allocations::of(|| block(&bare)) as f64) / BLOCK as f64;
    let (mut ratios, mut times) = (Vec::new(), Vec::new());
    let others = others();
    for pair in 0..pairs {
        let (without, with) = if pair % 2 == 0 {
            let without = timed(&bare);
            (without, timed(&layered))
        } else {
            let with = timed(&layered);
            (timed(&bare), with)
        };
        ratios.push(with / without);
        times.push(without / BLOCK as f64);
    }
    let spans = (BLOCK * (pairs + 2)) as f64;
    drop(layered);
    let exported = tracing.finish() as f64 / spans;
    let others = (self::others() - others) / (BLOCK * pairs) as f64;
    let (ratio, time) = (median(&mut ratios), median(&mut times));
    println!("{ratio} {time} {others} {allocations} {exported}");
}

/// Makes so many requests in a function that callgrind finds by its name.
pub(crate) fn count(
    around: Around,
    subject: Subject,
    mode: Mode,
    sink: SocketAddr,
    requests: usize,
) {
    let tracing = Tracing::start(subject, mode, sink, To::Nowhere);
    let call = around.call(subject, mode, &tracing);
    (0..WARM_UP).for_each(|_| call());
    counted_requests(&call, requests);
    // What an exporter does in the end is not asked for.
    std::process::exit(0);
}

#[inline(never)]
fn counted_requests(call: &Call, requests: usize) {
    (0..requests).for_each(|_| call());
}

fn timed(call: &Call) -> f64 {
    let began = machine::of_thread();
    block(call);
    machine::of_thread() - began
}

fn block(call: &Call) {
    (0..BLOCK).for_each(|_| call());
}

/// CPU time of the other threads.
fn others() -> f64 {
    machine::of_process() - machine::of_thread()
}

pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Fewer than the SDK's queue takes, so that a block loses no spans.
const BLOCK: usize = 800;
const WARM_UP: usize = 300;
