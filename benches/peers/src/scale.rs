//! Whether a span costs the same when there are many.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tower::{Layer, Service, service_fn};
use tower_otlp::{QueueConfig, ResponseHeader, TraceLayer, TracingService, TracingServiceConfig};

use crate::machine;
use crate::pipeline::{self, Transport, request};
use crate::request::median;

/// Prints what tracing adds to a request, in nanoseconds, where so many are in flight at once: the
/// median of so many rounds.
pub(crate) fn in_flight(requests: usize, sink: SocketAddr, rounds: usize) {
    let tracing = pipeline::start(Transport::Grpc, sink, "".as_ref(), |it| it);
    let mut traced = TraceLayer::server(&tracing).layer(service_fn(wait_once));
    let mut bare = service_fn(wait_once);
    serve(&mut traced, requests);
    serve(&mut bare, requests);
    let mut added = Vec::new();
    for _ in 0..rounds {
        let began = machine::of_thread();
        serve(&mut bare, requests);
        let between = machine::of_thread();
        serve(&mut traced, requests);
        let ended = machine::of_thread();
        added.push((ended - between - (between - began)) / REQUESTS as f64);
        // The spans of the next round have to find room.
        let _ = tracing.flush_blocking(DEADLINE);
    }
    println!("{}", median(&mut added));
    let stats = tracing.shutdown_blocking(DEADLINE);
    assert_eq!(
        stats.delivered,
        ((rounds + 1) * REQUESTS) as u64,
        "not the times of spans: {stats}"
    );
}

/// Serves requests, so many at once.
fn serve<S: Service<Request<()>>>(service: &mut S, in_flight: usize) {
    let mut context = Context::from_waker(Waker::noop());
    let mut futures = Vec::with_capacity(in_flight);
    for _ in 0..REQUESTS / in_flight {
        for _ in 0..in_flight {
            let mut future = Box::pin(service.call(request()));
            assert!(future.as_mut().poll(&mut context).is_pending());
            futures.push(future);
        }
        for mut future in futures.drain(..) {
            assert!(future.as_mut().poll(&mut context).is_ready());
        }
    }
}

fn wait_once(_: Request<()>) -> Waiting {
    Waiting { begun: false }
}

/// A handler that has to wait for something, once.
struct Waiting {
    begun: bool,
}

impl Future for Waiting {
    type Output = Result<Response<Empty<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::replace(&mut self.begun, true) {
            return Poll::Ready(Ok(Response::new(Empty::new())));
        }
        Poll::Pending
    }
}

/// Prints how many times the spans of one thread two threads make in the same CPU time each: when
/// all are sampled, and when none is. They do it for this time, in each of a few rounds.
pub(crate) fn threads(sink: SocketAddr, time: Duration) {
    let of = |rate| {
        let mut ratios: Vec<_> = (0..THREAD_ROUNDS)
            .map(|_| {
                let tracing = tracing(rate, sink);
                let [one] = speeds(&tracing, time);
                let _ = tracing.flush_blocking(DEADLINE);
                let two: [f64; 2] = speeds(&tracing, time);
                let stats = tracing.shutdown_blocking(DEADLINE);
                assert_eq!(stats.delivered, stats.accepted, "not the times of spans: {stats}");
                two.iter().sum::<f64>() / one
            })
            .collect();
        median(&mut ratios)
    };
    println!("{} {}", of(1_000_000), of(0));
}

fn tracing(rate: u32, sink: SocketAddr) -> TracingService {
    let config = TracingServiceConfig::new(format!("grpc://{sink}").parse().expect("a URL"));
    // All find room: one that does not costs less.
    let config = config.queue(QueueConfig::default().max_bytes(1 << 30));
    config.sampling_rate_per_million(rate).start("peers").expect("a thread")
}

/// Spans per second of CPU time of so many threads.
fn speeds<const THREADS: usize>(tracing: &TracingService, time: Duration) -> [f64; THREADS] {
    std::thread::scope(|scope| {
        let threads =
            [(); THREADS].map(|()| scope.spawn(|| pipeline::through_layer(tracing, time)));
        threads.map(|thread| {
            let (made, nanoseconds) = thread.join().expect("no panic");
            made as f64 * 1e9 / nanoseconds
        })
    })
}

/// Offers 500,000 spans a second for this time to a sink that takes them, or as many as this
/// machine makes, by two threads, and prints how many were made, exported and lost.
pub(crate) fn offered(sink: SocketAddr, time: Duration) {
    let tracing = pipeline::start(Transport::Grpc, sink, "".as_ref(), |it| {
        it.response_header(ResponseHeader::Off)
    });
    let began = Instant::now();
    let made: u64 = std::thread::scope(|scope| {
        let threads = [(); THREADS].map(|()| scope.spawn(|| offer(&tracing, began, time)));
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    let stats = tracing.shutdown_blocking(DEADLINE);
    println!("{made} {} {}", stats.delivered, stats.dropped.total());
}

/// Makes what a thread has to make of them, and tells how many it has made.
fn offer(tracing: &TracingService, began: Instant, time: Duration) -> u64 {
    let per_second = PER_SECOND / THREADS as f64;
    let mut made = 0;
    while began.elapsed() < time {
        let due = (began.elapsed().as_secs_f64() * per_second) as u64;
        // Not too many at once: the time is looked at in between.
        let now = (due - made).min(per_second as u64 / 100);
        pipeline::some_through_layer(tracing, now);
        made += now;
        std::thread::sleep(Duration::from_micros(500));
    }
    made
}

/// Of a round.
const REQUESTS: usize = 10_000;
const THREAD_ROUNDS: usize = 5;
/// That offer spans.
const THREADS: usize = 2;
const PER_SECOND: f64 = 500_000.0;
const DEADLINE: Duration = Duration::from_secs(20);
