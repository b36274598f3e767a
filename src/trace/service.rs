//! [`Trace`]: hands each request to the wrapped service, within its span.

use std::fmt;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::body::ResponseBody;
use super::decision;
use super::future::ResponseFuture;
use super::layer::{Role, Settings};
use super::observation::Observation;
use super::outgoing;

/// A service that records a span for each request. Made by [`TraceLayer`](super::TraceLayer).
#[derive(Clone, Debug)]
pub struct Trace<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Trace<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }

    /// The wrapped service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The wrapped service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the wrapped service back.
    pub fn into_inner(self) -> S {
        self.inner
    }

    #[cfg(feature = "reqwest")]
    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Calls the wrapped service, and leaves the rest to its future.
    #[inline]
    pub(super) fn call_within<R>(
        &mut self,
        mut observation: Observation,
        request: R,
    ) -> ResponseFuture<S::Future>
    where
        S: Service<R>,
    {
        let entered = observation.enter();
        let inner = self.inner.call(request);
        drop(entered);
        observation.leave();
        ResponseFuture::new(inner, observation)
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Trace<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: fmt::Display + 'static,
    ResBody: Body,
    ResBody::Error: fmt::Display + 'static,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let observation = match &self.settings.role {
            Role::Server { trust, .. } => decision::observe(&self.settings, trust, &mut request),
            Role::Client { .. } => outgoing::observe(&self.settings, &mut request),
        };
        self.call_within(observation, request)
    }
}

#[cfg(feature = "tonic")]
impl<S: tonic::server::NamedService> tonic::server::NamedService for Trace<S> {
    const NAME: &'static str = S::NAME;
}
