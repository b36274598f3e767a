use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    trace: TraceArgs,
    #[command(subcommand)]
    command: Option<Sub>,
}

#[derive(clap::Subcommand)]
enum Sub {
    Ls,
}

#[test]
fn options_stand_anywhere_and_take_what_is_no_url() {
    let rows: [(&[&str], bool, Option<&str>, &str); 7] = [
        (&[], false, None, "nothing"),
        (&["--trace"], true, None, "the option"),
        (&["ls", "--trace"], true, None, "behind a subcommand"),
        (&["--trace", "ls"], true, None, "before it"),
        (&["--trace-exporter", "grpc://c"], false, Some("grpc://c"), "a URL"),
        (&["--trace-exporter=tcp://c"], false, Some("tcp://c"), "a wrong one"),
        (&["ls", "--trace-exporter="], false, Some(""), "an empty one"),
    ];
    for (args, trace, exporter, why) in rows {
        let Cli { trace: found, command } = Cli::try_parse_from(["tool"].iter().chain(args))
            .unwrap_or_else(|e| panic!("{why}: {e}"));
        assert_eq!(found.trace, trace, "{why}");
        assert_eq!(found.exporter.as_deref(), exporter.map(OsStr::new), "{why}");
        assert_eq!(matches!(command, Some(Sub::Ls)), args.contains(&"ls"), "{why}");
    }
}

#[test]
fn a_variable_is_on_unless_it_says_no() {
    let rows = [
        ("true", true),
        ("1", true),
        ("on", true),
        ("anything", true),
        ("", false),
        (" ", false),
        ("0", false),
        ("No", false),
        ("false", false),
        ("off", false),
    ];
    for (word, expected) in rows {
        assert_eq!(is_on(OsStr::new(word)), expected, "{word:?}");
    }
}

#[test]
fn what_is_not_a_url_yet_is_not_shown() {
    let exporter = Some("grpc://me:hunter2@host".into());
    let args = TraceArgs { trace: true, exporter };
    assert_eq!(format!("{args:?}"), "TraceArgs { trace: true, has_exporter: true }");
    let error = args.tracing("tool", TracingServiceConfig::disabled()).unwrap_err();
    assert!(error.starts_with("--trace-exporter: "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[cfg(not(feature = "tonic"))]
#[test]
fn a_build_that_cannot_send_spans_says_which_features_it_lacks() {
    let args = TraceArgs { trace: true, exporter: None };
    let error = args.tracing("tool", TracingServiceConfig::disabled()).unwrap_err();
    let expected = if cfg!(any(feature = "grpc", feature = "http", feature = "file")) {
        "without an exporter spans go over a channel, and this program was built without the \
         feature \"tonic\" of tower-otlp: name one with --trace-exporter"
    } else {
        "there is no way for spans to leave this program: it was built without the features \
         \"tonic\", \"grpc\", \"http\" and \"file\" of tower-otlp"
    };
    assert_eq!(error, expected);
}

#[cfg(not(all(feature = "grpc", feature = "http", feature = "file")))]
#[test]
fn a_build_without_an_exporter_says_which_feature_its_url_needs() {
    let rows = [
        ("grpc://c:4317", "grpc", cfg!(feature = "grpc")),
        ("http://c:4318/v1/traces", "http", cfg!(feature = "http")),
        ("file:///nowhere?limit=5", "file", cfg!(feature = "file")),
    ];
    for (url, feature, _) in rows.into_iter().filter(|(_, _, is_there)| !is_there) {
        let args = TraceArgs { trace: false, exporter: Some(url.into()) };
        let error = args.tracing("tool", TracingServiceConfig::disabled()).unwrap_err();
        let expected =
            format!("{url}: this program was built without the feature {feature:?} of tower-otlp");
        assert_eq!(error, expected);
    }
}
