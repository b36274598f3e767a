//! [`SinkError`]: why there is no way out.

use std::fmt;

/// A network sink could not be made.
#[derive(Debug)]
pub(crate) enum SinkError {
    /// The parts of the URL make no URI.
    Uri(http::Error),
    /// Nobody is named who could have a certificate.
    NoHost,
    /// This build of the program, or this system, cannot do it.
    #[cfg_attr(
        all(unix, any(feature = "ring", feature = "aws-lc-rs")),
        expect(dead_code, reason = "nothing is missing")
    )]
    Unsupported(&'static str),
    /// What is wrong with certificates, keys and names: at least one sentence, each of which
    /// begins with the key of the section.
    #[cfg_attr(
        not(any(feature = "ring", feature = "aws-lc-rs")),
        expect(dead_code, reason = "nothing is read without TLS")
    )]
    Tls(Vec<String>),
}

impl From<http::Error> for SinkError {
    fn from(error: http::Error) -> Self {
        Self::Uri(error)
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(error) => error.fmt(f),
            Self::NoHost => f.write_str("the URL has no host"),
            Self::Unsupported(what) => f.write_str(what),
            Self::Tls(problems) => f.write_str(&problems.join("\n")),
        }
    }
}
