//! A collector that answers by the dice, and writes down what it did.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::plan::{Mix, Taste, Transport};
use super::tls;
use super::wire::{Counted, Precision, Tap, Wire};
use crate::sinks::script::{message, partial};
use crate::support::fault_proxy::Links;

/// A running collector, on a thread of its own. Gone when dropped, with all its connections.
pub(super) struct Collector {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

/// A request that came in whole, and what was answered.
#[derive(Clone)]
pub(super) struct Attempt {
    /// Of the spans, in their order.
    pub(super) ids: Vec<u64>,
    pub(super) reply: Reply,
    wire: Arc<Wire>,
    number: u32,
    /// When it began to come.
    came: Instant,
}

impl Attempt {
    /// Whether it is not known yet where the answer ends.
    pub(super) fn is_being_answered(&self) -> bool {
        self.wire.is_begun(self.number)
    }

    /// Whether the client was sent the whole answer.
    pub(super) fn passed(&self) -> bool {
        self.took().is_some()
    }

    /// How long that took from the request on, and before it the handshake, for which the client
    /// may have waited, too.
    pub(super) fn took(&self) -> Option<Duration> {
        let answer = self.wire.passed(self.number)?.saturating_duration_since(self.came);
        Some(self.wire.handshake() + answer)
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (spans, took) = (self.ids.len(), self.took());
        let Self { reply, wire, number, came, .. } = self;
        let wire = Arc::as_ptr(wire);
        write!(f, "{spans} spans on {wire:p}/{number} at {came:?}: {reply:?}, passed in {took:?}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reply {
    /// The spans are taken, but for so many at the end.
    Taken { rejected: usize },
    /// None is taken.
    Refused { code: Code, hint: Hint, again: Again },
    /// All are taken, and the answer is one that no client can make sense of.
    Broken(Broken),
    /// All are taken, and the answer ends too early.
    Cut { at: Phase, by: By },
}

/// How a collector says no.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Code {
    /// A status of gRPC, with a message.
    Grpc(&'static str, &'static str),
    /// One of HTTP: over gRPC that of a proxy in front of the collector.
    Http(&'static str),
}

/// How soon the client may ask again, if it was told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hint {
    None,
    Soon,
}

/// Whether the protocol wants the spans to be sent again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Again {
    Yes,
    No,
    /// At once, and not compressed.
    Plain,
    /// In smaller requests. Of a single span there is none.
    Smaller,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Broken {
    /// HTML; over gRPC no status.
    Foreign,
    Garbage,
    /// 70 KB.
    Oversized,
    /// It goes on for as long as the client reads.
    Endless,
}

/// How far an answer comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    Nothing,
    Head,
    Body,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum By {
    /// The connection; over HTTP/2 the stream.
    Reset,
    Close,
    /// Silence, until the collector [gives up](Collector::give_up).
    Silence,
}

struct Shared {
    transport: Transport,
    taste: Taste,
    random: Mutex<SmallRng>,
    mix: Mutex<Mix>,
    given_up: watch::Sender<()>,
    attempts: Mutex<Vec<Attempt>>,
    links: OnceLock<Links>,
}

impl Collector {
    pub(super) fn start(transport: Transport, taste: Taste, seed: u64) -> Self {
        let runtime =
            runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            transport,
            taste,
            random: Mutex::new(SmallRng::seed_from_u64(seed)),
            mix: Mutex::new(Mix::OK),
            given_up: watch::Sender::default(),
            attempts: Mutex::default(),
            links: OnceLock::new(),
        });
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Self { shared, address, runtime: Some(runtime) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All connections come through this proxy.
    pub(super) fn behind(&self, links: Links) {
        assert!(self.shared.links.set(links).is_ok(), "told once");
    }

    /// Answers like this from now on.
    pub(super) fn play(&self, mix: Mix) {
        *lock(&self.shared.mix) = mix;
    }

    /// Ends what waits in silence.
    pub(super) fn give_up(&self) {
        self.shared.given_up.send_replace(());
    }

    pub(super) fn heal(&self) {
        self.play(Mix::OK);
        self.give_up();
    }

    /// All requests that came, in their order.
    pub(super) fn attempts(&self) -> Vec<Attempt> {
        lock(&self.shared.attempts).clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, peer)) = listener.accept().await {
        let link = shared.links.get().expect("set at the start").of(peer.port());
        let wire = Wire::new(link.expect("every connection is the proxy's"));
        let _ = stream.set_nodelay(true);
        tokio::spawn(Arc::clone(&shared).connection(stream, wire));
    }
}

impl Shared {
    async fn connection(self: Arc<Self>, stream: TcpStream, wire: Arc<Wire>) {
        let stream = Counted::new(stream, &wire);
        if self.transport.is_tls() {
            let Ok(stream) = TlsAcceptor::from(tls::server()).accept(stream).await else { return };
            wire.is_ready();
            self.serve(stream, wire, Precision::Record).await;
        } else {
            self.serve(stream, wire, Precision::Byte).await;
        }
    }

