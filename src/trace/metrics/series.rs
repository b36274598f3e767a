//! The attribute sets of HTTP, by what a request's head says.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use opentelemetry::KeyValue;

use super::endings::Endings;
use super::table::{Budget, Inserted, Table};
use crate::record::Capture;
use crate::trace::semconv::{Outcome, RequestHead, http};

/// The series that are kept ready, found by a request's head.
///
/// A client chooses the method and the scheme of a request, each from a few, the service its
/// routes, and a program whom it calls: there may be more series than this. Those that come then
/// are made anew for each request.
#[derive(Debug)]
pub(super) struct AllSeries {
    kept: Table<Box<Entry>>,
    budget: Budget,
    hasher: RandomState,
}

#[derive(Debug)]
pub(super) enum Series {
    Kept(usize),
    Single(Box<Entry>),
}

#[derive(Debug)]
pub(super) struct Entry {
    method: Arc<str>,
    subject: Subject<Arc<str>>,
    /// In the attributes of all that is measured.
    under_way: Vec<KeyValue>,
    endings: Endings,
}

/// What of a request's head is in its attributes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Head<'a> {
    method: &'a str,
    subject: Subject<&'a str>,
}

/// What a request is about: for a server where it arrived, for a client whom it went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject<T> {
    Served { scheme: &'static str, route: Option<T> },
    Sent { address: Option<(T, Option<u16>)> },
}

impl Default for AllSeries {
    fn default() -> Self {
        Self {
            kept: Table::new(2 * MOST_SERIES),
            budget: Budget::new(MOST_SERIES),
            hasher: RandomState::new(),
        }
    }
}

impl AllSeries {
    pub(super) fn served(&self, request: &RequestHead<'_>, capture: &Capture) -> Series {
        // A client may write anything here; what is no scheme of HTTP is taken for its absence.
        let scheme = match request.uri().scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
            _ => "http",
        };
        let subject = Subject::Served { scheme, route: http::route(request) };
        self.of(Head { method: method(request, capture), subject })
    }

    pub(super) fn sent(
        &self,
        request: &RequestHead<'_>,
        capture: &Capture,
        address: Option<(&str, Option<u16>)>,
    ) -> Series {
        self.of(Head { method: method(request, capture), subject: Subject::Sent { address } })
    }

    fn of(&self, head: Head<'_>) -> Series {
        // Schemes are few, and entries that differ in them alone stand side by side.
        let hash = match head.subject {
            Subject::Served { route, .. } => self.hasher.hash_one((head.method, route)),
            Subject::Sent { address } => self.hasher.hash_one((head.method, address)),
        };
        if let Some(index) = self.kept.find(hash, |entry| entry.head() == head) {
            return Series::Kept(index);
        }
        let new = Box::new(Entry::new(head));
        if !self.budget.take() {
            return Series::Single(new);
        }
        match self.kept.insert(hash, new, |there, _| there.head() == head) {
            Inserted::New(index) => Series::Kept(index),
            Inserted::There(index) => {
                self.budget.give_back();
                Series::Kept(index)
            }
            Inserted::Full => Series::Single(Box::new(Entry::new(head))),
        }
    }

    /// The attributes of the number of requests that a server has under way.
    pub(super) fn under_way<'a>(&'a self, series: &'a Series) -> &'a [KeyValue] {
        self.entry(series).map_or(&[], |entry| &entry.under_way)
    }

    /// The attributes of a request that ended so.
    pub(super) fn ended<'a>(
        &'a self,
        series: &'a Series,
        outcome: &Outcome<'_>,
    ) -> Cow<'a, [KeyValue]> {
        self.entry(series)
            .map_or(Cow::Borrowed(&[]), |entry| entry.endings.of(outcome, || entry.attributes()))
    }

    fn entry<'a>(&'a self, series: &'a Series) -> Option<&'a Entry> {
        match series {
            Series::Kept(index) => self.kept.get(*index).map(|entry| &**entry),
            Series::Single(entry) => Some(entry),
        }
    }
}

impl Entry {
    fn new(Head { method, subject }: Head<'_>) -> Self {
        let method: Arc<str> = method.into();
        let mut under_way = vec![KeyValue::new("http.request.method", Arc::clone(&method))];
        let subject = match subject {
            Subject::Served { scheme, route } => {
                under_way.push(KeyValue::new("url.scheme", scheme));
                Subject::Served { scheme, route: route.map(Into::into) }
            }
            Subject::Sent { address } => {
                Subject::Sent { address: address.map(|(host, port)| (host.into(), port)) }
            }
        };
        Self { method, subject, under_way, endings: Endings::default() }
    }

    fn head(&self) -> Head<'_> {
        let subject = match &self.subject {
            Subject::Served { scheme, route } => {
                Subject::Served { scheme, route: route.as_deref() }
            }
            Subject::Sent { address } => {
                Subject::Sent { address: address.as_ref().map(|(host, port)| (&**host, *port)) }
            }
        };
        Head { method: &self.method, subject }
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = self.under_way.clone();
        match &self.subject {
            Subject::Served { route, .. } => {
                attributes.extend(route.clone().map(|route| KeyValue::new("http.route", route)));
            }
            Subject::Sent { address } => {
                if let Some((host, port)) = address.clone() {
                    attributes.push(KeyValue::new("server.address", host));
                    attributes
                        .extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
                }
            }
        }
        attributes
    }
}

