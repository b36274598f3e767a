//! The environment of processes as a carrier: how a command joins the trace of whoever runs it.
//!
//! Names and formats are those of the headers, in capitals (OpenTelemetry, "Environment Variables as
//! Context Propagation Carriers").

use std::env;
use std::ffi::OsString;
use std::process::Command;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{TraceContext, baggage, traceparent, tracestate};

impl TraceContext {
    /// Reads what this process was started with: the environment variables `TRACEPARENT`,
    /// `TRACESTATE` and `BAGGAGE`.
    ///
    /// They are read as strictly as [headers](Self::from_headers): without a well-formed
    /// `TRACEPARENT` there is `None`, a malformed `TRACESTATE` is dropped, and so are malformed
    /// members of `BAGGAGE`. What is said by whoever started the process is as good as their word.
    ///
    /// # Example: a tool's work as a child of what runs it
    ///
    /// ```
    /// use tower_otlp::TraceContext;
    ///
    /// if let Some(caller) = TraceContext::from_environment() {
    ///     let _current = caller.to_opentelemetry().attach();
    ///     // Requests through client layers go on in the caller's trace here.
    /// }
    /// ```
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        Self::from_variables(&|name| env::var_os(name))
    }

    /// [`from_environment`](Self::from_environment), in an environment of these variables.
    pub(crate) fn from_variables(variables: &dyn Fn(&str) -> Option<OsString>) -> Option<Self> {
        let mut headers = HeaderMap::with_capacity(VARIABLES.len());
        for (variable, header) in VARIABLES {
            let value = variables(variable);
            // What no header could hold is malformed.
            let value = value.and_then(|it| HeaderValue::from_bytes(it.as_encoded_bytes()).ok());
            headers.extend(value.map(|value| (header.clone(), value)));
        }
        Self::from_headers(&headers)
    }

    /// Lets a child process go on in this trace: sets `TRACEPARENT`, `TRACESTATE` and `BAGGAGE` of
    /// its environment, in place of any that are there or would be inherited. What there is nothing
    /// to say about is removed. The baggage goes along, whatever client layers do with it: a child
    /// is run by this program, and not a stranger.
    pub fn set_environment(&self, command: &mut Command) {
        let mut headers = HeaderMap::new();
        self.inject(&mut headers);
        set(command, &headers);
    }

    /// Lets a child process go on in the trace of this moment: as [`current`](Self::current) says,
    /// by [`set_environment`](Self::set_environment). Without a trace the variables are removed,
    /// because those that the child would inherit name the parent of this process and not of the
    /// child.
    ///
    /// # Example: with the standard library, and with tokio
    ///
    /// ```no_run
    /// use std::process::Command;
    ///
    /// use tower_otlp::TraceContext;
    ///
    /// # async fn run() -> std::io::Result<()> {
    /// let mut command = Command::new("kubectl");
    /// TraceContext::pass_to(&mut command);
    /// command.status()?;
    ///
    /// let mut command = tokio::process::Command::new("kubectl");
    /// TraceContext::pass_to(command.as_std_mut());
    /// command.status().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn pass_to(command: &mut Command) {
        match Self::current() {
            Some(current) => current.set_environment(command),
            None => set(command, &HeaderMap::new()),
        }
    }
}

fn set(command: &mut Command, headers: &HeaderMap) {
    for (variable, header) in VARIABLES {
        match headers.get(header).map(HeaderValue::to_str) {
            Some(Ok(value)) => command.env(variable, value),
            // All that is ever injected is ASCII.
            Some(Err(_)) | None => command.env_remove(variable),
        };
    }
}

