//! The tool: it does what its environment says, in a process of its own.

use std::env;
use std::process::Command;
use std::thread;
use std::time::Duration;

use clap::Parser;
use http::{Request, Response};
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use tokio::runtime;
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tower::{BoxError, Layer, Service};
use tower_otlp::cli::{Exit, Finished};
use tower_otlp::opentelemetry;
use tower_otlp::{CommandTrace, TraceArgs, TraceContext, TraceLayer, TracingServiceConfig};

use crate::support::echo::Client;

#[test]
fn the_tool() {
    let Ok(act) = env::var("TOOL_ACT") else { return };
    let args = env::var("TOOL_ARGS").unwrap_or_default();
    let cli = Cli::parse_from(["tool"].into_iter().chain(args.split_whitespace()));
    let section = match env::var("TOOL_SECTION") {
        Ok(section) => TracingServiceConfig::from_yaml_str(&section).unwrap(),
        Err(_) => TracingServiceConfig::disabled(),
    };
    let trace = cli.trace.start_with("tool", section).named("tool ls");
    let code = match &*act {
        "async" => code_of(block_on(trace.run(async |trace| work(trace)))),
        "fails" => {
            code_of(block_on(trace.run(async |_| Err::<(), _>("the server said no".to_owned()))))
        }
        "blocking" => trace.run_blocking(|trace| {
            work(trace);
            7
        }),
        "hangs" => code_of(block_on(trace.run(async |trace| {
            work(trace);
            std::future::pending::<()>().await;
        }))),
        "hangs blocking" => trace.run_blocking(|trace| {
            work(trace);
            loop {
                thread::park();
            }
        }),
        "channel" => code_of(block_on(trace.run(async |trace| {
            trace.set_channel(channel(Spans::Taken));
        }))),
        "panics over a channel" => {
            let run = block_on(trace.run(async |trace| -> i32 {
                trace.set_channel(channel(Spans::Taken));
                crate::support::panic_quietly()
            }));
            panic!("it went on: {run:?}")
        }
        "delivers for ever" => code_of(block_on(trace.deadline(LONG).run(async |trace| {
            trace.set_channel(channel(Spans::LeftWaiting));
        }))),
        "delivers for ever blocking" => trace.deadline(LONG).run_blocking(|trace| {
            trace.set_channel(channel(Spans::LeftWaiting));
            0
        }),
        "hangs blocking, and delivers for ever" => trace.deadline(LONG).run_blocking(|trace| {
            trace.set_channel(channel(Spans::LeftWaiting));
            work(trace);
            loop {
                thread::park();
            }
        }),
        "hangs blocking with standard error" => trace.run_blocking(|trace| {
            let _held = std::io::stderr().lock();
            work(trace);
            loop {
                thread::park();
            }
        }),
        "panics" => {
            let run = trace.run_blocking(|_| -> i32 { crate::support::panic_quietly() });
            panic!("it went on: {run}")
        }
        "is left waiting" => code_of(block_on(trace.deadline(SHORT).run(async |trace| {
            trace.set_channel(channel(Spans::LeftWaiting));
            say("result done");
            Err::<(), _>("the server said no")
        }))),
        "is left waiting blocking" => trace.deadline(SHORT).run_blocking(|trace| {
            trace.set_channel(channel(Spans::LeftWaiting));
            say("result done");
            7
        }),
        "calls" => code_of(block_on_with_io(trace.run(calls))),
        "logs in" => code_of(block_on_with_io(trace.run(logs_in))),
        #[cfg(unix)]
        "minds Ctrl-C itself" => {
            code_of(block_on_with_io(trace.without_ctrl_c().run(async |_| minds_ctrl_c().await)))
        }
        #[cfg(unix)]
        "minds Ctrl-C itself blocking" => {
            trace.without_ctrl_c().run_blocking(|_| block_on_with_io(minds_ctrl_c()))
        }
        "minds no Ctrl-C" => code_of(block_on(trace.without_ctrl_c().run(async |trace| {
            work(trace);
            std::future::pending::<()>().await;
        }))),
        "minds no Ctrl-C blocking" => trace.without_ctrl_c().run_blocking(|trace| {
            work(trace);
            loop {
                thread::park();
            }
        }),
        "hangs, and delivers for ever" => {
            code_of(block_on(trace.deadline(LONG).run(async |trace| {
                trace.set_channel(channel(Spans::LeftWaiting));
                work(trace);
                std::future::pending::<()>().await;
            })))
        }
        "finishes" => {
            work(&trace);
            block_on(trace.deadline(SHORT).finish(0));
            0
        }
        other => panic!("no act {other}"),
    };
    // Not by a panic of the test, whose words are none of the tool's.
    std::process::exit(code);
}

