//! The `tracestate` header: what each tracing system on the way wants to be told again (Trace
//! Context Level 2, 3.3).
//!
//! It stays text, because nothing of ours looks inside and OpenTelemetry's `TraceState` refuses
//! keys that Level 2 allows (`foo@@bar`, `tenant@` with a long system).

use http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::TraceState;

use super::list::{self, Text};

mod threshold;

pub(super) const NAME_TEXT: &str = "tracestate";
pub(super) static NAME: HeaderName = HeaderName::from_static(NAME_TEXT);

/// A well-formed `tracestate` that is not empty: all fields joined, no blanks around members.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TraceStateHeader(Text);

impl TraceStateHeader {
    /// The tracestate of a request; `None` if there is none, it is empty, or any of it is bad.
    pub(crate) fn extract(headers: &HeaderMap) -> Option<Self> {
        let fields = list::fields(headers, &NAME)?;
        for (before, member) in list::members(&fields).enumerate() {
            if before == MAX_MEMBERS || !is_member(member) {
                return None;
            }
        }
        list::join(|| list::members(&fields)).map(Self)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn to_header_value(&self) -> HeaderValue {
        self.0.to_header_value()
    }

    /// The same for OpenTelemetry; `TraceState::NONE` if there is a key that its type refuses.
    pub(crate) fn to_opentelemetry(&self) -> TraceState {
        // Of each trace that begins here, and so taken apart with less ado.
        if let Some(threshold) = self.threshold_alone() {
            return TraceState::from_key_value([("ot", threshold)]).unwrap_or(TraceState::NONE);
        }
        let members = self.as_str().split(',').filter_map(|member| member.split_once('='));
        TraceState::from_key_value(members).unwrap_or(TraceState::NONE)
    }

    /// What a span's `TraceState` would be sent as; `None` if it is empty or holds what may not be
    /// sent, which its type does not prevent (`foo=`, control characters).
    pub(crate) fn from_opentelemetry(state: &TraceState) -> Option<Self> {
        let text = state.header();
        if !text.split(',').all(|member| is_member(member.as_bytes())) {
            return None;
        }
        Text::new(text.into_bytes()).map(Self)
    }

    /// Whether `state` is still what [`to_opentelemetry`](Self::to_opentelemetry) made of this.
    pub(crate) fn is_still(&self, state: &TraceState) -> bool {
        if state.into_iter().len() == 0 {
            // Either it was refused, or somebody emptied it: a sampler may clear the state.
            return self.to_opentelemetry() == TraceState::NONE;
        }
        let members = self.as_str().split(',').map(|member| member.split_once('='));
        members.eq(state.into_iter().map(Some))
    }
}

/// `key=value`. A key may start with a digit and have `@` anywhere but first: Level 2 no longer
/// splits it into tenant and system.
fn is_member(member: &[u8]) -> bool {
    let Some((key, value)) = list::split_once(member, b'=') else {
        return false;
    };
    matches!(key, [b'a'..=b'z' | b'0'..=b'9', ..])
        && key.len() <= MAX_TEXT
        && key.iter().all(
            |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'),
        )
        && matches!(value, [.., last] if *last != b' ')
        && value.len() <= MAX_TEXT
        && value.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'='))
}

/// The most that one tracestate may have.
const MAX_MEMBERS: usize = 32;

/// The longest key, and the longest value.
const MAX_TEXT: usize = 256;

#[cfg(test)]
pub(super) mod tests;
