//! [`StartError`]: why there is no tracing service.

use std::error::Error;
use std::fmt;
use std::io;

use crate::config::ConfigError;

/// The tracing service could not be started.
///
/// `Debug` is the same text as `Display`, so that it reads well where `main` returns it.
#[non_exhaustive]
pub enum StartError {
    /// The configuration contradicts itself, neither it nor the environment says where spans go,
    /// the endpoint in a variable cannot be used, or a file or a variable with the value of a
    /// header is missing or holds none.
    Config(ConfigError),
    /// The configuration asks for something that this build of the program cannot do.
    Unsupported(String),
    /// A file with certificates or a key is missing, malformed or not what it should be, a key is
    /// not that of its certificate, or there are no certificate authorities: one line for each
    /// problem, with the key of the section, or the environment variable, and the name of the file.
    Certificates(String),
    /// The operating system refused a thread or an event queue for the exporter.
    Thread(io::Error),
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Unsupported(reason) | Self::Certificates(reason) => f.write_str(reason),
            Self::Thread(error) => write!(f, "cannot start the exporter's thread: {error}"),
        }
    }
}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Thread(error) => Some(error),
            // Its text is the text of this error.
            Self::Config(_) | Self::Unsupported(_) | Self::Certificates(_) => None,
        }
    }
}
