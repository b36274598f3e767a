use crate::config::error::{ConfigError, Position, Problem, label};
use crate::config::nearest::nearest;
use crate::config::node::{Node, Value};

/// A key with its value, or an item of a list.
pub(super) struct Field<'a> {
    /// Empty for an item.
    pub(super) key: &'a str,
    pub(super) key_position: Option<Position>,
    pub(super) path: String,
    /// Where the value is; where the key is if there is no value.
    pub(super) position: Option<Position>,
    pub(super) node: &'a Node,
}

impl<'a> Field<'a> {
    /// A text that is not blank.
    pub(super) fn text(&self) -> Result<&'a str, Problem> {
        match &self.node.value {
            Value::Text(text) if text.trim().is_empty() => Err(self.problem(MUST_NOT_BE_EMPTY)),
            Value::Text(text) => Ok(text),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                let value = self.node.value.describe();
                Err(self.problem(format!("must be text, not {value}: put it in quotes")))
            }
            Value::Null | Value::List(_) | Value::Mapping(_) => Err(self.must_be("text")),
        }
    }

    /// The items of a list; `expected` says what it is a list of.
    pub(super) fn items(&self, expected: &str) -> Result<Vec<Self>, Problem> {
        let Value::List(items) = &self.node.value else {
            return Err(self.must_be(expected));
        };
        let item = |(index, node): (usize, &'a Node)| Field {
            key: "",
            key_position: node.position,
            path: format!("{}[{index}]", self.path),
            position: node.position,
            node,
        };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// The keys of a mapping that have a value. Others than those `known` are problems.
    pub(super) fn members(&self, known: &[&'static str], problems: &mut Problems) -> Vec<Self> {
        let Value::Mapping(entries) = &self.node.value else {
            let known = known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>();
            problems.push(self.must_be(&format!("a mapping with any of {}", known.join(", "))));
            return Vec::new();
        };
        let mut fields = fields(&self.path, entries, problems);
        fields.retain(|field| {
            let is_known = known.contains(&field.key);
            if !is_known {
                problems.push(field.unknown_key(known));
            }
            is_known && !matches!(field.node.value, Value::Null)
        });
        fields
    }

    /// The items of a list, each one once, without those that cannot be read.
    pub(super) fn set_of<T: PartialEq>(
        &self,
        expected: &str,
        problems: &mut Problems,
        read: impl Fn(&Self) -> Result<T, Problem>,
    ) -> Vec<T> {
        let items = problems.keep(self.items(expected)).unwrap_or_default();
        let mut set = Vec::with_capacity(items.len());
        for item in items {
            if let Some(item) = problems.keep(read(&item))
                && !set.contains(&item)
            {
                set.push(item);
            }
        }
        set
    }

    pub(super) fn whole_number(&self) -> Option<u32> {
        match &self.node.value {
            Value::Int(number) => u32::try_from(*number).ok(),
            // Variables of the environment are text to those who read them.
            Value::Text(digits) => {
                digits.parse().ok().filter(|number: &u32| number.to_string() == *digits)
            }
            _ => None,
        }
    }

    /// One of several words, in any case.
    pub(super) fn word<T: Copy, const N: usize>(
        &self,
        words: &[(&str, T); N],
    ) -> Result<T, Problem> {
        let written = self.node.as_text();
        let is_written = |word| written.is_some_and(|text| text.eq_ignore_ascii_case(word));
        match words.iter().find(|(word, _)| is_written(word)) {
            Some(&(_, meant)) => Ok(meant),
            None => {
                let words = words.each_ref().map(|(word, _)| *word).join(", ");
                Err(self.must_be(&format!("one of {words}")))
            }
        }
    }

    pub(super) fn unknown_key(&self, known: &[&'static str]) -> Problem {
        self.at_key(match nearest(self.key, known) {
            Some(meant) => format!("unknown key, did you mean `{meant}`?"),
            None => format!("unknown key, known are {}", known.join(", ")),
        })
    }

    pub(super) fn must_be(&self, expected: &str) -> Problem {
        self.problem(self.node.must_be(expected))
    }

    pub(super) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(self.position, self.path.clone(), message)
    }

    pub(super) fn at_key(&self, message: impl Into<String>) -> Problem {
        Problem::new(self.key_position, self.path.clone(), message)
    }
}

/// The entries of a mapping with text for keys, each key once.
pub(super) fn fields<'a>(
    path: &str,
    entries: &'a [(Node, Node)],
    problems: &mut Problems,
) -> Vec<Field<'a>> {
    let mut fields: Vec<Field<'a>> = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let Some(text) = key.as_text() else {
            let key_found = key.value.describe();
            let message = format!("a key must be text, not {key_found}: put it in quotes");
            problems.push(Problem::new(key.position, path, message));
            continue;
        };
        let position = match node.value {
            Value::Null => key.position,
            _ => node.position,
        };
        let path = format!("{path}.{}", label(text));
        let field = Field { key: text, key_position: key.position, path, position, node };
        if fields.iter().any(|earlier| earlier.key == text) {
            problems.push(field.at_key("the key is given twice"));
        } else {
            fields.push(field);
        }
    }
    fields
}

/// Collects what is wrong, while reading goes on.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub(super) fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.push(problem)).ok()
    }

    pub(super) fn is_known_for(&self, path: &str) -> bool {
        self.0.iter().any(|problem| problem.key() == path)
    }

    pub(super) fn into_result<T>(self, value: T) -> Result<T, ConfigError> {
        if self.0.is_empty() { Ok(value) } else { Err(ConfigError::new(self.0)) }
    }
}

pub(in crate::config) const MUST_NOT_BE_EMPTY: &str = "must not be empty";
