//! How spans wait, how often they are tried, and how much one may hold.

use super::field::{Field, Problems};
use super::quantity::{
    CONCURRENCY, COUNT, GIVE_UP_AFTER, MAX_BATCH_BYTES, MAX_BATCH_SPANS, MAX_BYTES, MAX_DELAY,
    PAUSE, PEER_VALUE_LENGTH, Quantity, Size, VALUE_LENGTH,
};
use crate::config::error::Problem;
use crate::config::{LimitsConfig, QueueConfig, RetryConfig, TracingServiceConfig};
use crate::pipeline::{PipelineOptions, WhenFull};

pub(super) fn queue(field: &Field<'_>, problems: &mut Problems) -> QueueConfig {
    let mut queue = QueueConfig::default();
    for field in field.members(&QUEUE_KEYS, problems) {
        match field.key {
            "max_bytes" => queue.max_bytes = problems.keep(MAX_BYTES.read(&field)).map(Size::bytes),
            "max_batch_spans" => {
                queue.max_batch_spans = problems.keep(MAX_BATCH_SPANS.read(&field))
            }
            "max_batch_bytes" => {
                queue.max_batch_bytes =
                    problems.keep(MAX_BATCH_BYTES.read(&field)).map(Size::bytes);
            }
            "max_delay" => queue.max_delay = problems.keep(MAX_DELAY.read(&field)),
            _ => queue.when_full = problems.keep(field.word(&WhenFull::WORDS)),
        }
    }
    queue
}

pub(super) fn retry(field: &Field<'_>, problems: &mut Problems) -> RetryConfig {
    let mut retry = RetryConfig::default();
    for field in field.members(&RETRY_KEYS, problems) {
        match field.key {
            "initial" => retry.initial = problems.keep(PAUSE.read(&field)),
            "max" => retry.max = problems.keep(PAUSE.read(&field)),
            _ => retry.give_up_after = problems.keep(GIVE_UP_AFTER.read(&field)),
        }
    }
    retry
}

pub(super) fn concurrency(field: &Field<'_>) -> Result<usize, Problem> {
    CONCURRENCY.read(field).map(|requests| requests as usize)
}

pub(super) fn limits(field: &Field<'_>, problems: &mut Problems) -> LimitsConfig {
    let mut limits = LimitsConfig::default();
    for field in field.members(&LIMITS_KEYS, problems) {
        let mut count = || problems.keep(COUNT.read(&field)).map(|count| count as u32);
        match field.key {
            "attributes_per_span" => limits.attributes_per_span = count(),
            "events_per_span" => limits.events_per_span = count(),
            "links_per_span" => limits.links_per_span = count(),
            "attributes_per_event" => limits.attributes_per_event = count(),
            "attributes_per_link" => limits.attributes_per_link = count(),
            "value_length" => {
                limits.value_length = problems.keep(VALUE_LENGTH.read(&field)).map(Size::bytes);
            }
            _ => {
                let length = problems.keep(PEER_VALUE_LENGTH.read(&field));
                limits.peer_value_length = length.map(Size::bytes);
            }
        }
    }
    limits
}

/// What is wrong with these settings, each with its path in the section.
pub(in crate::config) fn contradictions(config: &TracingServiceConfig) -> Vec<(String, String)> {
    let TracingServiceConfig { queue, retry, limits, concurrency, .. } = config;
    let size = |bytes: Option<usize>| bytes.map(Size::new);
    let count = |count: Option<u32>| count.map(u64::from);
    let default = PipelineOptions::default();
    let checks = [
        ("queue.max_bytes", size(queue.max_bytes).and_then(|it| MAX_BYTES.wrong(it))),
        ("queue.max_batch_spans", queue.max_batch_spans.and_then(|it| MAX_BATCH_SPANS.wrong(it))),
        (
            "queue.max_batch_bytes",
            size(queue.max_batch_bytes).and_then(|it| MAX_BATCH_BYTES.wrong(it)).or_else(|| {
                let most = Size::new(queue.max_bytes.unwrap_or(default.max_bytes));
                above("max_bytes", size(queue.max_batch_bytes), most)
            }),
        ),
        ("queue.max_delay", queue.max_delay.and_then(|it| MAX_DELAY.wrong(it))),
        (
            "retry.initial",
            retry
                .initial
                .and_then(|it| PAUSE.wrong(it))
                .or_else(|| above("max", retry.initial, retry.max.unwrap_or(default.retry.max))),
        ),
        ("retry.max", retry.max.and_then(|it| PAUSE.wrong(it))),
        ("retry.give_up_after", retry.give_up_after.and_then(|it| GIVE_UP_AFTER.wrong(it))),
        ("concurrency", concurrency.and_then(|it| CONCURRENCY.wrong(it as u64))),
        (
            "limits.attributes_per_span",
            count(limits.attributes_per_span).and_then(|it| COUNT.wrong(it)),
        ),
        ("limits.events_per_span", count(limits.events_per_span).and_then(|it| COUNT.wrong(it))),
        ("limits.links_per_span", count(limits.links_per_span).and_then(|it| COUNT.wrong(it))),
        (
            "limits.attributes_per_event",
            count(limits.attributes_per_event).and_then(|it| COUNT.wrong(it)),
        ),
        (
            "limits.attributes_per_link",
            count(limits.attributes_per_link).and_then(|it| COUNT.wrong(it)),
        ),
        ("limits.value_length", size(limits.value_length).and_then(|it| VALUE_LENGTH.wrong(it))),
        (
            "limits.peer_value_length",
            size(limits.peer_value_length).and_then(|it| PEER_VALUE_LENGTH.wrong(it)),
        ),
    ];
    let found = checks.into_iter();
    found.filter_map(|(key, wrong)| wrong.map(|wrong| (key.to_owned(), wrong))).collect()
}

/// What is wrong with a value that another key of the same mapping bounds.
pub(super) fn above<T: Quantity>(key: &str, value: Option<T>, most: T) -> Option<String> {
    let value = value.filter(|value| *value > most)?;
    Some(format!("must not be above `{key}`, which is {}, but is {}", most.show(), value.show()))
}

const QUEUE_KEYS: [&str; 5] =
    ["max_bytes", "max_batch_spans", "max_batch_bytes", "max_delay", "when_full"];

const RETRY_KEYS: [&str; 3] = ["initial", "max", "give_up_after"];

const LIMITS_KEYS: [&str; 7] = [
    "attributes_per_span",
    "events_per_span",
    "links_per_span",
    "attributes_per_event",
    "attributes_per_link",
    "value_length",
    "peer_value_length",
];
