//! Whether spans are exported at all, and how contexts travel.

use super::{Reader, word};
use crate::config::error::quote;

/// The variables that want tracing off.
pub(super) fn off(reader: &mut Reader<'_>) -> Vec<&'static str> {
    let disabled = flag(reader, DISABLED).then_some(DISABLED);
    let exports_nothing = exports_nothing(reader).then_some(EXPORTER);
    disabled.into_iter().chain(exports_nothing).collect()
}

/// Tells of propagators that are missed, or that are not wanted: there is no choice.
pub(super) fn propagators(reader: &mut Reader<'_>) {
    let Some(text) = reader.text(PROPAGATORS) else { return };
    let items = items(&text);
    let is_one_of = |item: &&str| OURS.iter().any(|ours| item.eq_ignore_ascii_case(ours));
    let has = |ours: &&str| items.iter().any(|item| item.eq_ignore_ascii_case(ours));
    if !items.iter().all(is_one_of) || !OURS.iter().all(has) {
        let others: Vec<_> = items.into_iter().filter(|item| !is_one_of(item)).map(quote).collect();
        let not =
            if others.is_empty() { String::new() } else { format!(", not {}", others.join(", ")) };
        reader
            .ignore(PROPAGATORS, format_args!("requests are read as {}{not}", OURS.join(" and ")));
    }
}

/// Only `true` switches on.
pub(super) fn flag(reader: &mut Reader<'_>, variable: &'static str) -> bool {
    let Some(text) = reader.text(variable) else { return false };
    word(&text, &[("true", true), ("false", false)]).unwrap_or_else(|reason| {
        reader.taken_as(variable, "false", reason);
        false
    })
}

fn exports_nothing(reader: &mut Reader<'_>) -> bool {
    let Some(text) = reader.text(EXPORTER) else { return false };
    let items = items(&text);
    let is = |word: &'static str| move |item: &&str| item.eq_ignore_ascii_case(word);
    if !items.is_empty() && items.iter().all(is("none")) {
        return true;
    }
    let others: Vec<_> = items.into_iter().filter(|item| !is("otlp")(item)).map(quote).collect();
    if !others.is_empty() {
        let others = others.join(", ");
        reader.taken_as(EXPORTER, "otlp", format_args!("there is no exporter {others} here"));
    }
    false
}

fn items(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const PROPAGATORS: &str = "OTEL_PROPAGATORS";

/// What the layers read, and the way out writes.
const OURS: [&str; 2] = ["tracecontext", "baggage"];
