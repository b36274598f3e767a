//! [`Capture`]: what spans show of the data that passes.

use std::borrow::Cow;

use http::header::{self, HeaderName};

/// What spans show of the data of requests and responses, and what they hide.
///
/// Headers are shown by name only, and bodies never. By default no header is.
///
/// # Example: an id of the client's own, and no session in any query
///
/// ```
/// use http::HeaderName;
/// use tower_otlp::Capture;
///
/// let capture = Capture::default()
///     .request_headers([HeaderName::from_static("x-request-id")])
///     .redacted_query_parameters(["session", "sig"]);
/// # let _ = capture;
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capture {
    pub(crate) request_headers: Vec<CapturedHeader>,
    pub(crate) response_headers: Vec<CapturedHeader>,
    /// What is not said here is `None`; the methods below know the defaults.
    pub(crate) sensitive_headers: Option<bool>,
    pub(crate) redacted_query_parameters: Option<Vec<Cow<'static, str>>>,
    pub(crate) known_methods: Option<Vec<Cow<'static, str>>>,
    pub(crate) known_grpc_methods: Option<Vec<String>>,
}

/// A header that is shown, with the keys under which it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CapturedHeader {
    pub(crate) name: HeaderName,
    pub(crate) http_key: String,
    pub(crate) grpc_key: String,
}

impl Capture {
    /// Shows request headers, as `http.request.header.<name>`; of gRPC calls as
    /// `rpc.request.metadata.<name>`, but never binary ones (`-bin`). Replaces those named before.
    #[must_use]
    pub fn request_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let request_headers =
            names.into_iter().map(|name| CapturedHeader::new("request", name)).collect();
        Self { request_headers, ..self }
    }

    /// Shows response headers, as `http.response.header.<name>`; of gRPC calls as
    /// `rpc.response.metadata.<name>`, but never binary ones (`-bin`). Replaces those named
    /// before.
    #[must_use]
    pub fn response_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let response_headers =
            names.into_iter().map(|name| CapturedHeader::new("response", name)).collect();
        Self { response_headers, ..self }
    }

    /// Whether headers that hold secrets are shown where they are named: `authorization`,
    /// `cookie`, `proxy-authorization`, `set-cookie`, and every value that the program has marked
    /// sensitive. Defaults to no.
    #[must_use]
    pub fn sensitive_headers(self, shown: bool) -> Self {
        Self { sensitive_headers: Some(shown), ..self }
    }

    /// The parameters whose values are replaced by `REDACTED` in queries, by their exact names.
    /// Replaces the default: `AWSAccessKeyId`, `Signature`, `X-Amz-Credential`,
    /// `X-Amz-Security-Token`, `X-Amz-Signature`, `X-Goog-Signature` and `sig`.
    #[must_use]
    pub fn redacted_query_parameters<N: Into<String>>(
        self,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        Self { redacted_query_parameters: Some(owned(names)), ..self }
    }

    /// The request methods that are shown as they are, in exactly this case; others are `_OTHER`,
    /// because a stranger can make up as many as he likes. Replaces the default: the methods of
    /// RFC 9110, `PATCH` and `QUERY`.
    #[must_use]
    pub fn known_methods<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        Self { known_methods: Some(owned(names)), ..self }
    }

    /// The gRPC methods that are served, as `package.Service/Method`; others are `_OTHER`. Without
    /// such a list, the default, every method is shown as it was called.
    #[must_use]
    pub fn known_grpc_methods<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        Self { known_grpc_methods: Some(names.into_iter().map(Into::into).collect()), ..self }
    }

    pub(crate) fn shows_sensitive_headers(&self) -> bool {
        self.sensitive_headers.unwrap_or_default()
    }

    pub(crate) fn secret_parameters(&self) -> &[Cow<'static, str>] {
        self.redacted_query_parameters.as_deref().unwrap_or(&SECRET_PARAMETERS)
    }

    pub(crate) fn shown_methods(&self) -> &[Cow<'static, str>] {
        self.known_methods.as_deref().unwrap_or(&METHODS)
    }

    pub(crate) fn is_known_method(&self, method: &str) -> bool {
        self.shown_methods().iter().any(|known| known == method)
    }

    pub(crate) fn is_known_grpc_method(&self, method: &str) -> bool {
        let known = self.known_grpc_methods.as_ref();
        known.is_none_or(|known| known.iter().any(|known| known == method))
    }

    /// A query, without the values of secret parameters.
    pub(crate) fn redact<'a>(&self, query: &'a str) -> Cow<'a, str> {
        let is_secret = |pair: &str| {
            let key = pair.split_once('=').map(|(key, _)| key);
            key.is_some_and(|key| self.secret_parameters().iter().any(|name| name == key))
        };
        if !self.has_secret(query.as_bytes()) {
            return Cow::Borrowed(query);
        }
        let mut redacted = String::with_capacity(query.len() + 16);
        for (i, pair) in query.split('&').enumerate() {
            if i > 0 {
                redacted.push('&');
            }
            match pair.split_once('=') {
                Some((key, _)) if is_secret(pair) => {
                    redacted.push_str(key);
                    redacted.push_str("=REDACTED");
                }
                _ => redacted.push_str(pair),
            }
        }
        Cow::Owned(redacted)
    }
}

