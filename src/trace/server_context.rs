//! The span of the request that is being served, for code that runs inside other spans.

use std::cell::{Cell, RefCell};

use opentelemetry::{Context, ContextGuard};

use crate::context::{TraceContext, current};

impl TraceContext {
    /// The OpenTelemetry `Context` of the request that this code serves, in which the active span
    /// is the `SERVER` span of our layer.
    ///
    /// `None` where nothing that would be written to that span would arrive:
    ///
    /// - outside a request;
    /// - in a request that is not recorded;
    /// - after the span has ended, as in the `Drop` of a response body of known length all of whose
    ///   bytes were passed on.
    ///
    /// `Context::current()` has the innermost span, which under `#[tracing::instrument]` is
    /// another one. Of server layers inside each other this is the innermost layer's context; one
    /// that [is disabled](crate::TracingServiceConfig::enabled) leaves it as it is, and so does a
    /// client layer.
    ///
    /// It is known while the service and its response body run, on the thread that they run on. A
    /// task that is spawned meanwhile does not know it, also not `with_context`: take it along.
    ///
    /// # Example: say who asked, however deep in the handler
    ///
    /// ```
    /// use opentelemetry::KeyValue;
    /// use opentelemetry::trace::TraceContextExt;
    /// use tower_otlp::TraceContext;
    ///
    /// fn authenticated(user: u64) {
    ///     if let Some(request) = TraceContext::server_context() {
    ///         request.span().set_attribute(KeyValue::new("user.id", user as i64));
    ///     }
    /// }
    /// # authenticated(1);
    /// ```
    #[must_use]
    pub fn server_context() -> Option<Context> {
        // Not there while the thread is being torn down.
        SERVING.try_with(read).ok().flatten()
    }
}

/// What [`TraceContext::server_context`] is to be while a context is in force.
#[derive(Clone, Copy, Debug)]
pub(super) enum Serving {
    /// This one: it has the span of the request.
    Recorded,
    /// None: the request that is being served is not recorded.
    Unrecorded,
    /// What it was: a client works for whoever is being served, and so does a server layer that
    /// is disabled, perhaps within the span of another.
    AsBefore,
}

/// Keeps a context in force.
#[derive(Debug)]
pub(super) struct Entered {
    /// Whether there is another who is being served meanwhile.
    serving: bool,
    _context: Option<ContextGuard>,
}

/// Puts a context in force for as long as the guard lives, and beside it the one of the server
/// span. While the thread is torn down there is no place for it any more.
///
/// Beside it and not as a value in it, which would cost every recorded request three allocations.
#[inline]
pub(super) fn enter(context: &Context, serving: Serving) -> Entered {
    let attached = current::is_reachable().then(|| context.clone().attach());
    let serving = match serving {
        Serving::Recorded => serve(Some(context)),
        Serving::Unrecorded if IS_SERVING.get() => serve(None),
        Serving::Unrecorded | Serving::AsBefore => false,
    };
    Entered { serving, _context: attached }
}

/// Nothing where it is being changed: an allocator may ask, which the change calls.
fn read(serving: &RefCell<Vec<Option<Context>>>) -> Option<Context> {
    serving.try_borrow().ok()?.last().cloned().flatten()
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        if self.serving {
            let last = |serving: &RefCell<Vec<Option<Context>>>| {
                let mut serving = serving.borrow_mut();
                let last = serving.pop();
                IS_SERVING.set(serving.last().is_some_and(Option::is_some));
                last
            };
            let last = SERVING.try_with(last);
            // No more borrowed: what is in a context may be the user's.
            drop(last);
        }
    }
}

/// Returns whether there is a place for it.
#[inline]
fn serve(context: Option<&Context>) -> bool {
    let serve = |serving: &RefCell<Vec<Option<Context>>>| {
        serving.borrow_mut().push(context.cloned());
        IS_SERVING.set(context.is_some());
    };
    SERVING.try_with(serve).is_ok()
}

thread_local! {
    /// Whoever is being served, and around it those that this one was called by.
    static SERVING: RefCell<Vec<Option<Context>>> = const { RefCell::new(Vec::new()) };
    /// Whether that is anybody: asked of each request, and needs no destructor.
    static IS_SERVING: Cell<bool> = const { Cell::new(false) };
}
