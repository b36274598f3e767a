//! Collectors that want spans later, or fewer of them at once.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use prost::Message;
use tokio::net::TcpSocket;

use super::collector::{Collector, Received};
use super::script::{Answer, Script};
use super::*;

#[test]
fn retryable_codes_are_tried_again_and_no_span_is_lost_or_sent_twice() {
    let grpc: fn(&Collector) -> String = Collector::grpc_url;
    let http: fn(&Collector) -> String = Collector::http_url;
    let rows = [
        (grpc, Answer::grpc("1"), "CANCELLED"),
        (grpc, Answer::grpc("4"), "DEADLINE_EXCEEDED"),
        (grpc, Answer::grpc("10"), "ABORTED"),
        (grpc, Answer::grpc("11"), "OUT_OF_RANGE"),
        (grpc, Answer::grpc("14"), "UNAVAILABLE"),
        (grpc, Answer::grpc("15"), "DATA_LOSS"),
        (
            grpc,
            Answer::grpc("8").trailer(DETAILS, MILLIS_300),
            "RESOURCE_EXHAUSTED, with RetryInfo",
        ),
        (http, Answer::new(429), "429"),
        (http, Answer::new(502), "502"),
        (http, Answer::new(503), "503"),
        (http, Answer::new(504), "504"),
    ];
    for (url, answer, why) in rows {
        let collector = Collector::start(Script::First(3, Box::new(answer)));
        let tracing = tracing_to(&url(&collector));
        let served = serve(&tracing, 5);
        assert_eq!(tracing.flush_blocking(LONG), settled(5, 0), "{why}");
        assert_eq!(collector.ids(), ids(&served), "{why}");
        assert_eq!(tracing.shutdown_blocking(LONG), settled(5, 0), "{why}");
    }
}

