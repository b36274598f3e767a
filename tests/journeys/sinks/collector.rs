//! A collector that remembers what it was sent and answers by a [`Script`].

use std::io::{self, Read};
use std::net::{self, Ipv4Addr, Shutdown, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, Method, Request, Response, Version, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};
use tokio::runtime::{self, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Ids;
use super::script::{After, Answer, End, Script, Wire, h2, message, partial};

/// A listening collector, on a thread of its own: a test may block its own. Gone when dropped,
/// with all its connections.
pub(crate) struct Collector {
    shared: Arc<Shared>,
    /// `None` on a Unix domain socket.
    address: Option<SocketAddr>,
    runtime: Option<Runtime>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) version: Version,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) message: ExportTraceServiceRequest,
    /// The bytes of the message.
    #[cfg_attr(not(feature = "forward"), expect(dead_code, reason = "for what is passed on"))]
    pub(crate) body: Bytes,
}

impl Received {
    /// How many there are.
    pub(super) fn spans(&self) -> usize {
        let scopes = self.message.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes.map(|scope| scope.spans.len()).sum()
    }
}

struct Shared {
    /// `None` is plaintext.
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    tls: Mutex<Option<Arc<rustls::ServerConfig>>>,
    script: watch::Sender<Script>,
    received: Mutex<Vec<Received>>,
    arrived: Condvar,
    /// Times that a script was followed: requests, or connections of a [`Wire`].
    played: AtomicUsize,
    connections: Mutex<Vec<Connection>>,
    /// Bytes of answers that the client has let this collector write.
    written: AtomicU64,
}

/// The task that serves a connection, and a second handle of the socket to end it by.
type Connection = (Option<net::TcpStream>, JoinHandle<()>);

impl Collector {
    /// Listens on a free port of the loopback.
    pub(crate) fn start(script: impl Into<Script>) -> Self {
        Self::listen((Ipv4Addr::LOCALHOST, 0).into(), script).unwrap()
    }

    /// Listens there, as far as there is such an address.
    pub(crate) fn listen(address: SocketAddr, script: impl Into<Script>) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(address)?;
        Ok(Self::on(socket, script))
    }

    /// Listens on a socket that is bound. Before that, it refuses connections.
    pub(crate) fn on(socket: TcpSocket, script: impl Into<Script>) -> Self {
        let runtime = runtime();
        let context = runtime.enter();
        let listener = socket.listen(1024).unwrap();
        drop(context);
        let address = listener.local_addr().unwrap();
        let shared = Shared::new(script);
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Self { shared, address: Some(address), runtime: Some(runtime) }
    }

    /// Listens on a Unix domain socket, which is made. Speaks no [`Wire`] and no TLS.
    pub(crate) fn listen_unix(path: &Path, script: impl Into<Script>) -> Self {
        let runtime = runtime();
        let context = runtime.enter();
        let listener = UnixListener::bind(path).unwrap();
        drop(context);
        let shared = Shared::new(script);
        let own = Arc::clone(&shared);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serve = Arc::clone(&own).serve(stream);
                own.connections().push((None, tokio::spawn(async { drop(serve.await) })));
            }
        });
        Self { shared, address: None, runtime: Some(runtime) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("a port")
    }

    pub(crate) fn grpc_url(&self) -> String {
        format!("grpc://{}", self.address())
    }

    pub(crate) fn http_url(&self) -> String {
        format!("http://{}/v1/traces", self.address())
    }

    /// From now on expects TLS of new connections.
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    pub(crate) fn use_tls(&self, config: Arc<rustls::ServerConfig>) {
        *self.shared.tls() = Some(config);
    }

    /// From now on answers by this script.
    pub(crate) fn play(&self, script: impl Into<Script>) {
        self.shared.script.send_replace(script.into());
    }

    /// The requests so far, in the order in which they came.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many requests have come.
    pub(crate) fn wait_for(&self, requests: usize) {
        let received = self.shared.received.lock().unwrap_or_else(PoisonError::into_inner);
        let (received, _) = self
            .shared
            .arrived
            .wait_timeout_while(received, PATIENCE, |received| received.len() < requests)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(received.len() >= requests, "{} requests of {requests} came", received.len());
    }

    /// Waits until the script has been followed once.
    pub(crate) fn wait_until_played(&self) {
        let received = self.shared.received.lock().unwrap_or_else(PoisonError::into_inner);
        let waited =
            self.shared.arrived.wait_timeout_while(received, PATIENCE, |_| self.played() == 0);
        drop(waited);
        assert!(self.played() > 0, "nothing came");
    }

    /// All spans of all requests.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let received = self.received();
        let resources = received.into_iter().flat_map(|received| received.message.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Trace and span id of all spans of all requests.
    pub(crate) fn ids(&self) -> Ids {
        self.spans().into_iter().map(|span| (span.trace_id, span.span_id)).collect()
    }

    pub(crate) fn played(&self) -> usize {
        self.shared.played.load(Ordering::Relaxed)
    }

    /// Connections so far, or since the last [`disconnect`](Self::disconnect).
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections().len()
    }

    /// Closes all connections, as if the collector had been restarted, and waits until the client
    /// has seen it.
    pub(crate) fn disconnect(&self) {
        let runtime = self.runtime.as_ref().expect("present until dropped");
        for (stream, connection) in std::mem::take(&mut *self.shared.connections()) {
            let Some(stream) = stream else { continue };
            let _ = stream.shutdown(Shutdown::Write);
            // It is read from until the client closes it too.
            let _ = runtime.block_on(connection);
        }
    }

    pub(crate) fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // An ordinary drop would wait, which is not allowed within a runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let script = shared.script.borrow().clone();
        let own = Arc::clone(&shared);
        // What a client does to a connection is its own business; what counts here is what came
        // and what was written.
        let connection = if let Script::Wire(wire) = script {
            // Without a second handle, so that a reset is one.
            let task = async move { drop(own.play_wire(stream, &wire).await) };
            (None, tokio::spawn(task))
        } else {
            let stream = stream.into_std().unwrap();
            let handle = stream.try_clone().unwrap();
            let stream = TcpStream::from_std(stream).unwrap();
            (Some(handle), tokio::spawn(own.welcome(stream)))
        };
        shared.connections().push(connection);
    }
}

