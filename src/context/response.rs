//! Telling the caller, in the response, which trace its request became part of.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::traceparent::{self, Traceparent};

/// The response header that names the trace and the server's span. Defaults to `ServerTiming`.
///
/// It is for the caller who sees a slow or failed answer and wants to name its trace, even where
/// the trace restarted at our door. It is written on sampled responses only.
///
/// # Privacy
///
/// Whoever gets the response gets the ids. They identify nothing but the trace, and a browser
/// shows them to scripts of another origin only where `timing-allow-origin` (for `server-timing`)
/// or `access-control-expose-headers` (for `traceresponse`) says so. [`Off`](Self::Off) is for
/// services whose callers should not be able to tell which of their requests were traced.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ResponseHeader {
    /// `server-timing: trace;desc=00-<trace id>-<span id>-<flags>`, the form of the editor's draft
    /// of Trace Context Level 3.
    ///
    /// `Server-Timing` is a list that others write to as well, so a field is added and none is
    /// replaced.
    #[default]
    ServerTiming,
    /// `traceresponse: 00-<trace id>-<span id>-<flags>`, the form of the drafts before October
    /// 2025, which the W3C has since given up. It replaces a field of the same name.
    TraceResponse,
    /// Nothing.
    Off,
}

impl ResponseHeader {
    /// Each choice under the word that a configuration file uses for it.
    pub(crate) const WORDS: [(&str, Self); 3] = [
        ("server-timing", Self::ServerTiming),
        ("traceresponse", Self::TraceResponse),
        ("off", Self::Off),
    ];

    /// Writes `server_span` to the headers of a response.
    pub(crate) fn write(self, server_span: Traceparent, headers: &mut HeaderMap) {
        // As elsewhere, a map that can take no more names is left as it is.
        match self {
            Self::ServerTiming => drop(headers.try_append(&SERVER_TIMING, metric(server_span))),
            Self::TraceResponse => {
                drop(headers.try_insert(&TRACERESPONSE, server_span.to_header_value()));
            }
            Self::Off => {}
        }
    }
}

fn metric(server_span: Traceparent) -> HeaderValue {
    let mut metric = [0; METRIC.len() + traceparent::LENGTH];
    let (name, ids) = metric.split_at_mut(METRIC.len());
    name.copy_from_slice(METRIC);
    ids.copy_from_slice(&server_span.encode());
    HeaderValue::from_bytes(&metric).expect("a metric name, hexadecimal digits and dashes")
}

const METRIC: &[u8] = b"trace;desc=";

static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
static TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";

    #[test]
    fn a_response_names_the_span_beside_what_the_service_wrote() {
        let metric = format!("trace;desc={IDS}");
        let table: [(ResponseHeader, &[&str], &[&str], &str); 3] = [
            (
                ResponseHeader::ServerTiming,
                &["db;dur=53", &metric],
                &["old"],
                "a list header: the service's own metric stays, ours is added",
            ),
            (
                ResponseHeader::TraceResponse,
                &["db;dur=53"],
                &[IDS],
                "a single-value header: ours replaces what an inner proxy copied",
            ),
            (ResponseHeader::Off, &["db;dur=53"], &["old"], "off touches nothing"),
        ];

        for (choice, server_timing, traceresponse, reason) in table {
            let mut headers = HeaderMap::new();
            headers.insert("server-timing", HeaderValue::from_static("db;dur=53"));
            headers.insert("traceresponse", HeaderValue::from_static("old"));
            choice.write(Traceparent::parse(IDS.as_bytes()).unwrap(), &mut headers);

            assert!(headers.get_all("server-timing").iter().eq(server_timing), "{reason}");
            assert!(headers.get_all("traceresponse").iter().eq(traceresponse), "{reason}");
        }
    }

    #[test]
    fn the_default_is_server_timing_and_every_choice_has_its_word() {
        assert_eq!(ResponseHeader::default(), ResponseHeader::ServerTiming);
        for (word, choice) in ResponseHeader::WORDS {
            let expected = match choice {
                ResponseHeader::ServerTiming => "server-timing",
                ResponseHeader::TraceResponse => "traceresponse",
                ResponseHeader::Off => "off",
            };
            assert_eq!(word, expected);
        }
    }
}
