//! How many spans get out of a process where one thread makes them at full speed.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Empty;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::Sampler;
use tower::{Layer, Service, service_fn};
use tower_otlp::{TraceLayer, TracingService, TracingServiceConfig};

use crate::exporters::{Sdk, To};
use crate::{machine, spans};

/// What makes the spans, and what exports them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Producer {
    /// Requests through our layer.
    Layer,
    /// Spans of the SDK, and our processor.
    Processor,
    /// The same spans, and the SDK's batch processor with `opentelemetry-otlp`.
    Sdk,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Transport {
    Grpc,
    Http,
    File,
}

impl FromStr for Producer {
    type Err = ();

    /// From what `Debug` has written.
    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Layer, Self::Processor, Self::Sdk];
        all.into_iter().find(|producer| format!("{producer:?}") == text).ok_or(())
    }
}

impl FromStr for Transport {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Grpc, Self::Http, Self::File];
        all.into_iter().find(|transport| format!("{transport:?}") == text).ok_or(())
    }
}

/// Makes spans for this time, and prints how many, how many were exported, the seconds until the
/// last of them was, the CPU time of the thread that has made them and that of all others.
pub(crate) fn run(
    producer: Producer,
    transport: Transport,
    sink: SocketAddr,
    directory: &Path,
    time: Duration,
) {
    let began = Instant::now();
    let (made, by_thread, exported) = match producer {
        Producer::Layer => {
            let tracing = start(transport, sink, directory, |it| it);
            let (made, by_thread) = through_layer(&tracing, time);
            (made, by_thread, tracing.shutdown_blocking(DEADLINE).delivered)
        }
        Producer::Processor => {
            let tracing = start(transport, sink, directory, |it| it);
            let tracer = tracing.tracer_provider().tracer("peers");
            let (made, by_thread) = produce(time, || spans::end_one(&tracer));
            (made, by_thread, tracing.shutdown_blocking(DEADLINE).delivered)
        }
        Producer::Sdk => {
            let to = match transport {
                Transport::Grpc => To::Grpc(sink),
                Transport::Http => To::Http(sink),
                Transport::File => To::File(directory),
            };
            let sdk = Sdk::start(to, Sampler::AlwaysOn);
            let tracer = sdk.provider.tracer("peers");
            let (made, by_thread) = produce(time, || spans::end_one(&tracer));
            (made, by_thread, sdk.finish())
        }
    };
    let (elapsed, others) = (began.elapsed().as_secs_f64(), machine::of_process() - by_thread);
    println!("{made} {exported} {elapsed} {by_thread} {others}");
}

/// Samples all, and is otherwise as it comes, or as `set` makes it.
pub(crate) fn start(
    transport: Transport,
    sink: SocketAddr,
    directory: &Path,
    set: impl Fn(TracingServiceConfig) -> TracingServiceConfig,
) -> TracingService {
    let url = match transport {
        Transport::Grpc => format!("grpc://{sink}"),
        Transport::Http => format!("http://{sink}"),
        Transport::File => format!("file://{}", directory.display()),
    };
    let config = set(TracingServiceConfig::new(url.parse().expect("a URL")));
    config.sampling_rate_per_million(1_000_000).start("peers").expect("a thread")
}

/// The leanest way to spans of requests: no router and no body. Makes them for this time, and
/// tells how many, and what CPU time that took.
pub(crate) fn through_layer(tracing: &TracingService, time: Duration) -> (u64, f64) {
    let mut service = TraceLayer::server(tracing).layer(service_fn(answer));
    produce(time, || drop(service.call(request()).now_or_never().expect("an answer at once")))
}

/// The same, so many of them, and of each no more than its span.
pub(crate) fn some_through_layer(tracing: &TracingService, spans: u64) {
    let layer = TraceLayer::server(tracing).open_telemetry_context(false).response_extension(false);
    let mut service = layer.layer(service_fn(answer));
    let one = |_| drop(service.call(request()).now_or_never().expect("an answer at once"));
    (0..spans).for_each(one);
}

pub(crate) fn request() -> Request<()> {
    Request::get("http://shop.example.com:8080/users/42?verbose=1&page=3")
        .header("user-agent", "curl/8.14.1")
        .body(())
        .expect("a request")
}

fn answer(_: Request<()>) -> std::future::Ready<Result<Response<Empty<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Empty::new())))
}

fn produce(time: Duration, mut one: impl FnMut()) -> (u64, f64) {
    let (until, began) = (Instant::now() + time, machine::of_thread());
    let mut made = 0;
    while Instant::now() < until {
        (0..BETWEEN_CLOCKS).for_each(|_| one());
        made += BETWEEN_CLOCKS;
    }
    (made, machine::of_thread() - began)
}

const BETWEEN_CLOCKS: u64 = 64;
const DEADLINE: Duration = Duration::from_secs(20);