static VARIABLES: [(&str, &HeaderName); 3] = [
    ("TRACEPARENT", &traceparent::NAME),
    ("TRACESTATE", &tracestate::NAME),
    ("BAGGAGE", &baggage::NAME),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsStr;

    use super::*;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// What a child would be told: `None` is removed.
    fn told(command: &Command) -> BTreeMap<&str, Option<&str>> {
        let told = command.get_envs();
        told.map(|(name, value)| (name.to_str().unwrap(), value.map(|it| it.to_str().unwrap())))
            .collect()
    }

    #[test]
    fn the_environment_is_read_as_strictly_as_headers() {
        type Row<'a> = ([Option<&'a [u8]>; 3], Option<[Option<&'a str>; 2]>, &'a str);
        let good = TRACEPARENT.as_bytes();
        let uppercase = TRACEPARENT.to_uppercase();
        let padded = format!("{TRACEPARENT} \n");
        let rows: [Row<'_>; 9] = [
            ([Some(good), None, None], Some([None, None]), "the trace alone"),
            (
                [Some(good), Some(b"a=1, b=2"), Some(b"user=7;p , k=v")],
                Some([Some("a=1,b=2"), Some("user=7;p,k=v")]),
                "all of it",
            ),
            ([Some(good), Some(b"A=1"), Some(b"b c=1,k=v")], Some([None, Some("k=v")]), "bad text"),
            ([Some(good), Some(b""), Some(b"")], Some([None, None]), "empty ones"),
            ([Some(good), Some(b"a=\n"), Some(b"k=\xff")], Some([None, None]), "no header at all"),
            ([None, Some(b"a=1"), Some(b"k=v")], None, "no trace"),
            ([Some(b""), None, None], None, "an empty one"),
            ([Some(uppercase.as_bytes()), None, None], None, "uppercase digits"),
            ([Some(padded.as_bytes()), None, None], None, "the line end of a shell"),
        ];
        for ([traceparent, tracestate, baggage], expected, why) in rows {
            let variables = |name: &str| {
                let value = match name {
                    "TRACEPARENT" => traceparent,
                    "TRACESTATE" => tracestate,
                    "BAGGAGE" => baggage,
                    other => panic!("{other} is asked for"),
                };
                // Whatever the system: only bytes that are UTF-8, or not, are put back together.
                value.map(os_string)
            };
            let found = TraceContext::from_variables(&variables);
            let texts = found.as_ref().map(|it| [it.tracestate(), it.baggage()]);
            assert_eq!(texts, expected, "{why}");
            if let Some(found) = found {
                assert_eq!(found.traceparent().encode(), *good, "{why}");
            }
        }
    }

    #[cfg(unix)]
    fn os_string(bytes: &[u8]) -> OsString {
        use std::os::unix::ffi::OsStrExt;
        OsStr::from_bytes(bytes).to_owned()
    }

    #[cfg(not(unix))]
    fn os_string(bytes: &[u8]) -> OsString {
        String::from_utf8_lossy(bytes).into_owned().into()
    }

    #[test]
    fn a_child_is_told_the_trace_and_nothing_stale() {
        let variables = |name: &str| match name {
            "TRACEPARENT" => Some(TRACEPARENT.into()),
            "BAGGAGE" => Some("user=7".into()),
            _ => None,
        };
        let context = TraceContext::from_variables(&variables).unwrap();
        let stale = || {
            let mut command = Command::new("child");
            command.env("TRACEPARENT", "stale").env("TRACESTATE", "stale").env("BAGGAGE", "stale");
            command.env("OTHER", "stays");
            command
        };
        let mut command = stale();
        context.set_environment(&mut command);
        let expected = BTreeMap::from([
            ("BAGGAGE", Some("user=7")),
            ("OTHER", Some("stays")),
            ("TRACEPARENT", Some(TRACEPARENT)),
            ("TRACESTATE", None),
        ]);
        assert_eq!(told(&command), expected);

        let mut command = stale();
        {
            let _current = context.to_opentelemetry().attach();
            TraceContext::pass_to(&mut command);
        }
        assert_eq!(told(&command), expected, "of the moment");

        TraceContext::pass_to(&mut command);
        let expected = BTreeMap::from([
            ("BAGGAGE", None),
            ("OTHER", Some("stays")),
            ("TRACEPARENT", None),
            ("TRACESTATE", None),
        ]);
        assert_eq!(told(&command), expected, "without a trace");
    }
}
