use std::env;
use std::path::Path;

/// Reads a variable of the environment. An argument wherever it is needed, so that tests need not
/// change the environment of the process.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The service's name by precedence: the configuration, then `OTEL_SERVICE_NAME`, then the name
/// that the program gave. A blank name counts as none.
///
/// Without any it is `unknown_service:` and the name of the executable, as the semantic
/// conventions of OpenTelemetry demand: `service.name` must not be empty.
pub(crate) fn service_name(
    configured: Option<&str>,
    variables: Variables<'_>,
    given: &str,
) -> String {
    let is_name = |name: &str| !name.trim().is_empty();
    configured
        .filter(|name| is_name(name))
        .map(str::to_owned)
        .or_else(|| variables("OTEL_SERVICE_NAME").filter(|name| is_name(name)))
        .or_else(|| is_name(given).then(|| given.to_owned()))
        .unwrap_or_else(|| unknown_service(env::current_exe().ok().as_deref()))
}

fn unknown_service(executable: Option<&Path>) -> String {
    match executable.and_then(Path::file_name).and_then(|name| name.to_str()) {
        Some(name) => format!("unknown_service:{name}"),
        None => "unknown_service".to_owned(),
    }
}

/// The environment of this process. A value that is not Unicode counts as unset: OTLP could not
/// carry it.
pub(crate) fn process(name: &str) -> Option<String> {
    env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_closest_to_the_operator_wins() {
        let cases = [
            (Some("yaml"), Some("env"), "code", "yaml", "the section wins"),
            (Some("yaml"), None, "code", "yaml", "without a variable too"),
            (Some(" "), Some("env"), "code", "env", "a blank name is none"),
            (None, Some("env"), "code", "env", "the variable comes next"),
            (None, Some(""), "code", "code", "an empty variable is unset"),
            (None, Some(" \t"), "code", "code", "and so is a blank one"),
            (None, None, "code", "code", "the program's own name comes last"),
            (None, None, " a ", " a ", "a name is used as it is"),
            (None, None, "", UNKNOWN, "an empty name is none"),
            (Some(""), Some(" "), "\n", UNKNOWN, "blank at each level"),
        ];
        for (configured, variable, given, expected, reason) in cases {
            let variables = |name: &str| {
                assert_eq!(name, "OTEL_SERVICE_NAME", "no other variable is asked for");
                variable.map(str::to_owned)
            };
            let name = service_name(configured, &variables, given);
            // This test is a program with a name of its own.
            let name = if name.starts_with("unknown_service:") { UNKNOWN } else { &name };
            assert_eq!(name, expected, "{reason}");
        }
    }

    #[test]
    fn a_service_without_a_name_is_named_after_its_program() {
        let cases = [
            (Some("/usr/bin/checkout"), "unknown_service:checkout", "without its directory"),
            (Some("checkout"), "unknown_service:checkout", "wherever it is"),
            (Some("/"), "unknown_service", "a path without a name"),
            (None, "unknown_service", "the system does not tell"),
        ];
        for (executable, expected, reason) in cases {
            assert_eq!(unknown_service(executable.map(Path::new)), expected, "{reason}");
        }
    }

    const UNKNOWN: &str = "unknown_service:(this program)";
}
