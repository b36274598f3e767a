//! The live span as the OpenTelemetry `Context` holds it.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span, SpanContext, Status};

use crate::record::SpanBuffer;
use crate::record::clock::unix_nanos;

/// A span that has not ended, as everyone who writes to it shares it.
///
/// A `Context` may be kept for ever; what it keeps of a span that has ended is an empty box.
#[derive(Clone)]
pub(super) struct SharedDraft(Arc<Mutex<Option<Draft>>>);

pub(super) struct Draft {
    pub(super) buffer: Box<SpanBuffer>,
    /// Whether attributes came through a [`Handle`] or a hook: then a key may be there already.
    touched: bool,
}

impl SharedDraft {
    pub(super) fn new(draft: Draft) -> Self {
        Self(Arc::new(Mutex::new(Some(draft))))
    }

    /// Takes the span from all who share it.
    pub(super) fn take(&self) -> Option<Draft> {
        self.lock().take()
    }

    /// Runs `write` unless the span has ended.
    pub(super) fn write(&self, write: impl FnOnce(&mut Draft)) {
        if let Some(draft) = &mut *self.lock() {
            write(draft);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Draft>> {
        // Only bytes are copied under this lock: whatever panicked, the bytes are a span.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDraft").finish_non_exhaustive()
    }
}

impl fmt::Debug for Draft {
    /// Without the span's bytes, which hold what clients sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").finish_non_exhaustive()
    }
}

impl Draft {
    /// `touched` says whether more than the layer has written to it.
    pub(super) fn new(buffer: Box<SpanBuffer>, touched: bool) -> Self {
        Self { buffer, touched }
    }

    /// Sets an attribute for the application.
    pub(super) fn set(&mut self, attribute: &KeyValue) {
        self.touched = true;
        self.buffer.set(attribute);
    }

    /// The buffer, ready to take an attribute of this key: the last value of a key counts.
    pub(super) fn late(&mut self, key: &str) -> &mut SpanBuffer {
        if self.touched {
            self.buffer.remove(key);
        }
        &mut self.buffer
    }
}

/// The span for the service to write to. It cannot end it, and does nothing once it has ended.
#[derive(Debug)]
pub(super) struct Handle {
    draft: SharedDraft,
    span_context: SpanContext,
}

impl Handle {
    pub(super) fn new(draft: &SharedDraft, span_context: SpanContext) -> Self {
        Self { draft: draft.clone(), span_context }
    }
}

impl Span for Handle {
    fn add_event_with_timestamp<T>(
        &mut self,
        name: T,
        timestamp: SystemTime,
        attributes: Vec<KeyValue>,
    ) where
        T: Into<Cow<'static, str>>,
    {
        let name = name.into();
        self.draft.write(|span| span.buffer.event(&name, unix_nanos(timestamp), &attributes));
    }

    fn span_context(&self) -> &SpanContext {
        &self.span_context
    }

    fn is_recording(&self) -> bool {
        self.draft.lock().is_some()
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        self.draft.write(|span| span.set(&attribute));
    }

    fn set_status(&mut self, status: Status) {
        self.draft.write(|span| span.buffer.set_status(&status));
    }

    fn update_name<T>(&mut self, new_name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        let name = new_name.into();
        self.draft.write(|span| span.buffer.set_name(&[&name]));
    }

    fn add_link(&mut self, span_context: SpanContext, attributes: Vec<KeyValue>) {
        self.draft.write(|span| span.buffer.link(&span_context, &attributes));
    }

    /// Does nothing: the span ends with its response.
    fn end_with_timestamp(&mut self, _: SystemTime) {}
}
