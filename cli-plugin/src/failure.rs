//! How a command ends when it does not succeed, by what the caller does about it.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use crate::output::style;

/// What a command answers: the exit code of a success (an extension passes its own through) or why there is none.
pub type Outcome = Result<u8, Failure>;

/// The end of a command that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was tried and did not work: exit code 1.
    #[error("{what}")]
    Failed {
        /// What happened, for a person.
        what: String,
        /// What to do about it.
        fix: Option<String>,
    },
    /// It could not be tried as it was asked: exit code 2.
    #[error("{what}")]
    Usage {
        /// What is wrong with the call.
        what: String,
        /// How to call it.
        fix: Option<String>,
    },
    /// Whoever read our output has enough (`… | head`): a success.
    #[error("the reader of the output closed it")]
    OutputClosed,
}

impl Failure {
    /// A failure of the thing that was tried.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::Failed { what: what.into(), fix: None }
    }

    /// A call that cannot be understood or carried out as given.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), fix: None }
    }

    /// Adds the next step for the person who reads it.
    #[must_use]
    pub fn with_fix(mut self, next: impl Into<String>) -> Self {
        match &mut self {
            Self::Failed { fix, .. } | Self::Usage { fix, .. } => *fix = Some(next.into()),
            Self::OutputClosed => {}
        }
        self
    }

    /// The same failure with other words for what happened; its fix stays.
    #[must_use]
    pub fn said_as(mut self, words: String) -> Self {
        match &mut self {
            Self::Failed { what, .. } | Self::Usage { what, .. } => *what = words,
            Self::OutputClosed => {}
        }
        self
    }

    /// The failure of a write to our own output, where a closed pipe is no failure at all.
    pub fn from_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::failed(format!("the output could not be written: {error}"))
                .with_fix("check the disk or the program that reads the output"),
        }
    }

    /// The code the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed { .. } => 1,
            Self::Usage { .. } => 2,
            Self::OutputClosed => 0,
        }
    }

    /// What to do about it.
    pub fn fix(&self) -> Option<&str> {
        match self {
            Self::Failed { fix, .. } | Self::Usage { fix, .. } => fix.as_deref(),
            Self::OutputClosed => None,
        }
    }
}

/// Turns any error into a failure that says what was being done.
pub trait OrFail<T> {
    /// `doing` completes "error: …: the error's own words".
    fn or_fail(self, doing: &str) -> Result<T, Failure>;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, doing: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::failed(format!("{doing}: {error:#}")))
    }
}

/// Ends a program: prints what went wrong, and answers the exit code.
pub fn report(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !matches!(failure, Failure::OutputClosed) {
                eprintln!("{} {failure}", style::error_word());
                if let Some(fix) = failure.fix() {
                    eprintln!("{} {fix}", style::fix_word());
                }
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_wrong_use_from_failure_and_a_closed_pipe_is_success() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Failure::failed("x").exit_code(), 1);
        assert_eq!(Failure::usage("x").with_fix("y").exit_code(), 2);
        assert_eq!(Failure::from_output(&closed).exit_code(), 0);
        assert_eq!(Failure::from_output(&full).exit_code(), 1);
    }

    #[test]
    fn a_fix_is_kept_beside_what_happened() {
        let failure = Failure::failed("the cluster is asleep").with_fix("wake it");
        assert_eq!(failure.to_string(), "the cluster is asleep");
        assert_eq!(failure.fix(), Some("wake it"));
    }
}
