//! Collectors that are not there, come and go, or keep the exporter waiting.

use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;

use super::collector::Collector;
use super::logs::Log;
use super::script::{Script, Wire, h2};
use super::{LONG, SHORT, ids, pending, serve, settled, shut_down, tracing_to, wait_for_line};

#[test]
fn spans_wait_while_nobody_listens_and_arrive_once_somebody_does() {
    for url in ["grpc://127.0.0.1:PORT", "http://127.0.0.1:PORT/v1/traces"] {
        // Bound, the port is refused to clients and to other tests.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = url.replace("PORT", &socket.local_addr().unwrap().port().to_string());
        let log = Log::about(&url);
        let tracing = tracing_to(&url);
        let mut served = serve(&tracing, 3);
        assert_eq!(tracing.flush_blocking(SHORT), pending(3), "{url}");
        served.extend(serve(&tracing, 4));
        assert_eq!(tracing.flush_blocking(SHORT), pending(7), "{url}");
        wait_for_line(&log, "Connection refused");

        let collector = Collector::on(socket, Script::Ok);
        served.extend(serve(&tracing, 2));
        assert_eq!(tracing.flush_blocking(LONG), settled(9, 0), "{url}");
        assert_eq!(collector.ids(), ids(&served), "{url}");
        assert_eq!(collector.spans().len(), 9, "{url}: none twice");
        let [away, back] = &log.lines()[..] else { panic!("{:?}", log.lines()) };
        assert!(away.ends_with("; trying again, spans are kept up to 32 MiB"), "{away}");
        assert!(back.contains(&format!("delivered again to {url} after")), "{back}");
        assert!(back.ends_with(" s, 0 lost"), "{back}");
    }
}

#[test]
fn exports_that_share_a_connection_tell_one_reason_why_there_is_none() {
    for url in ["grpc://localhost:PORT", "http://localhost:PORT/v1/traces"] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = url.replace("PORT", &socket.local_addr().unwrap().port().to_string());
        let log = Log::about(&url);
        let tracing = tracing_to(&url);
        for round in 1..=6 {
            // More than one request takes.
            serve(&tracing, 5_000);
            assert_eq!(tracing.flush_blocking(SHORT), pending(5_000 * round), "{url}");
        }
        let stats = tracing.shutdown_blocking(LONG);
        assert_eq!(stats, shut_down(30_000), "each had its last attempt");
        let [line] = &log.lines()[..] else { panic!("{:?}", log.lines()) };
        assert!(line.contains("cannot connect: Connection refused"), "{line}");
    }
}

#[test]
fn a_collector_that_restarts_between_two_exports_costs_no_span() {
    for url in [Collector::grpc_url, Collector::http_url] {
        let collector = Collector::start(Script::Ok);
        let url = url(&collector);
        let log = Log::about(&url);
        let tracing = tracing_to(&url);
        for restart in 1..=5 {
            serve(&tracing, 1);
            let stats = tracing.flush_blocking(LONG);
            assert_eq!(stats, settled(restart, 0), "{:?}", log.lines());
            assert_eq!(collector.connections(), 1, "closed and made again each time");
            collector.disconnect();
        }
        assert_eq!(tracing.shutdown_blocking(LONG), settled(5, 0));
    }
}

#[test]
fn an_unresolvable_name_is_a_failure() {
    // No resolver asks anyone about a label of more than 63 characters.
    let name = format!("{}.invalid", "a".repeat(64));
    for url in [format!("grpc://{name}:4317"), format!("http://{name}:4318/v1/traces")] {
        let log = Log::about(&url);
        let tracing = tracing_to(&url);
        serve(&tracing, 3);
        assert_eq!(tracing.shutdown_blocking(LONG), shut_down(3), "{url}");
        let [line] = &log.lines()[..] else { panic!("{:?}", log.lines()) };
        assert!(line.contains("cannot connect: failed to lookup address"), "{line}");
    }
}

#[test]
fn a_collector_that_does_not_answer_keeps_nobody_beyond_the_deadline() {
    for (url, script, why) in silences() {
        let collector = Collector::start(script);
        let tracing = tracing_to(&url(&collector));
        serve(&tracing, 3);
        assert_eq!(tracing.flush_blocking(SHORT), pending(3), "{why}");
        assert_eq!(tracing.shutdown_blocking(SHORT), shut_down(3), "{why}");
    }
}

