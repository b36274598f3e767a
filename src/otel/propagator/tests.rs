//! Whatever the headers are held to, they are held to through OpenTelemetry as well.

use std::collections::HashMap;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use proptest::prelude::*;

use super::*;
use crate::context::vectors;

const CALLER: &str = "00-12345678901234567890123456789012-1234567890123456-01";

type Fields<'a> = &'a [(&'a str, &'a [u8])];

/// A request's headers.
fn map(fields: Fields<'_>) -> HeaderMap {
    let field = |(name, value): &(&str, &[u8])| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_bytes(value).unwrap())
    };
    fields.iter().map(field).collect()
}

fn extract(fields: Fields<'_>) -> Context {
    W3cPropagator.extract_with_context(&Context::new(), &HeaderExtractor(&map(fields)))
}

/// `traceparent`, `tracestate` and `baggage` that a context sends on.
fn sent(cx: &Context) -> [Option<String>; 3] {
    let mut headers = HeaderMap::new();
    W3cPropagator.inject_context(cx, &mut HeaderInjector(&mut headers));
    assert!(headers.len() <= 3 && headers.values().all(|value| !value.is_empty()), "{headers:?}");
    [TRACEPARENT, TRACESTATE, BAGGAGE]
        .map(|name| headers.get(name).map(|value| value.to_str().unwrap().to_owned()))
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn every_traceparent_is_continued_as_by_the_layers() {
    for (came, goes_on, reason) in vectors::CONTINUED {
        let message = HashMap::from([(TRACEPARENT.to_owned(), (*came).to_owned())]);
        let from_message = W3cPropagator.extract_with_context(&Context::new(), &message);
        for cx in [extract(&[(TRACEPARENT, came.as_bytes())]), from_message] {
            assert_eq!(sent(&cx), [text(goes_on), None, None], "{reason}: {came:?}");
            assert!(cx.span().span_context().is_remote(), "{reason}");
        }
    }
}

#[test]
fn what_restarts_the_trace_leaves_the_context_as_it_was() {
    let cx = Context::new().with_baggage([KeyValue::new("a", "1")]);
    let local = SpanContext::new(7.into(), 7.into(), TraceFlags::SAMPLED, false, TraceState::NONE);
    let cx = cx.with_remote_span_context(local.clone());
    let as_it_was = |after: &Context, reason: &str| {
        assert_eq!(after.span().span_context(), &local, "{reason}");
        assert_eq!(sent(after), sent(&cx), "{reason}");
    };

    for (came, reason) in vectors::RESTARTED {
        if let Ok(value) = HeaderValue::from_bytes(came) {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(TRACEPARENT), value)]);
            as_it_was(&W3cPropagator.extract_with_context(&cx, &HeaderExtractor(&headers)), reason);
        }
        if let Ok(came) = str::from_utf8(came) {
            let message = HashMap::from([(TRACEPARENT.to_owned(), came.to_owned())]);
            as_it_was(&W3cPropagator.extract_with_context(&cx, &message), reason);
        }
    }
    as_it_was(&W3cPropagator.extract_with_context(&cx, &HeaderExtractor(&map(&[]))), "nothing");
}

#[test]
fn every_tracestate_and_baggage_goes_on_as_by_the_layers() {
    let with = |name, values: &[&[u8]]| {
        let values = values.iter().map(|value| (name, *value));
        let fields: Vec<_> = [(TRACEPARENT, CALLER.as_bytes())].into_iter().chain(values).collect();
        let [traceparent, tracestate, baggage] = sent(&extract(&fields));
        assert_eq!(traceparent, text(CALLER));
        if name == TRACESTATE { tracestate } else { baggage }
    };
    let bytes = |values: &[&'static str]| -> Vec<&[u8]> {
        values.iter().map(|value| value.as_bytes()).collect()
    };

    for (came, goes_on, reason) in vectors::TRACESTATE {
        assert_eq!(with(TRACESTATE, &bytes(came)), text(goes_on), "{reason}");
    }
    for (came, reason) in vectors::TRACESTATE_DROPPED {
        assert_eq!(with(TRACESTATE, came), None, "{reason}");
    }
    for (came, kept, reason) in vectors::tracestate_limits() {
        let goes_on = with(TRACESTATE, &[came.as_bytes()]);
        assert_eq!(goes_on, kept.then(|| came.trim_end_matches(',').to_owned()), "{reason}");
    }
    for (came, goes_on, reason) in vectors::BAGGAGE {
        // The carrier does not hand on what is not ASCII, so what follows in the field is lost.
        if came.iter().all(|field| field.is_ascii()) {
            assert_eq!(with(BAGGAGE, &bytes(came)).as_deref(), *goes_on, "{reason}: {came:?}");
        }
    }
}

