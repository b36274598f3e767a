//! What both network sinks say of a batch.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::grpc::GrpcSink;
use super::http::HttpSink;
use super::{Compression, ExportOptions};
use crate::pipeline::{Pipeline, PipelineOptions, Scope, SharedResource, Sink};
use crate::record::wire::put_bytes;

#[tokio::test]
async fn a_request_tells_the_next_forwarder_through_whom_its_spans_came() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let (tell, mut told) = mpsc::unbounded_channel();
    let collector = tokio::spawn(collect(listener, tell));
    // As small as they are, they are not compressed, and as large as they are, they are.
    let options = ExportOptions { compression: Compression::Gzip, ..ExportOptions::default() };
    let grpc = GrpcSink::new(&authority, &options, "grpc".into()).unwrap();
    let http = HttpSink::new(&authority, "/v1/traces", &options, "http".into()).unwrap();
    for sink in [Box::new(grpc) as Box<dyn Sink>, Box::new(http)] {
        let target = sink.target().to_owned();
        let pipeline = Pipeline::start(sink, PipelineOptions::default(), None).unwrap();
        let mut via = async |scope: Scope, size: usize| {
            let span = vec![0x2a; size];
            match scope {
                Scope::Ours { .. } => pipeline.intake().push(&Arc::new(scope), &span),
                Scope::Others { .. } => {
                    let mut request = Vec::new();
                    put_bytes(&mut request, 1, &span);
                    pipeline.intake().forward(&Arc::new(scope), request, 1, None).unwrap();
                }
            }
            pipeline.flush(Duration::from_secs(60)).await;
            let headers: HeaderMap = told.recv().await.unwrap();
            headers.get("tower-otlp-via").map(|via| via.to_str().unwrap().to_owned())
        };
        let ours = SharedResource::default();
        assert_eq!(via(Scope::ours(ours.clone(), Bytes::new()), 9).await, None, "{target}");
        ours.set_via("a1".into());
        for size in [9, 9000] {
            let own = via(Scope::ours(ours.clone(), Bytes::new()), size).await;
            assert_eq!(own.as_deref(), Some("a1"), "{target}");
            let of_others = via(Scope::of_others("b2, a1".into()), size).await;
            assert_eq!(of_others.as_deref(), Some("b2, a1"), "{target}");
            let bad = via(Scope::of_others("b2\r\nx-a: 1".into()), size).await;
            assert_eq!(bad, None, "{target}");
        }
        let stats = pipeline.shutdown(Duration::from_secs(60)).await;
        assert_eq!((stats.accepted, stats.delivered), (7, 7), "{target}");
    }
    collector.abort();
}

/// Takes everything, and hands out the headers.
async fn collect(listener: TcpListener, tell: mpsc::UnboundedSender<HeaderMap>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let tell = tell.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let _ = tell.send(request.headers().clone());
                let answer = Response::builder().header("grpc-status", "0");
                std::future::ready(Ok::<_, Infallible>(answer.body(Empty::<Bytes>::new()).unwrap()))
            });
            let server = Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
