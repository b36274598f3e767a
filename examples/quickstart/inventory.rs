//! The gRPC service behind the shop, written out by hand so that no protoc is needed. With
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
pub(crate) struct Item {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Stock {
    #[prost(uint64, tag = "1")]
    pub(crate) count: u64,
}

/// The server.
#[derive(Clone, Debug)]
pub(crate) struct Inventory;

impl UnaryService<Item> for Inventory {
    type Response = Stock;
    type Future = BoxFuture<'static, Result<Response<Stock>, Status>>;

    fn call(&mut self, request: Request<Item>) -> Self::Future {
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_millis(15)).await;
            match request.into_inner().id {
                0 => Err(Status::not_found("there is no item 0")),
                id => Ok(Response::new(Stock { count: id % 10 })),
            }
        })
    }
}

impl NamedService for Inventory {
    const NAME: &'static str = "shop.Inventory";
}

impl Service<http::Request<Body>> for Inventory {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() != COUNT {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            Ok(tonic::server::Grpc::new(ProstCodec::default()).unary(Self, request).await)
        })
    }
}

/// The client: how many of an item are in stock. Its channel is traced, so the trace goes on there.
pub(crate) async fn count(channel: Trace<Channel>, id: u64) -> Result<u64, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<Item, Stock>::default();
    let stock =
        client.unary(Request::new(Item { id }), PathAndQuery::from_static(COUNT), codec).await?;
    Ok(stock.into_inner().count)
}

const COUNT: &str = "/shop.Inventory/Count";
