//! What the word of a caller counts for.

/// What becomes of the trace that a request from outside claims to belong to.
///
/// A sampled `traceparent` makes a service record, whatever its rate. From a colleague that is
/// what tracing is for; from a stranger it is a way to flood the backend, or to write into other
/// people's traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteParent {
    /// The request continues the caller's trace, and is recorded if the caller's span is.
    #[default]
    Trust,
    /// The request begins a trace, sampled as any other that begins here, whose first span is
    /// linked to the caller's. The caller's tracestate and baggage are dropped.
    Link,
    /// The request begins a trace. Nothing that the caller says of another is looked at.
    Ignore,
}

impl RemoteParent {
    /// As the section has it.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("trust", Self::Trust), ("link", Self::Link), ("ignore", Self::Ignore)];
}