#[test]
fn retry_info_and_retry_after_are_obeyed() {
    type Row = (fn(&Collector) -> String, Answer, u64, &'static str);
    let rows: [Row; 3] = [
        (
            Collector::grpc_url,
            Answer::grpc("14").trailer(DETAILS, MILLIS_300),
            300,
            "RetryInfo of 300 ms",
        ),
        (
            Collector::http_url,
            Answer::new(503).header("retry-after", "1"),
            1000,
            "Retry-After in seconds",
        ),
        (
            Collector::grpc_url,
            Answer::new(503).header("retry-after", "1"),
            1000,
            "of a proxy before a gRPC server",
        ),
    ];
    for (url, answer, millis, why) in rows {
        let collector = Collector::start(Script::First(1, Box::new(answer)));
        let log = Log::about(&url(&collector));
        let tracing = tracing_to(&url(&collector));
        serve(&tracing, 2);
        let start = Instant::now();
        assert_eq!(tracing.flush_blocking(LONG), settled(2, 0), "{why}");
        assert!(start.elapsed() >= Duration::from_millis(millis), "{why}: {:?}", start.elapsed());
        assert!(log.lines()[1].ends_with("s, 0 lost"), "{why}: {:?}", log.lines());
    }
}

#[test]
fn message_too_large_is_sent_in_parts_and_only_a_giant_span_is_lost() {
    const MOST: usize = 100_000;
    let tonic = "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes";
    type Row = (fn(&Collector) -> String, Answer, &'static str);
    let rows: [Row; 3] = [
        (Collector::grpc_url, Answer::grpc("11").trailer("grpc-message", tonic), "tonic"),
        (
            Collector::grpc_url,
            Answer::grpc("8").trailer("grpc-message", "received message larger than max (5 vs. 4)"),
            "Go",
        ),
        (Collector::http_url, Answer::new(413), "HTTP"),
    ];
    for (url, answer, why) in rows {
        let collector = Collector::start(Script::UpTo(MOST, Box::new(answer)));
        let log = Log::about(&url(&collector));
        let tracing = tracing_to(&url(&collector));
        let mut served = serve(&tracing, 1000);
        serve_large(&tracing, MOST);
        served.extend(serve(&tracing, 1000));
        let stats = tracing.flush_blocking(LONG);
        let mut expected = settled(2000, 0);
        expected.accepted += 1;
        expected.dropped.too_large = 1;
        assert_eq!(stats, expected, "{why}: {:?}", log.lines());
        let lines = log.lines();
        assert!(lines[0].contains("takes only smaller requests"), "{why}: {lines:?}");
        assert!(lines.iter().any(|line| line.contains("; spans lost: 1,")), "{why}: {lines:?}");

        let before = collector.received().len();
        served.extend(serve(&tracing, 2000));
        expected.accepted += 2000;
        expected.delivered += 2000;
        assert_eq!(tracing.shutdown_blocking(LONG), expected, "{why}");
        assert!(collector.ids().is_superset(&ids(&served)), "{why}");
        let later = collector.received().split_off(before);
        let large = later.iter().filter(|it| it.message.encoded_len() > MOST).count();
        assert!(large <= 1, "{why}: {large} were too large although smaller ones are wanted");
    }
}

#[test]
fn too_large_is_understood_when_it_is_said_before_all_was_sent() {
    type Serve = fn(TcpStream) -> io::Result<()>;
    let rows: [(&str, Serve); 2] = [("http", early_http), ("grpc", early_grpc)];
    for (scheme, serve) in rows {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("{scheme}://{}", socket.local_addr().unwrap());
        let log = Log::about(&url);
        let tracing = tracing_to(&url);
        // While nobody listens they gather, but for the first.
        for _ in 0..32 {
            serve_large(&tracing, 200_000);
        }
        assert_eq!(tracing.flush_blocking(SHORT), pending(32));
        wait_for_line(&log, "Connection refused");
        thread::spawn(move || listen(socket, serve));
        assert_eq!(tracing.flush_blocking(LONG), settled(32, 0), "{:?}", log.lines());
        let lines = log.lines();
        assert!(lines.iter().any(|line| line.contains("takes only smaller requests")), "{lines:?}");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn listen(socket: TcpSocket, serve: fn(TcpStream) -> io::Result<()>) {
    let listener = socket.listen(16).unwrap();
    loop {
        let stream = listener.accept().await.unwrap().0.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        thread::spawn(move || serve(stream));
    }
}

/// Says 413 to what is above a limit as soon as the head is there, as proxies do it, and takes no
/// more of it than what comes while the client hears that.
fn early_http(mut stream: TcpStream) -> io::Result<()> {
    let mut seen = Vec::new();
    loop {
        let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") else {
            let mut piece = [0; 1 << 10];
            let read = stream.read(&mut piece)?;
            if read == 0 {
                return Ok(());
            }
            seen.extend_from_slice(&piece[..read]);
            continue;
        };
        let head = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
        let (_, length) = head.split_once("content-length: ").expect("the exporter tells it");
        let length = length.lines().next().unwrap_or_default().parse::<usize>().unwrap();
        if length > EARLY_LIMIT {
            stream.write_all(
                b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            )?;
            stream.shutdown(Shutdown::Write)?;
            return io::copy(&mut stream, &mut io::sink()).map(drop);
        }
        let rest = seen.split_off(end + 4);
        let missing = length.saturating_sub(rest.len()) as u64;
        io::copy(&mut Read::take(&stream, missing), &mut io::sink())?;
        seen.clear();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

/// The same over gRPC: once it is told how long the message is.
fn early_grpc(stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream)?;
        let mut connection = ::h2::server::handshake(stream).await.map_err(io::Error::other)?;
        while let Some(accepted) = connection.accept().await {
            let (request, mut respond) = accepted.map_err(io::Error::other)?;
            tokio::spawn(async move {
                let mut body = request.into_body();
                let (mut seen, mut announced) = (Vec::new(), 5);
                while seen.len() < announced && announced <= EARLY_LIMIT {
                    let Some(Ok(data)) = body.data().await else { return };
                    let _ = body.flow_control().release_capacity(data.len());
                    seen.extend_from_slice(&data);
                    if let [_, a, b, c, d, ..] = seen[..] {
                        announced = 5 + u32::from_be_bytes([a, b, c, d]) as usize;
                    }
                }
                let is_taken = announced <= EARLY_LIMIT;
                let (status, message) =
                    if is_taken { ("0", "") } else { ("8", "received message larger than max") };
                let head = Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", status)
                    .header("grpc-message", message);
                let _ = respond.send_response(head.body(()).unwrap(), true);
            });
        }
        Ok(())
    })
}

#[test]
fn partial_success_is_never_retried() {
    for url in [Collector::grpc_url, Collector::http_url] {
        let collector = Collector::start(Script::Partial(2, "no room"));
        let log = Log::about(&url(&collector));
        let tracing = tracing_to(&url(&collector));
        serve(&tracing, 3);
        let stats = tracing.shutdown_blocking(LONG);
        // The exporter's clock may have cut the three in two, each with an answer.
        let spans: Vec<_> = collector.received().iter().map(Received::spans).collect();
        assert_eq!(spans.iter().sum::<usize>(), 3, "none was sent again: {spans:?}");
        let rejected: usize = spans.iter().map(|&spans| spans.min(2)).sum();
        let mut expected = settled(3 - rejected as u64, 0);
        (expected.accepted, expected.rejected) = (3, rejected as u64);
        assert_eq!(stats, expected);
        let line = format!("rejected {} of {} spans: no room", spans[0].min(2), spans[0]);
        assert!(log.lines()[0].ends_with(&line), "{:?}", log.lines());
    }
}

/// Bytes of a request.
const EARLY_LIMIT: usize = 1 << 20;
const DETAILS: &str = "grpc-status-details-bin";
/// A `google.rpc.Status` with a `RetryInfo`, in base64 without padding.
const MILLIS_300: &str =
    "CA4aNAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIICgYQgMaGjwE";
