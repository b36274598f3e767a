//! Collectors on an HTTP port that answer anything but what they should.

use bytes::Bytes;

use super::collector::Collector;
use super::script::{Answer, Script, Wire, h2, partial};
use super::{LONG, assert_fails_and_recovers, serve, settled, tracing_to};

#[test]
fn a_refusal_is_told_by_its_status_and_in_its_words() {
    let elsewhere = Collector::start(Script::Ok);
    // A `google.rpc.Status`: field 2 is the message.
    let status = |message: &str| {
        let len = u8::try_from(message.len()).ok().filter(|&len| len < 128).unwrap();
        [b"\x08\x03\x12", &[len][..], message.as_bytes()].concat()
    };
    let redirect = |status: u16| Answer::new(status).header("location", elsewhere.http_url());
    let html = |status: u16| {
        Answer::new(status).header("content-type", "text/html").body("<html>secret</html>")
    };
    let rows = [
        (Answer::protobuf(400, status("no span id")), "Bad Request: no span id", "its own words"),
        (Answer::protobuf(401, status("a\nb")), "401 Unauthorized: a b", "on one line"),
        (Answer::protobuf(429, ""), "429 Too Many Requests; trying again", "no words"),
        (
            Answer::protobuf(500, vec![0xff; 100]),
            "500 Internal Server Error; spans lost",
            "garbage for words",
        ),
        (
            Answer::protobuf(503, b"\x12\xff\xff\xff\xff\x0fabc".to_vec()),
            "503 Service Unavailable; trying again",
            "words that are longer than the answer",
        ),
        (html(404), "404 Not Found; spans lost", "a web server: its page is not for the log"),
        (html(502), "502 Bad Gateway; trying again", "a proxy without a backend"),
        (html(200), "answered with text/html", "a web server that answers everything"),
        (Answer::new(999), "999", "a status that nobody knows"),
        (redirect(301), "301 Moved Permanently", "a redirect"),
        (redirect(302), "302 Found", "a redirect"),
        (redirect(307), "307 Temporary Redirect", "a redirect that keeps the method"),
        (redirect(308), "308 Permanent Redirect", "a redirect that keeps the method, for ever"),
    ];
    for (answer, words, why) in rows {
        assert_http(answer, words, why);
    }
    assert_eq!(elsewhere.connections(), 0, "redirects are not followed");
}

