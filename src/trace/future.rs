//! [`ResponseFuture`]: waits for the head of the response.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::ResponseBody;
use super::observation::Observation;
use super::span::{End, Rest};

pin_project! {
    /// Response future of [`Trace`](super::Trace).
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        // Dropped before the span ends, so that what the service writes on its way out arrives.
        #[pin]
        inner: F,
        observation: Observation,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, observation: Observation) -> Self {
        Self { inner, observation }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    E: fmt::Display,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let entered = this.observation.enter();
        let polled = this.inner.poll(cx);
        drop(entered);
        this.observation.leave();

        match ready!(polled) {
            Ok(response) => Poll::Ready(Ok(respond(response, std::mem::take(this.observation)))),
            Err(error) => {
                this.observation.end(End::Error(&error));
                Poll::Ready(Err(error))
            }
        }
    }
}

fn respond<B: Body>(
    mut response: Response<B>,
    mut observation: Observation,
) -> Response<ResponseBody<B>> {
    let mut left = None;
    if let Observation::Sampled(span) = &mut observation {
        match span.answered(&mut response) {
            Rest::Body { length } => left = length,
            Rest::Nothing => observation.end(End::Complete),
            Rest::InHead => observation.end(End::Trailers(response.headers())),
        }
    }
    response.map(|body| ResponseBody::new(body, observation, left))
}
