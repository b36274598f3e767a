//! The attribute sets of one series, by how its requests ended.

use std::borrow::Cow;
use std::sync::Arc;

use ::http::Version;
use opentelemetry::{KeyValue, Value};

use super::table::Table;
use crate::trace::semconv::{Code, Outcome, http};

/// Attribute sets that differ in version, status code and `error.type` alone.
#[derive(Debug)]
pub(super) struct Endings(Table<Ending>);

struct Ending {
    version: Option<Version>,
    code: Option<Code>,
    error_type: Option<Arc<str>>,
    attributes: Box<[KeyValue]>,
}

impl Default for Endings {
    fn default() -> Self {
        Self(Table::new(MOST_ENDINGS))
    }
}

impl Endings {
    /// The attributes of a request that ended so, besides those that its series gives. Made only
    /// when such an end is seen for the first time, or is one too many to be kept.
    pub(super) fn of(
        &self,
        outcome: &Outcome<'_>,
        of_series: impl FnOnce() -> Vec<KeyValue>,
    ) -> Cow<'_, [KeyValue]> {
        let error_type = outcome.verdict.error_type;
        let is_it = |ending: &Ending| {
            (ending.version, ending.code) == (outcome.version, outcome.code)
                && ending.error_type.as_deref() == error_type
        };
        // In the order in which they were first seen, so the usual one is at the front.
        if let Some(ending) = self.0.find(0, is_it).and_then(|index| self.0.get(index)) {
            return Cow::Borrowed(&ending.attributes);
        }

        let error_type: Option<Arc<str>> = error_type.map(Into::into);
        let Outcome { version, code, .. } = *outcome;
        let attributes = attributes(version, code, error_type.clone(), of_series());
        let kept = attributes.as_slice().into();
        let ending = Ending { version, code, error_type, attributes: kept };
        self.0.insert(0, ending, |there, _| is_it(there));
        Cow::Owned(attributes)
    }
}

/// All attributes, by name: in any other order the SDK keeps the set twice.
fn attributes(
    version: Option<Version>,
    code: Option<Code>,
    error_type: Option<Arc<str>>,
    of_series: Vec<KeyValue>,
) -> Vec<KeyValue> {
    let mut attributes = of_series;
    let version = version.and_then(http::version);
    attributes.extend(version.map(|name| KeyValue::new("network.protocol.version", name)));
    attributes.extend(code.map(|code| match code {
        Code::Http(status) => {
            KeyValue::new("http.response.status_code", i64::from(status.as_u16()))
        }
        Code::Grpc(status) => KeyValue::new("rpc.response.status_code", status.name()),
    }));
    attributes.extend(error_type.map(|text| KeyValue::new("error.type", Value::from(text))));
    attributes.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    attributes
}

/// Ends of one series that are kept ready: gRPC has fewer, and so has a route that does not make
/// up status codes.
const MOST_ENDINGS: usize = 24;
