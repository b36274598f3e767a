//! What hostile senders do, all at once.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::malice::{deep, gzip};

type Chunks = BoxStream<'static, Result<Frame<Bytes>, std::io::Error>>;

/// A request, as often as it is asked for.
#[derive(Clone)]
struct Attack {
    path: &'static str,
    media_type: &'static str,
    encoding: Option<&'static str>,
    begins: Bytes,
    then: Then,
    why: &'static str,
}

/// What comes after the beginning.
#[derive(Clone)]
enum Then {
    End,
    Nothing,
    Endless(Bytes),
}

/// What a sender is told.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    /// To come again: there is no room for it.
    Later,
    Otherwise,
    /// HTTP/1.1 may have the connection closed before an answer is read.
    Nothing,
}

/// Everybody at once, and each attack until there is room for it. With `fill` beside some who send
/// spans, which wait: then there is soon no room for anything.
pub(super) fn run(target: &str, fill: bool) {
    let target: SocketAddr = target.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let attacks = attacks();
        let mut tasks = Vec::new();
        for sender in 0..SENDERS {
            for attack in attacks.clone() {
                let who = format!("mallory {sender}");
                tasks.push(tokio::spawn(async move {
                    while attack.run(target, &who).await == Told::Later && !fill {
                        sleep(PAUSE).await;
                    }
                }));
            }
            if fill {
                tasks.push(tokio::spawn(async move {
                    let (spans, who) =
                        (Attack::http("spans", None, spans()), format!("eve {sender}"));
                    for _ in 0..FILLS {
                        if spans.run(target, &who).await == Told::Later {
                            sleep(PAUSE).await;
                        }
                    }
                }));
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn attacks() -> Vec<Attack> {
    let bomb = gzip(&vec![0; 32 << 20]);
    let half = vec![0; 1 << 20];
    let claimed = u32::try_from(4 << 20).unwrap().to_be_bytes();
    let json = |attack: Attack| Attack { media_type: "application/json", ..attack };
    let then = |then: Then, attack: Attack| Attack { then, ..attack };
    let zeros = Then::Endless(Bytes::from_static(&[0; 16 << 10]));
    let spaces = Then::Endless(Bytes::from_static(&[b' '; 16 << 10]));
    let resources = format!(r#"{{"resourceSpans":[{}{{}}]}}"#, "{},".repeat(300_000));
    vec![
        Attack::http("a bomb", Some("gzip"), bomb.clone()),
        json(Attack::http("a bomb in place of JSON", Some("gzip"), bomb.clone())),
        Attack::grpc("a bomb over gRPC", Some("gzip"), &framed(&bomb)),
        Attack::http("gzip without anything in it", Some("gzip"), hollow_gzip(3 << 20)),
        Attack::grpc("the same over gRPC", Some("gzip"), &framed(&hollow_gzip(3 << 20))),
        then(zeros.clone(), Attack::http("no end", None, vec![])),
        then(spaces, json(Attack::http("no end in JSON", None, vec![]))),
        then(zeros, Attack::grpc("no end over gRPC", None, &[&[0], &claimed[..]].concat())),
        then(Then::Nothing, Attack::http("what is held", None, half.clone())),
        then(Then::Nothing, json(Attack::http("what is held of JSON", None, half.clone()))),
        then(
            Then::Nothing,
            Attack::grpc("what is held over gRPC", None, &[&[0], &claimed[..], &half].concat()),
        ),
        then(Then::Nothing, Attack::grpc("a huge length", None, b"\0\xff\xff\xff\xff")),
        then(Then::Nothing, Attack::grpc("half of a head", None, b"\0\0")),
        Attack::http("depth", None, deep(5000)),
        json(Attack::http("depth in JSON", None, vec![b'['; 1 << 20])),
        Attack::http("millions of resources", None, [10, 0].repeat(1 << 20)),
        json(Attack::http("many resources in JSON", None, resources.into())),
    ]
}

impl Attack {
    fn http(why: &'static str, encoding: Option<&'static str>, begins: Vec<u8>) -> Self {
        let (path, media_type) = ("/v1/traces", "application/x-protobuf");
        Self { path, media_type, encoding, begins: begins.into(), then: Then::End, why }
    }

    fn grpc(why: &'static str, encoding: Option<&'static str>, begins: &[u8]) -> Self {
        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let begins = Bytes::copy_from_slice(begins);
        Self { path, media_type: "application/grpc", encoding, begins, then: Then::End, why }
    }

    fn is_grpc(&self) -> bool {
        self.media_type == "application/grpc"
    }

    async fn run(&self, target: SocketAddr, who: &str) -> Told {
        let mut request = Request::post(format!("http://{target}{}", self.path))
            .header("who", who)
            .header("host", "forwarder")
            .header("content-type", self.media_type);
        if let Some(encoding) = self.encoding {
            let name = if self.is_grpc() { "grpc-encoding" } else { "content-encoding" };
            request = request.header(name, encoding);
        }
        let request = request.body(StreamBody::new(self.body())).unwrap();
        // Every second of those over HTTP.
        let is_h2 = self.is_grpc() || self.begins.len().is_multiple_of(2);
        let answer = timeout(PATIENCE, send(target, is_h2, request)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{} is not answered", self.why));
        let Some(answer) = answer else {
            assert!(!is_h2, "{} is cut off", self.why);
            return Told::Nothing;
        };
        let code = answer.headers().get("grpc-status").map(|code| code.to_str().unwrap());
        match (answer.status().as_u16(), code) {
            (429, None) => Told::Later,
            (200, Some("8")) if answer.headers().contains_key("grpc-status-details-bin") => {
                Told::Later
            }
            (400 | 408 | 413, None) | (200, Some("3" | "4" | "8")) => Told::Otherwise,
            (200, None) if self.why == "spans" => Told::Otherwise,
            other => panic!("{}: {other:?}", self.why),
        }
    }

    /// In pieces, as somebody would send it who has time.
    fn body(&self) -> Chunks {
        let begins = self.begins.clone();
        let pieces = (0..begins.len().div_ceil(PIECE)).map(move |piece| {
            let from = piece * PIECE;
            begins.slice(from..begins.len().min(from + PIECE))
        });
        let pieces = stream::iter(pieces).map(|piece| Ok(Frame::data(piece)));
        match self.then.clone() {
            Then::End => pieces.boxed(),
            Then::Nothing => pieces.chain(stream::pending()).boxed(),
            Then::Endless(chunk) => {
                pieces.chain(stream::repeat_with(move || Ok(Frame::data(chunk.clone())))).boxed()
            }
        }
    }
}

/// On a connection of its own. `None` where it was closed before there was an answer.
async fn send(
    target: SocketAddr,
    is_h2: bool,
    request: Request<StreamBody<Chunks>>,
) -> Option<Response<Bytes>> {
    let stream = TokioIo::new(TcpStream::connect(target).await.unwrap());
    let answer = if is_h2 {
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    let (head, body): (_, Incoming) = answer.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    Some(Response::from_parts(head, body))
}

/// A quarter of a megabyte of spans that are well-formed.
fn spans() -> Vec<u8> {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "x".repeat(1000),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span; 250], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn framed(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[1][..], &len, message].concat()
}

/// Gzip of nothing, about so long: blocks of deflate that are empty, and no end.
fn hollow_gzip(len: usize) -> Vec<u8> {
    let empty = gzip(b"");
    let head = &empty[..10];
    [head, &[0, 0, 0, 0xff, 0xff].repeat(len / 5)].concat()
}

const SENDERS: usize = 8;
/// Requests of spans that each of some others makes.
const FILLS: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes that are handed over at a time.
const PIECE: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(120);
