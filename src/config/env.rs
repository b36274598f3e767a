/// Reads a variable of the environment. An argument wherever it is needed, so that tests need not
/// change the environment of the process.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The service's name by precedence: the configuration, then `OTEL_SERVICE_NAME`, then the name
/// that the program gave.
///
/// An empty variable counts as unset, as the OpenTelemetry specification demands of all
/// variables.
pub(crate) fn service_name(
    configured: Option<&str>,
    variables: Variables<'_>,
    given: &str,
) -> String {
    configured
        .map(str::to_owned)
        .or_else(|| variables("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()))
        .unwrap_or_else(|| given.to_owned())
}

/// The environment of this process. A value that is not Unicode counts as unset: OTLP could not
/// carry it.
pub(crate) fn process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_closest_to_the_operator_wins() {
        let cases = [
            (Some("yaml"), Some("env"), "yaml", "the section wins"),
            (Some("yaml"), None, "yaml", "without a variable too"),
            (None, Some("env"), "env", "the variable comes next"),
            (None, Some(""), "code", "an empty variable is unset"),
            (None, None, "code", "the program's own name is the last resort"),
        ];
        for (configured, variable, expected, reason) in cases {
            let variables = |name: &str| {
                assert_eq!(name, "OTEL_SERVICE_NAME", "no other variable is asked for");
                variable.map(str::to_owned)
            };
            assert_eq!(service_name(configured, &variables, "code"), expected, "{reason}");
        }
    }
}
