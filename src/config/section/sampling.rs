use std::fmt;
use std::num::NonZeroU32;

use http::Method;

use super::field::{Field, MUST_NOT_BE_EMPTY, Problems, fields};
use crate::config::error::{Problem, quote};
use crate::config::node::Value;
use crate::record::Capture;
use crate::sampling::{SamplingRate, SamplingRule};

pub(super) fn rate(field: &Field<'_>) -> Result<SamplingRate, Problem> {
    field
        .whole_number()
        .and_then(|rate| SamplingRate::try_from(rate).ok())
        .ok_or_else(|| field.problem(rate_must_be(field.node.value.describe())))
}

pub(in crate::config) fn rate_must_be(found: impl fmt::Display) -> String {
    format!("must be a whole number from 0 to 1000000, not {found}")
}

pub(super) fn forced_per_second(field: &Field<'_>) -> Result<NonZeroU32, Problem> {
    field
        .whole_number()
        .and_then(NonZeroU32::new)
        .ok_or_else(|| field.must_be(&format!("a whole number from 1 to {}", u32::MAX)))
}

pub(super) fn rules(field: &Field<'_>, problems: &mut Problems) -> Vec<SamplingRule> {
    let items = problems.keep(field.items("a list of rules")).unwrap_or_default();
    let mut rules = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let Some(rule) = rule(item, problems) else { continue };
        match overruled(&rule, &rules) {
            Some(wrong) => problems.push(item.problem(wrong)),
            None => rules.push((index, rule)),
        }
    }
    rules.into_iter().map(|(_, rule)| rule).collect()
}

fn rule(item: &Field<'_>, problems: &mut Problems) -> Option<SamplingRule> {
    let Value::Mapping(entries) = &item.node.value else {
        problems.push(item.must_be(&format!("a mapping with `{RATE}` and conditions")));
        return None;
    };
    let fields = fields(&item.path, entries, problems);
    if !fields.iter().any(|field| field.key == RATE) {
        let path = format!("{}.{RATE}", item.path);
        problems.push(Problem::new(item.position, path, "missing: a rule needs a rate"));
    }
    // An unknown key may have been meant as a condition, and is enough to correct.
    if entries.iter().all(|(key, _)| key.as_text() == Some(RATE)) {
        problems.push(item.problem(no_condition()));
    }
    let mut rate = None;
    let mut conditions = Vec::new();
    for field in &fields {
        match field.key {
            RATE => rate = problems.keep(self::rate(field)),
            key if CONDITIONS.contains(&key) => {
                let text = field.text().and_then(|text| {
                    condition(key, text).map_err(|wrong| field.problem(wrong))?;
                    Ok(text)
                });
                conditions.push(problems.keep(text).map(|text| (key, text)));
            }
            _ => {
                problems.push(field.unknown_key(&RULE_KEYS));
                conditions.push(None);
            }
        }
    }
    // A rule that lacks a condition would overrule others that are right.
    if fields.len() < entries.len() {
        return None;
    }
    let conditions: Vec<_> = conditions.into_iter().collect::<Option<_>>()?;
    let rule = |rule: SamplingRule, (key, text)| match key {
        "method" => rule.method(text),
        "path_prefix" => rule.path_prefix(text),
        "route" => rule.route(text),
        _ => rule.grpc_service(text),
    };
    Some(conditions.into_iter().fold(SamplingRule::new(rate?), rule))
}

/// What is wrong with rules that code has made, each with its path in the section.
pub(in crate::config) fn contradictions(rules: &[SamplingRule]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut sound = Vec::with_capacity(rules.len());
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("sampling_rules[{index}]");
        let before = found.len();
        found.extend(rule.conditions().filter_map(|(key, text)| {
            condition(key, text).err().map(|wrong| (format!("{path}.{key}"), wrong))
        }));
        if rule.conditions().next().is_none() {
            found.push((path.clone(), no_condition()));
        }
        if found.len() == before {
            found.extend(overruled(rule, &sound).map(|wrong| (path, wrong)));
            sound.push((index, rule.clone()));
        }
    }
    found
}

/// Why a rule never counts, if one before it wants something else of the same requests.
fn overruled(rule: &SamplingRule, earlier: &[(usize, SamplingRule)]) -> Option<String> {
    let (index, first) = earlier.iter().find(|(_, earlier)| earlier.covers(rule))?;
    (first.rate() != rule.rate()).then(|| {
        format!(
            "never counts: sampling_rules[{index}] before it has another rate for all of its \
             requests, and the first rule that matches wins"
        )
    })
}

fn condition(key: &str, text: &str) -> Result<(), String> {
    let expected = match key {
        _ if text.trim().is_empty() => return Err(MUST_NOT_BE_EMPTY.to_owned()),
        "method" => return method(text),
        "path_prefix" if !text.starts_with('/') => "a path that begins with `/`",
        "route" if !text.starts_with('/') => "a route that begins with `/`",
        "grpc_service" if text.contains('/') => {
            "the full name of a service, such as shop.Inventory, without `/`"
        }
        _ => return Ok(()),
    };
    Err(format!("must be {expected}, not {}", quote(text)))
}

pub(super) fn method(text: &str) -> Result<(), String> {
    if text.parse::<Method>().is_err() {
        return Err(format!("must be a method such as GET, not {}", quote(text)));
    }
    let upper = text.to_ascii_uppercase();
    if upper != text && Capture::default().is_known_method(&upper) {
        return Err(format!("methods are case-sensitive, did you mean `{upper}`?"));
    }
    Ok(())
}

fn no_condition() -> String {
    format!(
        "a rule without a condition would match every request, and no rule after it would count: \
         add one of {}, or set the `{RATE}` of the section",
        CONDITIONS.join(", ")
    )
}

const RATE: &str = "sampling_rate_per_million";

const CONDITIONS: [&str; 4] = ["method", "path_prefix", "route", "grpc_service"];

const RULE_KEYS: [&str; 5] = ["method", "path_prefix", "route", "grpc_service", RATE];

#[cfg(all(test, feature = "yaml"))]
mod tests;
