//! Spans that go over a channel of the program's, to a server that it talks to anyway.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};

use futures_util::future::{BoxFuture, pending};
use http::Version;
use tokio::net::TcpSocket;
use tokio::runtime;
use tokio::sync::Barrier;
use tonic::body::Body;
use tonic::transport;
use tower::util::BoxCloneService;
use tower::{ServiceBuilder, ServiceExt};

use super::script::Answer;
use super::*;

#[tokio::test]
async fn spans_go_over_the_channel_of_a_current_thread_runtime() {
    assert_goes_over_a_channel().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_go_over_the_channel_of_a_multi_thread_runtime() {
    assert_goes_over_a_channel().await;
}

async fn assert_goes_over_a_channel() {
    let collector = Collector::start(Script::Ok);
    let tracing = everything()
        .header("x-tenant", "shop")
        .timeout(Duration::from_secs(60))
        .start_forwarding_later("forwarding")
        .unwrap();
    // Given afterwards, so that they go out in one request.
    let served = serve(&tracing, 3);
    tracing.set_channel(channel_to(&collector)).unwrap();
    assert_eq!(tracing.flush(LONG).await, settled(3, 0));
    assert_eq!(collector.ids(), ids(&served));

    let [received] = &collector.received()[..] else { panic!("one request") };
    assert_eq!(received.path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert_eq!(received.version, Version::HTTP_2);
    let header = |name| received.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("content-type"), Some("application/grpc"));
    assert_eq!(header("te"), Some("trailers"));
    assert_eq!(header("x-tenant"), Some("shop"));
    assert_eq!(header("grpc-timeout"), Some("60000000u"));
    assert_eq!(header("traceparent"), None);

    serve(&tracing, 2);
    assert_eq!(tracing.shutdown(LONG).await, settled(5, 0));
    assert_eq!(collector.spans().len(), 5);
}

#[tokio::test]
async fn without_spans_nothing_is_sent() {
    let collector = Collector::start(Script::Ok);
    let unsampled = everything().sampling_rate_per_million(0);
    let idle = everything().start_forwarding("idle", channel_to(&collector)).unwrap();
    let unsampled = unsampled.start_forwarding("unsampled", channel_to(&collector)).unwrap();
    let service =
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let service = TraceLayer::server(&unsampled).layer(service);
    drop(service.oneshot(Request::new(Body::empty())).await.unwrap());
    for tracing in [idle, unsampled] {
        assert_eq!(tracing.flush(LONG).await, settled(0, 0));
        assert_eq!(tracing.shutdown(LONG).await, settled(0, 0));
    }
    assert_eq!((collector.connections(), collector.received().len()), (0, 0));
}

#[tokio::test]
async fn every_span_of_every_upload_arrives_once_and_is_counted() {
    let collector = Collector::start(Script::Ok);
    let tracing = everything().start_forwarding("ten by five", channel_to(&collector)).unwrap();
    let mut served = Vec::new();
    for upload in 1..=10 {
        served.extend(serve(&tracing, 5));
        assert_eq!(tracing.flush(LONG).await, settled(5 * upload, 0));
        assert_eq!(collector.spans().len() as u64, 5 * upload);
        assert_eq!(collector.ids(), ids(&served));
    }
    assert!(collector.received().iter().all(|received| received.spans() > 0));
    assert_eq!(tracing.shutdown(LONG).await, settled(50, 0));
    assert_eq!(collector.spans().len(), 50);
}

#[tokio::test]
async fn a_server_that_refuses_spans_is_asked_with_every_upload() {
    let collector = Collector::start(Answer::grpc("13").trailer("grpc-message", "no disk"));
    let log = Log::about("refused five times");
    let tracing =
        everything().start_forwarding("refused five times", channel_to(&collector)).unwrap();
    for upload in 1..=5 {
        serve(&tracing, 1);
        assert_eq!(tracing.flush(LONG).await, settled(0, upload));
        assert_eq!(collector.received().len() as u64, upload, "each is attempted, and once");
    }
    assert_eq!(tracing.shutdown(LONG).await, settled(0, 5));
    let lines = log.lines();
    assert_eq!(
        lines[0],
        "WARN cannot export to the channel of \"refused five times\": refused with INTERNAL: no \
         disk; spans lost: 1, and further ones until this is over",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_multi_thread_runtime_can_be_blocked_while_its_channel_is_used() {
    let collector = Collector::start(Script::Ok);
    let tracing = everything().start_forwarding("forwarding", channel_to(&collector)).unwrap();
    serve(&tracing, 3);
    assert_eq!(tracing.flush_blocking(LONG), settled(3, 0));
    assert_eq!(tracing.shutdown_blocking(LONG), settled(3, 0));
}

#[tokio::test]
async fn a_current_thread_runtime_that_is_blocked_cannot_drive_its_channel() {
    let collector = Collector::start(Script::Ok);
    let tracing = everything().start_forwarding("forwarding", channel_to(&collector)).unwrap();
    serve(&tracing, 3);
    assert_eq!(tracing.flush_blocking(SHORT), pending_spans(3), "it returns at the deadline");
    assert_eq!(tracing.flush(LONG).await, settled(3, 0), "and nothing is lost by it");
    serve(&tracing, 1);
    let stats = tracing.shutdown_blocking(SHORT);
    assert_eq!((stats.delivered, stats.dropped.shutdown), (3, 1));
}

#[tokio::test]
async fn spans_are_kept_while_the_server_is_gone() {
    let collector = Collector::on(reused("127.0.0.1:0".parse().unwrap()), Script::Ok);
    let address = collector.address();
    let tracing =
        everything().start_forwarding("gone for a while", channel_to(&collector)).unwrap();
    let first = serve(&tracing, 2);
    assert_eq!(tracing.flush(LONG).await, settled(2, 0));
    assert_eq!(collector.ids(), ids(&first));

    let log = Log::about("gone for a while");
    drop(collector);
    let second = serve(&tracing, 3);
    let stats = tracing.flush(SHORT).await;
    assert_eq!((stats.delivered, stats.pending), (2, 3));
    wait_for_line_async(&log, "trying again").await;
    let collector = Collector::on(reused(address), Script::Ok);
    assert_eq!(tracing.flush(LONG).await, settled(5, 0));
    assert_eq!(collector.ids(), ids(&second));
    assert_eq!(tracing.shutdown(LONG).await, settled(5, 0));
}

#[tokio::test]
async fn a_server_that_forwards_no_spans_is_asked_once() {
    let answers: [(Script, &str); 2] = [
        (Answer::grpc("12").into(), "gRPC's word for it"),
        (Answer::new(404).into(), "that of a web server"),
    ];
    for (i, (answer, why)) in answers.into_iter().enumerate() {
        let collector = Collector::start(answer);
        let name = format!("asks once {i}");
        let log = Log::about(&name);
        let tracing = everything()
            .queue(tower_otlp::QueueConfig::default().max_batch_spans(1))
            .start_forwarding(&name, channel_to(&collector))
            .unwrap();
        serve(&tracing, 20);
        assert_eq!(tracing.flush(LONG).await, settled(0, 20), "{why}");
        serve(&tracing, 5);
        assert_eq!(tracing.flush(LONG).await, settled(0, 25), "{why}");
        assert_eq!(collector.received().len(), 1, "{why}");
        let lines = log.lines();
        let [line] = &lines[..] else { panic!("{why}: {lines:?}") };
        assert_eq!(
            line,
            &format!(
                "WARN cannot export to the channel of {name:?}: the server there has no OTLP \
                 TraceService (UNIMPLEMENTED), so it forwards no spans, and is sent no more of \
                 them; spans lost: 1, and further ones until this is over",
            ),
            "{why}",
        );

        // Another server may.
        let better = Collector::start(Script::Ok);
        tracing.set_channel(channel_to(&better)).unwrap();
        let served = serve(&tracing, 4);
        assert_eq!(tracing.shutdown(LONG).await, settled(4, 25), "{why}");
        assert_eq!(better.ids(), ids(&served), "{why}");
        assert_eq!(collector.received().len(), 1, "{why}");
    }
}

#[tokio::test]
async fn a_server_that_has_taken_spans_is_asked_again() {
    for (answer, why) in [(Answer::grpc("12"), "gRPC's word"), (Answer::new(404), "a proxy's")] {
        let collector = Collector::start(Script::Ok);
        let tracing = everything().start_forwarding("once more", channel_to(&collector)).unwrap();
        serve(&tracing, 2);
        assert_eq!(tracing.flush(LONG).await, settled(2, 0), "{why}");
        collector.play(Script::First(1, Box::new(answer)));
        serve(&tracing, 3);
        assert_eq!(tracing.flush(LONG).await, settled(5, 0), "{why}");
        assert_eq!(collector.spans().len(), 5, "{why}");
        assert_eq!(tracing.shutdown(LONG).await, settled(5, 0), "{why}");
    }
}

#[tokio::test]
async fn batches_go_side_by_side_once_the_server_has_taken_one() {
    let (asked, side_by_side) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(2)));
    let channel = service_fn(move |_: Request<Body>| {
        let is_first = !asked.swap(true, Ordering::Relaxed);
        let side_by_side = Arc::clone(&side_by_side);
        async move {
            if is_first {
                // Time for the others to queue up. Without it there is less to see, and no harm.
                tokio::time::sleep(Duration::from_millis(20)).await;
            } else {
                side_by_side.wait().await;
            }
            let taken = Response::builder().header("content-type", "application/grpc");
            taken.header("grpc-status", "0").body(Body::empty())
        }
    });
    let tracing = everything()
        .queue(tower_otlp::QueueConfig::default().max_batch_spans(1))
        .start_forwarding_later("side by side")
        .unwrap();
    serve(&tracing, 5);
    tracing.set_channel(channel).unwrap();
    assert_eq!(tracing.flush(LONG).await, settled(5, 0));
    assert_eq!(tracing.shutdown(LONG).await, settled(5, 0));
}

#[tokio::test]
async fn answers_of_the_server_count_as_those_of_any_collector() {
    type Row = (Script, Stats, usize, &'static str);
    let mut rejected = settled(2, 0);
    (rejected.accepted, rejected.rejected) = (3, 1);
    let rows: [Row; 4] = [
        (Script::Partial(1, "no room"), rejected, 1, "a partial success"),
        (Script::First(1, Box::new(Answer::grpc("14"))), settled(3, 0), 2, "a failure that passes"),
        (Answer::grpc("3").into(), settled(0, 3), 1, "a refusal"),
        (
            Answer::new(200)
                .header("content-type", "application/grpc")
                .endless(vec![0; 4096])
                .into(),
            settled(0, 3),
            1,
            "an answer without end",
        ),
    ];
    for (script, expected, requests, why) in rows {
        let collector = Collector::start(script);
        let tracing = everything().start_forwarding_later("answered").unwrap();
        serve(&tracing, 3);
        tracing.set_channel(channel_to(&collector)).unwrap();
        assert_eq!(tracing.flush(LONG).await, expected, "{why}");
        assert_eq!(collector.received().len(), requests, "{why}");
        assert_eq!(tracing.shutdown(LONG).await, expected, "{why}");
    }
}

#[tokio::test]
async fn a_channel_in_layers_will_do_and_does_not_trace_the_exporter() {
    let collector = Collector::start(Script::Ok);
    let tracing = everything().start_forwarding_later("layers").unwrap();
    let channel = ServiceBuilder::new()
        .layer(TraceLayer::client(&tracing))
        .timeout(LONG)
        .layer(tonic::service::InterceptorLayer::new(|mut request: tonic::Request<()>| {
            request
                .metadata_mut()
                .insert("authorization", "Bearer of the channel".parse().unwrap());
            Ok(request)
        }))
        .service(channel_to(&collector));
    let channel = BoxCloneService::new(channel.map_err(Box::<dyn Error + Send + Sync>::from));
    let served = serve(&tracing, 3);
    tracing.set_channel(channel).unwrap();
    assert_eq!(tracing.flush(LONG).await, settled(3, 0));
    assert_eq!(tracing.shutdown(LONG).await, settled(3, 0), "none of the export");
    assert_eq!(collector.ids(), ids(&served));
    let [received] = &collector.received()[..] else { panic!("one request") };
    assert_eq!(received.headers["authorization"], "Bearer of the channel");
}

#[tokio::test]
async fn spans_wait_for_the_channel_and_a_later_one_takes_its_place() {
    let (first, second) = (Collector::start(Script::Ok), Collector::start(Script::Ok));
    let tracing = everything().start_forwarding_later("later").unwrap();
    let early = serve(&tracing, 700);
    assert_eq!(tracing.flush(SHORT).await, pending_spans(700));

    tracing.set_channel(channel_to(&first)).unwrap();
    assert_eq!(tracing.flush(LONG).await, settled(700, 0));
    assert_eq!(first.ids(), ids(&early));

    tracing.set_channel(channel_to(&second)).unwrap();
    let late = serve(&tracing, 2);
    assert_eq!(tracing.shutdown(LONG).await, settled(702, 0));
    assert_eq!(second.ids(), ids(&late));
    assert_eq!(first.ids(), ids(&early));
}

#[tokio::test]
async fn a_channel_that_never_comes_loses_what_is_counted() {
    const MIB: usize = 1 << 20;
    let log = Log::about("never comes");
    let tracing = everything()
        .queue(tower_otlp::QueueConfig::default().max_bytes(2 * MIB).max_batch_bytes(MIB))
        .start_forwarding_later("never comes")
        .unwrap();
    for _ in 0..8 {
        serve_large(&tracing, MIB / 2);
    }
    let held = tracing.stats();
    assert!(held.dropped.queue_full >= 4, "2 MiB hold no more: {held}");
    assert_eq!(held.pending, 8 - held.dropped.queue_full, "{held}");

    let stats = tracing.shutdown(LONG).await;
    assert_eq!(stats.dropped.shutdown, held.pending, "{stats}");
    assert_eq!((stats.delivered, stats.pending), (0, 0), "{stats}");
    let lines = log.lines();
    let lost: Vec<_> = lines.iter().filter(|line| line.contains("cannot export")).collect();
    let [line] = &lost[..] else { panic!("{lines:?}") };
    assert!(
        line.starts_with(
            "WARN cannot export to the channel of \"never comes\": the program has not given it a \
             channel; spans lost: ",
        ),
        "{line}"
    );
}

#[tokio::test]
async fn both_the_channel_and_the_attributes_are_waited_for() {
    for attributes_first in [true, false] {
        let collector = Collector::start(Script::Ok);
        let tracing = everything()
            .wait_for_resource_attributes(Duration::MAX)
            .start_forwarding_later("both")
            .unwrap();
        serve(&tracing, 3);
        let attributes = || tracing.set_resource_attributes([KeyValue::new("host.id", "a")]);
        let channel = || tracing.set_channel(channel_to(&collector)).unwrap();
        if attributes_first {
            attributes()
        } else {
            channel()
        }
        assert_eq!(tracing.flush(SHORT).await, pending_spans(3));
        assert_eq!(collector.received().len(), 0);
        if attributes_first {
            channel()
        } else {
            attributes()
        }
        assert_eq!(tracing.shutdown(LONG).await, settled(3, 0));
    }
}

#[tokio::test]
async fn only_a_service_that_was_started_so_takes_a_channel() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.grpc_url());
    let error = tracing.set_channel(channel_to(&collector)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this tracing service was not started to send its spans over a channel: start it with \
         start_forwarding_later",
    );
    tracing.shutdown(LONG).await;

    let disabled = TracingServiceConfig::disabled().start_forwarding_later("disabled").unwrap();
    disabled.set_channel(channel_to(&collector)).unwrap();
    assert_eq!(disabled.shutdown(LONG).await, settled(0, 0));
    assert_eq!(collector.connections(), 0);
}

