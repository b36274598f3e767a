//! A layer that does nothing at all, not even see the end of a response.

use std::task::{Context, Poll};

use tower::Service;

#[derive(Clone)]
pub(crate) struct Layer;

#[derive(Clone)]
pub(crate) struct Nothing<S>(S);

impl<S> tower::Layer<S> for Layer {
    type Service = Nothing<S>;

    fn layer(&self, inner: S) -> Nothing<S> {
        Nothing(inner)
    }
}

impl<S: Service<R>, R> Service<R> for Nothing<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}
