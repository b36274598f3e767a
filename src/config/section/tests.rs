use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::{LimitsConfig, QueueConfig, RetryConfig, TracingServiceConfig};
use crate::context::Network;
use crate::pipeline::WhenFull;
use crate::sampling::RemoteParent;
use crate::sink::Compression;

/// A section with these lines, of which the first is the fourth of the document.
pub(super) fn read(lines: &str) -> Result<TracingServiceConfig, String> {
    let yaml = format!("tracing_service:\n  enabled: yes\n  exporter_url: h\n{lines}");
    TracingServiceConfig::from_yaml_str(&yaml).map_err(|error| error.to_string())
}

/// What code would have written.
pub(super) fn recording() -> TracingServiceConfig {
    TracingServiceConfig::new("h".parse().unwrap())
}

fn forced(per_second: u32) -> TracingServiceConfig {
    recording().forced_sampling_per_second(NonZeroU32::new(per_second).unwrap())
}

fn proxies(networks: &[&str]) -> TracingServiceConfig {
    recording().trusted_proxies(networks.iter().map(|text| text.parse::<Network>().unwrap()))
}

#[test]
fn who_is_believed_is_read() {
    let cases = [
        ("  remote_parent: trust", recording().remote_parent(RemoteParent::Trust), "the default"),
        ("  remote_parent: Link", recording().remote_parent(RemoteParent::Link), "any case"),
        ("  remote_parent: ignore", recording().remote_parent(RemoteParent::Ignore), "a word"),
        ("  remote_parent:\n  trusted_proxies: ~", recording(), "no value is left out"),
        ("  forced_sampling_per_second: 1", forced(1), "the least"),
        ("  forced_sampling_per_second: 4_294_967_295", forced(u32::MAX), "the most"),
        ("  forced_sampling_per_second: '100'", forced(100), "digits as text"),
        ("  forced_sampling_per_second:", recording(), "no value is left out"),
        (
            "  trusted_proxies: [10.0.0.0/8, ::1, fd00::/8, '127.0.0.1']",
            proxies(&["10.0.0.0/8", "::1", "fd00::/8", "127.0.0.1"]),
            "networks and addresses, and YAML takes colons for what they are",
        ),
        ("  trusted_proxies: [::1, ::1/128]", proxies(&["::1"]), "the same twice is once"),
        ("  trusted_proxies: []", recording(), "none"),
    ];
    for (lines, expected, reason) in cases {
        assert_eq!(read(lines), Ok(expected), "{lines}: {reason}");
    }
}

#[test]
fn settings_of_the_exporter_are_read() {
    let queue = |queue| recording().queue(queue);
    let retry = |retry| recording().retry(retry);
    let none = QueueConfig::default;
    let cases = [
        (
            "  headers: {X-A: ' b ', x-b: {file: /f}, x-c: {env: V}, x-d: '7'}",
            recording()
                .header("x-a", " b ")
                .header_from_file("x-b", "/f")
                .header_from_env("x-c", "V")
                .header("x-d", "7"),
            "names have no case, and blanks do not matter yet",
        ),
        (
            "  headers: {x-a: {file: /my secrets/a}, x-b: {file: ./my token}, x-c: {file: token}, \
             x-d: {env: a.B-c_9}}",
            recording()
                .header_from_file("x-a", "/my secrets/a")
                .header_from_file("x-b", "./my token")
                .header_from_file("x-c", "token")
                .header_from_env("x-d", "a.B-c_9"),
            "whatever is a path, or the name of a variable",
        ),
        ("  headers:\n  queue:\n  limits: ~", recording(), "no value is left out"),
        ("  queue: {max_bytes: }\n  retry: {}", recording(), "nor is an empty mapping one"),
        ("  compression: GZIP", recording().compression(Compression::Gzip), "any case"),
        ("  compression: none", recording().compression(Compression::None), "the default"),
        ("  timeout: 1h", recording().timeout(Duration::from_secs(3600)), "the most"),
        (
            "  timeout: 2s\n  connect_timeout: 2000ms",
            recording().timeout(Duration::from_secs(2)).connect_timeout(Duration::from_secs(2)),
            "the part may be the whole",
        ),
        ("  queue: {max_bytes: 4_000_000}", queue(none().max_bytes(4_000_000)), "bytes"),
        ("  queue: {max_bytes: '4_000_000'}", queue(none().max_bytes(4_000_000)), "as text"),
        ("  queue: {max_bytes: 64 mib}", queue(none().max_bytes(64 << 20)), "a unit"),
        (
            "  queue: {max_batch_spans: 1, max_batch_bytes: 64KiB, max_delay: 1ms}",
            queue(
                none()
                    .max_batch_spans(1)
                    .max_batch_bytes(64 << 10)
                    .max_delay(Duration::from_millis(1)),
            ),
            "the least",
        ),
        (
            "  queue: {when_full: Drop_Oldest}",
            queue(none().when_full(WhenFull::DropOldest)),
            "a word in any case",
        ),
        (
            "  retry: {initial: 1s, max: 1s, give_up_after: 0}",
            retry(
                RetryConfig::default()
                    .initial(Duration::from_secs(1))
                    .max(Duration::from_secs(1))
                    .give_up_after(Duration::ZERO),
            ),
            "one attempt",
        ),
        ("  concurrency: '64'", recording().concurrency(64), "digits as text"),
        (
            "  limits: {attributes_per_span: 0, value_length: 1kB}",
            recording().limits(LimitsConfig::default().attributes_per_span(0).value_length(1000)),
            "none at all, and a decimal unit",
        ),
    ];
    for (lines, expected, reason) in cases {
        assert_eq!(read(lines), Ok(expected), "{lines}: {reason}");
    }
}

