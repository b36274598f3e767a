//! What a layer adds to a request of an axum route, in process.

use std::hint::black_box;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures_util::FutureExt;
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::allocations;
use crate::exporters::To;
use crate::machine;
use crate::rows::{self, Mode, Served, Subject};

/// Blocks of requests with and without the layer, in turns, and prints the median of the ratios
/// of their CPU times, the median of those without in nanoseconds, what other threads have taken
/// for each request in nanoseconds, added allocations, and the share of the spans that was
/// exported.
pub(crate) fn time(subject: Subject, mode: Mode, sink: SocketAddr, pairs: usize) {
    let bare = rows::bare();
    let served = Served::start(subject, mode, sink, To::Nowhere);
    block(&bare, mode);
    block(&served.app, mode);

    let added = allocations::of(|| block(&served.app, mode)) as f64;
    let allocations = (added - allocations::of(|| block(&bare, mode)) as f64) / BLOCK as f64;
    let (mut ratios, mut times) = (Vec::new(), Vec::new());
    let others = others();
    for pair in 0..pairs {
        let (without, with) = if pair % 2 == 0 {
            let without = timed(&bare, mode);
            (without, timed(&served.app, mode))
        } else {
            let with = timed(&served.app, mode);
            (timed(&bare, mode), with)
        };
        ratios.push(with / without);
        times.push(without / BLOCK as f64);
    }
    let spans = (BLOCK * (pairs + 2)) as f64;
    let exported = served.finish() as f64 / spans;
    let others = (self::others() - others) / (BLOCK * pairs) as f64;
    let (ratio, time) = (median(&mut ratios), median(&mut times));
    println!("{ratio} {time} {others} {allocations} {exported}");
}

/// Makes so many requests in a function that callgrind finds by its name.
pub(crate) fn count(subject: Subject, mode: Mode, sink: SocketAddr, requests: usize) {
    let served = Served::start(subject, mode, sink, To::Nowhere);
    (0..WARM_UP).for_each(|_| _ = request(&served.app, mode));
    counted_requests(&served.app, mode, requests);
    // What an exporter does in the end is not asked for.
    std::process::exit(0);
}

#[inline(never)]
fn counted_requests(app: &Router, mode: Mode, requests: usize) {
    for _ in 0..requests {
        black_box(request(app, mode));
    }
}

fn timed(app: &Router, mode: Mode) -> f64 {
    let began = machine::of_thread();
    block(app, mode);
    machine::of_thread() - began
}

fn block(app: &Router, mode: Mode) {
    for _ in 0..BLOCK {
        black_box(request(app, mode));
    }
}

fn request(app: &Router, mode: Mode) -> usize {
    let mut request = Request::get("/users/42?verbose=1&page=3")
        .header("host", "shop.example.com:8080")
        .header("user-agent", "curl/8.14.1")
        .header("accept", "*/*");
    if mode == Mode::Forced {
        request = request.header("traceparent", SAMPLED);
    }
    let request = request.body(Body::empty()).expect("a request");
    // Nothing here ever waits, so no runtime is needed, and none is measured.
    let response = app.clone().oneshot(request).now_or_never().expect("an answer at once");
    let response: Response = response.expect("a router does not fail");
    let body = response.into_body().collect().now_or_never().expect("a body at once");
    body.expect("a whole body").to_bytes().len()
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
/// The header of a caller that has sampled its trace.
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
