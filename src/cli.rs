//! Command-line tools: `--trace` and `--trace-exporter` (cargo feature `clap`).
//!
//! A tool that is run with `--trace` has its whole chain recorded: its root span is sampled, and so is
//! what servers do for it. The tool needs neither an address nor credentials of the tracing backend
//! if a server that it talks to anyway forwards spans.
//!
//! # Example: a tool whose spans go through the server it talks to
//!
#![cfg_attr(feature = "tonic-channel", doc = "```no_run")]
#![cfg_attr(not(feature = "tonic-channel"), doc = "```ignore")]
//! use std::process::Termination;
//!
//! use clap::Parser;
//! use tonic::transport::{Channel, Error};
//! use tower::Layer;
//! use tower_otlp::{CommandTrace, TraceArgs, TraceLayer};
//!
//! #[derive(Parser)]
//! struct Cli {
//!     #[command(flatten)]
//!     trace: TraceArgs,
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> impl Termination {
//!     let cli = Cli::parse();
//!     cli.trace.start("tsh").named("tsh ls").run(list).await
//! }
//!
//! async fn list(trace: &CommandTrace) -> Result<(), Error> {
//!     let channel = Channel::from_static("http://auth:3025").connect().await?;
//!     trace.set_channel(channel.clone());
//!     let channel = TraceLayer::client(trace.tracing()).layer(channel);
//!     // let nodes = AuthClient::new(channel).list().await?;
//!     # drop(channel);
//!     Ok(())
//! }
//! ```
//!
//! With `--trace` it writes on standard error, at its end:
//!
//! ```text
//! trace 4bf92f3577b34da6a3ce929d0e0e4736: 3 spans delivered
//! ```
//!
//! To the server, that is: what becomes of them behind it is in its numbers. Of spans that are lost
//! it says how many, and why.
//!
//! # What is traced, and where spans go
//!
//! | option | environment | spans |
//! |---|---|---|
//! | `--trace` | `TOWER_OTLP_TRACE`, on unless it is empty or says `no`, `nope`, `n`, `false`, `0` or `off` | go where the tool's own `tracing_service` section says, and without one over the [channel](CommandTrace::set_channel) |
//! | `--trace-exporter URL` | `TOWER_OTLP_TRACE_EXPORTER` | go to this [URL](crate::ExporterUrl), those of the tool and no others; implies `--trace` |
//! | neither | | are not recorded, whatever the section says; nothing is started |
//!
//! Options go before the environment. Both may stand behind a subcommand, too. clap's `mut_arg` changes
//! what a tool does not like, by the ids `trace` and `trace_exporter`:
//!
//! ```
//! use clap::{Args, Command};
//! use tower_otlp::TraceArgs;
//!
//! let command = TraceArgs::augment_args(Command::new("tsh"))
//!     .mut_arg("trace", |arg| arg.env("TSH_TRACE").hide(true));
//! ```
//!
//! A section that is not off and names no exporter says where spans go also when
//! `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
//!
//! Headers, certificates and compression of the section are for its own exporter; with
//! `--trace-exporter` they are left out, and those of the environment
//! ([`OTEL_EXPORTER_OTLP_*`](crate::config#environment)) count. Its headers are not sent over the
//! channel either.
//!
//! In any case the command joins the trace of whoever runs it, as
//! [`TRACEPARENT`](crate::TraceContext::from_environment) says; with an option it is recorded there,
//! also when that trace is not. [`TraceContext::pass_to`](crate::TraceContext::pass_to) hands it on.
//!
//! # The root span
//!
//! It is the command, `INTERNAL`, by OpenTelemetry's conventions for CLI programs (execution spans), which
//! are in development: `process.executable.name`, `process.pid` and `process.exit.code`; if that is
//! not 0, its status is an error with the [text](Exit) of it and `error.type`: the exit code,
//! `interrupted`, or `panic`. The name is the service's, unless the tool
//! [says](CommandTrace::named) another.
//!
//! # Ctrl-C
//!
//! Of a command that is traced it ends the command, whose trace is then delivered as at any other end.
//! When it comes again the process ends at once. [`CommandTrace::without_ctrl_c`] leaves it to tools that
//! have to clean up.
//!
//! # Nothing fails for it
//!
//! A URL that is none, a directory that cannot be written to, a certificate that is missing: a
//! warning on standard error, and the command runs untraced. What is lost on the way is in the
//! last line, with the reason of the last failure.

mod command_trace;
mod exit;
mod interrupt;

use std::ffi::{OsStr, OsString};
use std::fmt;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

pub use self::command_trace::CommandTrace;
pub use self::exit::{CommandExit, Exit, Finished};
use crate::config::{ExporterUrl, TracingServiceConfig, env, is_no};
use crate::tracing_service::TracingService;

/// `--trace` and `--trace-exporter`, to be flattened into the arguments of a tool.
///
/// The [module](self) shows how, and says what they do.
#[derive(Args, Clone, Default)]
pub struct TraceArgs {
    /// Record what this command does, here and in the servers it talks to
    #[arg(long, global = true, env = TRACE)]
    #[arg(value_parser = OsStringValueParser::new().map(|word| is_on(&word)))]
    trace: bool,
    /// Record what this command does, and send its own spans to this URL
    // Parsed later: a slip in it must not keep the command from running.
    #[arg(long, global = true, env = EXPORTER, hide_env_values = true, value_name = "URL")]
    #[arg(id = "trace_exporter", long = "trace-exporter")]
    exporter: Option<OsString>,
}

impl TraceArgs {
    /// Starts to trace the command, if that is asked for, for a tool without a `tracing_service`
    /// section. `service_name` is as for [`TracingServiceConfig::start`].
    ///
    /// What cannot be started is a warning on standard error.
    pub fn start(&self, service_name: &str) -> CommandTrace {
        self.start_with(service_name, TracingServiceConfig::disabled())
    }

    /// [`start`](Self::start), for a tool that has a section: it says where spans go, and how they
    /// are recorded. Whether they are, and that all are, is said by the options alone.
    pub fn start_with(&self, service_name: &str, section: TracingServiceConfig) -> CommandTrace {
        let tracing = match self.tracing(service_name, section) {
            Ok(tracing) => tracing,
            Err(reason) => {
                command_trace::say(format_args!("warning: this command is not traced: {reason}"));
                None
            }
        };
        CommandTrace::start(tracing.unwrap_or_else(TracingService::off), service_name)
    }

    /// `None` when nobody asks for it.
    fn tracing(
        &self,
        service_name: &str,
        section: TracingServiceConfig,
    ) -> Result<Option<TracingService>, String> {
        // Before it is switched on: one that is off asks no variables.
        let names_exporter = section.names_exporter(&env::process);
        let section = section.of_everything();
        let exporter = self.exporter.as_deref().filter(|url| !url.is_empty());
        let started = if let Some(url) = exporter {
            let url = parse(url).map_err(|wrong| format!("--trace-exporter: {wrong}"))?;
            section.exporting_to(url).start_command(service_name)
        } else if !self.trace {
            return Ok(None);
        } else if names_exporter {
            section.start_command(service_name)
        } else {
            let started = section.without_headers().start_command_over_channel(service_name);
            started.map_err(|error| error.to_string())
        };
        started.map(Some)
    }
}

impl fmt::Debug for TraceArgs {
    /// Without the URL: before it is parsed it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, exporter } = self;
        f.debug_struct("TraceArgs")
            .field("trace", trace)
            .field("has_exporter", &exporter.is_some())
            .finish()
    }
}

fn parse(url: &OsStr) -> Result<ExporterUrl, String> {
    let url = url.to_str().ok_or("the URL is not UTF-8")?;
    url.parse().map_err(|error: crate::ParseExporterUrlError| error.to_string())
}

/// Of a variable; the option itself is `true`.
fn is_on(word: &OsStr) -> bool {
    word.to_str().is_none_or(|word| !word.trim().is_empty() && !is_no(word.trim()))
}

const TRACE: &str = "TOWER_OTLP_TRACE";
const EXPORTER: &str = "TOWER_OTLP_TRACE_EXPORTER";

#[cfg(test)]
mod tests;
