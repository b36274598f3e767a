//! A layer that does nothing, but wraps service, future and body as any layer must that wants to
//! see the end of a response.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
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

impl<S, A, B> Service<Request<A>> for Nothing<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<Wrapped<B>>;
    type Error = S::Error;
    type Future = Wrapped<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        Wrapped { inner: self.0.call(request) }
    }
}

pin_project! {
    pub(crate) struct Wrapped<T> {
        #[pin]
        inner: T,
    }
}

impl<F, B, E> Future for Wrapped<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Wrapped<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().inner.poll(cx));
        Poll::Ready(response.map(|response| response.map(|inner| Wrapped { inner })))
    }
}

impl<B: Body> Body for Wrapped<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