/// Works over a channel to the server, which it gives for its spans, too.
async fn calls(trace: &CommandTrace) -> Result<(), BoxError> {
    let channel = channel_to_the_server().await?;
    trace.set_channel(channel.clone());
    call(trace, channel).await;
    Ok(())
}

/// Works over a channel that it keeps to itself, as a tool does that has no credentials yet.
async fn logs_in(trace: &CommandTrace) -> Result<(), BoxError> {
    call(trace, channel_to_the_server().await?).await;
    Ok(())
}

/// Says who the user is.
async fn channel_to_the_server() -> Result<ServerChannel, BoxError> {
    let server = Endpoint::from_shared(format!("http://{}", env::var("TOOL_SERVER")?))?;
    let as_alice: fn(tonic::Request<()>) -> Result<tonic::Request<()>, Status> = |mut request| {
        request.metadata_mut().insert("who", MetadataValue::from_static("alice"));
        Ok(request)
    };
    Ok(InterceptedService::new(server.connect().await?, as_alice))
}

type ServerChannel =
    InterceptedService<Channel, fn(tonic::Request<()>) -> Result<tonic::Request<()>, Status>>;

/// Two calls, the second of which fails.
async fn call(trace: &CommandTrace, channel: ServerChannel) {
    let mut client = Client::over(TraceLayer::client(trace.tracing()).layer(channel));
    for message in ["ls", "not found"] {
        say(&format!("answered {:?}", client.call("/test.Echo/One", &[message]).await));
    }
}

/// Needs to be told twice.
#[cfg(unix)]
async fn minds_ctrl_c() -> i32 {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupts = signal(SignalKind::interrupt()).unwrap();
    for words in ["listens", "would you mind", "stops"] {
        say(words);
        if words != "stops" {
            interrupts.recv().await.unwrap();
        }
    }
    7
}

/// Says what it works in, and what a child would be told.
#[expect(clippy::print_stdout, reason = "the other process reads it")]
fn work(trace: &CommandTrace) {
    let inside = TraceContext::current();
    let inside = inside.map(|it| format!("{} {}", it.trace_id(), it.is_sampled()));
    println!("inside {}", inside.as_deref().unwrap_or("nothing"));
    let recording = Context::map_current(|context| context.span().is_recording());
    println!("recording {recording} {}", trace.trace_id().is_some());
    let mut child = Command::new("sh");
    child.args(["-c", "echo child $TRACEPARENT $BAGGAGE"]);
    TraceContext::pass_to(&mut child);
    print!("{}", String::from_utf8(child.output().unwrap().stdout).unwrap());
}

/// A channel of the tool's, which says what it is asked.
fn channel(
    spans: Spans,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = http::Error, Future: Send>
+ Clone
+ Send {
    tower::service_fn(move |request: Request<Body>| async move {
        say(&format!("asked with {:?}", request.headers().get("x-token")));
        if spans == Spans::LeftWaiting {
            std::future::pending::<()>().await;
        }
        let taken = Response::builder().header("content-type", "application/grpc");
        taken.header("grpc-status", "0").body(Body::empty())
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Spans {
    Taken,
    LeftWaiting,
}

fn code_of<T: Exit>(finished: Finished<T>) -> i32 {
    match finished {
        Finished::Ended(result) => i32::from(result.exit() != ().exit()),
        Finished::Interrupted => 130,
    }
}

/// Without what sockets and signals need: the tool's runtime need not have it.
fn block_on<F: Future>(future: F) -> F::Output {
    runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn block_on_with_io<F: Future>(future: F) -> F::Output {
    runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[expect(clippy::print_stdout, reason = "the other process reads it")]
pub(super) fn say(words: &str) {
    println!("{words}");
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    trace: TraceArgs,
}

/// A deadline that is not expected to be reached.
const LONG: Duration = Duration::from_secs(3600);
/// A deadline that is expected to be reached.
const SHORT: Duration = Duration::from_millis(50);