    async fn serve<S>(self: Arc<Self>, stream: S, wire: Arc<Wire>, precision: Precision)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // What becomes of a connection is the weather's business.
        if self.transport.is_grpc() {
            let stream = Tap::new(stream, Arc::clone(&wire), precision);
            drop(self.serve_grpc(stream, wire).await);
        } else {
            drop(self.serve_http(stream, wire).await);
        }
    }

    async fn serve_grpc<S>(self: Arc<Self>, stream: S, wire: Arc<Wire>) -> Result<(), h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut connection = h2::server::handshake(stream).await?;
        let (enough, mut had_enough) = mpsc::unbounded_channel();
        loop {
            let (request, respond) = tokio::select! {
                accepted = connection.accept() => match accepted {
                    Some(accepted) => accepted?,
                    None => return Ok(()),
                },
                Some(end) = had_enough.recv() => {
                    match end {
                        Goodbye::Graceful => connection.graceful_shutdown(),
                        Goodbye::Abrupt => connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
                        Goodbye::None => return Ok(()),
                    }
                    continue;
                }
            };
            let (shared, wire, enough) = (Arc::clone(&self), Arc::clone(&wire), enough.clone());
            tokio::spawn(async move {
                if let Ok(Some(goodbye)) = shared.answer_grpc(request, respond, wire).await {
                    let _ = enough.send(goodbye);
                }
            });
        }
    }

    async fn answer_grpc(
        &self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        wire: Arc<Wire>,
    ) -> Result<Option<Goodbye>, h2::Error> {
        let came = Instant::now();
        let number = respond.stream_id().as_u32();
        let mut stream = request.into_body();
        let mut body = BytesMut::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            let _ = stream.flow_control().release_capacity(data.len());
            body.extend_from_slice(&data);
        }
        let mut given_up = self.given_up.subscribe();
        let packed = body[0] == 1;
        let (reply, closes) = self.receive(packed, &unpack(packed, &body[5..]), wire, number, came);

        let mut head = Response::new(());
        head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let body = match reply {
            Reply::Taken { rejected: 0 } => message(0, b""),
            Reply::Taken { rejected } => message(0, &partial(rejected as i64, "")),
            Reply::Refused { code: Code::Http(status), .. } => {
                *head.status_mut() = status[..3].parse().expect("a status");
                head.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
                respond.send_response(head, true)?;
                return Ok(closes.then_some(Goodbye::Graceful));
            }
            Reply::Refused { code: Code::Grpc(status, message), hint, .. } => {
                trailers.insert("grpc-status", HeaderValue::from_static(status));
                trailers.insert("grpc-message", HeaderValue::from_static(message));
                if hint == Hint::Soon {
                    let details = HeaderValue::from_static(RETRY_IN_5_MS);
                    trailers.insert("grpc-status-details-bin", details);
                }
                // Half of them in one frame, as most servers do it.
                if number % 4 == 1 {
                    head.headers_mut().extend(trailers);
                    respond.send_response(head, true)?;
                    return Ok(closes.then_some(Goodbye::Graceful));
                }
                Vec::new()
            }
            Reply::Broken(Broken::Foreign) => {
                trailers.clear();
                b"<html>".to_vec()
            }
            Reply::Broken(Broken::Garbage) => vec![0xff; 100],
            Reply::Broken(Broken::Oversized) => message(0, &partial(0, &"x".repeat(70_000))),
            Reply::Broken(Broken::Endless) => {
                let mut stream = respond.send_response(head, false)?;
                tokio::select! {
                    ended = flood(&mut stream) => ended?,
                    _ = given_up.changed() => stream.send_reset(Reason::CANCEL),
                }
                return Ok(None);
            }
            Reply::Cut { at, by } => {
                let begun = match at {
                    Phase::Nothing => None,
                    Phase::Head | Phase::Body => Some(respond.send_response(head, false)?),
                };
                if let (Some(mut stream), Phase::Body) = (begun, at) {
                    stream.send_data(message(0, b"").into(), false)?;
                    // The stream would be reset when it is dropped.
                    if by == By::Silence {
                        let _ = given_up.changed().await;
                    }
                    stream.send_reset(Reason::INTERNAL_ERROR);
                } else if by == By::Silence {
                    let _ = given_up.changed().await;
                }
                respond.send_reset(Reason::REFUSED_STREAM);
                return Ok((by == By::Close).then_some(Goodbye::None));
            }
        };
        let mut stream = respond.send_response(head, false)?;
        // The HTTP/2 library takes many empty pieces on one connection for an attack.
        if !body.is_empty() {
            stream.send_data(body.into(), false)?;
        }
        stream.send_trailers(trailers)?;
        let goodbye = if number % 8 == 3 { Goodbye::Abrupt } else { Goodbye::Graceful };
        Ok(closes.then_some(goodbye))
    }

    async fn serve_http<S>(&self, mut stream: S, wire: Arc<Wire>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut seen = BytesMut::new();
        for number in 0.. {
            let Some((packed, body, came)) = read_http(&mut stream, &mut seen).await? else {
                return Ok(());
            };
            let mut given_up = self.given_up.subscribe();
            let (reply, closes) =
                self.receive(packed, &unpack(packed, &body), Arc::clone(&wire), number, came);
            let close = if closes { "connection: close\r\n" } else { "" };
            let answer = |status: &str, kind: &str, body: &[u8]| {
                let len = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\n{close}content-type: {kind}\r\ncontent-length: {len}\r\n\r\n",
                );
                [head.as_bytes(), body].concat()
            };
            let (protobuf, ok) = ("application/x-protobuf", "200 OK");
            let bytes = match reply {
                Reply::Taken { rejected: 0 } => answer(ok, protobuf, b""),
                Reply::Taken { rejected } => answer(ok, protobuf, &partial(rejected as i64, "")),
                Reply::Refused { code: Code::Grpc(..), .. } => unreachable!("not over HTTP"),
                Reply::Refused { code: Code::Http(status), hint: Hint::None, .. } => {
                    answer(status, protobuf, b"")
                }
                Reply::Refused { code: Code::Http(status), hint: Hint::Soon, .. } => {
                    answer(&format!("{status} \r\nretry-after: 0"), protobuf, b"")
                }
                Reply::Broken(Broken::Foreign) => answer(ok, "text/html", b"<html>"),
                Reply::Broken(Broken::Garbage) => answer(ok, protobuf, &[0xff; 100]),
                Reply::Broken(Broken::Oversized) => {
                    answer(ok, protobuf, &partial(0, &"x".repeat(70_000)))
                }
                Reply::Broken(Broken::Endless) => {
                    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                        .await?;
                    let flood = async {
                        loop {
                            stream.write_all(chunk.as_bytes()).await?;
                        }
                    };
                    tokio::select! {
                        ended = flood => return ended,
                        _ = given_up.changed() => return Ok(()),
                    }
                }
                Reply::Cut { at: Phase::Nothing, .. } => Vec::new(),
                Reply::Cut { at: Phase::Head, .. } => answer(ok, protobuf, b"")[..20].to_vec(),
                Reply::Cut { at: Phase::Body, .. } => {
                    let mut whole = answer(ok, protobuf, &partial(0, "it is all well"));
                    whole.truncate(whole.len() - 1);
                    whole
                }
            };
            let is_whole = !matches!(reply, Reply::Cut { .. });
            if is_whole {
                wire.begin(number);
            }
            let written = async {
                stream.write_all(&bytes).await?;
                stream.flush().await
            };
            let written = written.await;
            match &written {
                Ok(()) if is_whole => wire.end(number),
                Ok(()) => {}
                Err(_) => wire.fail(number),
            }
            written?;
            if let Reply::Cut { by, .. } = reply {
                if by == By::Silence {
                    let _ = given_up.changed().await;
                }
                return Ok(());
            }
            if closes {
                return stream.shutdown().await;
            }
        }
        Ok(())
    }

    /// Draws the answer to a request, and writes both down. With it, whether the connection is
    /// given up then.
    fn receive(
        &self,
        packed: bool,
        body: &[u8],
        wire: Arc<Wire>,
        number: u32,
        came: Instant,
    ) -> (Reply, bool) {
        let request = ExportTraceServiceRequest::decode(body).expect("an OTLP request");
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        let id = |id: Vec<u8>| u64::from_be_bytes(id.try_into().expect("eight bytes"));
        let ids: Vec<_> =
            scopes.flat_map(|scope| scope.spans).map(|span| id(span.span_id)).collect();
        let mix = *lock(&self.mix);
        let (reply, closes) = {
            let random = &mut *lock(&self.random);
            let reply = if packed && !self.taste.gzip {
                let code = if self.transport.is_grpc() { UNIMPLEMENTED } else { UNSUPPORTED };
                Reply::Refused { code, hint: Hint::None, again: Again::Plain }
            } else if body.len() > self.taste.most {
                self.refuse_as_too_large(random)
            } else {
                self.draw(mix, ids.len(), packed, random)
            };
            (reply, random.random_range(0..100) < mix.closes)
        };
        lock(&self.attempts).push(Attempt { ids, reply, wire, number, came });
        (reply, closes)
    }

    fn refuse_as_too_large(&self, random: &mut SmallRng) -> Reply {
        let codes = if self.transport.is_grpc() { GRPC_TOO_LARGE } else { HTTP_TOO_LARGE };
        let code = *codes.choose(random).expect("some");
        Reply::Refused { code, hint: Hint::None, again: Again::Smaller }
    }

    fn draw(&self, mix: Mix, spans: usize, packed: bool, random: &mut SmallRng) -> Reply {
        let mut dice = random.random_range(0..100_u32);
        let mut is = |part: u32| {
            let is = dice < part;
            dice = if is { u32::MAX } else { dice.saturating_sub(part) };
            is
        };
        if is(mix.partial) {
            Reply::Taken { rejected: random.random_range(1..=spans) }
        } else if is(mix.refused) {
            let (again, codes) = match (self.transport.is_grpc(), random.random_bool(0.6)) {
                (true, true) => (Again::Yes, GRPC_AGAIN),
                (true, false) => (Again::No, GRPC_FINAL),
                (false, true) => (Again::Yes, HTTP_AGAIN),
                (false, false) => (Again::No, HTTP_FINAL),
            };
            let code = *codes.choose(random).expect("some");
            // What is not understood may be the compression.
            let is_plain = packed && [UNIMPLEMENTED, UNSUPPORTED].contains(&code);
            let again = if is_plain { Again::Plain } else { again };
            // Without a hint, this code is final.
            let needs_hint = again == Again::Yes && code == EXHAUSTED;
            let hints = needs_hint || again == Again::Yes && random.random();
            Reply::Refused { code, hint: if hints { Hint::Soon } else { Hint::None }, again }
        } else if is(mix.broken) {
            let kinds = [Broken::Foreign, Broken::Garbage, Broken::Oversized, Broken::Endless];
            Reply::Broken(*kinds.choose(random).expect("some"))
        } else if is(mix.cut) {
            let at = *[Phase::Nothing, Phase::Head, Phase::Body].choose(random).expect("some");
            let by = *[By::Reset, By::Close, By::Silence].choose(random).expect("some");
            Reply::Cut { at, by }
        } else {
            Reply::Taken { rejected: 0 }
        }
    }
}

