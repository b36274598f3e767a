//! A gRPC service without generated code, and its client. Messages are strings.

use std::convert::Infallible;
use std::fmt;
use std::future::Ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::client::{self, GrpcService};
use tonic::codec::Streaming;
use tonic::server::{self, NamedService};
use tonic::transport::Channel;
use tonic::transport::server::{Router, TcpIncoming};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::{BoxError, Layer, Service, service_fn};

use super::panic_quietly;
use super::spans::Moments;

/// What a gRPC handler answers in a stream.
type Messages = BoxStream<'static, Result<String, Status>>;

/// `test.Echo`. What it does with a message, the message says: `ok`, `not found`, `disk full`,
/// `panic`, or for streams also `forever`.
#[derive(Clone, Default)]
pub(crate) struct Echo {
    moments: Moments,
}

impl Echo {
    pub(crate) fn new(moments: Moments) -> Self {
        Self { moments }
    }

    async fn one(self, message: String) -> Result<tonic::Response<String>, Status> {
        self.moments.mark();
        answer(&message).map(|()| tonic::Response::new(message))
    }

    /// Two messages, and then what the request asked for.
    async fn count(self, message: String) -> Result<tonic::Response<Messages>, Status> {
        self.moments.mark();
        let Self { moments } = self;
        let counted = stream::iter(["one", "two"]).map(|text| Ok(text.to_owned()));
        let end = stream::once(async move {
            if message == "forever" {
                std::future::pending::<()>().await;
            }
            Moments::pass().await;
            moments.mark();
            answer(&message).map(|()| "three".to_owned())
        });
        Ok(tonic::Response::new(counted.chain(end).boxed()))
    }

    /// One answer to all messages.
    async fn collect(
        self,
        mut messages: Streaming<String>,
    ) -> Result<tonic::Response<String>, Status> {
        let mut collected = Vec::new();
        while let Some(message) = messages.message().await? {
            self.moments.mark();
            answer(&message)?;
            collected.push(message);
        }
        Ok(tonic::Response::new(collected.join(" ")))
    }

    /// An answer to each message.
    async fn chat(self, messages: Streaming<String>) -> Result<tonic::Response<Messages>, Status> {
        let Self { moments } = self;
        let answers = messages.map(move |message| {
            moments.mark();
            let message = message?;
            answer(&message).map(|()| message)
        });
        Ok(tonic::Response::new(answers.boxed()))
    }

    /// The same, and no end: tonic takes a call that was reset for one whose messages have ended.
    async fn talk(self, messages: Streaming<String>) -> Result<tonic::Response<Messages>, Status> {
        let answers = self.chat(messages).await?.into_inner();
        Ok(tonic::Response::new(answers.chain(stream::pending()).boxed()))
    }
}

fn answer(message: &str) -> Result<(), Status> {
    match message {
        "not found" => Err(Status::not_found("no such user")),
        "disk full" => Err(Status::internal("the disk is full, 100%")),
        "panic" => panic_quietly(),
        _ => Ok(()),
    }
}

impl Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let echo = self.clone();
        let mut grpc = server::Grpc::new(ProstCodec::<String, String>::default());
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(match method.as_str() {
                "One" => {
                    let service = service_fn(|request: tonic::Request<String>| {
                        echo.clone().one(request.into_inner())
                    });
                    grpc.unary(service, request).await
                }
                "Count" => {
                    let service = service_fn(|request: tonic::Request<String>| {
                        echo.clone().count(request.into_inner())
                    });
                    grpc.server_streaming(service, request).await
                }
                "Collect" => {
                    let service = service_fn(|request: tonic::Request<Streaming<String>>| {
                        echo.clone().collect(request.into_inner())
                    });
                    grpc.client_streaming(service, request).await
                }
                "Chat" => {
                    let service = service_fn(|request: tonic::Request<Streaming<String>>| {
                        echo.clone().chat(request.into_inner())
                    });
                    grpc.streaming(service, request).await
                }
                "Talk" => {
                    let service = service_fn(|request: tonic::Request<Streaming<String>>| {
                        echo.clone().talk(request.into_inner())
                    });
                    grpc.streaming(service, request).await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

/// `test.Mute`: answers without a `grpc-status`, as nothing that speaks gRPC should. The method's
/// name is the HTTP status.
#[derive(Clone)]
pub(crate) struct Mute;

impl Service<Request<Body>> for Mute {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let status = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        // With 200 one empty message, otherwise nothing.
        let body = if status == "200" { &[0; 5][..] } else { &[] };
        let body = Full::from(body).map_err(|never| match never {});
        let response = Response::builder()
            .status(status.as_str())
            .header("content-type", "application/grpc")
            .body(Body::new(body));
        std::future::ready(Ok(response.unwrap()))
    }
}

impl NamedService for Mute {
    const NAME: &'static str = "test.Mute";
}

/// Serves gRPC for as long as the test runs.
pub(crate) async fn serve<L, B>(router: Router<L>) -> SocketAddr
where
    L: Layer<tonic::service::Routes> + Clone + Send + 'static,
    L::Service: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    <L::Service as Service<Request<Body>>>::Future: Send,
    <L::Service as Service<Request<Body>>>::Error:
        Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
    address
}

/// The client of [`Echo`] and [`Mute`], over a channel or what is around one.
#[derive(Clone)]
pub(crate) struct Client<T = Channel>(client::Grpc<T>);

/// What a call came to: all messages, and the status if it was an error.
pub(crate) type Answer = (Vec<String>, Code);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        Self::over(channel.connect().await.unwrap())
    }
}

impl<T> Client<T>
where
    T: GrpcService<Body, ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send>,
    T::ResponseBody: 'static,
    T::Error: fmt::Debug,
{
    pub(crate) fn over(service: T) -> Self {
        Self(client::Grpc::new(service))
    }

    /// Makes a call of any kind: what the kinds differ in is how many messages there are.
    pub(crate) async fn call(&mut self, path: &'static str, messages: &[&str]) -> Answer {
        let messages: Vec<_> = messages.iter().map(ToString::to_string).collect();
        let mut answers = match self.open(path, stream::iter(messages)).await {
            Ok(answers) => answers,
            Err(status) => return (Vec::new(), status.code()),
        };
        let mut received = Vec::new();
        loop {
            match answers.message().await {
                Ok(Some(message)) => received.push(message),
                Ok(None) => return (received, Code::Ok),
                Err(status) => return (received, status.code()),
            }
        }
    }

    /// Starts a call.
    pub(crate) async fn open<S>(
        &mut self,
        path: &'static str,
        messages: S,
    ) -> Result<Streaming<String>, Status>
    where
        S: Stream<Item = String> + Send + 'static,
    {
        self.request(path, tonic::Request::new(messages)).await
    }

    /// Starts a call, with metadata.
    pub(crate) async fn request<S>(
        &mut self,
        path: &'static str,
        request: tonic::Request<S>,
    ) -> Result<Streaming<String>, Status>
    where
        S: Stream<Item = String> + Send + 'static,
    {
        self.0.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(path);
        let codec = ProstCodec::<String, String>::default();
        Ok(self.0.streaming(request, path, codec).await?.into_inner())
    }
}
