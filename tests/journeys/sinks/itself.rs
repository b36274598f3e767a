//! A receiver that traces itself and exports to itself: the exports are no requests of their own.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::{Layer, service_fn};
use tower_otlp::TraceLayer;

use super::{LONG, settled, tracing_to};

#[tokio::test]
async fn a_receiver_that_exports_to_itself_over_grpc_does_not_loop() {
    assert_no_loop("grpc").await;
}

#[tokio::test]
async fn a_receiver_that_exports_to_itself_over_http_does_not_loop() {
    assert_no_loop("http").await;
}

async fn assert_no_loop(scheme: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tracing = tracing_to(&format!("{scheme}://{address}"));
    let (tell, mut exports) = mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Incoming>| {
        let tell = tell.clone();
        async move {
            let is_export = request.method() == http::Method::POST;
            let len = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
            let mut response = Response::new(Full::new(Bytes::new()));
            if is_export {
                response.headers_mut().insert("grpc-status", "0".parse().unwrap());
                let _ = tell.send(len);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let service = TraceLayer::server(&tracing).layer(service);
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                drop(server.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });

    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    for request in 1..=3 {
        let response = client.get(format!("http://{address}/").parse().unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
        // Would a span come of each export, each flush would bring one more.
        for _ in 0..3 {
            assert_eq!(tracing.flush(LONG).await, settled(request, 0));
        }
        assert!(exports.recv().await.unwrap() > 0);
        assert!(exports.try_recv().is_err(), "one export for each request");
    }
    assert_eq!(tracing.shutdown(LONG).await, settled(3, 0));
    server.abort();
}
