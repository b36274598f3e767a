//! Exporters of others send to the forwarder, and a real collector, rotel, has what it passes on.

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod python;
mod rotel;
mod rust;

use std::collections::BTreeMap;

use super::*;
use crate::sinks::collector::Collector;
use crate::sinks::rotel::{Rotel, passed_on};
use crate::sinks::script::Script;

/// Rotel, which takes what is forwarded, and what stands behind it.
struct Backend {
    collector: Collector,
    rotel: Rotel,
}

impl Backend {
    /// `None` where rotel is not installed.
    fn start() -> Option<Self> {
        let collector = Collector::start(Script::Ok);
        let rotel = Rotel::start(&to(&format!("http://{}", collector.address())))?;
        Some(Self { collector, rotel })
    }

    fn tracing(&self) -> TracingService {
        tracing_to(&format!("grpc://{}", self.rotel.grpc))
    }

    /// What has come through rotel, once it is so many spans.
    async fn arrived(self, spans: usize) -> Arrived {
        let wait = move || {
            passed_on(&self.collector, spans);
            arrived(&self.collector)
        };
        tokio::task::spawn_blocking(wait).await.unwrap()
    }
}

/// The arguments by which rotel exports to there.
fn to(url: &str) -> [&str; 3] {
    ["otlp", "--otlp-exporter-endpoint", url]
}

/// Spans by their service and who has sent them.
type Arrived = BTreeMap<(String, String), Vec<Span>>;

/// Asserts that each resource says once who has sent it, and that nothing else says so.
fn arrived(collector: &Collector) -> Arrived {
    let mut found = Arrived::new();
    for resource in collector.received().into_iter().flat_map(|it| it.message.resource_spans) {
        let attributes = resource.resource.unwrap().attributes;
        let one = |key: &str| {
            let mut values = attributes.iter().filter(|it| it.key == key);
            let value = values.next().unwrap_or_else(|| panic!("no {key} in {attributes:?}"));
            assert_eq!(values.next(), None, "{attributes:?}");
            match value.value.clone().unwrap().value.unwrap() {
                Value::StringValue(text) => text,
                other => panic!("{key} is {other:?}"),
            }
        };
        let spans = found.entry((one("service.name"), one(STAMP))).or_default();
        for scope in resource.scope_spans {
            let of_scope = scope.scope.map(|scope| scope.attributes).unwrap_or_default();
            assert!(!says_who(&of_scope), "{of_scope:?}");
            spans.extend(scope.spans);
        }
    }
    for span in found.values().flatten() {
        let of_events = span.events.iter().map(|event| &event.attributes);
        let of_links = span.links.iter().map(|link| &link.attributes);
        let mut all = of_events.chain(of_links).chain([&span.attributes]);
        assert!(!all.any(|attributes| says_who(attributes)), "{span:?}");
    }
    found
}

fn says_who(attributes: &[KeyValue]) -> bool {
    attributes.iter().any(|attribute| attribute.key == STAMP)
}

/// The names of spans, in order, those of many as often as they came.
fn names(spans: &[Span]) -> Vec<&str> {
    let mut names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    names.sort_unstable();
    names
}

/// What [`names`] says of so many spans that are numbered.
fn numbered(spans: usize) -> Vec<String> {
    let mut names: Vec<_> = (0..spans).map(|number| format!("span {number}")).collect();
    names.sort_unstable();
    names
}

/// More than one batch of any exporter here.
const SPANS: usize = 700;
