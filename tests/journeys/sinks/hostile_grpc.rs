//! Collectors on a gRPC port that answer anything but what they should.

use bytes::Bytes;

use super::collector::Collector;
use super::logs::Log;
use super::script::{Answer, Script, Wire, h2, message, partial};
use super::{LONG, SHORT, assert_fails_and_recovers, serve, settled, tracing_to, wait_for_line};

#[test]
fn a_refusal_is_told_by_its_status() {
    let rows: [(Answer, &str, &str); 9] = [
        (
            Answer::grpc("14").trailer("grpc-message", "try later"),
            "refused with UNAVAILABLE: try later; trying again",
            "status in the trailers",
        ),
        (
            Answer::new(200)
                .header("content-type", "application/grpc")
                .header("grpc-status", "16")
                .header("grpc-message", "who%20are%20you%3F%0Aspeak"),
            "refused with UNAUTHENTICATED: who are you? speak; spans lost: 3",
            "status in the head, message percent-encoded and on one line",
        ),
        (
            Answer::grpc("13").trailer("grpc-status-details-bin", "!!no base64!!"),
            "refused with INTERNAL",
            "details that are not base64",
        ),
        (
            Answer::grpc("8").trailer("grpc-message", "%F0%9F%FF%zz%"),
            "refused with RESOURCE_EXHAUSTED",
            "a message that decodes to no text",
        ),
        (
            Answer::grpc("3").trailer("grpc-message", "x".repeat(10_000)),
            &format!("refused with INVALID_ARGUMENT: {}…", "x".repeat(200)),
            "a message of ten pages",
        ),
        (Answer::grpc("banana"), "refused with UNKNOWN", "a status that is no number"),
        (Answer::grpc("4294967296"), "refused with UNKNOWN", "a status above all numbers"),
        (Answer::grpc(""), "refused with UNKNOWN", "an empty status"),
        (
            Answer::grpc("7").header("grpc-status", "0"),
            "refused with PERMISSION_DENIED",
            "a status in the trailers outweighs one in the head",
        ),
    ];
    for (answer, words, why) in rows {
        assert_grpc(answer, words, why);
    }
}

#[test]
fn an_answer_that_is_not_of_grpc_is_a_failure() {
    let elsewhere = Collector::start(Script::Ok);
    let rows = [
        (Answer::new(200), "the answer has no grpc-status", "nothing but 200"),
        (
            Answer::new(200).header("content-type", "application/grpc"),
            "the answer has no grpc-status",
            "an empty body without trailers",
        ),
        (
            Answer::new(200).body(message(0, b"")),
            "the answer has no grpc-status",
            "a whole message, and then no word of success",
        ),
        (
            Answer::new(400).header("content-type", "text/html").body("<html>no certificate"),
            "answered HTTP 400 Bad Request: is this an OTLP/gRPC port?; spans lost: 3",
            "a web server that wants a certificate",
        ),
        (
            Answer::new(503).header("content-type", "text/html").body("<html>down"),
            "answered HTTP 503 Service Unavailable: is this an OTLP/gRPC port?; trying again",
            "a proxy without a backend",
        ),
        (
            Answer::new(307).header("location", elsewhere.http_url()),
            "answered HTTP 307 Temporary Redirect",
            "a redirect",
        ),
        (Answer::protobuf(200, ""), "the answer has no grpc-status", "OTLP/HTTP on this port"),
    ];
    for (answer, words, why) in rows {
        assert_grpc(answer, words, why);
    }
    assert_eq!(elsewhere.connections(), 0, "redirects are not followed");
}

