//! Why an exchange failed: an error, as far as it can be looked into.
//!
//! A service's error need only be displayed, because a boxed error is no `Error` and the layer is
//! to take those, too. So [`Cause`] asks whether the error is of a type that it knows. From there
//! on it goes from source to source, which is where clients keep what happened.

mod failure;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;

pub(super) use failure::Failure;

use crate::record::cut;

/// An error that ended an exchange. It is borrowed from whoever is about to return it.
#[derive(Clone, Copy)]
pub(super) struct Cause<'a> {
    text: &'a dyn fmt::Display,
    /// The same, when it is known to be one.
    error: Option<&'a (dyn Error + 'static)>,
}

/// Sees the `Error` in a value, if it is of the one type that this function is for.
pub(crate) type AsError = fn(&dyn Any) -> Option<&(dyn Error + 'static)>;

/// An [`AsError`] for errors of type `E`.
pub(super) fn as_error<E: Error + 'static>(value: &dyn Any) -> Option<&(dyn Error + 'static)> {
    value.downcast_ref::<E>().map(|error| error as _)
}

impl<'a> Cause<'a> {
    /// `others` are types besides those that are known here.
    pub(super) fn of<E: fmt::Display + 'static>(error: &'a E, others: &[AsError]) -> Self {
        let known = KNOWN.iter().chain(others).find_map(|as_error| as_error(error));
        Self { text: error, error: known }
    }

    /// What the error and its sources say, as much of it as a span keeps.
    pub(super) fn text(self) -> String {
        let Some(error) = self.error else {
            return without_urls(&describe(self.text)).into_owned();
        };
        let mut said = String::new();
        let mut last = String::new();
        for error in chain(error) {
            let text = describe_one(error);
            let text = without_urls(&text);
            // Some errors say what their source will say again.
            if text.is_empty() || last.contains(&*text) {
                continue;
            }
            if !said.is_empty() {
                said.push_str(": ");
            }
            said.push_str(&text);
            last = text.into_owned();
            if said.len() >= LONGEST {
                break;
            }
        }
        cut(&said, LONGEST).to_owned()
    }

    /// The error and its sources; nothing of an error that is not known.
    fn chain(self) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
        self.error.into_iter().flat_map(chain)
    }
}

/// The error types of the clients that this crate is built for.
const KNOWN: &[AsError] = &[
    |value| value.downcast_ref::<Box<dyn Error + Send + Sync>>().map(|error| &**error as _),
    as_error::<io::Error>,
    #[cfg(feature = "_hyper")]
    as_error::<hyper::Error>,
    #[cfg(feature = "_hyper")]
    as_error::<hyper_util::client::legacy::Error>,
    #[cfg(feature = "tonic")]
    as_error::<tonic::Status>,
    #[cfg(feature = "tonic-channel")]
    as_error::<tonic::transport::Error>,
    #[cfg(feature = "reqwest")]
    as_error::<reqwest::Error>,
];

/// An error and its sources, the outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| source(*error)).take(MOST_SOURCES)
}

fn source<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // Its `source` is that of the error inside, which would be passed over.
        return error.get_ref().map(|inner| inner as _);
    }
    #[cfg(feature = "_h2")]
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return error.get_io().map(|error| error as _);
    }
    error.source()
}

/// What an error says without its sources.
fn describe_one(error: &(dyn Error + 'static)) -> String {
    #[cfg(feature = "tonic")]
    if let Some(status) = error.downcast_ref::<tonic::Status>() {
        // The code is recorded as such.
        return cut(status.message(), LONGEST).to_owned();
    }
    describe(error)
}

/// Leaves out the URLs that reqwest writes into its errors, secrets and all. An error around one
/// of its may say the same, so the text decides and not the type.
fn without_urls(text: &str) -> Cow<'_, str> {
    const URL: &str = " for url (";
    if !text.contains(URL) {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split(URL);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // A URL has no white space in it, but perhaps parentheses.
        let url = part.split(char::is_whitespace).next().unwrap_or_default();
        let end = url.rfind(')').map_or(url.len(), |last| last + 1);
        let is_whole = !url[end..].contains(char::is_alphanumeric);
        kept.push_str(&part[if is_whole { end } else { url.len() }..]);
    }
    Cow::Owned(kept)
}

/// What a `Display` says, as much of it as a span keeps. One that fails has nothing more to say.
fn describe<D: fmt::Display + ?Sized>(error: &D) -> String {
    struct Kept(String);
    impl fmt::Write for Kept {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let kept = cut(text, LONGEST - self.0.len());
            self.0.push_str(kept);
            if kept.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
        }
    }
    let mut kept = Kept(String::new());
    let _ = write!(kept, "{error}");
    kept.0
}

impl fmt::Debug for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the text: a `Display` may panic.
        f.debug_struct("Cause").field("is_known", &self.error.is_some()).finish_non_exhaustive()
    }
}

/// Bytes of text that are kept of an error.
const LONGEST: usize = 4096;
/// How far sources are followed: whoever writes `source` may make a circle.
const MOST_SOURCES: usize = 16;
