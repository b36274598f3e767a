//! Memory that a forwarder takes while senders do all they can to have it take more: what it was
//! given for them, and something for each connection and each request that it allows.
//!
//! The senders are a process of their own, this binary again, so that their memory is not counted.

mod attack;

use std::convert::Infallible;
use std::env;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_otlp::{
    ForwardLimits, ForwarderStats, Identity, QueueConfig, SpanForwarder, TracingService,
    TracingServiceConfig,
};

use super::live;

#[test]
#[expect(clippy::print_stderr, reason = "how much is left of the allowance is worth knowing")]
fn hostile_senders_take_no_more_than_a_forwarder_has_for_them() {
    if let Ok(target) = env::var(TARGET) {
        return attack::run(&target, env::var_os(FILL).is_some());
    }
    let _alone = live::alone();
    let runtime =
        runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _entered = runtime.enter();
    // Bound, the port is refused to clients and to other tests.
    let absent = TcpSocket::new_v4().unwrap();
    absent.bind("127.0.0.1:0".parse().unwrap()).unwrap();

    let before = live::start();
    let url = format!("grpc://{}", absent.local_addr().unwrap());
    let tracing = TracingServiceConfig::new(url.parse().unwrap())
        .queue(QueueConfig::default().max_bytes(2 * POOL))
        .start("memory")
        .unwrap();
    let forwarder = forwarder(&tracing);
    let address = runtime.block_on(serve(forwarder.clone()));
    for fill in [false, true] {
        let stats = attack(address, fill, &forwarder);
        let peak = live::peak() - before;
        eprintln!("fill: {fill}, {} KiB at most; {stats:?}", peak >> 10);
        assert!(peak <= BOUND, "{peak} bytes, fill: {fill}");
        assert!(peak > POOL / 4, "{peak} bytes: they were kept out before it came to anything");
        let left = wait_for_less(before + IDLE + if fill { POOL } else { 0 });
        eprintln!("{} KiB afterwards", left.saturating_sub(before) >> 10);
    }
    let pending = tracing.stats().pending;
    assert!(pending > 0 && pending == forwarder.stats().spans, "{pending} spans wait");
    let stats = tracing.shutdown_blocking(Duration::ZERO);
    assert_eq!((stats.dropped.shutdown, stats.pending), (pending, 0));
    wait_for_less(before + IDLE);
}

/// Takes spans of whoever gives a name.
fn forwarder(tracing: &TracingService) -> SpanForwarder {
    let forwarder = tracing.forwarder(|request| match request.headers.get("who") {
        Some(who) => Identity::allow(who.to_str().unwrap_or_default().to_owned()),
        None => Identity::deny("who are you?"),
    });
    let limits = ForwardLimits::default().requests(REQUESTS).receive_time(Duration::from_secs(1));
    forwarder.limits(limits)
}

/// Both services on one port, and what is the server's to limit: how many connections there are,
/// and how much hyper holds for each.
async fn serve(forwarder: SpanForwarder) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::spawn(async move {
        loop {
            let place = Arc::clone(&places).acquire_owned().await.unwrap();
            let Ok((stream, _)) = listener.accept().await else { return };
            let (grpc, http) = (forwarder.grpc(), forwarder.http());
            let service = service_fn(move |request: Request<Incoming>| {
                let (grpc, http) = (grpc.clone(), http.clone());
                async move {
                    let answer = match request.uri().path() {
                        "/v1/traces" => http.oneshot(request).await,
                        _ => grpc.oneshot(request).await,
                    };
                    Ok::<_, Infallible>(answer.unwrap_or_else(|never| match never {}))
                }
            });
            tokio::spawn(async move {
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http1().max_buf_size(WINDOW as usize).timer(TokioTimer::new());
                server
                    .http2()
                    .initial_stream_window_size(WINDOW)
                    .initial_connection_window_size(WINDOW)
                    .max_concurrent_streams(4)
                    .max_header_list_size(16 << 10);
                // How connections end is their senders' business.
                drop(server.serve_connection(TokioIo::new(stream), service).await);
                drop(place);
            });
        }
    });
    address
}

/// Lets them come, and waits until they have all been answered.
fn attack(target: SocketAddr, fill: bool, forwarder: &SpanForwarder) -> ForwarderStats {
    let before = forwarder.stats();
    let name = "hostile::hostile_senders_take_no_more_than_a_forwarder_has_for_them";
    let mut senders = Command::new(env::current_exe().unwrap());
    senders.args(["--exact", name, "--nocapture"]).env(TARGET, target.to_string());
    if fill {
        senders.env(FILL, "yes");
    }
    let output = senders.output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success() && said[0].contains("1 passed"), "{said:?}");
    let stats = forwarder.stats();
    assert!(stats.requests > before.requests, "{said:?}");
    assert_eq!(stats.taken > before.taken, fill, "{stats:?}");
    assert!(stats.refused.over_limit > before.refused.over_limit, "{stats:?}");
    if !fill {
        // Each has got as far as it could: the clock has stopped it, or its size.
        assert!(stats.refused.timed_out > 0 && stats.refused.too_large > 0, "{stats:?}");
    }
    stats
}

/// Waits until no more than this is allocated: connections end a moment after their peers.
fn wait_for_less(most: usize) -> usize {
    let start = Instant::now();
    while live::now() > most {
        assert!(start.elapsed() < PATIENCE, "{} bytes, of {most}", live::now());
        std::thread::sleep(Duration::from_millis(10));
    }
    live::now()
}

const TARGET: &str = "TOWER_OTLP_TEST_TARGET";
const FILL: &str = "TOWER_OTLP_TEST_FILL";
const PATIENCE: Duration = Duration::from_secs(60);
/// What the forwarder has for the bytes of others, which is a half of the queue by default.
const POOL: usize = 8 << 20;
const CONNECTIONS: usize = 64;
/// Of all senders, at the same time.
const REQUESTS: usize = 48;
/// What hyper takes in of a connection before anybody asks for it.
const WINDOW: u32 = 32 << 10;
/// Around that: buffers of frames and heads, and tables.
const CONNECTION: usize = WINDOW as usize + (32 << 10);
/// The state of a decompressor, and what is on its way through it.
const REQUEST: usize = 64 << 10;
/// The pipeline and the runtime, when nothing waits.
const IDLE: usize = 1 << 20;
const BOUND: usize = POOL + CONNECTIONS * CONNECTION + REQUESTS * REQUEST + IDLE;
