//! [`ResponseFuture`]: waits for the head of the response.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::ResponseBody;
use super::exchange::{End, Exchange, Rest};
use super::observation::Observation;

pin_project! {
    /// Response future of [`Trace`](super::Trace).
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        // Absent when it has given its answer.
        #[pin]
        inner: Option<F>,
        observation: Observation,
    }

    impl<F> PinnedDrop for ResponseFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            // Within the span, and before the span ends: what the service does and writes on its
            // way out belongs to it.
            let mut this = this.project();
            if this.inner.is_some() {
                this.observation.drop_within(|| this.inner.set(None));
            }
        }
    }
}

impl<F> ResponseFuture<F> {
    #[inline]
    pub(super) fn new(inner: F, observation: Observation) -> Self {
        Self { inner: Some(inner), observation }
    }
}

impl<F, T, E> ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: fmt::Display + 'static,
{
    /// Waits for the head, or for an error, which ends the exchange. `answered` looks at the head
    /// where there is an exchange, with its context in force: it would have to be put in force once
    /// more. The observation is to be [taken](Self::take) with the head.
    #[inline]
    pub(super) fn poll_head(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        answered: impl FnOnce(&mut Exchange, &mut T),
    ) -> Poll<Result<T, E>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Pending };
        let entered = this.observation.enter();
        let mut polled = inner.poll(cx);
        if polled.is_ready() {
            this.inner.set(None);
        }
        if let (Poll::Ready(Ok(head)), Observation::Live(exchange)) =
            (&mut polled, &mut *this.observation)
        {
            answered(exchange, head);
        }
        drop(entered);
        this.observation.leave();

        if let Poll::Ready(Err(error)) = &polled {
            this.observation.fail(error);
        }
        polled
    }

    pub(super) fn take(self: Pin<&mut Self>) -> Observation {
        std::mem::take(self.project().observation)
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    E: fmt::Display + 'static,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut rest = None;
        let answered = |exchange: &mut Exchange, response: &mut _| {
            rest = Some(exchange.answered(response));
        };
        match ready!(self.as_mut().poll_head(cx, answered)) {
            Ok(response) => Poll::Ready(Ok(respond(response, self.take(), rest))),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// Passes a response on, whose body takes the observation with it.
#[inline]
pub(super) fn respond<B: Body>(
    response: Response<B>,
    mut observation: Observation,
    rest: Option<Rest>,
) -> Response<ResponseBody<B>> {
    let mut left = None;
    match rest {
        None => {}
        Some(Rest::Body { length }) => left = length,
        Some(Rest::Nothing) => observation.end(End::Complete),
        Some(Rest::InHead) => observation.end(End::Trailers(response.headers())),
    }
    response.map(|body| ResponseBody::new(body, observation, left))
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::Empty;
    use tower::{Layer, Service, service_fn};

    use super::*;
    use crate::{TraceLayer, TracingService};

    #[test]
    fn what_a_caller_sent_is_not_printed() {
        let (tracing, _spans) = TracingService::in_memory();
        type Answer = Result<Response<Empty<bytes::Bytes>>, std::convert::Infallible>;
        let unrecorded = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let recorded = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let rows =
            [(true, recorded, "Live"), (false, recorded, "Live"), (true, unrecorded, "Unrecorded")];
        for (context, traceparent, state) in rows {
            let layer = TraceLayer::server(&tracing).open_telemetry_context(context);
            let mut service =
                layer.layer(service_fn(|_: Request<()>| std::future::pending::<Answer>()));
            let request = Request::get("http://user:hunter2@shop/?hunter2")
                .header("traceparent", traceparent)
                .header("tracestate", "vendor=hunter2")
                .header("baggage", "session=hunter2")
                .header("user-agent", "hunter2")
                .body(());
            let printed = format!("{:?}", service.call(request.unwrap()));
            assert!(printed.contains(state), "{printed}");
            assert!(!printed.contains("hunter2"), "{printed}");
        }
    }

    #[test]
    fn futures_and_bodies_grow_by_little() {
        type Inner = [u64; 8];
        let inner = size_of::<Inner>();
        let (future, body) = (size_of::<ResponseFuture<Inner>>(), size_of::<ResponseBody<Inner>>());
        assert!(future - inner <= 64, "a future by {}", future - inner);
        assert!(body - inner <= 80, "a body by {}", body - inner);
    }
}