#[test]
fn an_answer_that_is_not_protobuf_is_a_failure() {
    let malformed = "the answer is not a valid protobuf message";
    let rows = [
        (vec![0xff; 1000], "garbage"),
        (b"<html>".to_vec(), "a page with the wrong content type"),
        (partial(1, "hello")[..5].to_vec(), "cut off"),
        (b"\x0a\xff\xff\xff\xff\x0f".to_vec(), "a field longer than the message"),
        (b"\x0a\x02\x12\xff".to_vec(), "a field longer than the one around it"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0".to_vec(), "compressed, unasked"),
    ];
    for (body, why) in rows {
        assert_http(Answer::protobuf(200, body), malformed, why);
    }
}

#[test]
fn an_answer_beyond_64_kib_is_not_read_to_its_end() {
    let large = Bytes::from(partial(0, &"x".repeat(65 << 10)));
    let too_large = "the answer is larger than 65536 bytes";
    let len = large.len().to_string();
    let head = "HTTP/1.1 200 OK\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let fields = format!("x-field: {}\r\n", "y".repeat(100)).repeat(100);
    let rows: [(Script, &str, &str); 11] = [
        (
            Answer::protobuf(200, large.clone()).header("content-length", len).into(),
            too_large,
            "of announced length",
        ),
        (Answer::protobuf(200, large.clone()).into(), too_large, "of unknown length"),
        (Answer::protobuf(503, large).into(), "bytes; trying again", "of an error that may pass"),
        (Answer::new(200).endless(vec![0; 1 << 10]).into(), too_large, "without an end"),
        (
            Wire::after_request("HTTP/1.0 200 OK\r\n\r\n").endless([b'x'; 1 << 10]).into(),
            too_large,
            "that ends with the connection, which does not end",
        ),
        (
            Wire::after_request(head).endless(fields.clone()).into(),
            "trying again",
            "a head without an end",
        ),
        (
            Wire::after_request(head).endless([b'x'; 1 << 10]).into(),
            "trying again",
            "a field without an end",
        ),
        (
            Answer::new(200).header("x-large", "x".repeat(300 << 10)).into(),
            "head is too large",
            "a large head",
        ),
        (
            Wire::after_request(chunked).endless([b'1'; 1 << 10]).into(),
            "trying again",
            "an endless chunk size",
        ),
        (
            Wire::after_request(format!("{chunked}1;")).endless([b'x'; 1 << 10]).into(),
            "trying again",
            "an endless chunk extension",
        ),
        (
            Wire::after_request(format!("{chunked}0\r\n")).endless(fields).into(),
            "trying again",
            "trailers without an end",
        ),
    ];
    for (script, words, why) in rows {
        let collector = assert_http(script, words, why);
        assert!(collector.written() < MUCH, "{why}: {} bytes", collector.written());
    }
}

#[test]
fn bytes_that_no_library_would_send_are_a_failure() {
    let settings = h2::server(&[]);
    let of_ten = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let rows = [
        (Wire::on_accept(""), "closes at once"),
        (Wire::on_accept("").reset(), "resets at once"),
        (Wire::after_request(""), "closes without an answer"),
        (Wire::after_request("").reset(), "resets without an answer"),
        (Wire::on_accept("SSH-2.0-OpenSSH_9.2\r\n"), "another protocol that speaks first"),
        (Wire::on_accept("\x15\x03\x01\0\x02\x02\x46"), "a TLS alert"),
        (Wire::on_accept(settings.clone()), "a gRPC server that speaks first"),
        (Wire::after_request(settings), "a gRPC server"),
        (Wire::on_accept([0xff; 1000]), "garbage"),
        (Wire::after_request("HTTP/1.1 200 OK\r\ncontent-le"), "closes in the middle of the head"),
        (Wire::after_request("HTTP/1.1 banana\r\n\r\n"), "a status that is no number"),
        (Wire::after_request("HTTP/7.5 200 OK\r\n\r\n"), "a version that nobody knows"),
        (Wire::after_request(of_ten), "closes in the middle of the body"),
        (Wire::after_request(of_ten).reset(), "resets in the middle of the body"),
        (Wire::after_request(format!("{chunked}5\r\nab")), "closes in the middle of a chunk"),
        (Wire::after_request(format!("{chunked}banana\r\n")), "a chunk size that is no number"),
        (
            Wire::after_request(format!("{chunked}fffffffffffffffff\r\nab")),
            "a chunk size above all numbers",
        ),
        (
            Wire::after_request("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"),
            "a negative content length",
        ),
        (
            Wire::after_request("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n"),
            "a content length above all numbers",
        ),
        (
            Wire::after_request(
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 3\r\n\r\n",
            ),
            "two content lengths",
        ),
        (
            Wire::after_request("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
            "another protocol from now on",
        ),
    ];
    for (wire, why) in rows {
        assert_http(wire, "cannot export", why);
    }
}

#[test]
fn success_is_told_in_many_ways() {
    let rows: [(Script, &str); 6] = [
        (Answer::new(200).into(), "no body and no content type"),
        (Answer::new(202).into(), "accepted, as some vendors say"),
        (
            Answer::new(200).header("content-type", "application/json").body("{}").into(),
            "JSON, though nobody asked for it",
        ),
        (
            Wire::after_request("HTTP/1.0 200 OK\r\n\r\n").into(),
            "HTTP/1.0, where the body ends with the connection",
        ),
        (
            Wire::after_request(
                "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
            )
            .into(),
            "after an interim answer",
        ),
        (
            Wire::after_request("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 500 No\r\n")
                .into(),
            "and more that nobody asked for",
        ),
    ];
    for (script, why) in rows {
        let collector = Collector::start(script);
        let tracing = tracing_to(&collector.http_url());
        for _ in 0..3 {
            serve(&tracing, 1);
            let _ = tracing.flush_blocking(LONG);
        }
        assert_eq!(tracing.shutdown_blocking(LONG), settled(3, 0), "{why}");
    }
}

fn assert_http(script: impl Into<Script>, words: &str, why: &str) -> Collector {
    let collector = Collector::start(script);
    assert_fails_and_recovers(&collector, &collector.http_url(), words, why);
    collector
}

/// Far more than what is read of an answer and what the sockets hold between them.
const MUCH: u64 = 16 << 20;
