//! Who spans are from: what stands around them in a request.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use opentelemetry::{Key, KeyValue};

use super::report::warn;
use crate::record::{MAX_RESOURCE, encode_resource, fit_resource};

/// Who made the spans. Those of one scope may share a request, and no others.
#[derive(Debug)]
pub(crate) enum Scope {
    /// This program: what stands around its spans, encoded once.
    Ours {
        resource: SharedResource,
        /// Fields of an OTLP `ScopeSpans`, but its `spans`.
        scope: Bytes,
    },
    /// Others, who have sent whole requests, in which all that there is to say stands already.
    #[cfg_attr(
        not(any(feature = "forward", test)),
        expect(dead_code, reason = "only a forwarder has spans of others")
    )]
    Others { via: Bytes },
}

/// The resource of all who export in one name. It can be replaced while spans wait, and is looked
/// at when they are put into a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedResource {
    encoded: Arc<Mutex<Bytes>>,
    /// One for all names that one tracing service exports in.
    via: Arc<OnceLock<Bytes>>,
}

impl Scope {
    /// This program's. `scope` are the fields of an OTLP `ScopeSpans`, but its `spans`.
    pub(crate) fn ours(resource: SharedResource, scope: impl Into<Bytes>) -> Self {
        Self::Ours { resource, scope: scope.into() }
    }

    /// Who spans of others are from: requests of one such scope may share an export request, and no
    /// others. `via` goes out with them in the header `tower-otlp-via`.
    #[cfg(any(feature = "forward", test))]
    pub(crate) fn of_others(via: Bytes) -> Self {
        Self::Others { via }
    }

    pub(super) fn is_others(&self) -> bool {
        matches!(self, Self::Others { .. })
    }

    /// Who made the spans, as it is now: fields of an OTLP `ResourceSpans`, but its `scope_spans`.
    pub(crate) fn resource(&self) -> Bytes {
        match self {
            Self::Ours { resource, .. } => resource.get(),
            Self::Others { .. } => Bytes::new(),
        }
    }

    /// Through which forwarders the spans have come, as the next one is told.
    pub(super) fn via(&self) -> Option<Bytes> {
        match self {
            Self::Ours { resource, .. } => resource.via.get().cloned(),
            Self::Others { via } => Some(via.clone()),
        }
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self::ours(SharedResource::default(), Bytes::new())
    }
}

impl SharedResource {
    /// One with these attributes, as far as there is room for them: what does not fit is left out
    /// of them, with a warning.
    pub(crate) fn of(attributes: &mut Vec<KeyValue>, schema_url: &str) -> Self {
        let resource = Self::default();
        resource.set_to(attributes, schema_url);
        resource
    }

    /// As [`of`](Self::of), for another name of the same tracing service.
    #[cfg(feature = "opentelemetry-sdk")]
    pub(crate) fn another(&self, attributes: &mut Vec<KeyValue>, schema_url: &str) -> Self {
        Self { via: Arc::clone(&self.via), ..Self::of(attributes, schema_url) }
    }

    pub(crate) fn set_to(&self, attributes: &mut Vec<KeyValue>, schema_url: &str) {
        let left_out = fit_resource(attributes);
        if !left_out.is_empty() {
            warn(format_args!(
                "resource attributes are left out, because all together would take more than \
                 {MAX_RESOURCE} bytes: {:?}",
                left_out.iter().map(Key::as_str).collect::<Vec<_>>(),
            ));
        }
        self.set(encode_resource(attributes, schema_url));
    }

    /// Takes the fields of an OTLP `ResourceSpans`, but its `scope_spans`.
    #[cfg(test)]
    pub(crate) fn new(encoded: impl Into<Bytes>) -> Self {
        let resource = Self::default();
        resource.set(encoded);
        resource
    }

    pub(crate) fn set(&self, encoded: impl Into<Bytes>) {
        *self.encoded.lock().unwrap_or_else(PoisonError::into_inner) = encoded.into();
    }

    pub(crate) fn get(&self) -> Bytes {
        self.encoded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What goes out in the header `tower-otlp-via` with the spans of this program, from now on:
    /// there is a forwarder, which must know its own spans when they come back to it. The first one
    /// that is set stays.
    #[cfg(any(feature = "forward", test))]
    pub(crate) fn set_via(&self, via: Bytes) {
        let _ = self.via.set(via);
    }
}
