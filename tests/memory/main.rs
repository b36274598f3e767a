//! Memory that tracing takes when spans come and nothing goes: no more than it was given, and
//! something on top that does not grow; and when requests come and none ends.
//!
//! A binary of its own, because its allocator counts for the whole process. For the same reason
//! its tests take turns.

#[cfg(feature = "forward")]
mod hostile;
mod live;
#[cfg(feature = "forward")]
#[path = "../journeys/support/malice.rs"]
mod malice;

use std::convert::Infallible;
use std::future::{pending, ready};
use std::io::Read;
use std::net::TcpListener;
use std::pin::Pin;
use std::task::{Context as TaskContext, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Empty;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, KeyValue};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::net::TcpSocket;
use tower::{Layer, Service, service_fn};
use tower_otlp::opentelemetry;
use tower_otlp::{
    Compression, QueueConfig, TraceLayer, TracingService, TracingServiceConfig, WhenFull,
};

#[global_allocator]
static ALLOCATOR: live::Counting = live::Counting;

#[test]
#[expect(clippy::print_stderr, reason = "how much is left of the allowance is worth knowing")]
fn with_a_collector_that_never_comes_memory_stays_in_its_bounds_and_every_span_is_counted() {
    let _alone = live::alone();
    // Bound, the port is refused to clients and to other tests.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let absent = bound.local_addr().unwrap();
    let silent = listen_in_silence();
    let mut random = SmallRng::seed_from_u64(0);
    let noise: String = (0..100_000).map(|_| random.random_range(' '..='~')).collect();
    let rows = [
        (format!("grpc://{absent}"), Compression::None, WhenFull::DropNewest, "nobody listens"),
        (format!("http://{absent}"), Compression::Gzip, WhenFull::DropOldest, "nor over HTTP"),
        (format!("grpc://{silent}"), Compression::Gzip, WhenFull::DropOldest, "nobody answers"),
        (format!("http://{silent}"), Compression::None, WhenFull::DropNewest, "nor over HTTP"),
    ];
    for (url, compression, when_full, why) in rows {
        let (before, produced) = (live::start(), (SPANS * THREADS) as u64);
        let tracing = TracingServiceConfig::new(url.parse().unwrap())
            .sampling_rate_per_million(1_000_000)
            .compression(compression)
            .queue(QueueConfig::default().max_bytes(BUDGET).when_full(when_full))
            .start("memory")
            .unwrap();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                let (tracing, noise) = (&tracing, &noise[..]);
                scope.spawn(move || (0..SPANS).for_each(|span| serve(tracing, noise, span)));
            }
        });
        let stats = tracing.shutdown_blocking(Duration::ZERO);
        let peak = live::peak() - before;
        eprintln!("{url}, {compression:?}, {when_full:?}: {} KiB at most", peak >> 10);
        assert!(peak <= BUDGET + OVERHEAD, "{why}: {peak} bytes");
        assert_eq!((stats.accepted, stats.dropped.total()), (produced, produced), "{why}: {stats}");
        assert_eq!((stats.delivered, stats.rejected, stats.pending), (0, 0, 0), "{why}: {stats}");
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "how much is left of the allowance is worth knowing")]
fn a_request_in_flight_takes_less_than_two_kib_more_when_it_is_traced() {
    let _alone = live::alone();
    for rate in [0, 1_000_000] {
        let config = TracingServiceConfig::default().enabled(true).sampling_rate_per_million(rate);
        let (tracing, _spans) = config.start_in_memory("memory").unwrap();
        let service =
            service_fn(|_: Request<()>| pending::<Result<Response<Empty<Bytes>>, Infallible>>());
        let bare = in_flight(service);
        let traced = in_flight(TraceLayer::server(&tracing).layer(service));
        eprintln!("sampled {rate} of a million: {} bytes a request", traced.saturating_sub(bare));
        assert!(traced < bare + IN_FLIGHT, "{rate}: {traced} bytes instead of {bare}");
    }
}

/// Bytes of each of many requests that wait for an answer.
fn in_flight<S: Service<Request<()>>>(mut service: S) -> usize {
    let mut context = TaskContext::from_waker(Waker::noop());
    let before = live::start();
    let waiting: Vec<Pin<Box<S::Future>>> = (0..REQUESTS)
        .map(|_| {
            let request = Request::get("http://shop.example.com:8080/users/42?verbose=1&page=3")
                .header("user-agent", "curl/8.14.1")
                .header("accept", "*/*");
            let mut future = Box::pin(service.call(request.body(()).unwrap()));
            assert!(future.as_mut().poll(&mut context).is_pending());
            future
        })
        .collect();
    let bytes = live::now() - before;
    drop(waiting);
    bytes / REQUESTS
}

/// Serves a request. Of some spans many fit the budget, others are large.
fn serve(tracing: &TracingService, noise: &str, span: usize) {
    let large = span.is_multiple_of(16).then(|| {
        let from = span % (noise.len() - LARGE);
        KeyValue::new("filling", noise[from..from + LARGE].to_owned())
    });
    let service = service_fn(|_: Request<()>| {
        if let Some(large) = large.clone() {
            Context::map_current(|context| context.span().set_attribute(large));
        }
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let mut service = TraceLayer::server(tracing).layer(service);
    let response = service.call(Request::new(())).now_or_never().expect("a ready answer");
    drop(response.unwrap_or_else(|never| match never {}));
}

/// A server that takes connections, reads and never says anything.
fn listen_in_silence() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut buffer = [0; 4 << 10];
                let mut stream = stream.unwrap();
                while let Ok(1..) = stream.read(&mut buffer) {}
            });
        }
    });
    address
}

const THREADS: usize = 4;
/// Of each thread. Together about twice the budget.
const SPANS: usize = 12_000;
/// That wait at once.
const REQUESTS: usize = 10_000;
/// Bytes that tracing may add to each.
const IN_FLIGHT: usize = 2 << 10;
/// Bytes of a large one, which does not become nothing when it is compressed.
const LARGE: usize = 4_000;
const BUDGET: usize = 16 << 20;
/// What may be allocated on top, however large the budget is: open buffers that have grown beyond
/// what is in them, tables, buffers of connections, requests that are compressed.
const OVERHEAD: usize = 4 << 20;
