use std::fmt;
use std::fs;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter, Options};

use super::TracingServiceConfig;
use super::error::{ConfigError, Position, Problem, label};
use super::nearest::is_same_but_for_style;
use super::node::{Node, Value};
use super::section;

#[cfg(test)]
mod tests;

impl TracingServiceConfig {
    /// Reads the `tracing_service` section of a YAML document; without one, tracing is
    /// [`disabled`](Self::disabled). Other sections may hold anything that is well-formed, even
    /// repeated keys.
    ///
    /// Words are read as in YAML 1.2, so that `no` in `resource_attributes` is a text. Anchors and
    /// merge keys work across the whole document.
    ///
    /// # Errors
    ///
    /// Everything that is wrong in the section at once, each problem with its line and column. A
    /// text that is not well-formed YAML, or that holds several documents, more than 32 levels of
    /// nesting or an explosion of aliases, is reported at the first such place.
    ///
    /// Also an error is a second section, and, where there is none, a key that is
    /// `tracing_service` but for case, `-` and `_`: tracing would be off without a word.
    pub fn from_yaml_str(yaml: &str) -> Result<Self, ConfigError> {
        let document: Document = serde_saphyr::from_str_with_options(yaml, options())
            .map_err(|error| ConfigError::new(vec![malformed(&error)]))?;
        match document {
            Document { repeated, .. } if !repeated.is_empty() => Err(ConfigError::new(repeated)),
            Document { section: Some(section), .. } => section::resolve(&section),
            Document { misspelt, .. } if !misspelt.is_empty() => Err(ConfigError::new(misspelt)),
            Document { .. } => Ok(Self::disabled()),
        }
    }

    /// Reads the `tracing_service` section of a YAML file, as
    /// [`from_yaml_str`](Self::from_yaml_str) does.
    ///
    /// # Errors
    ///
    /// As [`from_yaml_str`](Self::from_yaml_str), with the path before each problem; also when the
    /// file cannot be read or is not UTF-8.
    pub fn from_yaml_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let unreadable = |message| ConfigError::new(vec![Problem::new(None, "", message)]);
        let config = match fs::read(path).map(String::from_utf8) {
            Ok(Ok(yaml)) => Self::from_yaml_str(&yaml),
            Ok(Err(error)) => {
                let valid = error.utf8_error().valid_up_to();
                Err(unreadable(format!("not UTF-8 from byte {valid} on")))
            }
            Err(error) => Err(unreadable(format!("cannot be read: {error}"))),
        };
        config.map_err(|error| error.in_file(path.to_owned()))
    }
}

#[derive(Default)]
struct Document {
    section: Option<Node>,
    /// Each further section.
    repeated: Vec<Problem>,
    /// Each section that was meant to be ours, if there is none of the right name.
    misspelt: Vec<Problem>,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DocumentVisitor;

        impl<'de> Visitor<'de> for DocumentVisitor {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of sections")
            }

            fn visit_unit<E>(self) -> Result<Document, E> {
                Ok(Document::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Document, A::Error> {
                let mut document = Document::default();
                while let Some(key) = entries.next_key::<Node>()? {
                    let Value::Text(name) = key.value else {
                        entries.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    if name == section::NAME && document.section.is_none() {
                        document.section = Some(entries.next_value()?);
                        continue;
                    }
                    entries.next_value::<IgnoredAny>()?;
                    let problem = |message| Problem::new(key.position, label(&name), message);
                    if name == section::NAME {
                        document.repeated.push(problem("the key is given twice".to_owned()));
                    } else if is_same_but_for_style(&name, section::NAME) {
                        document.misspelt.push(problem(format!(
                            "unknown section, did you mean `{}`?",
                            section::NAME
                        )));
                    }
                }
                Ok(document)
            }
        }

        deserializer.deserialize_any(DocumentVisitor)
    }
}

fn options() -> Options {
    let mut options = Options::default();
    // A snippet shows the lines around the error, and these may hold secrets of the service.
    options.with_snippet = false;
    // The reader recurses: at its own limit of 64, a build without optimization can overflow the
    // 2 MiB stack of a thread.
    if let Some(budget) = &mut options.budget {
        budget.max_depth = MAX_DEPTH;
    }
    // What other sections repeat is not ours to judge, and what our own repeats is reported with
    // its other problems. Merged keys still give way to those that are written out.
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    // Leaves words such as `no` and numbers such as `007` to the section, which knows what each
    // key wants.
    options.strict_booleans = true;
    options.leading_zero_numbers_as_strings = true;
    options.non_finite_float_policy = NonFiniteFloatPolicy::AsString;
    options
}

/// What the YAML reader could not get past, in words that quote no value.
fn malformed(error: &Error) -> Problem {
    let position = error
        .location()
        .map(|location| Position { line: location.line(), column: location.column() });
    let mut error = error.without_snippet();
    while let Error::AliasError { error: cause, .. } = error {
        error = cause;
    }
    let message = match error {
        Error::MultipleDocuments { .. } => "a second document begins: keep one".to_owned(),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => {
            "too deeply nested, too large, or too many aliases".to_owned()
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an alias stands inside of what it refers to".to_owned()
        }
        // Raised at the top only: below it, every type is read.
        Error::SerdeInvalidType { .. } => "the document must be a mapping of sections".to_owned(),
        // The rest are fixed texts of the parser.
        other => format!("not valid YAML: {}", DefaultMessageFormatter.format_message(other)),
    };
    Problem::new(position, "", message)
}

/// Far beyond any configuration.
const MAX_DEPTH: usize = 32;