#[test]
fn an_answer_that_is_not_one_message_is_a_failure() {
    let garbage: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let not_one = "the answer is not one uncompressed gRPC message";
    let malformed = "the answer is not a valid protobuf message";
    let rows = [
        (vec![0], not_one, "a head cut off"),
        (message(0, &partial(0, "hello"))[..9].to_vec(), not_one, "a message cut off"),
        (message(1, b""), not_one, "marked as compressed"),
        (message(0xff, b""), not_one, "marked as who knows what"),
        (b"\0\xff\xff\xff\xff".to_vec(), not_one, "announces 4 GiB"),
        (b"\0\xff\xff\xff\xffabc".to_vec(), not_one, "announces 4 GiB and sends three bytes"),
        ([message(0, b""), message(0, b"")].concat(), not_one, "two messages"),
        (garbage.clone(), not_one, "garbage"),
        (message(0, &garbage), malformed, "garbage in a frame"),
        (message(0, b"\x0a\xff\xff\xff\xff\x0f"), malformed, "a field longer than the message"),
        (message(0, b"\x0a\x02\x12\xff"), malformed, "a field longer than the one around it"),
    ];
    for (body, words, why) in rows {
        assert_grpc(Answer::grpc("0").body(body), words, why);
    }
}

#[test]
fn an_answer_beyond_64_kib_is_not_read_to_its_end() {
    let large = Bytes::from(message(0, &partial(0, &"x".repeat(65 << 10))));
    let too_large = "the answer is larger than 65536 bytes";
    let len = large.len().to_string();
    let rows: [(Script, &str, &str); 6] = [
        (
            Answer::grpc("0").body(large.clone()).header("content-length", len).into(),
            too_large,
            "of announced length",
        ),
        (Answer::grpc("0").body(large).into(), too_large, "of unknown length"),
        (Answer::grpc("0").endless(vec![0; 1 << 10]).into(), too_large, "without an end"),
        (
            Answer::new(200)
                .trailer("x-large", "x".repeat(65 << 10))
                .trailer("grpc-status", "0")
                .into(),
            "the answer has no grpc-status",
            "a large trailer field, and the status behind it",
        ),
        (
            many_trailers(Answer::new(200)).trailer("grpc-status", "0").into(),
            "the answer has no grpc-status",
            "ten thousand trailer fields, and the status behind them",
        ),
        (
            Answer::new(200)
                .header("x-large", "x".repeat(65 << 10))
                .header("grpc-status", "0")
                .into(),
            "trying again",
            "a large head",
        ),
    ];
    for (script, words, why) in rows {
        let collector = assert_grpc(script, words, why);
        assert!(collector.written() < MUCH, "{why}: {} bytes", collector.written());
    }
}