#[test]
fn a_collector_that_talks_without_end_keeps_nobody_beyond_the_deadline() {
    use h2::{DATA, END_HEADERS, HEADERS, PING, SETTINGS, frame, server};
    type Url = fn(&Collector) -> String;
    let grpc: Url = Collector::grpc_url;
    let http: Url = Collector::http_url;
    let ok = frame(HEADERS, END_HEADERS, 1, h2::OK);
    let interim = frame(HEADERS, END_HEADERS, 1, &h2::field(":status", "103"));
    let rows = [
        (
            http,
            Wire::after_request("").endless("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100)),
            "interim answers of HTTP/1.1",
        ),
        (http, Wire::after_request("").endless("\r\n".repeat(100)), "empty lines"),
        (
            http,
            Wire::after_request("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .endless("0".repeat(1000)),
            "the zeros before the length of a chunk",
        ),
        (grpc, Wire::after_request(server(&[])).endless(interim.repeat(100)), "interim answers"),
        (
            grpc,
            Wire::after_request(server(&[])).endless(frame(PING, 0, 0, &[7; 8]).repeat(100)),
            "pings",
        ),
        (
            grpc,
            Wire::after_request(server(&[])).endless(frame(SETTINGS, 0, 0, b"").repeat(100)),
            "settings",
        ),
        (
            grpc,
            Wire::after_request(server(&[ok])).endless(frame(DATA, 0, 1, b"").repeat(100)),
            "empty pieces of a body",
        ),
        (
            grpc,
            Wire::after_request(server(&[])).endless(frame(0xee, 0, 0, b"?").repeat(100)),
            "frames of an unknown kind",
        ),
    ];
    for (url, wire, why) in rows {
        let collector = Collector::start(wire);
        let tracing = tracing_to(&url(&collector));
        serve(&tracing, 3);
        let _ = tracing.flush_blocking(SHORT);
        collector.wait_until_played();
        let stats = within(PATIENCE, why, move || tracing.shutdown_blocking(SHORT));
        // The library may have had enough before.
        let lost = stats.dropped.shutdown + stats.dropped.failed;
        assert_eq!((stats.accepted, lost, stats.pending), (3, 3, 0), "{why}: {stats}");
    }
}

#[test]
fn an_exchange_that_hangs_is_given_up_and_its_connection_not_used_again() {
    // Side by side, for each takes the ten seconds that an exchange may take.
    thread::scope(|scope| {
        for (url, script, why) in silences() {
            scope.spawn(move || {
                let collector = Collector::start(script);
                let url = url(&collector);
                let log = Log::about(&url);
                let tracing = tracing_to(&url);
                serve(&tracing, 3);
                assert_eq!(tracing.flush_blocking(SHORT), pending(3), "{why}");
                wait_for_line(&log, "no complete answer within 10 s; trying again");

                collector.play(Script::Ok);
                serve(&tracing, 2);
                // Another attempt may have begun, and hang, before the collector was well again.
                let stats = tracing.flush_blocking(LONG);
                assert_eq!(stats, settled(5, 0), "{why}: {:?}", log.lines());
            });
        }
    });
}

#[test]
fn a_port_that_takes_no_connection_keeps_nobody_beyond_the_deadline() {
    // Connections wait to be accepted, and nobody will.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for scheme in ["grpc", "http"] {
        let tracing = tracing_to(&format!("{scheme}://{address}"));
        serve(&tracing, 3);
        assert_eq!(tracing.shutdown_blocking(SHORT), shut_down(3), "{scheme}");
    }
}

#[test]
fn a_deadline_of_nothing_loses_what_is_left_and_returns() {
    let collector = Collector::start(Script::Silence);
    let tracing = tracing_to(&collector.grpc_url());
    serve(&tracing, 2000);
    let stats = tracing.shutdown_blocking(Duration::ZERO);
    assert_eq!(stats, shut_down(2000));
}

type Silence = (fn(&Collector) -> String, Script, &'static str);

/// The ways to keep a client waiting.
fn silences() -> Vec<Silence> {
    let grpc: fn(&Collector) -> String = Collector::grpc_url;
    let http: fn(&Collector) -> String = Collector::http_url;
    let ok = h2::frame(h2::HEADERS, h2::END_HEADERS, 1, h2::OK);
    let begun = h2::frame(h2::DATA, 0, 1, b"\0\0\0");
    let begun = h2::server(&[ok, begun]);
    let of_ten = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    vec![
        (grpc, Script::Silence, "gRPC: no answer to a request"),
        (http, Script::Silence, "HTTP: no answer to a request"),
        (grpc, Wire::on_accept("").hold().into(), "gRPC: not a byte"),
        (http, Wire::on_accept("").hold().into(), "HTTP: not a byte"),
        (grpc, Wire::after_request(begun).hold().into(), "gRPC: half a body"),
        (http, Wire::after_request(of_ten).hold().into(), "HTTP: half a body"),
        (http, Wire::after_request("HTTP/1.1 200 O").hold().into(), "HTTP: half a head"),
    ]
}

/// Fails a test that would otherwise hang.
fn within<T: Send + 'static>(
    patience: Duration,
    why: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(work()));
    told.recv_timeout(patience).unwrap_or_else(|_| panic!("{why}: does not return"))
}

const PATIENCE: Duration = Duration::from_secs(60);
