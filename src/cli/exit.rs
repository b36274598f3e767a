//! How a command ends, for its root span and for whoever has run it.

use std::fmt;
use std::process::{ExitCode, Termination};

/// How a command ended. Returned from `main`, it is the exit code of the process; one that does not
/// fit into a byte is 255, and the description is not printed.
///
/// A plain number cannot be returned from `main`: make it one of these, or give it to
/// [`std::process::exit`], after [`run`](super::CommandTrace::run) has returned. Before, the trace
/// would be lost: nothing is dropped then.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CommandExit {
    code: i32,
    description: String,
}

impl CommandExit {
    /// The exit code of the process; every other than 0 is an error.
    #[must_use]
    pub fn code(code: i32) -> Self {
        Self { code, description: String::new() }
    }

    /// An error with this exit code and a description, which the root span shows.
    #[must_use]
    pub fn failed(code: i32, description: impl Into<String>) -> Self {
        Self { code, description: description.into() }
    }

    pub(super) fn into_parts(self) -> (i32, String) {
        (self.code, self.description)
    }
}

impl Termination for CommandExit {
    fn report(self) -> ExitCode {
        ExitCode::from(u8::try_from(self.code).unwrap_or(u8::MAX))
    }
}

impl From<i32> for CommandExit {
    fn from(code: i32) -> Self {
        Self::code(code)
    }
}

/// What commands return: how they ended is read from it.
///
/// | value | exit code | description |
/// |---|---|---|
/// | `()` | 0 | |
/// | `i32`, `u8` | itself | |
/// | `Ok` | that of its value | |
/// | `Err` | 1, as from `main` | the error's text |
pub trait Exit {
    /// How the command ended that has returned this.
    fn exit(&self) -> CommandExit;
}

impl Exit for () {
    fn exit(&self) -> CommandExit {
        CommandExit::default()
    }
}

impl Exit for i32 {
    fn exit(&self) -> CommandExit {
        CommandExit::code(*self)
    }
}

impl Exit for u8 {
    fn exit(&self) -> CommandExit {
        CommandExit::code((*self).into())
    }
}

impl Exit for CommandExit {
    fn exit(&self) -> CommandExit {
        self.clone()
    }
}

impl<T: Exit, E: fmt::Display> Exit for Result<T, E> {
    fn exit(&self) -> CommandExit {
        match self {
            Ok(value) => value.exit(),
            Err(error) => CommandExit::failed(1, error.to_string()),
        }
    }
}

/// What became of a command that was [run](super::CommandTrace::run): may be returned from `main`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "it has the exit code"]
#[expect(clippy::exhaustive_enums, reason = "a command ends by itself or it does not")]
pub enum Finished<T> {
    /// It ended, with this.
    Ended(T),
    /// Ctrl-C came first. From `main` this is exit code 130, as shells have it.
    Interrupted,
}

impl<T: Termination> Termination for Finished<T> {
    fn report(self) -> ExitCode {
        match self {
            Self::Ended(value) => value.report(),
            Self::Interrupted => ExitCode::from(INTERRUPTED as u8),
        }
    }
}

/// 128 and the number of the signal.
pub(super) const INTERRUPTED: i32 = 130;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_returned_from_main_and_none_becomes_a_success() {
        for (code, expected) in [(0, 0), (3, 3), (255, 255), (256, 255), (-1, 255)] {
            let reported = Finished::Ended(CommandExit::code(code)).report();
            let expected = ExitCode::from(expected);
            assert_eq!(format!("{reported:?}"), format!("{expected:?}"), "{code}");
        }
    }
}