#[test]
fn every_request_is_read_as_by_the_layers() {
    for (came, read, reason) in vectors::REQUESTS {
        let fields: Vec<_> = came.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let cx = extract(&fields);
        let [traceparent, tracestate, baggage] = sent(&cx);
        let Some((trace, state, pairs)) = read else {
            assert_eq!((traceparent, tracestate), (None, None), "{reason}");
            assert!(!cx.has_active_span(), "{reason}");
            continue;
        };
        assert_eq!(&traceparent.unwrap()[3..35], *trace, "{reason}");
        assert_eq!((tracestate.as_deref(), baggage.as_deref()), (*state, *pairs), "{reason}");
    }
}

#[test]
fn a_value_that_no_header_could_have_is_malformed_and_counts() {
    /// A carrier that knows nothing of HTTP.
    struct Message(Vec<(&'static str, &'static str)>);
    impl Extractor for Message {
        fn get(&self, key: &str) -> Option<&str> {
            self.get_all(key)?.first().copied()
        }

        fn keys(&self) -> Vec<&str> {
            self.0.iter().map(|(key, _)| *key).collect()
        }

        fn get_all(&self, key: &str) -> Option<Vec<&str>> {
            let values = self.0.iter().filter(|(name, _)| *name == key);
            Some(values.map(|(_, value)| *value).collect())
        }
    }

    let caller = (TRACEPARENT, CALLER);
    let table = [
        (vec![caller], [text(CALLER), None, None], "well-formed"),
        (vec![caller, (TRACEPARENT, "\n")], [None, None, None], "a second traceparent"),
        (
            vec![caller, (TRACESTATE, "a=1"), (TRACESTATE, "b=\n")],
            [text(CALLER), None, None],
            "a tracestate is dropped whole",
        ),
        (
            vec![caller, (BAGGAGE, "a=1"), (BAGGAGE, "b=\n")],
            [text(CALLER), None, text("a=1")],
            "baggage by members",
        ),
    ];
    for (came, expected, reason) in table {
        let cx = W3cPropagator.extract_with_context(&Context::new(), &Message(came));
        assert_eq!(sent(&cx), expected, "{reason}");
    }
}

#[test]
fn baggage_travels_without_a_span() {
    let cx = extract(&[(BAGGAGE, b"b=%31,a=2;p")]);
    assert!(!cx.has_active_span());
    assert_eq!(sent(&cx), [None, None, text("a=2;p,b=1")]);

    let local = SpanContext::new(7.into(), 7.into(), TraceFlags::SAMPLED, false, TraceState::NONE);
    let cx = Context::new().with_remote_span_context(local.clone());
    let headers = map(&[(BAGGAGE, b"a=1"), (TRACEPARENT, b"00-0-0-0")]);
    let cx = W3cPropagator.extract_with_context(&cx, &HeaderExtractor(&headers));
    assert_eq!(cx.span().span_context(), &local, "the span that was there stays");
    assert_eq!(sent(&cx)[2], text("a=1"), "and takes the baggage");
}

#[test]
fn what_is_injected_takes_the_place_of_what_was_there() {
    let cx = extract(&[(TRACEPARENT, CALLER.as_bytes()), (TRACESTATE, b"a@@b=1")]);
    let mut headers = map(&[(TRACEPARENT, b"old"), (TRACEPARENT, b"older"), (TRACESTATE, b"old")]);
    W3cPropagator.inject_context(&cx, &mut HeaderInjector(&mut headers));
    let expected = [(TRACEPARENT, CALLER.as_bytes()), (TRACESTATE, b"a@@b=1")];
    assert_eq!(headers, map(&expected));
}

#[test]
fn nothing_is_sent_of_nothing() {
    assert_eq!(sent(&Context::new()), [None, None, None], "no span");
    let invalid = Context::new().with_remote_span_context(SpanContext::NONE);
    assert_eq!(sent(&invalid), [None, None, None], "an invalid one");
}

#[test]
fn it_names_its_fields() {
    let fields: Vec<_> = W3cPropagator.fields().map(str::to_owned).collect();
    assert_eq!(fields, [TRACEPARENT, TRACESTATE, BAGGAGE]);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        values in prop::collection::vec(("traceparent|tracestate|baggage", any::<String>()), 0..4),
    ) {
        let message: HashMap<_, _> = values.into_iter().collect();
        let _ = W3cPropagator.extract_with_context(&Context::new(), &message);
    }
}