#[test]
fn what_is_about_a_connection_of_the_exporters_own_is_an_error() {
    type Change = fn(TracingServiceConfig) -> TracingServiceConfig;
    let rows: [(Change, &str); 6] = [
        (|it| it.exporter_url("grpc://collector".parse().unwrap()), "exporter_url"),
        (|it| it.ca_certs(["ca.pem"]), "ca_certs"),
        (|it| it.keypair("key.pem", "cert.pem"), "https_keypairs"),
        (|it| it.server_name("collector"), "server_name"),
        (|it| it.compression(tower_otlp::Compression::Gzip), "compression"),
        (|it| it.connect_timeout(Duration::from_secs(1)), "connect_timeout"),
    ];
    for (change, key) in rows {
        let error = change(everything()).start_forwarding_later("refused").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "tracing_service.{key}: has no use, because spans go over a channel of the \
                 program's: remove it",
            ),
        );
    }
}

#[tokio::test]
async fn a_channel_that_hangs_breaks_or_panics_costs_no_more_than_the_attempt() {
    type Row = (Faulty, &'static str);
    let rows: [Row; 5] = [
        (Faulty::NeverReady, "no complete answer within 0.02 s"),
        (Faulty::NeverAnswers, "no complete answer within 0.02 s"),
        (Faulty::Fails, "the tunnel has collapsed"),
        (Faulty::Panics, "the channel panicked"),
        (Faulty::PanicsWhenCloned, "the channel panicked"),
    ];
    for (i, (faulty, words)) in rows.into_iter().enumerate() {
        let name = format!("faulty {i}");
        let log = Log::about(&name);
        let tracing = everything()
            .timeout(Duration::from_millis(20))
            .start_forwarding(&name, faulty)
            .unwrap();
        serve(&tracing, 3);
        let stats = tracing.flush(4 * SHORT).await;
        assert_eq!(stats, pending_spans(3), "{words}");
        wait_for_line_async(&log, words).await;

        let collector = Collector::start(Script::Ok);
        tracing.set_channel(channel_to(&collector)).unwrap();
        // As often as it takes: on a busy machine, the time of an attempt is short for any channel.
        assert_eq!(tracing.flush(LONG).await, settled(3, 0), "{words}");
        assert_eq!(tracing.shutdown(LONG).await, settled(3, 0), "{words}");
    }
}

#[test]
fn a_channel_that_panics_without_a_runtime_costs_no_more_either() {
    for (i, faulty) in [Faulty::Panics, Faulty::PanicsWhenCloned].into_iter().enumerate() {
        let name = format!("faulty without runtime {i}");
        let log = Log::about(&name);
        let tracing = everything().start_forwarding(&name, faulty).unwrap();
        serve(&tracing, 3);
        assert_eq!(tracing.flush_blocking(4 * SHORT), pending_spans(3));
        wait_for_line(&log, "the channel panicked");
        let lines = log.lines();
        assert!(!lines.iter().any(|line| line.contains("restarted")), "{lines:?}");
        let stats = tracing.shutdown_blocking(LONG);
        assert_eq!((stats.delivered, stats.dropped.shutdown), (0, 3));
    }
}

#[test]
fn a_runtime_that_has_ended_takes_no_calls_and_nothing_panics() {
    let collector = Collector::start(Script::Ok);
    let log = Log::about("ended runtime");
    let theirs = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let theirs = theirs.unwrap();
    let tracing = theirs.block_on(async {
        everything().start_forwarding("ended runtime", channel_to(&collector)).unwrap()
    });
    serve(&tracing, 2);
    assert_eq!(tracing.flush_blocking(LONG), settled(2, 0));
    drop(theirs);
    serve(&tracing, 3);
    assert_eq!(tracing.flush_blocking(SHORT).pending, 3);
    wait_for_line(&log, "the runtime of the channel has ended");
    let stats = tracing.shutdown_blocking(LONG);
    assert_eq!((stats.delivered, stats.dropped.shutdown), (2, 3));
}

/// A service that is no good.
enum Faulty {
    NeverReady,
    NeverAnswers,
    Fails,
    Panics,
    PanicsWhenCloned,
}

impl Clone for Faulty {
    fn clone(&self) -> Self {
        match self {
            Self::NeverReady => Self::NeverReady,
            Self::NeverAnswers => Self::NeverAnswers,
            Self::Fails => Self::Fails,
            Self::Panics => Self::Panics,
            Self::PanicsWhenCloned => crate::support::panic_quietly(),
        }
    }
}

impl Service<Request<Body>> for Faulty {
    type Response = Response<Body>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        if matches!(self, Self::NeverReady) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let faulty = self.clone();
        Box::pin(async move {
            match faulty {
                Self::NeverReady | Self::NeverAnswers => pending().await,
                Self::Fails => Err("the tunnel has collapsed".into()),
                Self::Panics | Self::PanicsWhenCloned => crate::support::panic_quietly(),
            }
        }) as Pin<Box<_>>
    }
}

async fn wait_for_line_async(log: &Log, words: &str) {
    let start = Instant::now();
    while !log.lines().iter().any(|line| line.contains(words)) {
        assert!(start.elapsed() < LONG, "no {words:?} in {:?}", log.lines());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn everything() -> TracingServiceConfig {
    TracingServiceConfig::disabled().enabled(true).sampling_rate_per_million(1_000_000)
}

fn channel_to(collector: &Collector) -> transport::Channel {
    let endpoint = transport::Endpoint::from_shared(format!("http://{}", collector.address()));
    endpoint.unwrap().connect_lazy()
}

/// A socket on an address that connections of a moment ago may still have.
fn reused(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// The stats of a service none of whose spans has gone out.
fn pending_spans(spans: u64) -> Stats {
    super::pending(spans)
}
