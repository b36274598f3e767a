//! What the author of a service has to say about its spans.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, HeaderMap, Response, StatusCode, Version};
use opentelemetry::KeyValue;

use super::head::RequestHead;

/// Functions that are asked or told about each request. All run without any lock of ours, and one
/// that panics has said nothing: some run while another panic unwinds, where a second one would
/// abort the process.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    filters: Vec<Arc<Filter>>,
    span_name: Option<Arc<SpanName>>,
    on_request: Vec<Arc<OnRequest>>,
    on_response: Vec<Arc<OnResponse>>,
    on_end: Vec<Arc<OnEnd>>,
}

pub(super) type Filter = dyn Fn(&RequestHead<'_>) -> bool + Send + Sync;
pub(super) type SpanName = dyn Fn(&RequestHead<'_>) -> Option<Cow<'static, str>> + Send + Sync;
pub(super) type OnRequest = dyn Fn(&RequestHead<'_>, &mut Attributes) + Send + Sync;
pub(super) type OnResponse = dyn Fn(&ResponseHead<'_>, &mut Attributes) + Send + Sync;
pub(super) type OnEnd = dyn Fn(&Ended<'_>, &mut Attributes) + Send + Sync;

/// Attributes that a hook adds to the span. One of a key that is there already takes its place, but
/// for the status code and `error.type`, which the layer writes last.
#[derive(Debug, Default)]
pub struct Attributes(Vec<KeyValue>);

/// The head of a response, for those who look at it.
#[derive(Clone, Copy)]
pub struct ResponseHead<'a> {
    status: StatusCode,
    version: Version,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

/// A request that has ended, for those who look at it.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    pub(super) status: Option<StatusCode>,
    pub(super) error_type: Option<&'a str>,
    pub(super) duration: Duration,
}

impl Hooks {
    pub(super) fn add_filter(&mut self, filter: Arc<Filter>) {
        self.filters.push(filter);
    }

    pub(super) fn set_span_name(&mut self, span_name: Arc<SpanName>) {
        self.span_name = Some(span_name);
    }

    pub(super) fn add_on_request(&mut self, hook: Arc<OnRequest>) {
        self.on_request.push(hook);
    }

    pub(super) fn add_on_response(&mut self, hook: Arc<OnResponse>) {
        self.on_response.push(hook);
    }

    pub(super) fn add_on_end(&mut self, hook: Arc<OnEnd>) {
        self.on_end.push(hook);
    }

    #[cfg(feature = "reqwest")]
    pub(super) fn has_filters(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Whether the request is to be looked at. A filter that panics lets it through.
    pub(super) fn admit(&self, request: &RequestHead<'_>) -> bool {
        self.filters.iter().all(|filter| guarded(|| filter(request)).unwrap_or(true))
    }

    pub(super) fn span_name(&self, request: &RequestHead<'_>) -> Option<Cow<'static, str>> {
        let span_name = self.span_name.as_ref()?;
        guarded(|| span_name(request)).flatten()
    }

    /// What the hooks of requests say is given to `set`, as what those below say is to theirs.
    pub(super) fn on_request(&self, request: &RequestHead<'_>, set: impl FnMut(&KeyValue)) {
        each(&self.on_request, |hook, attributes| hook(request, attributes), set);
    }

    pub(super) fn on_response<B>(&self, response: &Response<B>, set: impl FnMut(&KeyValue)) {
        let head = ResponseHead {
            status: response.status(),
            version: response.version(),
            headers: response.headers(),
            extensions: response.extensions(),
        };
        each(&self.on_response, |hook, attributes| hook(&head, attributes), set);
    }

    pub(super) fn on_end(&self, ended: &Ended<'_>, set: impl FnMut(&KeyValue)) {
        each(&self.on_end, |hook, attributes| hook(ended, attributes), set);
    }
}

/// Asks each hook, and when it has returned hands on what it has said.
#[inline]
fn each<H: ?Sized>(
    hooks: &[Arc<H>],
    ask: impl Fn(&H, &mut Attributes),
    mut set: impl FnMut(&KeyValue),
) {
    for hook in hooks {
        let mut attributes = Attributes::default();
        if guarded(|| ask(hook, &mut attributes)).is_some() {
            attributes.0.iter().for_each(&mut set);
        }
    }
}

fn guarded<T>(ask: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(said) => Some(said),
        Err(panic) => {
            // What a panic carries may itself panic when it is dropped.
            if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
                std::mem::forget(another);
            }
            None
        }
    }
}

impl Attributes {
    /// Adds an attribute.
    pub fn set(&mut self, attribute: KeyValue) {
        self.0.push(attribute);
    }
}

impl<'a> ResponseHead<'a> {
    /// The status code of HTTP; that of a gRPC call is in its trailers.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The version of HTTP.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// What the service has put to the response.
    #[must_use]
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }
}

impl Ended<'_> {
    /// The status code of HTTP, if a response has come.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// `error.type`, if the span is an error.
    #[must_use]
    pub fn error_type(&self) -> Option<&str> {
        self.error_type
    }

    /// From the start of the span to its end.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration
    }
}

impl fmt::Debug for ResponseHead<'_> {
    /// Without the headers and the extensions, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead").field("status", &self.status).finish_non_exhaustive()
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}