#[test]
fn frames_that_no_library_would_send_are_a_failure() {
    use h2::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, frame,
        server,
    };
    let ok = frame(HEADERS, END_HEADERS, 1, h2::OK);
    let many_fields = h2::field("x-field", &"y".repeat(100)).repeat(100);
    let goaway = |last: u32, code: u32| {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        server(&[frame(GOAWAY, 0, 0, &payload)])
    };
    let rows = [
        (Wire::on_accept(""), "closes at once"),
        (Wire::on_accept("").reset(), "resets at once"),
        (Wire::after_request(""), "closes without an answer"),
        (Wire::after_request("").reset(), "resets without an answer"),
        (Wire::on_accept("SSH-2.0-OpenSSH_9.2\r\n"), "another protocol that speaks first"),
        (Wire::on_accept("\x15\x03\x01\0\x02\x02\x46"), "a TLS alert"),
        (Wire::after_request("HTTP/1.1 400 Bad Request\r\n\r\n"), "a server of HTTP/1.1"),
        (Wire::on_accept([0xff; 1000]), "garbage"),
        (Wire::on_accept(goaway(0, 0)), "GOAWAY before the request"),
        (Wire::after_request(goaway(0, 0)), "GOAWAY that leaves the request out"),
        (Wire::after_request(goaway(1, 0)), "GOAWAY that takes the request, and no answer"),
        (Wire::after_request(goaway(0, 11)), "GOAWAY because of ENHANCE_YOUR_CALM"),
        (
            Wire::after_request(server(&[ok.clone(), frame(DATA, 0, 1, b"\0\0\0")])),
            "closes in the middle of the answer",
        ),
        (
            Wire::after_request(server(&[ok.clone(), frame(DATA, 0, 1, b"\0\0\0")])).reset(),
            "resets in the middle of the answer",
        ),
        (
            Wire::after_request(server(&[ok.clone(), frame(RST_STREAM, 0, 1, &[0, 0, 0, 2])])),
            "ends the stream with INTERNAL_ERROR",
        ),
        (
            Wire::after_request(server(&[frame(RST_STREAM, 0, 1, &[0, 0, 0, 7])])),
            "refuses the stream",
        ),
        (
            Wire::after_request(server(&[frame(DATA, 0, 1, b"\0\0\0\0\0")])),
            "a body before its head",
        ),
        (
            Wire::after_request(server(&[frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 9])])),
            "a head that is no HPACK",
        ),
        (
            Wire::after_request(server(&[frame(HEADERS, END_HEADERS, 3, h2::OK)])),
            "an answer to a request that was never made",
        ),
        (Wire::after_request(server(&[frame(SETTINGS, 0, 0, b"12345")])), "settings cut off"),
        (
            Wire::after_request(server(&[vec![0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]])),
            "a frame of 16 MiB, announced",
        ),
        (
            Wire::after_request(server(&[frame(HEADERS, 0, 1, h2::OK)])).endless(frame(
                CONTINUATION,
                0,
                1,
                &many_fields,
            )),
            "a head without an end",
        ),
        (
            Wire::after_request(server(&[ok, frame(HEADERS, END_STREAM, 1, b"")])).endless(frame(
                CONTINUATION,
                0,
                1,
                &many_fields,
            )),
            "trailers without an end",
        ),
    ];
    for (wire, why) in rows {
        let collector = assert_grpc(wire, "trying again", why);
        assert!(collector.written() < MUCH, "{why}: {} bytes", collector.written());
    }
}

#[test]
fn success_that_is_told_before_a_flood_of_trailers_is_success() {
    // What is beyond 64 KiB is not kept.
    let rows = [
        (Answer::grpc("0").trailer("x-large", "x".repeat(65 << 10)), "a large field"),
        (many_trailers(Answer::grpc("0")), "ten thousand fields"),
    ];
    for (answer, why) in rows {
        let collector = Collector::start(answer);
        let tracing = tracing_to(&collector.grpc_url());
        serve(&tracing, 1);
        assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0), "{why}");
    }
}

#[test]
fn a_flood_that_ignores_the_flow_control_is_left_behind() {
    use h2::{DATA, END_HEADERS, HEADERS, frame, server};
    // The library ends the stream, and would go on reading the connection for ever.
    let flood = Wire::after_request(server(&[frame(HEADERS, END_HEADERS, 1, h2::OK)]))
        .endless(frame(DATA, 0, 1, &[0; 1 << 10]));
    // Either the library counts the bytes first, and the spans are kept, or we do, and they are
    // lost. Tried again, it may be the other of the two.
    let collector = Collector::start(flood);
    let log = Log::about(&collector.grpc_url());
    let tracing = tracing_to(&collector.grpc_url());
    serve(&tracing, 3);
    let _ = tracing.flush_blocking(SHORT);
    wait_for_line(&log, "cannot export");

    collector.play(Script::Ok);
    serve(&tracing, 2);
    let stats = tracing.flush_blocking(LONG);
    assert!(stats.delivered >= 2, "{stats}: {:?}", log.lines());
    assert_eq!(stats, settled(stats.delivered, 5 - stats.delivered), "{:?}", log.lines());
}

/// Adds ten thousand of them.
fn many_trailers(answer: Answer) -> Answer {
    (0..10_000).fold(answer, |answer, _| answer.trailer("x-many", "y"))
}

fn assert_grpc(script: impl Into<Script>, words: &str, why: &str) -> Collector {
    let collector = Collector::start(script);
    assert_fails_and_recovers(&collector, &collector.grpc_url(), words, why);
    collector
}

/// Far more than what is read of an answer and what the sockets hold between them.
const MUCH: u64 = 16 << 20;