fn runtime() -> Runtime {
    runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

impl Shared {
    fn new(script: impl Into<Script>) -> Arc<Self> {
        Arc::new(Self {
            #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
            tls: Mutex::default(),
            script: watch::Sender::new(script.into()),
            received: Mutex::default(),
            arrived: Condvar::new(),
            played: AtomicUsize::new(0),
            connections: Mutex::default(),
            written: AtomicU64::new(0),
        })
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    fn tls(&self) -> MutexGuard<'_, Option<Arc<rustls::ServerConfig>>> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn welcome(self: Arc<Self>, stream: TcpStream) {
        #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
        {
            let tls = self.tls().clone();
            if let Some(config) = tls {
                if let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await {
                    drop(self.serve(stream).await);
                }
                return;
            }
        }
        drop(self.serve(stream).await);
    }

    async fn serve(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<(), impl Sized> {
        let service = service_fn(|request| Arc::clone(&self).answer(request));
        auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<ScriptedBody>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let is_grpc = head
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        let encoding = if is_grpc { "grpc-encoding" } else { "content-encoding" };
        let is_gzip = head.headers.get(encoding).is_some_and(|value| value == "gzip");
        let body = match (is_grpc, is_gzip) {
            (true, _) => unframe(&body, is_gzip),
            (false, true) => gunzip(&body),
            (false, false) => body.to_vec(),
        };
        let len = body.len();
        let received = Received {
            version: head.version,
            method: head.method,
            path: head.uri.path().to_owned(),
            headers: head.headers,
            message: ExportTraceServiceRequest::decode(&body[..]).expect("an OTLP request"),
            body: body.into(),
        };
        self.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
        self.arrived.notify_all();
        let answer = self.next_answer(is_grpc, is_gzip, len).await;
        self.count_as_played();

        let mut response = Response::new(ScriptedBody {
            body: answer.body,
            endless: answer.endless,
            trailers: Some(answer.trailers).filter(|trailers| !trailers.is_empty()),
            shared: self,
        });
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }

    /// Waits while the script is silence.
    async fn next_answer(&self, is_grpc: bool, is_gzip: bool, len: usize) -> Answer {
        let mut script = self.script.subscribe();
        let is_answer = |script: &Script| !matches!(script, Script::Silence | Script::Wire(_));
        let script = script.wait_for(is_answer).await.expect("the sender is here").clone();
        let response = match script {
            Script::Answer(answer) => return *answer,
            Script::UpTo(most, answer) if len > most => return *answer,
            Script::First(requests, answer) if self.played.load(Ordering::Relaxed) < requests => {
                return *answer;
            }
            Script::Partial(rejected, text) => partial(rejected, text),
            Script::PlainOnly if is_gzip && is_grpc => return Answer::grpc("12"),
            Script::PlainOnly if is_gzip => return Answer::new(415),
            Script::Ok
            | Script::UpTo(..)
            | Script::First(..)
            | Script::PlainOnly
            | Script::Silence
            | Script::Wire(_) => Vec::new(),
        };
        if is_grpc {
            Answer::grpc("0").body(message(0, &response))
        } else {
            Answer::protobuf(200, response)
        }
    }

    fn count_as_played(&self) {
        // Under the lock, so that nobody misses it on the way to waiting for it.
        let _received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        self.played.fetch_add(1, Ordering::Relaxed);
        self.arrived.notify_all();
    }

    async fn play_wire(&self, mut stream: TcpStream, wire: &Wire) -> io::Result<()> {
        if wire.after == After::Request {
            read_request(&mut stream).await?;
        }
        self.count_as_played();
        stream.write_all(&wire.bytes).await?;
        while !wire.endless.is_empty() {
            stream.write_all(&wire.endless).await?;
            self.written.fetch_add(wire.endless.len() as u64, Ordering::Relaxed);
        }
        match wire.end {
            End::Reset => stream.set_zero_linger(),
            // Until the client lets go of it.
            End::Hold => tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop),
            End::Close => {
                stream.shutdown().await?;
                // Closed with bytes unread, the connection would be reset.
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
            }
        }
    }
}

/// The one message of a unary call, whose head must tell the truth.
fn unframe(body: &[u8], is_gzip: bool) -> Vec<u8> {
    let (head, message) = body.split_at(5);
    assert_eq!(head[1..], u32::try_from(message.len()).unwrap().to_be_bytes(), "the length");
    // With an encoding, each message may still go as it is.
    match head[0] {
        0 => message.to_vec(),
        1 if is_gzip => gunzip(message),
        flag => panic!("the flag is {flag}, and the encoding gzip: {is_gzip}"),
    }
}

fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut unpacked).expect("gzip");
    unpacked
}