impl Capture {
    /// Whether a query has a secret parameter. Asked of each, and most have none: names are only
    /// compared where a parameter begins as one of them does.
    fn has_secret(&self, query: &[u8]) -> bool {
        let names = self.secret_parameters();
        let initials = match self.redacted_query_parameters {
            Some(_) => names.iter().fold(0, |all, name| all | initial(name.as_bytes())),
            None => SECRET_INITIALS,
        };
        let mut rest = query;
        loop {
            let is_secret = |name: &Cow<'static, str>| {
                rest.strip_prefix(name.as_bytes()).is_some_and(|value| value.first() == Some(&b'='))
            };
            if initials & initial(rest) != 0 && names.iter().any(is_secret) {
                return true;
            }
            match rest.iter().position(|&byte| byte == b'&') {
                Some(end) => rest = &rest[end + 1..],
                None => return false,
            }
        }
    }
}

/// A bit for what a text begins with. Texts that begin differently may have the same, and an empty
/// one has those of all.
const fn initial(text: &[u8]) -> u64 {
    match text {
        [first, ..] => 1 << (*first % 64),
        [] => u64::MAX,
    }
}

impl CapturedHeader {
    fn new(of: &str, name: HeaderName) -> Self {
        Self {
            http_key: format!("http.{of}.header.{name}"),
            grpc_key: format!("rpc.{of}.metadata.{name}"),
            name,
        }
    }
}

/// Whether a header holds a secret by its name.
pub(crate) fn is_sensitive(name: &HeaderName) -> bool {
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION, header::SET_COOKIE]
        .contains(name)
}

fn owned<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Vec<Cow<'static, str>> {
    names.into_iter().map(|name| Cow::Owned(name.into())).collect()
}

/// Those of RFC 9110, PATCH (RFC 5789) and QUERY. The frequent ones first: they are looked up one
/// by one.
static METHODS: [Cow<'static, str>; 10] = [
    Cow::Borrowed("GET"),
    Cow::Borrowed("POST"),
    Cow::Borrowed("PUT"),
    Cow::Borrowed("DELETE"),
    Cow::Borrowed("HEAD"),
    Cow::Borrowed("OPTIONS"),
    Cow::Borrowed("PATCH"),
    Cow::Borrowed("CONNECT"),
    Cow::Borrowed("TRACE"),
    Cow::Borrowed("QUERY"),
];

/// Signatures and credentials in the signed URLs of the large object stores.
static SECRET_PARAMETERS: [Cow<'static, str>; 7] = [
    Cow::Borrowed("AWSAccessKeyId"),
    Cow::Borrowed("Signature"),
    Cow::Borrowed("X-Amz-Credential"),
    Cow::Borrowed("X-Amz-Security-Token"),
    Cow::Borrowed("X-Amz-Signature"),
    Cow::Borrowed("X-Goog-Signature"),
    Cow::Borrowed("sig"),
];

/// All that they begin with.
const SECRET_INITIALS: u64 = initial(b"A") | initial(b"S") | initial(b"X") | initial(b"s");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_the_query_are_redacted() {
        let default = Capture::default();
        let own = Capture::default().redacted_query_parameters(["session"]);
        let empty = Capture::default().redacted_query_parameters([""]);
        let rows = [
            (&default, "a=1&b=2", "a=1&b=2", "no secret"),
            (&default, "a=b&AWSAccessKeyId=X&c=d", "a=b&AWSAccessKeyId=REDACTED&c=d", "between"),
            (&default, "sig=X&sig=Y", "sig=REDACTED&sig=REDACTED", "twice"),
            (&default, "sig=X&&", "sig=REDACTED&&", "empty parameters behind it stay"),
            (&default, "&&sig=X", "&&sig=REDACTED", "and before it"),
            (&default, "sig=X&aa&bb", "sig=REDACTED&aa&bb", "parameters without value stay"),
            (&default, "sig=a=b", "sig=REDACTED", "a value may hold ="),
            (&default, "sig", "sig", "there is nothing to hide"),
            (&default, "SIG=X", "SIG=X", "keys are case-sensitive"),
            (&default, "mysig=X", "mysig=X", "another key"),
            (
                &default,
                "Signature=1&X-Goog-Signature=2",
                "Signature=REDACTED&X-Goog-Signature=REDACTED",
                "Google's",
            ),
            (
                &default,
                "X-Amz-Signature=1&X-Amz-Credential=2&X-Amz-Security-Token=3",
                "X-Amz-Signature=REDACTED&X-Amz-Credential=REDACTED&X-Amz-Security-Token=REDACTED",
                "all of Amazon's",
            ),
            (&own, "session=X&sig=Y", "session=REDACTED&sig=Y", "a list of one's own replaces it"),
            (&empty, "a=1&=X&=", "a=1&=REDACTED&=REDACTED", "a parameter without a name"),
        ];
        for (capture, query, expected, why) in rows {
            assert_eq!(capture.redact(query), expected, "{why}");
        }
    }

    #[test]
    fn the_default_parameters_begin_as_is_said_of_them() {
        let initials = SECRET_PARAMETERS.iter().map(|name| initial(name.as_bytes()));
        assert_eq!(initials.fold(0, |all, initial| all | initial), SECRET_INITIALS);
    }

    #[test]
    fn methods_are_known_by_their_list() {
        let default = Capture::default();
        let own = Capture::default().known_methods(["GET", "PURGE"]);
        let served = Capture::default().known_grpc_methods(["shop.Inventory/Count"]);
        assert!(METHODS.iter().all(|method| default.is_known_method(method)));
        assert!(!default.is_known_method("get"), "methods are case-sensitive");
        assert!(!default.is_known_method("PURGE"));
        assert!(own.is_known_method("PURGE") && !own.is_known_method("POST"), "replaced");
        assert!(default.is_known_grpc_method("made.Up/Anything"), "without a list, all are");
        assert!(served.is_known_grpc_method("shop.Inventory/Count"));
        assert!(!served.is_known_grpc_method("shop.Inventory/count"));
    }
}
