//! Processes of this binary: what is measured has its own, because most peers have something
//! global, and so has what must not be measured.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;

/// A process of this binary that is told things by lines, and answers so.
pub(crate) struct Helper {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts one with these arguments.
    pub(crate) fn start(role: &str, arguments: &[&str]) -> Self {
        let mut command = command(role, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("a process");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, input, output }
    }

    pub(crate) fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("not ended");
        writeln!(input, "{line}").expect("a process that listens");
    }

    /// Says that there is no more to say.
    pub(crate) fn end(&mut self) {
        self.input = None;
    }

    /// The values of the next line.
    pub(crate) fn hear<T: FromStr>(&mut self) -> Vec<T> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a process that answers");
        let values = line.split_whitespace().map(|value| value.parse().ok());
        values.collect::<Option<_>>().unwrap_or_else(|| panic!("not understood: {line:?}"))
    }

    /// So many figures.
    pub(crate) fn figures<const N: usize>(&mut self) -> [f64; N] {
        self.hear().try_into().unwrap_or_else(|figures| panic!("not {N} figures: {figures:?}"))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A sink for spans in a process of its own.
pub(crate) struct Sink {
    _process: Helper,
    pub(crate) address: SocketAddr,
}

impl Sink {
    /// One that answers after so many milliseconds.
    pub(crate) fn start(delay: u64) -> Self {
        let mut process = Helper::start("sink", &[&delay.to_string()]);
        let address = process.hear()[0];
        Self { _process: process, address }
    }
}

/// This binary as such a process.
pub(crate) fn command(role: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().expect("Linux"));
    command.arg(CHILD).arg(role).args(arguments);
    command
}

/// The first argument of a process that this one has started.
pub(crate) const CHILD: &str = "child";
