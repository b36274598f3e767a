//! What senders are told, by both services.

use std::io::Write;
use std::num::NonZeroU32;
use std::time::Duration;

use ::http::header::{HeaderMap, HeaderName};
use ::http::{HeaderValue, Method, Request, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{FutureExt, StreamExt, stream};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tower::ServiceExt;

use super::refusal::Refusal;
use super::*;
use crate::record::wire;
use crate::{TracingService, TracingServiceConfig};

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What a sender got.
#[derive(Debug, PartialEq)]
struct Told {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

async fn told(response: Response<AnswerBody>) -> Told {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned();
    Told { status: parts.status.as_u16(), headers: parts.headers, body: body.to_bytes(), trailers }
}

impl Told {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// `status | grpc-status | grpc-message`, of a call without messages.
    fn grpc(&self) -> String {
        assert_eq!(self.body, "");
        assert_eq!(self.header("content-type"), Some("application/grpc"));
        let text = |name| self.header(name).unwrap_or("-");
        format!("{} | {} | {}", self.status, text("grpc-status"), text("grpc-message"))
    }

    /// `status | body`
    fn http(&self) -> String {
        format!("{} | {}", self.status, std::str::from_utf8(&self.body).unwrap())
    }
}

/// An `ExportTraceServiceRequest` of so many spans, which have nothing but their ids.
fn spans(count: usize) -> Vec<u8> {
    let mut span = Vec::new();
    wire::put_bytes(&mut span, 1, &[1; 16]);
    wire::put_bytes(&mut span, 2, &[2; 8]);
    let mut scope = Vec::new();
    (0..count).for_each(|_| wire::put_bytes(&mut scope, 2, &span));
    let mut resource = Vec::new();
    wire::put_bytes(&mut resource, 2, &scope);
    let mut request = Vec::new();
    wire::put_bytes(&mut request, 1, &resource);
    request
}

/// The same of one span, whose name is so long.
fn large_span(len: usize) -> Vec<u8> {
    let mut span = Vec::new();
    wire::put_bytes(&mut span, 1, &[1; 16]);
    wire::put_bytes(&mut span, 2, &[2; 8]);
    wire::put_bytes(&mut span, 5, &vec![b'x'; len]);
    let mut scope = Vec::new();
    wire::put_bytes(&mut scope, 2, &span);
    let mut resource = Vec::new();
    wire::put_bytes(&mut resource, 2, &scope);
    let mut request = Vec::new();
    wire::put_bytes(&mut request, 1, &resource);
    request
}

fn json(count: usize) -> String {
    let span = r#"{"traceId":"01010101010101010101010101010101","spanId":"0202020202020202"}"#;
    let spans = vec![span; count].join(",");
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#)
}

fn frame(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &len, message].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that nobody may ask for.
fn untouched() -> Body {
    let frames = stream::poll_fn(|_| panic!("the body was read"));
    StreamBody::new(frames).boxed_unsync()
}

/// A body of which these bytes come, and then nothing any more.
fn hanging(bytes: Vec<u8>) -> Body {
    let frame = stream::iter([Ok(Frame::data(Bytes::from(bytes)))]);
    StreamBody::new(frame.chain(stream::pending())).boxed_unsync()
}

type Headers<'a> = &'a [(&'static str, &'a str)];

fn with_headers(mut request: Request<Body>, headers: Headers<'_>) -> Request<Body> {
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().insert(HeaderName::from_static(name), value);
    }
    request
}

fn call(body: Body) -> Request<Body> {
    let request =
        Request::post("http://h/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    request.header("content-type", "application/grpc").body(body).unwrap()
}

fn post(media_type: &str, body: Body) -> Request<Body> {
    let request = Request::post("/v1/traces").header("content-type", media_type);
    request.body(body).unwrap()
}

async fn grpc(forwarder: &SpanForwarder, request: Request<Body>) -> Told {
    told(forwarder.grpc().oneshot(request).await.unwrap()).await
}

async fn http(forwarder: &SpanForwarder, request: Request<Body>) -> Told {
    told(forwarder.http().oneshot(request).await.unwrap()).await
}

const LONG: Duration = Duration::from_secs(3600);
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn anybody(tracing: &TracingService) -> SpanForwarder {
    tracing.forwarder(SpanForwarder::allow_anonymous)
}

fn stats(requests: u64, taken: u64, spans: u64) -> ForwarderStats {
    ForwarderStats { requests, taken, spans, ..ForwarderStats::default() }
}

#[tokio::test]
async fn what_is_taken_is_acknowledged_in_the_form_it_came_in() {
    let (tracing, _received) = TracingService::in_memory();
    let forwarder = anybody(&tracing);
    for body in [frame(&spans(3)), frame(&[])] {
        let told = grpc(&forwarder, call(full(body))).await;
        assert_eq!((told.status, &told.body[..]), (200, &[0, 0, 0, 0, 0][..]));
        assert_eq!(told.header("grpc-status"), None, "it stands in the trailers");
        assert_eq!(told.header("content-type"), Some("application/grpc"));
        assert_eq!(told.trailers.unwrap()["grpc-status"], "0");
    }
    let packed = gzip(&spans(3));
    let mut body = frame(&packed);
    body[0] = 1;
    let request = with_headers(call(full(body)), &[("grpc-encoding", "gzip")]);
    assert_eq!(grpc(&forwarder, request).await.trailers.unwrap()["grpc-status"], "0");
    assert_eq!(forwarder.stats(), stats(3, 3, 6));

    let with_charset = "Application/JSON; charset=utf-8";
    let rows = [
        (PROTOBUF, spans(3), PROTOBUF, "", "protobuf"),
        (PROTOBUF, Vec::new(), PROTOBUF, "", "empty"),
        (JSON, json(3).into_bytes(), JSON, "{}", "JSON"),
        (JSON, b"{}".to_vec(), JSON, "{}", "empty"),
        (with_charset, json(3).into_bytes(), JSON, "{}", "with a parameter"),
    ];
    for (media_type, body, answered, expected, why) in rows {
        let packed =
            with_headers(post(media_type, full(gzip(&body))), &[("content-encoding", "gzip")]);
        for request in [post(media_type, full(body)), packed] {
            let told = http(&forwarder, request).await;
            assert_eq!(told.http(), format!("200 | {expected}"), "{why}");
            assert_eq!(told.header("content-type"), Some(answered), "{why}");
        }
    }
    assert_eq!(forwarder.stats(), stats(13, 13, 24));
}

#[tokio::test]
async fn a_call_is_refused_for_what_is_wrong_with_it() {
    let (tracing, _received) = TracingService::in_memory();
    let forwarder = tracing
        .forwarder(|request| match request.headers.get("who") {
            None => Identity::allow("alice"),
            Some(who) if who == "panic" => std::panic::resume_unwind(Box::new("asked for")),
            Some(who) => Identity::deny(format!("{} may not, é%", who.to_str().unwrap())),
        })
        .limits(
            ForwardLimits::default()
                .message_bytes(2000)
                .spans_per_second_of_each(NonZeroU32::new(50).unwrap()),
        );
    let own = String::from_utf8(forwarder.settings.instance.via().to_vec()).unwrap();
    let long = ["0123456789abcdef"; 9].join(",");
    let compressed = |flag: u8| {
        let mut body = frame(&gzip(&spans(1)));
        body[0] = flag;
        full(body)
    };
    let gz: Headers<'_> = &[("grpc-encoding", "gzip")];
    let rows: [(Headers<'_>, Body, &str, &str); 15] = [
        (
            &[("who", "mallory")],
            untouched(),
            "200 | 7 | mallory may not, %C3%A9%25",
            "who is denied is not read",
        ),
        (&[("who", "panic")], untouched(), "200 | 13 | nobody knows who sent the request", "panic"),
        (
            &[("tower-otlp-via", &own)],
            untouched(),
            "200 | 9 | this forwarder gets its own exports: exporter_url leads back to it",
            "a loop",
        ),
        (
            &[("tower-otlp-via", &long)],
            untouched(),
            "200 | 9 | the spans have come through more than 8 forwarders",
            "a long way",
        ),
        (
            &[("tower-otlp-via", "somewhere")],
            untouched(),
            "200 | 3 | tower-otlp-via is malformed",
            "no list",
        ),
        (
            &[("grpc-encoding", "zstd")],
            untouched(),
            "200 | 12 | the only compression that is understood is gzip",
            "another compression",
        ),
        (
            &[("content-type", "application/grpc-web")],
            untouched(),
            "415 | 3 | the content type must be application/x-protobuf or application/json",
            "another protocol",
        ),
        (gz, compressed(0), "200 | 3 | not a valid protobuf message", "gzip, and it says not"),
        (
            &[],
            compressed(1),
            "200 | 3 | the message is compressed, and grpc-encoding says it is not",
            "the other way round",
        ),
        (
            gz,
            full([&[1][..], &frame(b"none")[1..]].concat()),
            "200 | 3 | the message is not valid gzip",
            "nor is it",
        ),
        (&[], full(frame(b"<html>")), "200 | 3 | not a valid protobuf message", "another message"),
        (&[], full(""), "200 | 3 | the message ends too early", "no message"),
        (
            &[],
            full(&b"\0\xff\xff\xff\xffabc"[..]),
            "200 | 8 | message too large: the limit is 2000 bytes",
            "by its own account",
        ),
        (
            &[],
            full(frame(&spans(51))),
            "200 | 8 | message too large: more than 50 spans or resources",
            "more than a second ever allows",
        ),
        (
            gz,
            full({
                let mut body = frame(&gzip(&[0; 2001]));
                body[0] = 1;
                body
            }),
            "200 | 8 | message too large: the limit is 2000 bytes",
            "decompressed",
        ),
    ];
    let count = rows.len() as u64;
    for (headers, body, expected, why) in rows {
        let told = grpc(&forwarder, with_headers(call(body), headers)).await;
        assert_eq!(told.grpc(), expected, "{why}");
        assert_eq!(told.header("grpc-accept-encoding"), Some("identity,gzip"), "{why}");
        assert_eq!(told.header("grpc-status-details-bin"), None, "{why}: it would not help");
    }
    let unknown = Request::post("/opentelemetry.proto.collector.trace.v1.TraceService/Import")
        .header("content-type", "application/grpc+proto");
    let told = grpc(&forwarder, unknown.body(untouched()).unwrap()).await;
    let only = "only opentelemetry.proto.collector.trace.v1.TraceService/Export is known here";
    assert_eq!(told.grpc(), format!("200 | 12 | {only}"));
    let mut get = call(untouched());
    *get.method_mut() = Method::GET;
    let told = grpc(&forwarder, get).await;
    assert_eq!((told.status, told.header("allow")), (405, Some("POST")));

    let refused = Refused {
        denied: 2,
        looping: 2,
        invalid: 6,
        too_large: 3,
        unsupported: 4,
        ..Refused::default()
    };
    assert_eq!(forwarder.stats(), ForwarderStats { refused, ..stats(count + 2, 0, 0) });
    let told = grpc(&forwarder, call(full(frame(&spans(50))))).await;
    assert_eq!(told.trailers.unwrap()["grpc-status"], "0", "and one with nothing wrong");
}

#[tokio::test]
async fn a_post_is_refused_for_what_is_wrong_with_it() {
    let (tracing, _received) = TracingService::in_memory();
    let forwarder = tracing
        .forwarder(|request| match request.headers.get("who") {
            None => Identity::allow("alice"),
            Some(_) => Identity::deny("not \"you\""),
        })
        .limits(ForwardLimits::default().message_bytes(2000));
    let own = String::from_utf8(forwarder.settings.instance.via().to_vec()).unwrap();
    let gz: Headers<'_> = &[("content-encoding", "gzip")];
    let large = r#"413 | {"code":8,"message":"message too large: the limit is 2000 bytes"}"#;
    let media = "the content type must be application/x-protobuf or application/json";
    let media = format!(r#"415 | {{"code":3,"message":"{media}"}}"#);
    let compression =
        r#"415 | {"code":12,"message":"the only compression that is understood is gzip"}"#;
    // gzip in which there is nothing, over and over.
    let padded = gzip(b"").repeat(200);
    let rows: [(&str, Headers<'_>, Body, &str, &str); 16] = [
        (
            JSON,
            &[("who", "x")],
            untouched(),
            r#"403 | {"code":7,"message":"not \"you\""}"#,
            "who is denied is not read",
        ),
        (
            JSON,
            &[("tower-otlp-via", &own)],
            untouched(),
            r#"508 | {"code":9,"message":"this forwarder gets its own exports: exporter_url leads back to it"}"#,
            "a loop",
        ),
        ("text/plain", &[], untouched(), &media, "another type"),
        ("", &[], untouched(), &media, "none"),
        (JSON, &[("content-encoding", "zstd")], untouched(), compression, "another compression"),
        (JSON, &[("content-encoding", "br")], untouched(), compression, "another"),
        (JSON, &[("content-encoding", "deflate")], untouched(), compression, "another"),
        (JSON, &[("content-encoding", "gzip, gzip")], untouched(), compression, "two of them"),
        (
            JSON,
            gz,
            full("{}"),
            r#"400 | {"code":3,"message":"the body cannot be read"}"#,
            "no gzip",
        ),
        (
            JSON,
            &[],
            full("{\"resourceSpans\":["),
            r#"400 | {"code":3,"message":"not OTLP/JSON: EOF while parsing a list at line 1 column 18"}"#,
            "not all of it",
        ),
        (JSON, &[], full("x".repeat(2001)), large, "more bytes than may be"),
        (JSON, gz, full(gzip(&[b' '; 2001])), large, "decompressed"),
        (JSON, gz, full(padded), large, "compressed"),
        (
            PROTOBUF,
            &[],
            full("<html>"),
            "400 | \u{8}\u{3}\u{12}\u{1c}not a valid protobuf message",
            "p",
        ),
        (
            PROTOBUF,
            &[],
            full(vec![0; 2001]),
            "413 | \u{8}\u{8}\u{12}*message too large: the limit is 2000 bytes",
            "too large",
        ),
        (
            PROTOBUF,
            gz,
            full(gzip(&vec![0; 1 << 20])),
            "413 | \u{8}\u{8}\u{12}*message too large: the limit is 2000 bytes",
            "a bomb",
        ),
    ];
    let count = rows.len() as u64;
    for (media_type, headers, body, expected, why) in rows {
        let told = http(&forwarder, with_headers(post(media_type, body), headers)).await;
        assert_eq!(told.http(), expected, "{why}");
        let answered = if media_type == PROTOBUF { PROTOBUF } else { JSON };
        assert_eq!(told.header("content-type"), Some(answered), "{why}");
        assert_eq!(told.header("retry-after"), None, "{why}: it would not help");
        let accepted = expected.contains("the only compression").then_some("gzip, identity");
        assert_eq!(told.header("accept-encoding"), accepted, "{why}");
    }
    let get = Request::get("/v1/traces").body(untouched()).unwrap();
    let told = http(&forwarder, get).await;
    assert_eq!(told.http(), r#"405 | {"code":3,"message":"spans come by POST"}"#);
    assert_eq!(told.header("allow"), Some("POST"));

    let refused = Refused {
        denied: 1,
        looping: 1,
        invalid: 3,
        too_large: 5,
        unsupported: 7,
        ..Refused::default()
    };
    assert_eq!(forwarder.stats(), ForwarderStats { refused, ..stats(count + 1, 0, 0) });
}

#[tokio::test(start_paused = true)]
async fn who_sends_too_much_is_told_when_to_come_again() {
    let (tracing, _received) = TracingService::in_memory();
    let limit = NonZeroU32::new(10).unwrap();
    let forwarder = anybody(&tracing)
        .limits(ForwardLimits::default().spans_per_second_of_each(limit).requests_of_each(1));
    let told = grpc(&forwarder, call(full(frame(&spans(10))))).await;
    assert_eq!(told.trailers.unwrap()["grpc-status"], "0");
    let told = grpc(&forwarder, call(full(frame(&spans(10))))).await;
    assert_eq!(told.grpc(), "200 | 8 | more than 10 spans per second of this sender");
    assert!(told.header("grpc-status-details-bin").is_some());
    let told = http(&forwarder, post(JSON, full(json(10)))).await;
    let words = r#"429 | {"code":8,"message":"more than 10 spans per second of this sender"}"#;
    assert_eq!(told.http(), words);
    assert_eq!(told.header("retry-after"), Some("1"));

    let mut slow = Box::pin(forwarder.grpc().oneshot(call(hanging(frame(&spans(1))))));
    assert!((&mut slow).now_or_never().is_none());
    let words = "too many requests of this sender at the same time";
    let told = grpc(&forwarder, call(untouched())).await;
    assert_eq!(told.grpc(), format!("200 | 8 | {words}"));
    // That in one second there will be room.
    let status = Refusal::OverLimit { words: words.into(), after: Duration::from_secs(1) };
    let details = BASE64_STANDARD_NO_PAD.encode(answer::status_protobuf(&status));
    assert_eq!(told.header("grpc-status-details-bin"), Some(&*details));
    drop(slow);
    let told = grpc(&forwarder, call(full(frame(&[])))).await;
    assert_eq!(told.trailers.unwrap()["grpc-status"], "0", "there is room");

    let expected = ForwarderStats {
        cancelled: 1,
        refused: Refused { over_limit: 3, ..Refused::default() },
        spans_refused: Refused { over_limit: 20, ..Refused::default() },
        ..stats(6, 2, 10)
    };
    assert_eq!(forwarder.stats(), expected);
}

#[tokio::test]
async fn who_finds_the_queue_full_is_told_when_to_come_again() {
    let tracing = held_back();
    let forwarder = anybody(&tracing)
        .limits(ForwardLimits::default().bytes_in_flight(1 << 30).bytes_in_flight_of_each(1 << 30));
    let large = large_span(3 << 20);
    let mut taken = 0;
    let told = loop {
        let told = grpc(&forwarder, call(full(frame(&large)))).await;
        if told.trailers.is_none() {
            break told;
        }
        taken += 1;
    };
    assert_eq!(taken, 10, "of 3 MiB, where there are 32");
    assert_eq!(told.grpc(), "200 | 14 | the queue is full");
    let details = BASE64_STANDARD_NO_PAD.encode(answer::status_protobuf(&Refusal::QueueFull));
    assert_eq!(told.header("grpc-status-details-bin"), Some(&*details));
    let retry_info = b"google.rpc.RetryInfo\x12\x04\x0a\x02\x08\x01";
    assert!(answer::status_protobuf(&Refusal::QueueFull).ends_with(retry_info));
    let told = http(&forwarder, post(PROTOBUF, full(large))).await;
    assert_eq!(
        told.http(),
        "503 | \u{8}\u{e}\u{12}\u{11}the queue is full\u{1a}0\n(type.googleapis.com/google.rpc.RetryInfo\u{12}\u{4}\n\u{2}\u{8}\u{1}"
    );
    assert_eq!(told.header("retry-after"), Some("1"));
    let expected = ForwarderStats {
        refused: Refused { queue_full: 2, ..Refused::default() },
        spans_refused: Refused { queue_full: 2, ..Refused::default() },
        ..stats(taken + 2, taken, taken)
    };
    assert_eq!(forwarder.stats(), expected);
}

#[tokio::test]
async fn limits_of_all_senders_hold_over_http() {
    let limits = ForwardLimits::default();
    let per_second = NonZeroU32::new(10).unwrap();
    let rows = [
        (limits.clone().requests(1), "too many requests of all senders at the same time"),
        (
            limits.clone().bytes_in_flight(3500).bytes_in_flight_of_each(3500),
            "too many bytes of all senders are under way",
        ),
        (limits.spans_per_second(per_second), "more than 10 spans per second of all senders"),
    ];
    for (limits, words) in rows {
        let tracing = held_back();
        let by_name =
            |request: &Parts| Identity::allow(request.headers["who"].to_str().unwrap().to_owned());
        let forwarder = tracing.forwarder(by_name).limits(limits);
        let alice: Headers<'_> = &[("who", "alice")];
        let bob: Headers<'_> = &[("who", "bob")];
        let told = http(&forwarder, with_headers(post(JSON, full(json(10))), alice)).await;
        assert_eq!(told.http(), "200 | {}", "{words}");
        let slow = with_headers(post(JSON, hanging(Vec::new())), alice);
        let mut slow = Box::pin(forwarder.http().oneshot(slow));
        assert!((&mut slow).now_or_never().is_none());
        let told = http(&forwarder, with_headers(post(JSON, full(json(10))), bob)).await;
        assert_eq!(told.http(), format!(r#"429 | {{"code":8,"message":"{words}"}}"#));
        assert_eq!(told.header("retry-after"), Some("1"), "{words}");
        assert_eq!(forwarder.stats().refused.over_limit, 1, "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_must_arrive_in_time() {
    let (tracing, _received) = TracingService::in_memory();
    let limits = ForwardLimits::default().receive_time(Duration::from_millis(2500));
    let forwarder = anybody(&tracing).limits(limits);
    for sent in [Vec::new(), frame(&spans(1))[..20].to_vec(), frame(&spans(1))] {
        let told = grpc(&forwarder, call(hanging(sent))).await;
        assert_eq!(told.grpc(), "200 | 4 | the request did not arrive within 2.5 s");
    }
    // A byte now and then is not enough.
    let frames = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok(Frame::data(Bytes::from_static(b" "))), ()))
    });
    let told = http(&forwarder, post(JSON, StreamBody::new(frames).boxed_unsync())).await;
    let expected = r#"408 | {"code":4,"message":"the request did not arrive within 2.5 s"}"#;
    assert_eq!(told.http(), expected);
    assert_eq!(forwarder.stats().refused.timed_out, 4);
}

#[tokio::test(start_paused = true)]
async fn decompressing_is_within_the_time_to_arrive() {
    let (tracing, _received) = TracingService::in_memory();
    let forwarder = anybody(&tracing);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(&[0; 200 << 10]).unwrap();
    let mut body = frame(&encoder.finish().unwrap());
    body[0] = 1;
    let request = with_headers(call(full(body)), &[("grpc-encoding", "gzip")]);
    // All is there at once. It is while it is decompressed that time passes.
    let late = tokio::time::advance(Duration::from_secs(11));
    let (told, ()) = tokio::join!(grpc(&forwarder, request), late);
    assert_eq!(told.grpc(), "200 | 4 | the request did not arrive within 10 s");
}

#[tokio::test]
async fn nothing_is_taken_where_tracing_is_disabled_or_over() {
    let tracing = TracingServiceConfig::disabled().start("shop").unwrap();
    let forwarder = anybody(&tracing);
    let words = "tracing is disabled here: no spans are taken";
    let told = grpc(&forwarder, call(untouched())).await;
    assert_eq!(told.grpc(), format!("200 | 12 | {words}"));
    let told = http(&forwarder, post(JSON, untouched())).await;
    assert_eq!(told.http(), format!(r#"404 | {{"code":12,"message":"{words}"}}"#));
    assert_eq!(forwarder.stats().refused, Refused { disabled: 2, ..Refused::default() });
}

/// A service that exports nothing for as long as a test may take.
fn held_back() -> TracingService {
    let config = TracingServiceConfig::default().enabled(true).wait_for_resource_attributes(LONG);
    let (tracing, _spans) = config.start_in_memory("shop").unwrap();
    tracing
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_for_spans_to_be_delivered() {
    let tracing = held_back();
    let forwarder = anybody(&tracing)
        .acknowledge(Acknowledge::WhenDelivered)
        .limits(ForwardLimits::default().requests_of_each(1));
    let began = tokio::time::Instant::now();
    let words = "the spans are not delivered yet, and may still be";
    let told = grpc(&forwarder, call(full(frame(&spans(2))))).await;
    assert_eq!(told.grpc(), format!("200 | 14 | {words}"));
    assert_eq!(began.elapsed().as_secs(), 30, "by default");
    let told = http(&forwarder, post(JSON, full(json(3)))).await;
    assert_eq!(told.http(), format!(r#"503 | {{"code":14,"message":"{words}"}}"#));
    assert_eq!(forwarder.stats(), stats(2, 2, 5), "they were taken");
    assert_eq!(tracing.stats().pending, 5);
}

#[test]
fn the_answer_to_an_early_acknowledgement_says_what_became_of_the_spans() {
    use super::settings::delivered;
    use crate::pipeline::Settled;
    let rows = [
        ((5, 0, 0, 0), Ok((0, "{}")), "all is well"),
        (
            (3, 2, 0, 0),
            Ok((
                2,
                r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"spans were rejected by the backend"}}"#,
            )),
            "some were rejected",
        ),
        (
            (0, 5, 0, 0),
            Ok((
                5,
                r#"{"partialSuccess":{"rejectedSpans":"5","errorMessage":"spans were rejected by the backend"}}"#,
            )),
            "all were: to send them again would not help",
        ),
        (
            (3, 0, 0, 2),
            Ok((
                2,
                r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"spans were lost on their way to the backend"}}"#,
            )),
            "some were lost: to send all again would double the others",
        ),
        (
            (0, 1, 0, 4),
            Ok((
                5,
                r#"{"partialSuccess":{"rejectedSpans":"5","errorMessage":"spans were rejected by the backend, and others lost on their way to it"}}"#,
            )),
            "both",
        ),
        (
            (0, 0, 5, 0),
            Ok((
                5,
                r#"{"partialSuccess":{"rejectedSpans":"5","errorMessage":"spans were rejected by the backend"}}"#,
            )),
            "all were refused for good: the same",
        ),
        (
            (1, 1, 1, 0),
            Ok((
                2,
                r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"spans were rejected by the backend"}}"#,
            )),
            "either way",
        ),
        ((0, 0, 0, 5), Err(Refusal::Lost), "all were lost"),
        ((0, 0, 3, 2), Err(Refusal::Lost), "none arrived, and another time two may"),
    ];
    for ((arrived, rejected, refused, lost), expected, why) in rows {
        let taken = delivered(Settled { delivered: arrived, rejected, refused, lost });
        let found = taken.map(|taken| {
            if taken.rejected == 2 && lost == 0 {
                let expected = b"\x0a\x26\x08\x02\x12\x22spans were rejected by the backend";
                assert_eq!(taken.to_protobuf(), expected);
            }
            (taken.rejected, taken.to_json())
        });
        assert_eq!(found, expected.map(|(count, json)| (count, json.to_owned())), "{why}");
    }
}

#[tokio::test]
async fn what_waits_counts_as_a_kibibyte_at_least() {
    let tracing = held_back();
    let forwarder =
        anybody(&tracing).limits(ForwardLimits::default().bytes_in_flight_of_each(3 * 1024 + 512));
    for _ in 0..3 {
        let told = grpc(&forwarder, call(full(frame(&spans(1))))).await;
        assert_eq!(told.trailers.unwrap()["grpc-status"], "0");
    }
    let told = grpc(&forwarder, call(full(frame(&spans(1))))).await;
    assert_eq!(told.grpc(), "200 | 8 | too many bytes of this sender are under way");
}

#[test]
fn a_status_has_the_fields_of_google_rpc() {
    let refusal = Refusal::OverLimit { words: "why".into(), after: Duration::from_millis(1500) };
    let expected = b"\x08\x08\x12\x03why\
        \x1a\x36\x0a\x28type.googleapis.com/google.rpc.RetryInfo\
        \x12\x0a\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01";
    assert_eq!(answer::status_protobuf(&refusal), expected);
    assert_eq!(answer::status_protobuf(&Refusal::Denied("why".into())), b"\x08\x07\x12\x03why");
}

#[tokio::test]
async fn memory_that_a_claim_names_is_not_taken() {
    let (tracing, _received) = TracingService::in_memory();
    let limits = ForwardLimits::default().bytes_in_flight_of_each(4 << 20);
    let forwarder = anybody(&tracing).limits(limits);
    // Each claims all there may be, and says nothing more.
    let claim = (4_u32 << 20).to_be_bytes();
    let mut claims = Vec::new();
    for _ in 0..50 {
        let body = hanging([&[0][..], &claim].concat());
        let mut claim = Box::pin(forwarder.grpc().oneshot(call(body)));
        assert!((&mut claim).now_or_never().is_none());
        claims.push(claim);
    }
    let told = grpc(&forwarder, call(full(frame(&spans(1000))))).await;
    assert_eq!(told.trailers.unwrap()["grpc-status"], "0");
    // What has arrived counts.
    let bytes = [&[0][..], &claim, &vec![0; 3 << 20]].concat();
    let mut large = Box::pin(forwarder.grpc().oneshot(call(hanging(bytes))));
    assert!((&mut large).now_or_never().is_none());
    let told = grpc(&forwarder, call(full(frame(&vec![0; 2 << 20])))).await;
    assert_eq!(told.grpc(), "200 | 8 | too many bytes of this sender are under way");
    drop(large);
}