#[test]
fn who_cannot_be_believed_is_refused() {
    const FORCED: &str = "line 4, column 31: tracing_service.forced_sampling_per_second: \
                          must be a whole number from 1 to 4294967295, not ";
    let cases = [
        (
            "  remote_parent: yes",
            "line 4, column 18: tracing_service.remote_parent: must be one of trust, link, ignore, \
             not \"yes\"",
            "another word",
        ),
        (
            "  remote_parent: false",
            "line 4, column 18: tracing_service.remote_parent: must be one of trust, link, ignore, \
             not false",
            "which of the two would that be?",
        ),
        (
            "  remote_parents: link",
            "line 4, column 3: tracing_service.remote_parents: unknown key, did you mean \
             `remote_parent`?",
            "a slip",
        ),
        ("  forced_sampling_per_second: 0", &format!("{FORCED}0"), "`remote_parent` does that"),
        ("  forced_sampling_per_second: -1", &format!("{FORCED}-1"), "below the range"),
        (
            "  forced_sampling_per_second: 4294967296",
            &format!("{FORCED}4294967296"),
            "0 once cut to 32 bits",
        ),
        ("  forced_sampling_per_second: 0.5", &format!("{FORCED}0.5"), "one in two seconds"),
        ("  forced_sampling_per_second: '0'", &format!("{FORCED}\"0\""), "digits as text"),
        ("  forced_sampling_per_second: '+1'", &format!("{FORCED}\"+1\""), "digits only"),
        ("  forced_sampling_per_second: no", &format!("{FORCED}\"no\""), "a word"),
        (
            "  trusted_proxies: 10.0.0.0/8",
            "line 4, column 20: tracing_service.trusted_proxies: must be a list of networks such \
             as 10.0.0.0/8, not \"10.0.0.0/8\"",
            "a list only",
        ),
        (
            "  trusted_proxies: [10.1.2.3/8, localhost, '', 10, me:hunter2@h, 10.0.0.0/33]",
            "line 4, column 21: tracing_service.trusted_proxies[0]: the address has bits behind \
             the prefix: did you mean 10.0.0.0/8?\n\
             line 4, column 33: tracing_service.trusted_proxies[1]: must be a network such as \
             10.0.0.0/8, fd00::/8 or ::1, not \"localhost\"\n\
             line 4, column 44: tracing_service.trusted_proxies[2]: must not be empty\n\
             line 4, column 48: tracing_service.trusted_proxies[3]: must be text, not 10: put it \
             in quotes\n\
             line 4, column 52: tracing_service.trusted_proxies[4]: must be a network such as \
             10.0.0.0/8, fd00::/8 or ::1, not (a text with an `@`, not shown)\n\
             line 4, column 66: tracing_service.trusted_proxies[5]: must be a network such as \
             10.0.0.0/8, fd00::/8 or ::1, not \"10.0.0.0/33\"",
            "each item by itself",
        ),
    ];
    for (lines, message, reason) in cases {
        assert_eq!(read(lines), Err(message.to_owned()), "{lines}: {reason}");
    }
}
