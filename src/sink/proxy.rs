//! What a proxy in front of the collector says of TLS, with an answer like any other.
//!
//! nginx lets every client finish the handshake, and refuses the request: with HTTP 400 and a
//! page for people.

use http::StatusCode;

use super::answer::Answer;
use crate::pipeline::Then;

/// The reason for this answer, in the words that a refusal in the handshake has, if it is one.
/// Certificates may be replaced a second later, on either side, and a scheme is not.
pub(super) fn tls_refusal(answer: &Answer) -> Option<(&'static str, Then)> {
    if answer.status != StatusCode::BAD_REQUEST {
        return None;
    }
    let says = |text: &str| answer.body.windows(text.len()).any(|part| part == text.as_bytes());
    PAGES.iter().find(|(text, ..)| says(text)).map(|&(_, words, then)| (words, then))
}

pub(super) const WANTS_CERTIFICATE: &str =
    "the collector wants a client certificate: name one in https_keypairs";
pub(super) const REFUSED_CERTIFICATE: &str =
    "the collector refused the client certificate of https_keypairs";
pub(super) const WANTS_TLS: &str =
    "the port expects TLS: write grpcs:// or https:// instead of grpc:// or http://";

/// From nginx, and from servers written in Go.
const PAGES: [(&str, &str, Then); 4] = [
    ("No required SSL certificate was sent", WANTS_CERTIFICATE, AGAIN),
    ("The SSL certificate error", REFUSED_CERTIFICATE, AGAIN),
    ("The plain HTTP request was sent to HTTPS port", WANTS_TLS, Then::GiveUp),
    ("Client sent an HTTP request to an HTTPS server", WANTS_TLS, Then::GiveUp),
];
const AGAIN: Then = Then::TryAgain { asked: None };

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_page_about_tls_is_understood_and_any_other_is_not() {
        let nginx = |title: &str| {
            format!(
                "<html>\r\n<head><title>400 {title}</title></head>\r\n<body>\r\n<center><h1>400 \
                 Bad Request</h1></center>\r\n<center>{title}</center>\r\n<hr><center>nginx/1.22.1\
                 </center>\r\n</body>\r\n</html>\r\n",
            )
        };
        let rows = [
            (
                400,
                nginx("No required SSL certificate was sent"),
                Some((WANTS_CERTIFICATE, AGAIN)),
                "no client certificate",
            ),
            (
                400,
                nginx("The SSL certificate error"),
                Some((REFUSED_CERTIFICATE, AGAIN)),
                "one that it does not believe",
            ),
            (
                400,
                nginx("The plain HTTP request was sent to HTTPS port"),
                Some((WANTS_TLS, Then::GiveUp)),
                "no TLS",
            ),
            (
                400,
                "Client sent an HTTP request to an HTTPS server.\n".to_owned(),
                Some((WANTS_TLS, Then::GiveUp)),
                "no TLS, to a server in Go",
            ),
            (400, nginx("Request Header Or Cookie Too Large"), None, "another reason"),
            (400, String::new(), None, "no reason"),
            (200, nginx("The SSL certificate error"), None, "a page about something"),
        ];
        for (status, body, expected, why) in rows {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: body.into_bytes(),
                trailers: None,
            };
            assert_eq!(tls_refusal(&answer), expected, "{why}");
        }
    }
}
