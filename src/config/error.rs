use std::error::Error;
use std::fmt;
use std::path::PathBuf;

/// Everything that is wrong with a configuration, in the order of the document.
///
/// [`Display`](fmt::Display) writes one line for each problem, fit to be shown to the operator as
/// it is:
///
/// ```text
/// service.yaml: line 3, column 17: tracing_service.exporter_url: no host: write for example grpc://collector:4317
/// service.yaml: line 4, column 3: tracing_service.sampling_rate: unknown key, did you mean `sampling_rate_per_million`?
/// ```
///
/// [`Debug`] writes the same, so that `fn main() -> Result<(), ConfigError>` reads well too. The
/// text quotes nothing but the offending value, and no value that may hold a password.
pub struct ConfigError {
    file: Option<PathBuf>,
    problems: Vec<Problem>,
}

impl ConfigError {
    /// At least one problem, sorted by position.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }

    /// `problems` must not be empty.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        debug_assert!(!problems.is_empty(), "an error without a reason");
        // Stable: problems of one place stay in the order in which they were found.
        problems.sort_by_key(|problem| problem.position);
        Self { file: None, problems }
    }

    #[cfg(feature = "yaml")]
    pub(super) fn in_file(self, file: PathBuf) -> Self {
        Self { file: Some(file), ..self }
    }

    /// All problems on one line, for error types that escape line breaks.
    pub(super) fn one_line(&self) -> String {
        let problems: Vec<_> = self.problems.iter().map(Problem::to_string).collect();
        problems.join("; ")
    }
}

impl Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if let Some(file) = &self.file {
                write!(f, "{}: ", file.display())?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    position: Option<Position>,
    key: String,
    message: String,
}

impl Problem {
    /// The line, counted from 1; `None` when the format does not tell, or when the configuration
    /// was written in code.
    pub fn line(&self) -> Option<u64> {
        self.position.map(|position| position.line)
    }

    /// The column, counted in characters from 1; known when the line is.
    pub fn column(&self) -> Option<u64> {
        self.position.map(|position| position.column)
    }

    /// The path of the key, such as `tracing_service.keypairs[0].key_file`; empty when the
    /// problem is with the document as a whole.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn new(
        position: Option<Position>,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { position, key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Position { line, column }) = self.position {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// A place in a document, counted from 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Position {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// The operator's text for use in a message: in quotes, on one line, cut to 60 characters.
///
/// A text with an `@` may be a URL that holds a password, and is not repeated.
pub(super) fn quote(text: &str) -> String {
    if text.contains('@') {
        return "(a text with an `@`, not shown)".to_owned();
    }
    format!("\"{}\"", shorten(text))
}

/// As [`quote`], without the quotes: for a key that is part of a path.
pub(super) fn label(key: &str) -> String {
    if key.contains('@') { "(not shown)".to_owned() } else { shorten(key) }
}

fn shorten(text: &str) -> String {
    let mut shown: String =
        text.chars().take(SHOWN_CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

const SHOWN_CHARACTERS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_texts_are_short_single_line_and_never_hold_a_password() {
        let long = "x".repeat(61);
        let cut = format!("\"{}…\"", "x".repeat(60));
        let cases = [
            ("abc", "\"abc\"", "as it is"),
            ("", "\"\"", "an empty text is visible"),
            (" yes ", "\" yes \"", "so are spaces"),
            ("a\nb", "\"a\\nb\"", "one problem is one line"),
            ("\u{1b}[31m", "\"\\u{1b}[31m\"", "no control of the terminal"),
            (&long, &cut, "61 characters"),
            (&long[1..], &format!("\"{}\"", &long[1..]), "60 characters"),
            ("https://me:hunter2@h", "(a text with an `@`, not shown)", "may hold a password"),
        ];
        for (text, shown, reason) in cases {
            assert_eq!(quote(text), shown, "{reason}");
        }
    }
}
