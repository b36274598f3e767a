//! What several targets check.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tower_otlp::fuzzing::stamp;

/// Stamps the request; if it is taken, a backend can read it, and the stamp is on every resource
/// once and nowhere else.
pub fn check_stamped(request: &[u8]) {
    let again = |request: &[u8]| stamp(request, KEY, "me", MAX_SPANS);
    let (stamped, spans) = match again(request) {
        Ok(stamped) => stamped,
        Err(reason) => return assert!(!reason.is_empty()),
    };
    assert!(spans <= MAX_SPANS);
    assert_eq!(again(&stamped), Ok((stamped.clone(), spans)), "a second stamp changes something");

    let decoded = match ExportTraceServiceRequest::decode(&*stamped) {
        Ok(decoded) => decoded,
        // It takes fewer levels than the specification allows for.
        Err(error) if error.to_string().contains("recursion limit") => return,
        Err(error) => panic!("{error}"),
    };
    let groups = &decoded.resource_spans;
    // A key, a value, their heads, and longer heads around them.
    assert!(stamped.len() <= request.len() + groups.len() * 40);
    let mut found = 0;
    for group in groups {
        let resource = group.resource.as_ref().expect("a resource");
        let ours: Vec<_> = resource.attributes.iter().filter(|pair| pair.key == KEY).collect();
        assert_eq!(ours.len(), 1);
        assert_eq!(resource.attributes.last(), Some(ours[0]));
        for scope_spans in &group.scope_spans {
            let mut attributes: Vec<_> =
                scope_spans.scope.iter().flat_map(|s| &s.attributes).collect();
            for span in &scope_spans.spans {
                found += 1;
                assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
                attributes.extend(&span.attributes);
                attributes.extend(span.events.iter().flat_map(|event| &event.attributes));
                attributes.extend(span.links.iter().flat_map(|link| &link.attributes));
            }
            assert!(attributes.iter().all(|pair| pair.key != KEY));
        }
    }
    assert_eq!(found, spans);
}

/// Short, for the fuzzer to find it.
const KEY: &str = "k";
const MAX_SPANS: u64 = 20;
