use crate::record::SpanLimits;

/// How much one span may hold: `limits` in the section. Of what is beyond, the span tells the
/// number, as far as OTLP has a place for it.
///
/// They are for the spans of layers and of `TracingService::tracer_provider`; a provider of your
/// own has its own. Counts go up to 10000. Setters keep what they are given; it is checked when the
/// service starts.
///
/// Source: OpenTelemetry specification, "Span Limits", whose defaults these are; but for
/// [`peer_value_length`](Self::peer_value_length), which is ours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitsConfig {
    pub(super) attributes_per_span: Option<u32>,
    pub(super) events_per_span: Option<u32>,
    pub(super) links_per_span: Option<u32>,
    pub(super) attributes_per_event: Option<u32>,
    pub(super) attributes_per_link: Option<u32>,
    pub(super) value_length: Option<usize>,
    pub(super) peer_value_length: Option<usize>,
}

impl LimitsConfig {
    /// Attributes of a span, 128 by default.
    #[must_use]
    pub fn attributes_per_span(self, attributes: u32) -> Self {
        Self { attributes_per_span: Some(attributes), ..self }
    }

    /// Events of a span, 128 by default.
    #[must_use]
    pub fn events_per_span(self, events: u32) -> Self {
        Self { events_per_span: Some(events), ..self }
    }

    /// Links of a span, 128 by default.
    #[must_use]
    pub fn links_per_span(self, links: u32) -> Self {
        Self { links_per_span: Some(links), ..self }
    }

    /// Attributes of an event, 128 by default.
    #[must_use]
    pub fn attributes_per_event(self, attributes: u32) -> Self {
        Self { attributes_per_event: Some(attributes), ..self }
    }

    /// Attributes of a link, 128 by default.
    #[must_use]
    pub fn attributes_per_link(self, attributes: u32) -> Self {
        Self { attributes_per_link: Some(attributes), ..self }
    }

    /// Bytes of UTF-8 in a text: 32 bytes to 16 MiB. Longer ones are cut between characters.
    /// Defaults to no limit.
    #[must_use]
    pub fn value_length(self, bytes: usize) -> Self {
        Self { value_length: Some(bytes), ..self }
    }

    /// The same for texts that may come from the peer, such as headers, paths, names of spans and
    /// tracestate: 32 bytes to 1 MiB, 4096 bytes by default.
    #[must_use]
    pub fn peer_value_length(self, bytes: usize) -> Self {
        Self { peer_value_length: Some(bytes), ..self }
    }

    /// With the defaults for what is left out.
    pub(super) fn limits(&self) -> SpanLimits {
        let default = SpanLimits::default();
        SpanLimits {
            attributes: self.attributes_per_span.unwrap_or(default.attributes),
            events: self.events_per_span.unwrap_or(default.events),
            links: self.links_per_span.unwrap_or(default.links),
            attributes_per_event: self.attributes_per_event.unwrap_or(default.attributes_per_event),
            attributes_per_link: self.attributes_per_link.unwrap_or(default.attributes_per_link),
            value_length: self.value_length.unwrap_or(default.value_length),
            peer_value_length: self.peer_value_length.unwrap_or(default.peer_value_length),
        }
    }
}
