//! The one call that both servers have, written out by hand so that no protoc is needed. With
//! tonic's code generator all of this is one line.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::server::{NamedService, UnaryService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;
use tower_otlp::Trace;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ListNodes {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Nodes {
    #[prost(string, repeated, tag = "1")]
    pub(crate) names: Vec<String>,
}

/// What a server has to say for itself.
pub(crate) trait Lister: Clone + Send + Sync + 'static {
    const SERVICE: &'static str;
    const METHOD: &'static str;

    fn list(self) -> impl Future<Output = Result<Vec<String>, Status>> + Send;
}

/// A server as a gRPC service.
#[derive(Clone)]
pub(crate) struct Listing<L>(pub(crate) L);

impl<L: Lister> UnaryService<ListNodes> for Listing<L> {
    type Response = Nodes;
    type Future = BoxFuture<'static, Result<Response<Nodes>, Status>>;

    fn call(&mut self, _: Request<ListNodes>) -> Self::Future {
        let lister = self.0.clone();
        Box::pin(async { Ok(Response::new(Nodes { names: lister.list().await? })) })
    }
}

impl<L: Lister> NamedService for Listing<L> {
    const NAME: &'static str = L::SERVICE;
}

impl<L: Lister> Service<http::Request<Body>> for Listing<L> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != L::METHOD {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            Ok(tonic::server::Grpc::new(ProstCodec::default()).unary(service, request).await)
        })
    }
}

/// The client of such a server. Its channel is traced, so the trace goes on there.
pub(crate) async fn list(
    channel: Trace<Channel>,
    method: &'static str,
) -> Result<Vec<String>, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<ListNodes, Nodes>::default();
    let method = PathAndQuery::from_static(method);
    Ok(client.unary(Request::new(ListNodes {}), method, codec).await?.into_inner().names)
}