fn method<'a>(request: &RequestHead<'a>, capture: &Capture) -> &'a str {
    let method = request.method.as_str();
    if capture.is_known_method(method) { method } else { "_OTHER" }
}

/// Their attribute sets are at least as many. With more than 2000 of those, the OpenTelemetry SDK
/// no longer tells them apart by default.
const MOST_SERIES: usize = 1024;

#[cfg(test)]
mod tests {
    use ::http::{Request, StatusCode, Version};

    use super::*;
    use crate::trace::semconv::{Code, Verdict};

    fn outcome(status: u16, error_type: Option<&str>) -> Outcome<'_> {
        let code = Some(Code::Http(StatusCode::from_u16(status).unwrap()));
        let verdict = Verdict { error_type, ..Verdict::default() };
        Outcome { version: Some(Version::HTTP_11), code, verdict }
    }

    fn text(attributes: &[KeyValue]) -> String {
        let pairs: Vec<_> =
            attributes.iter().map(|kv| format!("{}={}", kv.key, kv.value)).collect();
        pairs.join(" ")
    }

    #[test]
    fn what_a_client_writes_becomes_one_of_a_few_values() {
        let rows = [
            ("GET", "/users/42?a=b", "GET", "http", "a target without scheme"),
            ("QUERY", "/", "QUERY", "http", "a known method"),
            ("get", "/", "_OTHER", "http", "methods are case-sensitive"),
            ("PROPFIND", "/", "_OTHER", "http", "an unknown method"),
            ("GET", "http://a/", "GET", "http", "a target with scheme"),
            ("GET", "https://a/", "GET", "https", "a target with scheme"),
            ("GET", "HTTPS://a/", "GET", "https", "schemes are not case-sensitive"),
            ("GET", "x42://a/", "GET", "http", "a scheme that is made up"),
        ];
        let all = AllSeries::default();
        for (method, uri, expected_method, scheme, why) in rows {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            let series = all.served(&RequestHead::incoming(&request), &Capture::default());
            let under_way = text(all.under_way(&series));
            let expected = format!("http.request.method={expected_method} url.scheme={scheme}");
            assert_eq!(under_way, expected, "{why}");
            let ended = text(&all.ended(&series, &outcome(200, None)));
            let expected = format!(
                "http.request.method={expected_method} http.response.status_code=200 \
                 network.protocol.version=1.1 url.scheme={scheme}",
            );
            assert_eq!(ended, expected, "{why}");
        }
    }

    #[test]
    fn what_a_client_calls_is_told_apart_by_address_and_port() {
        let all = AllSeries::default();
        let request = Request::new(());
        let request = RequestHead::outgoing(&request);
        let ended = |address| {
            let series = all.sent(&request, &Capture::default(), address);
            assert!(matches!(series, Series::Kept(_)));
            text(&all.ended(&series, &outcome(200, None)))
        };
        let rest = "http.request.method=GET http.response.status_code=200 \
                    network.protocol.version=1.1";
        for _ in 0..2 {
            let one = format!("{rest} server.address=a server.port=80");
            assert_eq!(ended(Some(("a", Some(80)))), one);
            let other_port = format!("{rest} server.address=a server.port=81");
            assert_eq!(ended(Some(("a", Some(81)))), other_port);
            assert_eq!(ended(Some(("b", Some(80)))), one.replace("=a ", "=b "), "another host");
            assert_eq!(ended(Some(("/s", None))), format!("{rest} server.address=/s"), "a socket");
            assert_eq!(ended(None), rest, "nobody knows");
        }
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for_and_the_rest_is_made_anew() {
        let all = AllSeries::default();
        for round in 0..2 {
            for i in 0..3 * MOST_SERIES {
                let route = format!("/{i}");
                let subject = Subject::Served { scheme: "http", route: Some(&*route) };
                let head = Head { method: "GET", subject };
                let series = all.of(head);
                assert_eq!(matches!(series, Series::Kept(_)), i < MOST_SERIES, "{round} {i}");
                let expected = format!(
                    "error.type=500 http.request.method=GET http.response.status_code=500 \
                     http.route=/{i} network.protocol.version=1.1 url.scheme=http",
                );
                assert_eq!(text(&all.ended(&series, &outcome(500, Some("500")))), expected);
            }
        }
    }

    #[test]
    fn ends_are_told_apart_also_when_there_are_too_many_to_keep() {
        let all = AllSeries::default();
        let series = all.served(&RequestHead::incoming(&Request::new(())), &Capture::default());
        for round in 0..2 {
            for status in 200..300 {
                for error_type in [None, Some("cancelled"), Some("body_error")] {
                    let attributes = all.ended(&series, &outcome(status, error_type));
                    let found = text(&attributes);
                    assert!(found.contains(&format!("status_code={status} ")), "{found}");
                    let expected = error_type.map(|text| format!("error.type={text} "));
                    assert!(found.starts_with(&expected.unwrap_or_default()), "{round} {found}");
                    assert_eq!(found.contains("error.type"), error_type.is_some(), "{found}");
                    let kept = matches!(attributes, Cow::Borrowed(_));
                    assert_eq!(kept, round == 1 && status < 208, "{round} {status}");
                }
            }
        }
    }
}