async fn read_request(stream: &mut TcpStream) -> io::Result<()> {
    let mut seen = Vec::new();
    while !is_request(&seen) {
        if stream.read_buf(&mut seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Whether these bytes hold a whole request, in HTTP/1.1 or HTTP/2.
fn is_request(seen: &[u8]) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if PREFACE.starts_with(seen) {
        return false;
    }
    if let Some(mut frames) = seen.strip_prefix(PREFACE) {
        while let Some((&[a, b, c, kind, flags, ..], rest)) = frames.split_first_chunk::<9>() {
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            let Some(rest) = rest.get(len..) else { return false };
            if kind == h2::DATA && flags & h2::END_STREAM != 0 {
                return true;
            }
            frames = rest;
        }
        return false;
    }
    let text = String::from_utf8_lossy(seen).to_ascii_lowercase();
    let length = text.split_once("content-length: ").and_then(|(_, rest)| rest.split_once("\r\n"));
    let length: usize = length.map_or(0, |(length, _)| length.parse().unwrap());
    let head = seen.windows(4).position(|four| four == b"\r\n\r\n");
    head.is_some_and(|head| seen.len() - (head + 4) >= length)
}

/// The body of an [`Answer`]. Its length stays untold, but for a `content-length` of the answer.
struct ScriptedBody {
    body: Bytes,
    endless: Bytes,
    trailers: Option<HeaderMap>,
    shared: Arc<Shared>,
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.body.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.body)))));
        }
        if !self.endless.is_empty() {
            self.shared.written.fetch_add(self.endless.len() as u64, Ordering::Relaxed);
            return Poll::Ready(Some(Ok(Frame::data(self.endless.clone()))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

/// How long a test waits for what must come, before it fails.
const PATIENCE: Duration = Duration::from_secs(60);
