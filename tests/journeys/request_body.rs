//! Uploads that break off. What the client did not send is no failure of the server.

use std::io;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tower_otlp::{TraceLayer, TracingService};

use crate::support::body::{conducted, data};
use crate::support::server::{Client, serve};
use crate::support::spans::{Moments, assert_none_yet, next, summary};

#[tokio::test]
async fn an_upload_that_breaks_off_ends_the_span_as_the_handler_takes_it() {
    let (http_1, http_2) = (Version::HTTP_11, Version::HTTP_2);
    let answered = "Server | POST /answers | 400 | unset | -";
    let cancelled = "Server | POST /goes_on | - | error | cancelled";
    // Version, path, span, reason. (Over HTTP/1.1 hyper lets a handler that goes on go on.)
    let rows = [
        (http_1, "/answers", answered, "as answered, whether anybody hears it or not"),
        (http_2, "/answers", answered, "the same"),
        (http_2, "/goes_on", cancelled, "the stream was reset, so the handler is dropped"),
    ];
    for (version, path, expected, reason) in rows {
        for hangs_up in [false, true] {
            let (tracing, mut spans) = TracingService::in_memory();
            let moments = Moments::default();
            let (begun, mut has_begun) = mpsc::unbounded_channel();
            let address = serve(uploads(&moments, begun).layer(TraceLayer::server(&tracing)));
            let mut client = Client::connect(version, address.await).await;

            let (conductor, body) = conducted();
            let request = Request::post(path).body(body).unwrap();
            let response = tokio::spawn(client.send(request));
            conductor.send(Ok(data("half of"))).unwrap();
            assert_eq!(has_begun.recv().await.as_deref(), Some(&b"half of"[..]));
            assert_none_yet(&tracing, &mut spans).await;
            Moments::pass().await;
            if hangs_up {
                response.abort();
                client.hang_up().await;
                drop(conductor);
            } else {
                conductor.send(Err(io::Error::other("the file is gone"))).unwrap();
            }

            let case = format!("{version:?}, hangs up: {hangs_up}: {reason}");
            let span = next(&mut spans).await;
            assert_eq!(summary(&span), expected, "{case}");
            assert!(span.events.is_empty(), "{case}");
            moments.assert_within(&span);
        }
    }
}

/// Reads what it is sent, tells of the first frame, and answers an upload that fails, or goes on
/// for ever.
fn uploads(moments: &Moments, begun: mpsc::UnboundedSender<Bytes>) -> Router {
    let moments = moments.clone();
    let read = async move |mut body: Body| {
        moments.mark();
        begun.send(body.frame().await.unwrap().unwrap().into_data().unwrap()).unwrap();
        assert!(body.frame().await.expect("not the end").is_err());
        moments.mark();
        StatusCode::BAD_REQUEST
    };
    let reads = read.clone();
    let goes_on = async move |body: Body| {
        reads(body).await;
        std::future::pending::<()>().await;
    };
    Router::new().route("/answers", post(read)).route("/goes_on", post(goes_on))
}
