//! What requests of a server wait when its collector is dead, against when it is alive.
//!
//!     cargo bench --bench outage
//!
//! A server over loopback, every request of which becomes a span, with a collector that takes them
//! and with one that is not there: nobody listens on its port, and what waits has filled the queue
//! before the first round. Rounds with the two alternate, in an order that alternates too, and the
//! 99th percentiles of a pair of rounds are compared. Read the median of the ratios; what the
//! machine does besides is in both. A last line compares the living with itself: so far a ratio is
//! nothing but noise.

#![expect(clippy::print_stdout, reason = "it prints a table")]

#[path = "../overhead/collector.rs"]
mod collector;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower_otlp::{QueueConfig, TraceLayer, TracingService, TracingServiceConfig};

fn main() {
    let asked = |what| std::env::args().any(|argument| argument == what);
    // Cargo may only check that benches build and run.
    let rounds = if asked("--bench") && !asked("--test") { ROUNDS } else { 1 };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let collectors = [collector::start(), collector::start()];
    runtime.expect("a runtime").block_on(compare(rounds, collectors));
}

async fn compare(rounds: usize, collectors: [SocketAddr; 2]) {
    let absent = TcpSocket::new_v4().expect("a socket");
    // Bound, the port is refused to clients and to others that look for one.
    absent.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let dead = Server::start(absent.local_addr().expect("an address")).await;
    let [alive, control] = collectors;
    let (alive, control) = (Server::start(alive).await, Server::start(control).await);
    for server in [&dead, &alive, &control] {
        server.round(WARM_UP).await;
    }

    println!("{:>5} {:>12} {:>12} {:>12} {:>8}", "round", "alive", "dead", "alive again", "ratio");
    let (mut ratios, mut noise) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut p99 = [Duration::ZERO; 3];
        let mut order = [(0, &alive), (1, &dead), (2, &control)];
        order.rotate_left(round % 3);
        for (place, server) in order {
            p99[place] = server.round(REQUESTS).await;
        }
        let [alive, dead, again] = p99.map(|p99| p99.as_secs_f64() * 1e6);
        ratios.push(dead / alive);
        noise.push(again / alive);
        let ratio = dead / alive;
        println!("{round:>5} {alive:>9.0} µs {dead:>9.0} µs {again:>9.0} µs {ratio:>8.3}");
    }
    println!("median of dead to alive:  {:.3}", median(&mut ratios));
    println!("median of alive to alive: {:.3}", median(&mut noise));
    for (name, server) in [("alive", alive), ("dead", dead)] {
        println!("{name}: {}", server.tracing.shutdown(Duration::from_secs(1)).await);
    }
}

/// A server, and the service that traces it.
struct Server {
    tracing: TracingService,
    address: SocketAddr,
}

impl Server {
    async fn start(collector: SocketAddr) -> Self {
        let tracing =
            TracingServiceConfig::new(format!("grpc://{collector}").parse().expect("a URL"))
                .sampling_rate_per_million(1_000_000)
                .queue(QueueConfig::default().max_bytes(QUEUE))
                .start("outage")
                .expect("a thread");
        let app = Router::new()
            .route("/users/{id}", get(async |Path(id): Path<u64>| format!("user {id}")))
            .layer(TraceLayer::server(&tracing));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async { axum::serve(listener, app).await });
        Self { tracing, address }
    }

    /// Makes so many requests, and tells within which time 99 of 100 were answered.
    async fn round(&self, requests: usize) -> Duration {
        let share = requests / CONNECTIONS;
        let connections = (0..CONNECTIONS).map(|_| tokio::spawn(requests_to(self.address, share)));
        let mut times = Vec::with_capacity(requests);
        for connection in connections.collect::<Vec<_>>() {
            times.extend(connection.await.expect("no panic"));
        }
        times.sort_unstable();
        times[times.len() * 99 / 100]
    }
}

/// One after the other, on a connection of their own.
async fn requests_to(address: SocketAddr, requests: usize) -> Vec<Duration> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket option");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let mut times = Vec::with_capacity(requests);
    for _ in 0..requests {
        let request = Request::get("/users/42").header("host", "localhost");
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let began = Instant::now();
        let response = sender.send_request(request).await.expect("an answer");
        response.into_body().collect().await.expect("a whole answer");
        times.push(began.elapsed());
    }
    times
}

fn median(ratios: &mut [f64]) -> f64 {
    ratios.sort_unstable_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

const ROUNDS: usize = 21;
/// Of a round.
const REQUESTS: usize = 4_000;
/// More than the queue of the dead takes.
const WARM_UP: usize = 20_000;
const CONNECTIONS: usize = 2;
/// The least that there may be, so that it is soon full.
const QUEUE: usize = 1 << 20;
