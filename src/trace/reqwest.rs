//! [`Trace`] around reqwest's client, whose requests and responses are types of its own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Extensions, Response, Uri};
use pin_project_lite::pin_project;
use reqwest::ResponseBuilderExt;
use tower_service::Service;

use super::exchange::Exchange;
use super::future::{ResponseFuture, respond};
use super::head::{RequestHead, Target};
use super::layer::{Settings, Side};
use super::observation::Observation;
use super::outgoing::Outgoing;
use super::service::Trace;

pin_project! {
    /// Response future of [`Trace`] around reqwest's client.
    #[derive(Debug)]
    pub struct ReqwestFuture<F> {
        #[pin]
        head: ResponseFuture<F>,
    }
}

impl<S> Service<reqwest::Request> for Trace<S>
where
    S: Service<reqwest::Request, Response = reqwest::Response>,
    S::Error: fmt::Display + 'static,
{
    type Response = reqwest::Response;
    type Error = S::Error;
    type Future = ReqwestFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.get_mut().poll_ready(cx)
    }

    fn call(&mut self, mut request: reqwest::Request) -> Self::Future {
        let observation = observe(self.settings(), &mut request);
        ReqwestFuture { head: self.call_within(observation, request) }
    }
}

impl<F, E> Future for ReqwestFuture<F>
where
    F: Future<Output = Result<reqwest::Response, E>>,
    E: fmt::Display + 'static,
{
    type Output = Result<reqwest::Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut head = self.project().head;
        let response = ready!(head.as_mut().poll_head(cx, |_, _| {}));
        Poll::Ready(response.map(|response| match head.take() {
            Observation::Live(exchange) => watched(response, exchange),
            // Nothing is to be ended by its body.
            Observation::Off | Observation::Unrecorded(..) => response,
        }))
    }
}

fn observe(settings: &Arc<Settings>, request: &mut reqwest::Request) -> Observation {
    // reqwest has no server side.
    if settings.role.side() == Side::Server {
        return Observation::Off;
    }
    // It has extensions, but shows them to nobody.
    let extensions = Extensions::new();
    if settings.hooks.has_filters() {
        let uri = uri(request.url());
        if !settings.hooks.admit(&head(request, &uri, &extensions)) {
            return Observation::Off;
        }
    }
    let mut headers = std::mem::take(request.headers_mut());
    let (method, path) = (request.method(), request.url().path());
    let outgoing = Outgoing::prepare(settings, method, path, &extensions, &mut headers);
    *request.headers_mut() = headers;
    let Some(outgoing) = outgoing else { return Observation::Off };
    let uri = if outgoing.wants_head(settings) { uri(request.url()) } else { Uri::default() };
    outgoing.start(settings, &head(request, &uri, &extensions))
}

fn head<'a>(
    request: &'a reqwest::Request,
    uri: &'a Uri,
    extensions: &'a Extensions,
) -> RequestHead<'a> {
    RequestHead {
        method: request.method(),
        target: Target::Whole(uri),
        version: request.version(),
        headers: request.headers(),
        extensions,
        fragment: request.url().fragment(),
        length: request.body().and_then(|body| Some(body.as_bytes()?.len() as u64)),
    }
}

/// Of a URL that is no `Uri`, because it is too long, what it begins with. One without a host
/// goes nowhere, and says nothing.
fn uri(url: &reqwest::Url) -> Uri {
    // What names no host is refused by reqwest, and misread as a host by others: `file:`, `foo:bar`.
    if !url.has_host() {
        return Uri::default();
    }
    if let Ok(uri) = url.as_str().parse() {
        return uri;
    }
    let mut start = url.clone();
    start.set_path("");
    start.set_query(None);
    start.set_fragment(None);
    start.as_str().parse().unwrap_or_default()
}

/// The response, whose body ends the span.
fn watched(response: reqwest::Response, mut exchange: Box<Exchange>) -> reqwest::Response {
    // The one way to give a response its URL, which the conversions lose.
    let with_url = Response::builder().url(response.url().clone()).body(());
    let mut response = Response::from(response);
    let entered = exchange.enter();
    let rest = exchange.answered(&mut response);
    drop(entered);
    exchange.leave();
    let response = respond(response, Observation::Live(exchange), Some(rest));
    let (mut head, body) = response.into_parts();
    if let Ok(with_url) = with_url {
        head.extensions.extend(with_url.into_parts().0.extensions);
    }
    Response::from_parts(head, reqwest::Body::wrap(body)).into()
}
