//! How much one span may hold: `OTEL_SPAN_*`, `OTEL_EVENT_*`, `OTEL_LINK_*` and `OTEL_ATTRIBUTE_*`.

use super::{Found, Reader, whole_number, within};
use crate::config::section::quantity::{COUNT, Size, VALUE_LENGTH};

/// The limits that are set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::config) struct Limits {
    pub(in crate::config) attributes_per_span: Option<Found<u32>>,
    pub(in crate::config) events_per_span: Option<Found<u32>>,
    pub(in crate::config) links_per_span: Option<Found<u32>>,
    pub(in crate::config) attributes_per_event: Option<Found<u32>>,
    pub(in crate::config) attributes_per_link: Option<Found<u32>>,
    pub(in crate::config) value_length: Option<Found<usize>>,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Limits {
    // Once, so that a mistake in it is told once.
    let general = reader.one("OTEL_ATTRIBUTE_COUNT_LIMIT", count);
    let mut attributes = |variable| reader.one(variable, count).or_else(|| general.clone());
    Limits {
        attributes_per_span: attributes("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
        attributes_per_event: attributes("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"),
        attributes_per_link: attributes("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"),
        events_per_span: reader.one("OTEL_SPAN_EVENT_COUNT_LIMIT", count),
        links_per_span: reader.one("OTEL_SPAN_LINK_COUNT_LIMIT", count),
        value_length: reader.first(
            ["OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"],
            |text| within(&VALUE_LENGTH, Size(whole_number(text)?)).map(Size::bytes),
        ),
    }
}

fn count(text: &str) -> Result<u32, String> {
    within(&COUNT, whole_number(text)?).map(|count| count as u32)
}
