use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::record::wire::put_fixed32;

/// Resources by their schema URLs, scopes by theirs, spans by their names.
type Tree<'a> = &'a [(&'a str, &'a [(&'a str, &'a [&'a str])])];

#[test]
fn a_request_is_cut_after_as_many_spans_as_fit() {
    const ALL: usize = usize::MAX;
    let one: Tree<'_> = &[("shop", &[("web", &["a", "b", "c"])])];
    let many: Tree<'_> = &[
        ("shop", &[("web", &["a", "b"]), ("db", &["c"])]),
        ("cart", &[("web", &["d"]), ("db", &["e", "f"])]),
    ];
    let empty: Tree<'_> = &[("", &[]), ("shop", &[("", &[]), ("web", &["a", "b"]), ("", &[])])];
    // With two of the spans, and with one.
    let [two, single] = [&["a", "b"][..], &["a"]];
    let two = request(&[("shop", &[("web", two)])]).len();
    let single = request(&[("shop", &[("web", single)])]).len();
    let shop = request(&many[..1]).len();
    let rows: [(Tree<'_>, usize, u64, &str, &str, &str); 21] = [
        (one, ALL, 2, "shop{web[a b]}", "shop{web[c]}", "within a scope"),
        (one, ALL, 1, "shop{web[a]}", "shop{web[b c]}", "after the first"),
        (one, ALL, 0, "shop{web[a]}", "shop{web[b c]}", "no less than that"),
        (one, 0, 9, "shop{web[a]}", "shop{web[b c]}", "by bytes neither"),
        (one, ALL, 3, "", "", "all fit"),
        (one, two, 9, "shop{web[a b]}", "shop{web[c]}", "by bytes, which are just enough"),
        (one, two - 1, 9, "shop{web[a]}", "shop{web[b c]}", "one byte too few"),
        (one, single, 9, "shop{web[a]}", "shop{web[b c]}", "just enough for one"),
        (many, ALL, 1, "shop{web[a]}", "shop{web[b] db[c]} cart{web[d] db[e f]}", "in the first"),
        (many, ALL, 2, "shop{web[a b]}", "shop{db[c]} cart{web[d] db[e f]}", "between scopes"),
        (many, ALL, 3, "shop{web[a b] db[c]}", "cart{web[d] db[e f]}", "between resources"),
        (many, shop, 9, "shop{web[a b] db[c]}", "cart{web[d] db[e f]}", "by bytes"),
        (many, ALL, 4, "shop{web[a b] db[c]} cart{web[d]}", "cart{db[e f]}", "between others"),
        (many, ALL, 5, "shop{web[a b] db[c]} cart{web[d] db[e]}", "cart{db[f]}", "in the last"),
        (many, ALL, 6, "", "", "all fit"),
        (empty, ALL, 1, "{} shop{[] web[a]}", "shop{web[b] []}", "what is empty stays"),
        (empty, ALL, 2, "", "", "and is no span"),
        (&[("shop", &[("web", &["a"])])], 0, 0, "", "", "a single span"),
        (&[("shop", &[])], 0, 0, "", "", "no span"),
        (&[], 0, 0, "", "", "nothing"),
        (
            &[("shop", &[("web", &["a"])]), ("cart", &[])],
            0,
            0,
            "",
            "",
            "what is empty is nothing to cut off",
        ),
    ];
    for (tree, bytes, spans, first, rest, why) in rows {
        let halves = cut(&request(tree), bytes, spans);
        let found = halves
            .as_ref()
            .map_or_else(Default::default, |halves| [shown(&halves.first), shown(&halves.rest)]);
        assert_eq!(found, [first, rest], "{why}");
        let count = halves.map(|halves| (halves.spans, spans_of(&halves.first).len() as u64));
        assert!(count.is_none_or(|(said, there)| said == there), "{why}: {count:?}");
    }
}

#[test]
fn what_would_have_to_be_repeated_too_often_is_not_parted() {
    let large = "x".repeat(LITTLE + 1);
    let long = "y".repeat(5 * LITTLE);
    let rows: [(Tree<'_>, usize, [usize; 2], &str); 8] = [
        (&[(&large, &[("web", &["a", "b", "c"])])], 0, [0, 0], "a vast resource"),
        (&[("shop", &[(&large, &["a", "b", "c"])])], 0, [0, 0], "a vast scope"),
        (
            &[(&large, &[("web", &["a", "b"])]), (&large, &[("web", &["c"])])],
            0,
            [2, 1],
            "two of them are parted",
        ),
        (&[("shop", &[(&large, &["a", "b"]), (&large, &["c"])])], 0, [2, 1], "and so are scopes"),
        (
            &[("shop", &[("web", &["a", "b"]), (&large, &["c", "d"])])],
            0,
            [1, 3],
            "where there is little to repeat, it is",
        ),
        (&[("shop", &[("web", &["a"]), (&large, &["c", "d"])])], 0, [1, 2], "up to what is vast"),
        (
            &[(&large, &[("web", &[&long, "b"])])],
            usize::MAX,
            [1, 1],
            "beside much larger spans it is not vast",
        ),
        (&[(&large, &[("web", &[&long, "b"])])], 4 * LITTLE, [0, 0], "but it is in small requests"),
    ];
    for (tree, bytes, expected, why) in rows {
        let found = cut(&request(tree), bytes, 1)
            .map(|Halves { first, rest, .. }| [&first, &rest].map(|half| spans_of(half).len()));
        assert_eq!(found.unwrap_or_default(), expected, "{why}");
    }
}

#[test]
fn a_request_of_many_spans_is_parted_down_to_single_ones() {
    let names: Vec<_> = (0..300).map(|n| format!("span {n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let whole = request(&[
        ("shop", &[("web", &names[..77]), ("db", &names[77..100])]),
        ("cart", &[("web", &names[100..])]),
    ]);
    let mut found = Vec::new();
    let mut waiting = vec![(whole.clone(), 300)];
    while let Some((request, spans)) = waiting.pop() {
        match cut(&request, usize::MAX, spans / 2) {
            Some(halves) => {
                assert_eq!(halves.spans, spans / 2);
                waiting.push((halves.rest, spans - halves.spans));
                waiting.push((halves.first, halves.spans));
            }
            None => {
                assert_eq!(spans, 1);
                found.extend(spans_of(&request));
            }
        }
    }
    assert_eq!(found, spans_of(&whole));
}

proptest! {
    #[test]
    fn whatever_is_cut_wherever_is_the_same_afterwards(
        request in any_request(),
        bytes in 0..400_usize,
        spans in 0..12_u64,
    ) {
        let all = spans_of(&request);
        ExportTraceServiceRequest::decode(&*request).unwrap();
        let Some(halves) = cut(&request, bytes, spans) else {
            let fits = request.len() <= bytes && all.len() as u64 <= spans;
            // Where there is no span in a message, it stays with those before it.
            prop_assert!(fits || all.len() <= 1 || has_empty(&request), "could have been cut");
            return Ok(());
        };
        let [first, rest] = [&halves.first, &halves.rest].map(|half| {
            ExportTraceServiceRequest::decode(&**half).unwrap();
            spans_of(half)
        });
        prop_assert!(!first.is_empty() && !rest.is_empty());
        prop_assert_eq!(halves.spans, first.len() as u64);
        prop_assert!(halves.spans <= spans.max(1));
        let fits = halves.first.len() <= bytes || halves.spans == 1 || has_empty(&request);
        prop_assert!(fits, "{} bytes", halves.first.len());
        prop_assert_eq!([first, rest].concat(), all);
        prop_assert_eq!(top(&halves.first), top(&request));
        prop_assert_eq!(top(&halves.rest), b"");
    }

    #[test]
    fn bytes_that_are_no_request_are_cut_well_or_not_at_all(
        request in prop_oneof![vec(any::<u8>(), 0..60), broken()],
        bytes in 0..100_usize,
        spans in 0..4_u64,
    ) {
        if let Some(halves) = cut(&request, bytes, spans) {
            let [first, rest] = [&halves.first, &halves.rest].map(|half| spans_of(half));
            prop_assert_eq!(halves.spans, first.len() as u64);
            prop_assert_eq!([first, rest].concat(), spans_of(&request));
        }
    }
}

/// Fields of all kinds in all orders on each level, known ones and others.
fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let span = "[a-z]{0,40}".prop_map(|name| Span { name, ..Span::default() }.encode_to_vec());
    let scope = message(2, span);
    let resource = message(2, scope);
    message(1, resource)
}

/// One of those with a byte that is another.
fn broken() -> impl Strategy<Value = Vec<u8>> {
    (any_request(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(mut request, at, byte)| {
            if !request.is_empty() {
                let at = at.index(request.len());
                request[at] = byte;
            }
            request
        },
    )
}

fn message(number: u32, inner: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let field = move |inner: Option<Vec<u8>>, value: u32| {
        let mut field = Vec::new();
        match inner {
            Some(inner) => put_bytes(&mut field, number, &inner),
            None => match value % 3 {
                0 => put_fixed32(&mut field, 1000, value),
                1 => put_bytes(&mut field, 4000, &value.to_le_bytes()),
                _ => put_bytes(&mut field, 3, b"a schema URL"),
            },
        }
        field
    };
    let inner = prop::option::weighted(0.8, inner);
    vec((inner, any::<u32>()).prop_map(move |(inner, value)| field(inner, value)), 0..5)
        .prop_map(|fields| fields.concat())
}

/// Each span, with all that its resource and its scope say beside their spans.
fn spans_of(request: &[u8]) -> Vec<[Vec<u8>; 3]> {
    let mut spans = Vec::new();
    for resource in branches(Level::Request, request) {
        for scope in branches(Level::ResourceSpans, resource) {
            for span in branches(Level::ScopeSpans, scope) {
                let around = [(Level::ResourceSpans, resource), (Level::ScopeSpans, scope)];
                let [resource, scope] = around.map(|(level, message)| beside(level, message));
                spans.push([resource, scope, span.to_vec()]);
            }
        }
    }
    spans
}

fn top(request: &[u8]) -> Vec<u8> {
    beside(Level::Request, request)
}

fn has_empty(request: &[u8]) -> bool {
    branches(Level::Request, request).any(|resource| {
        count(Level::ResourceSpans, resource) == Ok(0)
            || branches(Level::ResourceSpans, resource)
                .any(|scope| count(Level::ScopeSpans, scope) == Ok(0))
    })
}

fn branches(level: Level, message: &[u8]) -> impl Iterator<Item = &[u8]> {
    nodes(level, message).filter_map(|node| match node {
        Ok((Node::Branch(_, inner), _)) => Some(inner),
        _ => None,
    })
}

fn beside(level: Level, message: &[u8]) -> Vec<u8> {
    let fields = nodes(level, message).filter_map(|node| match node {
        Ok((Node::Other, raw)) => Some(raw),
        _ => None,
    });
    fields.collect::<Vec<_>>().concat()
}

fn request(tree: Tree<'_>) -> Vec<u8> {
    let span = |name: &&str| Span { name: (*name).to_owned(), ..Span::default() };
    let scope = |(name, spans): &(&str, &[&str])| ScopeSpans {
        scope: None,
        spans: spans.iter().map(span).collect(),
        schema_url: (*name).to_owned(),
    };
    let resource_spans = tree.iter().map(|(name, scopes)| ResourceSpans {
        resource: None,
        scope_spans: scopes.iter().map(scope).collect(),
        schema_url: (*name).to_owned(),
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
}

/// A request as text: `resource{scope[span span] scope[span]} resource{…}`.
fn shown(request: &[u8]) -> String {
    let request = ExportTraceServiceRequest::decode(request).unwrap();
    let span = |span: &Span| span.name.clone();
    let scope = |scope: &ScopeSpans| {
        let spans: Vec<_> = scope.spans.iter().map(span).collect();
        format!("{}[{}]", scope.schema_url, spans.join(" "))
    };
    let resource = |resource: &ResourceSpans| {
        let scopes: Vec<_> = resource.scope_spans.iter().map(scope).collect();
        format!("{}{{{}}}", resource.schema_url, scopes.join(" "))
    };
    request.resource_spans.iter().map(resource).collect::<Vec<_>>().join(" ")
}