/// How a connection of HTTP/2 is given up.
enum Goodbye {
    /// What is under way may end.
    Graceful,
    Abrupt,
    /// Without a word.
    None,
}

/// Sends a body for as long as there is room for it, and the client wants it.
async fn flood(stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    const PIECE: usize = 4 << 10;
    loop {
        stream.reserve_capacity(PIECE);
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return Ok(()) };
        stream.send_data(vec![0; room?].into(), false)?;
    }
}

/// The body of the next request, whether it is compressed, and when it began to come. `None` when
/// there is none.
async fn read_http(
    stream: &mut (impl AsyncRead + Unpin),
    seen: &mut BytesMut,
) -> io::Result<Option<(bool, Bytes, Instant)>> {
    let mut came = None;
    loop {
        if let Some(head) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&seen[..head]).to_ascii_lowercase();
            let (_, length) = text.split_once("content-length: ").expect("the exporter tells it");
            let length = length.lines().next().unwrap_or_default().parse::<usize>().unwrap();
            if seen.len() >= head + 4 + length {
                drop(seen.split_to(head + 4));
                let packed = text.contains("content-encoding: gzip");
                let body = seen.split_to(length).freeze();
                return Ok(Some((packed, body, came.unwrap_or_else(Instant::now))));
            }
        }
        if stream.read_buf(seen).await? == 0 {
            return Ok(None);
        }
        came.get_or_insert_with(Instant::now);
    }
}

fn unpack(packed: bool, bytes: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    if packed {
        GzDecoder::new(bytes).read_to_end(&mut unpacked).expect("gzip");
    } else {
        unpacked.extend_from_slice(bytes);
    }
    unpacked
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const EXHAUSTED: Code = Code::Grpc("8", "");
const UNIMPLEMENTED: Code = Code::Grpc("12", "");
const UNSUPPORTED: Code = Code::Http("415 Unsupported Media Type");
const GRPC_AGAIN: &[Code] = &[
    Code::Grpc("1", ""),
    Code::Grpc("4", ""),
    EXHAUSTED,
    Code::Grpc("10", ""),
    Code::Grpc("11", ""),
    Code::Grpc("14", ""),
    Code::Grpc("15", ""),
    Code::Http("429"),
    Code::Http("502"),
    Code::Http("503"),
    Code::Http("504"),
];
const GRPC_FINAL: &[Code] = &[
    Code::Grpc("2", ""),
    Code::Grpc("3", "message larger than max"),
    Code::Grpc("5", ""),
    Code::Grpc("6", ""),
    Code::Grpc("7", ""),
    EXHAUSTED,
    Code::Grpc("9", ""),
    UNIMPLEMENTED,
    Code::Grpc("13", ""),
    Code::Grpc("16", ""),
    Code::Grpc("17", "a code that is none"),
    Code::Grpc("banana", ""),
    Code::Http("308"),
    Code::Http("404"),
    Code::Http("415"),
    Code::Http("500"),
];
const GRPC_TOO_LARGE: &[Code] = &[
    Code::Grpc("8", "grpc: received message larger than max (5 vs. 4)"),
    Code::Grpc("11", "Error, decoded message length too large: found 5 bytes, the limit is: 4"),
    Code::Http("413"),
];
const HTTP_AGAIN: &[Code] = &[
    Code::Http("429 Too Many Requests"),
    Code::Http("502 Bad Gateway"),
    Code::Http("503 Service Unavailable"),
    Code::Http("504 Gateway Timeout"),
];
const HTTP_FINAL: &[Code] = &[
    Code::Http("308 Permanent Redirect"),
    Code::Http("400 Bad Request"),
    Code::Http("401 Unauthorized"),
    Code::Http("403 Forbidden"),
    Code::Http("404 Not Found"),
    Code::Http("408 Request Timeout"),
    UNSUPPORTED,
    Code::Http("500 Oh No"),
    Code::Http("501 Not Implemented"),
];
const HTTP_TOO_LARGE: &[Code] = &[Code::Http("413 Content Too Large")];
/// A `google.rpc.Status` whose only detail is a `RetryInfo` of five milliseconds.
const RETRY_IN_5_MS: &str =
    "GjMKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBwoFEMCWsQI=";
